//! Refs, commits and deployments.

use super::*;
use crate::client::minted;

const ZEROS: &str = "0000000000000000000000000000000000000000";

#[tokio::test]
async fn refs_are_made_moved_and_deleted() {
    let world = World::new().await;
    let (main, release) = (world.tip("main").unwrap(), world.tip("release").unwrap());
    let input = json!({"repositoryId": "R_kgDO2001", "name": "refs/heads/new", "oid": main});
    let made = world
        .done(
            "createRef",
            input.clone(),
            "ref { id name prefix target { oid } repository { nameWithOwner } }",
        )
        .await;
    let id = made["ref"]["id"].clone();
    let expected = json!({
        "id": world.branch_id("new").await, "name": "new", "prefix": "refs/heads/",
        "target": {"oid": main}, "repository": {"nameWithOwner": REPOSITORY},
    });
    assert_eq!(made["ref"], expected);
    let known = "A ref named \"refs/heads/new\" already exists in the repository.";
    assert_eq!(world.refused("createRef", input).await, unprocessable(known));
    let bare = json!({"repositoryId": "R_kgDO2001", "name": "new2", "oid": main});
    assert_eq!(world.refused("createRef", bare).await.0, "UNPROCESSABLE");
    let moved = world.done("updateRef", json!({"refId": id, "oid": release}), "ref { target { oid } }").await;
    assert_eq!(moved["ref"]["target"]["oid"], json!(release));
    let back = json!({"refId": id, "oid": main});
    assert_eq!(world.refused("updateRef", back).await, unprocessable("Update is not a fast forward"));
    world.done("updateRef", json!({"refId": id, "oid": main, "force": true}), "clientMutationId").await;
    assert_eq!(world.tip("new"), Some(main));
    world.done("deleteRef", json!({"refId": id}), "clientMutationId").await;
    assert_eq!(world.tip("new"), None);
    assert_eq!(world.refused("deleteRef", json!({"refId": id})).await.0, "NOT_FOUND");
    let branch = world.branch_id("feature/x").await;
    world.done("deleteRef", json!({"refId": branch}), "clientMutationId").await;
    assert_eq!(world.read("/pulls/76").await["state"], "closed");
}

#[tokio::test]
async fn several_refs_move_together_or_not_at_all() {
    let world = World::new().await;
    let (main, release) = (world.tip("main").unwrap(), world.tip("release").unwrap());
    let update = |name: &str, after: &str| json!({"name": format!("refs/heads/{name}"), "afterOid": after});
    let input = |updates: Vec<Value>| json!({"repositoryId": "R_kgDO2001", "refUpdates": updates});
    let mut wrong = update("release", &release);
    wrong["beforeOid"] = json!(main);
    for refused in [
        vec![update("made", &main), wrong],
        vec![update("made", &main), update("feature/x", &main)],
        vec![update("made", &main), update("none", ZEROS)],
        vec![update("made", &main), update("made", ZEROS)],
    ] {
        assert_eq!(world.refused("updateRefs", input(refused)).await.0, "UNPROCESSABLE");
        assert_eq!(world.tip("made"), None);
    }
    let mut forced = update("feature/x", &main);
    forced["force"] = json!(true);
    forced["beforeOid"] = json!(world.tip("feature/x"));
    let mut made = update("made", &release);
    made["beforeOid"] = json!(ZEROS);
    let done = input(vec![made, forced, update("100%done", ZEROS)]);
    world.done("updateRefs", done, "clientMutationId").await;
    assert_eq!((world.tip("made"), world.tip("feature/x")), (Some(release), Some(main)));
    assert_eq!(world.tip("100%done"), None);
}

