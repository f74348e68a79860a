"""The clients of the suite, and what tollgate is set up with for them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.processes import Agent

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
INSTALLED = TARGET / "clients"

AGENTS = [
    Agent("worker", "repositories: [acme/*], require_approval: [merge]"),
    Agent("careful", "repositories: [acme/widgets]"),
    Agent("stranger", "repositories: [other/tool]"),
    Agent("closed", "repositories: [acme/*], ceiling: 0"),
]
# A busy fleet: far more is wanted than a minute has, the client's agent is one of the lightest, and what
# it may have comes more slowly than tollgate holds a call, so some of its calls are sent away. Nothing is
# kept: all of them ask for the same, which would cost nothing.
BUSY_SIM = ["--limit", "3000", "--window", "60"]
BUSY_SECTIONS = """\
cache: { max_size: 0 }
budget:
  max_wait: 300ms
  secondary: { rest_points_per_minute: 10000, rest_points_per_minute_total: 20000 }"""
BUSY_WEIGHTS = {"heavy": 16, "middle": 8, "light": 4, "lightest": 2}
BUSY_AGENTS = [
    *(Agent(agent.name, f"{agent.settings}, weight: 1") for agent in AGENTS),
    *(Agent(name, f"repositories: [acme/*], weight: {weight}") for name, weight in BUSY_WEIGHTS.items()),
]
BUSY_PATH = "/repos/acme/widgets"
# What approves waits, too, and one's pull requests are drafts whatever it says.
GRAPHQL_AGENTS = [
    Agent("worker", "repositories: [acme/*], require_approval: [merge, review]"),
    Agent("careful", "repositories: [acme/widgets], draft_pull_requests: force"),
    Agent("stranger", "repositories: [other/tool]"),
    Agent("closed", "repositories: [acme/*], ceiling: 0"),
]

REFUSALS = {
    "unknown_key": (401, "unauthenticated"),
    "repository_of_others": (403, "repository_forbidden"),
    "over_budget": (403, "budget_exhausted"),
    "merge_without_approval": (403, "approval_required"),
    "careful_tag_without_approval": (403, "approval_required"),
}
MERGE = ["acme/widgets", 76, "PUT /repos/{owner}/{repo}/pulls/{number}/merge"]
GRAPHQL_REFUSALS = {
    "query_of_others": (403, "repository_forbidden"),
    "mutation_of_others": (403, "repository_forbidden"),
    "unknown_mutation": (403, "operation_forbidden"),
    "over_budget": (403, "budget_exhausted"),
    "review_without_approval": (403, "approval_required"),
    "merge_without_approval": (403, "approval_required"),
}
GRAPHQL_MERGE = ["acme/widgets", 76, "mutation mergePullRequest"]


@dataclass(frozen=True)
class Client:
    """A client's flow and the forms of base URL it is pointed at tollgate with."""

    name: str
    command: list
    prefixes: list[str] = field(default_factory=lambda: ["", "/api/v3"])
    # Whose direct run its results must equal; its own, unless it only speaks in tollgate's forms.
    direct: str | None = None
    # What its own exception for a refusal for rate is called.
    limit_error: str | None = None
    is_tls: bool = False
    # Asks for pages of a hundred, so that there is no second one.
    has_one_page: bool = False
    # Where links lead, when it dials another name than the listener's.
    link_base: str | None = None
    # Also works amid a fleet that wants all there is.
    has_busy_run: bool = False
    # Works by GraphQL alone, and its approvals are signed ones.
    is_graphql: bool = False
    # What its own exception for a refusal by policy is called.
    policy_error: str | None = None
    environment: dict = field(default_factory=dict)

    @property
    def agents(self) -> list[Agent]:
        return GRAPHQL_AGENTS if self.is_graphql else AGENTS

    @property
    def refusals(self) -> dict[str, tuple[int, str]]:
        return GRAPHQL_REFUSALS if self.is_graphql else REFUSALS

    @property
    def merge(self) -> list:
        """The one merge there is to be: repository, number, and what did it."""
        return GRAPHQL_MERGE if self.is_graphql else MERGE


