"""The clients: what they send, over and over, until they are told to stop."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sign
from wire import Call, Line
from world import REPOSITORIES, World

READS = [
    "/repos/{repository}",
    "/repos/{repository}/issues",
    "/repos/{repository}/commits",
    "/repos/{repository}/branches/main",
    "/repos/{repository}/labels",
    "/repos/{repository}/pulls",
    "/repos/{repository}/contents/README.md",
    "/repos/{repository}/languages",
]
QUERY = (
    "query($owner: String!, $name: String!) "
    "{ repository(owner: $owner, name: $name) { issues(first: 5) { nodes { title } } } }"
)
COMMENT = "mutation($input: AddCommentInput!) { addComment(input: $input) { clientMutationId } }"
MERGE = "mutation($input: MergePullRequestInput!) { mergePullRequest(input: $input) { clientMutationId } }"
HUNGRY_LINES = 5
# Then a client hangs up: a slow body may take minutes.
FINISH_SECONDS = 25.0
# What tollgate refuses before anything goes to GitHub, so the client may send it again.
NOTHING_WAS_SENT = {
    "unauthenticated",
    "repository_forbidden",
    "operation_forbidden",
    "approval_required",
    "approval_invalid",
    "budget_exhausted",
    "bad_request",
    "overloaded",
    "draining",
    "store_unavailable",
    "no_installation",
}


@dataclass
class Approved:
    """An approval, and the request it opens; of a pull request's merge, GraphQL's form of it as well."""

    key: str
    repository: str
    method: str
    path: str
    body: str
    token: str
    jti: str
    agent: str
    mutation: str = ""
    signed: float = field(default_factory=time.time)


class Load:
    """All clients of an episode; `calls` is what they saw."""

    def __init__(self, world: World):
        self.world = world
        self.calls: list[Call] = []
        self.approvals: list[Approved] = []
        # Bodies of comments, each with the calls that sent it.
        self.comments: dict[str, list[Call]] = {}
        self.texts: list[str] = []
        self.stop_mixed = threading.Event()
        self.stop_all = threading.Event()
        self.threads: list[threading.Thread] = []
        # What each thread asks by.
        self.lines: dict[int, Line] = {}

    def start(self) -> None:
        hungry, mixed = self.stop_all, self.stop_mixed
        for agent in self.world.agents[:2]:
            for number in range(HUNGRY_LINES):
                self.run(f"hungry-{agent}-{number}", hungry, self.hungry(agent))
        for number in range(2):
            self.run(f"reader-{number}", mixed, self.read)
            self.run(f"writer-{number}", mixed, self.comment)
        self.run("searcher", mixed, self.search)
        self.run("intruder", mixed, self.intrude)
        self.run("approver", mixed, self.approve())
        self.run("replayer", hungry, self.replay)
        self.run("watcher", hungry, self.watch)

    def run(self, name: str, stop: threading.Event, step: Callable[[random.Random], float]) -> None:
        rng = random.Random(f"{self.world.plan.seed}:{name}")

        def go() -> None:
            while not stop.is_set():
                stop.wait(step(rng))

        thread = threading.Thread(target=go, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def finish(self) -> None:
        self.stop_mixed.set()
        self.stop_all.set()
        end = time.time() + FINISH_SECONDS
        for thread in self.threads:
            thread.join(max(0.0, end - time.time()))
        for line in list(self.lines.values()):
            line.hang_up()
        for thread in self.threads:
            thread.join(20)
        alive = [thread.name for thread in self.threads if thread.is_alive()]
        if alive:
            raise RuntimeError(f"clients that never end: {alive}")

    def send(
        self, call: Call, body: str | None = None, approval: str = "", line: Line | None = None, keep: bool = False
    ) -> Call:
        key = self.world.keys.get(call.agent, "")
        headers = {"Authorization": f"Bearer {key}", "User-Agent": f"client/{call.purpose}"}
        if call.wait:
            headers["Prefer"] = f"wait={call.wait:g}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        if approval:
            headers["X-Merge-Approval"] = approval
        line = self.lines[threading.get_ident()] = line or Line(self.world.ports[call.replica])
        self.calls.append(line.send(call, headers, body, keep))
        return call

    def replica(self, rng: random.Random) -> int:
        return rng.randrange(self.world.plan.replicas)

    # ── clients: each is a step, which gives the seconds until the next ──

    def hungry(self, agent: str) -> Callable[[random.Random], float]:
        """Asks as fast as it is answered, on kept connections, for what no cache has."""
        lines = [Line(port) for port in self.world.ports]
        numbers = iter(range(1_000_000))

        def step(rng: random.Random) -> float:
            replica = self.replica(rng)
            path = rng.choice(READS).format(repository=rng.choice(REPOSITORIES))
            path += f"?n={threading.get_ident()}-{next(numbers)}"
            call = Call("hungry", agent, replica, "GET", path, wait=3)
            self.send(call, line=lines[replica], keep=True)
            return 0.0 if call.status == 200 else 0.1

        return step

    def read(self, rng: random.Random) -> float:
        if rng.random() < 0.2:
            return self.query(rng)
        path = rng.choice(READS).format(repository=rng.choice(REPOSITORIES))
        agent = rng.choice(self.world.agents)
        self.send(Call("read", agent, self.replica(rng), "GET", path, wait=rng.choice([0, 0, 1, 4])))
        return rng.uniform(0, 0.1)

    def query(self, rng: random.Random) -> float:
        owner, name = rng.choice(REPOSITORIES).split("/")
        call = Call("query", rng.choice(self.world.agents), self.replica(rng), "POST", "/graphql", wait=1)
        self.send(call, graphql(QUERY, {"owner": owner, "name": name}))
        return rng.uniform(0, 0.1)

    def search(self, rng: random.Random) -> float:
        agent = rng.choice(self.world.agents)
        path = f"/search/issues?q=repo:{rng.choice(REPOSITORIES)}+w{rng.randrange(50)}"
        self.send(Call("search", agent, self.replica(rng), "GET", path, wait=1))
        return 0.3

    def comment(self, rng: random.Random) -> float:
        """A body that nobody else sends. What ended in an error is sent again, sometimes."""
        text = f"comment {self.world.plan.seed} {rng.randrange(10**12)}"
        repository = rng.choice([name for name in REPOSITORIES])
        path, body = f"/repos/{repository}/issues/1/comments", json.dumps({"body": text})
        if rng.random() < 0.3:
            subject = self.world.issue_nodes[repository]
            path, body = "/graphql", graphql(COMMENT, {"input": {"subjectId": subject, "body": text}})
        for _ in range(rng.choice([1, 1, 3])):
            call = Call("comment", rng.choice(self.world.agents), self.replica(rng), "POST", path, wait=3, tag=text)
            self.send(call, body)
            self.comments.setdefault(text, []).append(call)
            if call.is_done or self.stop_mixed.wait(0.2):
                break
        return rng.uniform(0, 0.2)

    def approve(self) -> Callable[[random.Random], float]:
        """One approval after the other, each used by several at once, by different replicas."""
        pulls = iter(self.world.pulls)
        numbers = iter(range(1_000_000))

        def step(rng: random.Random) -> float:
            pull = next(pulls, None) if rng.random() < 0.5 else None
            number = next(numbers)
            approved = self.merge(pull, rng) if pull else self.deployment(number, rng)
            self.approvals.append(approved)
            start = self.replica(rng)
            use = lambda offset: self.use(approved, start + offset, rng, rng.choice([2, 4]), "approved")
            threads = [threading.Thread(target=use, args=(offset,), daemon=True) for offset in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return 0.05

        return step

    def use(self, approved: Approved, replica: int, rng: random.Random, wait: float, purpose: str) -> Call:
        replica %= self.world.plan.replicas
        method, path, body = approved.method, approved.path, approved.body
        if approved.mutation and rng.random() < 0.4:
            method, path, body = "POST", "/graphql", approved.mutation
        call = Call(purpose, approved.agent, replica, method, path, wait, approved.key)
        return self.send(call, body, approved.token)

    def merge(self, pull, rng: random.Random) -> Approved:
        jti = sign.approval_name(rng)
        claims = sign.claims(pull.repository, "merge", jti, ahead=rng.choice([0, 0, 1]))
        claims |= {"pull_number": pull.number, "head_sha": pull.head}
        path = f"/repos/{pull.repository}/pulls/{pull.number}/merge"
        token = sign.jws(self.world.issuer_secret, claims)
        mutation = graphql(MERGE, {"input": {"pullRequestId": pull.node}})
        agent = rng.choice(self.world.agents)
        return Approved(pull.key, pull.repository, "PUT", path, "{}", token, jti, agent, mutation)

    def deployment(self, number: int, rng: random.Random) -> Approved:
        """A ref-write that GitHub carries out as often as it arrives."""
        repository, key = rng.choice(REPOSITORIES), f"deployment {self.world.plan.seed}-{number}"
        path = f"/repos/{repository}/deployments"
        body = json.dumps({"ref": "main", "auto_merge": False, "required_contexts": [], "description": key})
        jti = sign.approval_name(rng)
        claims = sign.claims(repository, "ref-write", jti, ahead=rng.choice([0, 0, 1]))
        claims["request_sha256"] = sign.request_sha256("POST", path, body)
        token = sign.jws(self.world.issuer_secret, claims)
        return Approved(key, repository, "POST", path, body, token, jti, rng.choice(self.world.agents))

    def replay(self, rng: random.Random) -> float:
        """Comes with an approval that was used, or may have been."""
        if not self.approvals:
            return 0.1
        recent = self.approvals[-3:] if rng.random() < 0.5 else self.approvals
        self.use(rng.choice(recent), self.replica(rng), rng, 1, "replay")
        return rng.uniform(0.02, 0.15)

    def intrude(self, rng: random.Random) -> float:
        """Merges and deploys what nobody approved."""
        pull, secret = self.world.forbidden_pull, self.world.issuer_secret
        claims = sign.claims(pull.repository, "merge", sign.approval_name(rng))
        right = claims | {"pull_number": pull.number, "head_sha": pull.head}
        forged = rng.choice(
            [
                "",
                sign.jws(sign.random_text(rng, 40), right),
                sign.jws(secret, right, algorithm="none"),
                sign.jws(secret, right | {"exp": int(time.time()) - 1, "iat": int(time.time()) - 60}),
                sign.jws(secret, claims | {"pull_number": pull.number}),
                sign.jws(secret, right | {"pull_number": pull.number + 1}),
                sign.jws(secret, right | {"action": "ref-write"}),
            ]
        )
        path = f"/repos/{pull.repository}/pulls/{pull.number}/merge"
        method, body = "PUT", "{}"
        if rng.random() < 0.3:
            path, method = f"/repos/{pull.repository}/deployments", "POST"
            body = json.dumps({"ref": "main", "description": "intruder"})
        elif rng.random() < 0.4:
            path, method, body = "/graphql", "POST", graphql(MERGE, {"input": {"pullRequestId": pull.node}})
        agent = rng.choice(self.world.agents)
        self.send(Call("unapproved", agent, self.replica(rng), method, path, 1), body, forged)
        return rng.uniform(0.1, 0.4)

    def watch(self, rng: random.Random) -> float:
        """Reads what operators read, for what must not be in it."""
        line = Line(self.world.admin_ports[self.replica(rng)])
        path = rng.choice(["/metrics", "/api/status", "/"])
        call = line.send(Call("watch", "", -1, "GET", path), {}, None, keep=False)
        self.texts.append(call.text)
        return 0.4


def graphql(document: str, variables: dict[str, object]) -> str:
    return json.dumps({"query": document, "variables": variables})
