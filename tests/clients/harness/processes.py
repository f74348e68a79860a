"""Starting and ending the stand-in, tollgate and the clients; each with a deadline, each by its own id."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20
STOP_SECONDS = 5
REQUEST_SECONDS = 10

# Whatever proxy the environment names is not for addresses on this machine.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failure(Exception):
    """Something that keeps a run from being judged."""


def request_json(method: str, url: str, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with DIRECT.open(request, timeout=REQUEST_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failure(f"{method} {url}: {error.code} {error.read(500).decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise Failure(f"{method} {url}: {error}") from error


def environment(**settings: str) -> dict[str, str]:
    """Nothing of the user's own but the search path: no proxies, no tokens, no settings of a client."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"} | settings


class Process:
    """A child with its output in files; leaving the `with` ends it."""

    _lock = threading.Lock()
    _running: set["Process"] = set()
    _is_over = False

    def __init__(self, command: list, files: Path, name: str, env: dict[str, str], cwd: Path | None = None):
        self.name = name
        self.stdout, self.stderr = files / f"{name}.out", files / f"{name}.err"
        with Process._lock, open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            if Process._is_over:
                raise Failure("interrupted")
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
            Process._running.add(self)

    @staticmethod
    def end_all():
        """For an interrupted run: ends every child, and none starts any more."""
        with Process._lock:
            Process._is_over = True
            running = list(Process._running)
        for process in running:
            process.end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def _ready(self, file: Path, pattern: str) -> dict:
        """The line of JSON by which the child says that it is ready; without one the child is ended."""
        try:
            return self._awaited(file, pattern)
        except BaseException:
            self.end()
            raise

    def _awaited(self, file: Path, pattern: str) -> dict:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # Asked first, so that the last lines of one that has ended are read.
            has_ended = self._child.poll() is not None
            for line in file.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n") and re.search(pattern, line):
                    return json.loads(line)
            if has_ended:
                raise Failure(f"{self.name} ended with {self._child.returncode}:\n{self.last_words()}")
            time.sleep(0.02)
        raise Failure(f"{self.name} did not start within {START_SECONDS} s:\n{self.last_words()}")

    def wait(self, seconds: float) -> int:
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} took longer than {seconds:.0f} s:\n{self.last_words()}") from None

    def last_words(self) -> str:
        return "\n".join(self.stderr.read_text(errors="replace").splitlines()[-12:])

    def end(self):
        """SIGTERM, then SIGKILL, to the child and what it started: it leads a group of its own."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is not None:
                break
            os.killpg(self._child.pid, number)
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        with Process._lock:
            Process._running.discard(self)


class GithubSim(Process):
    """A stand-in for GitHub with a fresh world."""

    def __init__(self, binary: Path, files: Path, options: list[str]):
        self.started_at = time.time()
        super().__init__([binary, *options], files, "github-sim", environment())
        ready = self._ready(self.stdout, '"api_url"')
        self.api_url, self.uploads_url = ready["api_url"], ready["uploads_url"]
        self.app_id = ready["app_id"]
        self._control_url = ready["control_url"]

    def books(self) -> dict:
        return request_json("GET", f"{self._control_url}/books")

    def requests(self) -> list[dict]:
        return request_json("GET", f"{self._control_url}/requests?since=0")


@dataclass(frozen=True)
class Agent:
    name: str
    settings: str  # YAML, beside name and key


@dataclass(frozen=True)
class AgentKey:
    key: str
    sha256: str


def new_key(tollgate: Path, name: str) -> AgentKey:
    made = subprocess.run(
        [str(tollgate), "key", "new", name],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        env=environment(),
        check=False,
    )
    key = re.search(r"^\s+(tg_\w+)$", made.stdout, re.MULTILINE)
    sha256 = re.search(r'key_sha256: "([0-9a-f]{64})"', made.stdout)
    if made.returncode != 0 or key is None or sha256 is None:
        raise Failure(f"tollgate key new {name}: {made.returncode}\n{made.stdout}{made.stderr}")
    return AgentKey(key[1], sha256[1])


def approver(files: Path) -> tuple[Path, Path]:
    """Who approves in one run: the public key, and the private one."""
    public, private = files / "reviewers.pub.pem", files / "reviewers.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return public, private


def openssl(*arguments):
    command = ["openssl", *(str(argument) for argument in arguments)]
    ended = subprocess.run(command, capture_output=True, timeout=START_SECONDS, check=False)
    if ended.returncode != 0:
        raise Failure(f"openssl: {ended.stderr.decode(errors='replace')}")


def certificate(files: Path) -> tuple[Path, Path]:
    """A certificate for `localhost`, made for one run, and its key."""
    made, key = files / "tls.pem", files / "tls.key"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    openssl(*request, *subject, "-keyout", key, "-out", made)
    return made, key


class Tollgate(Process):
    """The real binary before a stand-in, with some agents."""

    def __init__(
        self,
        binary: Path,
        files: Path,
        sim: GithubSim,
        app_key: Path,
        agents: list[Agent],
        is_tls: bool = False,
        sections: str = "",
        is_signed: bool = False,
    ):
        self._tls = certificate(files) if is_tls else None
        # The variables by which OpenSSL's, curl's and Go's programs learn whom to trust.
        names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE")
        self.trust = dict.fromkeys(names, str(self._tls[0])) if self._tls else {}
        self.keys = {agent.name: new_key(binary, agent.name) for agent in agents}
        # The command by which somebody approves what a refusal on its standard input asks for.
        self.approve = []
        self._approval = "{ mode: presence }"
        if is_signed:
            public, private = approver(files)
            self._approval = f"{{ mode: signed, issuers: [{{ name: reviewers, public_key_file: {public} }}] }}"
            self.approve = [binary, "approve", "--key-file", private, "--sub", "suite", "--from", "-"]
        config = files / "tollgate.yaml"
        config.write_text(self._config(sim, app_key, agents, sections))
        env = environment(TOLLGATE_LOG_FORMAT="json", TOLLGATE_LOG="trace")
        super().__init__([binary, "serve", "--config", config], files, "tollgate", env)
        address = self._ready(self.stderr, "tollgate serves")["listen"]
        port = address.rpartition(":")[2]
        self.url = f"https://localhost:{port}" if self._tls else f"http://{address}"

    def _config(self, sim: GithubSim, app_key: Path, agents: list[Agent], sections: str) -> str:
        tls = ", tls: {{ cert_file: {}, key_file: {} }}".format(*self._tls) if self._tls else ""
        lines = [
            f"server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, drain_timeout: 1s{tls} }}",
            f"upstream: {{ api_url: {sim.api_url}, uploads_url: {sim.uploads_url} }}",
            f"apps: [{{ name: bot, app_id: {sim.app_id}, private_key_file: {json.dumps(str(app_key))} }}]",
            f"policy: {{ approval: {self._approval}, draft_pull_requests: off }}",
            sections,
            "agents:",
        ]
        for agent in agents:
            key_sha256 = self.keys[agent.name].sha256
            lines.append(f'  - {{ name: {agent.name}, key_sha256: "{key_sha256}", {agent.settings} }}')
        return "\n".join(lines) + "\n"

    def logged(self) -> str:
        return self.stdout.read_text(errors="replace") + self.stderr.read_text(errors="replace")
