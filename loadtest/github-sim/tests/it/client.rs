//! A plain HTTP client for these tests, and a simulator whose time stands still.

use bytes::Bytes;
use github_sim::{Sim, SimConfig};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// 2026-11-21T00:00:00Z.
pub(crate) const NOW: i64 = 1_795_219_200;

/// The settings of most tests.
pub(crate) fn config() -> SimConfig {
    SimConfig { clock_start: Some(NOW), ..SimConfig::default() }
}

pub(crate) async fn start(config: SimConfig) -> Sim {
    Sim::start(config).await.unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A request in the making.
pub(crate) struct Call {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// A request to the simulator's API.
pub(crate) fn call(sim: &Sim, method: &str, path: &str) -> Call {
    to(method, &format!("{}{path}", sim.api_url()))
}

/// A request to any URL.
pub(crate) fn to(method: &str, url: &str) -> Call {
    Call {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![("user-agent".to_owned(), "tests".to_owned())],
        body: String::new(),
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without_user_agent(mut self) -> Self {
        self.headers.clear();
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string();
        self
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    /// Sends it; an error is a connection that broke.
    pub(crate) async fn try_send(self) -> Result<Answer, String> {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body))).unwrap();
        let (head, body) = client.request(request).await.map_err(|e| e.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }
}

/// A JWT of the App with these claims, signed with this key.
pub(crate) fn jwt(pem: &str, claims: &Value) -> String {
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

/// A good JWT.
pub(crate) fn good_jwt(sim: &Sim) -> String {
    let claims = json!({"iat": NOW - 60, "exp": NOW + 540, "iss": sim.client_id()});
    jwt(sim.private_key_pem(), &claims)
}

/// Mints over HTTP with this body.
pub(crate) async fn mint(sim: &Sim, installation: u64, body: &Value) -> Answer {
    let path = format!("/app/installations/{installation}/access_tokens");
    call(sim, "POST", &path).token(&good_jwt(sim)).json(body).send().await
}

/// A token minted with this body.
pub(crate) async fn minted(sim: &Sim, installation: u64, body: &Value) -> String {
    let answer = mint(sim, installation, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}
