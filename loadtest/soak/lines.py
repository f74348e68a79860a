"""Connections to a listener with TLS, and clients that are slow or hang up."""

from __future__ import annotations

import http.client
import socket
import ssl
import time

from wire import HANG_SECONDS, Call, Line


class TlsLine(Line):
    """A connection that is kept as long as it can be."""

    def __init__(self, port: int, trust: ssl.SSLContext):
        super().__init__(port)
        self.trust = trust

    def _exchange(self, call: Call, headers: dict[str, str], body: str | None) -> None:
        if not self.connection:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=HANG_SECONDS, context=self.trust)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        super()._exchange(call, headers, body)


def open_tls(port: int, trust: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS)
    return trust.wrap_socket(plain, server_hostname="127.0.0.1")


def head(path: str, key: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode()


def ask_slowly(call: Call, port: int, trust: ssl.SSLContext, key: str) -> None:
    """A head in five pieces, and an answer that is read a little at a time."""
    call.started = call.quiet_since = time.time()
    sent, answer = head(call.path, key), b""
    try:
        with open_tls(port, trust) as line:
            piece = len(sent) // 5 + 1
            for at in range(0, len(sent), piece):
                line.sendall(sent[at : at + piece])
                time.sleep(0.2)
            while data := line.recv(4096):
                answer += data
                time.sleep(0.02)
        call.status = int(answer.split(b" ", 2)[1])
    except (OSError, IndexError, ValueError):
        call.problem = "broken"
    call.ended, call.text = time.time(), answer.decode(errors="replace")


def hang_up(call: Call, port: int, trust: ssl.SSLContext, key: str, after: float) -> None:
    """Asks, and is gone before the answer came, or while it comes."""
    call.started = call.quiet_since = time.time()
    try:
        with open_tls(port, trust) as line:
            line.sendall(head(call.path, key))
            time.sleep(after)
    except OSError:
        pass
    call.ended = time.time()
