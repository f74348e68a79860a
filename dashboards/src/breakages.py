"""Mistakes planted in a copy of the tree: the check must find each, or it proves nothing."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import families
from venv_here import HOME

COPIED = ("dashboards", "docs/runbook.md", "src/metrics.rs")


@dataclass(frozen=True)
class Breakage:
    what: str
    file: str
    old: str
    new: str
    # Part of what the check must say.
    found: str
    # Whether the JSON is made anew, so that only the mistake itself can be found.
    regenerate: bool = False


PLANTED = (
    Breakage(
        "a metric is renamed in the source",
        "src/metrics.rs",
        '"token_refresh_total"',
        '"token_refreshes_total"',
        "no such metric: tollgate_token_refresh_total",
    ),
    Breakage(
        "a label is renamed in the source",
        "src/metrics.rs",
        '&["installation", "kind"]',
        '&["installation", "limit"]',
        "grouped by kind, which nothing below has",
        regenerate=True,
    ),
    Breakage(
        "a new family is in no table",
        "src/metrics.rs",
        'waiting: make.gauge("waiting"',
        'extra: make.gauge("extra", "New.", &[]),\n            waiting: make.gauge("waiting"',
        "no row for tollgate_extra",
    ),
    Breakage(
        "a panel is edited by hand",
        "dashboards/overview.json",
        '"title": "Waiting now"',
        '"title": "Queued now"',
        "overview.json: is not what dashboards/generate writes",
    ),
    Breakage(
        "a key Grafana does not know",
        "dashboards/overview.json",
        '"gridPos": {\n        "h": 4,',
        '"gridpos": {"h": 9},\n      "gridPos": {\n        "h": 4,',
        "Grafana knows no .panels",
    ),
    Breakage(
        "seconds shown as a count",
        "dashboards/src/overview.py",
        '"s",\n        *quantiles("tollgate_overhead_seconds_bucket")',
        '"short",\n        *quantiles("tollgate_overhead_seconds_bucket")',
        "Time in tollgate: is seconds, which is not shown as 'short'",
        regenerate=True,
    ),
    Breakage(
        "a rate shown as a count",
        "dashboards/src/overview.py",
        '"reqps",\n        "sum(rate(',
        '"short",\n        "sum(rate(',
        "Requests: is a rate, which is not shown as 'short'",
        regenerate=True,
    ),
    Breakage(
        "bytes shown as a count",
        "dashboards/src/operations.py",
        '"bytes",\n        Query("process_resident',
        '"short",\n        Query("process_resident',
        "Memory: is bytes, which is not shown as 'short'",
        regenerate=True,
    ),
    Breakage(
        "a counter without a rate",
        "dashboards/src/overview.py",
        '"sum(rate(tollgate_requests_total[$__rate_interval]))"',
        '"sum(tollgate_requests_total)"',
        "tollgate_requests_total is a counter and is used without a rate",
        regenerate=True,
    ),
    Breakage(
        "a matcher on a label the family has not",
        "dashboards/src/agents.py",
        'tollgate_http_requests_total{status=~"[45].."}',
        'tollgate_http_requests_total{code=~"[45].."}',
        "tollgate_http_requests_total has no label code",
        regenerate=True,
    ),
    Breakage(
        "a panel without advice",
        "dashboards/src/overview.py",
        "**Do:** nothing; a sudden change",
        "A sudden change",
        "Requests: does not say what it means and what to do",
        regenerate=True,
    ),
    Breakage(
        "a panel that points to an alert that is none",
        "dashboards/src/operations.py",
        "runbook, TollgateAuditLost.",
        "runbook, TollgateAuditGone.",
        "points to TollgateAuditGone, which is no alert",
        regenerate=True,
    ),
    Breakage(
        "an alert on a metric that is none",
        "dashboards/alerts.yaml",
        "expr: sum by (job, instance) (increase(tollgate_audit_lost_total[10m])) > 0",
        "expr: sum by (job, instance) (increase(tollgate_audit_failed_total[10m])) > 0",
        "tollgate exports no tollgate_audit_failed_total",
    ),
    Breakage(
        "a threshold that never fires",
        "dashboards/alerts.yaml",
        "max by (job, instance) (max_over_time(tollgate_store_up[1m])) == 0",
        "max by (job, instance) (max_over_time(tollgate_store_up[1m])) < 0",
        "the store is gone",
    ),
    Breakage(
        "an alert that takes all jobs for one",
        "dashboards/alerts.yaml",
        "unless on (job) group by (job) (tollgate_build_info)",
        "unless on () group by (job) (tollgate_build_info)",
        "one of two jobs is dead",
    ),
    Breakage(
        "an alert without a silent case",
        "dashboards/alerts_test.yaml",
        "alertname: TollgateAuditLost\n        exp_alerts: []",
        "alertname: TollgateDown\n        exp_alerts: []",
        "TollgateAuditLost: no case in which it is silent",
    ),
    Breakage(
        "an alert without advice in the runbook",
        "docs/runbook.md",
        "### TollgateStoreAway",
        "### The store is away",
        "TollgateStoreAway: has no heading in runbook.md",
    ),
    Breakage(
        "a family whose row is gone",
        "docs/runbook.md",
        "| `tollgate_waiting{agent}` | gauge |",
        "| `tollgate_held{agent}` | gauge |",
        "no row for tollgate_waiting",
    ),
    Breakage(
        "an alert whose link leads nowhere",
        "dashboards/alerts.yaml",
        "docs/runbook.md#tollgatelimithit",
        "docs/runbook.md#limit-hit",
        "TollgateLimitHit: its runbook_url is not that of its heading",
    ),
)


def run() -> int:
    missed = 0
    for breakage in PLANTED:
        said = _plant(breakage)
        is_found = said is not None and breakage.found in said
        missed += not is_found
        print(f"{'found ' if is_found else 'MISSED'}  {breakage.what}")
        if not is_found:
            print(said or "the check found nothing")
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} planted mistakes were found")
    return 1 if missed else 0


def _plant(breakage: Breakage) -> str | None:
    """What the check says of a tree with the mistake; none if it finds nothing wrong."""
    with tempfile.TemporaryDirectory(prefix="tollgate-dashboards-") as made:
        tree = Path(made)
        for name in COPIED:
            source, target = families.ROOT / name, tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        file = tree / breakage.file
        text = file.read_text()
        if breakage.old not in text:
            return f"{breakage.file} does not hold what is to be broken"
        file.write_text(text.replace(breakage.old, breakage.new, 1))
        if breakage.regenerate:
            made_anew = _python(tree / "dashboards/generate")
            if made_anew.returncode:
                return made_anew.stderr
        ended = _python(tree / "dashboards/check")
        return ended.stdout + ended.stderr if ended.returncode else None


def _python(script: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CARGO_TARGET_DIR": str(HOME.parent)}
    return subprocess.run(
        [sys.executable, "-B", script], capture_output=True, text=True, env=environment, check=False
    )
