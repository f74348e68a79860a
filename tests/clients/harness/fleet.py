"""Agents that always want more: threads that ask as fast as they are let, and come back when they are told to."""

import http.client
import threading
import urllib.parse
from dataclasses import dataclass

START_SECONDS = 20
# Longer than tollgate holds a request.
REQUEST_SECONDS = 30
# Four agents' together stay below half of GitHub's slots in flight: from there on, slots hold calls as well.
THREADS_PER_AGENT = 10
BODY_SHOWN = 500


@dataclass
class Tally:
    served: int = 0
    # Sent away with a time, which was kept.
    later: int = 0


class Fleet:
    """Keeps tollgate busy inside the `with`, which begins when each agent was served."""

    def __init__(self, url: str, path: str, keys: dict[str, str]):
        self.tallies = {name: Tally() for name in keys}
        # Answers that were neither.
        self.problems: list[str] = []
        self._address, self._path = urllib.parse.urlsplit(url).netloc, path
        self._lock = threading.Lock()
        self._is_served = {name: threading.Event() for name in keys}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name, key), daemon=True)
            for name, key in keys.items()
            for _ in range(THREADS_PER_AGENT)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        for name, is_served in self._is_served.items():
            if not is_served.wait(START_SECONDS):
                self.problems.append(f"{name} was not served within {START_SECONDS} s")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(REQUEST_SECONDS)

    def _ask(self, name: str, key: str):
        connection = http.client.HTTPConnection(self._address, timeout=REQUEST_SECONDS)
        headers = {"authorization": f"Bearer {key}", "user-agent": "fleet"}
        while not self._stop.is_set():
            try:
                connection.request("GET", self._path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._problem(name, repr(error))
                return
            retry_after = answer.getheader("retry-after")
            if answer.status == 200:
                with self._lock:
                    self.tallies[name].served += 1
                self._is_served[name].set()
            elif answer.getheader("x-tollgate-error") == "budget_exhausted" and retry_after:
                with self._lock:
                    self.tallies[name].later += 1
                self._stop.wait(int(retry_after))
            else:
                self._problem(name, f"{answer.status} {answer.getheader('x-tollgate-error')}: {body[:BODY_SHOWN]}")
                return

    def _problem(self, name: str, text: str):
        with self._lock:
            self.problems.append(f"{name}: {text}")
