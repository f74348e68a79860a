"""What is compared: each variant's servers, and the answer that is right."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import configs
from machine import ENVIRONMENT, Failure, Process, Processes, free_port, install

NEEDED_BY_ALL = {"nginx": "nginx", "wrk": "wrk", "openssl": "openssl", "taskset": "util-linux"}
REDIS = {"redis-server": "redis-server"}
LUA = {configs.LUA_MODULES[1]: "libnginx-mod-http-lua", "/usr/share/lua/5.1/nginx/redis.lua": "lua-nginx-redis"}

# Each with the server that answers it, the body, and the variant that it is a multiple of.
NAMES = {
    "nginx": ("nginx", "2k", "nginx"),
    "origin": ("origin", "2k", "nginx"),
    "tollgate": ("tollgate", "2k", "nginx"),
    "tollgate-links": ("tollgate", "links", "nginx"),
    "tollgate-redis": ("tollgate-redis", "2k", "nginx"),
    "tollgate-hit": ("tollgate-hit", "2k", "nginx"),
    "nginx-lua-redis": ("nginx-lua-redis", "2k", "nginx"),
    "haproxy": ("haproxy", "2k", "nginx"),
    "node-redis": ("node-redis", "2k", "nginx"),
    "fastapi-redis": ("fastapi-redis", "2k", "nginx"),
    "nginx-63k": ("nginx", "63k", "nginx-63k"),
    "tollgate-63k": ("tollgate", "63k", "nginx-63k"),
    "tollgate-hit-63k": ("tollgate-hit", "63k", "nginx-63k"),
    "nginx-tls": ("nginx-tls", "2k", "nginx-tls"),
    "tollgate-tls": ("tollgate-tls", "2k", "nginx-tls"),
}
NEEDS = {
    "tollgate-redis": REDIS,
    "nginx-lua-redis": REDIS | LUA,
    "haproxy": {"haproxy": "haproxy"},
    "node-redis": REDIS | {"node": "nodejs", "npm": "npm"},
    "fastapi-redis": REDIS | {"node": "nodejs", "npm": "npm"},
}

# For the origin's new worker to be there, and the old one's idle connections to be closed.
SETTLE_SECONDS = 0.3


HERE = Path(__file__).resolve().parent


def peer(name: str) -> list[str | Path]:
    """The command of a proxy that is a program of its own, with what it needs installed."""
    done = subprocess.run([HERE / "peers/install"], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise Failure(f"peers/install: {done.stderr or done.stdout}")
    home = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target")).resolve() / "speed"
    if name == "node-redis":
        return ["node", home / "node/proxy.mjs"]
    return [home / "venv/bin/python", HERE / "peers/python/proxy.py"]


@dataclass(frozen=True)
class Server:
    process: Process
    port: int
    redis: Process | None = None
    cache: str | None = None
    admin_port: int | None = None


@dataclass(frozen=True)
class Variant:
    name: str
    against: str
    server: Server
    path: str
    key: str
    body: bytes


class World:
    """The origin and Redis on the core that asks, everything that is measured on the other."""

    def __init__(self, binary: Path, processes: Processes, cores: list[int], repositories: str = "acme/*") -> None:
        self.left_out: dict[str, str] = {}
        self._repositories = repositories
        self._binary, self._processes, self._files = binary, processes, processes.files
        self._serving, self._asking = cores
        self._servers: dict[str, Server] = {}
        self._key, self._hash = self._new_key()
        self._origin, self._tls_origin, self._redis_port = free_port(), free_port(), free_port()
        self._redis: Process | None = None

    def start(self, names: list[str]) -> list[Variant]:
        wanted = [name for name in NAMES if name in names or name in {NAMES[other][2] for other in names}]
        bodies = configs.bodies()
        self._start_origin(bodies)
        return [variant for name in wanted if (variant := self._variant(name, bodies))]

    def renew_window(self) -> None:
        """A new window of the quota; a visit ends before it does."""
        configs.limits(self._files)
        self._servers["origin"].process.reload()
        time.sleep(SETTLE_SECONDS)

    def _variant(self, name: str, bodies: dict[str, bytes]) -> Variant | None:
        server_name, body, against = NAMES[name]
        lacking = install(NEEDS.get(server_name, {}))
        if lacking:
            self.left_out[name] = "missing: " + ", ".join(lacking)
            return None
        server = self._servers.get(server_name) or self._start(server_name)
        self._servers[server_name] = server
        expected = bodies[body]
        if server_name.startswith("tollgate"):
            expected = expected.replace(configs.API.encode(), f"http://127.0.0.1:{server.port}".encode())
        return Variant(name, against, server, configs.PATHS[body], self._key, expected)

    def _start_origin(self, bodies: dict[str, bytes]) -> None:
        for name, body in bodies.items():
            path = self._files / "bodies" / configs.PATHS[name].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        # nginx's worker gives up root, and must still reach them.
        for directory in (self._files, *(self._files / "bodies").glob("**/")):
            directory.chmod(0o755)
        configs.certificate(self._files)
        configs.limits(self._files)
        command = configs.nginx(self._files, "origin", configs.origin(self._files, self._origin, self._tls_origin))
        process = self._processes.start("origin", command, self._asking, self._origin)
        self._servers["origin"] = Server(process, self._origin)

    def _start(self, name: str) -> Server:
        port = free_port()
        plain: dict[str, Callable[[], str]] = {
            "nginx": lambda: configs.proxy(port, self._origin),
            "nginx-tls": lambda: configs.tls_proxy(port, self._tls_origin, self._files),
            "nginx-lua-redis": lambda: configs.lua_proxy(port, self._origin, self._redis_port),
        }
        redis, cache, admin_port = self._start_redis() if "redis" in name else None, None, None
        if name in plain:
            modules = configs.LUA_MODULES if "lua" in name else []
            command = configs.nginx(self._files, name, plain[name](), modules)
        elif name == "haproxy":
            command = configs.haproxy(self._files, port, self._origin)
        elif name in ("node-redis", "fastapi-redis"):
            command = [*peer(name), str(port), str(self._origin), str(self._redis_port)]
        else:
            admin_port = free_port()
            command, cache = self._tollgate(name, (port, admin_port))
        process = self._processes.start(name, command, self._serving, port)
        return Server(process, port, redis, cache, admin_port)

    def _tollgate(self, name: str, ports: tuple[int, int]) -> tuple[list[str | Path], str]:
        url = f"https://localhost:{self._tls_origin}" if "tls" in name else f"http://127.0.0.1:{self._origin}"
        is_hit = "hit" in name
        cache = "{ fresh_for: 1h }" if is_hit else "{ max_size: 0 }"
        redis_port = self._redis_port if "redis" in name else None
        path = configs.tollgate(self._files, name, ports, url, self._hash, self._repositories, cache, redis_port)
        return [self._binary, "serve", "--config", path], "hit" if is_hit else "bypass"

    def _start_redis(self) -> Process:
        if self._redis is None:
            command = ["redis-server", "--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", ""]
            command += ["--appendonly", "no", "--dir", str(self._files)]
            self._redis = self._processes.start("redis", command, self._asking, self._redis_port)
        return self._redis

    def _new_key(self) -> tuple[str, str]:
        command = [str(self._binary), "key", "new", "worker"]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=10, check=False)
        key = re.search(r"\btg_worker_\w+", done.stdout)
        hash_ = re.search(r"\b[0-9a-f]{64}\b", done.stdout)
        if not key or not hash_:
            raise Failure(f"tollgate key new: {done.stdout}{done.stderr}")
        return key.group(0), hash_.group(0)
