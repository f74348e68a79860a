"""Faults of replicas: the processes, and the files they live on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from upstream import revoke_tokens

if TYPE_CHECKING:
    from world import World

Params = dict[str, object]


def replica_of(world: World, params: Params) -> int:
    return int(str(params["replica"])) % world.plan.replicas


def kill(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.trouble(replica, "killed")
    world.signal(f"replica-{replica}", signal.SIGKILL)
    world.processes[f"replica-{replica}"].wait()


def restart(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.processes[f"replica-{replica}"].wait(timeout=15)
    world.spawn_replica(replica)
    world.await_replica(replica, "/livez")
    world.end_trouble("killed")
    world.end_trouble("drained")


def drain(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    world.trouble(replica, "drained")
    world.signal(f"replica-{replica}", signal.SIGTERM)


def freeze(world: World, params: Params) -> None:
    world.trouble(replica_of(world, params), "frozen")
    world.signal(f"replica-{replica_of(world, params)}", signal.SIGSTOP)


def thaw(world: World, params: Params) -> None:
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


def short_memory(world: World, params: Params) -> None:
    """Little more than it has. Where it needs more it ends, as Rust does (SIGABRT): then it counts as killed."""
    replica = replica_of(world, params)
    process = world.processes[f"replica-{replica}"]
    params["before"] = resource.prlimit(process.pid, resource.RLIMIT_DATA)
    room = data_bytes(process.pid) + int(str(params["more_kib"])) * 1024
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (room, params["before"][1]))
    params["began"] = time.time()


def data_bytes(pid: int) -> int:
    """What RLIMIT_DATA counts: private memory that can be written."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))


def enough_memory(world: World, params: Params) -> None:
    replica = replica_of(world, params)
    process = world.processes[f"replica-{replica}"]
    if process.poll() is None:
        resource.prlimit(process.pid, resource.RLIMIT_DATA, params["before"])
        # It may be about to end: it has said so, and its memory takes a while to be given back.
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            return
    if process.returncode != -signal.SIGABRT:
        raise RuntimeError(f"replica {replica} ended with {process.returncode}, not for want of memory")
    world.tell(f"replica {replica} ended for want of memory")
    world.trouble(replica, "killed").start = params["began"]
    restart(world, params)


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
