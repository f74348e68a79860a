"""What is written for the servers: bodies, a certificate, and a configuration for each."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from machine import ENVIRONMENT, Failure

# As GitHub's: an issue of 2 KB, and a list of 63 KB. The third has links that must be rewritten.
PATHS = {name: f"/repos/acme/widgets/issues/{number}" for number, name in enumerate(("2k", "63k", "links"), 1)}
API = "https://api.github.com"
LUA_MODULES = [f"/usr/lib/nginx/modules/{name}.so" for name in ("ndk_http_module", "ngx_http_lua_module")]

LIMIT = 1_000_000
WINDOW_SECONDS = 40

# Kept open for as long as a run takes, on both sides of every server.
KEEPALIVE = "keepalive_requests 1000000000; keepalive_timeout 1h;"


def issue(number: int, base: str) -> dict:
    """An issue with the fields and the ten links to the API that GitHub's has."""
    url = f"{base}/repos/acme/widgets/issues/{number}"
    user = {"login": "worker", "id": 7, "type": "User", "site_admin": False, "url": f"{base}/users/worker"}
    user |= {f"{name}_url": f"{base}/users/worker/{name}" for name in ("followers", "repos", "gists", "events")}
    return {
        "url": url,
        "repository_url": f"{base}/repos/acme/widgets",
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": f"https://github.com/acme/widgets/issues/{number}",
        "id": 1_000_000 + number,
        "number": number,
        "title": "The widget turns the wrong way",
        "state": "open",
        "user": user,
        "labels": [{"id": 1, "name": "bug", "color": "d73a4a", "default": True}],
        "comments": 4,
        "created_at": "2026-01-05T09:00:00Z",
        "body": "It turns left where the manual says right. " * 20,
    }


def bodies() -> dict[str, bytes]:
    plain = [json.dumps(issue(number, "https://github.com"), separators=(",", ":")) for number in range(33)]
    texts = {"2k": plain[1], "63k": f"[{','.join(plain)}]", "links": json.dumps(issue(1, API), separators=(",", ":"))}
    return {name: text.encode() for name, text in texts.items()}


def certificate(files: Path) -> None:
    command = ["openssl", "req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    command += ["-keyout", str(files / "tls.key"), "-out", str(files / "tls.pem")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Failure(f"openssl: {done.stderr}")


def nginx(files: Path, name: str, http: str, modules: list[str] | None = None) -> list[str | Path]:
    """Writes a configuration and gives the command that serves it with one worker."""
    home = files / name
    home.mkdir()
    loads = "".join(f"load_module {module};\n" for module in modules or [])
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in kinds)
    (home / "nginx.conf").write_text(
        f"{loads}daemon off;\nworker_processes 1;\npid {home}/pid;\nerror_log stderr;\n"
        f"events {{ worker_connections 1024; }}\n"
        f"http {{\naccess_log off;\n{temporary}{KEEPALIVE}\n{http}\n}}\n"
    )
    return ["nginx", "-p", home, "-e", "stderr", "-c", home / "nginx.conf"]


def limits(files: Path) -> None:
    """A quota that holds nobody: the most tollgate believes in, for a window that is over soon, so 25,000 a second."""
    figures = {"limit": LIMIT, "remaining": LIMIT - 1, "used": 1, "reset": int(time.time()) + WINDOW_SECONDS}
    headers = "".join(f"add_header x-ratelimit-{name} {value};\n" for name, value in figures.items())
    (files / "limits.conf").write_text(headers + "add_header x-ratelimit-resource core;\n")


def origin(files: Path, port: int, tls_port: int) -> str:
    """Fixed bodies with GitHub's headers."""
    return (
        f"sendfile on; tcp_nopush on; open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;\n"
        f"default_type application/json;\ninclude {files}/limits.conf;\n"
        f"server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; root {files}/bodies;\n"
        f"ssl_certificate {files}/tls.pem; ssl_certificate_key {files}/tls.key; }}"
    )


