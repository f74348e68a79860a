"""The clients: each is a step that is taken at a steady pace, until the run is over."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import lines
from fleet import REPLICAS, Fleet
from lines import TlsLine
from record import Record, Seen

import sign
from load import READS
from wire import Call, Line

# By installation. What all ask for together, spread evenly, is half of the points that tollgate gives each a minute:
# with more, a read waits for its turn, and its latency tells of the load.
REPOSITORIES = [["acme/widgets", "acme/gadgets", "acme/new-name"], ["other/tool"], ["solo/notes"]]
# Issue 1 of these takes comments.
DISCUSSED = ["acme/widgets", "other/tool", "solo/notes"]
INSTALLATIONS = {"acme": 1001, "other": 1002, "solo": 1003}
# What no answer and no log may hold, beside the secrets of the run: an installation token, a signed token.
MARKS = ("ghs_", "eyJ")
QUERY = 'query { repository(owner: "%s", name: "%s") { name issues(first: 5) { nodes { number title } } } }'
ATTEMPTS = 6
Step = Callable[[random.Random], object]


def secret_in(text: str, secrets: tuple[str, ...]) -> str:
    """The first that is found. Agents' keys are many, and all begin alike."""
    has_key = "tg_" in text
    likely = (secret for secret in (*secrets, *MARKS) if has_key or not secret.startswith("tg_"))
    return next((secret for secret in likely if secret in text), "")


def any_repository(rng: random.Random) -> str:
    return rng.choice(rng.choice(REPOSITORIES))


