"""One episode: start, load, faults, recovery, checks."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import checks
import faults
import history as histories
import plan as plans
from load import Load
from wire import Call
from world import World

RECOVERY_SECONDS = 20.0
# After a limit out of the blue tollgate is meant to be slower, and to let the agent that it suspects sit out.
RECOVERY_SECONDS_SLOWED = 6.0
# As long as a hungry call waits: who was told to wait while something was away sleeps until then, whatever is back.
SETTLE_SECONDS = 3.0
SHARE_SECONDS = 2.5


@dataclass
class Options:
    tollgate: Path
    github_sim: Path
    key: Path
    only: str | None = None
    keep: bool = False


@dataclass
class Outcome:
    seed: int
    kinds: list[str] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    folder: str = ""


def run(seed: int, options: Options, lane: int) -> Outcome:
    started = time.monotonic()
    plan = plans.make(seed, options.only)
    outcome = Outcome(seed, [injection.kind for injection in plan.injections], story=plan.lines())
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{seed}-"))
    world = World(plan, folder, options.tollgate, options.github_sim, options.key, lane)
    try:
        world.start()
        world.open_pulls()
        play(world, outcome)
    except Exception as error:  # An episode that fails must not hide the others.
        outcome.violations.append(("harness", f"{type(error).__name__}: {error}"))
    finally:
        world.stop()
    outcome.seconds = time.monotonic() - started
    if options.keep or outcome.violations:
        outcome.folder = str(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def play(world: World, outcome: Outcome) -> None:
    load = Load(world)
    zero = time.time()
    load.start()
    try:
        inject(world, zero)
        recovered = time.time()
        unserved = await_service(world, load)
        world.tell(f"served again after {time.time() - recovered:.2f}s")
        load.stop_mixed.set()
        time.sleep(SETTLE_SECONDS)
        window = (time.time(), time.time() + SHARE_SECONDS)
        time.sleep(SHARE_SECONDS)
    finally:
        load.finish()
        for relay in [*world.relays, *world.github_relays]:
            relay.heal()
    world.control("DELETE", "/faults")
    history = histories.gather(world, load)
    history.zero, history.unserved = zero, unserved
    history.served = tuple(served(load.calls, agent, window) for agent in world.agents[:2])
    history.measured = window
    history.weights = tuple(world.weights[agent] for agent in world.agents[:2])
    outcome.story += [f"{at - zero:6.2f}s {what}" for at, what in world.story]
    for name, check in checks.CHECKS.items():
        outcome.violations += [(name, text) for text in check(history)]
    outcome.counts = tally(history)


def inject(world: World, zero: float) -> None:
    """The timeline of all faults, in this thread."""
    waiting = sorted(world.plan.injections, key=lambda injection: injection.at)
    going: list[plans.Injection] = []
    while waiting or going:
        now = time.time() - zero
        for injection in [each for each in waiting if each.at <= now]:
            waiting.remove(injection)
            going.append(injection)
            world.tell(f"{injection.kind} begins")
            faults.KINDS[injection.kind].begin(world, injection.params)
        is_whole = not any(faults.KINDS[each.kind].group in ("files", "config") for each in going)
        over = [each for each in going if each.at + each.lasts <= now]
        for injection in [each for each in over if is_whole or not faults.KINDS[each.kind].starts]:
            going.remove(injection)
            faults.KINDS[injection.kind].end(world, injection.params)
            world.tell(f"{injection.kind} is over")
        for injection in going:
            faults.KINDS[injection.kind].during(world, injection.params)
        time.sleep(0.02)


def await_service(world: World, load: Load) -> list[Call]:
    """A read of each agent by each replica; the last of those that are not answered with 200 in time."""
    open_ways = [(agent, replica) for agent in world.agents for replica in range(world.plan.replicas)]
    patience = RECOVERY_SECONDS_SLOWED if "github_limit" in world.plan.kinds else RECOVERY_SECONDS
    end = time.time() + patience
    last: dict[tuple[str, int], Call] = {}
    while open_ways and time.time() < end:
        for way in list(open_ways):
            call = Call("probe", way[0], way[1], "GET", "/repos/acme/gadgets/readme", wait=5)
            load.send(call)
            if call.status == 200:
                open_ways.remove(way)
            last[way] = call
        time.sleep(0.05)
    return [last[way] for way in open_ways]


def served(calls: list[Call], agent: str, window: tuple[float, float]) -> int:
    begin, end = window
    return sum(
        call.purpose == "hungry" and call.agent == agent and call.status == 200 and begin <= call.ended < end
        for call in calls
    )


def tally(history: histories.History) -> Counter[str]:
    counts: Counter[str] = Counter()
    for call in history.calls:
        counts["calls"] += 1
        counts[f"answer {call.problem or call.error or call.status}"] += 1
    counts["approvals"] = len(history.approvals)
    counts["replays"] = sum(call.purpose == "replay" for call in history.calls)
    counts["merges"] = len(history.books["merges"])
    counts["deployments"] = sum(history.deployments_there.values())
    counts["comments"] = sum(history.comments_there.values())
    counts["arrived"] = int(history.books["arrived"])
    counts["shares measured"] = int(checks.is_share_telling(history))
    return counts
