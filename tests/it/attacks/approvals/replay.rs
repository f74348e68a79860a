//! One approval, used more than once.

use futures_util::future::join_all;
use serde_json::json;

use super::{MERGE, claims_for_pull, merge, sign, start};
use crate::attacks::oracle::{Meaning, judge};
use crate::attacks::run::Run;

/// How many merges arrived since the last check.
fn merges(run: &mut Run) -> usize {
    let arrived = run.arrivals();
    arrived.iter().filter(|request| judge(request, &run.ground) == Meaning::Merge).count()
}

#[tokio::test]
async fn an_approval_works_once() {
    let (mut run, approvers) = start().await;
    let token = sign(&claims_for_pull(76, &approvers.head), &approvers);
    let bytes = merge(&run, &token);
    for _ in 0..3 {
        run.deliver(&[&bytes]).await;
    }
    for path in [
        "/repos/acme/widgets/pulls/76/merge-async",
        "/repositories/2001/pulls/76/merge",
        "/api/v3/repos/ACME/widgets/pulls/76/merge",
    ] {
        let again = run.request(&format!("PUT {path}"), &format!("X-Merge-Approval: {token}\r\n"), "{}");
        run.deliver(&[&again]).await;
    }
    assert!(merges(&mut run) <= 1);
    assert!(run.tollgate.sim.books().merges.len() <= 1);
}

#[tokio::test]
async fn an_approval_works_once_for_sixteen_at_once() {
    let (mut run, approvers) = start().await;
    let token = sign(&claims_for_pull(76, &approvers.head), &approvers);
    let bytes = merge(&run, &token);
    let writes: [&[u8]; 1] = [&bytes];
    join_all((0..16).map(|_| run.deliver(&writes))).await;
    assert!(merges(&mut run) <= 1);
    assert!(run.tollgate.sim.books().merges.len() <= 1);
}

#[tokio::test]
async fn a_name_of_an_approval_works_once_whatever_it_approves() {
    let (mut run, approvers) = start().await;
    let first = claims_for_pull(76, &approvers.head);
    let mut second = claims_for_pull(77, &approvers.other_head);
    second["jti"] = first["jti"].clone();
    let mut third = first.clone();
    third["sub"] = json!("another person");
    for (number, claims) in [(76, &first), (77, &second), (76, &third)] {
        let field = format!("X-Merge-Approval: {}\r\n", sign(claims, &approvers));
        let bytes = run.request(&format!("PUT /repos/acme/widgets/pulls/{number}/merge"), &field, "{}");
        run.deliver(&[&bytes]).await;
    }
    assert!(merges(&mut run) <= 1);
    assert!(run.tollgate.sim.books().merges.len() <= 1);
}

#[tokio::test]
async fn an_approval_that_was_spent_on_a_refusal_lands_nothing_later() {
    let (mut run, approvers) = start().await;
    let token = sign(&claims_for_pull(76, &"0".repeat(40)), &approvers);
    let field = format!("X-Merge-Approval: {token}\r\n");
    for body in ["{}".to_owned(), format!(r#"{{"sha":"{}"}}"#, approvers.head)] {
        let bytes = run.request(&format!("PUT {MERGE}"), &field, body);
        run.deliver(&[&bytes]).await;
    }
    assert!(merges(&mut run) <= 1);
    assert!(run.tollgate.sim.books().merges.is_empty());
}
