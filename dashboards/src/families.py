"""The metric families tollgate exports, as `src/metrics.rs` makes them.

They are read from the source, so a family that is renamed there is unknown here at once.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/metrics.rs"

KINDS = {
    "counter": "counter",
    "gauge": "gauge",
    "ratio": "gauge",
    "histogram": "histogram",
    "histogram_of": "histogram",
}


@dataclass(frozen=True)
class Family:
    name: str
    kind: str
    labels: tuple[str, ...] = ()


# What the metrics library exports of any process on Linux.
PROCESS = {
    family.name: family
    for family in (
        Family("process_cpu_seconds_total", "counter"),
        Family("process_max_fds", "gauge"),
        Family("process_open_fds", "gauge"),
        Family("process_resident_memory_bytes", "gauge"),
        Family("process_start_time_seconds", "gauge"),
        Family("process_threads", "gauge"),
        Family("process_virtual_memory_bytes", "gauge"),
    )
}

# What Prometheus itself writes of each target.
TARGET = {"up": Family("up", "gauge")}

# Families of the next stages, which panels show already. Once `src/metrics.rs` has one, that counts and
# the entry is to go.
UPCOMING: dict[str, Family] = {}


def read(source: str) -> dict[str, Family]:
    """The families a text of Rust registers."""
    lists = dict(re.findall(r"let (\w+) = (\[[^\]]*\]);", source))
    made = re.compile(
        r'\b(\w+)\.(counter|gauge|ratio|histogram|histogram_of)\(\s*(?:&[A-Z_]+,\s*)?"(\w+)",\s*'
        r'"(?:[^"\\]|\\.)*",\s*&(\[[^\]]*\]|\w+)'
    )
    found = {}
    for _, kind, name, labels in made.findall(source):
        names = tuple(re.findall(r'"(\w+)"', lists.get(labels, labels)))
        found[f"tollgate_{name}"] = Family(f"tollgate_{name}", KINDS[kind], names)
    for name in re.findall(r'HistogramOpts::new\(\s*"(tollgate_\w+)"', source):
        found[name] = Family(name, "histogram")
    return found


@cache
def exported() -> dict[str, Family]:
    """What the tree exports now, without the process's own."""
    return read(SOURCE.read_text())


@cache
def known() -> dict[str, Family]:
    """All that a query may name."""
    return UPCOMING | exported() | PROCESS | TARGET


def of(metric: str) -> Family | None:
    """The family of a metric's name; a histogram's has three."""
    family = known().get(metric)
    if family is not None:
        return None if family.kind == "histogram" else family
    base = known().get(re.sub(r"_(bucket|sum|count)$", "", metric))
    return base if base is not None and base.kind == "histogram" else None
