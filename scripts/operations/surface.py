#!/usr/bin/env python3
"""Judge the risk of every mutating operation: merge-surface.tsv (step 2 of refresh-operations).

Reads rest-routes.tsv and graphql-mutations.tsv made by routes.py, so every
operation named here is checked to exist (an unknown name stops the run), apart from
those in EXTRA_* which come from sources newer or wider than the packages.

Usage: surface.py --data DIR
"""
import argparse
import csv
import os
import sys

CLASSES = ["merge", "ref-write", "protection", "admin", "review", "safe-write"]

# operationId -> (class, default policy, note)
REST = {
    # ---- merge
    "pulls/merge": ("merge", "approval", "synchronous PR merge; 405 not mergeable, 409 when `sha` is not the head"),
    "pulls/merge-async": ("merge", "approval", "NEW (2026): background merge, also enqueues (`merge_action`=direct_merge/merge_queue/default) and lands a whole stack; 202 + uuid"),
    "repos/merge": ("merge", "approval", "merges any head into any `base` branch without a PR; `base` is in the JSON body"),
    "repos/merge-upstream": ("merge", "approval", "moves a fork's `branch` (body) to upstream"),
    "code-scanning/commit-autofix": ("ref-write", "branch-rule", "commits to body `target_ref`"),
    # ---- ref-write
    "git/create-ref": ("ref-write", "branch-rule", "body `ref` is `refs/heads/x` or `refs/tags/x`; creating is fine for agent branches"),
    "git/update-ref": ("ref-write", "branch-rule", "path `ref` is `heads/x` (may hold slashes or %2F); body `force`"),
    "git/delete-ref": ("ref-write", "branch-rule", "deleting a branch also closes its PRs"),
    "repos/create-or-update-file-contents": ("ref-write", "branch-rule", "no `branch` in the body means the DEFAULT branch"),
    "repos/delete-file": ("ref-write", "branch-rule", "as above; parameters may arrive in the body or the query string"),
    "repos/rename-branch": ("ref-write", "block", "renaming the default branch needs admin; retargets PRs and protection"),
    "pulls/update-branch": ("ref-write", "allow", "merges base INTO the PR head; not enabled for installation tokens per the description"),
    "repos/create-release": ("ref-write", "branch-rule", "creates the tag at `target_commitish` when missing"),
    "repos/update-release": ("ref-write", "approval", "publishing a draft creates its tag"),
    "repos/create-deployment": ("ref-write", "branch-rule", "`auto_merge` defaults to TRUE: merges the default branch into `ref` when behind"),
    "migrations/start-import": ("ref-write", "block", "source import into the repository"),
    "migrations/update-import": ("ref-write", "block", ""),
    "actions/create-workflow-dispatch": ("ref-write", "approval", "indirect: runs a workflow whose token may push or merge"),
    "repos/create-dispatch-event": ("ref-write", "approval", "indirect: repository_dispatch"),
    "actions/approve-workflow-run": ("review", "approval", "lets a first-time contributor's workflow run"),
    "actions/re-run-workflow": ("safe-write", "allow", "re-run of an existing run; same code, same permissions"),
    "actions/re-run-workflow-failed-jobs": ("safe-write", "allow", ""),
    "actions/re-run-job-for-workflow-run": ("safe-write", "allow", ""),
    "agent-tasks/create-task-in-repo": ("ref-write", "approval", "starts another (Copilot) agent that pushes; user tokens only"),
    "repos/create-pages-deployment": ("ref-write", "approval", "publishes a site"),
    # ---- review: satisfies or removes a human gate
    "pulls/create-review": ("review", "approval", "block when body `event`=APPROVE; COMMENT, REQUEST_CHANGES and pending are safe-write"),
    "pulls/submit-review": ("review", "approval", "block when body `event`=APPROVE (a pending review made earlier can be approved here)"),
    "pulls/dismiss-review": ("review", "approval", "removes a REQUEST_CHANGES block; the `event` body value is DISMISS"),
    "pulls/delete-pending-review": ("safe-write", "allow", "only unsubmitted reviews"),
    "pulls/update-review": ("safe-write", "allow", "edits the summary text only"),
    "pulls/remove-requested-reviewers": ("review", "approval", "drops a requested reviewer"),
    "repos/create-commit-status": ("review", "context-rule", "can satisfy a required status check; allow-list `context`"),
    "checks/create": ("review", "context-rule", "can satisfy a required check; allow-list `name`"),
    "checks/update": ("review", "context-rule", ""),
    "checks/create-suite": ("safe-write", "allow", ""),
    "checks/set-suites-preferences": ("protection", "block", "turns off automatic check suites"),
    "actions/review-pending-deployments-for-run": ("review", "approval", "deploy approval; not enabled for installation tokens"),
    "actions/review-custom-gates-for-run": ("review", "approval", "custom deployment protection rule verdict"),
    "repos/create-deployment-status": ("review", "context-rule", "can satisfy a required-deployments rule"),
    "code-scanning/update-alert": ("review", "approval", "dismissing an alert can satisfy a code-scanning rule"),
    "secret-scanning/update-alert": ("review", "approval", ""),
    "secret-scanning/create-push-protection-bypass": ("protection", "block", "lets a secret through push protection"),
    "dependabot/update-alert": ("review", "approval", ""),
    # ---- protection
    "repos/create-repo-ruleset": ("protection", "block", "a ruleset's bypass_actors can name the app itself"),
    "repos/update-repo-ruleset": ("protection", "block", "`enforcement`: disabled/evaluate switches it off"),
    "repos/delete-repo-ruleset": ("protection", "block", ""),
    "repos/create-org-ruleset": ("protection", "block", ""),
    "repos/update-org-ruleset": ("protection", "block", ""),
    "repos/delete-org-ruleset": ("protection", "block", ""),
    "repos/create-or-update-environment": ("protection", "block", "reviewers and wait timers live here"),
    "repos/delete-an-environment": ("protection", "block", ""),
    "repos/create-deployment-branch-policy": ("protection", "block", ""),
    "repos/update-deployment-branch-policy": ("protection", "block", ""),
    "repos/delete-deployment-branch-policy": ("protection", "block", ""),
    "repos/create-deployment-protection-rule": ("protection", "block", ""),
    "repos/disable-deployment-protection-rule": ("protection", "block", ""),
    "repos/custom-properties-for-repos-create-or-update-repository-values": ("protection", "block", "rulesets can select repositories by custom property, so a value change can drop a ruleset"),
    "orgs/custom-properties-for-repos-create-or-update-organization-values": ("protection", "block", "as above, many repositories at once"),
    "orgs/custom-properties-for-repos-create-or-update-organization-definitions": ("protection", "block", ""),
    "orgs/custom-properties-for-repos-create-or-update-organization-definition": ("protection", "block", ""),
    "orgs/custom-properties-for-repos-delete-organization-definition": ("protection", "block", ""),
    "code-scanning/update-default-setup": ("protection", "block", ""),
    "code-quality/update-setup": ("protection", "block", ""),
    "code-scanning/delete-analysis": ("protection", "block", ""),
    "actions/disable-workflow": ("protection", "block", "a required workflow or check can be switched off"),
    "actions/enable-workflow": ("protection", "approval", ""),
    "repos/enable-immutable-releases": ("protection", "block", ""),
    "repos/disable-immutable-releases": ("protection", "block", ""),
    "repos/disable-vulnerability-alerts": ("protection", "block", ""),
    "repos/disable-automated-security-fixes": ("protection", "block", ""),
    "interactions/set-pull-request-bypass-list-for-repo": ("protection", "block", ""),
    "interactions/remove-pull-request-bypass-list-for-repo": ("protection", "block", ""),
    "interactions/update-pull-request-creation-cap-for-repo": ("protection", "block", ""),
    # ---- admin
    "repos/update": ("admin", "block", "body can change `default_branch`, `allow_auto_merge`, merge methods, `archived`, `visibility`, `name`"),
    "repos/delete": ("admin", "block", ""),
    "repos/transfer": ("admin", "block", ""),
    "repos/create-deploy-key": ("admin", "block", "`read_only`: false gives git push by SSH, and deploy keys can be ruleset bypass actors"),
    "repos/delete-deploy-key": ("admin", "block", ""),
    "repos/add-collaborator": ("admin", "block", ""),
    "repos/remove-collaborator": ("admin", "block", ""),
    "repos/update-invitation": ("admin", "block", ""),
    "repos/delete-invitation": ("admin", "block", ""),
    "repos/create-webhook": ("admin", "block", ""),
    "repos/update-webhook": ("admin", "block", ""),
    "repos/delete-webhook": ("admin", "block", ""),
    "repos/update-webhook-config-for-repo": ("admin", "block", ""),
    "repos/create-pages-site": ("admin", "block", ""),
    "repos/update-information-about-pages-site": ("admin", "block", "can move the site's source branch or domain"),
    "repos/delete-pages-site": ("admin", "block", ""),
    "repos/create-autolink": ("admin", "block", ""),
    "repos/delete-autolink": ("admin", "block", ""),
    "repos/create-for-authenticated-user": ("admin", "approval", "new repository (user tokens)"),
    "repos/create-using-template": ("admin", "approval", "new repository"),
    "repos/create-fork": ("safe-write", "approval", "a fork is a place outside this repository's protection"),
    "security-advisories/update-repository-advisory": ("admin", "approval", "can publish an advisory"),
    "security-advisories/create-repository-advisory-cve-request": ("admin", "block", ""),
    "users/update-authenticated": ("admin", "block", ""),
    "migrations/cancel-import": ("ref-write", "block", ""),
    "migrations/map-commit-author": ("ref-write", "block", ""),
    "migrations/set-lfs-preference": ("ref-write", "block", ""),
    "repos/enable-private-vulnerability-reporting": ("admin", "block", ""),
    "repos/disable-private-vulnerability-reporting": ("admin", "block", ""),
    "pulls/update": ("safe-write", "branch-rule", "look at body `base`: retargeting a PR moves where a later merge lands"),
    "pulls/create": ("safe-write", "allow", ""),
    "issues/create-comment": ("safe-write", "allow", "indirect: ChatOps bots act on comments (`/merge`, `bors r+`); optional body deny-list"),
    "issues/add-labels": ("safe-write", "allow", "indirect: auto-merge bots act on labels"),
    "issues/set-labels": ("safe-write", "allow", "indirect: auto-merge bots act on labels"),
    "pull-request-stacks/create": ("safe-write", "allow", "stacked PRs: merging one lands every unmerged PR below it"),
    "pull-request-stacks/add": ("safe-write", "allow", "as above"),
    "pull-request-stacks/unstack": ("safe-write", "allow", ""),
    "git/create-commit": ("safe-write", "allow", "writes an object only; reachable from no branch until a ref moves"),
    "git/create-tree": ("safe-write", "allow", "object only"),
    "git/create-blob": ("safe-write", "allow", "object only; counts as content creation"),
    "git/create-tag": ("safe-write", "allow", "tag object only; the ref is made by git/create-ref"),
    "apps/create-installation-access-token": ("admin", "block", "would hand an agent a raw token; the proxy alone calls it"),
    "apps/revoke-installation-access-token": ("admin", "block", "one agent would revoke the shared token for all"),
    "credentials/revoke": ("admin", "block", "unauthenticated endpoint; revokes any listed token"),
}

