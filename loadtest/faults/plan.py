"""What an episode will do, made from its seed alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import faults


@dataclass
class Injection:
    """A fault: when it begins and ends, in seconds after the load began."""

    kind: str
    at: float
    lasts: float
    params: dict[str, object] = field(default_factory=dict)

    def line(self) -> str:
        return f"{self.at:.2f}s to {self.at + self.lasts:.2f}s {self.kind} {self.params or ''}".rstrip()


@dataclass
class Plan:
    seed: int
    store: str
    replicas: int
    limit: int
    window: int
    weights: list[int]
    cached: bool
    on_store_loss: str
    log: str
    injections: list[Injection]

    @property
    def kinds(self) -> set[str]:
        return {injection.kind for injection in self.injections}

    @property
    def is_watched(self) -> bool:
        """Whether a sentinel knows where Redis is."""
        return "redis_failover" in self.kinds

    def lines(self) -> list[str]:
        return [
            f"store {self.store} ({self.on_store_loss}), {self.replicas} replicas, {self.limit} points in "
            f"{self.window} s, weights {self.weights}, cache {'on' if self.cached else 'off'}, log {self.log}",
            *[injection.line() for injection in self.injections],
        ]


# Limit and window of core: all faster than what the clients ask for, so that shares bind, and with windows that end
# within an episode as well as long ones.
POOLS = [(600, 20), (300, 10), (400, 15), (2000, 40), (100_000, 3600)]


def make(seed: int, only: str | None) -> Plan:
    rng = random.Random(seed)
    kinds = sorted(faults.KINDS)
    first = rng.choice(kinds)
    chosen = [only or first]
    if rng.random() < 0.5:
        others = [kind for kind in kinds if faults.KINDS[kind].group != faults.KINDS[chosen[0]].group]
        chosen.append(rng.choice(others))
    needs_redis = any(faults.KINDS[kind].needs_redis for kind in chosen)
    store = "redis" if needs_redis or rng.random() < 0.7 else "memory"
    limit, window = rng.choice(POOLS)
    heavy, light = rng.choice([(3, 1), (2, 1), (4, 1), (1, 1), (1, 3)])
    injections = []
    for kind in chosen:
        at = round(rng.uniform(0.6, 1.6), 2)
        lasts = round(rng.uniform(0.4, faults.KINDS[kind].longest), 2)
        injections.append(Injection(kind, at, lasts, faults.KINDS[kind].params(rng)))
    return Plan(
        seed=seed,
        store=store,
        replicas=rng.choice([2, 2, 3]) if store == "redis" else 1,
        limit=limit,
        window=window,
        weights=[heavy, light, *[rng.randint(1, 5) for _ in range(rng.randint(0, 2))]],
        cached=rng.random() < 0.5,
        on_store_loss=rng.choice(["degrade", "degrade", "refuse"]),
        log=rng.choice(["info", "tollgate=debug", "trace"]),
        injections=sorted(injections, key=lambda injection: injection.at),
    )
