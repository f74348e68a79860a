//! Mutations with an approval of something else.

use serde_json::{Value, json};

use super::Ids;
use crate::attacks::oracle::Meaning;
use crate::attacks::run::{Run, setup};
use crate::support::approvals::{filled, sign};

const MERGE: &str = r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#;
const TAG: &str = r#"mutation { createRef(input: {repositoryId: "<widgets>", name: "refs/tags/v9", oid: "<tip>"}) { clientMutationId } }"#;

/// Documents that the approval of [`MERGE`] does not cover.
const OTHERS: [(&str, &str); 10] = [
    (
        "another pull request",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<other-pull>"}) { clientMutationId } }"#,
    ),
    (
        "another commit",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>", expectedHeadOid: "<tip>"}) { clientMutationId } }"#,
    ),
    (
        "a part of the commit",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>", expectedHeadOid: "0"}) { clientMutationId } }"#,
    ),
    (
        "a number as the commit",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>", expectedHeadOid: 0}) { clientMutationId } }"#,
    ),
    (
        "auto-merge",
        r#"mutation { enablePullRequestAutoMerge(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#,
    ),
    (
        "a merge of branches",
        r#"mutation { mergeBranch(input: {repositoryId: "<widgets>", base: "main", head: "feature/x"}) { clientMutationId } }"#,
    ),
    ("a tag", TAG),
    (
        "an approval",
        r#"mutation { addPullRequestReview(input: {pullRequestId: "<pull>", event: APPROVE}) { clientMutationId } }"#,
    ),
    (
        "a second merge",
        r#"mutation { a: mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } b: mergePullRequest(input: {pullRequestId: "<other-pull>"}) { clientMutationId } }"#,
    ),
    (
        "two ids",
        r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>", clientMutationId: "x", otherId: "<tool>"}) { clientMutationId } }"#,
    ),
];

fn with(run: &Run, ids: &Ids, document: &str, token: &str) -> Vec<u8> {
    run.request("POST /graphql", &format!("X-Merge-Approval: {token}\r\n"), ids.body(document, ""))
}

/// The claims that a refusal asks for.
async fn wanted(run: &mut Run, ids: &Ids, document: &str) -> Value {
    let bytes = run.request("POST /graphql", "", ids.body(document, ""));
    let answer = run.attack("without an approval", &bytes).await;
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["tollgate"]["approval"].clone()
}

#[tokio::test]
async fn no_approval_is_good_for_another_mutation() {
    let mut run = Run::on(setup("signed")).await;
    let ids = Ids::learn(&mut run).await;
    let claims = wanted(&mut run, &ids, MERGE).await;
    for (name, document) in OTHERS {
        let bytes = with(&run, &ids, document, &sign(&filled(&claims)));
        run.attack(name, &bytes).await;
    }
    for (key, value) in [
        ("aud", json!("other")),
        ("action", json!("auto-merge")),
        ("action", json!("review")),
        ("repo", json!("acme/gadgets")),
        ("pull_number", json!(77)),
        ("pull_number", json!("76")),
        ("head_sha", json!("0".repeat(39))),
        ("head_sha", Value::Null),
    ] {
        let mut claims = filled(&claims);
        claims[key] = value;
        let bytes = with(&run, &ids, MERGE, &sign(&claims));
        run.attack(&format!("{key} {}", claims[key]), &bytes).await;
    }
    let tag = wanted(&mut run, &ids, TAG).await;
    for document in [TAG.replace("v9", "v8"), TAG.replace("createRef", "x: createRef"), MERGE.to_owned()] {
        let bytes = with(&run, &ids, &document, &sign(&filled(&tag)));
        run.attack("a tag's approval", &bytes).await;
    }
    run.finish(23).await;
}

#[tokio::test]
async fn an_approval_lands_one_commit_once() {
    let mut run = Run::on(setup("signed")).await;
    let ids = Ids::learn(&mut run).await;
    let claims = wanted(&mut run, &ids, MERGE).await;
    let early = sign(&filled(&claims));
    let mut elsewhere = filled(&claims);
    elsewhere["head_sha"] = json!("0".repeat(40));
    let elsewhere = sign(&elsewhere);
    let push = |text: &str| {
        run.tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "x.txt", text)).unwrap()
    };
    push("unseen");
    for token in [&early, &elsewhere] {
        run.deliver(&[&with(&run, &ids, MERGE, token)]).await;
    }
    assert!(run.tollgate.sim.books().merges.is_empty());
    run.arrivals();
    let token = sign(&filled(&wanted(&mut run, &ids, MERGE).await));
    let bytes = with(&run, &ids, MERGE, &token);
    run.deliver(&[&bytes]).await;
    assert_eq!(run.judge_arrivals("approved"), Meaning::Merge);
    let aliased = MERGE.replace("mergePull", "again: mergePull");
    let queued = MERGE.replace("mergePull", "enqueuePull");
    for document in [MERGE, &aliased, &queued] {
        for token in [&early, &elsewhere, &token] {
            run.deliver(&[&with(&run, &ids, document, token)]).await;
            assert_eq!(run.judge_arrivals("again"), Meaning::Nothing);
        }
    }
    assert_eq!(run.tollgate.sim.books().merges.len(), 1);
}
