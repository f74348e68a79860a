// Octokit's `graphql` at work: the steps of ../python/graphql_work.py, with the throttling and retry plugins.

import { Octokit } from "octokit";

import { Flow, owner, repo } from "./flow.mjs";

// GitHub's errors are GraphqlResponseErrors; what tollgate refuses is an error of HTTP.
const flow = new Flow((error) => ({
  status: error.status ?? 200,
  message: error.response.data?.message ?? error.errors?.[0].message ?? null,
  code: error.response.data?.tollgate?.code ?? null,
  tollgate: error.response.data?.tollgate ?? null,
}));
// Warnings of the plugins belong beside the other diagnostics: stdout is for the document.
const log = { debug() {}, info: console.error, warn: console.error, error: console.error };
const client = (key) => {
  const throttle = { onRateLimit: () => false, onSecondaryRateLimit: () => false };
  return new Octokit({ auth: key, baseUrl: flow.baseUrl, log, throttle }).graphql;
};
const graphql = client(flow.key);
const widgets = { owner, name: repo };

const QUERY = `
  query ($owner: String!, $name: String!, $number: Int!) {
    repository(owner: $owner, name: $name) {
      id nameWithOwner issue(number: $number) { id number title state author { login } }
      pullRequest(number: 76) { id headRefOid headRefName isDraft merged state mergeCommit { message } }
    }
  }`;
const PAGE = `
  query ($owner: String!, $name: String!, $after: String) {
    repository(owner: $owner, name: $name) {
      issues(first: 30, after: $after) { nodes { number title } pageInfo { hasNextPage endCursor } }
    }
  }`;
const COMMENT = `
  mutation ($input: AddCommentInput!) {
    addComment(input: $input) { commentEdge { node { body author { login } } } subject { id } }
  }`;
const ISSUE = `
  mutation ($input: CreateIssueInput!) {
    createIssue(input: $input) { clientMutationId issue { number title body state } }
  }`;
const PULL = `
  mutation ($input: CreatePullRequestInput!) {
    createPullRequest(input: $input) { pullRequest { number title isDraft headRefName baseRefName } }
  }`;
const COMMIT = `
  mutation ($input: CreateCommitOnBranchInput!) {
    createCommitOnBranch(input: $input) { commit { oid message } ref { name } }
  }`;
const REVIEW = `
  mutation ($input: AddPullRequestReviewInput!) {
    addPullRequestReview(input: $input) { pullRequestReview { state body } }
  }`;
const MERGE =
  "mutation ($input: MergePullRequestInput!) { mergePullRequest(input: $input) { pullRequest { merged } } }";
const DELETE = "mutation ($input: DeleteRepositoryInput!) { deleteRepository(input: $input) { clientMutationId } }";

const ask = (number = 1, by = graphql) => by(QUERY, { ...widgets, number });
const change = (mutation, input, headers = {}, by = graphql) => by(mutation, { input, headers });
const { repository: known } = await ask();
const pull = known.pullRequest;

await flow.step("query", () => ask());

await flow.step("pages", async () => {
  const found = [];
  let page = { hasNextPage: true };
  while (page.hasNextPage) {
    const { issues } = (await graphql(PAGE, { ...widgets, after: page.endCursor })).repository;
    found.push(...issues.nodes);
    page = issues.pageInfo;
  }
  return found;
});

await flow.step("missing_issue", async () => (await flow.errorOf(() => ask(999_999))).message);

await flow.step("comment", () =>
  change(COMMENT, { subjectId: known.issue.id, body: "See https://api.github.com/zen." }),
);

await flow.step("comment_on_the_pull_request", () =>
  change(COMMENT, { subjectId: pull.id, body: "mutation { mergePullRequest }" }),
);

await flow.step("new_issue", () =>
  change(ISSUE, { repositoryId: known.id, title: "From a client", body: "x", clientMutationId: "one" }),
);

await flow.step("draft_pull_request", () =>
  change(PULL, { repositoryId: known.id, title: "Notes", draft: true, headRefName: "100%done", baseRefName: "main" }),
);

await flow.step("commenting_review", () =>
  change(REVIEW, { pullRequestId: pull.id, event: "COMMENT", body: "Reads well." }),
);

await flow.refusal("query_of_others", () => ask(1, client(flow.strangerKey)));

await flow.refusal("mutation_of_others", () =>
  change(COMMENT, { subjectId: known.issue.id, body: "x" }, {}, client(flow.strangerKey)),
);

await flow.refusal("unknown_mutation", () => change(DELETE, { repositoryId: known.id }));

await flow.refusal("over_budget", () => ask(1, client(flow.closedKey)));

const review = (headers) => change(REVIEW, { pullRequestId: pull.id, event: "APPROVE", body: "Agreed." }, headers);
const merge = (headers, input = {}) =>
  change(MERGE, { pullRequestId: pull.id, mergeMethod: "SQUASH", ...input }, headers);

await flow.refusal("review_without_approval", review);

await flow.step("approving_review", async () => review(await flow.approval(review)));

await flow.refusal("merge_without_approval", merge);
const early = await flow.approval(merge);

await flow.step("push_after_the_approval", () =>
  change(COMMIT, {
    branch: { repositoryNameWithOwner: `${owner}/${repo}`, branchName: "feature/x" },
    message: { headline: "Add what nobody saw" },
    expectedHeadOid: pull.headRefOid,
    fileChanges: { additions: [{ path: "late.txt", contents: "eA==" }] },
  }),
);

// tollgate puts the approved commit into the call, and GitHub sees that the head is another.
await flow.step("merge_of_what_was_pushed_later", async () => {
  const input = flow.isGated ? {} : { expectedHeadOid: pull.headRefOid };
  return (await flow.errorOf(() => merge(early, input))).message;
});

await flow.step("approved_merge", async () => merge(await flow.approval(merge)));

await flow.step("merge_as_it_is_now", async () => (await ask()).repository.pullRequest);

await flow.step("approved_heads", async () => [
  pull.headRefOid,
  (await ask()).repository.pullRequest.headRefOid,
]);

flow.finish();
