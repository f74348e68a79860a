"""The commands of gh by which agents work: `gh pr`, `gh issue`, `gh repo`, and `gh api graphql`.

None of them takes a header but `gh api`, so what waits for an approval is sent by that, with the approval.
"""

import json
import re

from command_line import CommandFailed, documents, run
from flow import REPOSITORY, Flow
from gh_flow import Api

PULL_FIELDS = (
    "additions,assignees,author,baseRefName,body,changedFiles,closed,comments,commits,files,"
    "headRefName,headRefOid,headRepository,headRepositoryOwner,isCrossRepository,isDraft,labels,latestReviews,"
    "mergeCommit,mergeStateStatus,mergeable,mergedAt,milestone,number,reactionGroups,reviewDecision,reviewRequests,"
    "reviews,state,statusCheckRollup,title,url"
)
ISSUE_FIELDS = "assignees,author,body,closed,comments,labels,milestone,number,state,title,url"
REVIEW = """mutation ($id: ID!) {
  addPullRequestReview(input: {pullRequestId: $id, event: APPROVE}) { pullRequestReview { state } } }"""
MERGE = "mutation ($id: ID!) { mergePullRequest(input: {pullRequestId: $id}) { pullRequest { merged } } }"
PAGES = """query ($endCursor: String) { repository(owner: "acme", name: "widgets") {
  issues(first: 30, after: $endCursor) { nodes { number } pageInfo { hasNextPage endCursor } } } }"""
DELETE = 'mutation { deleteRepository(input: {repositoryId: "R_kwDO2001"}) { clientMutationId } }'


def describe(error):
    # `gh api` prints the answer, too; the others say status and message, and keep nothing else.
    told = {"status": error.status, "message": str(error)}
    about = error.body.get("tollgate")
    return told | ({"code": about["code"], "tollgate": about} if about else {})


flow = Flow(describe)


def gh(*arguments, key=flow.key):
    status, out, err = run(["gh", *arguments], Api(key).env)
    if status != 0:
        code = re.search(r"(?:HTTP|status code:) (\d+)", err)
        body = documents(out)[-1] if arguments[0] == "api" and out.strip() else {}
        raise CommandFailed(int(code[1]) if code else 0, body, err)
    return out


def there(*arguments, **options):
    return gh(*arguments, "--repo", REPOSITORY, **options)


def told(*arguments):
    return json.loads(there(*arguments))


def number(url):
    return url.strip().rpartition("/")[2]


def header_options(headers):
    return [part for name, value in (headers or {}).items() for part in ("--header", f"{name}: {value}")]


def graphql(document, headers=None, **variables):
    fields = [part for name, value in variables.items() for part in ("-f", f"{name}={value}")]
    return json.loads(gh("api", "graphql", *header_options(headers), "-f", f"query={document}", *fields))["data"]


def without_times(lines):
    """Lists end each line with a time that is not written as elsewhere."""
    return [line.rpartition("\t")[0] for line in lines.splitlines()]


@flow.step
def repo_view():
    fields = "nameWithOwner,description,defaultBranchRef,isPrivate,viewerPermission,issues,pullRequests,labels"
    return [gh("repo", "view", REPOSITORY), json.loads(gh("repo", "view", REPOSITORY, "--json", fields))]


@flow.step
def issue_list():
    listed = without_times(there("issue", "list"))
    return [listed, told("issue", "list", "--limit", "50", "--state", "all", "--json", "number,title")]


@flow.step
def issue_create():
    made = there("issue", "create", "--title", "From gh", "--body", "By its own command", "--label", "bug")
    return [made, told("issue", "view", number(made), "--json", ISSUE_FIELDS)]


@flow.step
def issue_comment():
    made = there("issue", "comment", "1", "--body", "See https://api.github.com/zen.")
    return [made, there("issue", "view", "1", "--comments"), told("issue", "view", "1", "--json", ISSUE_FIELDS)]


@flow.step
def issue_edit():
    edited = there("issue", "edit", "2", "--title", "Another title", "--add-label", "bug")
    return [edited, told("issue", "view", "2", "--json", ISSUE_FIELDS)]


@flow.step
def issue_close_and_reopen():
    closed = there("issue", "close", "3", "--comment", "Done.")
    return [closed, there("issue", "reopen", "3"), told("issue", "view", "3", "--json", ISSUE_FIELDS)]


def branch(name):
    """A branch with a commit, as `git push` would make it."""
    repository = f"repos/{REPOSITORY}"
    main = json.loads(gh("api", f"{repository}/git/ref/heads/main"))["object"]["sha"]
    gh("api", f"{repository}/git/refs", "-f", f"ref=refs/heads/{name}", "-f", f"sha={main}")
    content = ["-f", "message=Add notes", "-f", "content=Zmlyc3QK", "-f", f"branch={name}"]
    gh("api", "--method", "PUT", f"{repository}/contents/{name}.txt", *content)


