//! A tollgate that receives GitHub's deliveries, and deliveries made the way GitHub makes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tollgate::cache::changes::{Area, Changes, Reach};
use tollgate::cache::feed::Feed;
use tollgate::secret::hex;

use crate::support::{Answer, Setup, Tollgate, WEBHOOK_SECRET};

/// A tollgate that receives GitHub's deliveries.
pub(super) struct Told {
    pub(super) tollgate: Tollgate,
    pub(super) address: SocketAddr,
    pub(super) changes: Arc<Changes>,
    pub(super) feed: Arc<Feed>,
}

/// One delivery, made and signed as GitHub does.
pub(super) struct Delivery {
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(&'static str, String)>,
}

pub(super) fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

pub(super) fn delivery(event: &str, id: &str, body: impl Into<Vec<u8>>) -> Delivery {
    let body = body.into();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-github-event", event.to_owned()),
        ("x-github-delivery", id.to_owned()),
        ("x-github-hook-installation-target-type", "integration".to_owned()),
        ("x-hub-signature-256", sign(&body)),
    ];
    Delivery { body, headers }
}

pub(super) fn push(id: &str) -> Delivery {
    let payload = json!({"ref": "refs/heads/main", "repository": {"id": 2001, "full_name": "acme/widgets"}});
    delivery("push", id, payload.to_string())
}

impl Delivery {
    /// Replaces a header's value; `None` removes the header.
    pub(super) fn with(mut self, name: &'static str, value: Option<&str>) -> Delivery {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    pub(super) fn head(&self, method: &str, further: &str) -> String {
        let mut head = format!("{method} /any/path HTTP/1.1\r\nhost: tollgate\r\n{further}");
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let head = self.head("POST", &format!("content-length: {}\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }
}

impl Told {
    pub(super) async fn start() -> Told {
        let setup = Setup { further: section(), ..Setup::worker() };
        Told::of(setup).await
    }

    pub(super) async fn of(setup: Setup) -> Told {
        let tollgate = setup.start().await;
        let address = tollgate.webhook.unwrap();
        let (changes, feed) = (Arc::clone(&tollgate.changes), Arc::clone(&tollgate.feed));
        Told { tollgate, address, changes, feed }
    }

    pub(super) async fn send(&self, delivery: &Delivery) -> Answer {
        let mut ask = self.tollgate.ask_at("POST", &format!("http://{}/", self.address)).anonymous();
        for (name, value) in &delivery.headers {
            ask = ask.header(name, value);
        }
        ask.body(delivery.body.clone()).send().await
    }

    /// Sends bytes on a connection of their own; returns the answer's first line.
    pub(super) async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let _ = socket.write_all(bytes).await;
        status_line(&mut socket).await
    }

    /// Sends deliveries `CONNECTION-NUMBER` on many connections at once; each is accepted or shed.
    pub(super) fn flood(&self, connections: usize, each: usize) -> JoinSet<()> {
        let mut senders = JoinSet::new();
        for connection in 0..connections {
            let address = self.address;
            senders.spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                for number in 0..each {
                    let delivery = push(&format!("{connection}-{number}"));
                    socket.write_all(&delivery.bytes()).await.unwrap();
                    let line = status_line(&mut socket).await;
                    assert!(
                        ["HTTP/1.1 202 Accepted", "HTTP/1.1 503 Service Unavailable"].contains(&&*line),
                        "{line}"
                    );
                }
            });
        }
        senders
    }

    pub(super) fn last(&self, area: Area) -> i64 {
        last(&self.changes, area)
    }

    pub(super) async fn count(&self, event: &str, result: &str) -> u64 {
        let name = format!("tollgate_webhook_deliveries_total{{event=\"{event}\",result=\"{result}\"}} ");
        let metrics = self.tollgate.metrics().await;
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    }

    pub(super) async fn counts(&self, event: &str, result: &str, expected: u64) {
        let mut count = 0;
        for _ in 0..500 {
            count = self.count(event, result).await;
            if count >= expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(count, expected, "{event} {result}");
    }
}

pub(super) fn section() -> String {
    "webhook: { listen: 127.0.0.1:0, secret_file: webhook.secret }\n".to_owned()
}

pub(super) fn last(changes: &Changes, area: Area) -> i64 {
    changes.last(&Reach { repository: Some("acme/widgets".to_owned()), area: Some(area) })
}

pub(super) async fn status_line(socket: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(15), socket.read(&mut answer)).await;
    let length = read.expect("an answer within 15 s").unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}
