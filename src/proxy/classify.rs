//! Stage 3, what is asked: takes the request, gives the [`Call`] that is judged and forwarded.
//!
//! All that later stages know about the request comes from here, so what is judged and what GitHub
//! receives can't differ. Bodies that decide are read whole, within a bound. So are short ones, so
//! that a call can be made again. All others stream.

mod graphql;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST, HeaderName};
use http::{HeaderMap, Method, Uri, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Proxy;
use super::body::{Bounded, read_whole};
use super::context::{Context, Peer};
use super::held::{LARGE_BYTES_MAX, Room, SMALL_BYTES_MAX};
use super::listener::{FIELDS_MAX, HEAD_BYTES_MAX};
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::branch::NamedBranch;
use crate::policy::graphql::mutations::Mutation;
use crate::policy::graphql::{Kind, Request as Document, edit};
use crate::policy::routes::{self, Condition, GRAPHQL, Operation, Route, RouteError, Scope, decimal};
use crate::policy::target::{TARGET_BYTES_MAX, Target};
use crate::policy::{Class, json, judge, trailer};
use crate::secret::holds_credential;
pub(super) use graphql::refused;

/// Bodies up to this many bytes are held, so that a call GitHub did not take can be made again.
const REPEATABLE_BYTES_MAX: u64 = 256 * 1024;
/// The longest body, in bytes, that is read because it decides, unless it holds a file.
const DECIDING_BYTES_MAX: u64 = SMALL_BYTES_MAX;
/// The longest held body, in bytes, that does not announce its length.
const UNANNOUNCED_BYTES_MAX: u64 = SMALL_BYTES_MAX;

/// A held body must arrive within this time, plus a second for each MiB.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// Headers that must not come twice: two readers could each take a different one.
static SINGLE: [HeaderName; 9] = [
    HeaderName::from_static("accept-language"),
    HeaderName::from_static("content-type"),
    HeaderName::from_static("content-encoding"),
    HeaderName::from_static("if-modified-since"),
    HeaderName::from_static("if-unmodified-since"),
    HeaderName::from_static("range"),
    HeaderName::from_static("user-agent"),
    HeaderName::from_static("x-github-api-version"),
    HeaderName::from_static("expect"),
];

/// Headers by which some servers let a POST stand for another method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// As they came. Only an allow-list of them is sent upstream.
    pub(crate) headers: HeaderMap,
    pub(crate) body: CallBody,
    pub(crate) route: Route,
    /// The class. While `branches` still decide it: the class if one of them is guarded.
    pub(crate) class: Class,
    /// Branches the guard has to look at before the class is known.
    pub(crate) branches: Vec<NamedBranch>,
    /// What the guard found out about `branches`, if that must still hold when the call goes up.
    pub(crate) looked: Option<Looked>,
    /// The class if nothing guards `branches`.
    pub(crate) otherwise: Class,
    /// What an approval calls the operation, if not by its class.
    pub(crate) action: Option<&'static str>,
    /// The number of the pull request it lands.
    pub(crate) lands: Option<u64>,
    /// The number of the pull request it reviews.
    pub(crate) reviews: Option<u64>,
    /// What the node ids in its mutations stand for.
    pub(crate) ids: BTreeMap<String, String>,
    /// Its document, if it is GraphQL.
    pub(crate) graphql: Option<Box<GraphqlCall>>,
    /// Its cost in points of its pool, as known before it is sent.
    pub(crate) price: u32,
    /// Whether a GraphQL answer's `rateLimit { cost }` can be believed.
    pub(crate) shows_cost: bool,
    /// It opened a pull request that was no draft, and is sent as one that is.
    pub(crate) is_made_draft: bool,
    /// The part of the memory for bodies that its body takes.
    pub(crate) _room: Option<Room>,
}

/// A look at the branches of a call, after which what is written to them does not land unseen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) at: Instant,
    /// Nothing guards them, so the call is a plain write.
    pub(crate) are_free: bool,
}

