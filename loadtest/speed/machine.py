"""Processes and what the kernel says of them, packages, and the machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 20
STOP_SECONDS = 10
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8"}


class Failure(Exception):
    """What keeps a run from being worth anything."""


class Process:
    """A server pinned to one core."""

    def __init__(self, name: str, command: list[str | Path], core: int, files: Path) -> None:
        self.name, self.log = name, files / f"{name}.log"
        pinned = ["taskset", "-c", str(core), *map(str, command)]
        with open(self.log, "wb") as log:
            # A session of its own: Ctrl-C is for this script, which then ends its servers in order.
            self._child = subprocess.Popen(
                pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True
            )

    def wait_for(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace")[-2000:]
        raise Failure(f"{self.name} does not serve; it said:\n{said}")

    def reload(self) -> None:
        self._child.send_signal(signal.SIGHUP)

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children: utime and stime, but not in whole ticks."""
        pids = [self._child.pid, *map(int, _read(f"/proc/{self._child.pid}/task/{self._child.pid}/children").split())]
        # The kernel's number for the CPU clock of another process (CPUCLOCK_SCHED).
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)

    def resident_mib(self) -> float:
        found = re.search(r"^VmRSS:\s+(\d+) kB", _read(f"/proc/{self._child.pid}/status"), re.MULTILINE)
        return int(found.group(1)) / 1024 if found else 0.0

    def end(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class Processes:
    """All servers of a run; leaving the `with` ends them, the last first."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self._all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        while self._all:
            self._all.pop().end()

    def start(self, name: str, command: list[str | Path], core: int, port: int) -> Process:
        process = Process(name, command, core, self.files)
        self._all.append(process)
        process.wait_for(port)
        return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(needed: dict[str, str]) -> list[str]:
    """Installs what is missing of commands or files and their Debian packages, if it may; returns what still is."""
    missing = [name for name in needed if not _is_there(name)]
    may = os.geteuid() == 0 or (shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], check=False).returncode == 0)
    if missing and may and shutil.which("apt-get"):
        packages = sorted({needed[name] for name in missing})
        print("installing:", *packages, flush=True)
        command = ([] if os.geteuid() == 0 else ["sudo", "-n"]) + ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
        for action in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            subprocess.run([*command, *action], stdout=subprocess.DEVNULL, timeout=600, check=False)
    return [f"{needed[name]} (Debian)" for name in missing if not _is_there(name)]


def machine(tollgate: Path) -> dict[str, str]:
    model = re.search(r"^model name\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return {
        "cpu": f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}",
        "kernel": platform.release(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "tollgate": _version([str(tollgate), "--version"]),
        "nginx": _version(["nginx", "-v"]),
        "redis": _version(["redis-server", "--version"]),
        "haproxy": _version(["haproxy", "-v"]),
    }


def _is_there(name: str) -> bool:
    return bool(shutil.which(name, path=PATH)) or (name.startswith("/") and Path(name).exists())


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "missing"
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found.group(0) if found else "unknown"


def _read(path: str) -> str:
    return Path(path).read_text(errors="replace")
