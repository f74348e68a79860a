//! One delivery over HTTP: checks who sent it and that it is complete and new, then queues it.
//!
//! Source: GitHub Docs, "Validating webhook deliveries" and "Best practices for using webhooks". A body is not
//! parsed before its signature, which covers all of its bytes, is checked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full as Whole};
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::event;
use super::inbox::{BODY_BYTES_MAX, Body, Delivery, Full, Inbox};
use crate::cache::feed::{DELIVERY_BYTES_MAX, Feed};
use crate::metrics::Metrics;
use crate::secret;

type Signature = Hmac<Sha256>;

/// Longest time for the whole body: GitHub gives up after ten seconds.
const BODY_MAX: Duration = Duration::from_secs(10);
/// Longest time between two parts of the body.
const IDLE_MAX: Duration = Duration::from_secs(3);
const EVENT_BYTES_MAX: usize = 64;

/// The immediate result of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Queued.
    Taken,
    Duplicate,
    Forged,
    Malformed,
    TooLarge,
    /// It arrived too slowly, or broke off.
    Broken,
    Shed,
    NoPost,
}

impl From<Full> for Verdict {
    fn from(_: Full) -> Verdict {
        Verdict::Shed
    }
}

/// Checks deliveries and queues them.
pub(super) struct Gate {
    /// Keyed with the secret; each delivery uses a copy.
    signature: Signature,
    inbox: Inbox,
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    /// Notified when a delivery was refused for lack of room.
    pub(super) shed: Notify,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

impl Gate {
    pub(super) fn new(secret: &SecretString, inbox: Inbox, feed: Arc<Feed>, metrics: Arc<Metrics>) -> Gate {
        let secret = secret.expose_secret().as_bytes();
        let signature = Signature::new_from_slice(secret).expect("a key of any length will do");
        Gate { signature, inbox, feed, metrics, shed: Notify::new() }
    }

    pub(super) async fn receive(&self, request: Request<Incoming>) -> Response<Whole<Bytes>> {
        let event = match one(request.headers(), "x-github-event") {
            Some(event) => event::label(event),
            None => "other",
        };
        let verdict = self.judge(request).await.unwrap_or_else(|refused| refused);
        if let Some(result) = verdict.label() {
            self.metrics.webhook_deliveries.with_label_values(&[event, result]).inc();
        }
        if verdict == Verdict::Shed {
            self.shed.notify_one();
        }
        verdict.answer()
    }

    /// Accepts no more deliveries.
    pub(super) fn close(&self) {
        self.inbox.close();
    }