/// A GraphQL document, and what it changes.
#[derive(Debug)]
pub(crate) struct GraphqlCall {
    pub(crate) request: Document,
    pub(crate) mutations: Vec<Mutation>,
}

impl Call {
    /// A read without a body, as the guard's own questions are.
    pub(crate) fn own(target: Target, route: Route, class: Class) -> Call {
        Call {
            method: Method::GET,
            target,
            headers: HeaderMap::new(),
            body: CallBody::Empty,
            route,
            class,
            branches: Vec::new(),
            looked: None,
            otherwise: Class::Write,
            action: None,
            lands: None,
            reviews: None,
            ids: BTreeMap::new(),
            graphql: None,
            price: 1,
            shows_cost: false,
            is_made_draft: false,
            _room: None,
        }
    }

    /// Whether tollgate makes the call for itself, to judge another one.
    pub(crate) fn is_look_up(&self) -> bool {
        let is_about_nodes = matches!(self.route.scope, Scope::Graphql) && self.graphql.is_none();
        is_about_nodes || std::ptr::eq(self.route.operation, &raw const routes::LOOK_UP)
    }

    /// The members of the body, or of the input of the call's one mutation; none if there is no such thing.
    pub(crate) fn members(&self) -> Option<Cow<'_, Map<String, Value>>> {
        match &self.graphql {
            Some(graphql) => Some(Cow::Borrowed(&graphql.mutations.first()?.input)),
            None => Some(Cow::Owned(json::object(self.body.held()).ok()?)),
        }
    }

    pub(crate) fn member(&self, key: &str) -> Option<Value> {
        self.members()?.get(key).cloned()
    }

    /// Sets a member of the body, or of the input of the call's one mutation; all else stays as it was sent.
    pub(crate) fn set_member(&mut self, key: &str, value: &Value) -> Result<(), ProxyError> {
        let body = match &mut self.graphql {
            Some(graphql) => {
                let body = edit::with_input(&graphql.request, self.body.held(), key, value);
                let body = body.map_err(|error| refused(&error))?;
                // The next member is set in this document.
                graphql.request = Document::read(&body).map_err(|error| refused(&error))?;
                body
            }
            None => json::with(self.body.held(), key, value).map_err(|_| ProxyError::Internal)?,
        };
        self.body = CallBody::Whole(body);
        Ok(())
    }

    /// Whether the call's class depends on a branch.
    pub(crate) fn names_branch(&self) -> bool {
        let by_graphql = self.graphql.iter().flat_map(|graphql| &graphql.mutations);
        !self.branches.is_empty() || by_graphql.into_iter().any(|mutation| !mutation.branches.is_empty())
    }

    /// Whether GitHub counts the call as one that changes something, whatever the policy makes of it.
    pub(crate) fn is_write(&self) -> bool {
        match self.route.scope {
            Scope::Graphql => self.changes_by_graphql(),
            _ => !matches!(self.method, Method::GET | Method::HEAD),
        }
    }

    /// Whether the call changes something by GraphQL.
    pub(crate) fn changes_by_graphql(&self) -> bool {
        self.graphql.as_ref().is_some_and(|graphql| graphql.request.kind() != Kind::Query)
    }
}

/// The body of a call.
#[derive(Debug)]
pub(crate) enum CallBody {
    Empty,
    /// Held in memory, so it can be sent again.
    Whole(Bytes),
    /// Can be sent once only; the first attempt takes it.
    Stream(Option<Box<Bounded>>),
}

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

impl CallBody {
    /// The bytes held: the whole body, or nothing.
    pub(crate) fn held(&self) -> &[u8] {
        match self {
            CallBody::Whole(bytes) => bytes,
            CallBody::Empty | CallBody::Stream(_) => &[],
        }
    }

    /// Whether a second attempt would still have the body.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            CallBody::Empty | CallBody::Whole(_) => true,
            CallBody::Stream(_) => false,
        }
    }
}

