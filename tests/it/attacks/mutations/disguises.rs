//! Mutations that need an approval, in every place of a document where one can be.

use serde_json::json;

use super::Ids;
use crate::attacks::run::Run;

/// Fields that no agent may use without an approval.
const GATED: [(&str, &str); 14] = [
    ("a merge", r#"mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId }"#),
    ("the queue", r#"enqueuePullRequest(input: {pullRequestId: "<pull>", jump: true}) { clientMutationId }"#),
    ("auto-merge", r#"enablePullRequestAutoMerge(input: {pullRequestId: "<pull>"}) { clientMutationId }"#),
    (
        "a merge of branches",
        r#"mergeBranch(input: {repositoryId: "<widgets>", base: "main", head: "feature/x"}) { clientMutationId }"#,
    ),
    (
        "a commit by name",
        r#"createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "acme/widgets", branchName: "main"}, message: {headline: "x"}, expectedHeadOid: "<tip>", fileChanges: {additions: [{path: "x", contents: "eA=="}]}}) { clientMutationId }"#,
    ),
    (
        "a commit by id",
        r#"createCommitOnBranch(input: {branch: {id: "<main>"}, message: {headline: "x"}, expectedHeadOid: "<tip>", fileChanges: {additions: [{path: "x", contents: "eA=="}]}}) { clientMutationId }"#,
    ),
    (
        "a moved ref",
        r#"updateRef(input: {refId: "<main>", oid: "<work>", force: true}) { clientMutationId }"#,
    ),
    ("a deleted ref", r#"deleteRef(input: {refId: "<locked>"}) { clientMutationId }"#),
    ("a deleted head", r#"deleteRef(input: {refId: "<feature>"}) { clientMutationId }"#),
    (
        "a tag",
        r#"createRef(input: {repositoryId: "<widgets>", name: "refs/tags/v9", oid: "<tip>"}) { clientMutationId }"#,
    ),
    (
        "several refs",
        r#"updateRefs(input: {repositoryId: "<widgets>", refUpdates: [{name: "refs/heads/w", afterOid: "<tip>"}, {name: "refs/heads/main", afterOid: "<work>", force: true}]}) { clientMutationId }"#,
    ),
    (
        "another base",
        r#"updatePullRequest(input: {pullRequestId: "<pull>", baseRefName: "release"}) { clientMutationId }"#,
    ),
    (
        "an approval",
        r#"addPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId }"#,
    ),
    (
        "a protection",
        r#"createBranchProtectionRule(input: {repositoryId: "<widgets>", pattern: "*"}) { clientMutationId }"#,
    ),
];

/// Documents around `FIELD`.
const DISGUISES: [(&str, &str); 16] = [
    ("plainly", "mutation { FIELD }"),
    ("under a harmless alias", "mutation addComment { addComment: FIELD }"),
    (
        "in nested fragments",
        "mutation { ...A } fragment A on Mutation { ...B } fragment B on Mutation { FIELD }",
    ),
    ("in a fragment before it", "fragment viewer on Mutation { FIELD } mutation { ...viewer }"),
    ("in nested inline fragments", "mutation { ... on Mutation { ... { ... { FIELD } } } }"),
    ("included", "mutation { ... @include(if: true) { FIELD } }"),
    ("not skipped by default", "mutation Q($s: Boolean = false) { ... @skip(if: $s) { FIELD } }"),
    ("in an operation that is picked", "query A { viewer { login } } mutation B { FIELD }"),
    ("in one that is not picked", "mutation C { FIELD } query A { viewer { login } }"),
    (
        "after a harmless one",
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } FIELD }"#,
    ),
    (
        "before a harmless one",
        r#"mutation { FIELD addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
    ),
    ("between comments", "# query { viewer }\nmutation # {}\r\n{ # }\n FIELD # {\n}"),
    ("between commas", ",mutation,,,{,FIELD,,}"),
    ("beside its type", "mutation { __typename FIELD ... { __typename } }"),
    ("after a default that looks like the end", r#"mutation($a: String = """ \""" } query { """) { FIELD }"#),
    ("twice", "mutation { a: FIELD b: FIELD }"),
];

#[tokio::test]
async fn no_place_in_a_document_hides_a_mutation() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    for (what, field) in GATED {
        for (place, around) in DISGUISES {
            let document = ids.fill(&around.replace("FIELD", field));
            let mut body = json!({"query": document});
            if document.contains("query A") {
                body["operationName"] = json!(if document.contains("mutation B") { "B" } else { "A" });
            }
            let bytes = run.request("POST /graphql", "", body.to_string());
            run.attack(&format!("{what} {place}"), &bytes).await;
        }
    }
    run.finish(GATED.len() * DISGUISES.len()).await;
}
