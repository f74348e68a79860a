//! A connection's timers only act while nothing runs on it, and nobody can hold a connection for free.

use std::time::Duration;

use github_sim::{Fault, FaultKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollgate::proxy::listener::{Bounds, Patience};

use crate::support::{Setup, Tollgate, UNCACHED, eventually};

async fn impatient() -> Tollgate {
    let mut setup = Setup { cache: UNCACHED, ..Setup::worker() };
    setup.bounds = Bounds {
        patience: Patience {
            head: Duration::from_millis(200),
            idle: Duration::from_millis(300),
            write: Duration::from_millis(400),
        },
        ..Bounds::default()
    };
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tollgate
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_connection_may_idle() {
    let tollgate = impatient().await;
    for fault in [FaultKind::SlowFirstByte { ms: 900 }, FaultKind::SlowBody { bytes_per_second: 6_000 }] {
        tollgate.sim.faults().add(Fault::new(fault).on("GET", "/repos/acme").times(1));
        let request = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
        let answer = tollgate.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_sent_behind_a_request_does_not_end_it() {
    let tollgate = impatient().await;
    let request = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    for (behind, then) in
        [("GET / HT", ""), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 ")]
    {
        tollgate
            .sim
            .faults()
            .add(Fault::new(FaultKind::SlowFirstByte { ms: 700 }).on("GET", "/repos/acme").times(1));
        let answer = tollgate.raw(format!("{request}{behind}").as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\n0\r\n\r\n"),
            "{behind:?}: {answer}"
        );
        let rest = answer.split("\r\n0\r\n\r\n").nth(1).unwrap();
        assert!(rest.starts_with(then), "{behind:?}: {rest}");
    }
}

#[tokio::test]
async fn a_crooked_body_ends_its_request_at_once_and_is_answered_once() {
    let tollgate = Setup::worker().start().await;
    let head = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    let request = format!("{head}5\r\nhello\r\nzz\r\n");
    let answer = tokio::time::timeout(Duration::from_secs(2), tollgate.raw(request.as_bytes()));
    let answer = answer.await.expect("an answer at once");
    assert_eq!(answer.matches("HTTP/1.1 400 ").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn owners_who_are_nobody_are_not_asked_for_without_end() {
    let tollgate =
        Setup::with(vec![crate::support::agent("fleet", &["repositories: [\"*\"]"])]).start().await;
    for number in 0..80 {
        let answer = tollgate.get(&format!("/repos/nobody{number}/x")).await;
        assert_eq!(answer.verdict(), "404 no_installation");
    }
    let asked = tollgate.sim.requests().len();
    assert!(asked <= 130, "{asked} calls as the App");
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn who_never_reads_is_given_up() {
    let tollgate = impatient().await;
    let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
    let requests = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);
    let given_up = async { while socket.write_all(requests.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), given_up).await.expect("the connection is closed");
}

#[tokio::test]
async fn bodies_that_never_come_leave_room_for_others() {
    let tollgate = Setup::with(vec![
        crate::support::agent("greedy", &["repositories: [acme/*]"]),
        crate::support::agent("other", &["repositories: [acme/*]"]),
    ])
    .start()
    .await;
    let head = tollgate
        .head("POST /graphql HTTP/1.1", "Content-Type: application/json\r\nContent-Length: 1048576\r\n");
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        waiting.push(socket);
    }
    let mut refused = String::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        if let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut answer)).await
        {
            refused = String::from_utf8_lossy(&answer[..read]).into_owned();
            break;
        }
        waiting.push(socket);
    }
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("x-tollgate-error: overloaded"),
        "{refused}"
    );
    let query = serde_json::json!({ "query": "{ viewer { login } }" });
    assert_eq!(tollgate.ask("POST", "/graphql").by(1).json(&query).send().await.verdict(), "200");
    drop(waiting);
}

#[tokio::test]
async fn large_bodies_that_are_only_announced_leave_room_for_others() {
    let agents = ["greedy", "other"].map(|name| crate::support::agent(name, &["repositories: [acme/*]"]));
    let tollgate = Setup::with(agents.into()).start().await;
    let path = "/repos/acme/widgets/contents/large.bin";
    let head = tollgate.head(
        &format!("PUT {path} HTTP/1.1"),
        "Content-Type: application/json\r\nContent-Length: 104857600\r\n",
    );
    let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(format!("{head}{{\"message\":").as_bytes()).await.unwrap();
    let content = "A".repeat(40 * 1024 * 1024);
    let body = serde_json::json!({"message": "m", "content": content, "branch": "feature/x"});
    let answer = tollgate.ask("PUT", path).by(1).json(&body).send().await;
    assert_eq!(answer.verdict(), "201", "{:.300}", answer.text());
    // The body is still being received.
    let mut said = [0];
    let silence = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut said)).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_is_counted() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    tollgate.sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: 60_000 }).on("GET", "/repos/acme"));
    let request = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    eventually("the call", || !tollgate.arrived().is_empty()).await;
    drop(socket);
    let counted = r#"tollgate_requests_total{agent="worker",outcome="gone",resource="core"} 1"#;
    for _ in 0..100 {
        if tollgate.metrics().await.contains(counted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{}", tollgate.metrics().await);
}
