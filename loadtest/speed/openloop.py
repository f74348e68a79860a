"""Asks at a fixed rate, whether answers come or not: openloop.py PORT PATH KEY BYTES RATE SECONDS.

Each request has a time at which it is due. Its latency counts from then, also when it had to wait for a connection:
a server that stalls is not asked less for it. The result is one line of JSON.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time

CONNECTIONS = 32
# After the last request is due; what is not answered by then is an error.
GRACE_SECONDS = 10


class Connection:
    """One answer at a time; only its status and length are looked at."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = bytearray()

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self._received.clear()
        self.socket.sendall(request)

    def answer(self) -> tuple[bool, int] | None:
        """Whether the status is 200, and the body's length, once the answer is whole."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise OSError("the connection was closed")
        self._received += piece
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head, body = bytes(self._received[:end]).lower(), len(self._received) - end - 4
        is_ok = head.startswith(b"http/1.1 200")
        if b"\r\ntransfer-encoding: chunked" in head:
            return (is_ok, unchunked(self._received, end + 4)) if self._received.endswith(b"\r\n0\r\n\r\n") else None
        length = int(head.split(b"\r\ncontent-length: ", 1)[1].split(b"\r\n", 1)[0])
        return (is_ok, body) if body >= length else None


def unchunked(received: bytearray, at: int) -> int:
    """The length of a body in chunks that begins `at`."""
    total = 0
    while True:
        line = received.index(b"\r\n", at)
        size = int(received[at:line].split(b";")[0], 16)
        if size == 0:
            return total
        total, at = total + size, line + 2 + size + 2


def main() -> None:
    port, path, key, length, rate, seconds = sys.argv[1:]
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: speed\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    ).encode()
    gc.disable()
    connections = [Connection(int(port)) for _ in range(CONNECTIONS)]
    latencies, wrong = ask(connections, request, int(length), int(rate), int(seconds))
    latencies.sort()
    at = lambda part: 1e6 * latencies[min(len(latencies) - 1, int(part * len(latencies)))]
    print(json.dumps({"p50_us": at(0.5), "p99_us": at(0.99), "wrong": wrong, "client_cpu_s": time.process_time()}))


def ask(connections: list[Connection], request: bytes, length: int, rate: int, seconds: int) -> tuple[list[float], int]:
    """The latencies of all answers, and how many were wrong or missing."""
    total, sent, wrong = rate * seconds, 0, 0
    idle, latencies = list(connections), []
    busy: dict[int, Connection] = {}
    begin = time.perf_counter() + 0.05
    while len(latencies) < total:
        now = time.perf_counter()
        while idle and sent < total and begin + sent / rate <= now:
            connection = idle.pop()
            connection.ask(request, begin + sent / rate)
            busy[connection.socket.fileno()] = connection
            sent += 1
        if now > begin + seconds + GRACE_SECONDS:
            return latencies or [float(GRACE_SECONDS)], wrong + total - len(latencies)
        wait = begin + sent / rate - time.perf_counter() if idle and sent < total else 1.0
        # select, unlike epoll, takes microseconds.
        for ready in select.select(list(busy), [], [], max(wait, 0))[0]:
            connection = busy[ready]
            answer = connection.answer()
            if answer is not None:
                latencies.append(time.perf_counter() - connection.due)
                wrong += answer != (True, length)
                idle.append(busy.pop(ready))
    return latencies, wrong


if __name__ == "__main__":
    main()
