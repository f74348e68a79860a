//! Everyday GraphQL, full of words that mean danger elsewhere.

use serde_json::{Value, json};

use super::start;
use crate::attacks::mutations::Ids;
use crate::attacks::run::setup;
use crate::support::{Tollgate, agent};

/// Documents and variables that only read.
const READS: [(&str, &str); 28] = [
    (
        r#"{ repository(owner: "acme", name: "widgets") { ref(qualifiedName: "main") { compare(headRef: "feature/x") { aheadBy } } } }"#,
        "",
    ),
    (
        r#"query($r: String = "main:docs") { repository(owner: "acme", name: "widgets") { object(expression: $r) { id } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { pullRequest(number: 76) { mergeable merged mergeStateStatus autoMergeRequest { enabledAt } } } }"#,
        "",
    ),
    (
        r#"query mergePullRequest { repository(owner: "acme", name: "widgets") { pullRequest(number: 76) { id } } }"#,
        "",
    ),
    (r#"query mutation { mutation: viewer { mergeBranch: login } }"#, ""),
    (
        r#"query ($mutation: Int!) { repository(owner: "acme", name: "widgets") { pullRequest(number: $mutation) { title } } }"#,
        r#"{"mutation": 76}"#,
    ),
    (
        r#"query ($mergePullRequest: String = "main") { repository(owner: "acme", name: "widgets") { ref(qualifiedName: $mergePullRequest) { name } } }"#,
        "",
    ),
    ("# mutation { mergePullRequest }\n{ viewer { login } } # mutation { deleteRef }", ""),
    ("{ viewer { login } }\r\n# mutation\r\n", ""),
    (r#"{ viewer { ...mutation } } fragment mutation on User { login }"#, ""),
    (r#"{ viewer { ... on Actor { login } ... @include(if: true) { login } } }"#, ""),
    (r#"query A { viewer { login } } query B { repository(owner: "acme", name: "gadgets") { id } }"#, ""),
    (
        r#"{ w: repository(owner: "acme", name: "widgets") { id } g: repository(owner: "ACME", name: "Gadgets") { id } }"#,
        "",
    ),
    (
        r#"query($o: String!, $n: String = "widgets") { repository(owner: $o, name: $n) { nameWithOwner } }"#,
        r#"{"o": "acme"}"#,
    ),
    (
        r#"{ search(query: "repo:acme/widgets mergePullRequest in:title", type: ISSUE, first: 3) { issueCount } }"#,
        "",
    ),
    (
        r#"query($q: String!) { search(query: $q, type: ISSUE, first: 3) { issueCount } }"#,
        r#"{"q": "repo:acme/widgets is:pr is:merged approved"}"#,
    ),
    (
        r#"{ search(query: "repo:acme/widgets repo:acme/gadgets secret-plans", type: ISSUE, first: 3) { issueCount } }"#,
        "",
    ),
    (r#"{ node(id: "<pull>") { ... on PullRequest { title mergeable } } }"#, ""),
    (
        r#"query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Issue { title } } }"#,
        r#"{"ids": ["<issue>", "<gadget>", "<pull>"]}"#,
    ),
    (r#"query($id: ID = "<issue>") { nodes(ids: [$id, "<widgets>"]) { id } }"#, ""),
    (
        r#"{ repository(owner: "acme", name: "widgets") { issue(number: 1) { author { login } comments(first: 5) { nodes { body } } labels(first: 5) { nodes { name } } } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { pullRequests(first: 5, states: [OPEN, MERGED]) { nodes { number reviewDecision } pageInfo { endCursor } } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { defaultBranchRef { name target { oid } } owner { login } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { pullRequest(number: 76) { headRepository { nameWithOwner } reviews(first: 5) { nodes { state } } } } }"#,
        "",
    ),
    (r#"{ organization(login: "acme") { login } }"#, ""),
    (r#"{ repositoryOwner(login: "acme") { login } }"#, ""),
    (r#"{,viewer,{,login,},}"#, ""),
    (r#"{ rateLimit { cost limit remaining } __typename }"#, ""),
];

/// Documents and variables of changes that need no approval.
const WRITES: [(&str, &str); 28] = [
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "mergePullRequest"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation mergePullRequest { addComment(input: {subjectId: "<pull>", body: "mutation { mergeBranch }"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { mergePullRequest: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation($mergePullRequest: String!) { addComment(input: {subjectId: "<issue>", body: $mergePullRequest}) { clientMutationId } }"#,
        r#"{"mergePullRequest": "APPROVE"}"#,
    ),
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: """ mutation { deleteRef } """}) { clientMutationId } }"#,
        "",
    ),
    (
        "mutation { # mergePullRequest(input: {})\n addComment(input: {subjectId: \"<issue>\", body: \"# x\"}) { clientMutationId } }",
        "",
    ),
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "refs/heads/main secret-plans <tool-issue>"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "\"} ) { mergePullRequest \\"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "\u00fc \/ \n", clientMutationId: "mergePullRequest"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { ...mergeBranch } fragment mergeBranch on Mutation { addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { a: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } b: addComment(input: {subjectId: "<gadget>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { __typename addComment(input: {subjectId: "<issue>", body: "x"}) { subject { id } } }"#,
        "",
    ),
    (
        r#"mutation($i: AddCommentInput!) { addComment(input: $i) { clientMutationId } }"#,
        r#"{"i": {"subjectId": "<issue>", "body": "APPROVE main"}}"#,
    ),
    (
        r#"mutation { createIssue(input: {repositoryId: "<widgets>", title: "mergePullRequest", body: "enablePullRequestAutoMerge"}) { issue { number } } }"#,
        "",
    ),
    (
        r#"mutation { updateIssue(input: {id: "<issue>", title: "Merge main", body: "event: APPROVE"}) { clientMutationId } }"#,
        "",
    ),
    (r#"mutation { closeIssue(input: {issueId: "<issue>"}) { clientMutationId } }"#, ""),
    (r#"mutation { reopenIssue(input: {issueId: "<issue>"}) { clientMutationId } }"#, ""),
    (
        r#"mutation { addReaction(input: {subjectId: "<issue>", content: THUMBS_UP}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: COMMENT, body: "APPROVE"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation($e: PullRequestReviewEvent = COMMENT) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e, body: "would not APPROVE"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: REQUEST_CHANGES, body: "dismiss"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { updatePullRequest(input: {pullRequestId: "<pull>", title: "Merge feature/x into main", body: "baseRefName: main"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { createPullRequest(input: {repositoryId: "<widgets>", baseRefName: "main", headRefName: "spare", title: "mergePullRequest", draft: true}) { pullRequest { isDraft } } }"#,
        "",
    ),
    (
        r#"mutation { createRef(input: {repositoryId: "<widgets>", name: "refs/heads/maintenance", oid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { createRef(input: {repositoryId: "<widgets>", name: "refs\u002fheads\/feature/main", oid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "acme/widgets", branchName: "maintenance"}, message: {headline: "Merge main"}, expectedHeadOid: "<tip>", fileChanges: {additions: [{path: "mergePullRequest", contents: "eA=="}]}}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: "refs/heads/feature/main", afterOid: "<work>"}, {name: "refs/heads/main2", afterOid: "<tip>"}]}) { clientMutationId } }"#,
        "",
    ),
    (
        r#"mutation { updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: "refs/heads/feature/main", afterOid: "0000000000000000000000000000000000000000"}]}) { clientMutationId } }"#,
        "",
    ),
];

/// Sends each document, and lists those that were not served or not carried out.
async fn serve(tollgate: &Tollgate, rows: &[(&str, &str)]) {
    let ids = Ids::of(tollgate).await;
    let mut failures = Vec::new();
    for (document, variables) in rows {
        let mut body: Value = serde_json::from_str(&ids.body(document, variables)).unwrap();
        if document.contains("query A") {
            body["operationName"] = json!("B");
        }
        let before = tollgate.arrived().len();
        let answer = tollgate.ask("POST", "/graphql").json(&body).send().await;
        let has_arrived = tollgate.arrived().len() > before;
        if answer.verdict() != "200" || !has_arrived || answer.json()["errors"].is_array() {
            let text: String = answer.text().chars().take(300).collect();
            failures.push(format!("{document} {variables}: {} {text}", answer.verdict()));
        }
    }
    assert!(failures.is_empty(), "{} were not served:\n{}", failures.len(), failures.join("\n"));
    tollgate.assert_clean();
}

#[tokio::test]
async fn documents_that_read_are_served() {
    serve(&start().await, &READS).await;
}

#[tokio::test]
async fn documents_that_write_are_served() {
    serve(&start().await, &WRITES).await;
}

/// An agent that may only write needs nothing else for any of them.
#[tokio::test]
async fn documents_that_write_need_no_class_but_write() {
    let mut setup = setup("presence");
    let policy =
        ["repositories: [acme/widgets, acme/gadgets]", "allow: [read, write]", "require_approval: []"];
    setup.agents = vec![agent("worker", &policy), agent("other", &["repositories: [other/tool]"])];
    serve(&setup.start().await, &WRITES).await;
}
