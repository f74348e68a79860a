"""Asks a real Prometheus every question of the dashboards and alerts, and wants an answer to each."""

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import families
import lint
import promql
import runbook
import sheets
from lint import Target
from world import SCRAPE, Failure, Prometheus, Replica, World

# How long the world goes on after the last thing that seldom happens: longer than a rate looks back.
REST_SECONDS = 15
# As they would be with this scrape interval, but for the floor of four of them.
VALUES = {"__rate_interval": "10s", "__interval": "5s", "__range": "2m"}
STEP_SECONDS = 5

# Queries that may have no answer, by a metric they name or as `dashboard: panel`, and why.
MAY_BE_EMPTY = {
    "tollgate_certificate_start_timestamp_seconds": "it is plain HTTP",
    "tollgate_certificate_expiry_timestamp_seconds": "it is plain HTTP",
}

# Alerts that what is done here must raise; no others may fire.
RAISED = {"TollgateLimitHit", "TollgateSecondaryCooldown", "TollgateApprovalsFailing"}


@dataclass(frozen=True)
class Verdict:
    target: Target
    problem: str | None


class Judge:
    def __init__(self, prometheus: Prometheus, since: float):
        self._prometheus = prometheus
        self._since, self._now = since, time.time()

    def variables(self, sheet: dict[str, Any]) -> dict[str, str]:
        """Each variable with all its values, as Grafana puts them into a matcher."""
        found: dict[str, str] = {}
        for variable in sheet["templating"]["list"]:
            if variable["type"] != "query":
                continue
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            if asked is None:
                raise Failure(f"{variable['name']} is no label_values()")
            selector = promql.with_values(asked[1], found)
            values = self._prometheus.ask(f"label/{asked[2]}/values", **{"match[]": selector})
            if not values:
                raise Failure(f"{sheet['title']}: the menu {variable['name']} is empty")
            found[variable["name"]] = "|".join(re.escape(value).replace("\\", "\\\\") for value in values)
        return found

    def target(self, target: Target, variables: dict[str, str]) -> Verdict:
        # A 0 in place of nothing is for people; it would hide a question without an answer.
        expr = re.sub(r"\s+or vector\(0\)$", "", target.expr)
        try:
            is_answered = self._has_values(promql.with_values(expr, VALUES | variables))
        except Failure as failure:
            return Verdict(target, str(failure))
        return Verdict(target, None if is_answered else "no answer")

    def selector(self, selector: Any) -> bool:
        """Whether there is any series of it, whatever the function, threshold or offset around it."""
        matchers = ",".join(str(matcher) for matcher in selector.matchers.matchers)
        return self._has_values(f"{promql.name_of(selector)}{{{matchers}}}")

    def _has_values(self, query: str) -> bool:
        data = self._prometheus.ask(
            "query_range", query=query, start=self._since, end=self._now, step=STEP_SECONDS
        )
        return any(math.isfinite(float(value)) for series in data["result"] for _, value in series["values"])

    def alerts(self) -> Iterator[str]:
        """What is wrong with the rules, as Prometheus runs them."""
        groups = self._prometheus.ask("rules")["groups"]
        rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
        for name in sorted(runbook.names() - rules.keys()):
            yield f"{name}: Prometheus does not know it"
        for name, rule in rules.items():
            if rule["health"] != "ok":
                yield f"{name}: {rule.get('lastError', rule['health'])}"
            if name in RAISED and rule["state"] == "inactive":
                yield f"{name}: is silent, though there is a cause"
            if name not in RAISED and rule["state"] == "firing":
                yield f"{name}: fires, though there is no cause: {json.dumps(rule['alerts'])[:300]}"
        for rule in runbook.rules():
            for selector in promql.selectors(promql.parse(rule["expr"])):
                if not self.selector(selector):
                    yield f"{rule['alert']}: there is no series of {selector}"


def excuse(names: set[str], place: str = "") -> str | None:
    """Why there may be nothing."""
    return next((MAY_BE_EMPTY[name] for name in (*sorted(names), place) if name in MAY_BE_EMPTY), None)


def judge_families(prometheus: Prometheus, replicas: list[Replica]) -> Iterator[str]:
    """What was scraped against what was read from the source: a family that is in one alone was misread."""
    kinds = {name: entries[0]["type"] for name, entries in prometheus.ask("metadata").items()}
    known = {**families.exported(), **families.PROCESS}
    for name, kind in sorted(kinds.items()):
        if name not in known:
            yield f"/metrics has {name}, which src/metrics.rs is not seen to make"
        elif known[name].kind != kind:
            yield f"/metrics has {name} as a {kind}"
    seen: dict[str, set[str]] = {}
    for series in prometheus.ask(
        "series", **{"match[]": '{job="tollgate",__name__=~"(tollgate|process)_.+"}'}
    ):
        family = families.of(series["__name__"])
        if family is not None:
            seen.setdefault(family.name, set()).update(series.keys() - {"__name__", "job", "instance", "le"})
    for name, family in sorted(known.items()):
        if name not in seen:
            if excuse({name}) is None:
                yield f"/metrics has no {name}: nothing here made one, or it is gone"
        elif seen[name] != set(family.labels):
            yield f"/metrics has {name} with the labels {', '.join(sorted(seen[name]))}"
    for replica in replicas:
        text = replica.exposition()
        ended = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            yield f"promtool check metrics: {ended.stdout}{ended.stderr}".rstrip()


def planted(target: Target) -> list[Target]:
    """Questions that have no answer: each must be noticed."""
    return [
        replace(
            target,
            panel="a value that is not there",
            expr='sum(rate(tollgate_requests_total{outcome="severed"}[1m]))',
        ),
        replace(target, panel="a metric that is renamed", expr="sum(tollgate_waiting_calls) or vector(0)"),
        replace(
            target,
            panel="nothing by nothing",
            expr="0 * sum(tollgate_pool_limit) / (0 * sum(tollgate_pool_limit))",
        ),
        replace(
            target,
            panel="a join that matches nothing",
            expr="tollgate_pool_used * on (agent) tollgate_waiting",
        ),
        replace(target, panel="an agent that is none", expr='tollgate_agent_share_ratio{agent="nobody"}'),
    ]


def run(world: World) -> int:
    started = time.time()
    world.work()
    time.sleep(REST_SECONDS)
    judge = Judge(world.prometheus, started)
    problems, notes, asked = list(world.problems), [], 0
    problems += judge_families(world.prometheus, [world.first, world.second])
    for path in sheets.files():
        sheet = lint.load(path)
        variables = judge.variables(sheet)
        for target in lint.targets(path.stem, sheet):
            asked += 1
            verdict = judge.target(target, variables)
            why = excuse(promql.metrics(promql.parse(target.expr)), str(target))
            if verdict.problem and why is None:
                problems.append(f"{target}: {verdict.problem}: {target.expr}")
            if not verdict.problem and why is not None:
                notes.append(f"{target}: has an answer now, and need not be in MAY_BE_EMPTY ({why})")
    last = target
    for problem in judge.alerts():
        name = re.search(r"no series of (\w+)", problem)
        if name is None or excuse({name[1]}) is None:
            problems.append(problem)
    for wrong in planted(last):
        if judge.target(wrong, {}).problem is None:
            problems.append(f"the check is blind: {wrong.panel} was taken for an answer")
    print(*(f"note: {note}" for note in notes), sep="\n", end="\n" if notes else "")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(
        f"dashboards: {asked} queries, {len(runbook.rules())} alerts, scraped every {SCRAPE} for "
        f"{time.time() - started:.0f} s: {len(problems)} problems"
    )
    return 1 if problems else 0
