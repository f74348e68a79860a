//! The operator's changes: `POST /api/agents/NAME/disable` and `/enable`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::time::timeout;

use super::access::AdminToken;
use super::page;
use super::refusal::{Refusal, json_response};
use crate::agent::roster::Roster;
use crate::policy::target::{Prefix, Segment, Target, TargetError};

/// Only a form needs a body; any other is read up to this size and dropped.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Switches agents off and on.
#[derive(Debug)]
pub struct Api {
    roster: Arc<Roster>,
    token: Arc<AdminToken>,
}

/// The change that a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Percent-decoded once; not yet looked up.
    agent: String,
    is_disabled: bool,
}

/// The order that a path stands for; `None` if the path does not belong to the API.
pub(super) fn read(path: &str) -> Option<Result<Order, TargetError>> {
    if !path.starts_with("/api/agents/") {
        return None;
    }
    let target = match Target::parse(path, None) {
        Ok(target) if target.prefix() == Prefix::Root => target,
        Ok(_) => return None,
        Err(error) => return Some(Err(error)),
    };
    let segments: Vec<&str> = target.segments().iter().map(Segment::text).collect();
    let (agent, is_disabled) = match segments.as_slice() {
        ["api", "agents", agent, "disable"] => (agent, true),
        ["api", "agents", agent, "enable"] => (agent, false),
        _ => return None,
    };
    Some(Ok(Order { agent: (*agent).to_owned(), is_disabled }))
}

impl Api {
    /// If `token` holds no token, every change is refused.
    pub fn new(roster: Arc<Roster>, token: Arc<AdminToken>) -> Api {
        Api { roster, token }
    }

    pub(super) async fn answer<B: Body + Unpin>(
        &self,
        order: Result<Order, TargetError>,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
        let is_form = is_form(request.headers());
        let obeyed = self.obey(order, request, is_form).await;
        if let Err(Refusal::Unauthenticated) = obeyed {
            tracing::warn!("a change on the admin listener came without the right token, and was refused");
        }
        match obeyed {
            Ok(order) if is_form => {
                let what = if order.is_disabled { "disabled" } else { "enabled" };
                html(StatusCode::OK, "Done", &format!("Agent {} is {what}.", order.agent))
            }
            Ok(order) => {
                json_response(StatusCode::OK, &json!({ "agent": order.agent, "disabled": order.is_disabled }))
            }
            Err(refusal) if is_form => html(refusal.status(), "Nothing was changed", &refusal.to_string()),
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn obey<B: Body + Unpin>(
        &self,
        order: Result<Order, TargetError>,
        request: Request<B>,
        is_form: bool,
    ) -> Result<Order, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        let (mut head, body) = request.into_parts();
        let body = timeout(BODY_TIMEOUT, async {
            if is_form {
                self.token.may_be_asked(&head.headers)?;
                // The page's own form, sent without JavaScript, carries the token in its body.
                let authorization = authorization_in(&read_body(body).await?)?;
                head.headers.insert(AUTHORIZATION, authorization);
                return self.token.check(&head.headers);
            }
            self.token.check(&head.headers)?;
            read_body(body).await.map(drop)
        });
        body.await.map_err(|_| Refusal::BodyBroken)??;
        let order = order?;
        self.roster.switch(&order.agent, order.is_disabled).await?;
        let what = if order.is_disabled { "disabled" } else { "enabled" };
        tracing::info!(agent = order.agent, what, "an operator switched an agent");
        Ok(order)
    }
}

/// A form without a token in its headers. Another origin's page can't use it, because browsers send its origin.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") && !headers.contains_key(AUTHORIZATION)
}

/// A form's `token` field, as the `Authorization` header it stands for.
fn authorization_in(form: &[u8]) -> Result<HeaderValue, Refusal> {
    let mut fields = form.split(|byte| *byte == b'&').filter_map(|field| field.strip_prefix(b"token="));
    let (Some(token), None) = (fields.next(), fields.next()) else { return Err(Refusal::Unauthenticated) };
    let spaced: Vec<u8> = token.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let mut value = b"Bearer ".to_vec();
    value.extend(percent_encoding::percent_decode(&spaced));
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| Refusal::Unauthenticated)?;
    value.set_sensitive(true);
    Ok(value)
}

fn html(status: StatusCode, title: &str, message: &str) -> Response<Full<Bytes>> {
    let page = page::notice(title, message, status.is_success());
    let mut response = Response::new(Full::new(page.into()));
    *response.status_mut() = status;
    page::set_headers(response.headers_mut());
    response
}

/// Reads a body to its end, up to `BODY_BYTES_MAX`.
async fn read_body<B: Body + Unpin>(mut body: B) -> Result<Vec<u8>, Refusal> {
    let mut left = BODY_BYTES_MAX;
    let mut read = Vec::new();
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::BodyTooLong);
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let Ok(mut data) = frame.into_data() else { continue };
        left = left.checked_sub(data.remaining()).ok_or(Refusal::BodyTooLong)?;
        read.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_orders_and_leaves_other_paths_alone() {
        let order = |agent: &str, is_disabled| Some(Ok(Order { agent: agent.to_owned(), is_disabled }));
        for (path, read_as) in [
            ("/api/agents/reviewer/disable", order("reviewer", true)),
            ("/api/agents/reviewer/enable", order("reviewer", false)),
            ("/api/agents/code%2Dreviewer/disable", order("code-reviewer", true)),
            ("/api/agents/%2561/disable", order("%61", true)),
            ("/api/agents/a%2Fb/disable", order("a/b", true)),
            ("/api/agents/%zz/disable", Some(Err(TargetError::Escape))),
            ("/api/agents/%/disable", Some(Err(TargetError::Escape))),
            ("/api/agents/%FF/disable", Some(Err(TargetError::Encoding))),
            ("/api/agents/a%00/disable", Some(Err(TargetError::Control))),
            ("/api/agents/../disable", Some(Err(TargetError::DotSegment))),
            ("/api/agents//disable", Some(Err(TargetError::EmptySegment))),
            ("/api/agents/a/disable/", Some(Err(TargetError::EmptySegment))),
            ("/api/agents/a/Disable", None),
            ("/api/agents/a", None),
            ("/api/agents/a/b/disable", None),
            ("/api/v3/api/agents/a/disable", None),
            ("/livez", None),
        ] {
            assert_eq!(read(path), read_as, "{path}");
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded() {
        for (length, is_taken) in [(0, true), (BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)] {
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            assert_eq!(read_body(body).await.is_ok(), is_taken, "{length}");
            let frames = vec![b'x'; length];
            let frames: Vec<_> = frames
                .chunks(1000)
                .map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(part))))
                .collect();
            let streamed = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            assert_eq!(read_body(streamed).await.is_ok(), is_taken, "{length}, streamed");
        }
    }
}
