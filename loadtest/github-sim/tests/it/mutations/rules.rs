//! Who may do what, the order of fields, and documents that are refused.

use super::*;
use crate::client::minted;

/// A world whose token has these permissions and sees these repositories.
async fn narrowed(permissions: Value, repositories: &[&str]) -> World {
    let mut world = World::new().await;
    let body = json!({"permissions": permissions, "repositories": repositories});
    world.token = minted(&world.sim, 1001, &body).await;
    world
}

fn cases(release: &str) -> Vec<(&'static str, Value, Value)> {
    let pull = json!({"pullRequestId": PULL});
    vec![
        ("mergePullRequest", pull.clone(), json!({"contents": "write"})),
        ("enqueuePullRequest", pull.clone(), json!({"contents": "write"})),
        ("enablePullRequestAutoMerge", pull.clone(), json!({"contents": "write", "pull_requests": "write"})),
        ("closePullRequest", pull.clone(), json!({"pull_requests": "write"})),
        ("addPullRequestReview", pull, json!({"pull_requests": "write"})),
        ("createIssue", json!({"repositoryId": "R_kgDO2001", "title": "t"}), json!({"issues": "write"})),
        ("addComment", json!({"subjectId": PULL, "body": "b"}), json!({"pull_requests": "write"})),
        ("deleteRef", json!({"refId": release}), json!({"contents": "write"})),
    ]
}

#[tokio::test]
async fn takes_the_permissions_that_rest_takes() {
    let release = World::new().await.branch_id("release").await;
    let poor =
        narrowed(json!({"contents": "read", "pull_requests": "read", "issues": "read"}), &["widgets"]).await;
    for (mutation, input, permissions) in cases(&release) {
        let refusal = poor.refused(mutation, input.clone()).await;
        let expected = ("FORBIDDEN".to_owned(), "Resource not accessible by integration".to_owned());
        assert_eq!(refusal, expected, "{mutation}");
        let rich = narrowed(permissions, &["widgets"]).await;
        let done = rich.act(mutation, input, "clientMutationId").await;
        assert!(done.is_ok(), "{mutation}: {done:?}");
    }
    assert!(poor.merges().is_empty());
    assert_eq!(poor.sim.books().mutations.len(), 8, "what is refused is noted as well");
    assert!(poor.tip("release").is_some());
}

#[tokio::test]
async fn hides_what_the_token_does_not_see() {
    let release = World::new().await.branch_id("release").await;
    let blind = narrowed(json!({"contents": "write", "pull_requests": "write"}), &["gadgets"]).await;
    for (mutation, input, _) in cases(&release) {
        let (kind, message) = blind.refused(mutation, input).await;
        assert_eq!(kind, "NOT_FOUND", "{mutation}");
        assert!(message.starts_with("Could not resolve to a node with the global id of '"), "{message}");
    }
    let named = json!({"repositoryNameWithOwner": REPOSITORY, "branchName": "main"});
    let input = json!({"branch": named, "expectedHeadOid": "x", "message": {"headline": "h"}});
    let (kind, message) = blind.refused("createCommitOnBranch", input).await;
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("NOT_FOUND", "Could not resolve to a Repository with the name 'acme/widgets'.")
    );
    // Public, and not the App's: seen, and not to be changed.
    let (kind, _) = blind.refused("createIssue", json!({"repositoryId": "R_kgDO2301", "title": "t"})).await;
    assert_eq!(kind, "FORBIDDEN");
    // An issue is no pull request, and a pull request no issue.
    let world = World::new().await;
    let (kind, _) = world.refused("mergePullRequest", json!({"pullRequestId": "I_kwDO200100005"})).await;
    assert_eq!(kind, "NOT_FOUND");
    let (kind, _) = world.refused("closeIssue", json!({"issueId": PULL})).await;
    assert_eq!(kind, "NOT_FOUND");
}

