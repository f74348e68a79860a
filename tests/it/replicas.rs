//! Replicas that share a real Redis, and what agents see when it is away, empty or full of garbage.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tollgate::app::App;
use tollgate::clock::SystemClock;
use tollgate::config;
use tollgate::proxy::listener::Bounds;

use crate::support::redis::RedisServer;
use crate::support::{Setup, Tollgate, UNCACHED};

const PATH: &str = "/repos/acme/widgets";
const STATE: &str = "tollgate:1:{bot/acme}:l";

async fn start(redis: &RedisServer, further: &str) -> Tollgate {
    let budget = format!("budget: {{ store: redis, redis: {{ url: \"{}\" }}{further} }}\n", redis.url());
    Setup { further: budget, cache: UNCACHED, ..Setup::worker() }.start().await
}

/// Starts another replica with the same file; returns its address.
async fn another(tollgate: &Tollgate) -> String {
    let (config, _) = config::from_file(&tollgate.files.path().join("tollgate.yaml")).unwrap();
    let app = App::start_with(config, Arc::new(SystemClock), Bounds::default()).await.unwrap();
    let base = format!("http://{}", app.address().unwrap());
    tokio::spawn(app.run());
    base
}

async fn metric(tollgate: &Tollgate, name: &str) -> f64 {
    let metrics = tollgate.metrics().await;
    let values =
        metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>()
}

