"""A small world on loopback that has something of everything: the stand-in for GitHub, a Redis, two replicas
of tollgate and a Prometheus that scrapes them, and agents that work, wait, overdo it and are turned away.
"""

import base64
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families

sys.path.insert(0, str(families.ROOT / "tests/clients"))

from harness.processes import (  # type: ignore[import-not-found]
    DIRECT,
    Failure as Failure,
    GithubSim,
    Process as Process,
    approver,
    environment,
    new_key,
    request_json,
)

APP_KEY = families.ROOT / "loadtest/github-sim/keys/pkcs1.pem"
# Points of a window, and its length: less than the agents want.
LIMIT, WINDOW = 1500, 300
SCRAPE = "1s"
READY_SECONDS = 20
REQUEST_SECONDS = 15

# Two that always want more, one that builds, one that merges, and one of another installation.
AGENTS = {
    "reviewer": "weight: 3, repositories: [acme/widgets]",
    "scanner": "weight: 1, repositories: [acme/widgets]",
    "builder": "weight: 2, repositories: [acme/widgets, acme/gadgets]",
    "merger": "weight: 50, repositories: [acme/widgets]",
    "visitor": "weight: 1, repositories: [other/tool]",
}
WIDGETS = "/repos/acme/widgets"
HOOK_SECRET = "of this world alone"
# Who vouches for agents that come without a key.
ISSUER = "https://world.example"


class Redis(Process):  # type: ignore[misc]
    def __init__(self, files: Path):
        self.port = free_port()
        command = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", files]
        super().__init__(command, files, "redis", environment())
        until("redis", lambda: self.say("PING") == "PONG")

    def say(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=REQUEST_SECONDS, check=False)
        return ended.stdout.strip()


class Replica(Process):  # type: ignore[misc]
    """One tollgate of two that share the store and the agents' keys."""

    def __init__(self, binary: Path, files: Path, name: str, policy: str, common: str):
        config = files / f"{name}.yaml"
        audit = files / f"{name}.audit"
        config.write_text(f"{common}policy: {{ {policy}, audit_log: {json.dumps(str(audit))} }}\n")
        super().__init__(
            [binary, "serve", "--config", config], files, name, environment(TOLLGATE_LOG_FORMAT="json")
        )
        said = self._ready(self.stderr, "tollgate serves")
        self.url = f"http://{said['listen']}"
        self.admin = said["admin_listen"]

    def exposition(self) -> str:
        with DIRECT.open(f"http://{self.admin}/metrics", timeout=REQUEST_SECONDS) as answer:
            text: str = answer.read().decode()
        return text


