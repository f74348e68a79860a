//! Issues, comments, labels, assignees and reactions.

use super::*;

const ISSUE: &str = "I_kwDO200100005";

#[tokio::test]
async fn issues_are_opened_changed_and_closed() {
    let world = World::new().await;
    let label = world.label_id("bug").await;
    let input = json!({"repositoryId": "R_kgDO2001", "title": "t", "body": "b", "labelIds": [label],
        "assigneeIds": ["U_kgDO9001"]});
    let selection = "issue { id number title url state labels(first: 9) { nodes { name } } repository {
        nameWithOwner } }";
    let made = world.done("createIssue", input, selection).await["issue"].clone();
    let expected = json!({
        "id": "I_kwDO200100078", "number": 78, "title": "t", "state": "OPEN",
        "url": "https://github.com/acme/widgets/issues/78",
        "labels": {"nodes": [{"name": "bug"}]}, "repository": {"nameWithOwner": REPOSITORY},
    });
    assert_eq!(made, expected);
    assert_eq!(world.read("/issues/78").await["assignees"][0]["login"], "sim-user");
    let input = json!({"id": made["id"], "title": "u", "state": "CLOSED", "labelIds": []});
    let changed =
        world.done("updateIssue", input, "issue { title body state labels(first: 1) { totalCount } }").await;
    let expected = json!({"title": "u", "body": "b", "state": "CLOSED", "labels": {"totalCount": 0}});
    assert_eq!(changed["issue"], expected);
    let id = json!({"issueId": made["id"]});
    let open = world.done("reopenIssue", id.clone(), "issue { state closed }").await;
    assert_eq!(open["issue"], json!({"state": "OPEN", "closed": false}));
    let closed = world.done("closeIssue", id, "issue { state stateReason }").await;
    assert_eq!(closed["issue"], json!({"state": "CLOSED", "stateReason": "COMPLETED"}));
    let input = json!({"repositoryId": "R_kgDO2001", "title": "t", "labelIds": ["LA_kwDO1"]});
    assert_eq!(world.refused("createIssue", input).await.0, "NOT_FOUND");
    assert_eq!(world.read("/issues/79").await["message"], "Not Found");
}

#[tokio::test]
async fn comments_come_and_go() {
    let world = World::new().await;
    let selection =
        "commentEdge { cursor node { id body issue { number } author { login } } } subject { __typename id }";
    let added = world.done("addComment", json!({"subjectId": ISSUE, "body": "one"}), selection).await;
    assert_eq!(added["subject"], json!({"__typename": "Issue", "id": ISSUE}));
    let node = &added["commentEdge"]["node"];
    assert_eq!((&node["body"], &node["issue"]["number"]), (&json!("one"), &json!(5)));
    let id = node["id"].clone();
    let input = json!({"id": id, "body": "two"});
    let changed =
        world.done("updateIssueComment", input.clone(), "issueComment { body pullRequest { id } }").await;
    assert_eq!(changed["issueComment"], json!({"body": "two", "pullRequest": null}));
    assert_eq!(world.read("/issues/5/comments").await[0]["body"], "two");
    world.done("deleteIssueComment", json!({"id": id}), "clientMutationId").await;
    assert_eq!(world.read("/issues/5/comments").await, json!([]));
    assert_eq!(world.refused("updateIssueComment", input).await.0, "NOT_FOUND");
    let on_pull = world
        .done(
            "addComment",
            json!({"subjectId": PULL, "body": "x"}),
            "commentEdge { node { pullRequest { number } } }",
        )
        .await;
    assert_eq!(on_pull["commentEdge"]["node"]["pullRequest"]["number"], 76);
}

#[tokio::test]
async fn labels_assignees_and_reactions() {
    let world = World::new().await;
    let (bug, enhancement) = (world.label_id("bug").await, world.label_id("enhancement").await);
    let names = "labelable { ... on PullRequest { number labels(first: 9) { nodes { name } } } }";
    let input = |ids: Value| json!({"labelableId": PULL, "labelIds": ids});
    let added = world.done("addLabelsToLabelable", input(json!([bug, enhancement])), names).await;
    let both = json!([{"name": "bug"}, {"name": "enhancement"}]);
    assert_eq!(added["labelable"]["labels"]["nodes"], both);
    let removed = world.done("removeLabelsFromLabelable", input(json!([bug])), names).await;
    assert_eq!(removed["labelable"]["labels"]["nodes"], json!([{"name": "enhancement"}]));
    // An id stays when other labels come.
    let body = json!({"name": "a-new-one"});
    call(&world.sim, "POST", "/repos/acme/widgets/labels").token(&world.token).json(&body).send().await;
    assert_eq!(world.label_id("bug").await, bug);
    let input = json!({"assignableId": ISSUE, "assigneeIds": ["U_kgDO9001"]});
    let logins = "assignable { ... on Issue { assignees(first: 9) { nodes { login } } } }";
    let assigned = world.done("addAssigneesToAssignable", input, logins).await;
    assert_eq!(assigned["assignable"]["assignees"]["nodes"], json!([{"login": "sim-user"}]));
    let input = json!({"subjectId": ISSUE, "content": "ROCKET"});
    let selection = "reaction { content user { login } } subject { ... on Issue { number reactionGroups
        { content users { totalCount } } } }";
    for _ in 0..2 {
        let done = world.done("addReaction", input.clone(), selection).await;
        assert_eq!(done["reaction"], json!({"content": "ROCKET", "user": {"login": "github-sim[bot]"}}));
        let groups = done["subject"]["reactionGroups"].as_array().unwrap();
        assert_eq!(groups[6], json!({"content": "ROCKET", "users": {"totalCount": 1}}));
    }
}