/// Asks until GitHub's answer comes.
async fn until_served(tollgate: &Tollgate) {
    for _ in 0..100 {
        let answer = tollgate.get(PATH).await;
        if answer.status == StatusCode::OK {
            return;
        }
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing is served");
}

async fn until(tollgate: &Tollgate, name: &str, is_so: impl Fn(f64) -> bool) {
    for _ in 0..200 {
        if is_so(metric(tollgate, name).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name}: {}", metric(tollgate, name).await);
}

/// The store is told of GitHub's figures behind the answer, and it said that one call was left.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_tells_what_is_left() {
    let redis = RedisServer::start(&[]).await;
    let tollgate = start(&redis, "").await;
    let mut first = tollgate.get(PATH).await;
    while first.status != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(100)).await;
        first = tollgate.get(PATH).await;
    }
    let figure = |name: &str| first.header(name).parse::<i64>().unwrap();
    assert_eq!(figure("x-ratelimit-remaining"), figure("x-tollgate-upstream-remaining"));
    assert_eq!(figure("x-ratelimit-reset"), figure("x-tollgate-upstream-reset"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_spends_from_one_budget_wherever_it_asks() {
    let redis = RedisServer::start(&[]).await;
    let mut tollgate = start(&redis, "").await;
    let bases = [tollgate.base.clone(), another(&tollgate).await];
    for call in 0..10 {
        tollgate.base.clone_from(&bases[call % 2]);
        until_served(&tollgate).await;
    }
    for base in bases {
        tollgate.base = base;
        let mut used = 0;
        for _ in 0..50 {
            used = tollgate.get("/rate_limit").await.json()["resources"]["core"]["used"].as_u64().unwrap();
            if used == 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(used, 10);
    }
    assert!((metric(&tollgate, "tollgate_store_up").await - 1.0).abs() < f64::EPSILON);
    assert!(metric(&tollgate, "tollgate_store_duration_seconds_count{op=\"admit\"}").await >= 5.0);
    tollgate.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_at_the_same_time_is_asked_together() {
    let redis = RedisServer::start(&[]).await;
    let tollgate = start(&redis, "").await;
    until_served(&tollgate).await;
    let steps = async || {
        metric(&tollgate, "tollgate_store_duration_seconds_count{op=\"admit\"}").await
            + metric(&tollgate, "tollgate_store_duration_seconds_count{op=\"settle\"}").await
    };
    let before = steps().await;
    redis.ask(&["CONFIG", "RESETSTAT"]);
    // The first scripts wait, so later requests are sent with the next one.
    redis.ask(&["CLIENT", "PAUSE", "40"]);
    let all = (0..60).map(|_| tollgate.get(PATH));
    assert!(join_all(all).await.iter().all(|answer| answer.status == StatusCode::OK));
    let steps = steps().await - before;
    let stats = redis.ask(&["INFO", "commandstats"]);
    let scripts = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    let scripts: f64 = scripts.split(',').next().unwrap().parse().unwrap();
    assert!(steps >= 120.0, "each call has two steps: {steps}");
    assert!(scripts < steps, "{scripts} scripts for {steps} steps");
    tollgate.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_a_replica_goes_on_and_comes_back() {
    let mut redis = RedisServer::start(&[]).await;
    let tollgate = start(&redis, "").await;
    until_served(&tollgate).await;
    redis.kill9();
    until_served(&tollgate).await;
    until(&tollgate, "tollgate_store_up", |up| up == 0.0).await;
    until_served(&tollgate).await;
    redis.restart_empty().await;
    until(&tollgate, "tollgate_store_up", |up| up == 1.0).await;
    for _ in 0..200 {
        if redis.ask(&["HEXISTS", STATE, "resource:core"]).trim() == "1" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_served(&tollgate).await;
    assert_eq!(redis.ask(&["HEXISTS", STATE, "resource:core"]).trim(), "1", "it is told what was known");
    tollgate.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_nothing_goes_up_without_the_store() {
    let mut redis = RedisServer::start(&[]).await;
    let tollgate = start(&redis, ", on_store_loss: refuse").await;
    until_served(&tollgate).await;
    redis.kill9();
    let before = tollgate.arrived().len();
    for _ in 0..3 {
        let answer = tollgate.get(PATH).await;
        assert_eq!(
            (answer.status, answer.header("x-tollgate-error")),
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
        );
        assert_eq!(answer.header("retry-after"), "2");
        let graphql = tollgate
            .ask("POST", "/graphql")
            .json(&serde_json::json!({"query": "{viewer{login}}"}))
            .send()
            .await;
        assert_eq!(graphql.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(graphql.json()["errors"][0]["extensions"]["tollgate"]["code"], "store_unavailable");
    }
    assert_eq!(tollgate.arrived().len(), before);
    redis.restart_empty().await;
    until_served(&tollgate).await;
    tollgate.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_never_taken_for_a_budget() {
    for rubbish in [
        &["HSET", STATE, "resource:core", "rubbish"][..],
        &["HSET", STATE, "gate:pool:core", "\u{1}\u{2}"],
        &["HSET", STATE, "gate:installation", "123456789"],
        &["SET", STATE, "a text"],
        &["SET", "tollgate:1:{bot/acme}:i", "a text"],
        &["SET", "tollgate:1:{bot/acme}:x", "a text"],
        &["HSET", "tollgate:1:{bot/acme}:i", "ring:all", "x", "ledger", "y"],
    ] {
        let redis = RedisServer::start(&[]).await;
        let tollgate = start(&redis, "").await;
        until_served(&tollgate).await;
        redis.ask(&["DEL", rubbish[1]]);
        redis.ask(rubbish);
        // In degraded mode, one call runs at a time.
        for _ in 0..3 {
            until_served(&tollgate).await;
        }
        let errors = metric(&tollgate, "tollgate_store_errors_total{kind=\"server\"}").await;
        assert!(errors >= 1.0, "{rubbish:?}");
        assert!((metric(&tollgate, "tollgate_store_up").await - 1.0).abs() < f64::EPSILON, "{rubbish:?}");
        redis.ask(&["FLUSHALL"]);
        until_served(&tollgate).await;
        tollgate.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_writes_on_a_new_store_do_not_wait_for_one_another() {
    let redis = RedisServer::start(&[]).await;
    let tollgate = start(&redis, "").await;
    // A new store grants nothing for two seconds.
    until_served(&tollgate).await;
    for _ in 0..3 {
        let issue = serde_json::json!({"title": "x"});
        let answer = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&issue).send().await;
        assert_eq!(answer.verdict(), "201", "{}", answer.text());
    }
}
