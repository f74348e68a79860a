//! Pull requests and reviews.

use super::*;

#[tokio::test]
async fn pull_requests_are_opened_and_changed() {
    let world = World::new().await;
    let input = json!({
        "repositoryId": "R_kgDO2001", "headRefName": "acme:100%done", "baseRefName": "main",
        "title": "t", "body": "b", "draft": true,
    });
    let selection =
        "pullRequest { id number isDraft title body url mergeStateStatus author { __typename login } }";
    let made = world.done("createPullRequest", input.clone(), selection).await;
    let expected = json!({
        "id": "PR_kwDO200100078", "number": 78, "isDraft": true, "title": "t", "body": "b",
        "url": "https://github.com/acme/widgets/pull/78", "mergeStateStatus": "DRAFT",
        "author": {"__typename": "Bot", "login": "github-sim[bot]"},
    });
    assert_eq!(made["pullRequest"], expected);
    let known = "A pull request already exists for acme:100%done.";
    assert_eq!(world.refused("createPullRequest", input.clone()).await, unprocessable(known));
    let id = json!({"pullRequestId": "PR_kwDO200100078"});
    let ready = world.done("markPullRequestReadyForReview", id.clone(), "pullRequest { isDraft }").await;
    assert_eq!(ready["pullRequest"]["isDraft"], false);
    let label = world.label_id("bug").await;
    let changes = json!({
        "pullRequestId": "PR_kwDO200100078", "title": "u", "body": "", "baseRefName": "release",
            "state": "CLOSED",
        "labelIds": [label], "assigneeIds": ["U_kgDO9001"],
    });
    let selection = "pullRequest { title body baseRefName state labels(first: 9) { nodes { name } }
        assignees(first: 9) { nodes { login } } }";
    let changed = world.done("updatePullRequest", changes, selection).await;
    let expected = json!({
        "title": "u", "body": "", "baseRefName": "release", "state": "CLOSED",
        "labels": {"nodes": [{"name": "bug"}]}, "assignees": {"nodes": [{"login": "sim-user"}]},
    });
    assert_eq!(changed["pullRequest"], expected);
    let open = world.done("reopenPullRequest", id.clone(), "pullRequest { state title }").await;
    assert_eq!(open["pullRequest"], json!({"state": "OPEN", "title": "u"}));
    let closed = world.done("closePullRequest", id.clone(), "pullRequest { closed }").await;
    assert_eq!(closed["pullRequest"]["closed"], true);
    world.sim.edit(|found| found.delete_branch(REPOSITORY, "100%done"));
    assert_eq!(
        world.refused("reopenPullRequest", id).await,
        unprocessable("Could not open the pull request.")
    );
    let (_, message) = world.refused("createPullRequest", input).await;
    assert!(message.contains("Head ref must be a branch"), "{message}");
    let bad = json!({"pullRequestId": PULL, "baseRefName": "none"});
    assert_eq!(world.refused("updatePullRequest", bad).await.0, "UNPROCESSABLE");
}

#[tokio::test]
async fn drafts_may_be_forbidden() {
    let world = World::new().await;
    assert!(world.sim.edit(|found| found.forbid_drafts(REPOSITORY, true)));
    let refusal = unprocessable("Draft pull requests are not supported in this repository.");
    let input = json!({"repositoryId": "R_kgDO2001", "headRefName": "100%done", "baseRefName": "main",
        "title": "t", "draft": true});
    assert_eq!(world.refused("createPullRequest", input).await, refusal);
    assert_eq!(world.refused("convertPullRequestToDraft", json!({"pullRequestId": PULL})).await, refusal);
    assert_eq!(world.read("/pulls/76").await["draft"], false);
}

#[tokio::test]
async fn reviews_are_added_submitted_and_dismissed() {
    let world = World::new().await;
    let selection = "pullRequestReview { id state body author { login } commit { oid } pullRequest {
        number reviewDecision } repository { name } }";
    let input = json!({"pullRequestId": PULL, "body": "b", "event": "REQUEST_CHANGES",
        "comments": [{"body": "here", "path": "x"}]});
    let added = world.done("addPullRequestReview", input, selection).await["pullRequestReview"].clone();
    assert_eq!((&added["state"], &added["body"]), (&json!("CHANGES_REQUESTED"), &json!("b")));
    assert_eq!(added["commit"]["oid"], json!(world.tip("feature/x")));
    assert_eq!(added["pullRequest"], json!({"number": 76, "reviewDecision": "CHANGES_REQUESTED"}));
    assert_eq!(world.read("/pulls/76/comments").await[0]["body"], "here");
    assert_eq!(world.read("/pulls/76/reviews").await[0]["node_id"], added["id"]);
    let input = json!({"pullRequestReviewId": added["id"], "message": "no more"});
    let dismissed = world.done("dismissPullRequestReview", input.clone(), selection).await;
    assert_eq!(dismissed["pullRequestReview"]["state"], "DISMISSED");
    assert_eq!(world.refused("dismissPullRequestReview", input).await.0, "UNPROCESSABLE");
    let pending = world.done("addPullRequestReview", json!({"pullRequestId": PULL}), selection).await;
    assert_eq!(pending["pullRequestReview"]["state"], "PENDING");
    let input = json!({"pullRequestId": PULL, "event": "APPROVE", "body": "fine"});
    let submitted =
        world.done("submitPullRequestReview", input.clone(), selection).await["pullRequestReview"].clone();
    assert_eq!(submitted["id"], pending["pullRequestReview"]["id"]);
    assert_eq!((&submitted["state"], &submitted["body"]), (&json!("APPROVED"), &json!("fine")));
    assert_eq!(world.refused("submitPullRequestReview", input).await.0, "NOT_FOUND");
    let again = json!({"pullRequestReviewId": submitted["id"], "event": "APPROVE"});
    assert_eq!(world.refused("submitPullRequestReview", again).await.0, "UNPROCESSABLE");
    let reviews =
        "pullRequest { reviewRequests(first: 9) { nodes { requestedReviewer { ... on User { login } } } } }";
    let input = json!({"pullRequestId": PULL, "userIds": ["U_kgDO9001"], "union": true});
    let requested = world.done("requestReviews", input, reviews).await;
    let nodes = json!([{"requestedReviewer": {"login": "sim-user"}}]);
    assert_eq!(requested["pullRequest"]["reviewRequests"]["nodes"], nodes);
    world.done("requestReviews", json!({"pullRequestId": PULL, "userIds": []}), "clientMutationId").await;
    assert_eq!(world.read("/pulls/76/requested_reviewers").await["users"], json!([]));
}
