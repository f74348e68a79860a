//! Stacks of pull requests: how they are shown and made, and that the upper ones bring the lower.

use github_sim::{Sim, World};
use serde_json::{Value, json};

use crate::client::{Answer, call, config, minted, start};

const REPOSITORY: &str = "acme/widgets";

/// Opens `release` into `feature/x` and `100%done` into `release`, on top of pull request 76.
fn open_two_more(world: &mut World) -> [u64; 3] {
    let second = world.open_pull(REPOSITORY, "release", "feature/x", "second").unwrap();
    let third = world.open_pull(REPOSITORY, "100%done", "release", "third").unwrap();
    [76, second, third]
}

/// A simulator with a stack of the pull requests 76, 78 and 79.
async fn stacked() -> (Sim, String) {
    let sim = start(config()).await;
    let numbers = sim.edit(open_two_more);
    assert_eq!(numbers, [76, 78, 79]);
    assert!(sim.edit(|world| world.stack(REPOSITORY, &numbers)));
    let token = sim.mint("acme");
    (sim, token)
}

async fn send(sim: &Sim, token: &str, method: &str, path: &str, body: Value) -> Answer {
    call(sim, method, &format!("/repos/{REPOSITORY}{path}")).token(token).json(&body).send().await
}

fn merged(sim: &Sim) -> Vec<Option<u64>> {
    sim.books().merges.iter().map(|merge| merge.pull).collect()
}

#[tokio::test]
async fn pull_requests_tell_their_stack() {
    let (sim, token) = stacked().await;
    let main = sim.edit(|world| world.branch_tip(REPOSITORY, "main"));
    let read = async |path: &str| send(&sim, &token, "GET", path, json!({})).await.json();
    let second = read("/pulls/78").await["stack"].clone();
    assert_eq!(second["base"], json!({"ref": "main", "sha": main}));
    assert_eq!((&second["size"], &second["position"], &second["number"]), (&json!(3), &json!(2), &json!(1)));
    assert!(second["id"].is_u64());
    let alone = read("/pulls/77").await;
    assert!(alone.as_object().unwrap().contains_key("stack") && alone["stack"].is_null());
    let list = read("/pulls?direction=asc").await;
    let positions: Vec<&Value> =
        list.as_array().unwrap().iter().map(|pull| &pull["stack"]["position"]).collect();
    assert_eq!(positions, [&json!(1), &Value::Null, &json!(2), &json!(3)]);
    let refused = send(&sim, &token, "PATCH", "/pulls/79", json!({"base": "main"})).await;
    assert_eq!(refused.status, 422, "GitHub owns the bases of a stack");
    assert!(String::from_utf8_lossy(&refused.body).contains("Cannot change the base branch"));
}

#[tokio::test]
async fn stacks_are_listed_and_read() {
    let (sim, token) = stacked().await;
    let read = async |path: &str| send(&sim, &token, "GET", path, json!({})).await;
    let list = read("/stacks?pull_request=79").await.json();
    assert_eq!(list, read("/stacks").await.json());
    assert_eq!((&list[0]["number"], &list[0]["open"]), (&json!(1), &json!(true)));
    assert_eq!(list[0]["base"], json!({"ref": "main"}));
    let head = sim.edit(|world| world.head_of(REPOSITORY, 76));
    let bottom = json!({
        "number": 76, "state": "open", "draft": false, "merged_at": null,
        "head": {"ref": "feature/x", "sha": head},
    });
    assert_eq!(list[0]["pull_requests"][0], bottom);
    assert_eq!(read("/stacks?pull_request=77").await.json(), json!([]));
    assert_eq!(read("/stacks?pull_request=all").await.status, 422);
    let stack = read("/stacks/1").await.json();
    let numbers: Vec<&Value> =
        stack["pull_requests"].as_array().unwrap().iter().map(|pull| &pull["number"]).collect();
    assert_eq!(numbers, [76, 78, 79]);
    assert_eq!(stack["pull_requests"][1]["base"]["ref"], "feature/x");
    assert_eq!(stack["pull_requests"][1]["head"]["repo"]["name"], "widgets");
    assert_eq!(read("/stacks/2").await.status, 404);
    for number in [77, 78] {
        assert!(!sim.edit(|world| world.stack(REPOSITORY, &[number, 78])), "taken or twice");
    }
    assert!(!sim.edit(|world| world.stack(REPOSITORY, &[1])), "an issue");
}

#[tokio::test]
async fn stacks_are_made_of_a_chain_of_pull_requests() {
    let sim = start(config()).await;
    sim.edit(open_two_more);
    let token = sim.mint("acme");
    let post =
        async |numbers: Value| send(&sim, &token, "POST", "/stacks", json!({"pull_requests": numbers})).await;
    for (numbers, message) in [
        (json!([76]), "Invalid request."),
        (json!(["76", "78"]), "Invalid request."),
        (json!(null), "Invalid request."),
        (json!([76, 500, 1]), "Validation Failed"),
        (json!([78, 76]), "Pull requests must form a stack"),
        (json!([76, 76]), "Pull request #76 is already part of a stack"),
    ] {
        let refused = post(numbers.clone()).await;
        assert_eq!(refused.status, 422, "{numbers}");
        assert!(refused.message().starts_with(message), "{numbers}: {refused:?}");
    }
    assert_eq!(post(json!([76, 500, 1])).await.json()["errors"][0]["value"], json!([500, 1]));
    let made = post(json!([76, 78])).await;
    assert_eq!((made.status, &made.json()["number"]), (201, &json!(1)));
    assert!(made.header("location").ends_with("/repos/acme/widgets/stacks/1"));
    let again = post(json!([78, 79])).await;
    assert_eq!(again.message(), "Pull request #78 is already part of a stack");
    let reader = minted(&sim, 1001, &json!({"permissions": {"pull_requests": "read"}})).await;
    assert_eq!(send(&sim, &reader, "GET", "/stacks", json!({})).await.status, 200);
    let body = json!({"pull_requests": [76, 78]});
    assert_eq!(send(&sim, &reader, "POST", "/stacks", body).await.status, 403);
}

