use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn told(event: &str, payload: &Value) -> News {
    read(event, payload.to_string().as_bytes(), true).unwrap()
}

fn widgets(extra: &Value) -> Value {
    let mut payload = json!({"action": "edited", "repository": {"id": 1, "full_name": "Acme/Widgets"}});
    payload.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    payload
}

/// One line `NAME: AREAS` for each change.
fn changes(event: &str, extra: &Value) -> Vec<String> {
    let lines = told(event, &widgets(extra)).changes.into_iter().map(|change| match change {
        Change::Repository { name, mut areas } => {
            areas.sort_by_key(|area| *area as usize);
            format!("{name}: {areas:?}")
        }
        Change::Everything => "everything".to_owned(),
    });
    lines.collect()
}

const ALL: &str = "acme/widgets: [Code, Pulls, Issues, Checks, Releases, Repository, Guard]";

#[test]
fn each_event_marks_what_it_changes() {
    let branch = "acme/widgets: [Code, Pulls, Checks, Repository]";
    let tag = "acme/widgets: [Code, Pulls, Checks, Releases, Repository]";
    let checks = "acme/widgets: [Pulls, Checks]";
    let issues = "acme/widgets: [Pulls, Issues, Repository]";
    let pulls = "acme/widgets: [Pulls, Issues]";
    let moved = "acme/widgets: [Code, Pulls, Issues, Checks, Repository]";
    for (event, extra, expected) in [
        ("push", json!({"ref": "refs/heads/main"}), branch),
        ("push", json!({"ref": "refs/tags/v1"}), tag),
        ("create", json!({"ref": "v1", "ref_type": "tag"}), tag),
        ("delete", json!({"ref": "x", "ref_type": "branch"}), branch),
        ("pull_request", json!({"action": "labeled"}), pulls),
        ("pull_request", json!({"action": "synchronize"}), moved),
        ("pull_request", json!({"action": "closed"}), moved),
        ("pull_request_review", json!({}), pulls),
        ("pull_request_review_comment", json!({}), pulls),
        ("pull_request_review_thread", json!({}), pulls),
        ("check_run", json!({}), checks),
        ("check_suite", json!({}), checks),
        ("status", json!({}), checks),
        ("workflow_run", json!({}), checks),
        ("issues", json!({}), issues),
        ("issue_comment", json!({}), issues),
        ("label", json!({}), issues),
        ("milestone", json!({}), issues),
        ("sub_issues", json!({}), issues),
        ("release", json!({}), "acme/widgets: [Code, Releases]"),
        ("repository", json!({}), ALL),
        ("public", json!({}), ALL),
        ("member", json!({}), ALL),
        ("star", json!({}), "acme/widgets: [Repository]"),
        ("branch_protection_rule", json!({}), ALL),
        ("an_event_of_tomorrow", json!({"changes": [1, 2]}), ALL),
    ] {
        assert_eq!(changes(event, &extra), [expected], "{event} {extra}");
    }
}

#[test]
fn a_repository_of_another_name_is_marked_under_both() {
    let was = |name: &str| format!("{name}: [Code, Pulls, Issues, Checks, Releases, Repository, Guard]");
    let from = json!({"action": "renamed", "changes": {"repository": {"name": {"from": "Gadgets"}}}});
    assert_eq!(changes("repository", &from), [ALL, &was("acme/gadgets")]);
    for kind in ["user", "organization"] {
        let from = json!({"changes": {"owner": {"from": {kind: {"id": 1, "login": "Old-Owner"}}}}});
        assert_eq!(changes("repository", &from), [ALL, &was("old-owner/widgets")]);
    }
    let edited = json!({"changes": {"description": {"from": null}, "default_branch": {"from": "x"}}});
    assert_eq!(changes("repository", &edited), [ALL]);
}

#[test]
fn what_names_no_repository_may_be_anything() {
    for (event, payload) in [
        ("organization", json!({"action": "renamed", "organization": {"login": "acme"}})),
        ("team", json!({"action": "deleted"})),
        ("an_event_of_tomorrow", json!({})),
        ("push", json!({"repository": null})),
    ] {
        assert_eq!(told(event, &payload), News::changed(Change::Everything), "{event}");
    }
    for event in ["projects_v2_item", "github_app_authorization", "marketplace_purchase"] {
        assert_eq!(told(event, &json!({"action": "edited"})), News::default(), "{event}");
    }
}

