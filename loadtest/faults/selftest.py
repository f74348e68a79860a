"""Plants what each checker is for into a clean history, and sees whether that checker, and no other, finds it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import checks
from history import History, JsonObject
from load import Approved
from wire import Call
from world import Trouble

KEY = "merge acme/widgets#80"
MERGE = "/repos/acme/widgets/pulls/80/merge"
SECRET = "tg_hungry_abcdefghijklmnopqrstuvwxyz"


def call(**facts: object) -> Call:
    good = Call("read", "hungry", 0, "GET", "/repos/acme/widgets", wait=1, status=200, text="{}")
    good.started, good.ended, good.quiet_since = 100.0, 100.1, 100.0
    for name, value in facts.items():
        setattr(good, name, value)
    return good


def refusal(code: str, **facts: object) -> Call:
    body = {"message": "no", "documentation_url": "x", "status": "403", "tollgate": {"code": code, "request_id": "r"}}
    headers = {"x-tollgate-error": code, "x-request-id": "r"}
    return call(**{"status": 403, "text": json.dumps(body), "headers": headers, **facts})


def request(target: str = MERGE, method: str = "PUT", at: int = 100_000, **facts: object) -> JsonObject:
    return {"seq": 1, "at_epoch_ms": at, "method": method, "target": target, "status": 200, "headers": {}} | facts


def clean() -> History:
    """One merge with its approval, one comment, one refusal: nothing speaks against it."""
    comment = call(purpose="comment", method="POST", status=201)
    approved = Approved(KEY, "acme/widgets", "PUT", MERGE, "{}", "eyJ", "jti-1", "hungry")
    return History(
        calls=[call(), comment, refusal("budget_exhausted")],
        approvals=[approved],
        comments={"once": [comment]},
        comments_there={"once": 1},
        books={"violations": {}, "leaked_credentials": [], "merges": [{"repository": "acme/widgets", "pull": 80}]},
        requests=[request()],
        pulls={"PR_80": KEY},
        audit=[{"event": "approval", "time": "1970-01-01T00:01:39.990Z", "approver": {"jti": "jti-1"}}],
        texts={"replica-0.1.log": "all is well"},
        secrets={"key of hungry": SECRET, "an installation token": "ghs_"},
        served=(75, 25),
        weights=(3, 1),
    )


def resent(history: History, first: Call, there: int) -> None:
    history.comments["twice"] = [first, call(method="POST", status=201)]
    history.comments_there["twice"] = there


def drained(history: History, ended: float) -> None:
    history.troubles.append(Trouble(0, "drained", 101.0, 106.5))
    history.calls.append(call(problem="closed", status=0, ended=ended))


def exceeded(history: History, kind: str, times: int) -> None:
    history.kinds.add(kind)
    history.books["violations"] = {"primary": times}


def unserved(history: History, kind: str, last: Call) -> None:
    history.kinds.add(kind)
    history.unserved.append(last)


def measured(history: History, store_change: float) -> None:
    history.served, history.measured, history.store_changes = (25, 75), (100.0, 102.5), [store_change]


def late_line(history: History) -> None:
    history.audit[0]["time"] = "1970-01-01T00:01:40.500Z"


Plant = Callable[[History], object]
deployment = request("/repos/acme/widgets/deployments", "POST", body='{"description": "intruder"}')
error = call(status=500, text="<html>")


def merge_by_graphql(node: str, seq: int = 2) -> JsonObject:
    body = json.dumps({"query": "mutation { mergePullRequest }", "variables": {"input": {"pullRequestId": node}}})
    return request("/graphql", "POST", seq=seq, body=body)


PLANTED: list[tuple[str, str, Plant]] = [
    ("limits", "a limit that is passed", lambda h: h.books.update(violations={"primary": 1})),
    ("limits", "more than a rogue explains", lambda h: exceeded(h, "rogue", 99)),
    ("approvals", "an approval used twice", lambda h: h.requests.append(request(seq=2))),
    ("approvals", "an approval used again by GraphQL", lambda h: h.requests.append(merge_by_graphql("PR_80"))),
    ("approvals", "a merge by GraphQL of nobody's", lambda h: h.requests.append(merge_by_graphql("PR_1"))),
    ("approvals", "a merge carried out twice", lambda h: h.books["merges"].append(h.books["merges"][0])),
    ("approvals", "a ref-write of nobody's", lambda h: h.requests.append(deployment)),
    ("approvals", "a ref-write carried out twice", lambda h: h.deployments_there.update({"deployment 1": 2})),
    ("doubles", "a comment sent once that is there twice", lambda h: h.comments_there.update(once=2)),
    ("doubles", "a comment that was refused, and is there", lambda h: resent(h, refusal("budget_exhausted"), 2)),
    (
        "doubles",
        "a comment confirmed by GraphQL that is not there",
        lambda h: h.comments.update(lost=[call(method="POST", path="/graphql", text='{"data": {}}')]),
    ),
    ("doubles", "a comment confirmed that is not there", lambda h: h.comments_there.clear()),
    ("secrecy", "a key in a log", lambda h: h.texts.update({"replica-0.1.log": f"got {SECRET}"})),
    ("secrecy", "a token in an answer", lambda h: h.texts.update(answers="token ghs_4242_x")),
    ("secrecy", "a key at the stand-in", lambda h: h.books.update(leaked_credentials=[{"place": "path"}])),
    ("answers", "a hang", lambda h: h.calls.append(call(problem="timeout", status=0))),
    ("answers", "a connection cut by nobody", lambda h: h.calls.append(call(problem="closed", status=0))),
    ("answers", "a request cut in the middle of a drain", lambda h: drained(h, ended=103.0)),
    ("answers", "an answer cut by nobody", lambda h: h.calls.append(call(problem="cut"))),
    ("answers", "an answer too late", lambda h: h.calls.append(call(ended=120.0))),
    ("answers", "an error in no shape", lambda h: h.calls.append(error)),
    ("answers", "an error of nobody's", lambda h: h.calls.append(call(status=404, text='{"message": "no"}'))),
    ("answers", "GitHub's 401", lambda h: h.calls.append(call(status=401, text='{"message": "Bad credentials"}'))),
    ("answers", "another code in the body", lambda h: h.calls.append(refusal("overloaded", text=refusal("x").text))),
    ("answers", "a defect that is admitted", lambda h: h.calls.append(refusal("internal"))),
    ("service", "an agent that is not served", lambda h: h.unserved.append(refusal("overloaded"))),
    ("service", "a wait too long", lambda h: unserved(h, "github_limit", refusal("upstream_limited"))),
    (
        "service",
        "shares upside down long after the store was back",
        lambda h: measured(h, store_change=90.0),
    ),
    ("service", "shares upside down", lambda h: setattr(h, "served", (25, 75))),
    ("audit", "no line", lambda h: h.audit.clear()),
    ("audit", "a line that came after", late_line),
]
# What looks alike and is none.
INNOCENT: list[tuple[str, Plant]] = [
    ("a request cut when a drain's time was over", lambda h: drained(h, ended=106.0)),
    ("an error, sent again, done twice", lambda h: resent(h, call(method="POST", problem="reset", status=0), 2)),
    (
        "GraphQL's error with 200, sent again, done once",
        lambda h: resent(h, call(method="POST", path="/graphql", text='{"errors": [{}]}'), 1),
    ),
    ("a merge by GraphQL in place of REST's", lambda h: h.requests.__setitem__(0, merge_by_graphql("PR_80", 1))),
    (
        "an answer as late as GitHub was parted",
        lambda h: (h.troubles.append(Trouble(0, "github parted", 100, 115)), h.calls.append(call(ended=120.0))),
    ),
    ("a refusal, sent again, done once", lambda h: resent(h, refusal("overloaded"), 1)),
    (
        "a connection that ends with its replica",
        lambda h: (h.troubles.append(Trouble(0, "killed", 100.05, 101)), h.calls.append(call(problem="reset"))),
    ),
    (
        "shares while a replica was without the store",
        lambda h: measured(h, store_change=99.0),
    ),
    ("too few calls to tell shares", lambda h: setattr(h, "served", (5, 25))),
]


def found_by(history: History) -> set[str]:
    return {name for name, check in checks.CHECKS.items() if check(history)}


def run() -> int:
    began, failed = time.monotonic(), 0
    cases = [("", "nothing", lambda h: None), *PLANTED, *[("", what, plant) for what, plant in INNOCENT]]
    for name, what, plant in cases:
        history = clean()
        plant(history)
        found = found_by(history)
        if found != ({name} if name else set()):
            failed += 1
            print(f"FAIL {what}: found by {sorted(found)}, not by {name or 'none'}")
    missing = set(checks.CHECKS) - {name for name, _, _ in PLANTED}
    if missing:
        failed += 1
        print(f"FAIL nothing is planted for {sorted(missing)}")
    print(f"faults: {len(cases)} histories, {failed} judged wrongly, {time.monotonic() - began:.2f} s")
    return 1 if failed else 0
