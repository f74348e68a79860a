"""What is left of an episode: what the stand-in recorded, what clients saw, what tollgate wrote."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime

from load import Approved, Load
from wire import Call
from world import REPOSITORIES, Trouble, World

JsonObject = dict[str, object]


@dataclass
class History:
    """Checkers look at nothing else, so that what is planted looks the same to them."""

    kinds: set[str] = field(default_factory=set)
    params: list[JsonObject] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    approvals: list[Approved] = field(default_factory=list)
    comments: dict[str, list[Call]] = field(default_factory=dict)
    # How often each comment and each deployment is there in the end.
    comments_there: dict[str, int] = field(default_factory=dict)
    deployments_there: dict[str, int] = field(default_factory=dict)
    books: JsonObject = field(default_factory=dict)
    requests: list[JsonObject] = field(default_factory=list)
    # Node ids of pull requests, and the approval that the merge of each must have.
    pulls: dict[str, str] = field(default_factory=dict)
    rogue_refused: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    audit: list[JsonObject] = field(default_factory=list)
    # Where a text is from, and the text; what must be in none of them.
    texts: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    # Of agents that were not served again in time, the last call.
    unserved: list[Call] = field(default_factory=list)
    # Calls served in the end to the two hungry agents, and their weights.
    served: tuple[int, int] = (0, 0)
    weights: tuple[int, int] = (1, 1)
    # When that was, and when replicas lost the store or found it again, epoch seconds.
    measured: tuple[float, float] = (0.0, 0.0)
    store_changes: list[float] = field(default_factory=list)
    replicas: int = 1
    zero: float = 0.0


def gather(world: World, load: Load) -> History:
    """After the faults and the load."""
    books = world.control("GET", "/books")
    requests = world.control("GET", "/requests?since=0")
    history = History(
        kinds=world.plan.kinds,
        params=[injection.params for injection in world.plan.injections],
        calls=load.calls,
        approvals=load.approvals,
        comments=load.comments,
        comments_there=count(world, "/repos/{}/issues/1/comments", "body"),
        deployments_there=count(world, "/repos/{}/deployments", "description"),
        books=books,
        requests=requests,
        pulls={pull.node: pull.key for pull in [*world.pulls, world.forbidden_pull]},
        rogue_refused=world.rogue_refused,
        troubles=world.troubles,
        texts=texts(world, load),
        secrets=secrets(world),
        replicas=world.plan.replicas,
    )
    history.audit = audit_lines(history.texts)
    history.store_changes = store_changes(history.texts)
    return history


def count(world: World, path: str, member: str) -> dict[str, int]:
    """All there is of something, over all repositories."""
    there: dict[str, int] = {}
    for repository in REPOSITORIES:
        for page in range(1, 20):
            rows = world.personal("GET", f"{path.format(repository)}?per_page=100&page={page}").json()
            assert isinstance(rows, list), rows
            for row in rows:
                there[row[member]] = there.get(row[member], 0) + 1
            if len(rows) < 100:
                break
    return there


def texts(world: World, load: Load) -> dict[str, str]:
    found = {}
    for path in sorted(world.folder.iterdir()):
        if path.name.startswith(("replica-", "audit-")) and path.suffix != ".yaml" and path.is_file():
            found[path.name] = path.read_text(errors="replace")
    found["answers"] = "\n".join(f"{call.headers} {call.text}" for call in load.calls)
    found["admin listeners"] = "\n".join(load.texts)
    return found


def secrets(world: World) -> dict[str, str]:
    """Names of secrets, and a text that tells of each."""
    lines = world.key.read_text().splitlines()
    known = {f"key of {name}": key for name, key in world.keys.items()}
    known |= {f"key of {name}, its random part": key.split("_", 2)[2] for name, key in world.keys.items()}
    known |= {"the App's key": lines[3], "the App's key, its end": lines[-3]}
    known |= {"the issuer's secret": world.issuer_secret, "the admin token": world.admin_token}
    return known | {"an installation token": "ghs_", "a signed token": "eyJ"}


STORE_CHANGES = (
    "Redis did not answer within",
    "the connection to Redis broke",
    "the store of the budget counts again",
)


def store_changes(texts_by_name: dict[str, str]) -> list[float]:
    """From the logs: a machine at its end loses the store without any fault of the episode's."""
    times = []
    for name, text in texts_by_name.items():
        for line in text.splitlines() if name.startswith("replica-") else []:
            stamp = re.search(r'"timestamp":"([^"]+)"', line)
            if stamp and any(words in line for words in STORE_CHANGES):
                times.append(datetime.fromisoformat(stamp[1]).timestamp())
    return times


def audit_lines(texts_by_name: dict[str, str]) -> list[JsonObject]:
    lines = []
    for name, text in texts_by_name.items():
        for line in text.splitlines() if name.startswith("audit-") else []:
            try:
                lines.append(json.loads(line) | {"file": name})
            except ValueError:
                # A killed process or a full disk may cut one short.
                continue
    return lines
