"""Faults of GitHub, and of the way to it."""

from __future__ import annotations

import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import sign
from wire import ask

if TYPE_CHECKING:
    from world import World

Params = dict[str, object]


def add_fault(world: World, params: Params) -> None:
    world.faults[id(params)] = params
    world.control("POST", "/faults", params)


def drop_fault(world: World, params: Params) -> None:
    """The stand-in can only clear all of them, so those that go on are added again."""
    world.faults.pop(id(params), None)
    world.control("DELETE", "/faults")
    for other in world.faults.values():
        world.control("POST", "/faults", other)


def storm(rng: random.Random) -> Params:
    only: Params = {"method": rng.choice(["GET", "POST", "PUT"])} if rng.random() < 0.4 else {}
    return {"kind": "status", "status": rng.choice([500, 502, 503, 504]), "takes_effect": rng.random() < 0.5} | only


def limit_hit(rng: random.Random) -> Params:
    form = rng.choice(["secondary403", "secondary429", "content_creation403", "primary403"])
    return {"kind": "limit", "form": form, "retry_after": rng.choice([1, 2]), "count": rng.choice([1, 3])}


def freeze(world: World, _params: Params) -> None:
    world.trouble(-1, "github frozen")
    world.signal("sim", signal.SIGSTOP)
    world.waiting = []


def thaw(world: World, _params: Params) -> None:
    world.signal("sim", signal.SIGCONT)
    told, world.waiting = world.waiting or [], None
    for method, path, body in told:
        world.control(method, path, body)
    world.end_trouble("github frozen")


def revoke_tokens(world: World, _params: Params) -> None:
    world.control("POST", "/tokens/revoke", {"installation_id": 1001})


def add_fault_and_revoke(world: World, params: Params) -> None:
    add_fault(world, params)
    revoke_tokens(world, params)


def part(world: World, params: Params) -> None:
    """Bytes between replicas and GitHub neither arrive nor are refused, in both directions."""
    for replica in parted(world, params):
        world.trouble(replica, "github parted")
        world.github_relays[replica].cut()


def join(world: World, params: Params) -> None:
    for replica in parted(world, params):
        world.github_relays[replica].heal()
    world.end_trouble("github parted")


def parted(world: World, params: Params) -> list[int]:
    one = int(str(params["replica"])) % world.plan.replicas
    return list(range(world.plan.replicas)) if params["all"] else [one]


def advance_clock(world: World, params: Params) -> None:
    """It is ahead from now on: windows end sooner than GitHub had said."""
    world.control("POST", "/clock", {"advance_seconds": params["seconds"]})


def rogue(world: World, params: Params) -> None:
    """A client with a token of the same installation, around tollgate."""
    stop = threading.Event()

    def spend() -> None:
        jwt = {"authorization": f"Bearer {sign.app_jwt(world.key, 4242)}", "user-agent": "rogue"}
        minted = ask(world.api_port, "POST", "/app/installations/1001/access_tokens", jwt).json()
        # Another fault may keep it from a token, too.
        token = minted.get("token") if isinstance(minted, dict) else None
        headers = {"authorization": f"token {token}", "user-agent": "rogue"}
        # So few that only the primary limit is passed, never that of an endpoint.
        for _ in range(400 if token else 0):
            if stop.is_set():
                break
            got = ask(world.api_port, "GET", "/repos/acme/gadgets/tags", headers)
            world.rogue_refused += got.status in (403, 429)
            time.sleep(float(str(params["pause"])))

    thread = threading.Thread(target=spend, daemon=True)
    params["stop"] = lambda: (stop.set(), thread.join(10))
    thread.start()


def end_rogue(_world: World, params: Params) -> None:
    params["stop"]()