class Clients:
    def __init__(self, fleet: Fleet, record: Record):
        self.fleet, self.record = fleet, record
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []
        # Held while an approval is signed and used, and while the issuer's secret is replaced.
        self.signing = threading.Lock()
        self.numbers = count(1)

    def start(self) -> None:
        for number in range(4):
            self.run(f"cached-{number}", 12, self.reader("cached", "reader"))
        for number in range(2):
            self.run(f"uncached-{number}", 5, self.reader("uncached", "reader", is_new=True))
            self.run(f"poll-{number}", 5, self.poller())
            self.run(f"slow-{number}", 0.3, self.slow)
        self.run("fresh", 4, self.fresh)
        self.run("guest", 3, self.guest)
        self.run("search", 0.2, self.search)
        self.run("comment", 0.12, self.comment)
        self.run("graphql", 2, self.graphql)
        self.run("hang-up", 2, self.hang_up)
        self.run("merge", 0.1, self.merge)
        self.run("webhook", 1, self.webhook)
        self.run("watch", 1, self.watch)

    def run(self, name: str, per_second: float, step: Step) -> None:
        rng = random.Random(f"{self.fleet.plan.seed}:{name}")

        def go() -> None:
            due = time.monotonic() + rng.random() / per_second
            while not self.stop.wait(max(0.0, due - time.monotonic())):
                try:
                    step(rng)
                except Exception as error:  # A client that ends unseen would make the rest look good.
                    self.record.broken.append(f"{name}: {type(error).__name__}: {error}")
                    return
                # Who was held up does not catch up: that would be a burst.
                due = max(due + rng.uniform(0.5, 1.5) / per_second, time.monotonic())

        thread = threading.Thread(target=go, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def finish(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    # ── sending ──

    def send(self, call: Call, line: Line, headers: dict[str, str], body: str | None = None, keep: bool = True) -> Call:
        headers = {"Authorization": f"Bearer {self.fleet.keys.get(call.agent, '')}", "User-Agent": "soak"} | headers
        line.send(call, headers, body, keep)
        self.note(call)
        return call

    def note(self, call: Call) -> None:
        what = call.problem or call.error
        request_id = call.headers.get("x-request-id", "")
        times = (call.started, call.ended, call.quiet_since)
        seen = Seen(call.purpose, call.agent, call.replica, *times, call.status, what, request_id)
        self.record.calls.append(seen)
        if secret := secret_in(call.text, tuple(self.fleet.secrets)):
            self.record.leaks.append(f"{secret[:7]}… in an answer to {call.method} {call.path}")

    def line(self, replica: int) -> TlsLine:
        return TlsLine(self.fleet.ports[replica], self.fleet.trust)

    def kept(self) -> Iterator[tuple[int, TlsLine]]:
        """A connection to each replica, in turn."""
        kept = [self.line(replica) for replica in range(REPLICAS)]
        while True:
            yield from enumerate(kept)

    # ── clients ──

    def reader(self, kind: str, agent: str, is_new: bool = False) -> Step:
        turns = self.kept()

        def step(rng: random.Random) -> None:
            replica, line = next(turns)
            path = rng.choice(READS).format(repository=any_repository(rng))
            path += f"?n={next(self.numbers)}" if is_new else ""
            self.send(Call(kind, agent, replica, "GET", path), line, {})

        return step

    def poller(self) -> Step:
        turns = self.kept()
        tags: dict[str, str] = {}

        def step(rng: random.Random) -> None:
            replica, line = next(turns)
            path = rng.choice(READS[:4]).format(repository=any_repository(rng))
            headers = {"If-None-Match": tags[path]} if path in tags else {}
            call = self.send(Call("poll", "poller", replica, "GET", path), line, headers)
            tags[path] = call.headers.get("etag", tags.get(path, ""))

        return step

    def fresh(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        path = rng.choice(READS).format(repository=any_repository(rng))
        self.send(Call("fresh", "reader", replica, "GET", path), self.line(replica), {}, keep=False)

    def guest(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        path = f"/repos/{any_repository(rng)}"
        self.send(Call("guest", self.fleet.guest, replica, "GET", path), self.line(replica), {}, keep=False)

    def search(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        path = f"/search/issues?q=repo:{any_repository(rng)}+w{next(self.numbers)}"
        # GitHub has 30 a minute, and tollgate spreads them: some wait.
        patient = {"Prefer": "wait=20"}
        self.send(Call("search", "reader", replica, "GET", path), self.line(replica), patient, keep=False)

    def graphql(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        body = json.dumps({"query": QUERY % tuple(any_repository(rng).split("/"))})
        call = Call("graphql", "poller", replica, "POST", "/graphql")
        self.send(call, self.line(replica), {"Content-Type": "application/json"}, body, keep=False)

    def comment(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        path = f"/repos/{rng.choice(DISCUSSED)}/issues/1/comments"
        body = json.dumps({"body": f"comment {next(self.numbers)}"})
        call = Call("comment", "writer", replica, "POST", path)
        self.send(call, self.line(replica), {"Content-Type": "application/json"}, body, keep=False)

    def slow(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        call = Call("slow", "reader", replica, "GET", f"/repos/{any_repository(rng)}/issues")
        lines.ask_slowly(call, self.fleet.ports[replica], self.fleet.trust, self.fleet.keys["reader"])
        self.note(call)

    def hang_up(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        path = f"/repos/{any_repository(rng)}/issues?n={next(self.numbers)}"
        call = Call("hang-up", "reader", replica, "GET", path)
        after = rng.choice([0.0, 0.001, 0.003, 0.01])
        lines.hang_up(call, self.fleet.ports[replica], self.fleet.trust, self.fleet.keys["reader"], after)
        self.note(call)

    def merge(self, rng: random.Random) -> None:
        """Opens a pull request, tries it without an approval, then with one, through two replicas at once."""
        repository, number = any_repository(rng), next(self.numbers)
        branch = f"work-{number}"
        tip = self.fleet.personal("GET", f"/repos/{repository}/git/ref/heads/main").json()
        made = {"ref": f"refs/heads/{branch}", "sha": tip["object"]["sha"]}
        self.fleet.personal("POST", f"/repos/{repository}/git/refs", made)
        push = {"repository": repository, "branch": branch, "path": f"{branch}.txt", "content": branch}
        head = self.fleet.control("POST", "/world/push", push)["sha"]
        opening = {"repository": repository, "head": branch, "base": "main", "title": branch}
        pull = self.fleet.control("POST", "/world/pull", opening)["number"]
        if rng.random() < 0.25:
            self.use("unapproved", repository, pull, "", rng.randrange(REPLICAS))
            return
        self.record.approved.add(f"{repository}#{pull}")
        for _ in range(ATTEMPTS):
            if self.approve(repository, pull, head, rng) or self.stop.wait(1.5):
                return

    def approve(self, repository: str, pull: int, head: str, rng: random.Random) -> bool:
        jti = sign.approval_name(rng)
        with self.signing:
            claims = sign.claims(repository, "merge", jti) | {"pull_number": pull, "head_sha": head}
            token = sign.jws(self.fleet.issuer_secret, claims)
            first = rng.randrange(REPLICAS)
            twins = [(first + offset) % REPLICAS for offset in range(2)]
            calls: list[Call] = []
            use = lambda replica: calls.append(self.use("approved", repository, pull, token, replica))
            threads = [threading.Thread(target=use, args=(replica,), daemon=True) for replica in twins]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            is_merged = any(call.status == 200 for call in calls)
            if is_merged:
                self.record.used_jtis.add(jti)
                self.use("replay", repository, pull, token, rng.randrange(REPLICAS))
        return is_merged

    def use(self, kind: str, repository: str, pull: int, token: str, replica: int) -> Call:
        call = Call(kind, "merger", replica, "PUT", f"/repos/{repository}/pulls/{pull}/merge")
        headers = {"Content-Type": "application/json"} | ({"X-Merge-Approval": token} if token else {})
        return self.send(call, self.line(replica), headers, "{}", keep=False)

    def webhook(self, rng: random.Random) -> None:
        """A delivery about what changed; one in ten is forged."""
        replica, repository = rng.randrange(REPLICAS), any_repository(rng)
        owner = repository.split("/")[0]
        body = json.dumps({
            "ref": "refs/heads/main",
            "repository": {"full_name": repository, "owner": {"login": owner}},
            "installation": {"id": INSTALLATIONS[owner]},
        })
        is_forged = rng.random() < 0.1
        secret = sign.random_text(rng, 40) if is_forged else self.fleet.webhook_secret
        signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": f"{self.fleet.plan.seed}-{next(self.numbers)}",
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        call = Call("forged" if is_forged else "webhook", "", replica, "POST", "/")
        self.send(call, Line(self.fleet.hook_ports[replica]), headers, body, keep=False)

    def watch(self, rng: random.Random) -> None:
        replica = rng.randrange(REPLICAS)
        call = Call("watch", "", replica, "GET", rng.choice(["/", "/api/status", "/metrics", "/readyz"]))
        self.send(call, Line(self.fleet.admin_ports[replica]), {}, keep=False)