impl Proxy {
    pub(super) async fn classify(
        &self,
        agent: &Agent,
        head: &mut request::Parts,
        body: Incoming,
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

    /// The target in origin form, or in absolute form when it names this listener (RFC 9112 §3.2).
    fn read_target(&self, head: &request::Parts, peer: &Peer) -> Result<Target, ProxyError> {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        if !known.contains(&head.method) {
            return Err(bad("The API takes GET, HEAD, POST, PUT, PATCH and DELETE."));
        }
        let uri = &head.uri;
        if length_of(uri) > TARGET_BYTES_MAX {
            return Err(ProxyError::UriTooLong);
        }
        if head.version >= Version::HTTP_2 {
            check_http2(head)?;
        } else if !self.is_own_authority(uri, peer) {
            return Err(bad("The request names another host; only this proxy's own address is served."));
        }
        let target = Target::parse(uri.path(), uri.query())
            .map_err(|error| bad(&format!("The request is ambiguous: {error}.")))?;
        let query = target.query().map(|query| percent_decode_str(query).collect::<Vec<u8>>());
        if holds_credential(target.path().as_bytes()) || query.is_some_and(|query| holds_credential(&query)) {
            return Err(bad("Don't put a key in the URL; send it in the Authorization header."));
        }
        Ok(target)
    }

    fn is_own_authority(&self, uri: &Uri, peer: &Peer) -> bool {
        let Some(authority) = uri.authority() else {
            return true;
        };
        let named = authority.as_str().to_ascii_lowercase();
        let port = peer.local.port();
        let own = [
            peer.local.to_string(),
            format!("localhost:{port}"),
            "api.github.localhost".to_owned(),
            "api.github.localhost:80".to_owned(),
            format!("api.github.localhost:{port}"),
        ];
        let public = self.rules.server.public_url.as_deref().and_then(|url| url.split_once("://"));
        uri.scheme_str() == Some(if peer.is_tls { "https" } else { "http" })
            && (own.contains(&named) || public.is_some_and(|(_, host)| host.eq_ignore_ascii_case(&named)))
    }

    async fn take_body(
        &self,
        agent: &Agent,
        method: &Method,
        body: Incoming,
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
        body: Incoming,
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

/// The length of path and query, in bytes.
fn length_of(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

/// Checks for HTTP/2 the bounds and the single Host that `framing` checks for HTTP/1.1.
fn check_http2(head: &request::Parts) -> Result<(), ProxyError> {
    let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > HEAD_BYTES_MAX || head.headers.len() > FIELDS_MAX {
        return Err(ProxyError::HeadersTooLarge);
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let mut hosts: Vec<&[u8]> = head.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes).collect();
    hosts.extend(authority.map(str::as_bytes));
    match hosts.as_slice() {
        [_] => Ok(()),
        [host, authority] if host.eq_ignore_ascii_case(authority) => Ok(()),
        _ => Err(bad("There must be exactly one host: `:authority`, and the same in Host if that is sent.")),
    }
}

/// Refuses headers that must not come at all, or not twice.
fn check_headers(headers: &HeaderMap) -> Result<(), ProxyError> {
    // The usual case: each header came once.
    if headers.len() > headers.keys_len() {
        let repeated = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some());
        if let Some(name) = repeated {
            return Err(bad(&format!("The header {name} came more than once.")));
        }
    }
    let harmless = [b"GET".as_slice(), b"HEAD"];
    for (name, value) in headers {
        if METHOD_OVERRIDES.contains(&name.as_str())
            && !harmless.iter().any(|method| value.as_bytes().eq_ignore_ascii_case(method))
        {
            return Err(bad(&format!("The method can't be overridden by {name}.")));
        }
    }
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity" && !value.is_empty());
    if encoded {
        return Err(bad("A compressed request body is not taken; send it plain."));
    }
    Ok(())
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
