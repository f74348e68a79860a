"""Many agents, each a thread with a Github object of its own and PyGithub's defaults: its retries, its pauses.

Reads its orders from a file, writes one line of JSON for each request that has ended. PyGithub waits inside a call,
so an agent asks one thing at a time.
"""

import json
import queue
import sys
import threading
import time

from github import Auth, Github, GithubException

with open(sys.argv[1], encoding="utf-8") as file:
    ORDERS = json.load(file)
TELLING = threading.Lock()


def elapsed() -> float:
    return time.time() * 1000 - ORDERS["begin_at_epoch_ms"]


def tell(request: dict, is_served: bool, status: int) -> None:
    line = {"id": request["id"], "done_ms": max(0, int(elapsed())), "is_served": is_served, "status": status}
    with TELLING:
        print(json.dumps(line), flush=True)


def ask(requester, request: dict, etags: dict) -> int:
    """Sends it by PyGithub's own way for every request, and gives the status."""
    if request["target"] == "/graphql":
        requester.graphql_query(**request["body"])
        return 200
    etag = etags.get(request["target"]) if request["is_conditional"] else None
    headers, _ = requester.requestJsonAndCheck(
        request["method"],
        request["target"],
        headers={"If-None-Match": etag} if etag else None,
        input=request["body"],
    )
    if request["is_conditional"] and "etag" in headers:
        etags[request["target"]] = headers["etag"]
    return 200


def work(agent: dict, waiting: queue.SimpleQueue) -> None:
    requester = Github(auth=Auth.Token(ORDERS["token"]), base_url=ORDERS["base_url"]).requester
    start_by_ms = ORDERS["patience_ms"] if agent["class"] == "human" else ORDERS["start_by_ms"]
    etags: dict = {}
    while True:
        request = waiting.get()
        if elapsed() > request["due_ms"] + start_by_ms:
            tell(request, False, 0)
            continue
        try:
            tell(request, True, ask(requester, request, etags))
        except GithubException as error:
            tell(request, error.status == 304, error.status)
        except OSError:
            tell(request, False, 0)


def main() -> None:
    queues = [queue.SimpleQueue() for _ in ORDERS["agents"]]
    for agent, waiting in zip(ORDERS["agents"], queues):
        threading.Thread(target=work, args=(agent, waiting), daemon=True).start()
    for request in ORDERS["requests"]:
        left_ms = request["due_ms"] - elapsed()
        if left_ms > 0:
            time.sleep(left_ms / 1000)
        queues[request["agent"]].put(request)
    time.sleep(max(0.0, ORDERS["end_ms"] - elapsed()) / 1000)


main()
