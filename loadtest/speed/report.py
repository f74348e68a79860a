"""Medians, ratios and their spread, as data and as text."""

from __future__ import annotations

from dataclasses import asdict, fields
from statistics import median

from measure import CONNECTIONS, RATE, Sample
from variants import Variant

# What a ratio is taken of, within a round.
COMPARED = ("cpu_us", "p50_us", "p99_us")


def summary(variants: list[Variant], samples: dict[str, list[Sample]]) -> dict[str, dict]:
    result: dict[str, dict] = {}
    for variant in variants:
        of = samples[variant.name]
        medians = {field.name: median(getattr(sample, field.name) for sample in of) for field in fields(Sample)}
        pairs = list(zip(of, samples[variant.against]))
        ratios = {name: spread([getattr(a, name) / getattr(b, name) for a, b in pairs]) for name in COMPARED}
        if variant.server.redis:
            ratios["cpu_with_redis"] = spread([(a.cpu_us + a.redis_us) / b.cpu_us for a, b in pairs])
        result[variant.name] = {
            "against": variant.against,
            "body_bytes": len(variant.body),
            "medians": medians,
            "ratios": ratios,
            "samples": [asdict(sample) for sample in of],
        }
    return result


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def lines(result: dict) -> list[str]:
    said = ["", ", ".join(f"{name} {value}" for name, value in result["machine"].items())]
    said += [f"{result['rounds']} rounds; CPU and throughput with {CONNECTIONS} connections, latency at {RATE} a second", ""]
    head = ("", "CPU µs", "× nginx", "spread", "a second", "busy", "p50 µs", "×", "p99 µs", "×", "MiB")
    rows = [head, *(row(name, of) for name, of in result["variants"].items())]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(head))]
    for cells in rows:
        rest = "  ".join(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))
        said.append(f"{cells[0].ljust(widths[0])}  {rest}")
    said += ["", *remarks(result)]
    return said


def row(name: str, of: dict) -> tuple[str, ...]:
    medians, ratios = of["medians"], of["ratios"]
    return (
        name,
        f"{medians['cpu_us']:.1f}",
        f"{ratios['cpu_us']['median']:.2f}",
        f"{ratios['cpu_us']['least']:.2f}–{ratios['cpu_us']['most']:.2f}",
        f"{medians['per_second']:.0f}",
        f"{medians['busy']:.0%}",
        f"{medians['p50_us']:.0f}",
        f"{ratios['p50_us']['median']:.2f}",
        f"{medians['p99_us']:.0f}",
        f"{ratios['p99_us']['median']:.2f}",
        f"{medians['resident_mib']:.1f}",
    )


def remarks(result: dict) -> list[str]:
    said = []
    for name, of in result["variants"].items():
        if "cpu_with_redis" in of["ratios"]:
            both = of["ratios"]["cpu_with_redis"]
            redis = of["medians"]["redis_us"]
            said.append(f"{name}: Redis takes {redis:.1f} µs more a request; with it {both['median']:.2f} × nginx")
        held = sum(sample["held"] for sample in of["samples"])
        if held:
            said.append(f"{name}: the budget held {held} requests, so its figures are not the proxy's alone")
        if of["against"] == name:
            for figure, unit in (("cpu_us", "CPU"), ("p50_us", "p50"), ("p99_us", "p99")):
                values = [sample[figure] for sample in of["samples"]]
                said.append(f"noise: {unit} of {name} over the rounds: {min(values):.1f} to {max(values):.1f} µs")
            said.append(f"{name}: the client's own CPU at {RATE} a second: {of['medians']['client_us']:.0f} µs a request")
    said += [f"left out: {name}: {why}" for name, why in result["left_out"].items()]
    return said
