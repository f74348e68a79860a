#!/usr/bin/env python3
"""Write operations.tsv, the one table of GitHub's operations (step 3 of refresh-operations).

Reads rest-routes.tsv, graphql-mutations.tsv and merge-surface.tsv in DIR. One row for every REST operation and
GraphQL mutation; the columns are explained in src/policy/data/NOTICE.md. PUBLISHED_FILE gets the bare list of what
GitHub publishes, without our judgement: a test compares the two.

Usage: operations.py DIR OUTPUT_FILE PUBLISHED_FILE
"""
import csv
import pathlib
import re
import sys

HERE = pathlib.Path(sys.argv[1])


def rows(name):
    return list(csv.DictReader(open(HERE / name, encoding="utf-8"), delimiter="\t"))


surface = {(r["kind"], r["method"], r["path"], r["operation"]): r for r in rows("merge-surface.tsv")}

# Operation -> (class, condition). With a condition the operation has that class only while the
# condition is met, and is a `write` otherwise.
WHEN = {
    "repos/create-or-update-file-contents": ("ref-write", "branch:body:branch"),
    "repos/delete-file": ("ref-write", "branch:body-or-query:branch"),
    "git/create-ref": ("ref-write", "branch:body:ref"),
    "git/update-ref": ("ref-write", "branch:path:ref"),
    "git/delete-ref": ("ref-write", "branch-or-open-pull:path:ref"),
    "repos/create-release": ("ref-write", ""), "repos/update-release": ("ref-write", ""),
    "repos/create-deployment": ("ref-write", ""),
    "code-scanning/commit-autofix": ("ref-write", "branch:body:target_ref"),
    "pulls/update": ("ref-write", "names-base"),
    # Replacing what a published release carries lands code with its users.
    "repos/delete-release": ("ref-write", ""), "repos/delete-release-asset": ("ref-write", ""),
    "repos/update-release-asset": ("ref-write", ""),
    "checks/rerequest-run": ("review", ""),
    # Merging one pull request of a stack lands those below it.
    "pull-request-stacks/create": ("ref-write", ""), "pull-request-stacks/add": ("ref-write", ""),
    "pull-request-stacks/unstack": ("ref-write", ""),
    "pulls/create": ("write", "creates-pull"),
    "pulls/create-review": ("review", "approves"), "pulls/submit-review": ("review", "approves"),
    "pulls/update-branch": ("ref-write", "branch:head:"),
    "createCommitOnBranch": ("ref-write", "branch:input:branch"), "createRef": ("ref-write", "branch:input:name"),
    "createLinkedBranch": ("ref-write", "branch:input:name"), "updateRefs": ("ref-write", "branch:input:refUpdates"),
    "updateRef": ("ref-write", "branch:input:refId"), "deleteRef": ("ref-write", "branch-or-open-pull:input:refId"),
    "updatePullRequestBranch": ("ref-write", "branch:head:"), "revertPullRequest": ("write", "creates-pull"),
    "updatePullRequest": ("ref-write", "names-base"), "createPullRequest": ("write", "creates-pull"),
    "markPullRequestReadyForReview": ("write", "ends-draft"),
    "addPullRequestReview": ("review", "approves"), "submitPullRequestReview": ("review", "approves"),
    # Auto-merge lands what is pushed after the approval.
    "enablePullRequestAutoMerge": ("admin", ""),
    "resolveReviewThread": ("write", ""), "repos/create-fork": ("admin", ""), "createDeployment": ("ref-write", ""),
    "pulls/remove-requested-reviewers": ("review", ""), "deletePullRequestReview": ("review", ""),
}
# Writes that look harmless but destroy evidence, change settings or reach beyond the repository.
MORE_THAN_WRITE = [
    (r"^(DELETE) .*/actions/(artifacts|caches|runs)", "admin"), (r"^DELETE .*/(deployments/\{|codeql/databases)", "admin"),
    (r"/(vulnerability-alerts|automated-security-fixes|topics|codespaces|hooks/)", "admin"), (r"variant-analyses", "admin"),
    (r"^POST .*/security-advisories$|/security-advisories/\{ghsa_id\}/(forks|cve)", "admin"),
    (r"/(attestations|code-scanning/sarifs|dependency-graph/snapshots|check-suites)", "review"), (r"/pages/", "ref-write"),
    (r"/actions/runs/\{run_id\}/rerun|/actions/jobs/.*/rerun", "review"),
]
MUTATION_MORE = [
    (r"Sponsor|Patreon|UserList|UserStatus|^(un)?follow|Star$|PackageVersion|^deleteIssue$|^transferIssue$|^deleteDeployment$", "admin"),
    (r"ProjectV2Collaborators|Environment|InteractionLimit|createAttributionInvitation|TopicSuggestion|updateTopics|importProject", "admin"),
    (r"CheckSuite", "review"),
]
# Mutations of GitHub's GraphQL reference that the package does not have yet.
LATER = {
    "write": "addBlockedBy createIssueFieldValue deleteIssueFieldValue pinIssueComment removeBlockedBy setIssueFieldValue "
             "unpinIssueComment updateIssueFieldValue updateIssueIssueType",
    # What the issues of a whole organization can be or have.
    "admin": "createIssueField createIssueType createProjectV2IssueField deleteIssueField deleteIssueType "
             "updateIssueField updateIssueType",
}
TOKEN = re.compile(r"^/(app|applications|installation/token|app-manifests|credentials)(/|$)")
IN_REPOSITORY = re.compile(r"^/repos/\{owner\}/\{repo\}(/|$)")
FREE = {"/markdown", "/markdown/raw"}