class Prometheus(Process):  # type: ignore[misc]
    def __init__(self, files: Path, replicas: list[Replica]):
        self._url = f"http://127.0.0.1:{free_port()}"
        scraped = [replica.admin for replica in replicas]
        config = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": [str(families.ROOT / "dashboards/alerts.yaml")],
            "scrape_configs": [{"job_name": "tollgate", "static_configs": [{"targets": scraped}]}],
        }
        # JSON is YAML.
        (files / "prometheus.yml").write_text(json.dumps(config))
        super().__init__(
            [
                "prometheus",
                f"--config.file={files / 'prometheus.yml'}",
                f"--storage.tsdb.path={files / 'tsdb'}",
                f"--web.listen-address={self._url.removeprefix('http://')}",
            ],
            files,
            "prometheus",
            environment(),
        )
        until("prometheus", lambda: bool(self.ask("query", query="up")))

    def ask(self, what: str, **parameters: Any) -> Any:
        """The data of an answer; an error of Prometheus' is raised with its words."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            answer = request_json("GET", f"{self._url}/api/v1/{what}?{query}")
        except Failure as failure:
            raise Failure(f"{what} {parameters.get('query', '')}: {failure}") from None
        return answer["data"]


class World:
    """Everything above, running inside the `with`."""

    def __init__(self, tollgate: Path, github_sim: Path, files: Path):
        self._files, self._tollgate = files, tollgate
        self.sim = GithubSim(github_sim, files, ["--limit", str(LIMIT), "--window", str(WINDOW)])
        self.redis = Redis(files)
        # The same key signs approvals and identities.
        public, self._private = approver(files)
        (files / "jwks.json").write_text(key_set(public))
        self._keys = {name: new_key(tollgate, name) for name in AGENTS}
        common = self._common()
        approval = (
            f"approval: {{ mode: signed, issuers: [{{ name: reviewers, public_key_file: {public} }}] }}"
        )
        self._hook = free_port()
        (files / "webhook.secret").write_text(HOOK_SECRET)
        hook = f"webhook: {{ listen: '127.0.0.1:{self._hook}', secret_file: webhook.secret }}\n"
        self.first = Replica(tollgate, files, "first", approval, common + hook)
        fresh = "cache: { fresh_for: 3s }\n"
        self.second = Replica(tollgate, files, "second", f"{approval}, mode: observe", common + fresh)
        self.prometheus = Prometheus(files, [self.first, self.second])
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.problems: list[str] = []

    def _common(self) -> str:
        agents = "".join(
            f'  - {{ name: {name}, key_sha256: "{self._keys[name].sha256}", {settings} }}\n'
            for name, settings in AGENTS.items()
        )
        return (
            "server: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 1s }\n"
            f"upstream: {{ api_url: {self.sim.api_url}, uploads_url: {self.sim.uploads_url} }}\n"
            f"apps: [{{ name: bot, app_id: {self.sim.app_id}, private_key_file: {json.dumps(str(APP_KEY))} }}]\n"
            "budget:\n"
            "  store: redis\n"
            f"  redis: {{ url: 'redis://127.0.0.1:{self.redis.port}' }}\n"
            "  max_wait: 2s\n"
            "retry: { max_attempts: 2, base_delay: 20ms }\n"
            f"identities: [{{ issuer: '{ISSUER}', jwks_file: jwks.json, audience: tollgate, "
            "rules: [{ subject: builder, agent: builder }] }]\n"
            f"agents:\n{agents}"
        )

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(REQUEST_SECONDS)
        Process.end_all()

    def fault(self, **fault: Any) -> None:
        request_json("POST", f"{self.sim._control_url}/faults", fault)

    def ask(
        self,
        agent: str | None,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        replica: Replica | None = None,
    ) -> tuple[int, bytes]:
        sent = {"user-agent": "world", "content-type": "application/json"} | (headers or {})
        if agent is not None:
            sent["authorization"] = f"Bearer {self._keys[agent].key}"
        data = None if body is None else json.dumps(body).encode()
        url = (replica or self.first).url + path
        request = urllib.request.Request(url, data=data, method=method, headers=sent)
        try:
            with DIRECT.open(request, timeout=REQUEST_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def work(self) -> None:
        """Agents that always want more, and beside them everything that seldom happens."""
        for agent in ("reviewer", "scanner"):
            for replica in (self.first, self.second):
                for thread in range(4):
                    # Ever new ones, so that each costs a point.
                    self._repeat(agent, replica, f"{WIDGETS}/issues/5?{agent}={thread}-")
        for replica in (self.first, self.second):
            self._repeat("builder", replica, f"{WIDGETS}/issues/7?per_page=", 5)
        # Twice, scrapes apart: the first time a series begins, the second it moves.
        for _ in range(2):
            self._seldom()
            time.sleep(3)
        self._once()

    def _repeat(self, agent: str, replica: Replica, path: str, different: int = 1_000_000) -> None:
        def always() -> None:
            number = 0
            while not self._stop.is_set():
                number += 1
                try:
                    status, _ = self.ask(agent, "GET", f"{path}{number % different}", replica=replica)
                except OSError as error:
                    if not self._stop.is_set():
                        self.problems.append(f"{agent}: {error}")
                    return
                # Sent away: it comes back sooner than it should, as clients do.
                self._stop.wait(0.3 if status == 403 or different < 10 else 0.02)

        thread = threading.Thread(target=always, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _seldom(self) -> None:
        # What goes wrong at GitHub, and on the way to it.
        self.fault(kind="mint_fails", status=500, path="/app/installations/1002", count=1)
        self._each("visitor", 3, "GET", "/repos/other/tool")
        self.fault(kind="status", status=502, path="/labels", count=1)
        self.fault(kind="status", status=502, path="/branches", count=2)
        self.fault(kind="reset_before_answer", path="/releases", count=4)
        self.fault(kind="drop_headers", names=["x-ratelimit-*"], path="/topics", count=1)
        for path in ("labels", "branches", "releases", "topics", "branches"):
            self._each("builder", 2, "GET", f"{WIDGETS}/{path}")
        # Denied, unknown, and wrong in itself; at the replica that only observes, let through.
        self._each("builder", 3, "GET", "/repos/acme/secret-plans")
        self.ask("builder", "GET", "/repos/acme/secret-plans", replica=self.second)
        self._each(None, 2, "GET", WIDGETS)
        self._each("builder", 1, "POST", "/graphql", {"query": "{ this is no document"})
        # Writes, and a query that tells its cost.
        for number in range(3):
            self.ask("builder", "POST", f"{WIDGETS}/issues/5/comments", {"body": f"Comment {number}."})
        cost = '{ rateLimit { cost } repository(owner: "acme", name: "widgets") { issues(first: 50) { nodes { title } } } }'
        self._each("builder", 3, "POST", "/graphql", {"query": cost})
        # Who comes with a signed identity, and one of which it is not true.
        for audience, wanted in (("tollgate", 200), ("another", 401)):
            status, answer = self.ask(None, "GET", WIDGETS, headers=self._identity(audience))
            if status != wanted:
                raise Failure(f"an identity was answered {status}, not {wanted}: {answer.decode()}")
        self._tell(HOOK_SECRET, 202)
        self._tell("another", 401)
        # The store hangs for a moment, and refuses for another.
        self.redis.say("CLIENT", "PAUSE", "700", "ALL")
        self.redis.say("SET", "tollgate:1:disabled", "no set")
        time.sleep(1)
        self.redis.say("DEL", "tollgate:1:disabled")

    def _once(self) -> None:
        self._approvals()
        # GitHub refuses although it should not need to, and asks for silence.
        self.fault(kind="limit", form="secondary403", retry_after=4, path="/contributors", count=1)
        self._each("merger", 1, "GET", f"{WIDGETS}/contributors")

    def _each(self, agent: str | None, times: int, method: str, path: str, body: Any = None) -> None:
        for _ in range(times):
            self.ask(agent, method, path, body)
            time.sleep(0.2)

    def _identity(self, audience: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "builder", "aud": audience, "iat": now, "exp": now + 300}
        parts = [json.dumps(part).encode() for part in ({"alg": "EdDSA", "kid": "world"}, claims)]
        text = ".".join(base64url(part) for part in parts)
        (self._files / "identity").write_text(text)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self._private, "-in", self._files / "identity"]
        signature = subprocess.run(command, capture_output=True, timeout=REQUEST_SECONDS, check=True).stdout
        return {"authorization": f"Bearer {text}.{base64url(signature)}"}

    def _tell(self, secret: str, wanted: int) -> None:
        """GitHub, or somebody else, tells of a push."""
        body = json.dumps(
            {
                "ref": "refs/heads/main",
                "repository": {"full_name": "acme/widgets", "owner": {"login": "acme"}},
            }
        ).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-github-event": "push",
            "x-github-delivery": str(uuid.uuid4()),
            "x-hub-signature-256": f"sha256={signature}",
        }
        request = urllib.request.Request(f"http://127.0.0.1:{self._hook}/", data=body, headers=headers)
        try:
            with DIRECT.open(request, timeout=REQUEST_SECONDS) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        if status != wanted:
            raise Failure(f"a delivery was answered {status}, not {wanted}")

    def _approvals(self) -> None:
        merge = f"{WIDGETS}/pulls/76/merge"
        _, refusal = self.ask("merger", "PUT", merge, {})
        self._each("merger", 2, "PUT", merge, {})
        for _ in range(5):
            self.ask("merger", "PUT", merge, {}, {"x-merge-approval": "eyJhbGciOiJub25lIn0.e30."})
            time.sleep(0.2)
        command = [self._tollgate, "approve", "--key-file", self._private, "--sub", "world", "--from", "-"]
        signed = subprocess.run(
            command, input=refusal, capture_output=True, timeout=REQUEST_SECONDS, check=False
        )
        if signed.returncode:
            raise Failure(f"tollgate approve: {signed.stderr.decode()}\n{refusal.decode()}")
        approval = {"x-merge-approval": signed.stdout.decode().strip(), "prefer": "wait=14"}
        status, answer = self.ask("merger", "PUT", merge, {}, approval)
        if status != 200:
            raise Failure(f"the approved merge: {status} {answer.decode()}")


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def key_set(public: Path) -> str:
    """A JSON Web Key Set (RFC 8037) of an Ed25519 key, whose own bytes are the last of its PEM."""
    octets = base64.b64decode("".join(public.read_text().splitlines()[1:-1]))[-32:]
    key = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "world", "x": base64url(octets)}
    return json.dumps({"keys": [key]})


def free_port() -> int:
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        port: int = there.getsockname()[1]
    return port


def until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except Failure as failure:
            last = failure
        time.sleep(0.2)
    raise Failure(f"{what} was not ready within {READY_SECONDS} s: {last}")


def missing() -> list[str]:
    needed = ("prometheus", "promtool", "redis-server", "redis-cli", "openssl")
    return [name for name in needed if shutil.which(name) is None]
