"""What a stand-in saw of mutations."""

import re

MERGES = "mergePullRequest("
# In the variables or in the document.
HEAD = re.compile(r'expectedHeadOid\W+"([0-9a-f]{40})\W')


def approved_heads(requests: list[dict]) -> list[str | None]:
    """The head that each merge which arrived was for."""
    bodies = [r["body"] for r in requests if r["target"].endswith("/graphql")]
    merges = [HEAD.search(body) for body in bodies if MERGES in body]
    return [found and found[1] for found in merges]
