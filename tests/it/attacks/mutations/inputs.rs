//! Mutations that are only dangerous because of their input, in every form that a value can have.

use super::{Ids, attack_all};
use crate::attacks::run::Run;

/// Reviews and pull requests.
const PULLS: [(&str, &str, &str); 22] = [
    (
        "the whole input",
        "mutation($i: X!) { mergePullRequest(input: $i) { clientMutationId } }",
        r#"{"i": {"pullRequestId": "<pull>"}}"#,
    ),
    (
        "the input by default",
        r#"mutation($i: X = {pullRequestId: "<pull>"}) { mergePullRequest(input: $i) { clientMutationId } }"#,
        "",
    ),
    (
        "an id by variable",
        "mutation($p: ID!) { mergePullRequest(input: {pullRequestId: $p}) { clientMutationId } }",
        r#"{"p": "<pull>"}"#,
    ),
    (
        "an id by default",
        r#"mutation($p: ID = "<pull>") { mergePullRequest(input: {pullRequestId: $p}) { clientMutationId } }"#,
        "",
    ),
    (
        "an id in a block",
        r#"mutation { mergePullRequest(input: {pullRequestId: """<pull>"""}) { clientMutationId } }"#,
        "",
    ),
    (
        "an id in lines",
        "mutation { mergePullRequest(input: {pullRequestId: \"\"\"\n   <pull>\n \"\"\"}) { clientMutationId } }",
        "",
    ),
    (
        "another commit",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>", expectedHeadOid: "<work>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "the event by variable",
        r#"mutation($e: E) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e}) { clientMutationId } }"#,
        r#"{"e": "APPROVE"}"#,
    ),
    (
        "the event by default",
        r#"mutation($e: E = APPROVE) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e}) { clientMutationId } }"#,
        "",
    ),
    (
        "the event by another default",
        r#"mutation($c: E = COMMENT, $e: E = APPROVE) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e}) { clientMutationId } }"#,
        r#"{"c": "COMMENT"}"#,
    ),
    (
        "the event instead of a default",
        r#"mutation($e: E = COMMENT) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e}) { clientMutationId } }"#,
        r#"{"e": "APPROVE"}"#,
    ),
    (
        "the event as a string",
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: "APPROVE"}) { clientMutationId } }"#,
        "",
    ),
    (
        "the event as an escape",
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: "\u0041PPROVE"}) { clientMutationId } }"#,
        "",
    ),
    (
        "the event in small letters",
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: approve}) { clientMutationId } }"#,
        "",
    ),
    (
        "the event with blanks",
        "mutation($i: X!) { addPullRequestReview(input: $i) { clientMutationId } }",
        r#"{"i": {"pullRequestId": "<pull>", "event": " APPROVE "}}"#,
    ),
    (
        "the event in a list",
        "mutation($i: X!) { addPullRequestReview(input: $i) { clientMutationId } }",
        r#"{"i": {"pullRequestId": "<pull>", "event": ["APPROVE"]}}"#,
    ),
    (
        "a submitted approval",
        r#"mutation { submitPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId } }"#,
        "",
    ),
    (
        "a dismissal",
        r#"mutation { dismissPullRequestReview(input: {pullRequestReviewId: "<pull>", message: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a base by variable",
        r#"mutation($b: String) { updatePullRequest(input: {pullRequestId: "<pull>", title: "x", baseRefName: $b}) { clientMutationId } }"#,
        r#"{"b": "release"}"#,
    ),
    (
        "a base by default",
        r#"mutation($b: String = "release") { updatePullRequest(input: {pullRequestId: "<pull>", title: "x", baseRefName: $b}) { clientMutationId } }"#,
        "",
    ),
    (
        "a base without letters",
        r#"mutation { updatePullRequest(input: {pullRequestId: "<pull>", baseRefName: ""}) { clientMutationId } }"#,
        "",
    ),
    (
        "the end of a draft",
        r#"mutation { markPullRequestReadyForReview(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
];

/// Spellings of refs that are `main`, a tag or undecidable, in GraphQL syntax.
const REFS: [&str; 21] = [
    r#""refs/heads/main""#,
    r#""refs\u002fheads/main""#,
    r#""refs/heads/\u006dain""#,
    r#""refs\/heads\/main""#,
    r#""\u0072\u0065\u0066\u0073/heads/main""#,
    r#""""refs/heads/main""""#,
    "\"\"\"\n      refs/heads/main\n   \"\"\"",
    r#""refs/heads/MAIN""#,
    r#""refs/heads/main ""#,
    r#"" refs/heads/main""#,
    r#""refs/heads/main\u0000x""#,
    r#""refs/heads/main\n""#,
    r#""refs//heads/main""#,
    r#""refs/heads//main""#,
    r#""refs/heads/./main""#,
    r#""refs/heads/x/../main""#,
    r#""refs/heads/refs/heads/main""#,
    r#""refs/heads/%6dain""#,
    "\"refs/heads/\u{ff4d}ain\"",
    r#""refs/heads/locked""#,
    r#""refs/tags/v1.0.0""#,
];

