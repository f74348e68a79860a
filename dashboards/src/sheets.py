"""The dashboards as texts, and the files they are kept in."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import agents
import operations
import overview

HOME = Path(__file__).resolve().parents[1]
MAKERS = {"overview": overview.build, "agents": agents.build, "operations": operations.build}


def files() -> list[Path]:
    return [HOME / f"{name}.json" for name in MAKERS]


def text(made: Dashboard) -> str:
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def texts() -> dict[Path, str]:
    return {HOME / f"{name}.json": text(make()) for name, make in MAKERS.items()}


def outdated() -> list[str]:
    """Files that differ from what the generator makes, and files it does not make."""
    made = texts()
    problems = [
        f"{path.name}: is not what dashboards/generate writes"
        for path, wanted in made.items()
        if not path.exists() or path.read_text() != wanted
    ]
    strays = sorted(path.name for path in HOME.glob("*.json") if path not in made)
    return problems + [f"{name}: no dashboard of the generator's" for name in strays]
