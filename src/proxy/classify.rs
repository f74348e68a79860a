//! Stage 3, what is asked: takes the request, gives the [`Call`] that is judged and forwarded.
//!
//! All that later stages know about the request comes from here, so what is judged and what GitHub
//! receives can't differ. Bodies that decide are read whole, within a bound. So are short ones, so
//! that a call can be made again. All others stream.

mod call;
mod graphql;
mod head;

use std::borrow::Cow;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Method, request};
use http_body::Body;
use tokio::time::Instant;

use super::Proxy;
use super::body::{Bounded, RequestBody, read_whole};
use super::context::{Context, Peer};
use super::held::{LARGE_BYTES_MAX, Room, SMALL_BYTES_MAX};
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::routes::{self, Condition, GRAPHQL, Operation, RouteError, Scope, decimal};
use crate::policy::target::{TARGET_BYTES_MAX, Target};
use crate::policy::{Class, judge, trailer};
use crate::secret::holds_credential;
pub(super) use call::{Call, CallBody, GraphqlCall, Looked};
pub(super) use graphql::refused;
use head::{check_headers, length_of};

/// Bodies up to this many bytes are held, so that a call GitHub did not take can be made again.
const REPEATABLE_BYTES_MAX: u64 = 256 * 1024;
/// The longest body, in bytes, that is read because it decides, unless it holds a file.
const DECIDING_BYTES_MAX: u64 = SMALL_BYTES_MAX;
/// The longest held body, in bytes, that does not announce its length.
const UNANNOUNCED_BYTES_MAX: u64 = SMALL_BYTES_MAX;

/// A held body must arrive within this time, plus a second for each MiB.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyPlan {
    /// Streamed, unless it is short enough to be held and sent again.
    AsItComes,
    /// Held whole, within [`DECIDING_BYTES_MAX`].
    Short,
    /// Held whole, and may be as long as a file.
    Long,
}

impl Proxy {
    pub(super) async fn classify(
        &self,
        agent: &Agent,
        head: &mut request::Parts,
        body: RequestBody,
        peer: &Peer,
        ctx: &mut Context,
    ) -> Result<Box<Call>, ProxyError> {
        if ctx.origin.is_none() {
            // Links could not lead back here, and clients follow links with their key.
            return Err(bad("The Host header does not name a host."));
        }
        let target = self.read_target(head, peer)?;
        check_headers(&head.headers)?;
        ctx.prefix = target.prefix();
        ctx.path = target.path().to_owned();
        if target.is_graphql() {
            ctx.operation = Some(&GRAPHQL);
            return Box::pin(self.classify_graphql(agent, head, target, body, ctx)).await.map(Box::new);
        }
        let route = routes::find(&head.method, &target).map_err(|error| match error {
            RouteError::Target(_) | RouteError::Name(_) => {
                bad(&format!("The request is ambiguous: {error}."))
            }
            RouteError::Unknown => ProxyError::OperationForbidden(format!(
                "GitHub publishes no such operation for {}, and what is in no list is not let through.",
                head.method
            )),
        })?;
        ctx.operation = Some(route.operation);
        if let Scope::Repository(name) = &route.scope {
            ctx.repository = Some(name.clone());
        }
        let limit = match route.operation.uploads {
            true => self.rules.server.max_upload_bytes,
            false => self.rules.server.max_body_bytes,
        };
        let plan = self.plan_body(agent, route.operation);
        let (body, room) = self.take_body(agent, &head.method, body, limit, plan, ctx).await?;
        let judged = judge::judge(&route, &target, body.held())
            .map_err(|error| bad(&format!("The request is ambiguous: {error}.")))?;
        ctx.class = Some(judged.class);
        let pull = route.param("pull_number").and_then(decimal);
        let is_review = matches!(route.operation.id, "pulls/create-review" | "pulls/submit-review");
        let reviews = pull.filter(|_| is_review);
        Ok(Box::new(Call {
            method: head.method.clone(),
            headers: mem::take(&mut head.headers),
            body,
            branches: judged.branch.into_iter().collect(),
            lands: pull.filter(|_| judge::merges_pull(route.operation)),
            reviews,
            _room: room,
            ..Call::own(target, route, judged.class)
        }))
    }

