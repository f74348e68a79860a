//! Starts the stand-in and a tollgate in front of it, and talks to both.

pub(crate) mod approvals;
pub(crate) mod redis;
pub(crate) mod tap;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use github_sim::{PRIVATE_KEY_PKCS1, PrimaryLimits, RecordedRequest, Sim, SimConfig};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate::app::App;
use tollgate::cache::changes::Changes;
use tollgate::cache::feed::Feed;
use tollgate::clock::{Clock, SystemClock};
use tollgate::config::Watch;
use tollgate::proxy::listener::Bounds;
use tollgate::secret::{AgentKey, hex};

/// The content of the `webhook.secret` file beside the configuration.
pub(crate) const WEBHOOK_SECRET: &str = "a secret that GitHub knows";

/// An agent's key and the lines that configure it.
pub(crate) struct TestAgent {
    pub(crate) key: AgentKey,
    lines: String,
}

/// `settings` are further YAML lines for the agent, such as `repositories: [acme/*]`.
pub(crate) fn agent(name: &str, settings: &[&str]) -> TestAgent {
    let key = AgentKey::generate(name);
    let mut lines = format!("  - name: {name}\n    key_sha256: {}\n", hex(&key.sha256()));
    for setting in settings {
        lines.push_str(&format!("    {setting}\n"));
    }
    TestAgent { key, lines }
}

/// Makes every read a call of its own.
pub(crate) const UNCACHED: &str = "cache: { max_size: 0 }\n";

/// What a test may change before the start.
pub(crate) struct Setup {
    pub(crate) sim: SimConfig,
    pub(crate) agents: Vec<TestAgent>,
    pub(crate) approval_mode: &'static str,
    /// `policy.audit_log`; a relative path is relative to the configuration.
    pub(crate) audit_log: &'static str,
    /// Further lines of `server:` and `upstream:`.
    pub(crate) server: String,
    pub(crate) upstream: String,
    /// The section `cache:`, such as [`UNCACHED`]; empty for the default.
    pub(crate) cache: &'static str,
    /// Further sections, such as `budget: { max_wait: 1s }`.
    pub(crate) further: String,
    pub(crate) api_url: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bounds: Bounds,
    pub(crate) personal_token: bool,
    /// Further issuers in signed mode: name and public key (PEM).
    pub(crate) issuers: Vec<(&'static str, String)>,
}

impl Setup {
    /// One agent, `worker`, with all of `acme`, which needs approvals only for merges.
    pub(crate) fn worker() -> Setup {
        Setup::with(vec![agent("worker", &["repositories: [acme/*]", "require_approval: [merge]"])])
    }

    pub(crate) fn with(agents: Vec<TestAgent>) -> Setup {
        Setup {
            sim: roomy(),
            agents,
            approval_mode: "presence",
            audit_log: "off",
            server: String::new(),
            upstream: String::new(),
            cache: "",
            further: String::new(),
            api_url: None,
            clock: Arc::new(SystemClock),
            bounds: Bounds::default(),
            personal_token: false,
            issuers: Vec::new(),
        }
    }