def rest_class(method, path, operation):
    judged = surface.get(("rest", method, path, operation))
    if TOKEN.match(path):
        return "token", ""
    if method in ("GET", "HEAD"):
        return "read", ""
    if operation in WHEN:
        return WHEN[operation]
    risk = judged["risk_class"] if judged else "admin"
    if risk != "safe-write":
        return risk, ""
    for pattern, stronger in MORE_THAN_WRITE:
        if re.search(pattern, f"{method} {path}"):
            return stronger, ""
    return ("write", "") if IN_REPOSITORY.match(path) or path in FREE else ("admin", "")


def rest_row(method, path, operation, route, note):
    cls, condition = rest_class(method, path, operation)
    resource = route.get("ratelimit_resource_guess", "core").rstrip("?") or "core"
    # An operation for the App itself takes the App JWT: an installation token can't call it.
    if route.get("requires_app_jwt") == "true":
        cls, condition = "token", ""
    server = "uploads" if "uploads." in route.get("server_override", "") else "api"
    return ("rest", method, path, operation, cls, condition, resource, server, note)


out, published = [], []
for r in rows("rest-routes.tsv"):
    if r["path"].endswith("/compare/{base}...{head}"):
        continue  # the older spelling of compare/{basehead}
    published.append(("rest", r["method"], r["path"], r["operation_id"]))
    note = surface.get(("rest", r["method"], r["path"], r["operation_id"]), {}).get("note", "")
    out.append(rest_row(r["method"], r["path"], r["operation_id"], r, note))
known = {row[1:4] for row in out}
for (kind, method, path, operation), s in surface.items():
    if kind == "graphql":
        cls, condition = WHEN.get(operation) or ("write" if s["risk_class"] == "safe-write" else s["risk_class"], "")
        if cls == "write":
            cls = next((c for pattern, c in MUTATION_MORE if re.search(pattern, operation)), cls)
        out.append((kind, method, path, operation, cls, condition, "graphql", "api", s["note"]))
    elif path.endswith("/compare/{base}...{head}"):
        pass  # the older spelling of compare/{basehead}
    elif (method, path, operation) not in known:  # Enterprise Cloud only
        out.append(rest_row(method, path, operation, {}, s["note"]))
known = {row[3] for row in out}
for cls, mutations in LATER.items():
    later = ("graphql", "POST", "/graphql", cls, "", "graphql", "api", "newer than the package")
    out += [(*later[:3], mutation, *later[3:]) for mutation in mutations.split() if mutation not in known]
published += [("graphql", "POST", "/graphql", r["mutation"]) for r in rows("graphql-mutations.tsv")]


def write(path, columns, table):
    with open(path, "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f, delimiter="\t", lineterminator="\n")
        w.writerow(columns)
        w.writerows(table)


columns = ("kind", "method", "path", "operation")
write(sys.argv[2], (*columns, "class", "condition", "resource", "server", "note"), out)
write(sys.argv[3], columns, published)
count = {}
for o in out:
    count[o[0], o[4]] = count.get((o[0], o[4]), 0) + 1
print(len(out), "operations:", ", ".join(f"{k[0]} {k[1]} {v}" for k, v in sorted(count.items())))
