//! Primary limits in headers and answers, and the secondary ones when they are on.

use std::time::Duration;

use github_sim::{PrimaryLimits, SecondaryLimits, SimConfig};
use serde_json::json;

use crate::client::{NOW, call, config, start};

fn limited(core: u64) -> SimConfig {
    let limits = PrimaryLimits { core, graphql: 2, search: 1, ..PrimaryLimits::default() };
    SimConfig { limits, ..config() }
}

#[tokio::test]
async fn counts_in_headers_refuses_at_the_limit_and_opens_a_new_window() {
    let sim = start(limited(2)).await;
    let token = sim.mint("acme");
    let read = || call(&sim, "GET", "/repos/acme/widgets").token(&token).send();
    for (used, remaining) in [("1", "1"), ("2", "0")] {
        let answer = read().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-ratelimit-limit"), "2");
        assert_eq!(answer.header("x-ratelimit-used"), used);
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining);
        assert_eq!(answer.header("x-ratelimit-reset"), (NOW + 3600).to_string());
        assert_eq!(answer.header("x-ratelimit-resource"), "core");
        sim.clock().advance(Duration::from_secs(10));
    }
    let answer = read().await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.message(), "API rate limit exceeded for installation ID 1001.");
    assert_eq!(answer.header("x-ratelimit-remaining"), "0");
    assert_eq!(answer.header("retry-after"), "");
    assert_eq!(sim.books().violations["primary"], 1);
    let free = call(&sim, "GET", "/rate_limit").token(&token).send().await;
    assert_eq!(free.json()["resources"]["core"]["remaining"], 0);
    let search = call(&sim, "GET", "/search/issues?q=x").token(&token).send().await;
    assert_eq!(search.header("x-ratelimit-resource"), "search");
    let other = call(&sim, "GET", "/repos/other/tool").token(&sim.mint("other")).send().await;
    assert_eq!(other.status, 200, "installations do not share");
    sim.clock().advance(Duration::from_secs(3580));
    let answer = call(&sim, "GET", "/repos/acme/widgets").token(&sim.mint("acme")).send().await;
    assert_eq!(answer.header("x-ratelimit-remaining"), "1");
    assert_eq!(answer.header("x-ratelimit-reset"), (NOW + 7200).to_string());
    assert_eq!(sim.books().used["installation:1001/core"], 3);
}

#[tokio::test]
async fn rate_limit_has_no_rate_since_march_2026() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let old = call(&sim, "GET", "/rate_limit").token(&token).send().await;
    let newer = call(&sim, "GET", "/rate_limit").token(&token);
    let newer = newer.header("x-github-api-version", "2026-03-10").send().await;
    assert_eq!(old.json()["rate"]["limit"], 5000);
    assert_eq!(newer.json().get("rate"), None);
    assert_eq!(newer.header("x-github-api-version-selected"), "2026-03-10");
    for name in ["core", "search", "graphql", "code_search"] {
        for member in ["limit", "used", "remaining", "reset"] {
            assert!(newer.json()["resources"][name][member].is_u64(), "{name}.{member}");
        }
    }
    assert_eq!(sim.books().used.len(), 0);
}

#[tokio::test]
async fn graphql_refuses_with_status_200() {
    let sim = start(limited(5000)).await;
    let token = sim.mint("acme");
    let query = json!({"query": "{ viewer { login } }"});
    for refused in [false, false, true] {
        let answer = call(&sim, "POST", "/graphql").token(&token).json(&query).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["errors"][0]["type"] == "RATE_LIMITED", refused);
        assert_eq!(answer.header("x-ratelimit-resource"), "graphql");
    }
    assert_eq!(sim.books().violations["primary"], 1);
}

#[tokio::test]
async fn secondary_limits_are_off_until_wanted() {
    let few =
        SecondaryLimits { endpoint_points: Some(7), content_minute: Some(1), ..SecondaryLimits::default() };
    for (secondary, statuses) in
        [(SecondaryLimits::default(), [201, 201, 200, 200]), (few, [201, 403, 200, 200])]
    {
        let sim = start(SimConfig { secondary, ..config() }).await;
        let token = sim.mint("acme");
        let path = "/repos/acme/widgets/issues";
        for (method, status) in ["POST", "POST", "GET", "GET"].into_iter().zip(statuses) {
            let title = json!({"title": "t"});
            let answer = call(&sim, method, path).token(&token).json(&title).send().await;
            assert_eq!(answer.status, status, "{method}");
            if status == 403 {
                assert!(answer.message().starts_with("You have exceeded a secondary rate limit"));
                assert_eq!(answer.header("retry-after"), "60");
                assert_ne!(answer.header("x-ratelimit-remaining"), "0");
            }
        }
        let refused = statuses.contains(&403);
        assert_eq!(sim.books().violations_total(), u64::from(refused));
        assert_eq!(sim.books().content_creations, if refused { 1 } else { 2 });
    }
}

#[tokio::test]
async fn an_endpoint_has_its_points_a_minute() {
    let secondary = SecondaryLimits { endpoint_points: Some(2), ..SecondaryLimits::default() };
    let sim = start(SimConfig { secondary, ..config() }).await;
    let token = sim.mint("acme");
    let read = |path: &'static str| call(&sim, "GET", path).token(&token).send();
    assert_eq!(read("/repos/acme/widgets").await.status, 200);
    assert_eq!(read("/repos/acme/gadgets").await.status, 200);
    assert_eq!(read("/repos/acme/widgets").await.status, 403, "one endpoint, whatever repository");
    assert_eq!(read("/repos/acme/widgets/issues").await.status, 200);
    sim.clock().advance(Duration::from_secs(60));
    assert_eq!(read("/repos/acme/widgets").await.status, 200);
    let books = sim.books();
    assert_eq!(books.violations["endpoint_points"], 1);
    assert_eq!(books.peak_points_per_minute["installation:1001 GET /repos/{owner}/{repo}"], 2);
}