#[tokio::test]
async fn an_asynchronous_merge_brings_those_below_along() {
    let (sim, token) = stacked().await;
    let pinned = sim.edit(|world| world.head_of(REPOSITORY, 78));
    // Somebody pushes to the lower one: the pin of the upper one does not notice.
    sim.edit(|world| world.push_commit(REPOSITORY, "feature/x", "unseen.txt", "x")).unwrap();
    let stale = send(&sim, &token, "PUT", "/pulls/78/merge-async", json!({"sha": "0".repeat(40)})).await;
    assert_eq!((stale.status, merged(&sim)), (409, vec![]));
    let answer = send(&sim, &token, "PUT", "/pulls/78/merge-async", json!({"sha": pinned})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("pending")));
    assert_eq!(answer.json()["details"]["expected_head_sha"], json!(pinned));
    assert_eq!(merged(&sim), [Some(76), Some(78)]);
    assert_eq!(sim.books().merges[0].by, "PUT /repos/{owner}/{repo}/pulls/{number}/merge-async");
    assert_eq!(send(&sim, &token, "GET", "/contents/unseen.txt?ref=main", json!({})).await.status, 200);
    let tip = sim.edit(|world| world.branch_tip(REPOSITORY, "main"));
    assert_eq!(tip.as_ref(), Some(&sim.books().merges[1].sha));
    let again = send(&sim, &token, "PUT", "/pulls/78/merge-async", json!({})).await.json();
    assert_eq!((&again["status"], &again["details"]["sha"]), (&json!("merged"), &json!(tip)));
    let top = send(&sim, &token, "GET", "/pulls/79", json!({})).await.json();
    assert_eq!((&top["state"], &top["base"]["ref"]), (&json!("open"), &json!("main")), "retargeted");
    assert_eq!((&top["stack"]["position"], &top["stack"]["size"]), (&json!(3), &json!(3)));
    let last = send(&sim, &token, "PUT", "/pulls/79/merge", json!({})).await;
    assert_eq!((last.status, merged(&sim).last()), (200, Some(&Some(79))));
    let stack = send(&sim, &token, "GET", "/stacks/1", json!({})).await.json();
    assert_eq!(stack["open"], false);
}

#[tokio::test]
async fn a_plain_merge_takes_the_lowest_only() {
    let (sim, token) = stacked().await;
    for number in [79, 78] {
        let refused = send(&sim, &token, "PUT", &format!("/pulls/{number}/merge"), json!({})).await;
        assert_eq!(refused.status, 405);
        assert!(refused.message().contains("asynchronous merge REST API"), "{refused:?}");
    }
    assert!(merged(&sim).is_empty());
    for number in [76, 78] {
        let lowest = send(&sim, &token, "PUT", &format!("/pulls/{number}/merge"), json!({})).await;
        assert_eq!(lowest.status, 200);
    }
    assert_eq!(merged(&sim), [Some(76), Some(78)]);
    assert_eq!(send(&sim, &token, "GET", "/contents/work-1.txt", json!({})).await.status, 200, "on main");
}

#[tokio::test]
async fn a_stack_is_merged_whole_or_not_at_all() {
    let (sim, token) = stacked().await;
    let main = sim.edit(|world| world.branch_tip(REPOSITORY, "main"));
    // The top cannot be merged: it and the bottom add the same file.
    for branch in ["feature/x", "100%done"] {
        sim.edit(|world| world.push_commit(REPOSITORY, branch, "same.txt", branch)).unwrap();
    }
    let refused = send(&sim, &token, "PUT", "/pulls/79/merge-async", json!({})).await;
    assert_eq!((refused.status, merged(&sim)), (405, vec![]));
    assert_eq!(sim.edit(|world| world.branch_tip(REPOSITORY, "main")), main);
    let bottom = send(&sim, &token, "GET", "/pulls/76", json!({})).await.json();
    assert_eq!((&bottom["state"], &bottom["merged"]), (&json!("open"), &json!(false)));
    send(&sim, &token, "PATCH", "/pulls/76", json!({"state": "closed"})).await;
    let blocked = send(&sim, &token, "PUT", "/pulls/78/merge-async", json!({})).await;
    assert_eq!((blocked.status, &blocked.json()["status"]), (400, &json!("failed")));
    assert_eq!(send(&sim, &token, "PUT", "/pulls/78/merge", json!({})).await.status, 405);
    assert!(merged(&sim).is_empty());
}
