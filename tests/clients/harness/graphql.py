"""What a stand-in saw of mutations."""

import json

MERGES = "mergePullRequest"


def approved_heads(requests: list[dict]) -> list[str | None]:
    """The head that each merge which arrived was for."""
    bodies = [json.loads(r["body"]) for r in requests if r["target"].endswith("/graphql")]
    merges = [body for body in bodies if MERGES in body["query"]]
    return [body["variables"]["input"].get("expectedHeadOid") for body in merges]
