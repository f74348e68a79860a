"""What a query says, from its parse: the metrics and labels it names, and the unit of its result."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser as promql

import families
from families import Family

# Of a selector's labels, those that Prometheus adds.
TARGET_LABELS = frozenset({"job", "instance", "le"})

OVER_COUNTERS = frozenset({"rate", "irate", "increase", "resets"})
# Gauges that are a pace already.
PACES = frozenset({"tollgate_pool_rate"})

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})


@dataclass(frozen=True)
class Unit:
    """Powers of a second and of a byte; `is_ratio` tells a part of a whole from a count."""

    seconds: int = 0
    bytes: int = 0
    is_ratio: bool = False
    is_instant: bool = False

    def __str__(self) -> str:
        names = {
            (0, 0): "a part" if self.is_ratio else "a count",
            (1, 0): "a point in time" if self.is_instant else "seconds",
            (0, 1): "bytes",
            (-1, 0): "a rate",
        }
        return names.get((self.seconds, self.bytes), f"seconds^{self.seconds} bytes^{self.bytes}")


COUNT = Unit()
# What panels may show a unit as.
SHOWN = {
    "a count": {"short", "none"},
    "a part": {"percentunit", "none"},
    "seconds": {"s"},
    "bytes": {"bytes"},
    "a rate": {"ops", "reqps", "suffix: pt/s"},
}
# Rates of these are of requests.
REQUESTS = re.compile(
    r"^tollgate_(http_|upstream_)?requests_total$|^tollgate_denied_total$|^tollgate_observed_total$"
)
POINTS = re.compile(r"^tollgate_(agent_spent_total|quota_saved_total|pool_rate|pool_used)$")

Expr = object


class Wrong(Exception):
    """A query that can't mean what it says."""


def parse(query: str) -> Expr:
    try:
        return promql.parse(with_values(query))
    except ValueError as error:
        raise Wrong(f"no PromQL: {error}") from None


def with_values(query: str, values: dict[str, str] | None = None) -> str:
    """The query with Grafana's variables put in."""
    known = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"} | (values or {})
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: known.get(match[1] or match[2], ".*"), query)


