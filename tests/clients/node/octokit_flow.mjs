// Octokit at work, with the throttling and retry plugins it comes with; as `probot`, Probot's own Octokit.

import { Flow, owner, repo } from "./flow.mjs";

const flow = new Flow((error) => ({
  status: error.status,
  message: error.response.data.message ?? null,
  code: error.response.data.tollgate?.code ?? null,
}));
// Warnings of the plugins belong beside the other diagnostics: stdout is for the document.
const log = { debug() {}, info: console.error, warn: console.error, error: console.error };
const isProbot = process.argv[2] === "probot";
const { Octokit } = isProbot ? { Octokit: (await import("probot")).ProbotOctokit } : await import("octokit");
const client = (key, options = {}) =>
  new Octokit({ auth: isProbot ? { token: key } : key, baseUrl: flow.baseUrl, log, ...options });
const octokit = client(flow.key);
const { rest } = octokit;
const widgets = { owner, repo };
const data = async (answer) => (await answer).data;

await flow.step("repository", () => data(rest.repos.get(widgets)));

await flow.step("page_links", async () => {
  const first = await rest.issues.listForRepo({ ...widgets, state: "all" });
  return first.headers.link;
});

await flow.step("issues_all_pages", () =>
  octokit.paginate(rest.issues.listForRepo, { ...widgets, state: "all" }),
);

await flow.step("issues_page_by_page", async () => {
  const pages = [];
  for await (const page of octokit.paginate.iterator(rest.issues.listForRepo, { ...widgets, per_page: 40 })) {
    // Where the page came from shows whether the link was kept.
    pages.push([page.url, page.data.map((issue) => issue.number)]);
  }
  return pages;
});

await flow.step("unchanged_repository", async () => {
  const { headers } = await rest.repos.get(widgets);
  return flow.errorOf(() => rest.repos.get({ ...widgets, headers: { "if-none-match": headers.etag } }));
});

await flow.step("contents_of_a_file", () => data(rest.repos.getContent({ ...widgets, path: "src/lib.rs" })));

await flow.step("contents_of_a_file_raw", () =>
  data(rest.repos.getContent({ ...widgets, path: "docs/a;b.txt", mediaType: { format: "raw" } })),
);

await flow.step("contents_of_a_directory", () => data(rest.repos.getContent({ ...widgets, path: "src" })));

await flow.step("refs_that_begin_so", () => data(rest.git.listMatchingRefs({ ...widgets, ref: "heads/" })));

await flow.step("tree", () => data(rest.git.getTree({ ...widgets, tree_sha: "main", recursive: "true" })));

await flow.step("branch", async () => {
  const main = await data(rest.git.getRef({ ...widgets, ref: "heads/main" }));
  const made = await rest.git.createRef({ ...widgets, ref: "refs/heads/client-work", sha: main.object.sha });
  return [made.status, made.headers.location ?? null, made.data];
});

await flow.step("commit_onto_the_branch", async () => {
  const file = { ...widgets, path: "notes/from-client.txt", branch: "client-work" };
  const content = (text) => Buffer.from(text).toString("base64");
  const made = await data(
    rest.repos.createOrUpdateFileContents({ ...file, message: "Add notes", content: content("first\n") }),
  );
  const changed = await data(
    rest.repos.createOrUpdateFileContents({
      ...file,
      message: "Change notes",
      content: content("second\n"),
      sha: made.content.sha,
    }),
  );
  const read = await data(rest.repos.getContent({ ...file, ref: "client-work" }));
  return [made, changed, read];
});

await flow.step("draft_pull_request", async () => {
  const pull = await data(
    rest.pulls.create({
      ...widgets,
      base: "main",
      head: "client-work",
      title: "Notes",
      body: "See https://api.github.com/zen.",
      draft: true,
    }),
  );
  return [pull, await data(rest.pulls.listFiles({ ...widgets, pull_number: pull.number }))];
});

await flow.step("commenting_review", async () => {
  const [pull] = await data(rest.pulls.list({ ...widgets, state: "open", head: `${owner}:client-work` }));
  const number = { ...widgets, pull_number: pull.number };
  const review = await data(rest.pulls.createReview({ ...number, body: "Reads well.", event: "COMMENT" }));
  return [review, await data(rest.pulls.listReviews(number))];
});

await flow.step("issue_comment_and_label", async () => {
  const body = "See https://api.github.com/zen.";
  const issue = await data(rest.issues.create({ ...widgets, title: "From a client", body }));
  const number = { ...widgets, issue_number: issue.number };
  const comment = await data(rest.issues.createComment({ ...number, body: "A comment" }));
  const labels = await data(rest.issues.addLabels({ ...number, labels: ["bug"] }));
  const closed = await data(rest.issues.update({ ...number, state: "closed" }));
  return [issue, comment, labels, closed];
});

await flow.step("search", () =>
  data(rest.search.issuesAndPullRequests({ q: `number repo:${owner}/${repo} is:issue`, per_page: 40 })),
);

await flow.step("releases", async () => {
  await rest.repos.createRelease({ ...widgets, tag_name: "v1.0.0", name: "One", body: "The first" });
  return data(rest.repos.listReleases(widgets));
});

await flow.step("renamed_repository", () => data(rest.repos.get({ owner, repo: "old-name" })));

// GitHub answers a write with 307: the client sends it again, body and all.
await flow.step("renamed_repository_written", () =>
  data(rest.issues.create({ owner, repo: "old-name", title: "By the old name" })),
);

await flow.step("graphql_query", () =>
  octokit.graphql(
    `query ($owner: String!, $name: String!) {
      repository(owner: $owner, name: $name) { nameWithOwner issue(number: 1) { number title } }
    }`,
    { owner, name: repo },
  ),
);

await flow.step("missing_file", () =>
  flow.errorOf(() => rest.repos.getContent({ ...widgets, path: "no/such/file" })),
);

await flow.step("missing_issue", () =>
  flow.errorOf(() => rest.issues.get({ ...widgets, issue_number: 999_999 })),
);

await flow.refusal("unknown_key", () =>
  client("tg_nobody_00000000000000000000000000000000").rest.repos.get(widgets),
);

await flow.refusal("repository_of_others", () => client(flow.strangerKey).rest.repos.get(widgets));

// By default both wait until the reset, and Probot does so without end.
let handled = null;
const note = (name) => () => {
  handled = name;
  return false;
};
const throttle = { onRateLimit: note("onRateLimit"), onSecondaryRateLimit: note("onSecondaryRateLimit") };
await flow.refusal("over_budget", async () => {
  try {
    await client(flow.closedKey, { throttle }).rest.repos.get(widgets);
  } catch (error) {
    error.name = handled;
    throw error;
  }
});

const merge = { ...widgets, pull_number: 76, merge_method: "squash" };
await flow.refusal("merge_without_approval", () => rest.pulls.merge(merge));

await flow.step("merge", async () => {
  const merged = await data(rest.pulls.merge({ ...merge, headers: flow.approved }));
  return [merged, await data(rest.pulls.get(merge))];
});

const careful = client(flow.carefulKey);
const carefulTag = async (headers) => {
  const main = await data(careful.rest.git.getRef({ ...widgets, ref: "heads/main" }));
  const ref = "refs/tags/careful-work";
  return data(careful.rest.git.createRef({ ...widgets, ref, sha: main.object.sha, headers }));
};
await flow.refusal("careful_tag_without_approval", () => carefulTag({}));

await flow.step("careful_tag", () => carefulTag(flow.approved));

flow.finish();
