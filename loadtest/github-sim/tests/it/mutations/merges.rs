//! Merging, at once and later.

use super::*;

#[tokio::test]
async fn merges_only_the_head_that_is_expected() {
    let world = World::new().await;
    let head = world.tip("feature/x").unwrap();
    world.sim.edit(|found| found.push_commit(REPOSITORY, "feature/x", "late.txt", "x"));
    let message = "Head branch was modified. Review and try the merge again.";
    for mutation in ["mergePullRequest", "enqueuePullRequest", "enablePullRequestAutoMerge"] {
        let input = json!({"pullRequestId": PULL, "expectedHeadOid": head});
        assert_eq!(world.refused(mutation, input).await, unprocessable(message), "{mutation}");
    }
    assert!(world.merges().is_empty());
    let input = json!({
        "pullRequestId": PULL, "expectedHeadOid": world.tip("feature/x"), "clientMutationId": "id",
        "commitHeadline": "Headline", "commitBody": "Body", "mergeMethod": "SQUASH",
    });
    let selection = "clientMutationId pullRequest { number state merged mergeCommit { oid message }
        repository { nameWithOwner } }";
    let done = world.done("mergePullRequest", input.clone(), selection).await;
    let tip = world.tip("main").unwrap();
    let expected = json!({
        "number": 76, "state": "MERGED", "merged": true,
        "mergeCommit": {"oid": tip, "message": "Headline\n\nBody"},
        "repository": {"nameWithOwner": REPOSITORY},
    });
    assert_eq!(done, json!({"clientMutationId": "id", "pullRequest": expected}));
    assert_eq!(world.merges(), [(Some(76), "mutation mergePullRequest".to_owned())]);
    assert_eq!(world.sim.books().merges[0].sha, tip);
    assert_eq!(
        world.refused("mergePullRequest", input).await,
        unprocessable("Pull Request is already merged")
    );
    let entry = world.done(
        "enqueuePullRequest",
        json!({"pullRequestId": OTHER_PULL}),
        "mergeQueueEntry { pullRequest { merged } }",
    );
    assert_eq!(entry.await["mergeQueueEntry"]["pullRequest"]["merged"], true);
    assert_eq!(world.merges()[1], (Some(77), "mutation enqueuePullRequest".to_owned()));
}

#[tokio::test]
async fn refuses_what_is_not_ready() {
    let world = World::new().await;
    world.done("convertPullRequestToDraft", json!({"pullRequestId": PULL}), "clientMutationId").await;
    let merge = |id: &'static str| world.refused("mergePullRequest", json!({"pullRequestId": id}));
    assert_eq!(merge(PULL).await, unprocessable("Pull Request is still a draft"));
    world.done("closePullRequest", json!({"pullRequestId": PULL}), "clientMutationId").await;
    assert_eq!(merge(PULL).await, unprocessable("Pull Request is closed"));
    let upper = world.sim.edit(|found| found.open_pull(REPOSITORY, "100%done", "release", "upper")).unwrap();
    assert!(world.sim.edit(|found| found.stack(REPOSITORY, &[77, upper])));
    assert_eq!(upper, 78);
    let (_, message) = merge("PR_kwDO200100078").await;
    assert!(message.starts_with("This pull request is part of a stack"), "{message}");
    let (_, message) =
        world.refused("enablePullRequestAutoMerge", json!({"pullRequestId": OTHER_PULL})).await;
    assert!(message.contains("part of a stack"), "{message}");
    for (branch, text) in [("release", "a"), ("main", "b")] {
        world.sim.edit(|found| found.push_commit(REPOSITORY, branch, "same.txt", text));
    }
    assert_eq!(merge(OTHER_PULL).await, unprocessable("Pull Request has merge conflicts"));
    assert!(world.merges().is_empty());
}

#[tokio::test]
async fn auto_merge_waits_for_the_next_push() {
    let world = World::new().await;
    let selection = "pullRequest { autoMergeRequest { enabledBy { login } mergeMethod } }";
    let input = json!({"pullRequestId": PULL, "mergeMethod": "REBASE"});
    let done = world.done("enablePullRequestAutoMerge", input.clone(), selection).await;
    let expected = json!({"enabledBy": {"login": "github-sim[bot]"}, "mergeMethod": "REBASE"});
    assert_eq!(done["pullRequest"]["autoMergeRequest"], expected);
    let told = world.read("/pulls/76").await["auto_merge"].clone();
    assert_eq!((&told["merge_method"], &told["enabled_by"]["type"]), (&json!("rebase"), &json!("Bot")));
    let done = world.done("disablePullRequestAutoMerge", json!({"pullRequestId": PULL}), selection).await;
    assert_eq!(done["pullRequest"], json!({"autoMergeRequest": null}));
    let (kind, _) = world.refused("disablePullRequestAutoMerge", json!({"pullRequestId": PULL})).await;
    assert_eq!(kind, "UNPROCESSABLE");
    world.done("enablePullRequestAutoMerge", input, selection).await;
    assert!(world.merges().is_empty());
    // A commit by a mutation is a push.
    let head = world.tip("feature/x").unwrap();
    let change = json!({"additions": [{"path": "a.txt", "contents": "YQ=="}]});
    let branch = json!({"repositoryNameWithOwner": REPOSITORY, "branchName": "feature/x"});
    let input = json!({"branch": branch, "expectedHeadOid": head, "message": {"headline": "h"},
        "fileChanges": change});
    world.done("createCommitOnBranch", input, "clientMutationId").await;
    assert_eq!(world.merges(), [(Some(76), "auto-merge".to_owned())]);
}

#[tokio::test]
async fn branches_are_merged_into_each_other() {
    let world = World::new().await;
    let input =
        json!({"repositoryId": "R_kgDO2001", "base": "main", "head": "feature/x", "commitMessage": "m"});
    let done = world
        .done("mergeBranch", input.clone(), "mergeCommit { oid message parents(first: 2) { totalCount } }")
        .await;
    let expected = json!({"oid": world.tip("main"), "message": "m", "parents": {"totalCount": 2}});
    assert_eq!(done["mergeCommit"], expected);
    assert_eq!(world.merges(), [(None, "mutation mergeBranch".to_owned())]);
    assert_eq!(
        world.refused("mergeBranch", input).await,
        unprocessable("Failed to merge: \"Already merged\"")
    );
    let missing = json!({"repositoryId": "R_kgDO2001", "base": "none", "head": "release"});
    assert_eq!(world.refused("mergeBranch", missing).await.0, "NOT_FOUND");
    let stale = json!({"pullRequestId": OTHER_PULL, "expectedHeadOid": world.tip("main")});
    let refusal = world.refused("updatePullRequestBranch", stale).await;
    assert_eq!(refusal, unprocessable("expected head sha didn't match current head ref."));
    let before = world.tip("release");
    let input = json!({"pullRequestId": OTHER_PULL, "expectedHeadOid": before});
    let done = world.done("updatePullRequestBranch", input, "pullRequest { headRefOid }").await;
    assert_ne!(world.tip("release"), before);
    assert_eq!(done["pullRequest"]["headRefOid"], json!(world.tip("release")));
    let again = world.refused("updatePullRequestBranch", json!({"pullRequestId": OTHER_PULL})).await;
    assert_eq!(again, unprocessable("There are no new commits on the base branch."));
}
