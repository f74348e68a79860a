//! A request and an answer between the HTTP server and the handlers.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

const DOCS: &str = "https://docs.github.com/rest";

/// A request with its body read.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path as received.
    pub(crate) path: String,
    /// Query as received, without the `?`.
    pub(crate) raw_query: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    /// The body, or its beginning when it is longer than the uploads listener keeps.
    pub(crate) body: Bytes,
    pub(crate) body_bytes: u64,
    pub(crate) body_sha256: String,
}

impl Request {
    /// A header as text; `None` when absent or not ASCII.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first query parameter of that name, decoded.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether `Accept` asks for the media type `application/vnd.github.{kind}` in any of its forms.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        let accept = self.header("accept").unwrap_or("");
        accept.split(',').any(|part| {
            let media = part.split(';').next().unwrap_or("").trim();
            let bare = media.strip_suffix("+json").unwrap_or(media);
            bare.strip_prefix("application/vnd.github.")
                .is_some_and(|rest| rest.strip_prefix("v3.").unwrap_or(rest) == kind)
        })
    }

    /// The body as a JSON object; an empty body is an empty object.
    pub(crate) fn json(&self) -> Result<Map<String, Value>, Reply> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Reply::error(400, "Body should be a JSON object")),
            Err(_) => Err(Reply::error(400, "Problems parsing JSON")),
        }
    }
}

/// Splits a query string into decoded pairs.
pub(crate) fn parse_query(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}

/// Percent-decodes; bad escapes stay as they are.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Empty,
    Json(Value),
    Raw { content_type: String, bytes: Bytes },
}

/// A handler's answer. Refusals are answers too, and travel as `Err` so that `?` works.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) headers: Vec<(String, String)>,
    /// Epoch seconds for `Last-Modified`.
    pub(crate) last_modified: Option<i64>,
}

/// The result of a handler.
pub(crate) type Answer = Result<Reply, Reply>;

impl Reply {
    pub(crate) fn new(status: u16, body: Body) -> Self {
        Self { status, body, headers: Vec::new(), last_modified: None }
    }

    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::new(status, Body::Json(body))
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn created(body: Value) -> Self {
        let url = body.get("url").and_then(Value::as_str).map(str::to_owned);
        let reply = Self::json(201, body);
        match url {
            Some(url) => reply.header("location", &url),
            None => reply,
        }
    }

    pub(crate) fn no_content() -> Self {
        Self::new(204, Body::Empty)
    }

    pub(crate) fn raw(content_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self::new(200, Body::Raw { content_type: content_type.to_owned(), bytes: bytes.into() })
    }

    /// GitHub's basic error.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            json!({"message": message, "documentation_url": DOCS, "status": status.to_string()}),
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// 422 `Validation Failed` for one field.
    pub(crate) fn invalid(resource: &str, field: &str, code: &str, message: &str) -> Self {
        Self::json(
            422,
            json!({
                "message": "Validation Failed",
                "errors": [{"resource": resource, "field": field, "code": code, "message": message}],
                "documentation_url": DOCS,
                "status": "422",
            }),
        )
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, Body::Empty).header("location", location)
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn modified_at(mut self, epoch_seconds: i64) -> Self {
        self.last_modified = Some(epoch_seconds);
        self
    }

    pub(crate) fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }
}
