//! Every fault once, and the control port.

use std::collections::BTreeMap;

use github_sim::{Fault, FaultKind, LimitForm, Sim};
use serde_json::{Value, json};

use crate::client::{Answer, NOW, call, config, mint, start, to};

const PATH: &str = "/repos/acme/widgets";

/// One request under a fault that lasts for one request.
async fn under(sim: &Sim, kind: FaultKind) -> Result<Answer, String> {
    sim.faults().clear();
    let id = sim.faults().add(Fault::new(kind).times(1));
    let answer = call(sim, "GET", PATH).token(&sim.mint("acme")).try_send().await;
    assert_eq!(sim.faults().fired(id), 1);
    let after = call(sim, "GET", PATH).token(&sim.mint("acme")).send().await;
    assert_eq!(after.status, 200, "the fault is over");
    answer
}

fn status(status: u16, body: Option<Value>, takes_effect: bool) -> FaultKind {
    FaultKind::Status { status, body, headers: BTreeMap::new(), takes_effect }
}

#[tokio::test]
async fn statuses_and_bodies() {
    let sim = start(config()).await;
    let answer = under(&sim, status(502, Some(json!("<html>bad gateway</html>")), false)).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (502, "text/html; charset=utf-8"));
    let answer = under(&sim, status(404, None, false)).await.unwrap();
    assert_eq!((answer.status, answer.message().as_str()), (404, "Not Found"));
    let body = json!({"code": "unavailable", "message": "m"});
    let answer = under(&sim, status(503, Some(body.clone()), false)).await.unwrap();
    assert_eq!(answer.json(), body);
    assert_eq!(sim.books().used["installation:1001/core"], 3, "faults are not charged");
    assert_eq!(sim.books().faulted, 3);
}

#[tokio::test]
async fn lost_answers_may_have_taken_effect() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = "/repos/acme/gadgets/issues";
    let post = || call(&sim, "POST", path).token(&token).json(&json!({"title": "t"})).try_send();
    for (kind, is_made, breaks) in [
        (FaultKind::ResetBeforeAnswer { takes_effect: false }, false, true),
        (FaultKind::ResetBeforeAnswer { takes_effect: true }, true, true),
        (status(502, None, false), false, false),
        (status(502, None, true), true, false),
    ] {
        let before = sim.books().writes;
        sim.faults().add(Fault::new(kind.clone()).on("POST", "/issues").times(1));
        assert_eq!(post().await.is_err(), breaks, "{kind:?}");
        let list = call(&sim, "GET", path).token(&token).send().await;
        let made = list.json().as_array().unwrap().len() > 3 + usize::try_from(before).unwrap();
        assert_eq!(made, is_made, "{kind:?}");
    }
}

#[tokio::test]
async fn broken_and_slow_bodies() {
    let sim = start(config()).await;
    assert!(under(&sim, FaultKind::ResetMidBody).await.is_err());
    assert!(under(&sim, FaultKind::TruncatedBody).await.is_err());
    let slow = under(&sim, FaultKind::SlowBody { bytes_per_second: 60_000 }).await.unwrap();
    assert_eq!(slow.json()["name"], "widgets");
    let late = under(&sim, FaultKind::SlowFirstByte { ms: 1 }).await.unwrap();
    assert_eq!(late.status, 200);
}

#[tokio::test]
async fn limits_in_every_form() {
    let sim = start(config()).await;
    for (form, code, text, remaining) in [
        (LimitForm::Primary403, 403, "API rate limit exceeded", "0"),
        (LimitForm::Primary429, 429, "API rate limit exceeded", "0"),
        (LimitForm::Secondary403, 403, "You have exceeded a secondary rate limit.", ""),
        (LimitForm::Secondary429, 429, "You have exceeded a secondary rate limit.", ""),
        (LimitForm::ContentCreation403, 403, "blocked from content creation", ""),
        (LimitForm::GraphqlRateLimited, 200, "\"RATE_LIMITED\"", "0"),
        (LimitForm::GraphqlRateLimit, 200, "graphql_rate_limit", ""),
        (LimitForm::GraphqlSecondary, 200, "secondary rate limit", ""),
    ] {
        for retry_after in [None, Some(7)] {
            let kind = FaultKind::Limit { form, retry_after };
            let answer = under(&sim, kind).await.unwrap();
            assert_eq!(answer.status, code, "{form:?}");
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(body.contains(text), "{form:?}: {body}");
            assert_eq!(answer.header("x-ratelimit-remaining") == "0", remaining == "0", "{form:?}");
            let expected = retry_after.map_or(String::new(), |seconds| seconds.to_string());
            assert_eq!(answer.header("retry-after"), expected, "{form:?}");
        }
    }
    assert_eq!(sim.books().violations_total(), 0);
}