    /// How the body of an operation is read.
    fn plan_body(&self, agent: &Agent, operation: &Operation) -> BodyPlan {
        let class = operation.class;
        // An approval is bound to every byte of the body.
        let may_be_gated = class == Class::Merge || agent.require_approval.contains(&class);
        let is_amended = self.rules.policy.commit_trailer.is_some() && trailer::is_appended(operation);
        if judge::holds_content(operation) || (may_be_gated && !judge::body_decides(operation)) {
            BodyPlan::Long
        } else if judge::body_decides(operation) || is_amended {
            BodyPlan::Short
        } else {
            BodyPlan::AsItComes
        }
    }

    /// Records the target of a request that is refused whatever it asks, for logs and metrics.
    pub(super) fn note_refused(head: &request::Parts, ctx: &mut Context) {
        if length_of(&head.uri) > TARGET_BYTES_MAX {
            return;
        }
        let Ok(target) = Target::parse(head.uri.path(), head.uri.query()) else { return };
        if holds_credential(target.path().as_bytes()) {
            return;
        }
        ctx.path = target.path().to_owned();
        if target.is_graphql() {
            ctx.operation = Some(&GRAPHQL);
            return;
        }
        let Ok(route) = routes::find(&head.method, &target) else { return };
        ctx.operation = Some(route.operation);
        // The class of others depends on what was not read.
        let is_settled = matches!(route.operation.condition, Condition::Always);
        ctx.class = is_settled.then_some(route.operation.class);
        if let Scope::Repository(name) = route.scope {
            ctx.repository = Some(name);
        }
    }

    async fn take_body(
        &self,
        agent: &Agent,
        method: &Method,
        body: RequestBody,
        limit: u64,
        plan: BodyPlan,
        ctx: &mut Context,
    ) -> Result<(CallBody, Option<Room>), ProxyError> {
        // A body of GET or HEAD has no meaning (RFC 9110 §9.3.1), so it is not forwarded.
        if matches!(*method, Method::GET | Method::HEAD) || body.is_end_stream() {
            return Ok((CallBody::Empty, None));
        }
        let announced = body.size_hint().exact();
        if announced.is_some_and(|length| length > limit) {
            return Err(ProxyError::BodyTooLarge { limit });
        }
        let held_limit = match plan {
            BodyPlan::AsItComes => REPEATABLE_BYTES_MAX,
            BodyPlan::Short => DECIDING_BYTES_MAX,
            // A body of unannounced length reserves room up to its limit.
            BodyPlan::Long => {
                if announced.is_some() {
                    LARGE_BYTES_MAX
                } else {
                    UNANNOUNCED_BYTES_MAX
                }
            }
        };
        if plan != BodyPlan::AsItComes || announced.is_some_and(|length| length <= held_limit) {
            let (bytes, room) = Box::pin(self.hold(agent, body, limit.min(held_limit), ctx)).await?;
            return Ok((CallBody::Whole(bytes), Some(room)));
        }
        let body = Bounded::new(body, limit, self.upstream.idle_timeout);
        Ok((CallBody::Stream(Some(Box::new(body))), None))
    }

    /// Reads a body whole, within the memory there is room for and a time limit of its own.
    async fn hold(
        &self,
        agent: &Agent,
        body: RequestBody,
        limit: u64,
        ctx: &mut Context,
    ) -> Result<(Bytes, Room), ProxyError> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|length| length > limit) {
            return Err(ProxyError::BodyTooLarge { limit });
        }
        let mut room = self.held.room(&agent.name, announced.unwrap_or(limit))?;
        let body = Bounded::new(body, limit, self.upstream.idle_timeout);
        let patience = HELD_WITHIN + Duration::from_secs(announced.unwrap_or(limit) >> 20);
        let since = Instant::now();
        let whole = tokio::time::timeout(patience, read_whole(body, &mut room)).await;
        ctx.uploading += since.elapsed();
        let late = || bad("The body of the request came too slowly.");
        Ok((whole.map_err(|_| late())??, room))
    }
}

/// The media type without parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, str>> {
    let value = headers.get(name)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    let has_upper = essence.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if has_upper { essence.to_ascii_lowercase().into() } else { essence.into() })
}

fn bad(message: &str) -> ProxyError {
    ProxyError::BadRequest(message.to_owned())
}
