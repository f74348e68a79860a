"""The promises of a soak. Each judge takes a record and gives the lines that speak against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from statistics import median

import flat
from record import Life, Record, Seen

MIB = 1024 * 1024
# Caches of five minutes and less fill first; and shorter lives are judged from their second third on.
WARM_SECONDS = 310.0
# A process that lived shorter is not judged for growth: each kind of call adds its series when it first happens.
JUDGED_SECONDS = 240.0
BUCKET_SECONDS = 15.0
BUCKET_CALLS = 50
# What may grow from the second to the last quarter: absolutely, or relatively, whichever is more.
BOUNDS: dict[str, tuple[float, float]] = {
    "resident": (4 * MIB, 0.08),
    "descriptors": (6, 0.15),
    "threads": (1, 0.0),
    # Of six to twelve agents that are gone, seven each, are still there.
    "series": (60, 0.05),
    "p50": (0.002, 0.25),
    "p99": (0.02, 0.5),
}
# In a sample.
PLACES = {"resident": 1, "descriptors": 2, "threads": 3}
# What is counted of an agent that is gone is dropped two to four minutes later (`src/app/forgetting.rs`).
FORGOTTEN_SECONDS = 250.0
# After Redis or a replica is back: the last retry, and connections that were about to be used.
BACK_SECONDS = 3.0
# Of all calls, those that may be so excused.
EXCUSED_MAX = 0.01

EXPECTED: dict[str, set[int]] = {
    "cached": {200}, "uncached": {200}, "fresh": {200}, "guest": {200}, "poll": {200, 304}, "search": {200},
    "graphql": {200}, "comment": {201}, "slow": {200}, "hang-up": {0}, "approved": {200, 403},
    "unapproved": {403}, "replay": {403}, "webhook": {202}, "forged": {401}, "watch": {200},
    "gone agent": {401}, "gone key": {401}, "gone admin token": {401}, "admin token": {200},
}  # fmt: skip

Points = list[tuple[float, float]]


def warm_from(life: Life) -> float:
    return life.start + min(WARM_SECONDS, (life.end - life.start) / 3)


def is_judged(life: Life) -> bool:
    return life.end - life.start >= JUDGED_SECONDS


def is_whole(life: Life, record: Record) -> bool:
    return life.start <= record.start and life.end >= record.end


def measures(record: Record, names: set[str]) -> list[tuple[Life, str, Points]]:
    """Each series of these names, by process, from when it is warm."""
    found = []
    for life in filter(is_judged, record.lives):
        from_then = [sample for sample in life.samples if sample[0] >= warm_from(life)]
        kinds = {name: [(sample[0], float(sample[place])) for sample in from_then] for name, place in PLACES.items()}
        kinds["series"] = [(at, float(series)) for at, series, _ in life.scrapes if at >= warm_from(life)]
        # Of a few minutes a busy neighbour decides, not tollgate.
        if names & {"p50", "p99"} and is_whole(life, record):
            buckets = latencies(record, life)
            kinds["p50"] = [(at, p50) for at, p50, _ in buckets]
            kinds["p99"] = [(at, p99) for at, _, p99 in buckets]
        found += [(life, name, points) for name, points in kinds.items() if name in names]
    return found


def latencies(record: Record, life: Life) -> list[tuple[float, float, float]]:
    """Of cached reads on kept connections, in pieces of time in which nothing was away: median and 99th percentile."""
    pieces: dict[int, list[float]] = {}
    for call in record.calls:
        if call.kind == "cached" and call.replica == life.replica and call.status == 200:
            if warm_from(life) <= call.started < life.end and not is_explained(call, record, anywhere=True):
                pieces.setdefault(int(call.started // BUCKET_SECONDS), []).append(call.ended - call.started)
    found = []
    for number, times in sorted(pieces.items()):
        if len(times) >= BUCKET_CALLS:
            times.sort()
            found.append(((number + 0.5) * BUCKET_SECONDS, median(times), times[int(len(times) * 0.99)]))
    return found


def trends(record: Record, names: set[str]) -> list[tuple[Life, str, flat.Trend]]:
    found = [(life, name, flat.trend(points, *BOUNDS[name])) for life, name, points in measures(record, names)]
    return [(life, name, trend) for life, name, trend in found if trend]


def growing(*names: str) -> Callable[[Record], list[str]]:
    def judge(record: Record) -> list[str]:
        found = [
            f"{name} of {life.name} grows from {trend.early:.4g} to {trend.late:.4g} "
            f"({trend.per_hour:.4g} an hour; allowed from one to the other: {trend.allowed:.4g})"
            for life, name, trend in trends(record, set(names))
            if not trend.is_flat
        ]
        whole = [life for life in record.lives if is_whole(life, record)]
        if not any(is_judged(life) for life in whole):
            found.append("no process lived through the whole run")
        return found

    return judge


def is_explained(call: Seen, record: Record, anywhere: bool = False) -> bool:
    """Whether Redis or its replica was away meanwhile, or since its connection was last heard of."""
    return any(
        (anywhere or away.replica in (-1, call.replica))
        and away.start - 0.05 <= call.ended and call.quiet_since <= away.end + BACK_SECONDS
        for away in (*record.away, *record.stalls)
    )  # fmt: skip


def answers(record: Record) -> list[str]:
    """Every call is answered as it should be, but where a drain or a restart of Redis explains it."""
    wrong: Counter[str] = Counter()
    first: dict[str, Seen] = {}
    excused = 0
    for call in record.calls:
        if call.status in EXPECTED[call.kind]:
            continue
        # What should have been refused, and was not, nothing explains.
        if call.status // 100 != 2 and is_explained(call, record):
            excused += 1
        else:
            key = f"{call.kind} by {call.agent or '-'}: {call.status} {call.what}"
            wrong[key] += 1
            first.setdefault(key, call)
    found = [f"a client broke: {what}" for what in record.broken]
    if excused > EXCUSED_MAX * len(record.calls):
        found.append(f"{excused} answers were wrong while something was away: too many")
    return found + [
        f"{key}, {times} times, first {first[key].started - record.start:.1f} s after the start at replica "
        f"{first[key].replica}, request {first[key].request_id or '-'}"
        for key, times in wrong.items()
    ]


def limits(record: Record) -> list[str]:
    """The stand-in refused nothing, for a limit or a credential."""
    found = []
    if violations := record.books.get("violations"):
        found.append(f"limits were passed: {violations}")
    answered = record.books.get("by_status", {})
    if refused := {status: times for status, times in answered.items() if status in ("401", "403", "429")}:
        found.append(f"the stand-in refused: {refused}")
    return found


def merges(record: Record) -> list[str]:
    """Every approved merge once, nothing else."""
    there = Counter(f"{merge['repository']}#{merge['pull']}" for merge in record.books.get("merges", []))
    found = [f"{name} was approved, and merged {there[name]} times" for name in record.approved if there[name] != 1]
    return found + [f"{name} was merged without an approval" for name in there if name not in record.approved]


def secrecy(record: Record) -> list[str]:
    leaked = [f"at the stand-in: {leak}" for leak in record.books.get("leaked_credentials", [])]
    return record.leaks + leaked


def lines(record: Record) -> list[str]:
    """Logs and audit logs are whole, no error is in them, and no write or approval is missing from the audit."""
    found = [f"no line of a log: {line}" for line in record.malformed] + [f"an error: {line}" for line in record.errors]
    for jti in record.used_jtis:
        if ("approval", jti) not in record.audit:
            found.append(f"no line about the approval {jti}")
    for call in record.calls:
        is_done = call.status in (200, 201) and call.kind in ("comment", "approved")
        if is_done and ("call", call.request_id) not in record.audit:
            found.append(f"no line about the {call.kind} {call.request_id} at replica {call.replica}")
    return found


def series(record: Record) -> list[str]:
    """What is counted of an agent that was removed is dropped."""
    found = []
    for life in record.lives:
        for at, _, agents in life.scrapes[-1:]:
            stale = [name for name in agents if at - record.removed.get(name, at) > FORGOTTEN_SECONDS]
            if stale:
                found.append(f"{life.name} has series of {len(stale)} agents removed long before: {sorted(stale)[:3]}")
    return found


def drains(record: Record) -> list[str]:
    return [f"{life.name} ended with {life.exit_code}" for life in record.lives if life.exit_code != 0]


JUDGES: dict[str, Callable[[Record], list[str]]] = {
    "memory": growing("resident"),
    "descriptors": growing("descriptors", "threads"),
    "latency": growing("p50", "p99"),
    "answers": answers,
    "limits": limits,
    "merges": merges,
    "secrecy": secrecy,
    "lines": lines,
    "series": lambda record: series(record) + growing("series")(record),
    "drains": drains,
}
