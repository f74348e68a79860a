"""What the flows of Python clients share: their settings, and the one document each prints.

A flow is told by the environment where to go and as whom:

CLIENT_BASE_URL       base of the API, with the form's prefix
CLIENT_KEY            credential of the agent that does the work
CLIENT_CAREFUL_KEY    credential of one whose branches wait for an approval, too
CLIENT_STRANGER_KEY   credential of one without the repository; only through tollgate
CLIENT_CLOSED_KEY     credential of one that may spend nothing; only through tollgate
CLIENT_APPROVAL       value of the approval header; for work by GraphQL the command, in JSON, that prints
                      one for the refusal on its standard input; only through tollgate

It prints {"results": {step: value}, "refusals": {name: {"status", "code", …}}}. Results are what both
runs must agree on; refusals are tollgate's own and are asked for through tollgate alone.
"""

import json
import os
import subprocess
import sys
import traceback

OWNER, NAME = "acme", "widgets"
REPOSITORY = f"{OWNER}/{NAME}"
APPROVAL_HEADER = "x-merge-approval"


class Flow:
    def __init__(self, describe):
        """`describe` tells what tollgate or GitHub said from the client's exception."""
        self.base_url = os.environ["CLIENT_BASE_URL"]
        self.key = os.environ["CLIENT_KEY"]
        self.careful_key = os.environ["CLIENT_CAREFUL_KEY"]
        self.stranger_key = os.environ.get("CLIENT_STRANGER_KEY")
        self.closed_key = os.environ.get("CLIENT_CLOSED_KEY")
        approval = os.environ.get("CLIENT_APPROVAL")
        self.approved = {APPROVAL_HEADER: approval} if approval else {}
        self.is_gated = approval is not None
        self._describe = describe
        self._results = {}
        self._refusals = {}

    def step(self, function):
        """Runs the function at once; what it returns is the result named like it."""
        try:
            self._results[function.__name__] = function()
        except Exception as error:  # A step that fails is a result, and the flow goes on.
            traceback.print_exc()
            self._results[function.__name__] = {"failed": f"{type(error).__name__}: {error}"}
        return function

    def refusal(self, function, name=None):
        """Runs the function if tollgate is there; the exception it raises is recorded."""
        if not self.is_gated:
            return function
        name = name or function.__name__
        try:
            function()
            self._refusals[name] = {"failed": "it was let through"}
        except Exception as error:
            self._refusals[name] = self.told(error)
        return function

    def told(self, error):
        """Status, message and tollgate's code as the client's exception has them."""
        try:
            return self._describe(error) | {"exception": type(error).__name__}
        except Exception:  # Another exception than the client's own for an error answer.
            traceback.print_exc()
            return {"failed": f"{type(error).__name__}: {error}"}

    def approval(self, call):
        """The header by which somebody agrees to what the call is refused for; without tollgate nothing."""
        if not self.is_gated:
            return {}
        try:
            call()
        except Exception as error:
            refusal = json.dumps(self._describe(error)["tollgate"]).encode()
            command = json.loads(os.environ["CLIENT_APPROVAL"])
            ended = subprocess.run(command, input=refusal, capture_output=True, timeout=30, check=True)
            return {APPROVAL_HEADER: ended.stdout.decode().strip()}
        raise AssertionError("it was let through without an approval")

    def error_of(self, call):
        """What a call that must fail is told, the same with and without tollgate."""
        try:
            call()
        except Exception as error:
            told = self.told(error)
            told.pop("code", None)
            told.pop("tollgate", None)
            return told
        return {"failed": "it was let through"}

    def finish(self):
        json.dump({"results": self._results, "refusals": self._refusals}, sys.stdout)
        sys.stdout.write("\n")
