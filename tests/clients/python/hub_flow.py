"""`hub api`, with `protocol: http` for the host in its configuration file."""

import json
import os
import pathlib
import tempfile

from command_line import CommandFailed, documents, run
from work import from_body, work

HOST = os.environ["CLIENT_BASE_URL"].split("/")[2]


class Api:
    def __init__(self, key, patient=True):
        file = pathlib.Path.home() / f"hub-{abs(hash(key))}"
        file.write_text(f"{HOST}:\n- user: suite\n  oauth_token: {key}\n  protocol: http\n")
        self._env = dict(os.environ, GITHUB_HOST=HOST, HUB_CONFIG=str(file))

    def _api(self, *arguments, content=None):
        status, out, err = run(["hub", "api", "--include", *arguments], self._env, content)
        # Head and body of each page, one after the other.
        bodies, codes = [], []
        for block in out.replace("\r\n", "\n").split("HTTP/1.1 ")[1:]:
            codes.append(int(block[:3]))
            bodies += documents(block.partition("\n\n")[2])
        if status != 0:
            raise CommandFailed(codes[-1] if codes else 0, bodies[-1] if bodies else {}, err)
        return bodies

    def send(self, method, path, body=None, headers=None):
        options = ["--method", method]
        for name, value in (headers or {}).items():
            options += ["--header", f"{name}: {value}"]
        if body is not None:
            options += ["--input", "-"]
        content = None if body is None else json.dumps(body).encode()
        return self._api(path.lstrip("/"), *options, content=content)[-1]

    def pages(self, path):
        return [item for page in self._api("--paginate", path.lstrip("/")) for item in page]

    def upload(self, url, content):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            header = "Content-Type: application/octet-stream"
            return self._api(url, "--method", "POST", "--header", header, "--input", file.name)[-1]

    def graphql(self, query, variables, headers=None):
        options = [part for name, value in (headers or {}).items() for part in ("--header", f"{name}: {value}")]
        if any(isinstance(value, dict) for value in variables.values()):
            # Its fields hold no objects.
            content = json.dumps({"query": query, "variables": variables}).encode()
            answer = self._api("graphql", *options, "--method", "POST", "--input", "-", content=content)[-1]
        else:
            # `--field` makes numbers of digits, which cursors have, too.
            kinds = {name: "--raw-field" if isinstance(value, str) else "--field" for name, value in variables.items()}
            fields = [part for name, kind in kinds.items() for part in (kind, f"{name}={variables[name]}")]
            answer = self._api("graphql", *options, "--raw-field", f"query={query}", *fields)[-1]
        if "errors" in answer:
            raise CommandFailed(200, answer, "errors")
        return answer["data"]


work(Api, lambda error: from_body(error.status, error.body))
