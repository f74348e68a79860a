"""What a dashboard's JSON must be, beyond being what the generator makes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import promql
from families import of
from kit import TARGET_LABELS

WIDTH = 24


@dataclass(frozen=True)
class Target:
    """A query where it stands."""

    sheet: str
    panel: str
    expr: str
    unit: str
    is_instant: bool

    def __str__(self) -> str:
        return f"{self.sheet}: {self.panel}"


def load(path: Path) -> dict[str, Any]:
    sheet: dict[str, Any] = json.loads(path.read_text())
    return sheet


def panels(sheet: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in sheet["panels"] if panel["type"] != "row"]


def targets(name: str, sheet: dict[str, Any]) -> Iterator[Target]:
    for panel in panels(sheet):
        many = len(panel["targets"]) > 1
        for target in panel["targets"]:
            yield Target(
                name,
                panel["title"],
                target["expr"],
                _unit(panel, target["refId"], many),
                bool(target.get("instant")),
            )


def _unit(panel: dict[str, Any], ref: str, many: bool) -> str:
    """The unit of one query: the panel's, or what is said of it or of its column."""
    names: dict[str, str] = {}
    for transformation in panel.get("transformations", []):
        names |= transformation.get("options", {}).get("renameByName", {})
    column = names.get(f"Value #{ref}" if many else "Value")
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        is_meant = matcher["options"] == (ref if matcher["id"] == "byFrameRefID" else column)
        for value in override["properties"] if is_meant else []:
            if value["id"] == "unit":
                return str(value["value"])
    return str(panel["fieldConfig"]["defaults"].get("unit", ""))


def check(name: str, text: str, alerts: set[str]) -> list[str]:
    sheet = json.loads(text)
    problems = [f"{name}: {problem}" for problem in (*_dropped(sheet), *_whole(sheet))]
    for panel in panels(sheet):
        problems.extend(f"{name}: {panel['title']}: {problem}" for problem in _panel(panel, alerts))
    for target in targets(name, sheet):
        found = promql.check(target.expr)
        if not found:
            wrong = promql.shown_as(target.expr, target.unit)
            found = [wrong] if wrong else []
        found.extend(_scoped(target.expr, sheet))
        problems.extend(f"{target}: {problem}" for problem in found)
    for mark in sheet["annotations"]["list"]:
        problems.extend(f"{name}: {mark['name']}: {problem}" for problem in promql.check(mark["expr"]))
    return problems


def _dropped(sheet: dict[str, Any]) -> Iterator[str]:
    """Keys the SDK does not know are misspelt."""
    again = json.loads(json.dumps(Dashboard.from_json(sheet), cls=JSONEncoder))

    def compare(here: Any, there: Any, path: str) -> Iterator[str]:
        if isinstance(here, dict) and isinstance(there, dict):
            for key, value in here.items():
                if key in there:
                    yield from compare(value, there[key], f"{path}.{key}")
                elif value not in (None, [], {}):
                    yield f"Grafana knows no {path}.{key}"
        elif isinstance(here, list) and isinstance(there, list):
            for index, (one, other) in enumerate(zip(here, there)):
                yield from compare(one, other, f"{path}[{index}]")

    yield from compare(sheet, again, "")


def _whole(sheet: dict[str, Any]) -> Iterator[str]:
    ids = [panel["id"] for panel in sheet["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    taken: dict[tuple[int, int], str] = {}
    for panel in sheet["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > WIDTH:
            yield f"{panel['title']} is beyond the right edge"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                if other != panel["title"]:
                    yield f"{panel['title']} lies on {other}"
                    return
    titles = [panel["title"] for panel in panels(sheet)]
    yield from (f"two panels are called {title}" for title in {t for t in titles if titles.count(t) > 1})
    variables = {variable["name"]: variable for variable in sheet["templating"]["list"]}
    if "datasource" not in variables:
        yield "has no variable for the data source"
    used = json.dumps([panel["targets"] for panel in panels(sheet)])
    yield from (
        f"${name} is used by no panel"
        for name in variables
        if f"${name}" not in used and f"${{{name}" not in used
    )
    if not any(link["type"] == "dashboards" for link in sheet["links"]):
        yield "has no link to the others"


def _panel(panel: dict[str, Any], alerts: set[str]) -> Iterator[str]:
    says = panel.get("description", "")
    if "**Do:**" not in says or len(says) < 60:
        yield "does not say what it means and what to do"
    for word in says.replace(".", " ").replace(",", " ").split():
        if word.startswith("Tollgate") and word not in alerts:
            yield f"points to {word}, which is no alert"
    if not panel.get("title"):
        yield "has no title"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "has no unit"
    for target in panel["targets"]:
        if target["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
            yield "asks another data source than the one chosen"


def _scoped(expr: str, sheet: dict[str, Any]) -> Iterator[str]:
    """Each selector heeds each variable whose label it has."""
    variables = [
        variable["name"] for variable in sheet["templating"]["list"] if variable["name"] != "datasource"
    ]
    for selector in promql.selectors(promql.parse(expr)):
        family = of(promql.name_of(selector))
        labels = (*TARGET_LABELS, *(family.labels if family else ()))
        there = {matcher.name for matcher in selector.matchers.matchers}
        yield from (
            f"{selector.name} does not heed ${name}"
            for name in variables
            if name in labels and name not in there
        )
