"""Runs a soak, and says what came out."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The harness of the faults has what is not special to a soak.
sys.path.append(str(ROOT / "loadtest/faults"))

import harvest
import report
import soak_selftest
from clients import Clients
from fleet import REPLICAS, Fleet
from record import Record
from rotation import Rotation
from sampling import Sampler

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadtest/soak/run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--json", type=Path, help="write the report there, too")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and files")
    parser.add_argument("--tollgate", type=Path, default=TARGET / "release/tollgate")
    parser.add_argument("--github-sim", type=Path, default=TARGET / "release/github-sim")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    for binary in () if options.self_test else (options.tollgate, options.github_sim):
        if not os.access(binary, os.X_OK):
            parser.error(f"{binary} is missing; `cargo build --release --workspace --bins` builds it")
    return options


def run(args: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    fleet = Fleet(args.seed, folder, args.tollgate.resolve(), args.github_sim.resolve())
    print(f"soak: {args.minutes:g} minutes, seed {args.seed}, in {folder}", flush=True)
    try:
        record = play(fleet, args.minutes * 60)
    finally:
        fleet.stop()
    harvest.gather(fleet, record)
    is_good = report.show(record, args)
    if is_good and not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_good else 1


def play(fleet: Fleet, seconds: float) -> Record:
    fleet.start()
    record = Record(start=time.time(), lives=fleet.lives)
    clients, sampler = Clients(fleet, record), Sampler(fleet, record)
    sampler.start()
    clients.start()
    try:
        Rotation(fleet, clients, record, seconds).play(seconds, lambda what: print(what, flush=True))
    finally:
        record.end = time.time()
        clients.finish()
        sampler.finish()
    for replica in range(REPLICAS):
        fleet.drain(replica)
    record.books = fleet.control("GET", "/books")
    return record


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(soak_selftest.run() if parsed.self_test else run(parsed))
