//! Another server takes over: with sentinels, and in a cluster.

use std::process::Command;
use std::time::Duration;

use redis::{Script, Value, cmd};
use tempfile::TempDir;
use tokio::time::sleep;
use tollgate::redis_client::{RedisAddress, RedisClient, RedisPlace, inspect};

use super::{becomes, hears, refusal, set, start};
use crate::support::redis::{RedisServer, free_port, settings};

/// Polls for something that takes a few seconds, such as an election.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not happen within a minute");
}

async fn sentinel(primary: u16) -> RedisServer {
    let directory = TempDir::new().unwrap();
    let conf = format!(
        "sentinel monitor main 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 3000\n"
    );
    std::fs::write(directory.path().join("sentinel.conf"), conf).unwrap();
    RedisServer::start_in(directory, &["--sentinel"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_away_from_a_dead_primary() {
    sentinels_lead_to_the_new_primary(RedisServer::kill9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_away_from_a_primary_that_hangs() {
    sentinels_lead_to_the_new_primary(|primary| primary.pause()).await;
}

async fn sentinels_lead_to_the_new_primary(fail: impl FnOnce(&mut RedisServer)) {
    let mut primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = primary.port.to_string();
    let replica =
        RedisServer::start(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await;
    until("the replica's sync", || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"))
        .await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(sentinel(primary.port).await);
    }
    let knows_all = |sentinel: &RedisServer| {
        let said = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
        let lines: Vec<&str> = said.lines().collect();
        let value = |key| lines.iter().position(|line| *line == key).map(|at| lines[at + 1]);
        value("num-slaves") == Some("1") && value("num-other-sentinels") == Some("2")
    };
    until("that sentinels know each other", || sentinels.iter().all(knows_all)).await;

    let nodes: Vec<RedisAddress> = sentinels.iter().map(RedisServer::address).collect();
    let place = |service: &str| RedisPlace::Sentinel { service: service.to_owned(), nodes: nodes.clone() };
    let error = refusal(settings(place("other"))).await;
    assert!(error.starts_with("budget.redis.sentinel.service:") && error.contains("`other`"), "{error}");
    let error = refusal(sentinels[0].settings()).await;
    assert!(error.contains("under `budget.redis.sentinel`"), "{error}");

    let client = start(settings(place("main"))).await.unwrap();
    assert!(set(&client, "x").await && hears(&client).await);
    fail(&mut primary);
    becomes(&client, false).await;
    becomes(&client, true).await;
    assert!(replica.ask(&["ROLE"]).starts_with("master"));
    assert_eq!(replica.ask(&["GET", "tollgate:test"]), "x");
    assert!(hears(&client).await, "who subscribes is led to the new primary, too");
}

const TAGS: [&str; 3] = ["{a}", "{b}", "{c}"];

/// Three primaries and three replicas, each in sync.
async fn cluster() -> Vec<RedisServer> {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        let bus = free_port().to_string();
        let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
        let quick = ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"];
        nodes.push(RedisServer::start(&[&args[..], &quick].concat()).await);
    }
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&addresses);
    create.args(["--cluster-replicas", "1", "--cluster-yes"]);
    let output = tokio::task::spawn_blocking(move || create.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    until("that the cluster is whole", || {
        let links = nodes.iter().filter(|node| {
            let said = node.ask(&["INFO", "replication"]);
            said.contains("master_link_status:up") || said.contains("state=online")
        });
        links.count() == 6
            && nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    })
    .await;
    nodes
}

/// Sets a key on each of several primaries; returns how many succeeded.
async fn set_all(client: &RedisClient, script: &Script, value: &str) -> usize {
    let mut done = 0;
    for tag in TAGS {
        let key = format!("tollgate:{tag}");
        let reply = client.script("set", script, &[key], &[value]).await;
        done += usize::from(reply == Ok(Value::Okay));
    }
    done
}

/// The index of the primary that has a tag's key, except `none`.
fn owner(nodes: &[RedisServer], tag: &str, none: Option<usize>) -> Option<usize> {
    let key = format!("tollgate:{tag}");
    let has_it = |node: &RedisServer| {
        node.ask(&["ROLE"]).starts_with("master") && !node.ask(&["GET", &key]).starts_with("MOVED")
    };
    (0..nodes.len()).find(|i| Some(*i) != none && has_it(&nodes[*i]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_with_the_replicas_of_primaries_that_die_and_hang() {
    let mut nodes = cluster().await;
    let place = RedisPlace::Cluster { nodes: nodes.iter().take(2).map(RedisServer::address).collect() };
    let found = inspect(&settings(place.clone())).await.unwrap();
    assert_eq!(found.len(), 3, "each primary is checked: {found:?}");
    let client = start(settings(place.clone())).await.unwrap();
    let script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    assert_eq!(set_all(&client, &script, "1").await, TAGS.len());
    for _ in 0..4 {
        assert!(hears(&client).await, "at any node");
    }

    let hanging = owner(&nodes, "{b}", None).expect("somebody has the key");
    nodes[hanging].pause();
    until("the failover", || owner(&nodes, "{b}", Some(hanging)).is_some()).await;
    serves_all(&client, &script, "hanging").await;
    // It learns that it is now a replica.
    nodes[hanging].resume();
    until("its return", || nodes[hanging].ask(&["ROLE"]).starts_with("slave")).await;
    let dead = owner(&nodes, "{a}", None).expect("somebody has the key");
    nodes[dead].kill9();
    until("the failover", || owner(&nodes, "{a}", Some(dead)).is_some()).await;
    serves_all(&client, &script, "dead").await;
    assert_eq!(
        client.command("get", cmd("GET").arg("tollgate:{b}")).await,
        Ok(Value::BulkString(b"dead".to_vec()))
    );

    // A single primary that would evict keys is enough.
    let other = owner(&nodes, "{c}", None).expect("somebody has the key");
    nodes[other].ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let error = refusal(settings(place)).await;
    assert!(error.contains(&format!("127.0.0.1:{} may throw out keys", nodes[other].port)), "{error}");
}

async fn serves_all(client: &RedisClient, script: &Script, value: &str) {
    let mut done = 0;
    for _ in 0..600 {
        done = set_all(client, script, value).await;
        if done == TAGS.len() && client.is_up() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("only {done} keys are served again after 30 s");
}
