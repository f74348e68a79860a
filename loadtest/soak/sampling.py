"""What a replica's process holds, second by second, and what its metrics say."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

from fleet import REPLICAS, Fleet
from record import Life

from wire import ask

SAMPLE_EVERY = 1.0
SCRAPE_EVERY = 10
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sampler:
    def __init__(self, fleet: Fleet):
        self.fleet = fleet
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._go, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def finish(self) -> None:
        self.stop.set()
        self.thread.join(30)

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
