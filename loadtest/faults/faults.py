"""The faults: how each begins, goes on and ends. All of it runs in the episode's own thread."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sign
from wire import ask

if TYPE_CHECKING:
    from world import World

Params = dict[str, object]
Act = Callable[["World", Params], None]


def nothing(_world: World, _params: Params) -> None:
    pass


@dataclass
class Kind:
    """Two faults of one episode are of different groups."""

    group: str
    begin: Act
    end: Act = nothing
    during: Act = nothing
    params: Callable[[random.Random], Params] = lambda rng: {}
    needs_redis: bool = False


def replica_of(world: World, params: Params) -> int:
    return int(str(params["replica"])) % world.plan.replicas


def any_replica(rng: random.Random) -> Params:
    return {"replica": rng.randrange(6)}


# ── replicas ──


def kill_replica(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.trouble(replica, "killed")
    world.signal(f"replica-{replica}", signal.SIGKILL)
    world.processes[f"replica-{replica}"].wait()


def restart_replica(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.processes[f"replica-{replica}"].wait(timeout=15)
    world.spawn_replica(replica)
    world.await_replica(replica, "/livez")
    world.end_trouble("killed")
    world.end_trouble("drained")


def drain_replica(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.trouble(replica, "drained")
    world.signal(f"replica-{replica}", signal.SIGTERM)


def freeze_replica(world: World, params: Params) -> None:
    world.trouble(replica_of(world, params), "frozen")
    world.signal(f"replica-{replica_of(world, params)}", signal.SIGSTOP)


def thaw_replica(world: World, params: Params) -> None:
    world.signal(f"replica-{replica_of(world, params)}", signal.SIGCONT)
    world.end_trouble("frozen")


def few_descriptors(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    pid = world.processes[f"replica-{replica}"].pid
    world.trouble(replica, "few descriptors")
    params["before"] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    room = len(os.listdir(f"/proc/{pid}/fd")) + int(str(params["more"]))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, params["before"][1]))


def enough_descriptors(world: World, params: Params) -> None:
    process = world.processes[f"replica-{replica_of(world, params)}"]
    if process.poll() is None:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, params["before"])
    world.end_trouble("few descriptors")


# ── Redis ──


def kill_redis(world: World, params: Params) -> None:
    if params["data"]:
        # What is written after this is lost: the state falls back.
        world.redis("SAVE")
        time.sleep(float(str(params["lag"])))
    world.trouble(-1, "redis away")
    world.signal("redis", signal.SIGKILL)
    world.processes["redis"].wait()
    if not params["data"]:
        (world.folder / "dump.rdb").unlink(missing_ok=True)


def restart_redis(world: World, _params: Params) -> None:
    world.start_redis()
    world.end_trouble("redis away")


def freeze_redis(world: World, _params: Params) -> None:
    world.trouble(-1, "redis away")
    world.signal("redis", signal.SIGSTOP)


def thaw_redis(world: World, _params: Params) -> None:
    world.signal("redis", signal.SIGCONT)
    world.end_trouble("redis away")


def flush_redis(world: World, _params: Params) -> None:
    world.redis("FLUSHALL")


def slow_redis(world: World, params: Params) -> None:
    world.redis(f"CLIENT PAUSE {params['ms']}")
    time.sleep(float(str(params["ms"])) / 1000 + 0.02)


def cut_redis(world: World, params: Params) -> None:
    world.relays[replica_of(world, params)].cut()


def heal_redis(world: World, params: Params) -> None:
    world.relays[replica_of(world, params)].heal()


# ── GitHub ──


def github(fault: Callable[[random.Random], Params]) -> Kind:
    """A fault of the stand-in's own."""
    return Kind("github", begin=add_fault, end=drop_fault, params=fault)


def add_fault(world: World, params: Params) -> None:
    if params["kind"] in ("reset_mid_body", "truncated_body"):
        world.trouble(-1, "answers cut")
    world.faults[id(params)] = params
    world.control("POST", "/faults", params)


def drop_fault(world: World, params: Params) -> None:
    """The stand-in can only clear all of them, so those that go on are added again."""
    world.end_trouble("answers cut")
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


def freeze_github(world: World, _params: Params) -> None:
    world.trouble(-1, "github frozen")
    world.signal("sim", signal.SIGSTOP)


def thaw_github(world: World, _params: Params) -> None:
    world.signal("sim", signal.SIGCONT)
    world.end_trouble("github frozen")


def revoke_tokens(world: World, _params: Params) -> None:
    world.control("POST", "/tokens/revoke", {"installation_id": 1001})


def advance_clock(world: World, params: Params) -> None:
    """It is ahead from now on: windows end sooner than GitHub had said."""
    world.control("POST", "/clock", {"advance_seconds": params["seconds"]})


def rogue(world: World, params: Params) -> None:
    """A client with a token of the same installation, around tollgate."""
    jwt = {"authorization": f"Bearer {sign.app_jwt(world.key, 4242)}", "user-agent": "rogue"}
    minted = ask(world.api_port, "POST", "/app/installations/1001/access_tokens", jwt).json()
    # Another fault may keep it from a token, too.
    token = minted.get("token") if isinstance(minted, dict) else None
    headers = {"authorization": f"token {token}", "user-agent": "rogue"}
    stop = threading.Event()

    def spend() -> None:
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