    async fn judge(&self, request: Request<Incoming>) -> Result<Verdict, Verdict> {
        if request.method() != Method::POST {
            return Err(Verdict::NoPost);
        }
        let (head, incoming) = request.into_parts();
        let signed = signature(&head.headers).ok_or(Verdict::Forged)?;
        let event = one(&head.headers, "x-github-event").filter(|event| is_sane(event, EVENT_BYTES_MAX));
        let id = one(&head.headers, "x-github-delivery").filter(|id| is_sane(id, DELIVERY_BYTES_MAX));
        let (event, id) = event.zip(id).ok_or(Verdict::Malformed)?;
        let declared = one(&head.headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let expected = declared.unwrap_or(BODY_BYTES_MAX);
        if expected > BODY_BYTES_MAX {
            return Err(Verdict::TooLarge);
        }
        let mut body = self.inbox.enter().ok();
        let mut signature = self.signature.clone();
        read(incoming, expected, &mut body, &mut signature).await?;
        signature.verify_slice(&signed).map_err(|_| Verdict::Forged)?;
        // Only what GitHub sent makes everything count as changed.
        let body = body.ok_or(Verdict::Shed)?;
        if self.feed.is_delivered(id) {
            return Ok(Verdict::Duplicate);
        }
        let content_type = one(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let target = one(&head.headers, "x-github-hook-installation-target-type");
        self.inbox.put(Delivery {
            id: id.to_owned(),
            event: event.to_owned(),
            is_form: content_type.starts_with("application/x-www-form-urlencoded"),
            is_of_account: target != Some("repository"),
            body,
        })?;
        Ok(Verdict::Taken)
    }
}

/// A header's value as text, if there is exactly one.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn signature(headers: &HeaderMap) -> Option<[u8; 32]> {
    secret::sha256_from_hex(one(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?)
}

fn is_sane(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Reads a body to its end. If there is no room for it, `body` becomes none, and the rest is read for its signature
/// alone.
async fn read(
    mut incoming: Incoming,
    expected: usize,
    body: &mut Option<Body>,
    signature: &mut Signature,
) -> Result<(), Verdict> {
    let mut length = 0;
    let ends_at = Instant::now() + BODY_MAX;
    loop {
        let frame = timeout_at(ends_at.min(Instant::now() + IDLE_MAX), incoming.frame()).await;
        let Some(frame) = frame.map_err(|_| Verdict::Broken)? else { return Ok(()) };
        let Ok(part) = frame.map_err(|_| Verdict::Broken)?.into_data() else { continue };
        length += part.len();
        if length > BODY_BYTES_MAX {
            return Err(Verdict::TooLarge);
        }
        signature.update(&part);
        if body.as_mut().is_some_and(|body| body.push(&part, expected).is_err()) {
            *body = None;
        }
    }
}

impl Verdict {
    /// The metric label; a queued delivery is counted once it is processed.
    fn label(self) -> Option<&'static str> {
        match self {
            Verdict::Taken | Verdict::NoPost => None,
            Verdict::Duplicate => Some("duplicate"),
            Verdict::Forged => Some("forged"),
            Verdict::Malformed => Some("garbled"),
            Verdict::TooLarge => Some("too_large"),
            Verdict::Broken => Some("failed"),
            Verdict::Shed => Some("shed"),
        }
    }

    fn answer(self) -> Response<Whole<Bytes>> {
        let (status, text) = match self {
            Verdict::Taken | Verdict::Duplicate => (StatusCode::ACCEPTED, "accepted\n"),
            Verdict::Forged => (StatusCode::UNAUTHORIZED, "not signed with the secret\n"),
            Verdict::Malformed => (StatusCode::BAD_REQUEST, "not a delivery of GitHub's\n"),
            Verdict::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "longer than 25 MiB\n"),
            Verdict::Broken => (StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
            Verdict::Shed => (StatusCode::SERVICE_UNAVAILABLE, "too many deliveries\n"),
            Verdict::NoPost => (StatusCode::METHOD_NOT_ALLOWED, "only POST is served here\n"),
        };
        let mut response = Response::new(Whole::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Verdict::Shed => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Verdict::NoPost => headers.insert(ALLOW, HeaderValue::from_static("POST")),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-hub-signature-256", HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn knows_githubs_own_example() {
        let secret = "It's a Secret to Everybody";
        let sent = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signed = signature(&headers(&[sent])).unwrap();
        let mut mac = Signature::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"Hello, ");
        mac.update(b"World!");
        assert!(mac.clone().verify_slice(&signed).is_ok());
        mac.update(b"\n");
        assert!(mac.verify_slice(&signed).is_err());
    }

    #[test]
    fn there_is_one_signature_and_it_is_whole() {
        let hex = "7".repeat(64);
        assert!(signature(&headers(&[&format!("sha256={hex}")])).is_some());
        for values in [
            &[][..],
            &[""],
            &["sha256="],
            &[&hex],
            &[&format!("sha1={hex}")],
            &[&format!("sha256={hex}7")],
            &[&format!("sha256={}", &hex[1..])],
            &[&format!("sha256={hex}"), &format!("sha256={hex}")],
            &[&format!("sha256={hex}, sha256={hex}")],
        ] {
            assert_eq!(signature(&headers(values)), None, "{values:?}");
        }
    }

    #[test]
    fn names_are_sane() {
        for text in ["push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "a_b"] {
            assert!(is_sane(text, 64), "{text}");
        }
        for text in ["", "a b", "a\u{e9}", "../x", "{}", &"a".repeat(65)] {
            assert!(!is_sane(text, 64), "{text}");
        }
    }
}
