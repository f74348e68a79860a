//! The control port's hands in the world.

use github_sim::Sim;
use serde_json::{Value, json};

use crate::client::{Answer, call, config, start, to};

async fn change(sim: &Sim, what: &str, mut body: Value) -> Answer {
    if body["repository"].is_null() {
        body["repository"] = json!("acme/widgets");
    }
    to("POST", &format!("{}/world/{what}", sim.control_url())).json(&body).send().await
}

async fn read(sim: &Sim, path: &str) -> Value {
    call(sim, "GET", &format!("/repos/acme/widgets{path}")).token(&sim.mint("acme")).send().await.json()
}

#[tokio::test]
async fn pull_requests_are_opened_stacked_and_merged_by_a_push() {
    let sim = start(config()).await;
    let pull = json!({"head": "release", "base": "feature/x", "title": "second"});
    assert_eq!(change(&sim, "pull", pull.clone()).await.json(), json!({"number": 78}));
    assert_eq!(change(&sim, "pull", pull).await.status, 404, "it is open");
    assert_eq!(change(&sim, "stack", json!({"numbers": [76, 78]})).await.status, 200);
    assert_eq!(read(&sim, "/pulls/78").await["stack"]["position"], 2);
    assert_eq!(change(&sim, "stack", json!({"numbers": [77, "x"]})).await.status, 404);
    assert_eq!(change(&sim, "auto_merge", json!({"number": 77})).await.status, 200);
    assert!(read(&sim, "/pulls/77").await["auto_merge"].is_object());
    assert_eq!(change(&sim, "auto_merge", json!({"number": 77, "on": false})).await.status, 200);
    assert!(read(&sim, "/pulls/77").await["auto_merge"].is_null());
    assert_eq!(change(&sim, "auto_merge", json!({"number": 77, "on": true})).await.status, 200);
    let push = json!({"branch": "release", "path": "x", "content": "y"});
    assert_eq!(change(&sim, "push", push).await.status, 200);
    let merges = sim.books().merges;
    assert_eq!((merges.len(), merges[0].pull, merges[0].by.as_str()), (1, Some(77), "auto-merge"));
}

#[tokio::test]
async fn branches_and_drafts_are_switched() {
    let sim = start(config()).await;
    for (what, body) in [
        ("protect", json!({"branch": "release"})),
        ("protect", json!({"branch": "main", "on": false})),
        ("rule", json!({"branch": "not-yet", "type": "pull_request"})),
        ("default_branch", json!({"branch": "release"})),
        ("drafts", json!({})),
        ("issue", json!({"number": 1, "title": "Another"})),
    ] {
        assert_eq!(change(&sim, what, body).await.status, 200, "{what}");
    }
    assert_eq!(read(&sim, "/branches/release").await["protected"], true);
    assert_eq!(read(&sim, "/branches/main").await["protected"], false);
    assert_eq!(read(&sim, "/rules/branches/not-yet").await[0]["type"], "pull_request");
    assert_eq!(read(&sim, "").await["default_branch"], "release");
    assert_eq!(read(&sim, "/issues/1").await["title"], "Another");
    let body = json!({"title": "t", "head": "100%done", "base": "main", "draft": true});
    let post = async || {
        let post = call(&sim, "POST", "/repos/acme/widgets/pulls").token(&sim.mint("acme"));
        post.json(&body).send().await.status
    };
    assert_eq!(post().await, 422);
    assert_eq!(change(&sim, "drafts", json!({"forbidden": false})).await.status, 200);
    assert_eq!(post().await, 201);
    for what in ["protect", "default_branch", "rule", "unheard", "pull", "stack", "auto_merge"] {
        assert_eq!(change(&sim, what, json!({})).await.status, 404, "{what}");
    }
    let elsewhere = json!({"repository": "acme/none"});
    assert_eq!(change(&sim, "drafts", elsewhere).await.status, 404);
}

/// Its own member and the one that says how long a fault lasts are two.
#[tokio::test]
async fn the_clock_is_put_back_and_forth() {
    let sim = start(config()).await;
    let date = async || {
        let read = call(&sim, "GET", "/repos/acme/widgets").token(&sim.mint("acme"));
        read.send().await.header("date").to_owned()
    };
    assert_eq!(date().await, "Sat, 21 Nov 2026 00:00:00 GMT");
    let back = json!({"kind": "clock_offset", "offset_seconds": -90, "seconds": 60});
    let switched = to("POST", &format!("{}/faults", sim.control_url())).json(&back).send().await;
    assert_eq!(switched.status, 200);
    assert_eq!(date().await, "Fri, 20 Nov 2026 23:58:30 GMT");
    sim.clock().advance(std::time::Duration::from_secs(60));
    assert_eq!(date().await, "Sat, 21 Nov 2026 00:01:00 GMT");
}
