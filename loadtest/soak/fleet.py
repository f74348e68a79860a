"""The processes of a soak: the stand-in behind TLS, Redis, three replicas; and their configuration."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import signal
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from certs import Authority
from record import Life

import sign
from wire import ask
from world import APP_ID, World

KEYS = Path(__file__).resolve().parents[1] / "github-sim" / "keys"
REPLICAS = 3
# The pool of each installation: 50 a second, twice what the clients ask for.
LIMIT, WINDOW = 15_000, 300
# tollgate renews five minutes before the end, and up to a minute earlier: every one to two minutes, then.
TOKEN_SECONDS = 420
# Filled within the first minute, so that what grows later is something else.
CACHE = "4MiB"
STAYING = ["reader", "writer", "merger", "poller"]


@dataclass
class Shape:
    """What faults' `World` asks of its plan."""

    seed: int
    replicas: int = REPLICAS
    store: str = "redis"
    log: str = "info"
    weights: list[int] = field(default_factory=lambda: [3, 1, 1, 2])


class Fleet(World):
    """Processes are started by the main thread alone, as all that is replaced is."""

    def __init__(self, seed: int, folder: Path, tollgate: Path, github_sim: Path):
        super().__init__(Shape(seed), folder, tollgate, github_sim, KEYS / "pkcs1.pem", lane=7)
        self.rng = random.Random(f"{seed}:fleet")
        self.agents = list(STAYING)
        self.weights = {name: 1 for name in STAYING}
        self.keys = {name: sign.agent_key(self.rng, name) for name in STAYING}
        # The keys that the file names, by agent.
        self.accepted = {name: [key] for name, key in self.keys.items()}
        self.webhook_secret = sign.random_text(self.rng, 40)
        # Every secret there ever was.
        self.secrets = {self.issuer_secret, self.admin_token, self.webhook_secret, *self.keys.values()}
        self.ports_given = count(self.rng.randrange(1_000))
        self.guest = ""
        self.guests_made = 0
        self.lives: list[Life] = []

    def new_key(self, name: str) -> str:
        key = sign.agent_key(self.rng, name.replace("-", "_"))
        self.secrets.add(key)
        return key

    def new_secret(self) -> str:
        secret = sign.random_text(self.rng, 40)
        self.secrets.add(secret)
        return secret

    # ── processes ──

    def new_port(self) -> int:
        """One that is free, was not given before, and is below those that outgoing connections take."""
        while True:
            port = 28_500 + next(self.ports_given)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue

    def start(self) -> None:
        self.authority = Authority(self.folder)
        self.authority.issue("listener")
        self.authority.issue("github")
        self.trust = ssl.create_default_context(cafile=str(self.authority.cert))
        self.write_secret("issuer.secret", self.issuer_secret)
        self.write_secret("admin.token", self.admin_token)
        self.write_secret("webhook.secret", self.webhook_secret)
        shutil.copy(KEYS / "pkcs1.pem", self.folder / "app.pem")
        self.ports, self.admin_ports, self.hook_ports = (
            [self.new_port() for _ in range(REPLICAS)] for _ in range(3)
        )
        self.redis_port = self.new_port()
        self.start_sim()
        self.start_redis()
        self.add_guest()
        self.guest = f"guest-{self.guests_made}"
        for replica in range(REPLICAS):
            self.write_config(replica)
            self.spawn_replica(replica)
        for replica in range(REPLICAS):
            self.await_replica(replica, "/readyz")

    def start_sim(self) -> None:
        self.relay_port, self.api_port = self.new_port(), self.new_port()
        base = f"https://127.0.0.1:{self.relay_port}"
        options = ["--port", self.api_port, "--limit", LIMIT, "--window", WINDOW, "--secondary"]
        options += ["--token-lifetime", TOKEN_SECONDS]
        options += ["--link-base", base, "--private-key", KEYS / "pkcs1.pem", "--further-key", KEYS / "pkcs8.pem"]
        self.spawn("sim", [self.github_sim, *options])
        output = self.processes["sim"].stdout
        assert output
        said = json.loads(output.readline())
        self.uploads_url = said["uploads_url"]
        self.control_port = int(said["control_url"].rsplit(":", 1)[1])
        self.api_url = base
        relay = Path(__file__).with_name("tls_relay.py")
        certificate = [self.folder / "github.crt", self.folder / "github.key"]
        self.spawn("relay", [sys.executable, "-B", relay, str(self.relay_port), str(self.api_port), *certificate])
        self.until("the relay", lambda: socket.create_connection(("127.0.0.1", self.relay_port), 1).close() is None)

    def start_redis(self) -> None:
        """With the data that it saved when it was shut down. Nothing else is written: a busy disk would hold it up."""
        options = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.spawn("redis", ["redis-server", *options, "--dir", self.folder])
        self.until("redis-server", lambda: self.redis("PING") == "+PONG")

    def stop_redis(self) -> None:
        with contextlib.suppress(IndexError):  # It answers by closing the connection.
            self.redis("SHUTDOWN SAVE")
        self.processes["redis"].wait(timeout=10)

    def spawn_replica(self, replica: int) -> None:
        super().spawn_replica(replica)
        name = f"replica-{replica}"
        life = Life(replica, self.starts[name], self.processes[name].pid, time.time())
        self.lives.append(life)

    def life(self, replica: int) -> Life:
        return next(life for life in reversed(self.lives) if life.replica == replica)

    def drain(self, replica: int) -> None:
        """Asks a replica to end, and waits for it."""
        self.signal(f"replica-{replica}", signal.SIGTERM)
        life = self.life(replica)
        life.end = time.time()
        life.exit_code = self.processes[f"replica-{replica}"].wait(timeout=20)

    # ── configuration ──

    def write_secret(self, name: str, text: str) -> None:
        """In one step, as a ConfigMap's or a Secret's."""
        beside = self.folder / f"{name}.next"
        beside.write_text(text)
        beside.rename(self.folder / name)

    def add_guest(self) -> None:
        self.guests_made += 1
        name = f"guest-{self.guests_made}"
        self.keys[name] = self.new_key(name)
        self.accepted[name] = [self.keys[name]]
        self.weights[name] = 1
        self.agents.append(name)

    def config(self, replica: int) -> dict[str, object]:
        return {
            "server": {
                "listen": f"127.0.0.1:{self.ports[replica]}",
                "admin_listen": f"127.0.0.1:{self.admin_ports[replica]}",
                "drain_timeout": "10s",
                "admin_token_file": "admin.token",
                "tls": {"cert_file": "listener.crt", "key_file": "listener.key"},
            },
            "upstream": {"api_url": self.api_url, "uploads_url": self.uploads_url, "ca_file": "ca.pem"},
            "apps": [{"name": "bot", "app_id": APP_ID, "private_key_file": "app.pem"}],
            "budget": {"store": "redis", "redis": {"url": f"redis://127.0.0.1:{self.redis_port}/0"}},
            "cache": {"max_size": CACHE},
            "policy": {
                "approval": {"mode": "signed", "issuers": [{"name": sign.ISSUER, "secret_file": "issuer.secret"}]},
                "audit_log": f"audit-{replica}.jsonl",
            },
            "webhook": {"listen": f"127.0.0.1:{self.hook_ports[replica]}", "secret_file": "webhook.secret"},
            "agents": [self.agent(name) for name in self.agents],
        }

    def agent(self, name: str) -> dict[str, object]:
        hashes = [hashlib.sha256(key.encode()).hexdigest() for key in self.accepted[name]]
        return {"name": name, "key_sha256": hashes, "repositories": ["*"], "weight": self.weights[name]}

    def write_configs(self) -> None:
        for replica in range(REPLICAS):
            self.write_config(replica)

    def reload(self, change, by_signal: bool) -> None:
        """Makes a change of the files, and waits until it is in force everywhere."""
        before = [self.reloads(replica) for replica in range(REPLICAS)]
        change()
        if by_signal:
            for replica in range(REPLICAS):
                self.signal(f"replica-{replica}", signal.SIGHUP)
        for replica in range(REPLICAS):
            self.until(f"a reload of replica {replica}", lambda: self.reloads(replica) > before[replica])

    def reloads(self, replica: int) -> float:
        text = ask(self.admin_ports[replica], "GET", "/metrics").text
        name = 'tollgate_config_reloads_total{result="ok"} '
        return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0.0)

    def serial(self, replica: int) -> int:
        """Of the certificate that a listener shows."""
        with socket.create_connection(("127.0.0.1", self.ports[replica]), timeout=5) as plain:
            with self.trust.wrap_socket(plain, server_hostname="127.0.0.1") as line:
                return int(str(line.getpeercert()["serialNumber"]), 16)
