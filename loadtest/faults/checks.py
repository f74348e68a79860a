"""The seven promises. Each checker takes a history and gives the lines that speak against it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from history import History, JsonObject
from load import HUNGRY_LINES, NOTHING_WAS_SENT
from wire import Call
from world import DRAIN_SECONDS, Trouble

# How long an answer may take beyond what the caller is ready to wait.
LATENCY_SLACK = 6.0
# Where approvals and branches are looked at first, each look-up with its own way to GitHub.
LATENCY_SLACK_WRITE = 12.0
# Of two hungry agents, and of the other clients, each of which has one call at a time.
LINES = 2 * HUNGRY_LINES + 10
SHARE_ERROR = 0.2
SHARE_CALLS = 40
# Seconds before, in which no replica may have lost or found the store.
SHARE_CALM = 3.0


def limits(history: History) -> list[str]:
    """1: no primary or secondary limit is passed."""
    violations = dict(history.books.get("violations", {}))
    passed = sum(violations.values()) - history.rogue_refused
    allowed = allowed_refusals(history)
    if passed <= allowed:
        return []
    return [f"GitHub's limits were passed {passed} times (allowed: {allowed}): {violations}"]


def allowed_refusals(history: History) -> int:
    """What no proxy could have known: that a rogue client just spent the last point. GitHub tells only with an
    answer, so what was in flight then is refused, at most one call for each connection that clients hold."""
    return LINES if "rogue" in history.kinds else 0


def approvals(history: History) -> list[str]:
    """2: an approval opens one call, over everything that happens; what has none never arrives."""
    signed: dict[str, int] = {}
    for approved in history.approvals:
        signed[approved.key] = signed.get(approved.key, 0) + 1
    arrived: dict[str, list[JsonObject]] = {}
    for request in history.requests:
        key = gated_key(request, history)
        if key:
            arrived.setdefault(key, []).append(request)
    found = []
    for key, requests in arrived.items():
        if len(requests) > signed.get(key, 0):
            lines = [f"  {brief(request)}" for request in requests]
            found.append("\n".join([f"{key}: {signed.get(key, 0)} approvals, arrived {len(requests)} times", *lines]))
    merges: dict[str, int] = {}
    for merge in history.books.get("merges", []):
        key = f"merge {merge['repository']}#{merge['pull']}"
        merges[key] = merges.get(key, 0) + 1
    for key, times in [*merges.items(), *history.deployments_there.items()]:
        if times > signed.get(key, 0):
            found.append(f"{key}: {signed.get(key, 0)} approvals, carried out {times} times")
    return found


def gated_key(request: JsonObject, history: History) -> str:
    """The approval that a request at the stand-in must have had; nothing for what needs none."""
    if str(request["headers"].get("user-agent", "")) == "harness":
        return ""
    target = str(request["target"]).split("?")[0]
    merge = re.fullmatch(r"/repos/([^/]+/[^/]+)/pulls/(\d+)/merge", target)
    if merge and request["method"] == "PUT":
        return f"merge {merge[1]}#{merge[2]}"
    if target.endswith("/deployments") and request["method"] == "POST":
        described = re.search(r'"description": ?"([^"]*)"', str(request.get("body")))
        return described[1] if described else "a deployment of nobody's"
    if target == "/graphql" and "mergePullRequest" in str(request.get("body")):
        named = re.search(r'"pullRequestId": ?"([^"]*)"', str(request.get("body")))
        return history.pulls.get(named[1] if named else "", "a merge of nobody's")
    return ""


def doubles(history: History) -> list[str]:
    """3: no write is done twice, none that was refused is done, and none that was confirmed is missing."""
    found = []
    for text, sent in history.comments.items():
        there = history.comments_there.get(text, 0)
        confirmed = sum(call.is_done for call in sent)
        possible = sum(may_be_done(call) for call in sent)
        if not confirmed <= there <= possible:
            lines = [f"  {call.line(history.zero)}" for call in sent]
            what = f"{text!r} is there {there} times, confirmed {confirmed}, possible {possible}"
            found.append("\n".join([what, *lines]))
    return found


def may_be_done(call: Call) -> bool:
    return not (call.error in NOTHING_WAS_SENT or call.problem == "refused")


def secrecy(history: History) -> list[str]:
    """4: no secret in anything that is written or answered, and no agent's key at GitHub."""
    found = [f"arrived at the stand-in: {leak}" for leak in history.books.get("leaked_credentials", [])]
    for name, text in history.texts.items():
        for what, secret in history.secrets.items():
            at = text.find(secret)
            if at >= 0:
                shown = text[max(0, at - 120) : at + 12].replace("\n", " ")
                found.append(f"{what} is in {name}: …{shown}…")
    return found


def answers(history: History) -> list[str]:
    """5: everybody gets an answer in time and in shape, or a connection that closes with its replica."""
    found = []
    for call in history.calls:
        why = (problem_of(call, history) if call.problem else shape_of(call)) or late(call, history)
        if why:
            found.append(f"{why}: {call.line(history.zero)}")
    return found


def problem_of(call: Call, history: History) -> str:
    if call.problem in ("timeout", "garbled"):
        return "no answer"
    if call.problem == "cut":
        cut_by_github = history.kinds & {"github_cut_body", "github_slow_body", "github_freeze", "github_partition"}
        return "" if cut_by_github or ended_with(call, history, {"killed"}) else "an answer that was cut"
    # A drain closes kept connections; a request that was on its way before is answered, or cut when its time is over.
    fresh = call.quiet_since == call.started
    whats = {"killed", "few descriptors"}
    if not fresh or call.problem == "refused":
        whats.add("drained")
    elif any(is_turned_away(call, drain) for drain in drains(call, history)):
        whats.add("drained")
    return "" if ended_with(call, history, whats) else "a broken connection"


