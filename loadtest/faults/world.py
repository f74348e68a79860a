"""The processes of an episode: the stand-in, Redis, the replicas, and what they leave behind."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import sign
from plan import Plan
from relay import Relay
from wire import Call, ask

REPOSITORIES = ["acme/widgets", "acme/gadgets", "acme/new-name"]
PERSONAL = {"authorization": "token ghp_githubsimpersonaltoken0000000000000000", "user-agent": "harness"}
INSTALLATION = 1001
APP_ID = 4242
PULLS = 5
START_SECONDS = 15.0


@dataclass
class Trouble:
    """A time in which a replica, or what it depends on, was away; `replica` -1 stands for all."""

    replica: int
    what: str
    start: float
    end: float = float("inf")


@dataclass
class Pull:
    repository: str
    number: int
    head: str
    node: str = ""

    @property
    def key(self) -> str:
        return f"merge {self.repository}#{self.number}"


def die_with_parent() -> None:
    """In the child: ends with the thread that started it, whatever becomes of that."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


# A replica that drains cuts what is under way after so long.
DRAIN_SECONDS = 5
# mimalloc reserves a GiB at once, in which memory could never be short.
ENVIRONMENT = {"TOLLGATE_LOG_FORMAT": "json", "MIMALLOC_DISALLOW_ARENA_ALLOC": "1"}