# ── files ──


def fill_audit_disk(world: World, params: Params) -> None:
    """The log moves away, as for rotation, and what takes its place can't be written."""
    replica = replica_of(world, params)
    path = world.folder / f"audit-{replica}.jsonl"
    if path.exists():
        path.rename(world.folder / f"audit-{replica}.before.jsonl")
    if params["full"]:
        path.symlink_to("/dev/full")
    else:
        path.mkdir()


def clear_audit_disk(world: World, params: Params) -> None:
    path = world.folder / f"audit-{replica_of(world, params)}.jsonl"
    path.unlink() if path.is_symlink() else path.rmdir()


def garble_key(world: World, _params: Params) -> None:
    (world.folder / "app.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\nnothing\n")
    revoke_tokens(world, _params)


def restore_key(world: World, _params: Params) -> None:
    (world.folder / "app.pem").write_text(world.key.read_text())


def reload_all(world: World) -> None:
    for replica in range(world.plan.replicas):
        world.signal(f"replica-{replica}", signal.SIGHUP)


def reload_good(world: World, params: Params) -> None:
    """From now on the two hungry agents have each other's weight."""
    first, second = world.agents[:2]
    world.weights[first], world.weights[second] = world.weights[second], world.weights[first]
    for replica in range(world.plan.replicas):
        world.write_config(replica)
    reload_all(world)


def reload_bad(world: World, _params: Params) -> None:
    for replica in range(world.plan.replicas):
        world.write_config(replica, garbled=True)
    reload_all(world)


def reload_mended(world: World, _params: Params) -> None:
    for replica in range(world.plan.replicas):
        world.write_config(replica)
    reload_all(world)


KINDS: dict[str, Kind] = {
    "replica_kill": Kind("replica", kill_replica, restart_replica, params=any_replica),
    "replica_freeze": Kind("replica", freeze_replica, thaw_replica, params=any_replica),
    "replica_drain": Kind("replica", drain_replica, restart_replica, params=any_replica),
    "few_descriptors": Kind(
        "replica", few_descriptors, enough_descriptors, params=lambda rng: any_replica(rng) | {"more": rng.randrange(6)}
    ),
    "redis_kill_empty": Kind("redis", kill_redis, restart_redis, params=lambda rng: {"data": False}, needs_redis=True),
    "redis_kill_behind": Kind(
        "redis",
        kill_redis,
        restart_redis,
        params=lambda rng: {"data": True, "lag": round(rng.uniform(0, 0.8), 2)},
        needs_redis=True,
    ),
    "redis_freeze": Kind("redis", freeze_redis, thaw_redis, needs_redis=True),
    "redis_flush": Kind("redis", flush_redis, needs_redis=True),
    "redis_slow": Kind(
        "redis", nothing, during=slow_redis, params=lambda rng: {"ms": rng.choice([20, 60, 90, 150])}, needs_redis=True
    ),
    "redis_cut": Kind("redis", cut_redis, heal_redis, params=any_replica, needs_redis=True),
    "github_storm": github(storm),
    "github_reset": github(lambda rng: {"kind": "reset_before_answer", "takes_effect": rng.random() < 0.5}),
    "github_cut_body": github(lambda rng: {"kind": rng.choice(["reset_mid_body", "truncated_body"])}),
    "github_slow_head": github(lambda rng: {"kind": "slow_first_byte", "ms": rng.choice([200, 900, 3000])}),
    "github_slow_body": github(lambda rng: {"kind": "slow_body", "bytes_per_second": rng.choice([300, 5000])}),
    "github_limit": github(limit_hit),
    "github_clock": Kind("clock", advance_clock, params=lambda rng: {"seconds": rng.choice([2, 20, 100, 300])}),
    "github_lag": Kind(
        "github",
        begin=lambda world, params: (add_fault(world, params), revoke_tokens(world, params))[0],
        end=drop_fault,
        params=lambda rng: {"kind": "replication_lag", "ms": rng.choice([300, 1500]), "status": rng.choice([401, 404])},
    ),
    "github_no_tokens": Kind(
        "tokens",
        begin=lambda world, params: (add_fault(world, params), revoke_tokens(world, params))[0],
        end=drop_fault,
        params=lambda rng: {"kind": "mint_fails", "status": rng.choice([401, 403, 500, 503])},
    ),
    "github_revoked": Kind("tokens", revoke_tokens),
    "github_freeze": Kind("github", freeze_github, thaw_github),
    "rogue": Kind("rogue", rogue, end_rogue, params=lambda rng: {"pause": rng.choice([0.0, 0.01, 0.05])}),
    "audit_full": Kind(
        "files", fill_audit_disk, clear_audit_disk, params=lambda rng: any_replica(rng) | {"full": rng.random() < 0.5}
    ),
    "key_garbled": Kind("files", garble_key, restore_key),
    "reload_good": Kind("config", reload_good),
    "reload_bad": Kind("config", reload_bad, reload_mended),
}