def is_turned_away(call: Call, drain: Trouble) -> bool:
    return call.started > drain.start - 0.05 or call.ended > drain.start + DRAIN_SECONDS - 0.1


def drains(call: Call, history: History) -> list[Trouble]:
    return [each for each in history.troubles if each.what == "drained" and each.replica == call.replica]


def ended_with(call: Call, history: History, whats: set[str]) -> bool:
    """Whether its replica went away meanwhile, or since the connection was last heard of."""
    return any(
        trouble.what in whats and trouble.replica in (-1, call.replica)
        and trouble.start <= call.ended and call.quiet_since <= trouble.end + 0.3
        for trouble in history.troubles
    )  # fmt: skip


def shape_of(call: Call) -> str:
    """Errors look like GitHub's; what is tollgate's own says so, and what is not has GitHub's mark."""
    if call.status < 400:
        return ""
    body = call.json()
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return "an error without a message"
    if not call.error and call.status == 401:
        return "GitHub refuses tollgate's credential, and the agent is told that its own is bad"
    if not call.error:
        return "" if "x-github-request-id" in call.headers else "an error of nobody's"
    own = body.get("tollgate")
    if not isinstance(own, dict) or own.get("code") != call.error or "documentation_url" not in body:
        return "an error of tollgate's in another shape"
    if body.get("status") != str(call.status) or own.get("request_id") != call.headers.get("x-request-id"):
        return "an error that does not agree with itself"
    if call.error == "internal":
        return "a defect of tollgate's"
    return ""


def late(call: Call, history: History) -> str:
    slack = LATENCY_SLACK if call.method == "GET" else LATENCY_SLACK_WRITE
    if "github_slow_body" in history.kinds and call.status == 200:
        return ""  # A body takes as long as GitHub takes for it.
    stopped = {"frozen", "few descriptors", "github frozen", "github parted"}
    for trouble in history.troubles:
        if trouble.what in stopped and trouble.replica in (-1, call.replica):
            slack += max(0.0, min(call.ended, trouble.end) - max(call.started, trouble.start))
    patience = max(call.wait, 2.0)
    return "late" if call.ended - call.started > patience + slack else ""


def service(history: History) -> list[str]:
    """6: after the fault everybody is served again, and shares follow weights."""
    is_slowed = "github_limit" in history.kinds
    found = [
        f"not served again: {call.line(history.zero)} retry-after {call.headers.get('retry-after')}"
        for call in history.unserved
        if not (is_slowed and is_told_to_wait(call))
    ]
    total = sum(history.served)
    # Who still waits for a slow body is not hungry.
    if is_share_telling(history) and not is_slowed and "github_slow_body" not in history.kinds:
        share, fair = history.served[0] / total, history.weights[0] / sum(history.weights)
        if abs(share - fair) > SHARE_ERROR:
            found.append(f"shares {share:.2f} instead of {fair:.2f} of {total} calls, weights {history.weights}")
    return found


def is_share_telling(history: History) -> bool:
    """Without the store each replica gives from its own part, so shares follow where calls land, and what was told
    then is slept out (docs/store.md)."""
    begin, end = history.measured
    is_apart = any(begin - SHARE_CALM <= at <= end for at in history.store_changes)
    return sum(history.served) >= SHARE_CALLS and not is_apart


def is_told_to_wait(call: Call) -> bool:
    """After a limit that GitHub does not publish: at the pace that was learned, or because the agent is suspected,
    for two to four minutes (docs/budgets.md)."""
    seconds = int(call.headers.get("retry-after", "9999"))
    return call.error in ("budget_exhausted", "upstream_limited") and seconds <= 300


def audit(history: History) -> list[str]:
    """7: whatever was approved and arrived has its line, from before."""
    written: dict[str, datetime] = {}
    for line in history.audit:
        if line.get("event") == "approval":
            written[line["approver"]["jti"]] = datetime.fromisoformat(str(line["time"]))
    jtis: dict[str, list[str]] = {}
    for approved in history.approvals:
        jtis.setdefault(approved.key, []).append(approved.jti)
    found = []
    for request in history.requests:
        key = gated_key(request, history)
        if key not in jtis:
            continue
        times = [written[jti].timestamp() * 1000 for jti in jtis[key] if jti in written]
        # Both read the same clock, which the line has in milliseconds.
        if not any(time <= request["at_epoch_ms"] + 1 for time in times):
            found.append(f"{key} arrived without a line before: {brief(request)}, lines at {times}")
    return found


def brief(request: JsonObject) -> str:
    at = datetime.fromtimestamp(request["at_epoch_ms"] / 1000).strftime("%H:%M:%S.%f")[:-3]
    asked = f"{request['method']} {request['target']} {request.get('body') or ''}".strip()
    return f"#{request['seq']} {at} {asked} -> {request['status']}"


CHECKS: dict[str, Callable[[History], list[str]]] = {
    "limits": limits,
    "approvals": approvals,
    "doubles": doubles,
    "secrecy": secrecy,
    "answers": answers,
    "service": service,
    "audit": audit,
}