PYTHON = [INSTALLED / "venv/bin/python"]
NODE = ["node"]


def python(name: str, flow: str | None = None, **settings) -> Client:
    return Client(name, [*PYTHON, HERE / f"python/{flow or name}_flow.py"], **settings)


def curl(name: str, options: str, **settings) -> Client:
    return python(name, "curl", direct="requests", environment={"CLIENT_CURL": options}, **settings)


def graphql(name: str, flow: str, **settings) -> Client:
    """A client that does the work of `graphql_work.py`; requests, told the same, is what it is compared with."""
    environment = {"CLIENT_WORK": "graphql", **settings.pop("environment", {})}
    settings = {"direct": "requests-graphql", **settings}
    return python(name, flow, is_graphql=True, environment=environment, **settings)


CLIENTS = [
    python("pygithub", limit_error="RateLimitExceededException", has_busy_run=True),
    # Node looks for packages from where the script is, so `main` puts a copy there.
    Client(
        "octokit",
        [*NODE, INSTALLED / "node/octokit_flow.mjs"],
        limit_error="onRateLimit",
        has_busy_run=True,
    ),
    Client(
        "probot",
        [*NODE, INSTALLED / "node/octokit_flow.mjs", "probot"],
        prefixes=["/api/v3"],
        limit_error="onRateLimit",
    ),
    python("requests"),
    python("httpx", direct="requests"),
    python("githubkit", direct="requests", limit_error="SecondaryRateLimitExceeded"),
    python("gidgethub", direct="requests", limit_error="RateLimitExceeded"),
    python("github3", limit_error="ForbiddenError", has_one_page=True),
    Client(
        "octocrab",
        [TARGET / "debug/octocrab-client"],
        direct="requests",
    ),
    python("gh-tls", "gh", prefixes=["/api/v3"], direct="requests", is_tls=True, environment={"CLIENT_GH": "tls"}),
    python(
        "gh-localhost",
        "gh",
        prefixes=[""],
        direct="requests",
        link_base="http://api.github.localhost",
        environment={"CLIENT_GH": "localhost"},
    ),
    python("hub", prefixes=["/api/v3"], direct="requests"),
    curl("curl", "--http1.1"),
    curl("curl-tls", "--http1.1", is_tls=True),
    curl("curl-http2", "--http2", is_tls=True),
    graphql("requests-graphql", "requests", policy_error="HTTPError"),
    graphql(
        "pygithub-graphql",
        "pygithub_graphql",
        limit_error="RateLimitExceededException",
        policy_error="GithubException",
    ),
    graphql(
        "githubkit-graphql",
        "githubkit",
        limit_error="SecondaryRateLimitExceeded",
        policy_error="RequestFailed",
    ),
    Client(
        "octokit-graphql",
        [*NODE, INSTALLED / "node/octokit_graphql.mjs"],
        direct="requests-graphql",
        is_graphql=True,
        policy_error="HttpError",
    ),
    Client(
        "octocrab-graphql",
        [TARGET / "debug/octocrab-client"],
        direct="requests-graphql",
        is_graphql=True,
        policy_error="GitHub",
        environment={"CLIENT_WORK": "graphql"},
    ),
    graphql(
        "gh-graphql",
        "gh",
        prefixes=["/api/v3"],
        is_tls=True,
        policy_error="CommandFailed",
        environment={"CLIENT_GH": "tls"},
    ),
    graphql("hub-graphql", "hub", prefixes=["/api/v3"], policy_error="CommandFailed"),
    python(
        "gh-commands",
        "gh_commands",
        policy_error="CommandFailed",
        prefixes=[""],
        link_base="http://api.github.localhost",
        is_graphql=True,
        environment={"CLIENT_GH": "localhost"},
    ),
    python(
        "gh-commands-tls",
        "gh_commands",
        policy_error="CommandFailed",
        prefixes=["/api/v3"],
        direct="gh-commands",
        is_tls=True,
        is_graphql=True,
        environment={"CLIENT_GH": "tls"},
    ),
]
