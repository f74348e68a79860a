"""Certificates: an authority of this run, and one after the other for a listener."""

from __future__ import annotations

import subprocess
from pathlib import Path

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    def __init__(self, folder: Path):
        self.folder, self.made = folder, 0
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        request = ["req", "-x509", "-days", "2", "-subj", "/CN=soak", "-keyout", self.key, "-out", self.cert]
        self._openssl(*request, *EC)

    def issue(self, name: str) -> None:
        """Puts `name.crt` and `name.key` into the folder, in place of those that are there."""
        self.made += 1
        beside = self.folder / f"{name}-{self.made}"
        key, csr, cert = (beside.with_suffix(end) for end in (".key", ".csr", ".crt"))
        self._openssl("req", "-subj", f"/CN={name}-{self.made}", "-keyout", key, "-out", csr, *EC)
        extensions = beside.with_suffix(".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        signed = ["-CA", self.cert, "-CAkey", self.key, "-set_serial", str(1000 + self.made), "-extfile", extensions]
        self._openssl("x509", "-req", "-days", "2", "-in", csr, "-out", cert, *signed)
        key.rename(self.folder / f"{name}.key")
        cert.rename(self.folder / f"{name}.crt")

    def _openssl(self, *arguments: str | Path) -> None:
        command = ["openssl", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
