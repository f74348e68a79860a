"""One visit to a variant: CPU and throughput under load, then latency at a fixed rate."""

from __future__ import annotations

import http.client
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from machine import ENVIRONMENT, Failure
from variants import Variant

CONNECTIONS = 32
RATE = 1_000
# With what comes before and after, less than the quota's window.
LOAD_SECONDS_MAX = 10


@dataclass(frozen=True)
class Sample:
    """Of one visit. CPU is in microseconds a request."""

    cpu_us: float
    redis_us: float
    per_second: float
    busy: float
    p50_us: float
    p99_us: float
    client_us: float
    resident_mib: float
    held: int


class Measurer:
    def __init__(self, core: int, requests: int, open_seconds: int) -> None:
        self._core, self._requests, self._open_seconds = core, requests, open_seconds

    def verify(self, variant: Variant) -> None:
        """The right bytes, from where they should be; twice before it counts, for a cache to fill."""
        for attempt in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", variant.server.port, timeout=10)
            headers = {"Authorization": f"Bearer {variant.key}", "User-Agent": "speed"}
            connection.request("GET", variant.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            cache = answer.headers["x-tollgate-cache"]
            problems = [f"status {answer.status}"] * (answer.status != 200)
            problems += ["another body"] * (body != variant.body)
            problems += [f"x-tollgate-cache: {cache}"] * (attempt == 2 and cache != variant.server.cache)
            problems += [f"x-tollgate-error: {error}" for error in answer.headers.get_all("x-tollgate-error", [])]
            if problems:
                raise Failure(f"{variant.name}: {', '.join(problems)}: {body[:300].decode(errors='replace')}")

    def held(self, variant: Variant) -> int:
        """How many requests the budget has held so far."""
        if variant.server.admin_port is None:
            return 0
        connection = http.client.HTTPConnection("127.0.0.1", variant.server.admin_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        counts = re.findall(r'^tollgate_wait_seconds_count\{reason="(\w+)"\} (\d+)', text, re.MULTILINE)
        return sum(int(count) for reason, count in counts if reason != "none")

    def sample(self, variant: Variant) -> Sample:
        server = variant.server
        self.verify(variant)
        held = self.held(variant)
        warm_seconds, warm = self.load(variant, 1)
        seconds = max(1, math.ceil(self._requests * warm_seconds / warm))
        before, redis_before = server.process.cpu_seconds(), server.redis.cpu_seconds() if server.redis else 0.0
        elapsed, requests = self.load(variant, min(seconds, LOAD_SECONDS_MAX))
        cpu = server.process.cpu_seconds() - before
        redis = server.redis.cpu_seconds() - redis_before if server.redis else 0.0
        open_loop = self._open_loop(variant)
        held = self.held(variant) - held
        self.verify(variant)
        return Sample(
            cpu_us=1e6 * cpu / requests,
            redis_us=1e6 * redis / requests,
            per_second=requests / elapsed,
            busy=cpu / elapsed,
            p50_us=open_loop["p50_us"],
            p99_us=open_loop["p99_us"],
            client_us=1e6 * open_loop["client_cpu_s"] / (RATE * self._open_seconds),
            resident_mib=server.process.resident_mib(),
            held=held,
        )

    def load(self, variant: Variant, seconds: int) -> tuple[float, int]:
        """How long wrk took, and how many answers it got."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Authorization: Bearer {variant.key}"]
        command += ["-H", "User-Agent: speed", f"http://127.0.0.1:{variant.server.port}{variant.path}"]
        said = self._run(variant, command, seconds + 20)
        found = re.search(r"(\d+) requests in ([\d.]+)(s|m)\b", said)
        if not found or "Non-2xx" in said or "Socket errors" in said or found.group(1) == "0":
            raise Failure(f"{variant.name}: under load: {said}")
        return float(found.group(2)) * (60 if found.group(3) == "m" else 1), int(found.group(1))

    def _open_loop(self, variant: Variant) -> dict[str, float]:
        script = Path(__file__).with_name("openloop.py")
        settings = [variant.server.port, variant.path, variant.key, len(variant.body), RATE, self._open_seconds]
        said = self._run(variant, [sys.executable, str(script), *map(str, settings)], self._open_seconds + 30)
        result = json.loads(said)
        if result["wrong"]:
            raise Failure(f"{variant.name}: {result['wrong']} wrong or missing answers at {RATE} a second")
        return result

    def _run(self, variant: Variant, command: list[str], seconds: float) -> str:
        pinned = ["taskset", "-c", str(self._core), *command]
        try:
            done = subprocess.run(
                pinned, env=ENVIRONMENT, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise Failure(f"{variant.name}: {command[0]} did not end in {seconds:.0f} s") from late
        if done.returncode != 0:
            raise Failure(f"{variant.name}: {command[0]}: {done.stderr or done.stdout}")
        return done.stdout
