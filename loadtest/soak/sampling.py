"""What a replica's process holds, second by second, and what its metrics say."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path

from fleet import REPLICAS, Fleet
from record import Away, Life, Record

from wire import ask

SAMPLE_EVERY = 1.0
SCRAPE_EVERY = 10
PING_EVERY = 0.05
# Less than tollgate gives Redis, since the one may be held up where the other just is not.
STALL_SECONDS = 0.06
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sampler:
    def __init__(self, fleet: Fleet, record: Record):
        self.fleet, self.record = fleet, record
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self._go, self._ping)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def _ping(self) -> None:
        """Asks Redis over and over, and notes when it takes long."""
        while not self.stop.wait(PING_EVERY):
            began = time.time()
            with contextlib.suppress(OSError, IndexError):  # It is restarted.
                self.fleet.redis("PING")
                if time.time() - began > STALL_SECONDS:
                    self.record.stalls.append(Away(-1, began, time.time()))

    def _go(self) -> None:
        turn = 0
        while not self.stop.wait(SAMPLE_EVERY):
            turn += 1
            for replica in range(REPLICAS):
                life = self.fleet.life(replica)
                if life.end:
                    continue
                try:
                    life.samples.append(look(life.pid))
                    if turn % SCRAPE_EVERY == replica:
                        scrape(life, self.fleet.admin_ports[replica])
                except OSError:
                    continue  # It ends meanwhile.


def look(pid: int) -> tuple[float, int, int, int]:
    process = Path(f"/proc/{pid}")
    resident = int((process / "statm").read_text().split()[1]) * PAGE
    return time.time(), resident, len(os.listdir(process / "fd")), len(os.listdir(process / "task"))


def scrape(life: Life, port: int) -> None:
    call = ask(port, "GET", "/metrics")
    if call.status != 200:
        return
    series = [line for line in call.text.splitlines() if line and not line.startswith("#")]
    agents = frozenset(re.findall(r'[{,]agent="([^"]*)"', call.text))
    life.scrapes.append((time.time(), len(series), agents))