# prefix or substring rules for the families, tried in order after REST
REST_RULES = [
    (lambda m, p: "/branches/{branch}/protection" in p, ("protection", "block", "classic branch protection")),
    (lambda m, p: "/actions/permissions" in p, ("protection", "block", "Actions policy, incl. default GITHUB_TOKEN rights and 'Actions may approve PRs'")),
    (lambda m, p: "/actions/oidc/" in p, ("admin", "block", "OIDC subject claims decide cloud access")),
    (lambda m, p: "/runners" in p or "/hosted-runners" in p or "/runner-groups" in p, ("admin", "block", "self-hosted runners")),
    (lambda m, p: "/secrets" in p or "/variables" in p, ("admin", "block", "secrets and variables feed workflows")),
    (lambda m, p: "/copilot/coding-agent/" in p or "/copilot/policies" in p, ("admin", "block", "other agents' permissions")),
    (lambda m, p: "/secret-scanning/custom-patterns" in p, ("protection", "block", "push-protection patterns")),
    (lambda m, p: "/interaction-limits" in p, ("admin", "block", "interaction limits")),
    (lambda m, p: p.startswith("/repos/") and ("/cache/retention-limit" in p or "/cache/storage-limit" in p), ("admin", "block", "")),
    (lambda m, p: p.startswith(("/orgs/", "/organizations/", "/enterprises/", "/teams/")) and not p.startswith("/orgs/{org}/projectsV2")
        and "/packages/" not in p and "/migrations" not in p, ("admin", "block", "organisation, team or enterprise setting")),
    (lambda m, p: p.startswith(("/app", "/applications", "/app-manifests")), ("admin", "block", "the app's own settings")),
    (lambda m, p: p.startswith(("/user/keys", "/user/gpg_keys", "/user/ssh_signing_keys", "/user/repository_invitations",
                                "/user/memberships", "/user/installations", "/user/emails", "/user/email")),
        ("admin", "block", "account credentials and memberships (user tokens only)")),
]