#[tokio::test]
async fn commits_change_files_where_they_are_expected_to() {
    let world = World::new().await;
    let head = world.tip("feature/x").unwrap();
    let changes = json!({
        "additions": [{"path": "a/b.txt", "contents": "aGk="}, {"path": "README.md", "contents": ""}],
        "deletions": [{"path": "CHANGELOG.md"}],
    });
    let message = json!({"headline": "Head", "body": "Body"});
    let input = |branch: Value, expected: &str| {
        json!({"branch": branch, "expectedHeadOid": expected,
        "message": message, "fileChanges": changes})
    };
    let named = json!({"repositoryNameWithOwner": "Acme/Widgets", "branchName": "refs/heads/feature/x"});
    let selection = "commit { oid message author { name } } ref { name target { oid } }";
    let done = world.done("createCommitOnBranch", input(named, &head), selection).await;
    let tip = world.tip("feature/x").unwrap();
    assert_eq!(done["commit"]["oid"], json!(tip));
    assert_eq!(done["commit"]["message"], "Head\n\nBody");
    assert_eq!(done["ref"], json!({"name": "feature/x", "target": {"oid": tip}}));
    assert_eq!(world.read("/pulls/76").await["head"]["sha"], json!(tip));
    let file = world.read("/contents/a/b.txt?ref=feature/x").await;
    assert_eq!(file["content"].as_str().unwrap().trim(), "aGk=");
    assert_eq!(world.read("/contents/CHANGELOG.md?ref=feature/x").await["message"], "Not Found");
    let id = json!({"id": world.branch_id("feature/x").await});
    let (kind, text) = world.refused("createCommitOnBranch", input(id.clone(), &head)).await;
    assert_eq!(kind, "STALE_DATA");
    assert_eq!(text, format!("Expected branch to point to \"{head}\" but it did not.  Pull and try again."));
    let (kind, text) = world.refused("createCommitOnBranch", input(id, &tip)).await;
    assert_eq!(kind, "UNPROCESSABLE", "the deleted file is gone: {text}");
    assert_eq!(world.tip("feature/x"), Some(tip));
}

#[tokio::test]
async fn workflows_take_their_own_permission() {
    let mut world = World::new().await;
    let body = json!({"permissions": {"contents": "write"}, "repositories": ["widgets"]});
    world.token = minted(&world.sim, 1001, &body).await;
    let changes = json!({"additions": [{"path": ".github/workflows/x.yml", "contents": ""}]});
    let branch = json!({"repositoryNameWithOwner": REPOSITORY, "branchName": "release"});
    let head = world.tip("release");
    let input = json!({"branch": branch, "expectedHeadOid": head, "message": {"headline": "h"},
        "fileChanges": changes});
    let (kind, message) = world.refused("createCommitOnBranch", input).await;
    assert_eq!((kind.as_str(), message.as_str()), ("FORBIDDEN", "Resource not accessible by integration"));
    assert_eq!(world.tip("release"), head);
}

#[tokio::test]
async fn branches_for_issues_and_deployments_of_refs() {
    let world = World::new().await;
    let main = world.tip("main");
    let input = json!({"issueId": "I_kwDO200100005", "oid": main});
    let done = world
        .done("createLinkedBranch", input, "issue { number } linkedBranch { ref { name target { oid } } }")
        .await;
    let linked = json!({"ref": {"name": "5-issue-number-5", "target": {"oid": main}}});
    assert_eq!(done, json!({"issue": {"number": 5}, "linkedBranch": linked}));
    let elsewhere =
        json!({"issueId": "I_kwDO200100005", "oid": main, "repositoryId": "R_kgDO2301", "name": "x"});
    assert_eq!(world.refused("createLinkedBranch", elsewhere).await.0, "FORBIDDEN");
    let input = json!({"repositoryId": "R_kgDO2001", "refId": world.branch_id("release").await,
        "environment": "staging"});
    let done = world
        .done("createDeployment", input, "deployment { environment commitOid ref { name } } autoMerged")
        .await;
    let deployment =
        json!({"environment": "staging", "commitOid": world.tip("release"), "ref": {"name": "release"}});
    assert_eq!(done, json!({"deployment": deployment, "autoMerged": false}));
    assert_eq!(world.read("/deployments").await[0]["environment"], "staging");
}
