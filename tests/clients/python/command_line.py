"""What the flows of command-line clients share: running them, and reading what they print."""

import json
import subprocess


class CommandFailed(Exception):
    def __init__(self, status, body, text):
        super().__init__(text)
        self.status = status
        self.body = body


def run(command, env, content=None):
    """Standard output and error of a command; it has half a minute."""
    ended = subprocess.run(command, env=env, input=content, capture_output=True, timeout=30, check=False)
    return ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")


def documents(text):
    """The JSON documents that stand one after the other, as pages are printed."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found
