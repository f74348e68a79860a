"""Where things are, how a command is run, and how it is told what came out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent

# The oldest whose preStop knows `sleep` without a switch, and the newest there are schemas for.
KUBERNETES = ("1.30", "1.37")

# Keys that anybody may know; no check reaches the network with them.
KEYS = ROOT / "loadtest/github-sim/keys"


class Report:
    """One line for each check."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, what: str, problems: list[str]):
        self.passed, self.failed = self.passed + (not problems), self.failed + bool(problems)
        print(f"{'FAIL' if problems else 'ok  '} {what}", flush=True)
        for problem in problems:
            print("       " + problem.strip().replace("\n", "\n       "), flush=True)

    def skip(self, what: str, why: str):
        self.skipped += 1
        print(f"skip {what}: {why}", flush=True)

    def tool(self, what: str, *command: str | Path, cwd: Path = ROOT, env: dict | None = None):
        """A command that must end with 0; what it says is shown when it does not."""
        done = run(*command, cwd=cwd, env=env)
        self.check(what, [] if done.returncode == 0 else [done.stdout + done.stderr])


def run(*command: str | Path, cwd: Path = ROOT, env: dict | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "HOME": "/nonexistent", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
