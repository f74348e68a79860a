//! Writes to branches that are neither default nor protected need no approval.
//!
//! These need branch look-ups.

use serde_json::{Value, json};

use super::start;
use crate::support::Tollgate;

/// Names of branches that only look guarded.
const NEW: [&str; 13] = [
    "agent/one",
    "mainline",
    "main2",
    "feature/main",
    "release/main",
    "maintenance",
    "merge",
    "locked-too",
    "100%more",
    "été",
    "a/b/c/d",
    "v1.0.0",
    "dependabot/npm_and_yarn/x-1.2.3",
];

async fn tip(tollgate: &Tollgate, branch: &str) -> Value {
    let answer = tollgate.get(&format!("/repos/acme/widgets/git/ref/heads/{}", escaped(branch))).await;
    answer.json()["object"]["sha"].clone()
}

fn escaped(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn branches_are_made_moved_and_deleted() {
    let tollgate = start().await;
    let (old, new) = (tip(&tollgate, "main").await, tip(&tollgate, "feature/x").await);
    for name in NEW {
        let made = json!({"ref": format!("refs/heads/{name}"), "sha": old});
        let made = tollgate.ask("POST", "/repos/acme/widgets/git/refs").json(&made).send().await;
        assert_eq!(made.verdict(), "201", "{name}: {}", made.text());
        let path = format!("/repos/acme/widgets/git/refs/heads%2F{}", escaped(name));
        let moved = tollgate.ask("PATCH", &path).json(&json!({"sha": new, "force": true})).send().await;
        assert_eq!(moved.verdict(), "200", "{name}: {}", moved.text());
        let path = format!("/api/v3/repositories/2001/git/refs/heads/{}", escaped(name));
        let deleted = tollgate.ask("DELETE", &path).send().await;
        assert_eq!(deleted.verdict(), "204", "{name}: {}", deleted.text());
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn files_are_written_and_deleted_on_branches_of_ones_own() {
    let tollgate = start().await;
    for (branch, path) in [
        ("feature/x", "/repos/acme/widgets/contents/new.txt"),
        ("release", "/repos/acme/widgets/contents/docs/deep/new.txt"),
        ("100%done", "/api/v3/repos/acme/widgets/contents/main"),
        ("spare", "/repositories/2001/contents/pulls/76/merge"),
        ("spare", "/repos/ACME/Widgets/contents/%C3%A9t%C3%A9%20100%25.txt"),
        ("spare", "/repos/acme/widgets/contents/refs/heads/main"),
    ] {
        let file = json!({"message": "Merge main", "content": "eA==", "branch": branch});
        let made = tollgate.ask("PUT", path).json(&file).send().await;
        assert_eq!(made.verdict(), "201", "{branch} {path}: {}", made.text());
        let sha = made.json()["content"]["sha"].clone();
        let changed = json!({"message": "m", "content": "eQ==", "branch": branch, "sha": sha});
        let changed = tollgate.ask("PUT", path).json(&changed).send().await;
        assert_eq!(changed.verdict(), "200", "{branch} {path}: {}", changed.text());
        let sha = changed.json()["content"]["sha"].clone();
        let gone = json!({"message": "m", "branch": branch, "sha": sha});
        let gone = tollgate.ask("DELETE", path).json(&gone).send().await;
        assert_eq!(gone.verdict(), "200", "{branch} {path}: {}", gone.text());
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_file_is_deleted_by_query_too_and_a_pull_request_brought_up_to_date() {
    let tollgate = start().await;
    let file = json!({"message": "m", "content": "eA==", "branch": "feature/x"});
    let made = tollgate.ask("PUT", "/repos/acme/widgets/contents/new.txt").json(&file).send().await.json();
    let sha = made["content"]["sha"].as_str().unwrap().to_owned();
    let path = format!("/repos/acme/widgets/contents/new.txt?branch=feature%2Fx&message=m&sha={sha}");
    let gone = tollgate.ask("DELETE", &path).send().await;
    assert_eq!(gone.verdict(), "200", "{}", gone.text());
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "main", "ahead.txt", "ahead\n")).unwrap();
    let updated =
        tollgate.ask("PUT", "/repos/acme/widgets/pulls/76/update-branch").json(&json!({})).send().await;
    assert_eq!(updated.verdict(), "202", "{}", updated.text());
    tollgate.assert_clean();
}
