//! Issues, pull requests, reviews and statuses: what is written is read back.

use serde_json::{Value, json};

use crate::client::{call, config, start};

#[tokio::test]
async fn issues_are_created_changed_and_commented() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let send = |method: &'static str, path: &str, body: Value| {
        let path = format!("/repos/acme/gadgets{path}");
        call(&sim, method, &path).token(&token).json(&body).send()
    };
    let made = send("POST", "/issues", json!({"title": "one", "labels": ["bug"]})).await;
    assert_eq!((made.status, &made.json()["number"]), (201, &json!(4)));
    assert!(made.header("location").ends_with("/repos/acme/gadgets/issues/4"));
    assert_eq!(made.json()["user"]["type"], "Bot");
    let closed = send("PATCH", "/issues/4", json!({"state": "closed", "title": "two"})).await.json();
    assert_eq!((&closed["state"], &closed["title"]), (&json!("closed"), &json!("two")));
    let comment = send("POST", "/issues/4/comments", json!({"body": "hm"})).await;
    assert_eq!(comment.status, 201);
    let url = comment.json()["url"].as_str().unwrap().to_owned();
    let comment = crate::client::to("GET", &url).token(&token).send().await;
    assert_eq!(comment.json()["body"], "hm");
    let labels = send("POST", "/issues/4/labels", json!({"labels": ["enhancement"]})).await;
    assert_eq!(labels.json().as_array().unwrap().len(), 2);
    assert_eq!(send("POST", "/issues", json!({})).await.status, 422);
    let broken = call(&sim, "POST", "/repos/acme/gadgets/issues").token(&token).text("{");
    assert_eq!(broken.send().await.message(), "Problems parsing JSON");
    let bugs = send("GET", "/issues?state=closed&labels=bug", json!({})).await;
    assert_eq!(bugs.json()[0]["number"], 4);
}

#[tokio::test]
async fn pull_requests_are_merged_only_as_they_were_seen() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let send = |method: &'static str, path: &str, body: Value| {
        let path = format!("/repos/acme/widgets{path}");
        call(&sim, method, &path).token(&token).json(&body).send()
    };
    let head = send("GET", "/pulls/76", json!({})).await.json()["head"]["sha"].clone();
    assert_eq!(send("GET", "/pulls/76/merge", json!({})).await.status, 404);
    let moved = sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "late.txt", "x"));
    let refused = send("PUT", "/pulls/76/merge", json!({"sha": head})).await;
    assert_eq!(refused.status, 409);
    assert!(refused.message().starts_with("Head branch was modified"));
    assert!(sim.books().merges.is_empty());
    let merged = send("PUT", "/pulls/76/merge", json!({"sha": moved})).await;
    assert_eq!((merged.status, &merged.json()["merged"]), (200, &json!(true)));
    assert_eq!(send("GET", "/pulls/76/merge", json!({})).await.status, 204);
    assert_eq!(send("PUT", "/pulls/76/merge", json!({})).await.status, 405);
    let after = send("GET", "/pulls/76", json!({})).await.json();
    assert_eq!((&after["state"], &after["merged"]), (&json!("closed"), &json!(true)));
    assert_eq!(send("GET", "/contents/late.txt", json!({})).await.status, 200);
    let body = json!({"title": "d", "head": "100%done", "base": "main", "draft": true});
    let draft = send("POST", "/pulls", body).await;
    assert_eq!((draft.status, &draft.json()["draft"]), (201, &json!(true)));
    assert_eq!(send("PUT", "/pulls/78/merge", json!({})).await.status, 405);
    let later = send("PUT", "/pulls/77/merge-async", json!({})).await;
    assert_eq!((later.status, &later.json()["status"]), (202, &json!("pending")));
    let uuid = later.json()["details"]["uuid"].as_str().unwrap().to_owned();
    let result = send("GET", &format!("/pulls/77/merge-async/{uuid}"), json!({})).await;
    assert_eq!(result.json()["status"], "merged");
    let branches = send("POST", "/merges", json!({"base": "release", "head": "main"})).await;
    assert_eq!(branches.status, 201);
    let merges = sim.books().merges;
    assert_eq!(merges.iter().map(|merge| merge.pull).collect::<Vec<_>>(), [Some(76), Some(77), None]);
    assert_eq!(merges[0].by, "PUT /repos/{owner}/{repo}/pulls/{number}/merge");
}

#[tokio::test]
async fn reviews_statuses_and_checks_are_kept() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let send = |method: &'static str, path: &str, body: Value| {
        let path = format!("/repos/acme/widgets{path}");
        call(&sim, method, &path).token(&token).json(&body).send()
    };
    for (event, state) in [
        (json!({"body": "b"}), "PENDING"),
        (json!({"body": "b", "event": "COMMENT"}), "COMMENTED"),
        (json!({"event": "APPROVE"}), "APPROVED"),
        (json!({"event": "REQUEST_CHANGES", "body": "b"}), "CHANGES_REQUESTED"),
    ] {
        let answer = send("POST", "/pulls/76/reviews", event).await;
        assert_eq!((answer.status, &answer.json()["state"]), (200, &json!(state)));
    }
    let first = send("GET", "/pulls/76/reviews", json!({})).await.json()[0]["id"].clone();
    let submitted = send("POST", &format!("/pulls/76/reviews/{first}/events"), json!({"event": "APPROVE"}));
    assert_eq!(submitted.await.json()["state"], "APPROVED");
    let head = send("GET", "/pulls/76", json!({})).await.json()["head"]["sha"].clone();
    let head = head.as_str().unwrap();
    let status = json!({"state": "success", "context": "ci"});
    assert_eq!(send("POST", &format!("/statuses/{head}"), status).await.status, 201);
    let combined = send("GET", &format!("/commits/{head}/status"), json!({})).await.json();
    assert_eq!((&combined["state"], &combined["total_count"]), (&json!("success"), &json!(1)));
    let run = json!({"name": "ci", "head_sha": head, "conclusion": "success"});
    assert_eq!(send("POST", "/check-runs", run).await.status, 201);
    let runs = send("GET", &format!("/commits/{head}/check-runs"), json!({})).await.json();
    assert_eq!(runs["check_runs"][0]["conclusion"], "success");
    // What protects it in the older way is no rule.
    assert_eq!(send("GET", "/rules/branches/main", json!({})).await.json(), json!([]));
    assert_eq!(send("GET", "/branches/main", json!({})).await.json()["protected"], true);
}
