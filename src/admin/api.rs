//! What an operator changes: `POST /api/agents/NAME/disable` and `/enable`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use secrecy::SecretString;
use serde_json::json;
use tokio::time::timeout;

use super::access::AdminToken;
use super::refusal::{Refusal, json_response};
use crate::agent::Agents;
use crate::policy::target::{Prefix, Segment, Target, TargetError};

/// No body is needed; one that comes is read and thrown away, up to here.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Switches agents off and on.
#[derive(Debug)]
pub struct Api {
    agents: Arc<Agents>,
    token: AdminToken,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Decoded once; not looked for yet.
    agent: String,
    is_disabled: bool,
}

/// The order a path stands for; none when it is not one of the API's.
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
    /// Without a token every change is refused.
    pub fn new(agents: Arc<Agents>, token: Option<&SecretString>) -> Api {
        Api { agents, token: AdminToken::new(token) }
    }

    pub(super) async fn answer<B: Body + Unpin>(
        &self,
        order: Result<Order, TargetError>,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
        match self.obey(order, request).await {
            Ok(order) => {
                json_response(StatusCode::OK, &json!({ "agent": order.agent, "disabled": order.is_disabled }))
            }
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn obey<B: Body + Unpin>(
        &self,
        order: Result<Order, TargetError>,
        request: Request<B>,
    ) -> Result<Order, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        self.token.check(request.headers())?;
        let order = order?;
        let body = timeout(BODY_TIMEOUT, discard(request.into_body())).await;
        body.map_err(|_| Refusal::BodyBroken)??;
        self.agents.switch(&order.agent, order.is_disabled).await?;
        let what = if order.is_disabled { "disabled" } else { "enabled" };
        tracing::info!(agent = order.agent, what, "an operator switched an agent");
        Ok(order)
    }
}

/// Reads a body to its end, within bounds.
async fn discard<B: Body + Unpin>(mut body: B) -> Result<(), Refusal> {
    let mut left = BODY_BYTES_MAX;
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refusal::BodyTooLong);
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let length = frame.data_ref().map_or(0, Buf::remaining);
        left = left.checked_sub(length).ok_or(Refusal::BodyTooLong)?;
    }
    Ok(())
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
            assert_eq!(discard(body).await.is_ok(), is_taken, "{length}");
            let frames = vec![b'x'; length];
            let frames: Vec<_> = frames
                .chunks(1000)
                .map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(part))))
                .collect();
            let streamed = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            assert_eq!(discard(streamed).await.is_ok(), is_taken, "{length}, streamed");
        }
    }
}
