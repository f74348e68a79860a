//! Mutations on objects that are not the agent's, with ids in every place where one can be.

use super::{Ids, attack_all};
use crate::attacks::run::Run;

const ROWS: [(&str, &str, &str); 28] = [
    (
        "another repository's issue",
        r#"mutation { addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a public issue",
        r#"mutation { addComment(input: {subjectId: "<lib-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "by variable",
        r#"mutation($s: ID!) { addComment(input: {subjectId: $s, body: "x"}) { clientMutationId } }"#,
        r#"{"s": "<tool-issue>"}"#,
    ),
    (
        "by default",
        r#"mutation($s: ID = "<tool-issue>") { addComment(input: {subjectId: $s, body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "instead of a default",
        r#"mutation($s: ID = "<issue>") { addComment(input: {subjectId: $s, body: "x"}) { clientMutationId } }"#,
        r#"{"s": "<tool-issue>"}"#,
    ),
    (
        "with the whole input",
        "mutation($i: X!) { addComment(input: $i) { clientMutationId } }",
        r#"{"i": {"subjectId": "<tool-issue>", "body": "x"}}"#,
    ),
    (
        "in a block",
        r#"mutation { addComment(input: {subjectId: """<tool-issue>""", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "under an alias",
        r#"mutation { closeIssue: addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "in a fragment",
        r#"mutation { ...F } fragment F on Mutation { addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "after an own one",
        r#"mutation { a: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } b: addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "before an own one",
        r#"mutation { a: addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } b: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "in an operation that is not picked",
        r#"mutation A { addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } } mutation B { addComment(input: {subjectId: "<tool-issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "beside an own one in the input",
        r#"mutation { addLabelsToLabelable(input: {labelableId: "<issue>", labelIds: ["<tool-issue>"]}) { clientMutationId } }"#,
        "",
    ),
    (
        "in a list by variable",
        r#"mutation($l: [ID!]!) { addLabelsToLabelable(input: {labelableId: "<issue>", labelIds: $l}) { clientMutationId } }"#,
        r#"{"l": ["<issue>", "<tool-issue>"]}"#,
    ),
    (
        "as a list of variables",
        r#"mutation($a: ID, $b: ID) { addLabelsToLabelable(input: {labelableId: "<issue>", labelIds: [$a, $b]}) { clientMutationId } }"#,
        r#"{"a": "<issue>", "b": "<plans>"}"#,
    ),
    (
        "one instead of a list",
        r#"mutation { addLabelsToLabelable(input: {labelableId: "<issue>", labelIds: "<plans>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a list in a list",
        r#"mutation { addLabelsToLabelable(input: {labelableId: "<issue>", labelIds: [["<plans>"]]}) { clientMutationId } }"#,
        "",
    ),
    ("a number", r#"mutation { addComment(input: {subjectId: 2003, body: "x"}) { clientMutationId } }"#, ""),
    (
        "a number by variable",
        r#"mutation($s: ID!) { addComment(input: {subjectId: $s, body: "x"}) { clientMutationId } }"#,
        r#"{"s": 2003}"#,
    ),
    (
        "nothing",
        r#"mutation { addComment(input: {subjectId: "I_kwDO200199999", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "an empty text",
        r#"mutation { addComment(input: {subjectId: "", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "an id with a blank",
        r#"mutation { addComment(input: {subjectId: "<tool-issue> ", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a new issue elsewhere",
        r#"mutation { createIssue(input: {repositoryId: "<plans>", title: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a new branch elsewhere",
        r#"mutation { createRef(input: {repositoryId: "<plans>", name: "refs/heads/w", oid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a ref elsewhere",
        r#"mutation { updateRef(input: {refId: "<plans-main>", oid: "<tip>", force: true}) { clientMutationId } }"#,
        "",
    ),
    (
        "a commit elsewhere",
        r#"mutation { createCommitOnBranch(input: {branch: {id: "<plans-main>"}, message: {headline: "x"}, expectedHeadOid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "an issue that moves there",
        r#"mutation { transferIssue(input: {issueId: "<issue>", repositoryId: "<tool>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a pull request from there",
        r#"mutation { createPullRequest(input: {repositoryId: "<widgets>", headRepositoryId: "<tool>", baseRefName: "main", headRefName: "main", title: "x", draft: true}) { clientMutationId } }"#,
        "",
    ),
];

#[tokio::test]
async fn no_id_of_anothers_is_changed() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    attack_all(&mut run, &ids, &ROWS).await;
    run.finish(ROWS.len()).await;
}
