//! Pull requests that do not wait: auto-merge, and repositories where nothing can be a draft.

use github_sim::Sim;
use serde_json::{Value, json};

use crate::client::{Answer, call, config, start};

const REPOSITORY: &str = "acme/widgets";

async fn send(sim: &Sim, method: &str, path: &str, body: Value) -> Answer {
    let token = sim.mint("acme");
    call(sim, method, &format!("/repos/{REPOSITORY}{path}")).token(&token).json(&body).send().await
}

fn switch(sim: &Sim, number: u64, is_on: bool) -> bool {
    sim.edit(|world| world.set_auto_merge(REPOSITORY, number, is_on))
}

#[tokio::test]
async fn pull_requests_tell_their_auto_merge() {
    let sim = start(config()).await;
    assert!(send(&sim, "GET", "/pulls/76", json!({})).await.json()["auto_merge"].is_null());
    assert!(switch(&sim, 76, true));
    let single = send(&sim, "GET", "/pulls/76", json!({})).await.json();
    assert_eq!(single["auto_merge"]["enabled_by"]["login"], "sim-user");
    assert_eq!(single["auto_merge"]["merge_method"], "merge");
    assert_eq!(single["auto_merge"]["commit_title"], "Merge pull request #76 from feature/x");
    assert!(single["auto_merge"]["commit_message"].is_string());
    let list = send(&sim, "GET", "/pulls?direction=asc", json!({})).await.json();
    assert_eq!((&list[0]["auto_merge"], &list[1]["auto_merge"]), (&single["auto_merge"], &Value::Null));
    assert!(switch(&sim, 76, false));
    assert!(send(&sim, "GET", "/pulls/76", json!({})).await.json()["auto_merge"].is_null());
    assert!(!switch(&sim, 1, true), "an issue");
    assert!(!switch(&sim, 500, true));
    assert!(sim.books().merges.is_empty(), "switching alone merges nothing");
}

#[tokio::test]
async fn every_kind_of_push_merges_what_has_auto_merge() {
    let file = json!({"message": "m", "content": "eA==", "branch": "feature/x"});
    let branches = json!({"base": "feature/x", "head": "release"});
    for (method, path, body) in [
        ("PUT", "/contents/new.txt", file),
        ("PATCH", "/git/refs/heads/feature/x", json!({"sha": "TIP", "force": true})),
        ("POST", "/merges", branches),
    ] {
        let sim = start(config()).await;
        assert!(switch(&sim, 76, true));
        let tip = sim.edit(|world| world.branch_tip(REPOSITORY, "release"));
        let body = serde_json::from_str(&body.to_string().replace("TIP", &tip.unwrap())).unwrap();
        assert!(send(&sim, method, path, body).await.status < 300, "{path}");
        let merges = sim.books().merges;
        let merge = merges.iter().find(|merge| merge.pull == Some(76)).unwrap();
        assert_eq!((merge.by.as_str(), merge.repository.as_str()), ("auto-merge", REPOSITORY), "{path}");
        assert_eq!(sim.edit(|world| world.branch_tip(REPOSITORY, "main")).as_ref(), Some(&merge.sha));
        let after = send(&sim, "GET", "/pulls/76", json!({})).await.json();
        assert_eq!((&after["merged"], &after["merge_commit_sha"]), (&json!(true), &json!(merge.sha)));
    }
}

#[tokio::test]
async fn pushes_from_outside_merge_and_only_what_is_ready() {
    let sim = start(config()).await;
    let body = json!({"title": "d", "head": "100%done", "base": "main", "draft": true});
    assert_eq!(send(&sim, "POST", "/pulls", body).await.status, 201);
    let push = |branch: &str, path: &str| {
        sim.edit(|world| world.push_commit(REPOSITORY, branch, path, branch)).unwrap();
        sim.books().merges.iter().map(|merge| merge.pull).collect::<Vec<_>>()
    };
    assert!(switch(&sim, 78, true));
    assert!(push("100%done", "a.txt").is_empty(), "a draft waits");
    assert!(push("feature/x", "b.txt").is_empty(), "without auto-merge");
    assert!(switch(&sim, 76, true));
    assert!(switch(&sim, 77, true));
    assert_eq!(push("feature/x", "c.txt"), [Some(76)]);
    assert_eq!(push("feature/x", "d.txt"), [Some(76)], "only once");
    assert!(!switch(&sim, 76, true), "it is closed");
    push("main", "same.txt");
    assert_eq!(push("release", "same.txt"), [Some(76)], "a conflict");
}

#[tokio::test]
async fn one_auto_merge_sets_off_the_next() {
    let sim = start(config()).await;
    let onwards = sim.edit(|world| world.open_pull(REPOSITORY, "release", "feature/x", "onwards"));
    // Into each other: were one not over before the base moves, they would merge forever.
    let back = sim.edit(|world| world.open_pull(REPOSITORY, "feature/x", "release", "back"));
    assert_eq!((onwards, back), (Some(78), Some(79)));
    for number in [76, 78, 79] {
        assert!(switch(&sim, number, true));
    }
    sim.edit(|world| world.push_commit(REPOSITORY, "release", "new.txt", "x")).unwrap();
    let pulls: Vec<_> = sim.books().merges.iter().map(|merge| merge.pull).collect();
    assert_eq!(pulls, [Some(78), Some(76), Some(79)]);
    assert_eq!(send(&sim, "GET", "/contents/new.txt", json!({})).await.status, 200);
}

#[tokio::test]
async fn stacks_have_no_auto_merge() {
    let sim = start(config()).await;
    sim.edit(|world| world.open_pull(REPOSITORY, "release", "feature/x", "second")).unwrap();
    assert!(switch(&sim, 76, true));
    assert!(sim.edit(|world| world.stack(REPOSITORY, &[76, 78])));
    assert!(!switch(&sim, 78, true));
    sim.edit(|world| world.push_commit(REPOSITORY, "feature/x", "new.txt", "x")).unwrap();
    assert!(sim.books().merges.is_empty());
    assert!(switch(&sim, 76, false));
}

#[tokio::test]
async fn a_repository_may_refuse_drafts() {
    let sim = start(config()).await;
    let body = |is_draft: bool| json!({"title": "t", "head": "100%done", "base": "main", "draft": is_draft});
    assert!(sim.edit(|world| world.forbid_drafts(REPOSITORY, true)));
    let refused = send(&sim, "POST", "/pulls", body(true)).await;
    assert_eq!(refused.status, 422);
    let expected = json!({
        "message": "Draft pull requests are not supported in this repository.",
        "documentation_url": "https://docs.github.com/rest/pulls/pulls#create-a-pull-request",
    });
    assert_eq!(refused.json(), expected);
    assert_eq!(send(&sim, "POST", "/pulls", body(false)).await.json()["number"], 78, "none was opened");
    send(&sim, "PATCH", "/pulls/78", json!({"state": "closed"})).await;
    assert!(sim.edit(|world| world.forbid_drafts(REPOSITORY, false)));
    assert_eq!(send(&sim, "POST", "/pulls", body(true)).await.status, 201);
    assert!(!sim.edit(|world| world.forbid_drafts("acme/none", true)));
}
