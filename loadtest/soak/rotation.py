"""What is replaced while the clients go on, each in its own rhythm, by one thread."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from clients import Clients
from fleet import KEYS, REPLICAS, STAYING, Fleet
from record import Away, Record

from wire import Call, Line

RELOAD_EVERY = 20.0


@dataclass
class Turn:
    name: str
    every: float
    due: float
    act: Callable[[], None]


class Rotation:
    def __init__(self, fleet: Fleet, clients: Clients, record: Record, seconds: float):
        self.fleet, self.clients, self.record = fleet, clients, record
        self.reloads, self.restarts, self.app_keys, self.audits = 0, 0, 0, 0
        # Between two restarts, so that each process lives long enough to be judged.
        life = max(70.0, seconds / 8)
        rhythm = [
            ("agents, keys and weights", RELOAD_EVERY, 10.0, self.reload),
            ("App's key", max(45.0, seconds / 8), 35.0, self.replace_app_key),
            ("certificate", max(40.0, seconds / 8), 25.0, self.replace_certificate),
            ("issuer's secret and admin token", max(60.0, seconds / 8), 45.0, self.replace_secrets),
            ("audit logs", max(30.0, seconds / 12), 30.0, self.rotate_audit),
            ("replica restarted", life, life, self.restart_replica),
            ("Redis restarted", max(100.0, seconds / 4), max(80.0, seconds / 5), self.restart_redis),
        ]
        self.turns = [Turn(name, every, first, act) for name, every, first, act in rhythm]

    def play(self, seconds: float, tell: Callable[[str], None]) -> None:
        started = time.monotonic()
        while (at := time.monotonic() - started) < seconds:
            turn = min(self.turns, key=lambda turn: turn.due)
            if turn.due <= at:
                turn.act()
                turn.due = max(turn.due + turn.every, time.monotonic() - started)
                self.record.rotations[turn.name] = self.record.rotations.get(turn.name, 0) + 1
                tell(f"{at:6.0f} s  {turn.name}")
            time.sleep(0.2)

    # ── each of them, until it is in force ──

    def reload(self) -> None:
        """Another guest for one that left; weights; a key of a staying agent, beside the old one at first."""
        fleet = self.fleet
        self.reloads += 1
        leaving = fleet.agents[len(STAYING)] if len(fleet.agents) > len(STAYING) + 1 else ""
        changed = STAYING[self.reloads // 2 % len(STAYING)]
        is_second = self.reloads % 2 == 1 and len(fleet.accepted[changed]) == 2
        old = fleet.accepted[changed][0]

        def change() -> None:
            fleet.add_guest()
            if leaving:
                fleet.agents.remove(leaving)
            if is_second:
                fleet.accepted[changed].remove(old)
            elif len(fleet.accepted[changed]) == 1:
                fleet.accepted[changed].append(fleet.new_key(changed))
            for name in STAYING:
                fleet.weights[name] = fleet.rng.randint(1, 5)
            fleet.write_configs()

        fleet.reload(change, by_signal=self.reloads % 2 == 0)
        fleet.guest = f"guest-{fleet.guests_made}"
        fleet.keys[changed] = fleet.accepted[changed][-1]
        if leaving:
            self.record.removed[leaving] = time.time()
            self.knock("gone agent", fleet.keys[leaving])
        if is_second:
            self.knock("gone key", old)

    def knock(self, kind: str, key: str) -> None:
        """With a key that opens nothing any more."""
        for replica in range(REPLICAS):
            call = Call(kind, "", replica, "GET", "/repos/acme/widgets")
            headers = {"Authorization": f"Bearer {key}"}
            self.clients.send(call, self.clients.line(replica), headers, keep=False)

    def replace_app_key(self) -> None:
        self.app_keys += 1
        pem = (KEYS / ("pkcs1.pem", "pkcs8.pem")[self.app_keys % 2]).read_text()
        self.fleet.reload(lambda: self.fleet.write_secret("app.pem", pem), by_signal=False)

    def replace_certificate(self) -> None:
        self.fleet.authority.issue("listener")
        expected = 1000 + self.fleet.authority.made
        for replica in range(REPLICAS):
            self.fleet.until(f"the certificate of {replica}", lambda: self.fleet.serial(replica) == expected)

    def replace_secrets(self) -> None:
        """Approvals signed with the secret before are not used any more: the merger waits meanwhile."""
        fleet = self.fleet
        issuer, admin = fleet.new_secret(), fleet.new_secret()

        def change() -> None:
            fleet.write_secret("issuer.secret", issuer)
            fleet.write_secret("admin.token", admin)

        with self.clients.signing:
            fleet.reload(change, by_signal=True)
            old, fleet.admin_token, fleet.issuer_secret = fleet.admin_token, admin, issuer
        for replica in range(REPLICAS):
            self.switch("gone admin token", replica, old)
            self.switch("admin token", replica, admin)

    def switch(self, kind: str, replica: int, token: str) -> None:
        path = f"/api/agents/{STAYING[0]}/enable"
        call = Call(kind, "", replica, "POST", path)
        line = Line(self.fleet.admin_ports[replica])
        self.clients.send(call, line, {"Authorization": f"Bearer {token}"}, "", keep=False)

    def rotate_audit(self) -> None:
        """As logrotate does: by renaming."""
        self.audits += 1
        for replica in range(REPLICAS):
            path = self.fleet.folder / f"audit-{replica}.jsonl"
            if path.exists():
                shutil.move(path, self.fleet.folder / f"audit-{replica}.{self.audits}.jsonl")

    def restart_replica(self) -> None:
        """Replica 0 lives as long as the run."""
        replica = 1 + self.restarts % (REPLICAS - 1)
        self.restarts += 1
        away = self.begin(replica)
        self.fleet.drain(replica)
        self.fleet.spawn_replica(replica)
        self.fleet.await_replica(replica, "/readyz")
        away.end = time.time()

    def restart_redis(self) -> None:
        away = self.begin(-1)
        self.fleet.stop_redis()
        self.fleet.start_redis()
        away.end = time.time()

    def begin(self, replica: int) -> Away:
        away = Away(replica, time.time())
        self.record.away.append(away)
        return away
