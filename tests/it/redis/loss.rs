//! Servers that disappear, hang, lose their scripts, and come back.

use std::sync::Arc;
use std::time::Duration;

use redis::{Script, Value, cmd};
use tokio::time::{Instant, sleep};
use tollgate::budget::store::StoreAway;
use tollgate::metrics::Metrics;
use tollgate::redis_client::{RedisClient, RedisPlace};

use super::{becomes, refusal, set, start};
use crate::support::redis::{RedisServer, free_port, loopback, settings};

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_loaded_again() {
    let server = RedisServer::start(&[]).await;
    let client = start(server.settings()).await.unwrap();
    let script = Script::new("return {KEYS[1], ARGV[1], #ARGV}");
    for _ in 0..3 {
        let reply = client.script("test", &script, &["tollgate:{a}".to_owned()], &["1", "é"]).await.unwrap();
        let reply: (String, String, i64) = redis::from_redis_value(reply).unwrap();
        assert_eq!(reply, ("tollgate:{a}".to_owned(), "1".to_owned(), 2));
        assert_eq!(server.ask(&["SCRIPT", "FLUSH"]), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_one_key_leaves_the_others_alone() {
    let server = RedisServer::start(&[]).await;
    let metrics = Arc::new(Metrics::new());
    let client = RedisClient::start(server.settings(), Arc::clone(&metrics)).await.unwrap();
    assert!(set(&client, "x").await);
    let connections = server.ask(&["INFO", "stats"]);
    let wrong = client.command("push", cmd("LPUSH").arg("tollgate:test").arg(1)).await;
    let broken = client.script("broken", &Script::new("return {err = 'garbled'}"), &[], &[]).await;
    assert_eq!((wrong, broken), (Err(StoreAway), Err(StoreAway)));
    assert!(client.is_up() && set(&client, "x").await);
    let text = metrics.render();
    for line in [
        "tollgate_store_errors_total{kind=\"server\"} 2",
        "tollgate_store_up 1",
        "tollgate_store_duration_seconds_count{op=\"set\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let received = |info: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"))
            .unwrap()
            .trim()
            .to_owned()
    };
    let after: u64 = received(&server.ask(&["INFO", "stats"])).parse().unwrap();
    assert_eq!(after, received(&connections).parse::<u64>().unwrap() + 1, "that of redis-cli alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_costs_no_call() {
    let server = RedisServer::start(&[]).await;
    let client = start(server.settings()).await.unwrap();
    for round in 0..5 {
        assert_eq!(server.ask(&["CLIENT", "KILL", "TYPE", "normal"]), "1");
        sleep(Duration::from_millis(20 * round)).await;
        assert!(set(&client, "x").await, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_died_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start(&[]).await;
    let client = start(server.settings()).await.unwrap();
    for _ in 0..2 {
        server.kill9();
        // No calls are made; the loss is noticed all the same.
        for _ in 0..500 {
            if !client.is_up() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert!(!client.is_up());
        let started = Instant::now();
        for _ in 0..1000 {
            assert!(!set(&client, "x").await);
        }
        assert!(started.elapsed() < Duration::from_secs(2), "calls fail at once: {:?}", started.elapsed());
        server.restart_empty().await;
        becomes(&client, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_up_few() {
    let server = RedisServer::start(&[]).await;
    let metrics = Arc::new(Metrics::new());
    let client = RedisClient::start(server.settings(), Arc::clone(&metrics)).await.unwrap();
    server.pause();
    let (mut slow, mut quick) = (0, 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        assert!(!set(&client, "x").await);
        if asked.elapsed() > Duration::from_millis(50) {
            slow += 1
        } else {
            quick += 1
        }
        sleep(Duration::from_millis(5)).await;
    }
    server.resume();
    assert!(slow <= 4 && quick >= 50, "{slow} were held up, {quick} were not");
    assert!(metrics.render().contains("tollgate_store_errors_total{kind=\"timeout\"}"));
    becomes(&client, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_come_after_us() {
    let address = loopback(free_port());
    let place = RedisPlace::Standalone { address: address.clone(), database: 0 };
    let metrics = Arc::new(Metrics::new());
    let client = RedisClient::start(settings(place), Arc::clone(&metrics)).await.unwrap();
    assert!(!client.is_up() && !set(&client, "x").await);
    assert!(metrics.render().contains("tollgate_store_up 0"));
    // A server that comes back is checked, and not used until it is valid.
    let server = RedisServer::start_at(address.port, &["--maxmemory-policy", "allkeys-lru"]).await;
    assert!(refusal(server.settings()).await.contains("allkeys-lru"));
    sleep(Duration::from_millis(1500)).await;
    assert!(!client.is_up() && !set(&client, "x").await);
    assert_eq!(server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
    becomes(&client, true).await;
    assert_eq!(
        client.command("get", cmd("GET").arg("tollgate:test")).await,
        Ok(Value::BulkString(b"x".to_vec()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_it_is_away_and_not_reconnected() {
    let server = RedisServer::start(&["--maxmemory", "100mb"]).await;
    let client = start(server.settings()).await.unwrap();
    assert!(set(&client, "x").await);
    assert_eq!(server.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert!(!set(&client, "x").await);
    assert!(!client.is_up());
    assert_eq!(server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]), "OK");
    becomes(&client, true).await;
}