GQL = {
    "mergePullRequest": ("merge", "approval", "GitHub's own text now points to the REST asynchronous merge instead"),
    "enablePullRequestAutoMerge": ("merge", "approval", "NO REST equivalent: lands later, without a further call"),
    "enqueuePullRequest": ("merge", "approval", "merge queue; `jump`: true goes to the front"),
    "mergeBranch": ("merge", "approval", "merges a head into a base branch with no PR"),
    "disablePullRequestAutoMerge": ("safe-write", "allow", "un-lands"),
    "dequeuePullRequest": ("safe-write", "allow", "takes a PR out of the queue"),
    "createCommitOnBranch": ("ref-write", "branch-rule", "branch by name (`repositoryNameWithOwner`+`branchName`) or by opaque node id"),
    "createRef": ("ref-write", "branch-rule", "`name` is the full ref"),
    "updateRef": ("ref-write", "approval", "`refId` is opaque: the branch name is not in the request"),
    "updateRefs": ("ref-write", "branch-rule", "create, force-update and delete many refs at once; names are in `refUpdates[].name`"),
    "deleteRef": ("ref-write", "approval", "`refId` is opaque"),
    "createLinkedBranch": ("ref-write", "branch-rule", "creates a branch for an issue at `oid`"),
    "deleteLinkedBranch": ("safe-write", "allow", "unlinks a branch from an issue"),
    "updatePullRequestBranch": ("ref-write", "allow", "base into PR head; updateMethod may be REBASE (force-pushes the head)"),
    "revertPullRequest": ("ref-write", "allow", "creates a branch and opens a PR; lands nothing by itself"),
    "createDeployment": ("ref-write", "approval", "`autoMerge` defaults to true; `refId` is opaque"),
    "startRepositoryMigration": ("admin", "block", ""),
    "startOrganizationMigration": ("admin", "block", ""),
    "addPullRequestReview": ("review", "approval", "block when `event`=APPROVE or DISMISS; the value can hide in a variable"),
    "submitPullRequestReview": ("review", "approval", "block when `event`=APPROVE or DISMISS"),
    "dismissPullRequestReview": ("review", "approval", ""),
    "deletePullRequestReview": ("review", "approval", ""),
    "resolveReviewThread": ("review", "context-rule", "satisfies 'require conversation resolution'"),
    "markPullRequestReadyForReview": ("safe-write", "allow", "a draft with auto-merge on may land; no REST equivalent"),
    "requestReviews": ("safe-write", "allow", "with `union`: false it REPLACES the requested reviewers"),
    "createCheckRun": ("review", "context-rule", "can satisfy a required check"),
    "updateCheckRun": ("review", "context-rule", ""),
    "updateCheckSuitePreferences": ("protection", "block", ""),
    "createDeploymentStatus": ("review", "context-rule", ""),
    "approveDeployments": ("review", "approval", "deploy approval"),
    "rejectDeployments": ("review", "approval", ""),
    "dismissRepositoryVulnerabilityAlert": ("review", "approval", ""),
    "createBranchProtectionRule": ("protection", "block", ""),
    "updateBranchProtectionRule": ("protection", "block", ""),
    "deleteBranchProtectionRule": ("protection", "block", ""),
    "createRepositoryRuleset": ("protection", "block", ""),
    "updateRepositoryRuleset": ("protection", "block", ""),
    "deleteRepositoryRuleset": ("protection", "block", ""),
    "createEnvironment": ("protection", "block", ""),
    "updateEnvironment": ("protection", "block", ""),
    "deleteEnvironment": ("protection", "block", ""),
    "updateRepository": ("admin", "block", ""),
    "archiveRepository": ("admin", "block", ""),
    "unarchiveRepository": ("admin", "block", ""),
    "updateTeamsRepository": ("admin", "block", "gives teams a permission on the repository"),
    "updateTeamReviewAssignment": ("admin", "block", ""),
    "removeOutsideCollaborator": ("admin", "block", ""),
    "updateRepositoryWebCommitSignoffSetting": ("protection", "block", ""),
    "setRepositoryInteractionLimit": ("admin", "block", ""),
    "setOrganizationInteractionLimit": ("admin", "block", ""),
    "accessUserNamespaceRepository": ("admin", "block", "temporary enterprise-owner access"),
}
GQL_ADMIN_RE = ("Enterprise", "Organization", "IpAllowList", "Migrat", "VerifiableDomain",
                "NotificationRestriction", "createRepository", "cloneTemplateRepository")