class World:
    """Everything of one episode. Processes are started by one thread alone, which outlives them."""

    def __init__(self, plan: Plan, folder: Path, tollgate: Path, github_sim: Path, key: Path, lane: int):
        self.plan, self.folder, self.lane = plan, folder, lane
        self.tollgate, self.github_sim, self.key = tollgate, github_sim, key
        rng = random.Random(f"{plan.seed}:secrets")
        self.agents = ["hungry", "eager", "third", "fourth"][: len(plan.weights)]
        self.weights = dict(zip(self.agents, plan.weights))
        self.keys = {name: sign.agent_key(rng, name) for name in self.agents}
        self.issuer_secret = sign.random_text(rng, 40)
        self.admin_token = sign.random_text(rng, 40)
        self.troubles: list[Trouble] = []
        self.story: list[tuple[float, str]] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: dict[str, int] = {}
        self.given_ports: set[int] = set()
        # Each replica's way to Redis, and, where it is to be cut, to GitHub.
        self.relays: list[Relay] = []
        self.github_relays: list[Relay] = []
        # Of each repository's first issue.
        self.issue_nodes: dict[str, str] = {}
        self.faults: dict[int, dict[str, object]] = {}
        # What is to be told to the stand-in when it runs again; none while it runs.
        self.waiting: list[tuple[str, str, object]] | None = None
        self.rogue_refused = 0
        self.pulls: list[Pull] = []
        self.forbidden_pull = Pull("", 0, "")

    # ── processes ──

    def free_port(self) -> int:
        """Below the ports that outgoing connections take, apart from other lanes, and given once: nobody takes it."""
        first = 18_000 + self.lane * 1_500
        for port in random.sample(range(first, first + 1_500), 200):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in self.given_ports:
                self.given_ports.add(port)
                return port
        raise RuntimeError("no free port")

    def spawn(self, name: str, command: list[str | Path]) -> None:
        self.starts[name] = self.starts.get(name, 0) + 1
        log = self.folder / f"{name}.{self.starts[name]}.log"
        with log.open("wb") as output:
            self.processes[name] = subprocess.Popen(
                [str(part) for part in command],
                stdout=subprocess.PIPE if name == "sim" else output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), **ENVIRONMENT},
            )

    def signal(self, name: str, number: int) -> None:
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(number)

    def start(self) -> None:
        for name, text in (("issuer.secret", self.issuer_secret), ("admin.token", self.admin_token)):
            (self.folder / name).write_text(text)
        shutil.copy(self.key, self.folder / "app.pem")
        self.start_sim()
        if self.plan.store == "redis":
            self.redis_port = self.free_port()
            self.start_redis()
        if self.plan.is_watched:
            self.start_sentinel()
        self.ports, self.admin_ports = [], []
        for replica in range(self.plan.replicas):
            self.ports.append(self.free_port())
            self.admin_ports.append(self.free_port())
            if self.plan.store == "redis":
                self.relays.append(Relay(self.redis_port))
            if "github_partition" in self.plan.kinds:
                self.github_relays.append(Relay(self.api_port))
            self.write_config(replica)
            self.spawn_replica(replica)
        for replica in range(self.plan.replicas):
            self.await_replica(replica, "/readyz")

    def start_sim(self) -> None:
        limits = ["--limit", str(self.plan.limit), "--window", str(self.plan.window), "--secondary"]
        self.spawn("sim", [self.github_sim, *limits])
        output = self.processes["sim"].stdout
        assert output
        said = json.loads(output.readline())
        self.api_url, self.uploads_url = said["api_url"], said["uploads_url"]
        self.api_port = int(said["api_url"].rsplit(":", 1)[1])
        self.control_port = int(said["control_url"].rsplit(":", 1)[1])

    def start_redis(self) -> None:
        options = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        options += ["--repl-diskless-sync-delay", "0"]
        self.spawn("redis", ["redis-server", *options, "--dir", self.folder])
        self.until("redis-server", lambda: self.redis("PING") == "+PONG")

    def start_sentinel(self) -> None:
        """A second Redis that follows the first, and a sentinel that puts it in its place."""
        self.standby_port, self.sentinel_port = self.free_port(), self.free_port()
        options = ["--port", str(self.standby_port), "--bind", "127.0.0.1", "--save", "", "--dbfilename", "standby.rdb"]
        self.spawn("standby", ["redis-server", *options, "--replicaof", "127.0.0.1", str(self.redis_port)])
        linked = "master_link_status:up"
        self.until("the standby", lambda: linked in self.redis_text(self.standby_port, "INFO replication"))
        conf = self.folder / "sentinel.conf"
        conf.write_text(
            f"port {self.sentinel_port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {self.redis_port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 4000\n"
        )
        self.spawn("sentinel", ["redis-server", conf, "--sentinel"])
        self.until("the sentinel", lambda: "slaves=1" in self.redis_text(self.sentinel_port, "INFO sentinel"))

    def spawn_replica(self, replica: int) -> None:
        name = f"replica-{replica}"
        config = self.folder / f"{name}.yaml"
        self.spawn(name, [self.tollgate, "serve", "--config", config, "--log", self.plan.log])

    def await_replica(self, replica: int, path: str) -> None:
        port = self.admin_ports[replica]
        self.until(f"replica {replica}", lambda: ask(port, "GET", path).status == 200)

    def until(self, what: str, happens) -> None:
        end = time.time() + START_SECONDS
        while time.time() < end:
            try:
                if happens():
                    return
            except OSError:
                pass
            time.sleep(0.03)
        raise RuntimeError(f"{what} did not start")

    def stop(self) -> None:
        for relay in [*self.relays, *self.github_relays]:
            relay.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    # ── configuration ──

    def write_config(self, replica: int, garbled: bool = False) -> None:
        path = self.folder / f"replica-{replica}.yaml"
        text = "agents: [ {name: \n" if garbled else json.dumps(self.config(replica), indent=1)
        beside = path.with_suffix(".next")
        beside.write_text(text)
        beside.rename(path)

    def config(self, replica: int) -> dict[str, object]:
        plan = self.plan
        budget: dict[str, object] = {"store": plan.store, "max_wait": "2s", "on_store_loss": plan.on_store_loss}
        if self.plan.store == "redis":
            budget["redis"] = {"url": f"redis://127.0.0.1:{self.relays[replica].port}/0"}
        if self.plan.is_watched:
            sentinel = {"service": "main", "nodes": [f"redis://127.0.0.1:{self.sentinel_port}"]}
            budget["redis"] = {"sentinel": sentinel}
        return {
            "server": {
                "listen": f"127.0.0.1:{self.ports[replica]}",
                "admin_listen": f"127.0.0.1:{self.admin_ports[replica]}",
                "drain_timeout": f"{DRAIN_SECONDS}s",
                "admin_token_file": "admin.token",
            },
            "upstream": {
                "api_url": self.github_url(replica),
                "uploads_url": self.uploads_url,
                "request_timeout": "2s",
                "idle_timeout": "2s",
            },
            "apps": [{"name": "bot", "app_id": APP_ID, "private_key_file": "app.pem"}],
            "budget": budget,
            "retry": {"base_delay": "100ms", "max_delay": "1s"},
            "cache": {"max_size": "16MiB" if self.plan.cached else "0"},
            "policy": {
                "approval": {"mode": "signed", "issuers": [{"name": sign.ISSUER, "secret_file": "issuer.secret"}]},
                "audit_log": f"audit-{replica}.jsonl",
            },
            "agents": [
                {
                    "name": name,
                    "key_sha256": hashlib.sha256(self.keys[name].encode()).hexdigest(),
                    "repositories": ["acme/*"],
                    "weight": self.weights[name],
                }
                for name in self.agents
            ],
        }

    def github_url(self, replica: int) -> str:
        return f"http://127.0.0.1:{self.github_relays[replica].port}" if self.github_relays else self.api_url

    # ── hands ──

    def control(self, method: str, path: str, body: object = None) -> object:
        if self.waiting is not None:
            self.waiting.append((method, path, body))
            return None
        call = ask(self.control_port, method, path, {"content-type": "application/json"}, body)
        if call.status != 200:
            raise RuntimeError(f"the stand-in's control port: {call.line(call.started)}")
        return call.json()

    def personal(self, method: str, path: str, body: object = None) -> Call:
        return ask(self.api_port, method, path, PERSONAL | {"content-type": "application/json"}, body)

    def redis(self, command: str) -> str:
        return self.redis_text(self.redis_port, command).splitlines()[0]

    def redis_text(self, port: int, command: str) -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as line:
            line.sendall(command.encode() + b"\r\n")
            return line.recv(8192).decode()

    def open_pulls(self) -> None:
        """Pull requests to be merged, each from a branch of its own, and one that nobody approves."""
        for number in range(PULLS + 1):
            repository = REPOSITORIES[number % len(REPOSITORIES)]
            branch = f"work-{number}"
            tip = self.personal("GET", f"/repos/{repository}/git/ref/heads/main").json()
            reference = {"ref": f"refs/heads/{branch}", "sha": tip["object"]["sha"]}
            self.personal("POST", f"/repos/{repository}/git/refs", reference)
            push = {"repository": repository, "branch": branch, "path": f"{branch}.txt", "content": branch}
            head = self.control("POST", "/world/push", push)["sha"]
            opening = {"repository": repository, "head": branch, "base": "main", "title": branch}
            opened = self.control("POST", "/world/pull", opening)["number"]
            self.pulls.append(Pull(repository, opened, head, self.node(f"/repos/{repository}/pulls/{opened}")))
        for repository in REPOSITORIES:
            self.issue_nodes[repository] = self.node(f"/repos/{repository}/issues/1")
        self.forbidden_pull = self.pulls.pop()
        self.control("POST", "/reset")

    def node(self, path: str) -> str:
        return self.personal("GET", path).json()["node_id"]

    def tell(self, what: str) -> None:
        self.story.append((time.time(), what))

    def trouble(self, replica: int, what: str) -> Trouble:
        trouble = Trouble(replica, what, time.time())
        self.troubles.append(trouble)
        return trouble

    def end_trouble(self, what: str) -> None:
        for trouble in self.troubles:
            if trouble.what == what and trouble.end == float("inf"):
                trouble.end = time.time()
