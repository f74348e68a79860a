"""`gh api`: over TLS with GH_HOST, or plain with GH_HOST=github.localhost through HTTP_PROXY.

CLIENT_GH says which: `tls`, or `localhost`. gh reads its certificate authorities from SSL_CERT_FILE.
"""

import json
import os
import re
import tempfile

from command_line import CommandFailed, documents, run
from work import from_body, work

BASE = os.environ["CLIENT_BASE_URL"]


class Api:
    def __init__(self, key, patient=True):
        self.env = dict(os.environ, NO_COLOR="1", GH_PROMPT_DISABLED="1", GH_NO_UPDATE_NOTIFIER="1")
        if os.environ["CLIENT_GH"] == "tls":
            self.env |= {"GH_HOST": BASE.split("/")[2], "GH_ENTERPRISE_TOKEN": key}
        else:
            self.env |= {"GH_HOST": "github.localhost", "GH_TOKEN": key, "HTTP_PROXY": BASE}

    def _api(self, *arguments, content=None):
        status, out, err = run(["gh", "api", *arguments], self.env, content)
        if status != 0:
            body = documents(out)[-1] if out.strip() else {}
            code = re.search(r"HTTP (\d+)", err)
            raise CommandFailed(int(code[1]) if code else 0, body, err)
        return documents(out)

    def send(self, method, path, body=None, headers=None):
        options = ["--method", method]
        for name, value in (headers or {}).items():
            options += ["--header", f"{name}: {value}"]
        if body is not None:
            options += ["--input", "-"]
        content = None if body is None else json.dumps(body).encode()
        return self._api(path.lstrip("/"), *options, content=content)[0]

    def pages(self, path):
        return [item for page in self._api("--paginate", path.lstrip("/")) for item in page]

    def upload(self, url, content):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            header = "Content-Type: application/octet-stream"
            return self._api(url, "--method", "POST", "--header", header, "--input", file.name)[0]

    def graphql(self, query, variables, headers=None):
        options = [part for name, value in (headers or {}).items() for part in ("--header", f"{name}: {value}")]
        if any(isinstance(value, dict) for value in variables.values()):
            # Its fields hold no objects.
            content = json.dumps({"query": query, "variables": variables}).encode()
            return self._api("graphql", *options, "--input", "-", content=content)[0]["data"]
        # `-F` makes numbers of digits, which cursors have, too.
        kinds = [("-f" if isinstance(value, str) else "-F", f"{name}={value}") for name, value in variables.items()]
        fields = [part for pair in kinds for part in pair]
        return self._api("graphql", *options, "-f", f"query={query}", *fields)[0]["data"]


if __name__ == "__main__":
    work(Api, lambda error: from_body(error.status, error.body))