#[tokio::test]
async fn fields_run_in_order_each_by_itself() {
    let world = World::new().await;
    let query = "mutation($a: ID!, $issue: AddCommentInput! = {subjectId: \"I_kwDO200100005\", body:
        \"one\"}) {
        first: addComment(input: $issue) { clientMutationId }
        bad: closeIssue(input: {issueId: \"I_x\"}) { clientMutationId }
        ...more
        again: addComment(input: {subjectId: \"I_kwDO200100005\", body: \"\"\"two\"\"\",
            clientMutationId: \"c\"}) {
            clientMutationId actor { login } subject { ... on Issue { comments(last: 9) { nodes { body
                } } } } }
        skipped: mergePullRequest(input: {pullRequestId: $a}) @skip(if: true) { clientMutationId }
        __typename
    }
    fragment more on Mutation { closePullRequest(input: {pullRequestId: $a}) { pullRequest { state } } }";
    let answer = world.send(query, json!({"a": PULL})).await;
    let data = &answer["data"];
    assert!(data["bad"].is_null());
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
    assert_eq!(data["closePullRequest"]["pullRequest"]["state"], "CLOSED");
    let expected = json!({
        "clientMutationId": "c",
        "actor": {"login": "github-sim[bot]"},
        "subject": {"comments": {"nodes": [{"body": "one"}, {"body": "two"}]}},
    });
    assert_eq!(data["again"], expected);
    assert_eq!((&data["__typename"], data.get("skipped")), (&json!("Mutation"), None));
    let noted = ["addComment", "closeIssue", "closePullRequest", "addComment"];
    assert_eq!(world.sim.books().mutations, noted);
}

#[tokio::test]
async fn one_operation_runs_and_a_field_once() {
    let world = World::new().await;
    let query = "query Look { viewer { login } }
        mutation Merge { mergePullRequest(input: {pullRequestId: \"PR_kwDO200100076\"}) { clientMutationId } }
        mutation Talk { addComment(input: {subjectId: \"I_kwDO200100005\", body: \"x\"}) { clientMutationId }
            addComment(input: {body: \"x\", subjectId: \"I_kwDO200100005\"}) { commentEdge { node {
                body } } } }";
    let send = |name: &str| {
        let body = json!({"query": query, "operationName": name});
        call(&world.sim, "POST", "/graphql").token(&world.token).json(&body).send()
    };
    assert_eq!(send("Look").await.json()["data"]["viewer"]["login"], "github-sim[bot]");
    assert_eq!(world.sim.books().writes, 0);
    let talk = send("Talk").await.json();
    let expected = json!({"clientMutationId": null, "commentEdge": {"node": {"body": "x"}}});
    assert_eq!(talk["data"]["addComment"], expected);
    assert_eq!(world.sim.books().mutations, ["addComment"]);
    assert_eq!(world.read("/issues/5/comments").await.as_array().unwrap().len(), 1);
    assert!(world.merges().is_empty());
    assert_eq!(world.sim.books().writes, 1);
    let unlike =
        "mutation { addComment(input: {subjectId: \"I_kwDO200100005\", body: \"x\"}) { clientMutationId }
        addComment(input: {subjectId: \"I_kwDO200100005\", body: \"y\"}) { clientMutationId } }";
    assert!(
        world.send(unlike, json!({})).await["errors"][0]["message"].as_str().unwrap().contains("conflict")
    );
}

#[tokio::test]
async fn unknown_mutations_refuse_the_document() {
    let world = World::new().await;
    let query = "mutation($i: X!) { m: mergePullRequest(input: $i) { clientMutationId } addStar { x } }";
    let answer = world.send(query, json!({"i": {"pullRequestId": PULL}})).await;
    let expected = json!({"errors": [{
        "path": ["mutation", "addStar"],
        "extensions": {"code": "undefinedField", "typeName": "Mutation", "fieldName": "addStar"},
        "message": "Field 'addStar' doesn't exist on type 'Mutation'",
    }]});
    assert_eq!(answer, expected);
    let books = world.sim.books();
    assert_eq!(books.mutations, ["mergePullRequest", "addStar"]);
    assert!(books.merges.is_empty());
    assert_eq!((books.writes, books.peak_points_per_minute["installation:1001 POST /graphql"]), (1, 5));
    let refused = world
        .send("mutation($i: X!) { m: mergePullRequest(input: $i) { clientMutationId } }", json!({}))
        .await;
    assert!(refused["data"].is_null());
    let (_, message) = world.refused("createRef", json!({"repositoryId": "R_kgDO2001", "oid": "x"})).await;
    assert_eq!(message, "Argument 'name' on InputObject 'CreateRefInput' is required.");
    let answer = world.send("mutation { mergePullRequest { clientMutationId } }", json!({})).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("missing required arguments: input"));
}