def created(name, *options, **settings):
    branch(name)
    ends = ["--head", name, "--base", "main"]
    made = there("pr", "create", *ends, "--title", "Notes", "--body", "See x.", *options, **settings)
    return [made, told("pr", "view", number(made), "--json", PULL_FIELDS)]


@flow.step
def pr_create():
    return created("ready-work")


@flow.step
def pr_create_draft():
    return created("draft-work", "--draft")


@flow.step
def pr_create_of_one_whose_are_drafts():
    # Through tollgate it becomes one although it is not asked for.
    return created("careful-work", *([] if flow.is_gated else ["--draft"]), key=flow.careful_key)


@flow.step
def pr_list():
    listed = without_times(there("pr", "list"))
    return [listed, told("pr", "list", "--state", "all", "--json", "number,title,isDraft,headRefName")]


@flow.step
def pr_view():
    # By its branch gh asks for thirty: with all fields that would be 33 points.
    by_branch = told("pr", "view", "feature/x", "--json", "number,headRefOid")
    return [there("pr", "view", "76"), told("pr", "view", "76", "--json", PULL_FIELDS), by_branch]


@flow.step
def pr_diff():
    return there("pr", "diff", "76")


@flow.step
def pr_checks():
    path = f"repos/{REPOSITORY}/statuses/{told('pr', 'view', '76', '--json', 'headRefOid')['headRefOid']}"

    def status(headers=None):
        made = ["-f", "state=success", "-f", "context=suite", "-f", "description=All passed"]
        return gh("api", path, *made, *header_options(headers))

    status(flow.approval(status))
    return there("pr", "checks", "76")


@flow.step
def pr_comment():
    made = there("pr", "comment", "76", "--body", "Nearly there.")
    return [made, there("pr", "view", "76", "--comments")]


@flow.step
def pr_edit():
    edited = there("pr", "edit", "76", "--title", "Feature X", "--add-label", "bug")
    return [edited, told("pr", "view", "76", "--json", "title,labels")]


@flow.step
def pr_close_and_reopen():
    return [there("pr", "close", "77"), there("pr", "reopen", "77"), told("pr", "view", "77", "--json", "state")]


@flow.step
def pr_review_comment():
    there("pr", "review", "76", "--comment", "--body", "Reads well.")
    return told("pr", "view", "76", "--json", "reviews,reviewDecision")


@flow.step
def search_prs():
    found = gh("search", "prs", "number", "--repo", REPOSITORY, "--json", "number,title")
    return json.loads(found)


@flow.step
def api_graphql_pages():
    found = documents(gh("api", "graphql", "--paginate", "-f", f"query={PAGES}"))
    return [node["number"] for page in found for node in page["data"]["repository"]["issues"]["nodes"]]


@flow.step
def api_graphql_mutation():
    document = "mutation ($id: ID!) { addComment(input: {subjectId: $id, body: \"x\"}) { subject { id } } }"
    return graphql(document, id=told("issue", "view", "4", "--json", "id")["id"])


@flow.step
def missing_pull_request():
    return flow.error_of(lambda: there("pr", "view", "9999"))["message"]


@flow.refusal
def query_of_others():
    gh("repo", "view", REPOSITORY, key=flow.stranger_key)


@flow.refusal
def mutation_of_others():
    there("issue", "create", "--title", "x", "--body", "x", key=flow.stranger_key)


@flow.refusal
def unknown_mutation():
    graphql(DELETE)


@flow.refusal
def over_budget():
    there("pr", "list", key=flow.closed_key)


@flow.refusal
def review_without_approval():
    there("pr", "review", "76", "--approve")


@flow.refusal
def merge_without_approval():
    there("pr", "merge", "76", "--merge")


seen = told("pr", "view", "76", "--json", "id,headRefOid")


@flow.step
def approving_review():
    if flow.is_gated:
        graphql(REVIEW, flow.approval(lambda: graphql(REVIEW, id=seen["id"])), id=seen["id"])
    else:
        there("pr", "review", "76", "--approve")
    return told("pr", "view", "76", "--json", "reviewDecision,latestReviews")


@flow.step
def merge():
    if flow.is_gated:
        graphql(MERGE, flow.approval(lambda: graphql(MERGE, id=seen["id"])), id=seen["id"])
    else:
        there("pr", "merge", "76", "--merge")
    return told("pr", "view", "76", "--json", PULL_FIELDS)


@flow.step
def approved_heads():
    return [seen["headRefOid"]]


flow.finish()
