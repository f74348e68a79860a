"""Plants what each judge is for into a clean record, and sees whether that judge, and no other, finds it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import judges
from record import Away, Life, Record, Seen

MINUTES = 20
SECONDS = MINUTES * 60
MERGED = {"repository": "acme/widgets", "pull": 80}


def seen(kind: str = "cached", status: int = 200, what: str = "", at: float = 600.0, **facts: object) -> Seen:
    call = Seen(kind, "reader", 0, at, at + 0.003, at, status, what, "r")
    for name, value in facts.items():
        setattr(call, name, value)
    return call


def clean() -> Record:
    """A replica that lives as long as the run and one that was restarted, with the noise of real ones."""
    rng = random.Random(1)
    lives = [
        Life(0, 1, 10, -1.0, SECONDS + 1.0, 0),
        Life(1, 1, 11, -1.0, 500.0, 0),
        Life(1, 2, 12, 501.0, SECONDS + 1.0, 0),
    ]
    for life in lives:
        for second in range(int(life.start) + 1, int(life.end)):
            # Fills until all caches have what they may have.
            filled = min(1.0, (second - life.start) / 200)
            resident = int((30 + 20 * filled + rng.uniform(0, 2)) * judges.MIB)
            life.samples.append((float(second), resident, 60 + rng.randrange(8), 5))
            if second % 10 == 0:
                life.scrapes.append((float(second), 300, frozenset({"reader"})))
    calls = [
        seen(at=second + rng.random(), replica=life.replica, ended=0.0)
        for life in lives
        for second in range(int(life.start) + 1, int(life.end))
        for _ in range(5)
    ]
    for call in calls:
        call.ended = call.started + rng.uniform(0.002, 0.004)
    calls += [seen("approved", request_id="m"), seen("comment", 201, request_id="c")]
    return Record(
        start=0.0,
        end=float(SECONDS),
        calls=calls,
        lives=lives,
        away=[Away(1, 500.0, 501.0), Away(-1, 700.0, 701.0)],
        approved={"acme/widgets#80"},
        used_jtis={"j"},
        books={"violations": {}, "leaked_credentials": [], "by_status": {"200": 9}, "merges": [MERGED]},
        removed={"guest-1": 100.0},
        audit={("approval", "j"), ("call", "m"), ("call", "c")},
    )


def leak_memory(record: Record) -> None:
    """48 MiB an hour, under the noise."""
    life = record.lives[0]
    per_second = 48 * judges.MIB / 3600
    life.samples = [(at, rss + int(at * per_second), fds, threads) for at, rss, fds, threads in life.samples]


def leak_descriptors(record: Record) -> None:
    life = record.lives[2]
    life.samples = [(at, rss, fds + int((at - life.start) / 15), threads) for at, rss, fds, threads in life.samples]


def leak_threads(record: Record) -> None:
    life = record.lives[0]
    life.samples = [(at, rss, fds, threads + int(at / 200)) for at, rss, fds, threads in life.samples]


def slow_down(record: Record, of: Callable[[int], bool]) -> None:
    for number, call in enumerate(record.calls):
        if call.kind == "cached" and of(number):
            call.ended += call.started / 20_000


def leak_series(record: Record) -> None:
    life = record.lives[0]
    life.scrapes = [(at, count + int(at / 5), agents) for at, count, agents in life.scrapes]


def keep_agent(record: Record) -> None:
    at, count, _ = record.lives[0].scrapes[-1]
    record.lives[0].scrapes[-1] = (at, count, frozenset({"reader", "guest-1"}))


def away_long(record: Record) -> None:
    record.stalls.append(a_stall)
    record.calls += [unexplained] * 200


def shorten(record: Record) -> None:
    """A run in which each replica was restarted."""
    record.lives[0].end = 400.0


Plant = Callable[[Record], object]
unexplained = seen(status=502, what="upstream_unreachable")
a_stall = Away(-1, 600.0, 600.1)
unheard = seen(status=0, what="closed", at=506.0, quiet_since=499.0, replica=1)
ALL_GROWTH = {"memory", "descriptors", "latency", "series"}
PLANTED: list[tuple[set[str], str, Plant]] = [
    ({"memory"}, "memory that is not given back", leak_memory),
    ({"descriptors"}, "descriptors that are not closed", leak_descriptors),
    ({"descriptors"}, "threads that do not end", leak_threads),
    ({"latency"}, "every answer later and later", lambda r: slow_down(r, lambda number: True)),
    ({"latency"}, "one answer in thirty later and later", lambda r: slow_down(r, lambda number: number % 30 == 0)),
    ({"series"}, "series that become more", leak_series),
    ({"series"}, "series of an agent that is gone", keep_agent),
    (ALL_GROWTH, "nobody that lived through the run", shorten),
    ({"answers"}, "an error that nothing explains", lambda r: r.calls.append(unexplained)),
    ({"answers"}, "a drain that explains another replica's", lambda r: r.calls.append(seen(status=503, at=500.5))),
    ({"answers"}, "a connection that ended", lambda r: r.calls.append(seen(status=0, what="reset"))),
    ({"answers"}, "a key that is gone, and opens", lambda r: r.calls.append(seen("gone key"))),
    ({"answers"}, "a replay that is taken while Redis is away", lambda r: r.calls.append(seen("replay", at=700.5))),
    ({"answers"}, "a replay that is taken", lambda r: r.calls.append(seen("replay"))),
    ({"answers"}, "too much that a stall explains", away_long),
    ({"answers"}, "a client that broke", lambda r: r.broken.append("merge: KeyError: 'sha'")),
    ({"limits"}, "a limit that is passed", lambda r: r.books.update(violations={"primary": 1})),
    ({"limits"}, "a credential that is refused", lambda r: r.books.update(by_status={"401": 1})),
    ({"merges"}, "a merge that is lost", lambda r: r.books.update(merges=[])),
    ({"merges"}, "a merge that is done twice", lambda r: r.books.update(merges=[MERGED, MERGED])),
    ({"merges"}, "a merge of nobody's", lambda r: r.books["merges"].append(MERGED | {"pull": 81})),
    ({"secrecy"}, "a secret in a log", lambda r: r.leaks.append("ghs_424… in replica-0.1.log:7")),
    ({"secrecy"}, "a key at the stand-in", lambda r: r.books.update(leaked_credentials=[{"place": "path"}])),
    ({"lines"}, "a line that is cut", lambda r: r.malformed.append("audit-0.jsonl:7")),
    ({"lines"}, "a line that somebody must read", lambda r: r.errors.append("replica-0.1.log:7")),
    ({"lines"}, "an approval without a line", lambda r: r.audit.remove(("approval", "j"))),
    ({"lines"}, "a comment without a line", lambda r: r.audit.remove(("call", "c"))),
    ({"drains"}, "a drain that fails", lambda r: setattr(r.lives[1], "exit_code", 1)),
]
# What looks alike and is none.
INNOCENT: list[tuple[str, Plant]] = [
    ("an error while Redis is away", lambda r: r.calls.append(seen(status=503, what="store_unavailable", at=700.5))),
    ("a write while Redis is held up", lambda r: (r.stalls.append(a_stall), r.calls.append(unexplained))),
    ("a kept connection that a drain ended", lambda r: r.calls.append(unheard)),
    ("a burst of memory", lambda r: r.lives[0].samples.extend([(float(SECONDS), 90 * judges.MIB, 60, 5)] * 9)),
]


def run() -> int:
    began, failed = time.monotonic(), 0
    cases = [(set(), "nothing", lambda r: None), *PLANTED, *[(set(), what, plant) for what, plant in INNOCENT]]
    for names, what, plant in cases:
        record = clean()
        plant(record)
        found = {name for name, judge in judges.JUDGES.items() if judge(record)}
        if found != names:
            failed += 1
            print(f"FAIL {what}: found by {sorted(found)}, not by {sorted(names)}")
    missing = set(judges.JUDGES) - {name for names, _, _ in PLANTED for name in names}
    if missing:
        failed += 1
        print(f"FAIL nothing is planted for {sorted(missing)}")
    print(f"soak: {len(cases)} records, {failed} judged wrongly, {time.monotonic() - began:.2f} s")
    return 1 if failed else 0