def proxy(port: int, origin_port: int, extra: str = "", scheme: str = "http") -> str:
    """nginx as a proxy, with buffers that hold the longest body."""
    return (
        f"upstream origin {{ server 127.0.0.1:{origin_port}; keepalive 64; {KEEPALIVE} }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{\n{extra}\nproxy_pass {scheme}://origin;\n"
        f'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 8k; }} }}'
    )


def tls_proxy(port: int, origin_port: int, files: Path) -> str:
    check = f"proxy_ssl_trusted_certificate {files}/tls.pem; proxy_ssl_verify on; proxy_ssl_name localhost;"
    return proxy(port, origin_port, check, "https")


def lua_proxy(port: int, origin_port: int, redis_port: int) -> str:
    """A window's counter for each key, in one round trip, as is often written by hand."""
    lua = f"""access_by_lua_block {{
        local red = require("nginx.redis"):new()
        red:set_timeout(1000)
        if not red:connect("127.0.0.1", {redis_port}) then return ngx.exit(503) end
        local key = "speed:" .. ngx.md5(ngx.var.http_authorization or "")
        local count = red:eval("local n = redis.call('INCR', KEYS[1]) " ..
            "if n == 1 then redis.call('EXPIRE', KEYS[1], 3600) end return n", 1, key)
        if not count or count > 1000000000 then return ngx.exit(403) end
        red:set_keepalive(3600000, 64)
    }}"""
    package = 'lua_package_path "/usr/share/lua/5.1/?.lua;;";\n'
    return package + proxy(port, origin_port, lua)


def haproxy(files: Path, port: int, origin_port: int) -> list[str | Path]:
    (files / "haproxy.cfg").write_text(
        "global\n  nbthread 1\n  maxconn 1000\n"
        "defaults\n  mode http\n  timeout client 1h\n  timeout server 60s\n  timeout connect 5s\n"
        "  timeout http-keep-alive 1h\n  http-reuse always\n"
        f"frontend agents\n  bind 127.0.0.1:{port}\n"
        "  stick-table type string len 128 size 100k expire 1h store http_req_rate(1m),gpc0\n"
        "  http-request track-sc0 req.hdr(authorization)\n"
        "  http-request deny deny_status 403 if { sc_http_req_rate(0) gt 1000000000 }\n"
        f"  default_backend origin\nbackend origin\n  server origin 127.0.0.1:{origin_port}\n"
    )
    return ["haproxy", "-db", "-f", files / "haproxy.cfg"]


def tollgate(
    files: Path,
    name: str,
    ports: tuple[int, int],
    api_url: str,
    hash_: str,
    repositories: str,
    cache: str,
    redis_port: int | None,
) -> Path:
    """Everything on that is on by default, and limits that hold nobody."""
    store = f"redis\n  redis: {{ url: redis://127.0.0.1:{redis_port} }}" if redis_port else "memory"
    high = ", ".join(
        f"{key}: 1000000000"
        for key in (
            "rest_points_per_minute",
            "rest_points_per_minute_total",
            "graphql_points_per_minute",
            "content_per_minute",
            "content_per_hour",
        )
    )
    certificates = f"  ca_file: {files}/tls.pem\n" if api_url.startswith("https") else ""
    (files / "github.token").write_text("ghp_" + "a" * 36)
    (files / "github.token").chmod(0o600)
    path = files / f"{name}.yaml"
    path.write_text(
        f"server:\n  listen: 127.0.0.1:{ports[0]}\n  admin_listen: 127.0.0.1:{ports[1]}\n"
        f"upstream:\n  api_url: {api_url}\n  uploads_url: {api_url}\n  link_bases: [{API}]\n{certificates}"
        f"tokens:\n  - {{ name: speed, token_file: github.token }}\n"
        f"budget:\n  store: {store}\n  secondary: {{ concurrent: 1000000, {high} }}\n"
        f"cache: {cache}\n"
        f"policy:\n  approval: {{ mode: presence }}\n  audit_log: {files}/{name}.audit\n"
        f'agents:\n  - name: worker\n    key_sha256: "{hash_}"\n    repositories: ["{repositories}"]\n'
    )
    return path
