"""docs/runbook.md against alerts and families: whoever is woken finds what it means; nothing is left over."""

import re
from typing import Any

import yaml

import families
import promql

RUNBOOK = families.ROOT / "docs/runbook.md"
ALERTS = families.ROOT / "dashboards/alerts.yaml"
CASES = families.ROOT / "dashboards/alerts_test.yaml"

SEVERITIES = {"critical", "warning"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def names() -> set[str]:
    return {rule["alert"] for rule in rules()}


def check() -> list[str]:
    text = RUNBOOK.read_text()
    return [*_alerts(text), *_cases(), *_table(text)]


def _alerts(text: str) -> list[str]:
    problems = []
    headings = re.findall(r"^#{2,4} (.+)$", text, re.MULTILINE)
    for rule in rules():
        name, notes = rule["alert"], rule.get("annotations", {})
        problems += [f"{name}: {problem}" for problem in promql.check(rule["expr"])]
        problems += [
            f"{name}: has no {note}"
            for note in ("summary", "description", "runbook_url")
            if not notes.get(note)
        ]
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            problems.append(f"{name}: has no severity")
        if notes.get("runbook_url") != f"docs/runbook.md#{name.lower()}":
            problems.append(f"{name}: its runbook_url is not that of its heading")
        if name not in headings:
            problems.append(f"{name}: has no heading in {RUNBOOK.name}")
    there = {heading for heading in headings if heading.startswith("Tollgate")}
    return problems + [f"{RUNBOOK.name}: {name} is no alert" for name in sorted(there - names())]


def _cases() -> list[str]:
    fires: set[str] = set()
    silent: set[str] = set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for test in case["alert_rule_test"]:
            (fires if test["exp_alerts"] else silent).add(test["alertname"])
    problems = [f"{name}: no case in which it fires" for name in sorted(names() - fires)]
    problems += [f"{name}: no case in which it is silent" for name in sorted(names() - silent)]
    return problems + [f"{CASES.name}: {name} is no alert" for name in sorted((fires | silent) - names())]


def _table(text: str) -> list[str]:
    """`name{labels}` in the first cell of each row, kind in the second."""
    problems, there = [], set()
    known = {**families.UPCOMING, **families.exported(), **families.PROCESS}
    for name, labels, kind in re.findall(
        r"^\| `((?:tollgate|process)_\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", text, re.MULTILINE
    ):
        if name in there:
            problems.append(f"{RUNBOOK.name}: two rows for {name}")
        there.add(name)
        family = known.get(name)
        if family is None:
            problems.append(f"{RUNBOOK.name}: tollgate exports no {name}")
        elif tuple(filter(None, labels.split(","))) != family.labels:
            problems.append(f"{RUNBOOK.name}: {name} has the labels {', '.join(family.labels) or 'none'}")
        elif kind != family.kind:
            problems.append(f"{RUNBOOK.name}: {name} is a {family.kind}")
    return problems + [f"{RUNBOOK.name}: no row for {name}" for name in sorted(known.keys() - there)]
