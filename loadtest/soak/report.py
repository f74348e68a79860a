"""What came out, as text and as JSON."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from statistics import median

import judges
from record import JsonObject, Record

SHOWN = 8
UNITS = {"resident": (1 / judges.MIB, "MiB"), "p50": (1000, "ms"), "p99": (1000, "ms")}

# What of the stand-in's books is told.
BOOKS = ("arrived", "minted", "by_status", "violations", "content_creations")


def show(record: Record, args: argparse.Namespace) -> bool:
    found = {name: judge(record) for name, judge in judges.JUDGES.items()}
    summary = figures(record) | {"minutes": args.minutes, "seed": args.seed, "violations": found}
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n")
    print(
        f"soak: {len(record.calls)} calls in {record.end - record.start:.0f} s, {summary['per_second']:.0f} a second; "
        f"{record.books['arrived']} arrived at the stand-in, {record.books['minted']} tokens minted, "
        f"{len(record.approved)} merges, {record.log_lines} lines of logs"
    )
    print("  replaced: " + ", ".join(f"{name} {times}" for name, times in sorted(record.rotations.items())))
    print(f"  Redis was held up by the machine {len(record.stalls)} times")
    print("  answers: " + ", ".join(f"{name} {times}" for name, times in summary["answers"].items()))
    print(f"  {'process':24} {'measure':12} {'2nd quarter':>12} {'last':>12} {'an hour':>12} {'allowed':>10}")
    for row in summary["trends"]:
        values = "".join(f" {row[name]:>12.2f}" for name in ("early", "late", "per_hour"))
        print(f"  {row['process']:24} {row['measure']:12}{values} {row['allowed']:>10.2f} {row['unit']}")
    for name, lines in found.items():
        print(f"  {'FAIL' if lines else 'ok  '} {name}")
        for line in lines[:SHOWN]:
            print(f"     - {line}")
        if len(lines) > SHOWN:
            print(f"     - {len(lines) - SHOWN} more")
    return not any(found.values())


def figures(record: Record) -> JsonObject:
    answers: Counter[str] = Counter()
    for call in record.calls:
        answers[f"{call.kind} {call.what or call.status}"] += 1
    rows = []
    for life, name, trend in judges.trends(record, set(judges.BOUNDS)):
        factor, unit = UNITS.get(name, (1, ""))
        rows.append({
            "process": life.name, "measure": name, "early": trend.early * factor, "late": trend.late * factor,
            "per_hour": trend.per_hour * factor, "allowed": trend.allowed * factor, "unit": unit,
            "is_flat": trend.is_flat,
        })  # fmt: skip
    return {
        "calls": len(record.calls),
        "per_second": len(record.calls) / (record.end - record.start),
        "answers": dict(sorted(answers.items())),
        "rotations": record.rotations,
        "stalls": len(record.stalls),
        "trends": rows,
        "whole_run": minutes(record),
        "books": {name: record.books[name] for name in BOOKS},
    }


def minutes(record: Record) -> list[JsonObject]:
    """Resident memory and descriptors of each process by the minute, for a picture."""
    rows = []
    for life in record.lives:
        pieces: dict[int, list[tuple[float, int, int, int]]] = {}
        for sample in life.samples:
            pieces.setdefault(int((sample[0] - record.start) // 60), []).append(sample)
        for minute, samples in pieces.items():
            resident, descriptors = (median(sample[place] for sample in samples) for place in (1, 2))
            held = {"resident_mib": resident / judges.MIB, "descriptors": descriptors}
            rows.append({"process": life.name, "minute": minute} | held)
    return rows