# Named by GitHub's documentation data (2026) but absent from the schema package.
EXTRA_GQL = {
    "setRepositoryCustomPropertyValues": ("protection", "block", "rulesets can select by property"),
    "createRepositoryCustomProperty": ("protection", "block", ""),
    "updateRepositoryCustomProperty": ("protection", "block", ""),
    "deleteRepositoryCustomProperty": ("protection", "block", ""),
    "promoteRepositoryCustomProperty": ("protection", "block", ""),
    "addPullRequestCreationCapBypassUsers": ("protection", "block", ""),
    "removePullRequestCreationCapBypassUsers": ("protection", "block", ""),
    "archivePullRequest": ("admin", "block", "closes and locks away a PR; repository admins only"),
    "unarchivePullRequest": ("admin", "block", ""),
    "requestReviewsByLogin": ("safe-write", "allow", "may replace the requested reviewers"),
    "rerequestReviews": ("safe-write", "allow", ""),
    "replaceActorsForAssignable": ("safe-write", "allow", "assigns people and bots; sent by gh"),
}
# In GitHub's Enterprise Cloud description only.
EXTRA_REST = [
    ("POST", "/enterprises/{enterprise}/rulesets", "repos/create-enterprise-ruleset", "protection"),
    ("PUT", "/enterprises/{enterprise}/rulesets/{ruleset_id}", "repos/update-enterprise-ruleset", "protection"),
    ("DELETE", "/enterprises/{enterprise}/rulesets/{ruleset_id}", "repos/delete-enterprise-ruleset", "protection"),
    ("PATCH", "/repos/{owner}/{repo}/bypass-requests/secret-scanning/{bypass_request_number}", "secret-scanning/review-bypass-request", "review"),
    ("DELETE", "/repos/{owner}/{repo}/bypass-responses/secret-scanning/{bypass_response_id}", "secret-scanning/dismiss-bypass-response", "review"),
    ("POST", "/orgs/{org}/custom-repository-roles", "orgs/create-custom-repo-role", "admin"),
    ("PATCH", "/orgs/{org}/custom-repository-roles/{role_id}", "orgs/update-custom-repo-role", "admin"),
]


