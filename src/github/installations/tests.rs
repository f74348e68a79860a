//! Installations while GitHub can't tell of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::SystemClock;
use crate::config::PrivateKey;
use crate::github::client::HttpClient;

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/github-sim/keys/pkcs1.pem");
const INSTALLED: &str = r#"{"id": 1, "account": {"login": "acme"}}"#;

pub(super) fn app(name: &str, address: Uri, private_key: PrivateKey) -> Arc<App> {
    crate::app::install_crypto();
    let seconds = Duration::from_secs(60);
    let upstream = config::Upstream {
        api_url: address.clone(),
        uploads_url: address.clone(),
        graphql_url: address,
        link_bases: Vec::new(),
        api_version: String::new(),
        connect_timeout: seconds,
        request_timeout: seconds,
        idle_timeout: seconds,
        ca_pem: None,
    };
    let client = HttpClient::try_new(&upstream).unwrap();
    let app = config::App {
        name: name.to_owned(),
        issuer: "1".to_owned(),
        private_key,
        read_permissions: None,
        write_permissions: None,
    };
    Arc::new(App::new(app, client, &upstream, Arc::new(SystemClock)))
}

/// Gives every call the answer in force; status 0 closes the connection instead.
struct Server {
    address: Uri,
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (says, asked) = (Arc::new(Mutex::new((0, String::new()))), Arc::new(AtomicUsize::new(0)));
        let server = Server { address, says: Arc::clone(&says), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                asked.fetch_add(1, Ordering::Relaxed);
                let (status, body) = says.lock().clone();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                if status > 0 {
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        server
    }

    fn say(&self, status: u16, body: &str) {
        *self.says.lock() = (status, body.to_owned());
    }

    /// What an App of this server's finds, trusted for a moment only.
    fn installations(&self) -> Installations {
        let app = app("bot", self.address.clone(), PrivateKey::File(KEY.into()));
        Installations::trusting(Duration::from_millis(1), vec![app], Vec::new())
    }
}

/// Five minutes after the last look-up all calls failed, although the tokens were good for an hour.
#[tokio::test]
async fn who_was_found_is_served_while_github_cannot_tell() {
    let server = Server::start().await;
    let installations = server.installations();
    server.say(503, "");
    assert!(installations.of_owner("acme").await.is_err(), "nothing is known of it");
    installations.failures.forget();
    server.say(200, INSTALLED);
    assert_eq!(installations.of_owner("acme").await.unwrap().len(), 1);
    for status in [503, 0] {
        server.say(status, "");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(installations.of_owner("acme").await.unwrap().len(), 1, "{status}");
        installations.failures.forget();
    }
    for (status, body) in [(401, "{}"), (404, "{}")] {
        server.say(status, body);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let found = installations.of_owner("acme").await;
        assert!(found.map_or(status == 401, |found| found.is_empty() && status == 404), "{status}");
        installations.failures.forget();
    }
}

#[tokio::test]
async fn the_list_of_an_app_is_the_last_one_while_github_cannot_tell() {
    let server = Server::start().await;
    let installations = server.installations();
    server.say(200, &format!("[{INSTALLED}]"));
    assert_eq!(installations.all().await.unwrap().serving.len(), 1);
    server.say(503, "");
    tokio::time::sleep(Duration::from_millis(5)).await;
    installations.all.invalidate(&()).await;
    assert_eq!(installations.all().await.unwrap().serving.len(), 1);
}

/// One connection that broke failed the calls of two seconds.
#[tokio::test]
async fn a_call_of_the_app_that_broke_off_is_made_again() {
    let server = Server::start().await;
    let installations = server.installations();
    let mends = async {
        while server.asked.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.say(200, INSTALLED);
    };
    let (found, ()) = tokio::join!(installations.of_owner("acme"), mends);
    assert_eq!(found.unwrap().len(), 1);
}