/// The same for branches.
const BRANCHES: [(&str, &str); 14] = [
    ("acme/widgets", "main"),
    ("ACME/Widgets", "main"),
    ("acme/widgets", "refs/heads/main"),
    ("acme/widgets", "heads/main"),
    ("acme/widgets", "MAIN"),
    ("acme/widgets", ""),
    ("acme/widgets", "HEAD"),
    ("acme/widgets", "@"),
    ("acme/widgets", "refs/tags/v1.0.0"),
    ("acme/widgets", "spare/../main"),
    ("acme/gadgets", "main"),
    ("acme/secret-plans", "spare"),
    ("other/tool", "spare"),
    ("acme/widgets/../secret-plans", "spare"),
];

/// Other mutations that no agent may do.
const CLOSED: [(&str, &str, &str); 16] = [
    (
        "one ref instead of a list",
        r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: {name: "refs/heads/main", afterOid: "<work>", force: true}}) { clientMutationId } }"#,
        "",
    ),
    (
        "refs by variable",
        r#"mutation($u: [X!]!) { updateRefs(input: {repositoryId: "<widgets>", refUpdates: $u}) { clientMutationId } }"#,
        r#"{"u": [{"name": "refs/heads/main", "afterOid": "<work>", "force": true}]}"#,
    ),
    (
        "a ref without a name",
        r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{afterOid: "<work>"}]}) { clientMutationId } }"#,
        "",
    ),
    (
        "a head that is deleted",
        r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: "refs/heads/feature/x", afterOid: "0000000000000000000000000000000000000000"}]}) { clientMutationId } }"#,
        "",
    ),
    (
        "a head that is deleted by variable",
        r#"mutation($n: X) { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: "refs/heads/feature/x", afterOid: $n}]}) { clientMutationId } }"#,
        r#"{"n": "0000000000000000000000000000000000000000"}"#,
    ),
    (
        "a branch by id and by name",
        r#"mutation { createCommitOnBranch(input: {branch: {id: "<main>", repositoryNameWithOwner: "acme/widgets", branchName: "spare"}, message: {headline: "x"}, expectedHeadOid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a branch by an issue's id",
        r#"mutation { createCommitOnBranch(input: {branch: {id: "<issue>"}, message: {headline: "x"}, expectedHeadOid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a deployment",
        r#"mutation { createDeployment(input: {repositoryId: "<widgets>", refId: "<feature>", autoMerge: true}) { clientMutationId } }"#,
        "",
    ),
    (
        "a ruleset",
        r#"mutation { deleteRepositoryRuleset(input: {repositoryRulesetId: "<widgets>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a rule",
        r#"mutation { deleteBranchProtectionRule(input: {branchProtectionRuleId: "<widgets>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "the repository",
        r#"mutation { updateRepository(input: {repositoryId: "<widgets>", name: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "its end",
        r#"mutation { deleteRepository(input: {repositoryId: "<widgets>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a name in other letters",
        r#"mutation { MergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a name that nobody knows",
        r#"mutation { mergePullRequestAsync(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a mutation as a query",
        r#"query { mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "no argument called input",
        r#"mutation { mergePullRequest(Input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
];

#[tokio::test]
async fn no_form_of_a_value_hides_what_it_says() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    attack_all(&mut run, &ids, &PULLS).await;
    attack_all(&mut run, &ids, &CLOSED).await;
    run.finish(PULLS.len() + CLOSED.len()).await;
}

#[tokio::test]
async fn no_spelling_of_a_ref_or_branch_reaches_a_guarded_one() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    for name in REFS {
        for document in [
            r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: NAME, afterOid: "<work>", force: true}]}) { clientMutationId } }"#,
            r#"mutation($n: String = NAME) { createRef(input: {repositoryId: "<widgets>", name: $n, oid: "<work>"}) { clientMutationId } }"#,
        ] {
            let bytes = run.request("POST /graphql", "", ids.body(&document.replace("NAME", name), ""));
            run.attack(&format!("{name} in {document}"), &bytes).await;
        }
    }
    let commit = "mutation($b: X!) { createCommitOnBranch(input: {branch: $b, message: {headline: \"x\"}, expectedHeadOid: \"<tip>\", fileChanges: {additions: [{path: \"x\", contents: \"eA==\"}]}}) { clientMutationId } }";
    for (repository, branch) in BRANCHES {
        let variables =
            format!(r#"{{"b": {{"repositoryNameWithOwner": "{repository}", "branchName": "{branch}"}}}}"#);
        let bytes = run.request("POST /graphql", "", ids.body(commit, &variables));
        run.attack(&format!("{branch:?} of {repository}"), &bytes).await;
    }
    run.finish(2 * REFS.len() + BRANCHES.len()).await;
}
