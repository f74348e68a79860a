"""One HTTP request at a time, and everything that may come of it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass, field

# A caller that waits longer than this calls it a hang.
HANG_SECONDS = 30.0


@dataclass
class Call:
    """A request of a client's, and its answer or what came instead."""

    purpose: str
    agent: str
    replica: int
    method: str
    path: str
    wait: float = 0.0
    tag: str = ""
    started: float = 0.0
    ended: float = 0.0
    # Since when nothing was heard on the connection; before `started` where it was used before.
    quiet_since: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    # refused, closed, reset, cut (within an answer), timeout, or garbled; nothing for a whole answer.
    problem: str = ""

    @property
    def error(self) -> str:
        return self.headers.get("x-tollgate-error", "")

    @property
    def is_done(self) -> bool:
        """Whether it says that something was made; GraphQL says 200 of what failed, too."""
        said = self.json() if self.status == 200 and self.path == "/graphql" else None
        return self.status == 201 or (isinstance(said, dict) and "errors" not in said)

    def json(self) -> object:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def line(self, zero: float) -> str:
        came = self.problem or f"{self.status} {self.error}".strip()
        return (
            f"{self.started - zero:7.3f}s +{self.ended - self.started:.3f}s {self.purpose} {self.agent or '-'} "
            f"at replica {self.replica}: {self.method} {self.path} {self.tag} -> {came} {self.text[:200]!r}"
        )


class Line:
    """A connection to one port that is kept as long as it can be."""

    def __init__(self, port: int):
        self.port = port
        self.connection: http.client.HTTPConnection | None = None
        self.heard = 0.0

    def send(self, call: Call, headers: dict[str, str], body: str | None, keep: bool) -> Call:
        call.started = time.time()
        call.quiet_since = self.heard if self.connection else call.started
        try:
            self._exchange(call, headers, body)
        except ConnectionRefusedError:
            call.problem = "refused"
        except http.client.RemoteDisconnected:
            call.problem = "closed"
        except TimeoutError:
            call.problem = "timeout"
        except http.client.IncompleteRead as error:
            call.problem, call.text = "cut", error.partial.decode(errors="replace")
        except OSError:
            call.problem = "cut" if call.status else "reset"
        except http.client.HTTPException as error:
            call.problem, call.text = "garbled", repr(error)
        call.ended = self.heard = time.time()
        if call.problem or not keep:
            self.close()
        return call

    def _exchange(self, call: Call, headers: dict[str, str], body: str | None) -> None:
        if not self.connection:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_SECONDS)
            connection.connect()
            assert isinstance(connection.sock, socket.socket)
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        encoded = body.encode() if body is not None else None
        self.connection.request(call.method, call.path, body=encoded, headers=headers)
        response = self.connection.getresponse()
        call.status = response.status
        call.headers = {name.lower(): value for name, value in response.getheaders()}
        call.text = response.read().decode(errors="replace")
        if response.will_close:
            self.close()

    def hang_up(self) -> None:
        """From another thread, so that who reads here is told that it is over."""
        if self.connection and self.connection.sock:
            try:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, body: object = None) -> Call:
    """A request on a connection of its own."""
    call = Call("", "", -1, method, path)
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    return Line(port).send(call, headers or {}, text, keep=False)
