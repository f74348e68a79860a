//! An agent past its ceiling is refused as GitHub would refuse it, and served again when it was told.

use serde_json::json;

use crate::support::{Setup, UNCACHED, agent};

#[tokio::test]
async fn a_closed_agent_is_refused_in_githubs_words() {
    let agents = vec![
        agent("closed", &["repositories: [acme/*]", "ceiling: 0"]),
        agent("open", &["repositories: [acme/*]"]),
    ];
    let tollgate = Setup::with(agents).start().await;
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(answer.verdict(), "403 budget_exhausted");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("API rate limit exceeded for agent closed."), "{message}");
    let number = |name: &str| answer.header(name).parse::<i64>().unwrap();
    assert_eq!(
        (number("x-ratelimit-remaining"), number("x-ratelimit-used"), number("x-ratelimit-limit")),
        (0, 0, 0)
    );
    assert!(number("retry-after") >= 60);
    assert_eq!(answer.header("x-ratelimit-resource"), "core");
    let query = json!({ "query": "{ viewer { login } }" });
    let graphql = tollgate.ask("POST", "/api/graphql").json(&query).send().await;
    assert_eq!(graphql.json()["errors"][0]["type"], "RATE_LIMITED");
    assert_eq!(graphql.header("x-ratelimit-resource"), "graphql");
    assert!(tollgate.arrived().is_empty());
    assert_eq!(tollgate.ask("GET", "/repos/acme/widgets").by(1).send().await.verdict(), "200");
    let limits = tollgate.get("/rate_limit").await;
    assert_eq!(limits.header("x-ratelimit-remaining"), "0", "no more than its ceiling");
    assert_eq!(limits.json()["rate"]["remaining"], 0);
    // A forbidden request is refused as such, even if the agent could not afford it.
    assert_eq!(tollgate.get("/repos/other/tool").await.verdict(), "403 repository_forbidden");
}

#[tokio::test]
async fn a_ceiling_lets_a_burst_pass_and_then_so_many_an_hour() {
    let tollgate = Setup {
        cache: UNCACHED,
        ..Setup::with(vec![agent("slow", &["repositories: [acme/*]", "ceiling: 240"])])
    }
    .start()
    .await;
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        verdicts.push(tollgate.get("/repos/acme/widgets").await.verdict());
    }
    assert_eq!(verdicts, ["200", "200", "403 budget_exhausted"]);
    assert_eq!(tollgate.arrived().len(), 2);
}
