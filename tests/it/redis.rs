//! The shared store's connection, against real servers: what is refused at start, and why.

mod failover;

mod loss;
mod uses;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use github_sim::Sim;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use redis::{Value, cmd};
use secrecy::SecretString;
use tempfile::TempDir;
use tollgate::metrics::Metrics;
use tollgate::redis_client::{RedisClient, RedisPlace, RedisSettings, RedisStartError, inspect};

use crate::support::Setup;
use crate::support::redis::{RedisServer, free_port, loopback, settings};

async fn start(settings: RedisSettings) -> Result<Arc<RedisClient>, RedisStartError> {
    RedisClient::start(settings, Arc::new(Metrics::new())).await
}

/// Why starting fails.
async fn refusal(settings: RedisSettings) -> String {
    match start(settings.clone()).await {
        Ok(client) => {
            panic!("{settings:?} is taken, up: {}, {:?}", client.is_up(), inspect(&settings).await)
        }
        Err(error) => error.to_string(),
    }
}

async fn set(client: &RedisClient, value: &str) -> bool {
    client.command("set", cmd("SET").arg("tollgate:test").arg(value)).await == Ok(Value::Okay)
}

/// Whether a message published on a channel is heard there.
async fn hears(client: &RedisClient) -> bool {
    let work = async {
        let mut subscription = client.subscribe("tollgate:test").await?;
        client.publish("tollgate:test", b"x").await.map_err(|error| error.to_string())?;
        Ok::<_, String>(subscription.next().await.is_some_and(|said| said.get_payload_bytes() == b"x"))
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), work).await.is_ok_and(|heard| heard == Ok(true))
}

