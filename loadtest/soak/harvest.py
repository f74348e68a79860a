"""Reads what the run left: logs and audit logs line by line, and the stand-in's books."""

from __future__ import annotations

import json

from clients import secret_in
from fleet import KEYS, Fleet
from record import Record

# Enough to tell what is wrong.
SHOWN = 20


def gather(fleet: Fleet, record: Record) -> None:
    pems = [KEYS / "pkcs1.pem", KEYS / "pkcs8.pem"]
    key_parts = [line for pem in pems for line in pem.read_text().splitlines() if len(line) == 64]
    secrets = (*fleet.secrets, *key_parts)
    for path in sorted(fleet.folder.iterdir()):
        is_audit = path.name.startswith("audit-")
        if is_audit or path.name.startswith("replica-") and path.suffix == ".log":
            with path.open(errors="replace") as text:
                for number, line in enumerate(text, 1):
                    record.log_lines += 1
                    where = f"{path.name}:{number}"
                    if secret := secret_in(line, secrets):
                        record.leaks.append(f"{secret[:7]}… in {where}")
                    read(line, is_audit, where, record)


def read(line: str, is_audit: bool, where: str, record: Record) -> None:
    wanted = ("time", "event", "request_id", "verdict") if is_audit else ("timestamp", "level")
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    is_whole = isinstance(said, dict) and all(name in said for name in wanted) and line.endswith("\n")
    if not is_whole:
        if len(record.malformed) < SHOWN:
            record.malformed.append(f"{where}: {line[:160]!r}")
    elif is_audit:
        key = said["approver"]["jti"] if said["event"] == "approval" else said["request_id"]
        record.audit.add((said["event"], key))
    elif said["level"] == "ERROR":
        record.errors.append(f"{where}: {line[:300].strip()}")
