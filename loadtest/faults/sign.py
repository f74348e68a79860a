"""Agents' keys, approvals (HS256), and the App's JWT (RS256) for a client that goes around tollgate."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import string
import time
from pathlib import Path

ISSUER = "release-team"


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(length))


def approval_name(rng: random.Random) -> str:
    """A `jti`: it stands in audit logs, where none may look by chance as signed tokens begin (`eyJ`)."""
    return random_text(rng, 20).lower()


def agent_key(rng: random.Random, name: str) -> str:
    return f"tg_{name}_{random_text(rng, 43)}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jws(secret: str, claims: dict[str, object], algorithm: str = "HS256") -> str:
    message = b64(json.dumps({"typ": "JWT", "alg": algorithm}).encode()) + "." + b64(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    return f"{message}.{b64(signature) if algorithm != 'none' else ''}"


def claims(repository: str, action: str, jti: str, ahead: int = 0) -> dict[str, object]:
    """What every approval says; the caller adds what it is for. `ahead` moves `iat` into the future."""
    now = int(time.time()) + ahead
    return {
        "iss": ISSUER,
        "sub": "jane",
        "aud": "tollgate",
        "repo": repository,
        "action": action,
        "iat": now,
        "exp": now + 600,
        "jti": jti,
    }


def request_sha256(method: str, path: str, body: str) -> str:
    return hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()


def app_jwt(key_file: Path, app_id: int) -> str:
    """RS256 (RFC 8017, 8.2) with nothing but integers."""
    modulus, exponent = rsa_key(key_file.read_text())
    now = int(time.time())
    payload = {"iss": str(app_id), "iat": now - 30, "exp": now + 300}
    message = b64(b'{"alg":"RS256","typ":"JWT"}') + "." + b64(json.dumps(payload).encode())
    size = (modulus.bit_length() + 7) // 8
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message.encode()).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    signature = pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(size, "big")
    return f"{message}.{b64(signature)}"


def rsa_key(pem: str) -> tuple[int, int]:
    """Modulus and private exponent of a PKCS#1 key."""
    der = base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))
    at, integers = _inside(der, 0), []
    while len(integers) < 4:
        start, length = _inside(der, at), _length(der, at)
        integers.append(int.from_bytes(der[start : start + length], "big"))
        at = start + length
    return integers[1], integers[3]


def _length(der: bytes, at: int) -> int:
    first = der[at + 1]
    return first if first < 128 else int.from_bytes(der[at + 2 : at + 2 + first - 128], "big")


def _inside(der: bytes, at: int) -> int:
    first = der[at + 1]
    return at + 2 + (first - 128 if first >= 128 else 0)