    pub(crate) async fn start(self) -> Tollgate {
        let sim = Sim::start(self.sim.clone()).await.unwrap();
        let files = TempDir::new().unwrap();
        let config = self.write_config(&sim, &files);
        let (watch, reading) = Watch::open(&config);
        let (config, _) = reading.outcome.unwrap_or_else(|problems| panic!("{problems}"));
        let app = App::start_with(config, self.clock, self.bounds).await.unwrap();
        let app = app.following(watch, &reading.version);
        let reread = app.reread();
        let (address, admin) = (app.address().unwrap(), app.admin_address().unwrap());
        let webhook = app.webhook_address().map(|address| address.unwrap());
        let (changes, feed) = (app.changes(), app.feed());
        let stop = app.stop_token();
        let running = tokio::spawn(app.run());
        let keys = self.agents.into_iter().map(|agent| agent.key).collect();
        Tollgate {
            sim,
            files,
            base: format!("http://{address}"),
            admin: format!("http://{admin}"),
            webhook,
            changes,
            feed,
            reread,
            keys,
            stop,
            running,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Writes the file as a user would.
    pub(crate) fn write_config(&self, sim: &Sim, files: &TempDir) -> PathBuf {
        let key = files.path().join("app.pem");
        std::fs::write(&key, PRIVATE_KEY_PKCS1).unwrap();
        std::fs::write(files.path().join("webhook.secret"), WEBHOOK_SECRET).unwrap();
        let agents: String = self.agents.iter().map(|agent| agent.lines.as_str()).collect();
        let credential = match self.personal_token {
            true => {
                let token = files.path().join("pat");
                std::fs::write(&token, format!("{}\n", self.sim.personal_tokens[0])).unwrap();
                "tokens:\n  - { name: dev, token_file: pat }\n".to_owned()
            }
            false => {
                let ids = std::iter::once(sim.app_id())
                    .chain(self.sim.further_apps.iter().map(|app| app.app_id))
                    .enumerate();
                let app = |(place, id): (usize, u64)| {
                    let number = if place == 0 { String::new() } else { (place + 1).to_string() };
                    format!("  - {{ name: bot{number}, app_id: {id}, private_key_file: app.pem }}\n")
                };
                format!("apps:\n{}", ids.map(app).collect::<String>())
            }
        };
        let text = format!(
            "server:\n  listen: 127.0.0.1:0\n  admin_listen: 127.0.0.1:0\n{}upstream:\n  api_url: {}\n  \
             uploads_url: {}\n{}{credential}policy:\n  approval: {{ mode: {}{} }}\n  audit_log: {}\n{}{}agents:\n{agents}",
            self.server,
            self.api_url.clone().unwrap_or_else(|| sim.api_url()),
            sim.uploads_url(),
            self.upstream,
            self.approval_mode,
            self.issuers(files),
            self.audit_log,
            self.cache,
            self.further,
        );
        let path = files.path().join("tollgate.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Signed mode needs at least one issuer.
    fn issuers(&self, files: &TempDir) -> String {
        if !self.approval_mode.starts_with("signed") {
            return String::new();
        }
        std::fs::write(files.path().join("approver.secret"), approvals::SECRET).unwrap();
        let mut issuers = vec!["{ name: team, secret_file: approver.secret }".to_owned()];
        for (name, pem) in &self.issuers {
            std::fs::write(files.path().join(format!("{name}.pub.pem")), pem).unwrap();
            issuers.push(format!("{{ name: {name}, public_key_file: {name}.pub.pem }}"));
        }
        format!(", issuers: [{}]", issuers.join(", "))
    }
}

/// A running tollgate in front of its own stand-in.
pub(crate) struct Tollgate {
    pub(crate) sim: Sim,
    pub(crate) files: TempDir,
    pub(crate) base: String,
    pub(crate) admin: String,
    /// The address of the webhook listener, if there is one.
    pub(crate) webhook: Option<SocketAddr>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) feed: Arc<Feed>,
    /// Notifying it reloads the configuration, as SIGHUP does.
    pub(crate) reread: Arc<Notify>,
    keys: Vec<AgentKey>,
    pub(crate) stop: CancellationToken,
    pub(crate) running: tokio::task::JoinHandle<Result<(), tollgate::app::StartError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to the end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `STATUS CODE` for tollgate's refusal, `STATUS` for GitHub's answer.
    pub(crate) fn verdict(&self) -> String {
        match self.headers.get("x-tollgate-error") {
            Some(code) => format!("{} {}", self.status.as_u16(), code.to_str().unwrap()),
            None => self.status.as_u16().to_string(),
        }
    }
}

/// A request of the first agent unless stated otherwise.
pub(crate) struct Ask<'a> {
    tollgate: &'a Tollgate,
    request: http::request::Builder,
    body: Bytes,
    has_key: bool,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.has_key |= name.eq_ignore_ascii_case("authorization");
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn json(mut self, value: &Value) -> Self {
        self.body = Bytes::from(value.to_string());
        self.request = self.request.header("content-type", "application/json");
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// As another agent, by its index in the setup.
    pub(crate) fn by(self, agent: usize) -> Self {
        let key = format!("token {}", self.tollgate.key(agent));
        self.header("authorization", &key)
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.has_key = true;
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let this = if self.has_key { self } else { self.by(0) };
        let request: Request<Full<Bytes>> = this.request.body(Full::new(this.body)).unwrap();
        let work = async {
            let response: Response<hyper::body::Incoming> =
                this.tollgate.client.request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("an answer within 30 s")
    }
}

impl Tollgate {
    pub(crate) fn key(&self, agent: usize) -> &str {
        self.keys[agent].expose()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        self.ask_at(method, &format!("{}{path}", self.base))
    }

    /// Like [`Tollgate::ask`], at another replica.
    pub(crate) fn ask_at(&self, method: &str, uri: &str) -> Ask<'_> {
        let method: Method = method.parse().unwrap();
        let request = Request::builder().method(method).uri(uri);
        Ask { tollgate: self, request, body: Bytes::new(), has_key: false }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub(crate) async fn metrics(&self) -> String {
        let uri = format!("{}/metrics", self.admin).parse().unwrap();
        let answer = self.client.get(uri).await.unwrap();
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// What arrived at the stand-in, without our own calls as an App.
    pub(crate) fn arrived(&self) -> Vec<RecordedRequest> {
        self.sim.requests().into_iter().filter(|request| request.credential != "app-jwt").collect()
    }

    /// `METHOD TARGET` of what arrived.
    pub(crate) fn arrived_lines(&self) -> Vec<String> {
        self.arrived().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// Sends bytes on a connection of their own; returns what comes back until it closes or `patience` ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.base.trim_start_matches("http://")).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(3), socket.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The head of a request of the first agent, for [`Tollgate::raw`].
    pub(crate) fn head(&self, request_line: &str, fields: &str) -> String {
        format!("{request_line}\r\nHost: x\r\nAuthorization: token {}\r\n{fields}\r\n", self.key(0))
    }

    /// Asserts that nothing GitHub would object to, and no agent's key, ever arrived.
    pub(crate) fn assert_clean(&self) {
        let books = self.sim.books();
        assert_eq!(books.violations_total(), 0, "{:?}", books.violations);
        assert!(books.leaked_credentials.is_empty(), "{:?}", books.leaked_credentials);
    }
}

/// A call straight to the stand-in, bypassing tollgate, with the given credential.
pub(crate) async fn straight(sim: &Sim, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", sim.api_url()))
        .header("authorization", token)
        .header("user-agent", "straight/1.0");
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let answer = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

/// Waits for something that will become true.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..500 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 5 s");
}

/// A stand-in with limits so large that nothing is held for them, for tests about other things.
pub(crate) fn roomy() -> SimConfig {
    let limits = PrimaryLimits { core: 1_000_000, graphql: 1_000_000, search: 10_000, ..Default::default() };
    SimConfig { limits, ..SimConfig::default() }
}
