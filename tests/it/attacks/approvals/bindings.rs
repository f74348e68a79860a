//! Valid approvals, used for something other than they were given for.

use serde_json::{Value, json};

use super::{MERGE, claims, claims_for_pull, claims_for_request, sign, start};
use crate::attacks::oracle::{Meaning, judge};
use crate::attacks::run::Run;

const FILE: &str = "/repos/acme/widgets/contents/new.txt";
const ON_MAIN: &str = r#"{"message":"m","content":"eA==","branch":"main"}"#;

fn with_approval(run: &Run, line: &str, token: &str, body: &str) -> Vec<u8> {
    run.request(line, &format!("X-Merge-Approval: {token}\r\n"), body)
}

/// Requests that are sent with the approval of pull request 76.
const OTHERS: [(&str, &str, &str); 18] = [
    ("for 77", "PUT /repos/acme/widgets/pulls/77/merge", "{}"),
    ("for 78", "PUT /repos/acme/widgets/pulls/78/merge-async", "{}"),
    ("for 77 by id", "PUT /repositories/2001/pulls/77/merge", "{}"),
    ("for another repository", "PUT /repos/acme/gadgets/pulls/76/merge", "{}"),
    ("for a repository outside", "PUT /repos/acme/secret-plans/pulls/76/merge", "{}"),
    ("for a merge of branches", "POST /repos/acme/widgets/merges", r#"{"base":"main","head":"feature/x"}"#),
    ("for a merge from upstream", "POST /repos/acme/widgets/merge-upstream", r#"{"branch":"main"}"#),
    ("with a list of commits", "PUT /repos/acme/widgets/pulls/76/merge", r#"{"sha":["x"]}"#),
    ("with a list for a body", "PUT /repos/acme/widgets/pulls/76/merge", "[]"),
    ("with a form for a body", "PUT /repos/acme/widgets/pulls/76/merge", "sha=x"),
    ("with two bodies", "PUT /repos/acme/widgets/pulls/76/merge", "{} {}"),
    ("for a commit onto main", "PUT /repos/acme/widgets/contents/new.txt", ON_MAIN),
    ("for a moved ref", "PATCH /repos/acme/widgets/git/refs/heads/main", r#"{"sha":"x"}"#),
    ("for an approval", "POST /repos/acme/widgets/pulls/76/reviews", r#"{"event":"APPROVE"}"#),
    ("for a status", "POST /repos/acme/widgets/statuses/abc", r#"{"state":"success"}"#),
    ("for a retargeting", "PATCH /repos/acme/widgets/pulls/76", r#"{"base":"release"}"#),
    ("for an update of the branch", "PUT /repos/acme/widgets/pulls/78/update-branch", "{}"),
    ("for a protection", "DELETE /repos/acme/widgets/branches/main/protection", ""),
];

#[tokio::test]
async fn an_approval_of_one_merge_is_none_of_another() {
    let (mut run, approvers) = start().await;
    let head = approvers.head.clone();
    let right = || claims_for_pull(76, &head);
    for (name, line, body) in OTHERS {
        let bytes = with_approval(&run, line, &sign(&right(), &approvers), body);
        run.attack(name, &bytes).await;
    }
    let merge = format!("PUT {MERGE}");
    let mut foreign = right();
    foreign["repo"] = json!("acme/gadgets");
    let different = format!(r#"{{"sha":"{}"}}"#, approvers.other_head);
    let twice = format!(r#"{{"sha":"{head}","sha":"{}"}}"#, approvers.other_head);
    for (name, claims, body) in [
        ("of 77 for 76", claims_for_pull(77, &approvers.other_head), "{}"),
        ("of another repository", foreign, "{}"),
        ("with another commit in the body", right(), &different),
        ("with two commits in the body", right(), &twice),
    ] {
        let bytes = with_approval(&run, &merge, &sign(&claims, &approvers), body);
        run.attack(name, &bytes).await;
    }
    let own = String::from_utf8(with_approval(&run, &merge, &sign(&right(), &approvers), "{}")).unwrap();
    let stranger = own.replace(run.tollgate.key(0), run.tollgate.key(1));
    run.attack("by an agent who may not reach the repository", stranger.as_bytes()).await;
    run.finish(OTHERS.len() + 5).await;
}

#[tokio::test]
async fn an_approval_of_one_request_is_none_of_another() {
    let (mut run, approvers) = start().await;
    let of = |method: &str, path: &str, body: &str| claims_for_request("ref-write", method, path, body);
    let right = || of("PUT", FILE, ON_MAIN);
    let changed = |name: &str, value: Value| {
        let mut claims = right();
        claims[name] = value;
        claims
    };
    let hash = right()["request_sha256"].as_str().unwrap().to_owned();
    let mut pull_too = claims_for_pull(76, &approvers.head);
    pull_too["action"] = json!("ref-write");
    let other_body = ON_MAIN.replace("eA==", "eQ==");
    let line = format!("PUT {FILE}");
    let rows: Vec<(&str, String, Value, &str)> = vec![
        ("another path", line.clone(), of("PUT", "/repos/acme/widgets/contents/old.txt", ON_MAIN), ON_MAIN),
        (
            "another case of the file",
            line.clone(),
            of("PUT", "/repos/acme/widgets/contents/NEW.txt", ON_MAIN),
            ON_MAIN,
        ),
        (
            "another repository's path",
            line.clone(),
            of("PUT", "/repos/acme/gadgets/contents/new.txt", ON_MAIN),
            ON_MAIN,
        ),
        ("another body", line.clone(), of("PUT", FILE, &other_body), ON_MAIN),
        ("a body with a blank more", line.clone(), of("PUT", FILE, &format!("{ON_MAIN} ")), ON_MAIN),
        ("no body", line.clone(), of("PUT", FILE, ""), ON_MAIN),
        ("another method", line.clone(), of("DELETE", FILE, ON_MAIN), ON_MAIN),
        ("another query", format!("{line}?branch=main"), right(), ON_MAIN),
        ("a query that is not there", line.clone(), of("PUT", &format!("{FILE}?x=y"), ON_MAIN), ON_MAIN),
        ("nothing", line.clone(), claims("ref-write"), ON_MAIN),
        ("an empty hash", line.clone(), changed("request_sha256", json!("")), ON_MAIN),
        ("a hash cut short", line.clone(), changed("request_sha256", json!(hash[..32])), ON_MAIN),
        ("a hash and more", line.clone(), changed("request_sha256", json!(format!("{hash}0"))), ON_MAIN),
        ("a list of hashes", line.clone(), changed("request_sha256", json!([hash])), ON_MAIN),
        ("null", line.clone(), changed("request_sha256", json!(null)), ON_MAIN),
        ("a pull request", line.clone(), pull_too, ON_MAIN),
        ("another action", line.clone(), changed("action", json!("merge")), ON_MAIN),
        ("another action, review", line.clone(), changed("action", json!("review")), ON_MAIN),
        ("another repository", line.clone(), changed("repo", json!("acme/gadgets")), ON_MAIN),
        ("another audience", line.clone(), changed("aud", json!("github")), ON_MAIN),
        ("sent with another body", line.clone(), right(), &other_body),
        ("sent to another file", "PUT /repos/acme/widgets/contents/old.txt".to_owned(), right(), ON_MAIN),
        ("sent by another method", format!("DELETE {FILE}"), right(), ON_MAIN),
        ("sent for a merge", format!("PUT {MERGE}"), right(), "{}"),
        (
            "a merge of branches with another base",
            "POST /repos/acme/widgets/merges".to_owned(),
            claims_for_request(
                "merge",
                "POST",
                "/repos/acme/widgets/merges",
                r#"{"base":"release","head":"feature/x"}"#,
            ),
            r#"{"base":"main","head":"feature/x"}"#,
        ),
    ];
    for (name, line, claims, body) in &rows {
        let bytes = with_approval(&run, line, &sign(claims, &approvers), body);
        run.attack(&format!("an approval of {name}"), &bytes).await;
    }
    run.finish(rows.len()).await;
}

/// An approval of another commit is valid, but not for the present head: GitHub is told which commit was
/// approved, and refuses.
#[tokio::test]
async fn an_approval_of_another_commit_lands_nothing() {
    let (mut run, approvers) = start().await;
    let head = approvers.head.clone();
    for sha in [
        &approvers.other_head,
        &"0".repeat(40),
        &head[..39].to_owned(),
        &head[..7].to_owned(),
        &"HEAD".to_owned(),
    ] {
        let token = sign(&claims_for_pull(76, sha), &approvers);
        for path in [MERGE, "/repos/acme/widgets/pulls/76/merge-async"] {
            let bytes = with_approval(&run, &format!("PUT {path}"), &token, "{}");
            run.deliver(&[&bytes]).await;
            for request in run.arrivals() {
                if judge(&request, &run.ground) == Meaning::Merge {
                    let body: Value =
                        serde_json::from_str(request.body.as_deref().unwrap_or_default()).unwrap();
                    assert_eq!(body["sha"], json!(sha), "{request:?}");
                }
            }
        }
    }
    run.finish(0).await;
}
