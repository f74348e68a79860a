//! Branches: rules and protection, the default branch, and what goes when a branch goes.

use github_sim::Sim;
use serde_json::{Value, json};

use crate::client::{Answer, call, config, start};

const REPOSITORY: &str = "acme/widgets";

async fn send(sim: &Sim, method: &str, path: &str) -> Answer {
    call(sim, method, &format!("/repos/{REPOSITORY}{path}")).token(&sim.mint("acme")).send().await
}

async fn rules(sim: &Sim, branch: &str) -> Vec<String> {
    let rules = send(sim, "GET", &format!("/rules/branches/{branch}")).await.json();
    let types = rules.as_array().unwrap().iter().map(|rule| rule["type"].as_str().unwrap().to_owned());
    types.collect()
}

#[tokio::test]
async fn rules_need_no_protection_and_no_branch() {
    let sim = start(config()).await;
    for (branch, kind) in [
        ("release", "pull_request"),
        ("release", "non_fast_forward"),
        ("release", "pull_request"),
        ("main", "deletion"),
        ("not-yet", "creation"),
    ] {
        assert!(sim.edit(|world| world.add_rule(REPOSITORY, branch, kind)));
    }
    assert_eq!(rules(&sim, "release").await, ["pull_request", "non_fast_forward"]);
    assert_eq!(rules(&sim, "not-yet").await, ["creation"]);
    assert_eq!(rules(&sim, "main").await, ["deletion"]);
    assert!(rules(&sim, "feature%2Fx").await.is_empty());
    assert_eq!(send(&sim, "GET", "/branches/release").await.json()["protected"], false);
    assert_eq!(send(&sim, "GET", "/branches/release/protection").await.status, 404);
    assert!(!sim.edit(|world| world.add_rule("acme/none", "main", "deletion")));
}

#[tokio::test]
async fn branches_are_protected_and_made_the_default() {
    let sim = start(config()).await;
    let protected = async |branch: &str| {
        send(&sim, "GET", &format!("/branches/{branch}")).await.json()["protected"].clone()
    };
    assert!(sim.edit(|world| world.set_protected(REPOSITORY, "release", true)));
    assert!(sim.edit(|world| world.set_protected(REPOSITORY, "main", false)));
    assert_eq!((protected("release").await, protected("main").await), (json!(true), json!(false)));
    assert!(!sim.edit(|world| world.set_protected(REPOSITORY, "none", true)));
    assert!(!sim.edit(|world| world.set_protected(REPOSITORY, "none", false)));
    assert!(sim.edit(|world| world.set_default_branch(REPOSITORY, "release")));
    assert!(!sim.edit(|world| world.set_default_branch(REPOSITORY, "none")));
    assert_eq!(send(&sim, "GET", "").await.json()["default_branch"], "release");
    assert!(sim.edit(|world| world.add_tag(REPOSITORY, "v2")));
    assert!(!sim.edit(|world| world.add_tag(REPOSITORY, "v2")), "it is there");
    let tag = send(&sim, "GET", "/git/ref/tags/v2").await.json();
    let tip = sim.edit(|world| world.branch_tip(REPOSITORY, "release"));
    assert_eq!(tag["object"]["sha"], json!(tip));
    assert_eq!(sim.edit(|world| world.branch_tip(REPOSITORY, "none")), None);
}

#[tokio::test]
async fn pull_requests_are_opened_from_outside_where_github_would() {
    let sim = start(config()).await;
    let open = |head: &str, base: &str| sim.edit(|world| world.open_pull(REPOSITORY, head, base, "t"));
    assert_eq!(open("100%done", "main"), Some(78));
    assert_eq!(open("100%done", "main"), None, "it is open");
    assert_eq!(open("main", "release"), None, "nothing to merge");
    assert_eq!((open("none", "main"), open("release", "none")), (None, None));
    let pull = send(&sim, "GET", "/pulls/78").await.json();
    assert_eq!((&pull["title"], &pull["user"]["login"]), (&json!("t"), &json!("sim-user")));
    let head = sim.edit(|world| world.head_of(REPOSITORY, 78));
    assert_eq!(pull["head"]["sha"], json!(head));
    assert_eq!(sim.edit(|world| world.head_of(REPOSITORY, 1)), None, "an issue");
}

#[tokio::test]
async fn a_branch_takes_its_pull_requests_with_it() {
    let sim = start(config()).await;
    sim.edit(|world| world.open_pull(REPOSITORY, "100%done", "feature/x", "into it")).unwrap();
    let state = async |number: u64| {
        let pull = send(&sim, "GET", &format!("/pulls/{number}")).await.json();
        (pull["state"].clone(), pull["merged"].clone())
    };
    let open = (json!("open"), json!(false));
    let closed = (json!("closed"), json!(false));
    assert_eq!(send(&sim, "DELETE", "/git/refs/tags/v1.0.0").await.status, 204);
    assert_eq!(send(&sim, "DELETE", "/git/refs/heads/feature/x").await.status, 204);
    assert_eq!((state(76).await, state(78).await), (closed.clone(), closed.clone()));
    assert_eq!(state(77).await, open, "of other branches");
    assert_eq!(send(&sim, "DELETE", "/git/refs/heads/feature/x").await.status, 422, "it is gone");
    assert!(sim.edit(|world| world.delete_branch(REPOSITORY, "release")));
    assert_eq!(state(77).await, closed);
    assert!(!sim.edit(|world| world.delete_branch(REPOSITORY, "release")));
    let names: Vec<Value> = send(&sim, "GET", "/branches").await.json().as_array().unwrap().clone();
    assert_eq!(names.iter().map(|branch| &branch["name"]).collect::<Vec<_>>(), ["100%done", "main"]);
}