def rest_class(op_id, method, path):
    if op_id in REST:
        return REST[op_id]
    for test, val in REST_RULES:
        if test(method, path):
            return val
    return ("safe-write", "allow", "")


def gql_class(name):
    if name in GQL:
        return GQL[name]
    if any(s in name for s in GQL_ADMIN_RE):
        return ("admin", "block", "")
    return ("safe-write", "allow", "")


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    a = ap.parse_args()
    routes = read(os.path.join(a.data, "rest-routes.tsv"))
    muts = read(os.path.join(a.data, "graphql-mutations.tsv"))
    missing = sorted(set(REST) - {r["operation_id"] for r in routes})
    missing += sorted(set(GQL) - {m["mutation"] for m in muts})
    if missing:
        sys.exit("not in the descriptions: " + ", ".join(missing))

    rows = []
    for r in routes:
        if r["method"] in ("GET", "HEAD"):
            continue
        c, pol, note = rest_class(r["operation_id"], r["method"], r["path"])
        rows.append(["rest", r["method"], r["path"], r["operation_id"], c, pol,
                     r["enabled_for_github_apps"], "dotcom", note])
    for m, p, o, c in EXTRA_REST:
        rows.append(["rest", m, p, o, c, "approval" if c == "review" else "block", "", "ghec-only", ""])
    for m in muts:
        c, pol, note = gql_class(m["mutation"])
        rows.append(["graphql", "POST", "/graphql", m["mutation"], c, pol, "", "package", note])
    for n, (c, pol, note) in sorted(EXTRA_GQL.items()):
        rows.append(["graphql", "POST", "/graphql", n, c, pol, "", "docs-2026", note])
    head = ["kind", "method", "path", "operation", "risk_class", "default_policy",
            "enabled_for_github_apps", "source", "note"]
    with open(os.path.join(a.data, "merge-surface.tsv"), "w", encoding="utf-8", newline="\n") as f:
        f.write("\t".join(head) + "\n")
        for r in rows:
            f.write("\t".join(r) + "\n")

    cnt = [[c, sum(r[0] == "rest" and r[4] == c for r in rows), sum(r[0] == "graphql" and r[4] == c for r in rows)] for c in CLASSES]
    for row in cnt:
        print(*row)


if __name__ == "__main__":
    main()
