//! A canary in every place a secret comes from; none may appear in any place a secret could leak to.

use std::process::{Command, Stdio};

use github_sim::{Fault, FaultKind, Sim, SimConfig};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Setup, agent};

/// Sends a request and returns everything that comes back.
pub(crate) async fn exchange(address: &str, request: String) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_in_logs_metrics_errors_or_headers() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let mut setup =
        Setup::with(vec![agent("worker", &["repositories: [acme/*]", "require_approval: [merge]"])]);
    setup.personal_token = false;
    let config = setup.write_config(&sim, &files);
    let log = files.path().join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["serve", "--config"])
        .arg(&config)
        .env("TOLLGATE_LOG", "trace")
        .env("RUST_LOG", "trace")
        .env("TOLLGATE_LOG_FORMAT", "json")
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let child = End(child);
    let (address, admin) = addresses(&log).await;
    let key = setup.agents[0].key.expose();
    let approval = "canary-approval-3141592653";
    let ask = |line: &str, fields: &str, body: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: token {key}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut seen = String::new();
    sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 401,
            body: Some(json!({"message": "Bad credentials"})),
            headers: Default::default(),
            takes_effect: false,
        })
        .on("GET", "/repos/acme/gadgets"),
    );
    for (line, fields, body) in [
        ("GET /repos/acme/widgets", String::new(), ""),
        ("GET /repos/acme/gadgets", String::new(), ""),
        ("GET /repos/other/tool", String::new(), ""),
        ("GET /meta?access_token=canary", String::new(), ""),
        ("POST /repos/acme/widgets/issues", String::new(), r#"{"title":"x"}"#),
        ("PUT /repos/acme/widgets/pulls/76/merge", format!("x-merge-approval: {approval}\r\n"), "{}"),
        (
            "PUT /repos/acme/widgets/pulls/76/merge",
            format!("x-merge-approval: {approval}\r\nx-merge-approval: {approval}\r\n"),
            "{}",
        ),
        (
            "POST /graphql",
            "Content-Type: application/json\r\n".to_owned(),
            r#"{"query":"{ viewer { login } }"}"#,
        ),
        ("GET /nowhere", String::new(), ""),
        ("GET /repos/acme/../x", String::new(), ""),
    ] {
        seen.push_str(&exchange(&address, ask(line, &fields, body)).await);
    }
    seen.push_str(
        &exchange(
            &address,
            format!("GET /meta HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: token {key}\r\n\r\n"),
        )
        .await,
    );
    seen.push_str(
        &exchange(&admin, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()).await,
    );
    drop(child);
    seen.push_str(&std::fs::read_to_string(&log).unwrap());
    assert!(
        seen.contains("\"level\":\"INFO\"") && seen.contains("tollgate_requests_total"),
        "nothing was seen"
    );
    let key_in_pem = github_sim::PRIVATE_KEY_PKCS1.lines().nth(3).unwrap();
    for canary in [key, approval, "ghs_", "eyJ", key_in_pem, "BEGIN RSA"] {
        let at = seen.find(canary);
        assert!(
            at.is_none(),
            "{canary} shows: …{}…",
            &seen[at.unwrap().saturating_sub(200)..(at.unwrap() + 40).min(seen.len())]
        );
    }
    assert!(sim.books().leaked_credentials.is_empty());
    assert!(sim.books().minted >= 2);
}

/// Stops the process that it holds.
pub(crate) struct End(pub(crate) std::process::Child);

impl Drop for End {
    /// Stops it as Kubernetes does, so that its log is complete.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        for _ in 0..1_000 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The addresses it listens on, from its log.
pub(crate) async fn addresses(log: &std::path::Path) -> (String, String) {
    for _ in 0..500 {
        let text = std::fs::read_to_string(log).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("tollgate serves")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let address = |key: &str| line[key].as_str().unwrap().to_owned();
            return (address("listen"), address("admin_listen"));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it does not serve");
}
