"""Faults of the store, and of the way to it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from replicas import Params, replica_of

if TYPE_CHECKING:
    from world import World


def kill(world: World, params: Params) -> None:
    if params["data"]:
        # What is written after this is lost: the state falls back.
        world.redis("SAVE")
        time.sleep(float(str(params["lag"])))
    world.trouble(-1, "redis away")
    world.signal("redis", signal.SIGKILL)
    world.processes["redis"].wait()
    if not params["data"]:
        (world.folder / "dump.rdb").unlink(missing_ok=True)


def restart(world: World, _params: Params) -> None:
    world.start_redis()
    world.end_trouble("redis away")


def freeze(world: World, _params: Params) -> None:
    world.trouble(-1, "redis away")
    world.signal("redis", signal.SIGSTOP)


def thaw(world: World, _params: Params) -> None:
    world.signal("redis", signal.SIGCONT)
    world.end_trouble("redis away")


def flush(world: World, _params: Params) -> None:
    world.redis("FLUSHALL")


def slow(world: World, params: Params) -> None:
    world.redis(f"CLIENT PAUSE {params['ms']}")
    time.sleep(float(str(params["ms"])) / 1000 + 0.02)


def cut(world: World, params: Params) -> None:
    world.relays[replica_of(world, params)].cut()


def heal(world: World, params: Params) -> None:
    world.relays[replica_of(world, params)].heal()


def fail_over(world: World, _params: Params) -> None:
    world.trouble(-1, "redis away")
    world.signal("redis", signal.SIGKILL)
    world.processes["redis"].wait()


def failed_over(world: World, _params: Params) -> None:
    """What the standby had not got yet is lost."""
    world.until("the fail-over", lambda: "role:master" in world.redis_text(world.standby_port, "INFO replication"))
    world.end_trouble("redis away")
