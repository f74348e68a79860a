"""curl: plain, over TLS with HTTP/1.1, and over TLS with HTTP/2; CLIENT_CURL holds its further options."""

import json
import os
import re

from command_line import CommandFailed, run
from work import from_body, work

BASE = os.environ["CLIENT_BASE_URL"]
OPTIONS = os.environ["CLIENT_CURL"].split()


class Api:
    def __init__(self, key, patient=True):
        self._key = ["--header", f"Authorization: Bearer {key}"]

    def _answer(self, method, url, content=None, headers=None):
        options = [*OPTIONS, *self._key, "--location", "--compressed", "--request", method]
        for name, value in (headers or {}).items():
            options += ["--header", f"{name}: {value}"]
        if content is not None:
            options += ["--data-binary", "@-"]
        command = ["curl", "--silent", "--show-error", "--include", *options, url]
        status, out, err = run(command, os.environ, content)
        if status != 0:
            raise CommandFailed(0, {}, err)
        head, body = "", out.replace("\r\n", "\n")
        while body.startswith("HTTP/"):
            head, _, body = body.partition("\n\n")
        code = int(head.split()[1])
        parsed = json.loads(body) if body.strip() else {}
        if code >= 400:
            raise CommandFailed(code, parsed, head)
        return head, parsed

    def send(self, method, path, body=None, headers=None):
        # Without a type of its own, as scripts send it: curl calls every body a form.
        content = None if body is None else json.dumps(body).encode()
        return self._answer(method, BASE + path, content, headers)[1]

    def pages(self, path):
        items, url = [], BASE + path
        while url:
            head, page = self._answer("GET", url)
            items += page
            following = re.search(r'<([^>]*)>; rel="next"', head)
            url = following and following[1]
        return items

    def upload(self, url, content):
        return self._answer("POST", url, content, {"Content-Type": "application/octet-stream"})[1]

    def graphql(self, query, variables):
        content = json.dumps({"query": query, "variables": variables}).encode()
        url = BASE.removesuffix("/v3") + "/graphql"
        return self._answer("POST", url, content, {"Content-Type": "application/json"})[1]["data"]


work(Api, lambda error: from_body(error.status, error.body))
