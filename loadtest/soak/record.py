"""What is kept of a run: judges look at nothing else, so that what is planted looks the same to them."""

from __future__ import annotations

from dataclasses import dataclass, field

JsonObject = dict[str, object]


@dataclass(slots=True)
class Seen:
    """A call, and what became of it."""

    kind: str
    agent: str
    replica: int
    started: float
    ended: float
    # Since when nothing was heard on the connection; `started` where it was new.
    quiet_since: float
    status: int
    # tollgate's error code, or what the connection ended with.
    what: str
    request_id: str = ""


@dataclass
class Life:
    """A process of a replica."""

    replica: int
    number: int
    pid: int
    start: float
    end: float = 0.0
    exit_code: int | None = None
    # At, resident bytes, descriptors, threads.
    samples: list[tuple[float, int, int, int]] = field(default_factory=list)
    # At, number of series, agents that have one.
    scrapes: list[tuple[float, int, frozenset[str]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"replica {self.replica}, process {self.number}"


@dataclass
class Away:
    """A time in which a replica, or for -1 Redis, was away."""

    replica: int
    start: float
    end: float = float("inf")


@dataclass
class Record:
    start: float = 0.0
    end: float = 0.0
    calls: list[Seen] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)
    # Where nobody touched Redis, and the machine was too busy for it: tollgate gives it 100 ms.
    stalls: list[Away] = field(default_factory=list)
    # Pull requests that were approved, `OWNER/NAME#N`.
    approved: set[str] = field(default_factory=set)
    # Approvals that an answer with 200 was given to.
    used_jtis: set[str] = field(default_factory=set)
    books: JsonObject = field(default_factory=dict)
    # Agents by the time at which no replica knew them any more.
    removed: dict[str, float] = field(default_factory=dict)
    # Clients that came to an end of their own.
    broken: list[str] = field(default_factory=list)
    # How often each thing was replaced.
    rotations: dict[str, int] = field(default_factory=dict)
    # Where a secret was found, and which.
    leaks: list[str] = field(default_factory=list)
    # Lines that are not what they are meant to be.
    malformed: list[str] = field(default_factory=list)
    log_lines: int = 0
    # Of the audit logs: `(event, jti or request id)`.
    audit: set[tuple[str, str]] = field(default_factory=set)
    # Lines of the logs at the level `ERROR`: a person must act.
    errors: list[str] = field(default_factory=list)