/// Waits until a client is up and serving, or the opposite; this may take a few seconds.
async fn becomes(client: &RedisClient, is_up: bool) {
    for _ in 0..1500 {
        if client.is_up() == is_up && set(client, "x").await == is_up {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("is_up() is still {} after 30 s", client.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_told_apart() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]).await;
    let open = RedisServer::start(&[]).await;
    let with = |server: &RedisServer, username: Option<&str>, password: &str| RedisSettings {
        username: username.map(str::to_owned),
        password: Some(SecretString::from(password)),
        ..server.settings()
    };
    for sound in [with(&server, None, "hunter2"), with(&server, Some("default"), "hunter2"), open.settings()]
    {
        let client = start(sound).await.unwrap();
        assert!(client.is_up() && set(&client, "x").await && hears(&client).await);
        assert!(!format!("{client:?}").contains("hunter2"));
    }
    for (wrong, expected) in [
        (server.settings(), "asks for a password: name one with `password_env`"),
        (with(&server, None, "hunter3"), "refuses the user name or the password"),
        (with(&server, Some("nobody"), "hunter2"), "refuses the user name or the password"),
        (with(&open, None, "hunter3"), "refuses the user name or the password"),
    ] {
        let error = refusal(wrong).await;
        assert!(error.contains(expected) && !error.contains("hunter"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_too_little_is_refused_at_once() {
    let server = RedisServer::start(&[]).await;
    let user = ["ACL", "SETUSER", "tollgate", "reset", "on", ">secret", "&tollgate*"];
    let settings = RedisSettings {
        username: Some("tollgate".to_owned()),
        password: Some(SecretString::from("secret")),
        ..server.settings()
    };
    let wide = ["~tollgate*", "+@all", "-@dangerous", "+info"];
    for narrow in [
        &["~other:*", "+@all", "-@dangerous", "+info"][..],
        &["%R~tollgate*", "+@all", "-@dangerous", "+info"],
        &["+@all", "-@dangerous", "+info"],
        &["~tollgate*", "+@all", "-@dangerous", "+info", "-@scripting"],
        &["~tollgate*", "+@all", "-@dangerous", "+info", "-@sortedset"],
    ] {
        server.ask(&[&user[..], narrow].concat());
        let why = refusal(settings.clone()).await;
        assert!(why.contains("may not do what tollgate needs"), "{narrow:?}: {why}");
    }
    server.ask(&[&user[..], &wide].concat());
    assert!(start(settings).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_the_one_of_the_url() {
    let server = RedisServer::start(&[]).await;
    let with = |database| settings(RedisPlace::Standalone { address: server.address(), database });
    let client = start(with(3)).await.unwrap();
    assert!(set(&client, "x").await && hears(&client).await);
    assert_eq!(server.ask(&["-n", "3", "GET", "tollgate:test"]), "x");
    let error = refusal(with(99)).await;
    assert!(error.starts_with("budget.redis.url:") && error.contains("no database 99"), "{error}");
}

/// A server that gives the same answer to everything.
fn fake(answer: &'static str) -> RedisSettings {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut bytes = [0; 4096];
            while socket.read(&mut bytes).is_ok_and(|count| count > 0) {
                if socket.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    settings(RedisPlace::Standalone { address: loopback(port), database: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_of_use_is_refused() {
    for (answer, expected) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "is not Redis"),
        ("$21\r\nredis_version:5.0.7\r\n\r\n", "runs Redis 5.0.7: 6.2 or newer is needed"),
        ("$20\r\nserver:of the kind\r\n\r\n", "is not Redis"),
        ("-DENIED Redis is running in protected mode\r\n", "lets nobody in from another machine"),
        ("-NOPERM User x has no permissions to run the 'info' command\r\n", "budget.redis.username:"),
    ] {
        let error = refusal(fake(answer)).await;
        assert!(error.contains(expected), "{answer:?}: {error}");
    }
    let echo = fake("-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n");
    let error = refusal(RedisSettings { password: Some(SecretString::from("hunter2")), ..echo }).await;
    assert!(error.contains("refuses the user name") && !error.contains("hunter2"), "{error}");
    let passing = fake("-ERR max number of clients reached\r\n");
    assert!(!start(passing).await.unwrap().is_up(), "may pass by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_throw_out_keys_are_refused() {
    for (policy, maxmemory, is_taken) in [
        ("noeviction", "100mb", true),
        ("volatile-lru", "0", true),
        ("volatile-ttl", "100mb", false),
        ("allkeys-lru", "0", false),
    ] {
        let server = RedisServer::start(&["--maxmemory-policy", policy, "--maxmemory", maxmemory]).await;
        if is_taken {
            assert!(start(server.settings()).await.unwrap().is_up(), "{policy}");
            continue;
        }
        let error = refusal(server.settings()).await;
        assert!(error.contains(policy) && error.contains("`maxmemory-policy noeviction`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_must_be_what_it_is_said_to_be() {
    let primary = RedisServer::start(&[]).await;
    let of = ["--replicaof", "127.0.0.1", &primary.port.to_string()].map(str::to_owned);
    let replica = RedisServer::start(&of.each_ref().map(String::as_str)).await;
    let node =
        RedisServer::start(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]).await;
    let nodes = vec![primary.address()];
    let places = [
        (replica.settings(), "budget.redis.url:", "read-only replica"),
        (node.settings(), "budget.redis.url:", "under `budget.redis.nodes`"),
        (
            settings(RedisPlace::Cluster { nodes: nodes.clone() }),
            "budget.redis.nodes:",
            "is no node of a cluster",
        ),
        (
            settings(RedisPlace::Sentinel { service: "main".to_owned(), nodes }),
            "budget.redis.sentinel.nodes:",
            "is no sentinel",
        ),
    ];
    for (settings, key, expected) in places {
        let error = refusal(settings).await;
        assert!(error.starts_with(key) && error.contains(expected), "{error}");
    }
}

/// Files of a certificate authority and a certificate that it issued for loopback.
fn write_certificates() -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in
        [("ca.pem", authority_pem.clone()), ("tls.pem", certificate.pem()), ("tls.key", key.serialize_pem())]
    {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    (directory, authority_pem.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_whom_it_is_told_to() {
    let (directory, ca_pem) = write_certificates();
    let (_, other_ca) = write_certificates();
    let args =
        ["--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no", "--tls-cert-file", "tls.pem"];
    let args = [&args[..], &["--tls-key-file", "tls.key", "--tls-ca-cert-file", "ca.pem"]].concat();
    let server = RedisServer::start_in(directory, &args).await;
    let plain = RedisServer::start(&[]).await;
    let with = |port, ca_pem: Option<&Vec<u8>>| {
        let address = tollgate::redis_client::RedisAddress { is_tls: true, ..loopback(port) };
        let place = RedisPlace::Standalone { address, database: 0 };
        RedisSettings { ca_pem: ca_pem.cloned(), ..settings(place) }
    };
    let client = start(with(server.port, Some(&ca_pem))).await.unwrap();
    assert!(client.is_up() && set(&client, "x").await && hears(&client).await);
    for untrusted in [with(server.port, None), with(server.port, Some(&other_ca))] {
        let error = refusal(untrusted).await;
        assert!(
            error.contains("no TLS with 127.0.0.1") && error.contains("`budget.redis.ca_file`"),
            "{error}"
        );
    }
    // One of them says nothing at all, and the other hangs up.
    let why = inspect(&with(plain.port, None)).await.unwrap_err();
    assert!(why.contains("speaks no TLS"), "{why}");
    let why = inspect(&server.settings()).await.unwrap_err();
    assert!(why.contains("rediss://"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_inspection_says() {
    let server = RedisServer::start(&[]).await;
    let [found] = inspect(&server.settings()).await.unwrap().try_into().unwrap();
    assert_eq!((found.address, found.policy.as_str()), (format!("127.0.0.1:{}", server.port), "noeviction"));
    assert!(found.version.split('.').count() == 3, "{}", found.version);
    let gone = settings(RedisPlace::Standalone { address: loopback(free_port()), database: 0 });
    let why = inspect(&gone).await.unwrap_err();
    assert!(why.contains("can't be reached") && why.contains("refused"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_reaches_redis() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let server = RedisServer::start(&["--requirepass", "hunter2"]).await;
    let files = TempDir::new().unwrap();
    std::fs::write(files.path().join("right"), "hunter2").unwrap();
    std::fs::write(files.path().join("wrong"), "hunter3").unwrap();
    for (password, code, expected) in [
        ("right", 0, format!("redis 127.0.0.1:{} (standalone): version ", server.port)),
        ("wrong", 1, "wrong: budget.redis: 127.0.0.1:".to_owned()),
    ] {
        let mut setup = Setup::worker();
        let url = server.url();
        setup.further =
            format!("budget: {{ store: redis, redis: {{ url: \"{url}\", password_file: {password} }} }}\n");
        let config = setup.write_config(&sim, &files);
        let mut check = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        check.args(["check", "--online", "--config"]).arg(config);
        let output = tokio::task::spawn_blocking(move || check.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(&expected) && !said.contains("hunter"), "{said}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("1 problem") == (code == 1));
    }
}
