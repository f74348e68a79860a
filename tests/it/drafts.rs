//! Agents open drafts; a person says when one is ready.

use serde_json::{Value, json};

use crate::support::{Answer, Setup, Tollgate, agent};

fn setup(rule: &str) -> Setup {
    let rule = format!("draft_pull_requests: {rule}");
    Setup::with(vec![agent("worker", &["repositories: [acme/*]", &rule])])
}

async fn open(tollgate: &Tollgate, more: Value) -> Answer {
    let mut body = json!({"title": "t", "head": "100%done", "base": "main"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tollgate.ask("POST", "/repos/acme/widgets/pulls").json(&body).send().await
}

#[tokio::test]
async fn force_makes_drafts_of_what_is_none() {
    for sent in [
        json!({}),
        json!({"draft": false}),
        json!({"draft": null}),
        json!({"draft": "true"}),
        json!({"draft": true}),
    ] {
        let tollgate = setup("force").start().await;
        let opened = open(&tollgate, sent.clone()).await;
        assert_eq!((opened.verdict().as_str(), &opened.json()["draft"]), ("201", &json!(true)), "{sent}");
        let arrived = tollgate.arrived().pop().unwrap();
        let body: Value = serde_json::from_str(arrived.body.as_deref().unwrap()).unwrap();
        assert_eq!(body, json!({"title": "t", "head": "100%done", "base": "main", "draft": true}));
    }
}

#[tokio::test]
async fn require_refuses_what_is_none_and_off_lets_it_be() {
    let tollgate = setup("require").start().await;
    for sent in [json!({}), json!({"draft": false}), json!({"draft": "true"}), json!({"draft": 1})] {
        assert_eq!(open(&tollgate, sent.clone()).await.verdict(), "422 draft_required", "{sent}");
    }
    assert!(tollgate.arrived().is_empty());
    assert_eq!(open(&tollgate, json!({"draft": true})).await.verdict(), "201");
    let free = setup("off").start().await;
    let opened = open(&free, json!({})).await;
    assert_eq!((opened.verdict().as_str(), &opened.json()["draft"]), ("201", &json!(false)));
}

#[tokio::test]
async fn what_has_two_readings_is_refused() {
    let tollgate = setup("force").start().await;
    for body in [
        r#"{"title":"t","head":"100%done","base":"main","draft":true,"draft":false}"#,
        r#"{"title":"t","head":"100%done","base":"main","draft":true,"Draft":false}"#,
        r#"[{"title":"t"}]"#,
    ] {
        let answer = tollgate.ask("POST", "/repos/acme/widgets/pulls").body(body).send().await;
        assert_eq!(answer.verdict(), "400 bad_request", "{body}");
    }
    let query = tollgate.ask("POST", "/repos/acme/widgets/pulls?draft=false").json(&json!({})).send().await;
    assert_eq!(query.verdict(), "400 bad_request");
    assert!(tollgate.arrived().is_empty());
}

#[tokio::test]
async fn ready_for_review_is_a_person_s_to_say() {
    let tollgate = setup("force").start().await;
    let patch = |body: Value| async {
        tollgate.ask("PATCH", "/repos/acme/widgets/pulls/76").json(&{ body }).send().await
    };
    let answer = patch(json!({"draft": false})).await;
    assert_eq!(answer.verdict(), "422 draft_required");
    assert_eq!(answer.json()["tollgate"]["code"], "draft_required");
    assert_eq!(patch(json!({"title": "new"})).await.verdict(), "200");
}

#[tokio::test]
async fn a_repository_without_drafts_is_explained() {
    let tollgate = setup("force").start().await;
    tollgate.sim.edit(|world| assert!(world.forbid_drafts("acme/widgets", true)));
    let refused = open(&tollgate, json!({})).await;
    assert_eq!(refused.verdict(), "422", "{}", refused.text());
    assert!(
        refused.text().contains("Draft pull requests are not supported"),
        "GitHub's own words are passed on"
    );
    assert!(refused.header("x-tollgate-hint").contains("draft_pull_requests: off"), "{:?}", refused.headers);
    // Another mistake gets no such hint.
    let wrong = tollgate
        .ask("POST", "/repos/acme/gadgets/pulls")
        .json(&json!({"title": "t", "head": "none", "base": "main"}));
    let wrong = wrong.send().await;
    assert_eq!((wrong.verdict().as_str(), wrong.header("x-tollgate-hint")), ("422", ""));
}