#[test]
fn an_installation_that_changes_is_forgotten() {
    let payload = json!({"action": "deleted", "installation": {"id": 1, "account": {"login": "Acme"}}});
    for event in ["installation", "installation_repositories"] {
        let news = told(event, &payload);
        assert_eq!(news.ended, ["Acme"], "{event}");
        assert_eq!(news.changes, [Change::Everything], "{event}");
    }
    let renamed = json!({"action": "renamed", "account": {"login": "acme"}, "installation": {"id": 1},
        "changes": {"login": {"from": "acne"}}, "target_type": "Organization"});
    assert_eq!(told("installation_target", &renamed).ended, ["acme", "acne"]);
    let enterprise = json!({"action": "deleted", "installation": {"id": 1, "account": {"slug": "acme-inc"}}});
    assert_eq!(told("installation", &enterprise).ended, ["acme-inc"]);
    let strange = json!({"installation": {"account": {"login": "a/b\n"}}});
    assert!(told("installation", &strange).ended.is_empty());
}

#[test]
fn what_comes_shows_what_is_delivered() {
    let seen = told("push", &widgets(&json!({}))).seen.unwrap();
    assert_eq!((&*seen.account, &seen.events[..]), ("acme", &["push".to_owned()][..]));
    assert!(!seen.is_list);
    let ping = |events: Value, active: bool| {
        json!({"zen": "…", "hook": {"type": "Organization", "active": active, "events": events},
            "organization": {"login": "acme"}})
    };
    let seen = told("ping", &ping(json!(["push", "of_tomorrow", "issues"]), true)).seen.unwrap();
    assert!(seen.is_list);
    assert_eq!((&*seen.account, seen.events), ("acme", vec!["issues".to_owned(), "push".to_owned()]));
    assert_eq!(told("ping", &ping(json!(["*"]), true)).seen.unwrap().events.len(), TABLE.len());
    assert_eq!(told("ping", &ping(json!(["push"]), false)), News::default());
    assert_eq!(told("ping", &json!({"hook": {"type": "App", "events": ["push"]}})), News::default());
    // A webhook of one repository says nothing about the account's others.
    let body = widgets(&json!({})).to_string();
    assert_eq!(read("push", body.as_bytes(), false).unwrap().seen, None);
}

#[test]
fn what_github_never_sends_is_garbled() {
    for body in [
        "",
        "null and void",
        "[]",
        "{\"repository\": 1}",
        "{\"repository\": {}}",
        "{\"repository\": {\"full_name\": \"../..\"}}",
        "{\"repository\": {\"full_name\": \"acme\"}}",
        "{\"repository\": {\"full_name\": \"acme/widgets\"}",
        "{\"repository\": {\"full_name\": \"a\"}, \"repository\": {\"full_name\": \"b\"}}",
        "\u{feff}{}",
    ] {
        assert_eq!(read("push", body.as_bytes(), true), Err(Garbled), "{body}");
    }
    let deep = format!("{{\"x\": {}", "[".repeat(1_000_000));
    assert_eq!(read("push", deep.as_bytes(), true), Err(Garbled));
    let odd = json!({"repository": {"full_name": "a/b"}, "changes": {"repository": 1}}).to_string();
    assert_eq!(read("repository", odd.as_bytes(), true), Err(Garbled));
}

#[test]
fn labels_are_a_closed_set() {
    assert_eq!((label("push"), label("PUSH"), label("x\ny")), ("push", "other", "other"));
    assert!(TABLE.is_sorted_by_key(|(event, _)| *event));
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_garbled(body in "\\PC{0,200}", at in 0..TABLE.len(), cut in 0..300_usize) {
        let event = TABLE[at].0;
        let _ = read(event, body.as_bytes(), true);
        let payload = widgets(&json!({"ref": body, "changes": {"repository": {"name": {"from": body}}},
            "account": {"login": body}, "hook": {"active": true, "events": [body]}})).to_string();
        let news = read(event, payload.as_bytes(), true).unwrap();
        prop_assert!(news.changes.len() <= 2);
        let cut = &payload.as_bytes()[..cut.min(payload.len() - 1)];
        prop_assert_eq!(read(event, cut, true), Err(Garbled));
    }
}
