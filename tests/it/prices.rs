//! A query's cost is computed before it is sent, and agrees with what the stand-in counts.

use github_sim::{PrimaryLimits, SimConfig};
use serde_json::{Value, json};
use tollgate::policy::graphql::Request;

use crate::corpus;
use crate::support::{Setup, roomy, straight};

/// 1 + 100 + 10,000 requests: 101 points.
const DEAR: &str = "query { rateLimit { cost } repository(owner: \"acme\", name: \"widgets\") { \
     issues(first: 100) { nodes { comments(first: 100) { nodes { reactions(first: 1) { nodes { id } } } } } } } }";

#[tokio::test]
async fn the_corpus_costs_what_was_computed() {
    let tollgate = Setup { sim: roomy(), ..Setup::worker() }.start().await;
    let token = format!("Bearer {}", tollgate.sim.mint("acme"));
    let used = async || {
        let (_, limits) = straight(&tollgate.sim, &token, "GET", "/rate_limit", &Value::Null).await;
        limits["resources"]["graphql"]["used"].as_u64().unwrap()
    };
    let (mut priced, mut close, mut off) = (0, 0, Vec::new());
    for query in corpus::documents("") {
        let body = query.body(|_| false);
        let Ok(price) = Request::read(body.as_bytes()).and_then(|request| request.price()) else {
            panic!("{} has no price", query.name)
        };
        let before = used().await;
        let (status, _) =
            straight(&tollgate.sim, &token, "POST", "/graphql", &serde_json::from_str(&body).unwrap()).await;
        assert_eq!(status, 200, "{}", query.name);
        let cost = used().await - before;
        priced += 1;
        if cost.abs_diff(price.points()) * 10 <= cost {
            close += 1;
        } else {
            off.push((query.name, cost, price.points()));
        }
    }
    assert!(close * 100 >= priced * 95, "{close} of {priced}; off: {off:?}");
}

#[tokio::test]
async fn what_no_window_could_pay_is_refused_with_the_arithmetic() {
    let limits = PrimaryLimits { graphql: 100, ..PrimaryLimits::default() };
    let sim = SimConfig { limits, ..SimConfig::default() };
    let tollgate = Setup { sim, ..Setup::worker() }.start().await;
    // The limit becomes known from an answer.
    let ask = tollgate.ask("POST", "/graphql").json(&json!({"query": "{ rateLimit { cost } }"}));
    assert_eq!(ask.send().await.verdict(), "200");
    let answer = tollgate.ask("POST", "/graphql").json(&json!({ "query": DEAR })).send().await;
    assert_eq!(answer.verdict(), "400 bad_request");
    for part in ["101 points", "10101 requests", "Of the installation's 100 an hour"] {
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    assert_eq!(answer.json()["errors"][0]["type"], "FORBIDDEN");
    let page = DEAR.replace("first: 100) { nodes { comments", "first: 10) { nodes { comments");
    let answer = tollgate.ask("POST", "/graphql").json(&json!({ "query": page })).send().await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
    assert_eq!(tollgate.arrived().len(), 2);
}

#[tokio::test]
async fn the_error_of_the_estimate_is_counted() {
    let tollgate = Setup::worker().start().await;
    let answer = tollgate.ask("POST", "/graphql").json(&json!({ "query": DEAR })).send().await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
    let metrics = tollgate.metrics().await;
    for line in [
        "tollgate_graphql_price_ratio_bucket{installation=\"bot/acme\",le=\"0.9\"} 0",
        "tollgate_graphql_price_ratio_bucket{installation=\"bot/acme\",le=\"1\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
