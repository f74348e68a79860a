"""Starts the program again with the interpreter that has the packages it needs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve() / "dashboards"


def use() -> None:
    python = HOME / "venv/bin/python"
    if not python.exists():
        sys.exit("what this needs is not installed; run dashboards/install first")
    if Path(sys.prefix).resolve() != (HOME / "venv").resolve():
        os.execv(python, [str(python), "-B", *sys.argv])
