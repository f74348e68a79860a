"""The work of clients by GraphQL alone: one list of steps, for the adapters of `work.py`.

Of an adapter it takes `graphql(query, variables, headers)`, which gives the data, or raises the client's own error.
"""

from flow import NAME, OWNER, Flow

WIDGETS = {"owner": OWNER, "name": NAME}
QUERY = """
  query ($owner: String!, $name: String!, $number: Int!) {
    repository(owner: $owner, name: $name) {
      id nameWithOwner issue(number: $number) { id number title state author { login } }
      pullRequest(number: 76) { id headRefOid headRefName isDraft merged state mergeCommit { message } }
    }
  }"""
PAGE = """
  query ($owner: String!, $name: String!, $after: String) {
    repository(owner: $owner, name: $name) {
      issues(first: 30, after: $after) { nodes { number title } pageInfo { hasNextPage endCursor } }
    }
  }"""
COMMENT = """
  mutation ($input: AddCommentInput!) {
    addComment(input: $input) { commentEdge { node { body author { login } } } subject { id } }
  }"""
ISSUE = """
  mutation ($input: CreateIssueInput!) {
    createIssue(input: $input) { clientMutationId issue { number title body state } }
  }"""
PULL = """
  mutation ($input: CreatePullRequestInput!) {
    createPullRequest(input: $input) { pullRequest { number title isDraft headRefName baseRefName } }
  }"""
COMMIT = """
  mutation ($input: CreateCommitOnBranchInput!) {
    createCommitOnBranch(input: $input) { commit { oid message } ref { name } }
  }"""
REVIEW = """
  mutation ($input: AddPullRequestReviewInput!) {
    addPullRequestReview(input: $input) { pullRequestReview { state body } }
  }"""
MERGE = "mutation ($input: MergePullRequestInput!) { mergePullRequest(input: $input) { pullRequest { merged } } }"
DELETE = "mutation ($input: DeleteRepositoryInput!) { deleteRepository(input: $input) { clientMutationId } }"


def work(api_class, describe):
    flow = Flow(describe)
    api = api_class(flow.key)
    known = api.graphql(QUERY, WIDGETS | {"number": 1})["repository"]
    issue, pull = known["issue"]["id"], known["pullRequest"]["id"]

    def change(mutation, headers=None, by=api, **members):
        return by.graphql(mutation, {"input": members}, headers)

    @flow.step
    def query():
        return api.graphql(QUERY, WIDGETS | {"number": 1})

    @flow.step
    def pages():
        found, after, has_more = [], None, True
        while has_more:
            page = api.graphql(PAGE, WIDGETS | ({"after": after} if after else {}))["repository"]["issues"]
            found += page["nodes"]
            after, has_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        return found

    @flow.step
    def missing_issue():
        return flow.error_of(lambda: api.graphql(QUERY, WIDGETS | {"number": 999_999}))["message"]

    @flow.step
    def comment():
        return change(COMMENT, subjectId=issue, body="See https://api.github.com/zen.")

    @flow.step
    def comment_on_the_pull_request():
        return change(COMMENT, subjectId=pull, body="mutation { mergePullRequest }")

    @flow.step
    def new_issue():
        return change(ISSUE, repositoryId=known["id"], title="From a client", body="x", clientMutationId="one")

    @flow.step
    def draft_pull_request():
        ends = {"headRefName": "100%done", "baseRefName": "main"}
        return change(PULL, repositoryId=known["id"], title="Notes", draft=True, **ends)

    @flow.step
    def commenting_review():
        return change(REVIEW, pullRequestId=pull, event="COMMENT", body="Reads well.")

    refusals(flow, api_class, change, known)
    gated(flow, api, change, known["pullRequest"])
    flow.finish()


def refusals(flow, api_class, change, known):
    @flow.refusal
    def query_of_others():
        api_class(flow.stranger_key).graphql(QUERY, WIDGETS | {"number": 1})

    @flow.refusal
    def mutation_of_others():
        change(COMMENT, by=api_class(flow.stranger_key), subjectId=known["issue"]["id"], body="x")

    @flow.refusal
    def unknown_mutation():
        change(DELETE, repositoryId=known["id"])

    @flow.refusal
    def over_budget():
        api_class(flow.closed_key, patient=False).graphql(QUERY, WIDGETS | {"number": 1})


def gated(flow, api, change, pull):
    """What waits for an approval, and goes through with one: it is for this commit, and for no later one."""

    def review(headers=None):
        return change(REVIEW, headers, pullRequestId=pull["id"], event="APPROVE", body="Agreed.")

    def merge(headers=None, **members):
        return change(MERGE, headers, pullRequestId=pull["id"], mergeMethod="SQUASH", **members)

    flow.refusal(review, "review_without_approval")

    @flow.step
    def approving_review():
        return review(flow.approval(review))

    flow.refusal(merge, "merge_without_approval")
    early = flow.approval(merge)

    @flow.step
    def push_after_the_approval():
        branch = {"repositoryNameWithOwner": f"{OWNER}/{NAME}", "branchName": "feature/x"}
        files = {"additions": [{"path": "late.txt", "contents": "eA=="}]}
        late = {"branch": branch, "expectedHeadOid": pull["headRefOid"], "fileChanges": files}
        return change(COMMIT, message={"headline": "Add what nobody saw"}, **late)

    @flow.step
    def merge_of_what_was_pushed_later():
        # tollgate puts the approved commit into the call, and GitHub sees that the head is another.
        if flow.is_gated:
            return flow.error_of(lambda: merge(early))["message"]
        return flow.error_of(lambda: merge(expectedHeadOid=pull["headRefOid"]))["message"]

    @flow.step
    def approved_merge():
        return merge(flow.approval(merge))

    @flow.step
    def merge_as_it_is_now():
        return known_pull(api)

    @flow.step
    def approved_heads():
        return [pull["headRefOid"], known_pull(api)["headRefOid"]]


def known_pull(api):
    return api.graphql(QUERY, WIDGETS | {"number": 1})["repository"]["pullRequest"]