#[tokio::test]
async fn figures_and_headers_that_cannot_be_trusted() {
    let sim = start(config()).await;
    let kind = FaultKind::RateHeaders { limit: None, used: Some(281), remaining: Some(5000), reset: None };
    let answer = under(&sim, kind).await.unwrap();
    assert_eq!(answer.header("x-ratelimit-used"), "281");
    assert_eq!(answer.header("x-ratelimit-remaining"), "5000");
    let names = vec!["X-RateLimit-*".to_owned(), "etag".to_owned()];
    let answer = under(&sim, FaultKind::DropHeaders { names }).await.unwrap();
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-ratelimit")));
    assert_eq!(answer.header("etag"), "");
    let headers = BTreeMap::from([("x-ratelimit-reset".to_owned(), "soon".to_owned())]);
    let answer = under(&sim, FaultKind::SetHeaders { headers }).await.unwrap();
    assert_eq!(answer.header("x-ratelimit-reset"), "soon");
    let kind = FaultKind::ChargeOther { resource: "search".to_owned() };
    let answer = under(&sim, kind).await.unwrap();
    assert_eq!(answer.header("x-ratelimit-resource"), "search");
    assert_eq!(answer.header("x-ratelimit-limit"), "30");
}

#[tokio::test]
async fn another_rule_of_etags_and_reads_that_lag() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = "/repos/acme/widgets/issues/1";
    let read = || call(&sim, "GET", path).token(&token).send();
    let before = read().await;
    let salted = sim.faults().add(Fault::new(FaultKind::EtagRule { salt: "x".to_owned() }));
    assert_ne!(read().await.header("etag"), before.header("etag"));
    assert_eq!(sim.faults().fired(salted), 1);
    sim.faults().clear();
    assert_eq!(read().await.header("etag"), before.header("etag"));

    sim.faults().add(Fault::new(FaultKind::StaleReads { ms: 300 }));
    let title = read().await.json()["title"].clone();
    sim.edit(|world| world.edit_issue("acme/widgets", 1, "another title"));
    assert_eq!(read().await.json()["title"], title);
    sim.clock().advance(std::time::Duration::from_millis(350));
    assert_eq!(read().await.json()["title"], "another title");
}

