"""The kinds of faults: how each begins, goes on and ends. All of it runs in the episode's own thread."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import replicas
import stores
import upstream

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
    # Seconds.
    longest: float = 1.6
    # A replica is started in the end: once what it starts from is whole.
    starts: bool = False


def of_replica(
    begin: Act,
    end: Act,
    more: Callable[[random.Random], Params] = lambda rng: {},
    group: str = "replica",
    starts: bool = False,
) -> Kind:
    """A fault of one replica."""
    return Kind(group, begin, end, params=lambda rng: {"replica": rng.randrange(6)} | more(rng), starts=starts)


def of_redis(
    begin: Act, end: Act = nothing, params: Callable[[random.Random], Params] = lambda rng: {}, during: Act = nothing
) -> Kind:
    return Kind("redis", begin, end, during, params, needs_redis=True)


def of_github(fault: Callable[[random.Random], Params], group: str = "github", begin: Act = upstream.add_fault) -> Kind:
    """A fault of the stand-in's own."""
    return Kind(group, begin=begin, end=upstream.drop_fault, params=fault)


KINDS: dict[str, Kind] = {
    "replica_kill": of_replica(replicas.kill, replicas.restart, starts=True),
    "replica_freeze": of_replica(replicas.freeze, replicas.thaw),
    "replica_drain": of_replica(replicas.drain, replicas.restart, starts=True),
    "few_descriptors": of_replica(
        replicas.few_descriptors, replicas.enough_descriptors, lambda rng: {"more": rng.randrange(6)}
    ),
    "memory_short": of_replica(
        replicas.short_memory,
        replicas.enough_memory,
        lambda rng: {"more_kib": rng.choice([0, 64, 256, 1024, 4096])},
        starts=True,
    ),
    "redis_kill_empty": of_redis(stores.kill, stores.restart, lambda rng: {"data": False}),
    "redis_kill_behind": of_redis(
        stores.kill, stores.restart, lambda rng: {"data": True, "lag": round(rng.uniform(0, 0.8), 2)}
    ),
    "redis_failover": of_redis(stores.fail_over, stores.failed_over),
    "redis_freeze": of_redis(stores.freeze, stores.thaw),
    "redis_flush": of_redis(stores.flush),
    "redis_slow": of_redis(nothing, params=lambda rng: {"ms": rng.choice([20, 60, 90, 150])}, during=stores.slow),
    "redis_cut": of_redis(stores.cut, stores.heal, lambda rng: {"replica": rng.randrange(6)}),
    "github_storm": of_github(upstream.storm),
    "github_reset": of_github(lambda rng: {"kind": "reset_before_answer", "takes_effect": rng.random() < 0.5}),
    "github_cut_body": of_github(lambda rng: {"kind": rng.choice(["reset_mid_body", "truncated_body"])}),
    "github_slow_head": of_github(lambda rng: {"kind": "slow_first_byte", "ms": rng.choice([200, 900, 3000])}),
    "github_slow_body": of_github(lambda rng: {"kind": "slow_body", "bytes_per_second": rng.choice([300, 5000])}),
    "github_limit": of_github(upstream.limit_hit),
    "github_clock": Kind(
        "clock", upstream.advance_clock, params=lambda rng: {"seconds": rng.choice([2, 20, 100, 300])}
    ),
    "github_clock_back": of_github(
        lambda rng: {"kind": "clock_offset", "offset_seconds": -rng.choice([2, 20, 45, 300])}, group="clock"
    ),
    "github_lag": of_github(
        lambda rng: {"kind": "replication_lag", "ms": rng.choice([300, 1500]), "status": rng.choice([401, 404])},
        begin=upstream.add_fault_and_revoke,
    ),
    "github_no_tokens": of_github(
        lambda rng: {"kind": "mint_fails", "status": rng.choice([401, 403, 500, 503])},
        group="tokens",
        begin=upstream.add_fault_and_revoke,
    ),
    "github_revoked": Kind("tokens", upstream.revoke_tokens),
    "github_freeze": Kind("github", upstream.freeze, upstream.thaw),
    # Longer than tollgate waits for an answer.
    "github_partition": Kind(
        "github",
        upstream.part,
        upstream.join,
        params=lambda rng: {"replica": rng.randrange(6), "all": rng.random() < 0.5},
        longest=4.0,
    ),
    "rogue": Kind(
        "rogue", upstream.rogue, upstream.end_rogue, params=lambda rng: {"pause": rng.choice([0.0, 0.01, 0.05])}
    ),
    "audit_full": of_replica(
        replicas.fill_audit_disk, replicas.clear_audit_disk, lambda rng: {"full": rng.random() < 0.5}, "files"
    ),
    "key_garbled": Kind("files", replicas.garble_key, replicas.restore_key),
    "reload_good": Kind("config", replicas.reload_good),
    "reload_bad": Kind("config", replicas.reload_bad, replicas.reload_mended),
}
