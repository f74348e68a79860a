//! Several mutations in one document, each of which counts.

use super::{Ids, attack_all};
use crate::attacks::run::{Run, setup};
use crate::support::agent;

/// Documents that can only be told apart by looking at each mutation.
const ROWS: [(&str, &str, &str); 10] = [
    (
        "two merges",
        r#"mutation { a: mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } b: mergePullRequest(input: {pullRequestId: "<other-pull>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a merge and an approval",
        r#"mutation { a: addPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId } b: mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a branch of one's own and main",
        r#"mutation { a: updateRef(input: {refId: "<spare>", oid: "<work>", force: true}) { clientMutationId } b: updateRef(input: {refId: "<main>", oid: "<work>", force: true}) { clientMutationId } }"#,
        "",
    ),
    (
        "a comment and a deleted head",
        r#"mutation { a: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } b: deleteRef(input: {refId: "<feature>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "a deleted head and a comment",
        r#"mutation { a: deleteRef(input: {refId: "<feature>"}) { clientMutationId } b: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "two operations, one deletes a head",
        r#"query A { viewer { login } } mutation B { a: deleteRef(input: {refId: "<feature>"}) { clientMutationId } b: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } }"#,
        "",
    ),
    (
        "refs in two repositories",
        r#"mutation { a: addComment(input: {subjectId: "<gadget>", body: "x"}) { clientMutationId } b: createRef(input: {repositoryId: "<widgets>", name: "refs/heads/w", oid: "<tip>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "an own and an unknown one",
        r#"mutation { a: addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } b: mergeEverything(input: {repositoryId: "<widgets>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "an unknown one in an unused fragment",
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId } } fragment F on Mutation { mergeEverything(input: {repositoryId: "<widgets>"}) { clientMutationId } }"#,
        "",
    ),
    (
        "auto-merge beside a comment",
        r#"mutation { a: addComment(input: {subjectId: "<pull>", body: "x"}) { clientMutationId } b: enablePullRequestAutoMerge(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
        "",
    ),
];

#[tokio::test]
async fn no_company_hides_a_mutation() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    attack_all(&mut run, &ids, &ROWS).await;
    run.finish(ROWS.len()).await;
}

/// One agent that may approve but needs an approval to move refs, and one the other way round.
#[tokio::test]
async fn a_class_that_is_open_opens_no_other_in_its_company() {
    let review =
        r#"a: addPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId }"#;
    let tag = r#"b: createRef(input: {repositoryId: "<widgets>", name: "refs/tags/v9", oid: "<tip>"}) { clientMutationId }"#;
    let rule = r#"b: createBranchProtectionRule(input: {repositoryId: "<widgets>", pattern: "*"}) { clientMutationId }"#;
    for (open, gated, fields) in [
        ("review", "ref-write", [review, tag]),
        ("ref-write", "review", [review, tag]),
        ("protection", "review", [review, rule]),
        ("protection", "ref-write", [tag, rule]),
    ] {
        let (allow, require) = (
            format!("allow: [read, write, merge, {open}, {gated}]"),
            format!("require_approval: [merge, {gated}]"),
        );
        let mut setup = setup("presence");
        setup.agents = vec![
            agent("worker", &["repositories: [acme/widgets, acme/gadgets]", &allow, &require]),
            agent("other", &["repositories: [other/tool]"]),
        ];
        let mut run = Run::on(setup).await;
        let ids = Ids::learn(&mut run).await;
        for document in [
            format!("mutation {{ {} {} }}", fields[0], fields[1]),
            format!("mutation {{ {} {} }}", fields[1], fields[0]),
        ] {
            let bytes = run.request("POST /graphql", "", ids.body(&document, ""));
            run.attack(&format!("{gated} beside {open}"), &bytes).await;
        }
        run.finish(2).await;
    }
}

/// An agent that may only write moves no guarded ref, alone or beside a comment.
#[tokio::test]
async fn no_company_opens_a_class_that_is_closed() {
    let mut setup = setup("presence");
    let policy =
        ["repositories: [acme/widgets, acme/gadgets]", "allow: [read, write]", "require_approval: []"];
    setup.agents = vec![agent("worker", &policy), agent("other", &["repositories: [other/tool]"])];
    let mut run = Run::on(setup).await;
    let ids = Ids::learn(&mut run).await;
    let comment = r#"addComment(input: {subjectId: "<issue>", body: "x"}) { clientMutationId }"#;
    let fields = [
        r#"updateRef(input: {refId: "<main>", oid: "<work>", force: true}) { clientMutationId }"#,
        r#"deleteRef(input: {refId: "<feature>"}) { clientMutationId }"#,
        r#"createRef(input: {repositoryId: "<widgets>", name: "refs/tags/v9", oid: "<tip>"}) { clientMutationId }"#,
        r#"addPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId }"#,
        r#"mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId }"#,
    ];
    for field in fields {
        for document in [format!("mutation {{ {field} }}"), format!("mutation {{ a: {field} {comment} }}")] {
            let body = ids.body(&document, "");
            run.attack(&document, &run.request("POST /graphql", "X-Merge-Approval: yes\r\n", body)).await;
        }
    }
    run.finish(2 * fields.len()).await;
}
