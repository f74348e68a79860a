//! Two replicas on one real Redis.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tollgate::app::App;
use tollgate::cache::changes::{Area, Change, Changes, Reach};
use tollgate::cache::feed::{Feed, News};
use tollgate::clock::SystemClock;
use tollgate::config;
use tollgate::proxy::listener::Bounds;
use tollgate::redis_client::RedisClient;

use super::told::{Told, delivery, last, push, section};
use super::{minted, now_ms};
use crate::support::redis::RedisServer;
use crate::support::{Setup, eventually};

/// One replica that gets GitHub's deliveries, and another that only hears of them.
async fn two(redis: &RedisServer) -> (Told, Other) {
    let budget = format!("budget: {{ store: redis, redis: {{ url: \"{}\" }} }}\n", redis.url());
    let told = Told::of(Setup { further: section() + &budget, ..Setup::worker() }).await;
    let other = another(&told).await;
    eventually("that both hear", || told.feed.is_whole() && other.feed.is_whole()).await;
    (told, other)
}

struct Other {
    base: String,
    changes: Arc<Changes>,
    feed: Arc<Feed>,
}

async fn another(told: &Told) -> Other {
    let (config, _) = config::from_file(&told.tollgate.files.path().join("tollgate.yaml")).unwrap();
    let app = App::start_with(config, Arc::new(SystemClock), Bounds::default()).await.unwrap();
    let base = format!("http://{}", app.address().unwrap());
    let (changes, feed) = (app.changes(), app.feed());
    tokio::spawn(app.run());
    Other { base, changes, feed }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_hears_of_all_know() {
    let redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    let start = last(&other.changes, Area::Issues);
    assert!(start > 0, "whoever begins to listen takes everything for changed");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(told.send(&push("1")).await.status, StatusCode::ACCEPTED);
    eventually("the mark", || last(&other.changes, Area::Code) > start).await;
    assert_eq!(last(&other.changes, Area::Issues), start);
    eventually("that it is done", || told.feed.is_delivered("1") && other.feed.is_delivered("1")).await;
    let reach = Reach { repository: Some("acme/widgets".to_owned()), area: Some(Area::Code) };
    assert!(other.changes.covers(&reach));
    // And what another replica wrote.
    let change = Change::Repository { name: "acme/widgets".to_owned(), areas: vec![Area::Releases] };
    other.feed.publish(News::changed(change)).await.unwrap();
    eventually("the mark", || last(&told.changes, Area::Releases) > start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_one_replica_is_known_to_the_other() {
    const CONNECTIONS: usize = 16;
    const EACH: usize = 250;
    let redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    let started = now_ms();
    let senders = told.flood(CONNECTIONS, EACH);
    senders.join_all().await;
    let ids =
        (0..CONNECTIONS).flat_map(|connection| (0..EACH).map(move |number| format!("{connection}-{number}")));
    let ids: Vec<String> = ids.collect();
    let shed = told.count("push", "shed").await;
    let known = || ids.iter().filter(|id| other.feed.is_delivered(id)).count();
    eventually("that the other knows", || u64::try_from(known()).unwrap() + shed == 4_000).await;
    eprintln!(
        "{} deliveries known to another replica after {} ms, {shed} shed",
        ids.len(),
        now_ms() - started
    );
    let metrics = told.tollgate.metrics().await;
    assert!(!metrics.contains("feed_messages_total{result=\"missed\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_ends_ends_everywhere() {
    let redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    let read = async || {
        for _ in 0..100 {
            let answer =
                told.tollgate.ask_at("GET", &format!("{}/repos/acme/widgets", other.base)).send().await;
            if answer.status == StatusCode::OK {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing is served");
    };
    read().await;
    let before = minted(&told.tollgate);
    read().await;
    assert_eq!(minted(&told.tollgate), before);
    let payload = json!({"action": "suspend", "installation": {"id": 1, "account": {"login": "acme"}}});
    told.send(&delivery("installation", "1", payload.to_string())).await;
    eventually("that it is known", || other.feed.is_delivered("1")).await;
    read().await;
    assert_eq!(minted(&told.tollgate), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_whole_and_afterwards_everything_changed() {
    let mut redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    let before = last(&other.changes, Area::Issues);
    redis.kill9();
    eventually("that nobody is heard", || !told.feed.is_whole() && !other.feed.is_whole()).await;
    // It is known here, and GitHub can redeliver it until the others know.
    assert_eq!(told.send(&push("1")).await.status, StatusCode::ACCEPTED);
    told.counts("push", "failed", 1).await;
    assert!(told.last(Area::Code) > before && !told.feed.is_delivered("1"));
    let nobody_waits = async {
        for _ in 0..100 {
            assert!(told.feed.publish(News::changed(Change::Everything)).await.is_err());
        }
    };
    tokio::time::timeout(Duration::from_secs(5), nobody_waits).await.expect("less than 100 ms for each");
    redis.restart_empty().await;
    eventually("that both hear", || told.feed.is_whole() && other.feed.is_whole()).await;
    assert!(last(&other.changes, Area::Issues) > before);
    eventually("that it is told late", || other.feed.is_delivered("1") && told.feed.is_delivered("1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_noticed() {
    let redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    let before = last(&other.changes, Area::Issues);
    redis.pause();
    eventually("that nobody is heard", || !told.feed.is_whole() && !other.feed.is_whole()).await;
    redis.resume();
    eventually("that both hear", || told.feed.is_whole() && other.feed.is_whole()).await;
    assert!(last(&other.changes, Area::Issues) > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_channel_makes_everything_changed_and_no_more() {
    let redis = RedisServer::start(&[]).await;
    let (told, other) = two(&redis).await;
    for rubbish in
        ["", "hello", "0011223344556677 1\n[[[[", "0011223344556677 9\n[]", "0011223344556677 99\n[]"]
    {
        let before = last(&other.changes, Area::Issues);
        tokio::time::sleep(Duration::from_millis(2)).await;
        redis.ask(&["PUBLISH", "tollgate:1:news", rubbish]);
        if rubbish != "0011223344556677 9\n[]" {
            eventually("the mark", || last(&other.changes, Area::Issues) > before).await;
        }
    }
    assert!(told.feed.is_whole() && other.feed.is_whole());
    let large = "x".repeat(100_000);
    redis.ask(&["PUBLISH", "tollgate:1:news", &large]);
    assert_eq!(told.send(&push("1")).await.status, StatusCode::ACCEPTED);
    eventually("that it is done", || other.feed.is_delivered("1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_channels_keeps_the_budget_and_believes_nothing() {
    let redis = RedisServer::start(&[]).await;
    let commands = ["+@all", "-@dangerous", "+info"];
    let user = ["ACL", "SETUSER", "tollgate", "on", ">secret", "~tollgate*", "resetchannels"];
    redis.ask(&[&user[..], &commands].concat());
    let metrics = Arc::new(tollgate::metrics::Metrics::new());
    let mut settings = redis.settings();
    (settings.username, settings.password) = (Some("tollgate".to_owned()), Some("secret".to_owned().into()));
    let client = RedisClient::start(settings, Arc::clone(&metrics)).await.unwrap();
    let changes = Arc::new(Changes::new(Arc::new(SystemClock)));
    let feed = Arc::new(Feed::new(changes, Some(Arc::clone(&client)), metrics));
    let tending = Arc::clone(&feed);
    let tend = tokio::spawn(async move { tending.tend().await });
    for _ in 0..20 {
        assert!(feed.publish(News::changed(Change::Everything)).await.is_err());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.is_up() && !feed.is_whole());
    redis.ask(&["ACL", "SETUSER", "tollgate", "&tollgate*"]);
    eventually("that it is heard", || feed.is_whole()).await;
    tend.abort();
}
