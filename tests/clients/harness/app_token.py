"""An installation token minted as the App, for the runs that talk to the stand-in directly.

A token of the same installation that tollgate uses makes the same author of what the clients write, so
both runs can be compared whole. RSA is done by hand, since the standard library has none; it signs
with the stand-in's published test key and is good for nothing else.
"""

import base64
import hashlib
import json
import re
import time
from pathlib import Path

from harness.processes import request_json

# DER of the algorithm identifier that precedes a SHA-256 digest in a PKCS#1 v1.5 signature (RFC 8017, 9.2).
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def mint(api_url: str, app_id: int, key_file: Path, owner: str) -> str:
    bearer = {"authorization": f"Bearer {app_jwt(app_id, key_file.read_text())}"}
    installation = request_json("GET", f"{api_url}/orgs/{owner}/installation", headers=bearer)
    url = f"{api_url}/app/installations/{installation['id']}/access_tokens"
    return request_json("POST", url, body={}, headers=bearer)["token"]


def app_jwt(app_id: int, pem: str) -> str:
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT"}
    claims = {"iss": str(app_id), "iat": now - 60, "exp": now + 300}
    signed = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return b".".join((signed, encoded(signature(signed, pem)))).decode()


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signature(data: bytes, pem: str) -> bytes:
    modulus, private_exponent = private_key(pem)
    size = (modulus.bit_length() + 7) // 8
    digest = SHA256_PREFIX + hashlib.sha256(data).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), private_exponent, modulus).to_bytes(size, "big")


def private_key(pem: str) -> tuple[int, int]:
    """Modulus and private exponent of a PKCS#1 file: a sequence of version, n, e, d and more."""
    body = re.search(r"-----BEGIN RSA PRIVATE KEY-----(.*?)-----END", pem, re.DOTALL)
    if body is None:
        raise ValueError("not a PKCS#1 private key")
    der, numbers = base64.b64decode(body[1]), []
    start, _ = contents(der, 0)
    while len(numbers) < 4:
        start, end = contents(der, start)
        numbers.append(int.from_bytes(der[start:end], "big"))
        start = end
    _, modulus, _, private_exponent = numbers
    return modulus, private_exponent


def contents(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the DER element at an offset start and end."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(der[start : start + count], "big")
        start += count
    return start, start + length