def children(node: Expr) -> list[Expr]:
    if isinstance(node, promql.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql.Call):
        return list(node.args)
    if isinstance(node, (promql.AggregateExpr, promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        return [node.expr]
    if isinstance(node, promql.MatrixSelector):
        return [node.vector_selector]
    return []


def walk(node: Expr, above: tuple[Expr, ...] = ()) -> Iterator[tuple[Expr, tuple[Expr, ...]]]:
    yield node, above
    for child in children(node):
        yield from walk(child, (*above, node))


def selectors(node: Expr) -> list[promql.VectorSelector]:
    return [part for part, _ in walk(node) if isinstance(part, promql.VectorSelector)]


def name_of(selector: promql.VectorSelector) -> str:
    if not selector.name:
        raise Wrong("a selector without a name")
    return selector.name


def metrics(node: Expr) -> set[str]:
    return {name_of(selector) for selector in selectors(node)}


def family_of(selector: promql.VectorSelector) -> Family:
    family = families.of(name_of(selector))
    if family is None:
        raise Wrong(f"tollgate exports no {selector.name}")
    return family


def call_name(node: Expr) -> str:
    return node.func.name if isinstance(node, promql.Call) else ""


def check(query: str) -> list[str]:
    """What is wrong with the metrics, labels and functions of a query."""
    problems: list[str] = []
    tree = parse(query)
    for node, above in walk(tree):
        if isinstance(node, promql.VectorSelector):
            try:
                family = family_of(node)
            except Wrong as wrong:
                problems.append(str(wrong))
                continue
            allowed = {*family.labels, *TARGET_LABELS}
            for matcher in node.matchers.matchers:
                if matcher.name not in allowed:
                    problems.append(f"{node.name} has no label {matcher.name}")
            problems.extend(_use(node, family, above))
        if isinstance(node, (promql.AggregateExpr, promql.BinaryExpr)):
            problems.extend(_grouping(node))
    if not problems:
        try:
            unit_of(tree)
        except Wrong as wrong:
            problems.append(str(wrong))
    return problems


def _use(node: promql.VectorSelector, family: Family, above: tuple[Expr, ...]) -> list[str]:
    is_counter = family.kind in ("counter", "histogram")
    functions = {call_name(part) for part in above}
    if functions & OVER_COUNTERS:
        return [] if is_counter else [f"{node.name} is a gauge and has no rate"]
    # What was not there a while ago is compared with what is.
    is_compared = any(
        isinstance(part, promql.BinaryExpr)
        and str(part.op) == "unless"
        and node.name in metrics(part.lhs)
        and node.name in metrics(part.rhs)
        for part in above
    )
    if is_counter and not is_compared:
        return [f"{node.name} is a counter and is used without a rate"]
    return []


def _grouping(node: Expr) -> list[str]:
    """Labels that are grouped or joined by must come from below."""
    there: set[str] = set(TARGET_LABELS)
    for selector in selectors(node):
        family = families.of(name_of(selector))
        there |= set(family.labels) if family else set()
    named = re.findall(
        r"\w+", " ".join(re.findall(r"\(([^)]*)\)", str(getattr(node, "modifier", None) or "")))
    )
    return [f"grouped by {name}, which nothing below has" for name in named if name not in there]


def _name_unit(name: str, family: Family) -> Unit:
    if family.kind == "histogram" and name.endswith(("_bucket", "_count")):
        return COUNT
    base = re.sub(r"_(total|sum)$", "", name)
    if base in PACES:
        return Unit(seconds=-1)
    if base.endswith("_timestamp_seconds") or base == "process_start_time_seconds":
        return Unit(seconds=1, is_instant=True)
    if base.endswith("_seconds"):
        return Unit(seconds=1)
    if base.endswith("_bytes"):
        return Unit(bytes=1)
    return Unit(is_ratio=base.endswith("_ratio"))


def unit_of(node: Expr) -> Unit | None:
    """The unit of what a query gives; none for a bare number, which takes its neighbour's."""
    if isinstance(node, promql.NumberLiteral):
        return None
    if isinstance(node, promql.VectorSelector):
        return _name_unit(name_of(node), family_of(node))
    if isinstance(node, promql.Call):
        return _call_unit(node)
    if isinstance(node, promql.BinaryExpr):
        return _binary_unit(node)
    if isinstance(node, promql.AggregateExpr) and str(node.op) in ("count", "group"):
        return COUNT
    return unit_of(children(node)[0])


def _call_unit(node: promql.Call) -> Unit | None:
    name = node.func.name
    if name == "time":
        return Unit(seconds=1, is_instant=True)
    if name in ("vector", "scalar"):
        return unit_of(node.args[0])
    if name in ("absent", "changes", "resets", "count_over_time"):
        return COUNT
    if name == "histogram_quantile":
        found = selectors(node.args[1])
        base = name_of(found[0]).removesuffix("_bucket")
        return _name_unit(base, Family(base, "gauge"))
    inner = unit_of(node.args[0])
    if name in ("rate", "irate", "deriv") and inner is not None:
        pace = Unit(inner.seconds - 1, inner.bytes)
        # Seconds a second are a part, as of a core.
        return Unit(is_ratio=True) if (pace.seconds, pace.bytes, inner.seconds) == (0, 0, 1) else pace
    return inner


def _binary_unit(node: promql.BinaryExpr) -> Unit | None:
    left, right, op = unit_of(node.lhs), unit_of(node.rhs), str(node.op)
    if op in ("and", "unless"):
        return left
    if left is None or right is None:
        known = left or right
        if known is not None and op == "/" and left is None:
            return Unit(-known.seconds, -known.bytes)
        return known
    if op == "*":
        return Unit(left.seconds + right.seconds, left.bytes + right.bytes, left.is_ratio and right.is_ratio)
    if op == "/":
        made = Unit(left.seconds - right.seconds, left.bytes - right.bytes)
        is_part = (left.seconds, left.bytes) == (right.seconds, right.bytes)
        return Unit(is_ratio=True) if is_part else made
    if (left.seconds, left.bytes) != (right.seconds, right.bytes):
        raise Wrong(f"{op} between {left} and {right}")
    if op == "-" and left.is_instant and right.is_instant:
        return Unit(seconds=1)
    return left


def shown_as(query: str, shown: str) -> str | None:
    """Why a panel can't show this query's result in that unit."""
    tree = parse(query)
    unit = unit_of(tree)
    if unit is None or shown in SHOWN.get(str(unit), set()):
        return _pace(tree, shown) if unit is not None and str(unit) == "a rate" else None
    return f"is {unit}, which is not shown as {shown!r}"


def _pace(tree: Expr, shown: str) -> str | None:
    """Rates of requests, of points and of all else have names of their own."""
    names = metrics(tree)
    is_points = any(POINTS.match(name) for name in names)
    is_requests = any(REQUESTS.match(name) for name in names)
    if is_points and shown != "suffix: pt/s":
        return f"is a rate of points, which is not shown as {shown!r}"
    if is_requests and not is_points and shown != "reqps":
        return f"is a rate of requests, which is not shown as {shown!r}"
    if not is_points and shown == "suffix: pt/s":
        return "is no rate of points"
    return None
