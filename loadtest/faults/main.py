"""Runs episodes, several at once, and says what came out."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import episode
import faults
import selftest
from world import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# More says nothing new.
SHOWN = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadtest/faults/run", description=__doc__)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, help="of the first episode; the next has the next one")
    parser.add_argument("--minutes", type=float, default=20, help="no episode begins after these")
    parser.add_argument("--only", choices=sorted(faults.KINDS), help="the first fault of each episode")
    parser.add_argument("--lanes", type=int, default=min(6, 3 * (os.cpu_count() or 1)), help="episodes at once")
    parser.add_argument("--keep", action="store_true", help="keep each episode's folder")
    parser.add_argument("--tollgate", type=Path, default=TARGET / "release/tollgate")
    parser.add_argument("--github-sim", type=Path, default=TARGET / "release/github-sim")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    for binary in () if options.self_test else (options.tollgate, options.github_sim):
        if not os.access(binary, os.X_OK):
            parser.error(f"{binary} is missing; `cargo build --release --workspace --bins` builds it")
    return options


def work(options: episode.Options, lane: int, seeds, results, deadline: float) -> None:
    """A lane: one episode after the other. It ends with its parent, and its processes end with it."""
    die_with_parent()
    while time.monotonic() < deadline:
        with seeds.get_lock():
            seed, seeds.value = seeds.value, seeds.value + 1
        if seed >= seeds_end.value:
            break
        results.put(episode.run(seed, options, lane))
    results.put(None)


seeds_end = multiprocessing.Value("q", 0)


def run(args: argparse.Namespace) -> int:
    first = args.seed if args.seed is not None else random.SystemRandom().randrange(10**9)
    lanes = max(1, min(args.lanes, args.episodes))
    seeds_end.value = first + args.episodes
    seeds, results = multiprocessing.Value("q", first), multiprocessing.Queue()
    key = ROOT / "loadtest/github-sim/keys/pkcs1.pem"
    options = episode.Options(args.tollgate.resolve(), args.github_sim.resolve(), key, args.only, args.keep)
    print(f"faults: {args.episodes} episodes from seed {first}, {lanes} at once", flush=True)
    started = time.monotonic()
    deadline = started + args.minutes * 60
    workers = [
        multiprocessing.Process(target=work, args=(options, lane, seeds, results, deadline), daemon=True)
        for lane in range(lanes)
    ]
    for worker in workers:
        worker.start()
    outcomes: list[episode.Outcome] = []
    going = lanes
    while going:
        outcome = results.get(timeout=300)
        if outcome is None:
            going -= 1
            continue
        outcomes.append(outcome)
        show(outcome, args)
    for worker in workers:
        worker.join()
    return summary(outcomes, time.monotonic() - started)


def show(outcome: episode.Outcome, args: argparse.Namespace) -> None:
    word = "FAIL" if outcome.violations else "ok  "
    counts = outcome.counts
    print(
        f"{word} seed {outcome.seed} {'+'.join(outcome.kinds)}: {outcome.seconds:.1f} s, {counts['calls']} calls, "
        f"{counts['merges']} merges, {counts['deployments']} deployments, {counts['comments']} comments",
        flush=True,
    )
    if args.keep or outcome.violations:
        print("\n".join("       " + line for line in [*outcome.story, f"kept in {outcome.folder}"]))
    shown: Counter[str] = Counter()
    for name, text in outcome.violations:
        shown[name] += 1
        if shown[name] <= SHOWN:
            print(f"     - {name}: " + text.replace("\n", "\n       "))
    for name, number in shown.items():
        if number > SHOWN:
            print(f"     - {name}: {number - SHOWN} more")
    if outcome.violations:
        only = f" --only {args.only}" if args.only else ""
        print(f"       again: loadtest/faults/run --episodes 1 --keep --seed {outcome.seed}{only}", flush=True)


def summary(outcomes: list[episode.Outcome], seconds: float) -> int:
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.counts)
        kinds.update(outcome.kinds)
    failed = [outcome for outcome in outcomes if outcome.violations]
    print(f"faults: {len(outcomes)} episodes in {seconds:.0f} s, {len(failed)} with violations")
    print("  faults: " + ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())))
    print("  counts: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))
    if failed:
        print("  seeds: " + " ".join(str(outcome.seed) for outcome in failed))
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(selftest.run() if parsed.self_test else run(parsed))
