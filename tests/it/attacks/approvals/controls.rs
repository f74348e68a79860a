//! Correctly signed approvals do land code: without this, the refusals would prove nothing.
//!
//! These need verification of signed approvals.

use serde_json::{Value, json};

use super::{MERGE, claims_for_pull, claims_for_request, merge, sign, sign_with_secret, start};
use crate::attacks::oracle::{Meaning, judge};

#[tokio::test]
async fn a_rightly_signed_approval_merges_exactly_what_it_names() {
    let (mut run, approvers) = start().await;
    for (number, head, path) in [
        (76, &approvers.head, MERGE),
        (77, &approvers.other_head, "/api/v3/repositories/2001/pulls/77/merge"),
    ] {
        let claims = claims_for_pull(number, head);
        let token =
            if number == 76 { sign(&claims, &approvers) } else { sign_with_secret(&claims, &approvers) };
        let bytes = run.request(&format!("PUT {path}"), &format!("X-Merge-Approval: {token}\r\n"), "{}");
        let answer = run.deliver(&[&bytes]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let arrived = run.arrivals();
        let merges: Vec<_> =
            arrived.iter().filter(|request| judge(request, &run.ground) == Meaning::Merge).collect();
        assert_eq!(merges.len(), 1);
        let body: Value = serde_json::from_str(merges[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(body["sha"], json!(head));
    }
    let landed: Vec<_> = run.tollgate.sim.books().merges.iter().map(|merge| merge.pull).collect();
    assert_eq!(landed, [Some(76), Some(77)]);
    run.tollgate.assert_clean();
}

#[tokio::test]
async fn a_second_use_is_refused_and_a_second_approval_is_not() {
    let (run, approvers) = start().await;
    let token = sign(&claims_for_pull(76, &approvers.head), &approvers);
    let bytes = merge(&run, &token);
    assert!(run.deliver(&[&bytes]).await.starts_with("HTTP/1.1 200 "));
    let again = run.deliver(&[&bytes]).await;
    assert!(again.starts_with("HTTP/1.1 403 ") && again.contains("approval_invalid"), "{again}");
    // The merge is done, so GitHub refuses a second one; tollgate would not.
    let fresh = sign(&claims_for_pull(76, &approvers.head), &approvers);
    let bytes = merge(&run, &fresh);
    assert!(run.deliver(&[&bytes]).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_rightly_signed_approval_lets_every_other_gated_request_pass() {
    let (mut run, approvers) = start().await;
    for (action, method, path, body, status) in [
        (
            "ref-write",
            "PUT",
            "/repos/acme/widgets/contents/new.txt",
            r#"{"message":"m","content":"eA==","branch":"main"}"#,
            201,
        ),
        ("review", "POST", "/repos/acme/widgets/pulls/76/reviews", r#"{"event":"APPROVE"}"#, 200),
        ("ref-write", "PUT", "/repos/acme/widgets/pulls/78/update-branch", "{}", 202),
        ("merge", "POST", "/repos/acme/widgets/merges", r#"{"base":"main","head":"feature/x"}"#, 201),
    ] {
        let token = sign(&claims_for_request(action, method, path, body), &approvers);
        let bytes = run.request(&format!("{method} {path}"), &format!("X-Merge-Approval: {token}\r\n"), body);
        let answer = run.deliver(&[&bytes]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        let arrived = run.arrivals();
        assert!(
            arrived.iter().any(|request| judge(request, &run.ground) >= Meaning::Review),
            "{method} {path}"
        );
    }
}