#[tokio::test]
async fn clocks_windows_and_young_tokens() {
    let sim = start(config()).await;
    let read = || call(&sim, "GET", PATH).token(&sim.mint("acme")).send();
    sim.faults().add(Fault::new(FaultKind::WindowOpened {
        account: "installation:1001".to_owned(),
        resource: "core".to_owned(),
        used: 4000,
        seconds_ago: 600,
    }));
    let answer = read().await;
    assert_eq!(answer.header("x-ratelimit-remaining"), "999");
    assert_eq!(answer.header("x-ratelimit-reset"), (NOW + 3000).to_string());
    sim.faults().add(Fault::new(FaultKind::ClockOffset { offset_seconds: 5 }));
    assert_eq!(read().await.header("date"), "Sat, 21 Nov 2026 00:00:05 GMT");
    sim.faults().clear();
    let young = sim.mint("acme");
    for (status, expected) in [(401, 401), (404, 404)] {
        sim.faults().clear();
        sim.faults().add(Fault::new(FaultKind::ReplicationLag { ms: 1000, status }));
        assert_eq!(call(&sim, "GET", PATH).token(&young).send().await.status, expected);
    }
    sim.clock().advance(std::time::Duration::from_secs(1));
    assert_eq!(call(&sim, "GET", PATH).token(&young).send().await.status, 200);
    sim.faults().add(Fault::new(FaultKind::MintFails { status: 500 }).times(1));
    assert_eq!(mint(&sim, 1001, &json!({})).await.status, 500);
    assert_eq!(mint(&sim, 1001, &json!({})).await.status, 201);
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let sim = start(config()).await;
    let gone = || Fault::new(status(500, None, false));
    sim.faults().add(gone().on("GET", "/acme/gadgets").after(1).times(1).for_seconds(60));
    sim.faults().add(gone().path("/other/").credential("installation:1002"));
    let read =
        |path: &'static str, owner: &'static str| call(&sim, "GET", path).token(&sim.mint(owner)).send();
    assert_eq!(read("/repos/acme/widgets", "acme").await.status, 200);
    assert_eq!(read("/repos/acme/gadgets", "acme").await.status, 200);
    assert_eq!(read("/repos/acme/gadgets", "acme").await.status, 500);
    assert_eq!(read("/repos/acme/gadgets", "acme").await.status, 200);
    assert_eq!(read("/repos/other/tool", "acme").await.status, 404);
    assert_eq!(read("/repos/other/tool", "other").await.status, 500);
    sim.faults().clear();
    sim.faults().add(gone().for_seconds(60));
    assert_eq!(read("/repos/acme/gadgets", "acme").await.status, 500);
    sim.clock().advance(std::time::Duration::from_secs(60));
    assert_eq!(read("/repos/acme/gadgets", "acme").await.status, 200);
}

#[tokio::test]
async fn the_control_port_does_the_same() {
    let sim = start(config()).await;
    let control = |method: &'static str, path: &str, body: Value| {
        to(method, &format!("{}{path}", sim.control_url())).json(&body).send()
    };
    assert_eq!(control("GET", "/ready", json!({})).await.json()["app_id"], 4242);
    let fault = json!({"kind": "status", "status": 502, "method": "GET", "path": "/repos", "count": 1});
    assert_eq!(control("POST", "/faults", fault).await.json()["id"], 1);
    let limit = json!({"kind": "limit", "form": "secondary403", "retry_after": 3, "path": "/zen"});
    assert_eq!(control("POST", "/faults", limit).await.status, 200);
    assert_eq!(control("POST", "/faults", json!({"kind": "unheard"})).await.status, 400);
    let token = sim.mint("acme");
    assert_eq!(call(&sim, "GET", PATH).token(&token).send().await.status, 502);
    assert_eq!(call(&sim, "GET", "/zen").token(&token).send().await.status, 403);
    assert_eq!(control("DELETE", "/faults", json!({})).await.status, 200);
    let push = json!({"repository": "acme/widgets", "branch": "main", "path": "x", "content": "y"});
    assert!(control("POST", "/world/push", push).await.json()["sha"].is_string());
    let rename = json!({"repository": "acme/gadgets", "name": "things"});
    assert_eq!(control("POST", "/world/rename", rename).await.status, 200);
    assert_eq!(call(&sim, "GET", "/repos/acme/gadgets").token(&token).send().await.status, 301);
    let books = control("GET", "/books", json!({})).await.json();
    assert_eq!((&books["arrived"], &books["by_status"]["502"]), (&json!(3), &json!(1)));
    let requests = control("GET", "/requests?since=2", json!({})).await.json();
    assert_eq!(requests.as_array().unwrap().len(), 1);
    let clock = control("POST", "/clock", json!({"advance_seconds": 5})).await.json();
    assert_eq!(clock["now"], NOW + 5);
    assert_eq!(control("POST", "/tokens/revoke", json!({"token": token})).await.status, 200);
    assert_eq!(call(&sim, "GET", PATH).token(&token).send().await.status, 401);
    control("POST", "/reset", json!({})).await;
    assert_eq!(control("GET", "/books", json!({})).await.json()["arrived"], 0);
    sim.shutdown().await;
}
