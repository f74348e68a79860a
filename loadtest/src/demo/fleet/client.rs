//! What a simulated agent sends and gets: HTTP through a real socket, as any client of GitHub's.
//!
//! A link in an answer is followed only if it leads to the address the client was given. One that
//! led around the proxy would be an error, and would show as a failed request.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longer than tollgate and the stand-in ever take together, so that a hang shows as a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer of the stand-in comes near it.
const BODY_BYTES_MAX: usize = 8 << 20;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    /// A path with its query, or a link from an answer.
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    pub(crate) fn get(target: impl Into<String>) -> Call {
        Call { method: Method::GET, target: target.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn with_body(method: Method, target: impl Into<String>, body: Value) -> Call {
        Call { method, target: target.into(), headers: Vec::new(), body: Some(body) }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.headers.push((name, value.into()));
        self
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body, or null if it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header)?.to_str().ok()
    }

    /// A header that holds a whole number.
    pub(crate) fn number(&self, header: &str) -> Option<u64> {
        self.text(header)?.parse().ok()
    }

    /// The address of the next page.
    pub(crate) fn next_page(&self) -> Option<String> {
        let links = self.text(LINK.as_str())?;
        let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
        let (_, rest) = next.split_once('<')?;
        rest.split_once('>').map(|(url, _)| url.to_owned())
    }

    /// Whether a token of GitHub's stands anywhere in it.
    pub(crate) fn shows_github_token(&self) -> bool {
        const PREFIX: &[u8] = b"ghs_";
        let holds = |bytes: &[u8]| bytes.windows(PREFIX.len()).any(|window| window == PREFIX);
        holds(&self.body) || self.headers.values().any(|value| holds(value.as_bytes()))
    }
}

/// A client with a base URL and perhaps a key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    pub(crate) fn new(base: &str) -> Client {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new()).build(tcp);
        Client { http, base: base.to_owned(), authorization: None }
    }

    pub(crate) fn with_key(base: &str, key: &str) -> anyhow::Result<Client> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}"))?;
        authorization.set_sensitive(true);
        Ok(Client { authorization: Some(authorization), ..Client::new(base) })
    }

    /// Sends one request and reads the answer to its end.
    pub(crate) async fn send(&self, call: Call) -> anyhow::Result<Reply> {
        let request = self.request(call)?;
        let exchange = async {
            let response = self.http.request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            anyhow::Ok(Reply { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")?
    }

    fn request(&self, call: Call) -> anyhow::Result<Request<Full<Bytes>>> {
        let is_ours = |url: &str| url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'));
        let uri = match call.target {
            path if path.starts_with('/') => format!("{}{path}", self.base),
            url if is_ours(&url) => url,
            _ => bail!("a link led around tollgate"),
        };
        let mut request = Request::builder()
            .method(call.method)
            .uri(uri)
            .header(ACCEPT, "application/vnd.github+json")
            .header(USER_AGENT, "tollgate-demo");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(headers) = request.headers_mut() {
            for (name, value) in &call.headers {
                headers.insert(*name, HeaderValue::from_str(value)?);
            }
        }
        let body = match call.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        Ok(request.body(Full::new(body))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(header: &'static str, value: &'static str, body: &'static str) -> Reply {
        let headers = HeaderMap::from_iter([(header.parse().unwrap(), HeaderValue::from_static(value))]);
        Reply { status: StatusCode::OK, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn finds_the_next_page() {
        let links = "<http://h/a?page=1>; rel=\"prev\", <http://h/a?page=3>; rel=\"next\", <http://h/a?page=9>; rel=\"last\"";
        assert_eq!(reply("link", links, "").next_page().as_deref(), Some("http://h/a?page=3"));
        assert_eq!(reply("link", "<http://h/a?page=1>; rel=\"first\"", "").next_page(), None);
        assert_eq!(reply("x", "", "").next_page(), None);
    }

    #[test]
    fn sees_a_token_of_github_wherever_it_stands() {
        assert!(reply("x", "a", "{\"token\": \"ghs_1\"}").shows_github_token());
        assert!(reply("x", "token ghs_1", "").shows_github_token());
        assert!(!reply("x", "a", "gh").shows_github_token());
    }

    #[tokio::test]
    async fn follows_no_link_around_the_proxy() {
        let client = Client::new("http://127.0.0.1:1");
        for link in ["http://127.0.0.1:12/a", "https://api.github.com/a", "http://127.0.0.1:1.example/a"] {
            let error = client.send(Call::get(link)).await.unwrap_err();
            assert!(error.to_string().contains("led around"), "{link}: {error}");
        }
    }
}
