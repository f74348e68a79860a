//! Switching agents off and on: who may, what it does, and that nothing of theirs is sent any more.

use std::sync::Arc;
use std::time::Duration;

use github_sim::SimConfig;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tollgate::agent::disabled::DisabledAgents;
use tollgate::metrics::Metrics;
use tollgate::redis_client::RedisClient;

use crate::support::redis::RedisServer;
use crate::support::{Setup, Tollgate, UNCACHED, agent, eventually};

const TOKEN: &str = "an-admin-token";
const RIGHT: (&str, &str) = ("authorization", "Bearer an-admin-token");

/// Two agents and a third that the file disables, with an admin token.
async fn fleet() -> Tollgate {
    let agents = vec![
        agent("reviewer", &["repositories: [acme/*]"]),
        agent("writer", &["repositories: [acme/*]"]),
        agent("gone", &["repositories: [acme/*]", "disabled: true"]),
    ];
    start(agents, SimConfig::default()).await
}

async fn start(agents: Vec<crate::support::TestAgent>, sim: SimConfig) -> Tollgate {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
    let server = format!("  admin_token_file: {}\n", token.path().display());
    Setup { server, sim, cache: UNCACHED, ..Setup::with(agents) }.start().await
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Told {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(tollgate: &Tollgate, method: &str, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Told {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("{}{path}", tollgate.admin));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = client.request(request.body(Full::new(bytes::Bytes::from(body))).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Told { status: head.status, headers: head.headers, body }
}

async fn post(tollgate: &Tollgate, path: &str, fields: &[(&str, &str)]) -> Told {
    send(tollgate, "POST", path, fields, Vec::new()).await
}

async fn switch(tollgate: &Tollgate, agent: &str, to: &str) -> Told {
    post(tollgate, &format!("/api/agents/{agent}/{to}"), &[RIGHT]).await
}

#[tokio::test]
async fn a_disabled_agent_is_refused_and_others_are_not() {
    let tollgate = fleet().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    for _ in 0..2 {
        let told = switch(&tollgate, "reviewer", "disable").await;
        assert_eq!(
            (told.status, told.body),
            (StatusCode::OK, json!({"agent": "reviewer", "disabled": true}))
        );
    }
    let arrived = tollgate.arrived().len();
    for path in ["/repos/acme/widgets", "/tollgate/me", "/rate_limit", "/user"] {
        let answer = tollgate.get(path).await;
        assert_eq!(answer.verdict(), "403 operation_forbidden", "{path}");
        assert_eq!(answer.json()["message"], "Agent reviewer is disabled. Ask its operator.");
    }
    assert_eq!(tollgate.arrived().len(), arrived);
    assert_eq!(tollgate.ask("GET", "/repos/acme/widgets").by(1).send().await.verdict(), "200");
    for _ in 0..2 {
        let told = switch(&tollgate, "%72eviewer", "enable").await;
        assert_eq!(
            (told.status, told.body),
            (StatusCode::OK, json!({"agent": "reviewer", "disabled": false}))
        );
    }
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tollgate.assert_clean();
}

#[tokio::test]
async fn only_the_admin_token_opens_it() {
    let tollgate = fleet().await;
    let path = "/api/agents/reviewer/disable";
    for field in
        [None, Some("Bearer wrong"), Some("Basic wrong"), Some("Bearer"), Some("token an-admin-token")]
    {
        let fields: Vec<_> = field.map(|value| ("authorization", value)).into_iter().collect();
        let told = post(&tollgate, path, &fields).await;
        assert_eq!((told.status.as_u16(), told.header("www-authenticate")), (401, "Bearer"), "{field:?}");
        assert!(!told.message().is_empty());
    }
    let key = format!("Bearer {}", tollgate.key(0));
    assert_eq!(post(&tollgate, path, &[("authorization", &key)]).await.status.as_u16(), 401);
    assert_eq!(post(&tollgate, path, &[RIGHT, RIGHT]).await.status.as_u16(), 400);
    assert_eq!(post(&tollgate, path, &[RIGHT, ("authorization", "Bearer wrong")]).await.status.as_u16(), 400);
    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        let told = post(&tollgate, path, &[RIGHT, ("origin", origin)]).await;
        assert_eq!(told.status.as_u16(), 403, "{origin}");
    }
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200", "nothing was changed");
    let own = tollgate.admin.clone();
    assert_eq!(
        post(&tollgate, path, &[("authorization", "bEARER an-admin-token"), ("origin", &own)])
            .await
            .status
            .as_u16(),
        200
    );
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "403 operation_forbidden");
}

#[tokio::test]
async fn without_a_token_it_says_how_to_set_one() {
    let tollgate = Setup::worker().start().await;
    for fields in [&[][..], &[RIGHT], &[("authorization", "Bearer ")]] {
        let told = post(&tollgate, "/api/agents/worker/disable", fields).await;
        assert_eq!(told.status.as_u16(), 403);
        let message = told.message();
        assert!(message.contains("`server.admin_token_env`") && message.contains("_file`"), "{message}");
    }
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn methods_names_and_bodies_are_checked() {
    let tollgate = fleet().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let told = send(&tollgate, method, "/api/agents/reviewer/disable", &[RIGHT], Vec::new()).await;
        assert_eq!((told.status.as_u16(), told.header("allow")), (405, "POST"), "{method}");
    }
    for (path, status) in [
        ("/api/agents/nobody/disable", 404),
        ("/api/agents/Reviewer/disable", 404),
        ("/api/agents/reviewer%20/disable", 404),
        ("/api/agents/%2572eviewer/disable", 404),
        ("/api/agents/%7/disable", 400),
        ("/api/agents/..%2Freviewer/disable", 400),
        ("/api/agents/reviewer/disable/now", 405),
        ("/livez", 405),
    ] {
        assert_eq!(post(&tollgate, path, &[RIGHT]).await.status.as_u16(), status, "{path}");
    }
    let unknown = post(&tollgate, "/api/agents/nobody/disable", &[RIGHT]).await;
    assert_eq!(unknown.body, json!({ "message": "No agent has this name." }));
    for (length, status) in [(65_536, 200), (65_537, 413)] {
        let path = "/api/agents/writer/enable";
        let told = send(&tollgate, "POST", path, &[RIGHT], vec![b'x'; length]).await;
        assert_eq!(told.status.as_u16(), status, "{length}");
    }
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let tollgate = fleet().await;
    let mut socket = TcpStream::connect(tollgate.admin.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /api/agents/reviewer/disable HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    for _ in 0..64 {
        if socket.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn what_the_file_disables_only_the_file_enables() {
    let tollgate = fleet().await;
    assert_eq!(switch(&tollgate, "gone", "disable").await.status.as_u16(), 200);
    let told = switch(&tollgate, "gone", "enable").await;
    assert_eq!(told.status.as_u16(), 409);
    assert!(told.message().contains("configuration file"), "{}", told.message());
    let answer = tollgate.ask("GET", "/repos/acme/widgets").by(2).send().await;
    assert_eq!(answer.verdict(), "403 operation_forbidden");
}

#[tokio::test]
async fn a_call_that_waits_is_not_sent_any_more() {
    let tollgate = fleet().await;
    let path = "/search/issues?q=repo:acme/widgets";
    let search = |wait| tollgate.ask("GET", path).header("prefer", wait);
    let mut last = String::new();
    for _ in 0..60 {
        last = search("wait=0").send().await.verdict();
        if last != "200" {
            break;
        }
    }
    assert_eq!(last, "403 budget_exhausted");
    let arrived = tollgate.arrived().len();
    let (answer, ()) = tokio::join!(search("wait=60").send(), async {
        let mut metrics = String::new();
        for _ in 0..200 {
            metrics = tollgate.metrics().await;
            if metrics.contains("tollgate_waiting{agent=\"reviewer\"} 1") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(metrics.contains("tollgate_waiting{agent=\"reviewer\"} 1"), "it waits");
        assert_eq!(switch(&tollgate, "reviewer", "disable").await.status.as_u16(), 200);
    });
    assert_eq!(answer.verdict(), "403 operation_forbidden");
    assert_eq!(answer.json()["message"], "Agent reviewer is disabled. Ask its operator.");
    assert_eq!(tollgate.arrived().len(), arrived, "nothing was sent");
    // What was reserved for it is available to another agent.
    let other = tollgate.ask("GET", path).by(1).header("prefer", "wait=30").send().await;
    assert_eq!(other.verdict(), "200");
    let metrics = tollgate.metrics().await;
    assert!(!metrics.lines().any(|line| line.starts_with("tollgate_inflight{") && !line.ends_with(" 0")));
    tollgate.assert_clean();
}

/// A replica's knowledge; it follows Redis from now on.
async fn replica(redis: &RedisServer) -> Arc<DisabledAgents> {
    let client = RedisClient::start(redis.settings(), Arc::new(Metrics::new())).await.unwrap();
    let disabled = Arc::new(DisabledAgents::in_redis(client).await);
    let tending = Arc::clone(&disabled);
    tokio::spawn(async move { tending.tend().await });
    disabled
}

#[tokio::test]
async fn replicas_agree_through_redis_though_it_goes_and_comes_back_empty() {
    let mut redis = RedisServer::start(&[]).await;
    let (first, second) = (replica(&redis).await, replica(&redis).await);
    first.set("a", true).await.unwrap();
    let asked = tokio::time::Instant::now();
    eventually("the other knows", || second.contains("a")).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(replica(&redis).await.contains("a"), "a new replica knows from its start");
    redis.kill9();
    assert!(second.set("a", false).await.is_err());
    assert!(first.contains("a") && second.contains("a"));
    redis.restart_empty().await;
    let mut changed = Err(tollgate::budget::store::StoreAway);
    for _ in 0..500 {
        changed = second.set("b", true).await;
        if changed.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    changed.unwrap();
    eventually("the first knows both", || first.contains("a") && first.contains("b")).await;
    first.set("a", false).await.unwrap();
    eventually("the other follows", || !second.contains("a") && second.contains("b")).await;
}

/// Probes and operators come through, whoever else holds connections open or reads no answer.
#[tokio::test]
async fn who_reads_no_answer_keeps_nobody_out() {
    let tollgate = fleet().await;
    let address = tollgate.admin.trim_start_matches("http://").to_owned();
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        if number % 2 == 0 {
            let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
            socket.write_all(&request).await.unwrap();
        }
        silent.push(socket);
    }
    let alive = send(&tollgate, "GET", "/livez", &[], Vec::new());
    let alive = tokio::time::timeout(Duration::from_secs(5), alive).await.expect("it finds a place");
    assert_eq!(alive.status, StatusCode::OK);
}
