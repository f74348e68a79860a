//! Stage 10, what the caller gets: GitHub's answer in the caller's own addresses, or a refusal.
//!
//! The only table from [`ProxyError`] to status and body is in [`mod@refusal`]. Refusals have the
//! shape of GitHub's errors plus one object, `tollgate`: clients can handle them, and people can
//! tell them from GitHub's.

mod refusal;

use std::sync::{Arc, LazyLock};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION,
};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body_util::BodyExt;

use super::Proxy;
use super::body::{ResponseBody, full};
use super::classify::media_type;
use super::context::Context;
use super::lookup::{Own, Reused};
use super::settle::Answer;
use crate::agent::NOBODY;
use crate::audit::{Facts, Record, Verdict};
use crate::budget::{Snapshot, View};
use crate::cache::CacheResult;
use crate::error::{ProxyError, Side};
use crate::links::LinkMap;
use crate::links::body::RewrittenBody;
use crate::links::json::JsonRewriter;
pub(super) use refusal::refusal_on_the_wire;
use refusal::{Caller, outcome_of, refusal};

/// Tells the caller of a cheaper or better way.
pub(super) const HINT: HeaderName = HeaderName::from_static("x-tollgate-hint");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CACHE: HeaderName = HeaderName::from_static("x-tollgate-cache");
const WAIT_MS: HeaderName = HeaderName::from_static("x-tollgate-wait-ms");
const AGENT: HeaderName = HeaderName::from_static("x-tollgate-agent");

/// The prefix of links to the uploads host.
const UPLOADS_PREFIX: &str = "/api/uploads";

impl Proxy {
    /// Turns the outcome into the response, counts it and writes the request's one log line.
    pub(super) fn respond(
        &self,
        outcome: Result<Answer, ProxyError>,
        ctx: &Context,
    ) -> Response<ResponseBody> {
        self.write_down(&outcome, ctx);
        let refused = outcome.as_ref().err().map(|error| (error.code(), error.side()));
        let (mut response, outcome) = match outcome {
            Ok(answer) => (self.pass_on(answer, ctx), "served"),
            Err(error) => {
                self.count_denial(&error, ctx);
                self.keep_refusal(&error, ctx);
                let caller = Caller {
                    agent: ctx.agent.as_ref().map(|agent| agent.name.as_str()),
                    request_id: &ctx.request_id,
                    is_graphql: ctx.is_graphql,
                    over_budget_status: self.rules.over_budget_status,
                };
                (refusal(&error, &caller).map(full), outcome_of(&error))
            }
        };
        let headers = response.headers_mut();
        let cache = ctx.cache.unwrap_or(CacheResult::Bypass).as_str();
        insert_text(headers, REQUEST_ID, &ctx.request_id);
        headers.insert(CACHE, HeaderValue::from_static(cache));
        headers.insert(WAIT_MS, number(i64::try_from(ctx.held.as_millis()).unwrap_or(i64::MAX)));
        if let Some(agent) = &ctx.agent {
            insert_text(headers, AGENT, &agent.name);
        }
        self.record_request(ctx, response.status(), outcome, refused);
        self.record_answer(ctx);
        response
    }

    fn pass_on(&self, answer: Answer, ctx: &Context) -> Response<ResponseBody> {
        let (mut head, body) = answer.into_parts();
        // The version belongs to a hop (RFC 9110 §2.5): passing on HTTP/1.0 would close the
        // caller's connection.
        head.version = Version::HTTP_11;
        for name in not_passed_on(&head.headers) {
            head.headers.remove(name);
        }
        if head.extensions.remove::<Own>().is_none() {
            copy_upstream_limit(&mut head.headers);
        }
        if let (Some(view), Some(operation)) = (&ctx.view, ctx.operation) {
            insert_own_limit(&mut head.headers, view, operation.resource, self.clock.now_ms());
        }
        let Some(origin) = &ctx.origin else {
            return Response::from_parts(head, body);
        };
        let prefix = ctx.prefix.for_links();
        let map = || LinkMap::new(Arc::clone(&self.link_bases), origin, prefix, UPLOADS_PREFIX);
        if head.headers.contains_key(LOCATION) || head.headers.contains_key(LINK) {
            rewrite_headers(&mut head.headers, &map());
        }
        let bodiless = ctx.method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        if ctx.is_graphql || !holds_links(&head.headers) {
            return Response::from_parts(head, body);
        }
        // Rewriting changes the length, which is known only at the end.
        head.headers.remove(CONTENT_LENGTH);
        if bodiless {
            return Response::from_parts(head, body);
        }
        let Some(Reused { key, entry }) = head.extensions.remove() else {
            return Response::from_parts(head, RewrittenBody::new(body, map()).boxed_unsync());
        };
        let write = |text| JsonRewriter::rewrite(text, map());
        let address = [origin, prefix].concat();
        let written = self.cache.written(&key, &entry, &address, write);
        // The body was unpacked when the entry was made.
        let written = written.unwrap_or_default();
        head.headers.remove(CONTENT_ENCODING);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(written.len()));
        Response::from_parts(head, full(written))
    }

    /// Adds the outcome to the call's line in the audit log. A denial without a line gets one here.
    fn write_down(&self, outcome: &Result<Answer, ProxyError>, ctx: &Context) {
        let Err(error) = outcome else { return };
        let refuse = |facts: &mut Facts| {
            if error.is_denial() {
                facts.verdict = Some(Verdict::Denied);
                facts.rule = Some(error.code());
                facts.reason = Some(error.to_string());
            } else if facts.upstream_status.is_none() {
                facts.failure = Some(error.code());
            }
        };
        match &ctx.record {
            Some(record) => record.note(refuse),
            None if error.is_denial() => {
                let mut facts = Facts {
                    request_id: ctx.request_id.clone(),
                    agent: ctx.agent.as_ref().map_or_else(String::new, |agent| agent.name.clone()),
                    subject: ctx.subject.as_deref().map(str::to_owned),
                    method: ctx.method.to_string(),
                    operation: ctx.operation.map_or("none", |operation| operation.id),
                    repository: ctx.repository.as_ref().map(ToString::to_string),
                    path: ctx.path.clone(),
                    branches: ctx.branches.clone(),
                    class: ctx.class.map(crate::policy::Class::as_str),
                    changes: ctx.changes.clone(),
                    ..Facts::default()
                };
                refuse(&mut facts);
                drop(Record::new(&self.audit, &self.clock, facts));
            }
            None => {}
        }
    }

    fn count_denial(&self, error: &ProxyError, ctx: &Context) {
        if error.is_denial() {
            let agent = ctx.agent.as_ref().map_or(NOBODY, |agent| agent.name.as_str());
            self.metrics.denied.with_label_values(&[agent, error.code()]).inc();
        }
    }

    /// Metrics of answered requests only: for others, some clocks were still running.
    fn record_answer(&self, ctx: &Context) {
        if let Some(cache) = ctx.cache {
            self.metrics.cache_requests.with_label_values(&[cache.as_str()]).inc();
        }
        let own = ctx.started.elapsed().saturating_sub(ctx.uploading + ctx.upstream + ctx.held);
        self.metrics.overhead.observe(own.as_secs_f64());
    }

    /// Records that the caller hung up before there was an answer, or its connection was cut in a drain.
    pub(super) fn record_gone(&self, ctx: &Context) {
        if let Some(record) = &ctx.record {
            // What was sent says for itself how it ended.
            record.note(|facts| {
                if facts.upstream_status.is_none() {
                    facts.failure.get_or_insert("gone");
                }
            });
        }
        self.record_request(ctx, *CLIENT_CLOSED_REQUEST, "gone", None);
    }

    /// Counts the request and writes its line, as a warning if the trouble is on GitHub's side or here.
    fn record_request(
        &self,
        ctx: &Context,
        status: StatusCode,
        outcome: &str,
        refused: Option<(&'static str, Side)>,
    ) {
        let took = ctx.started.elapsed();
        let agent = ctx.agent.as_ref().map_or(NOBODY, |agent| agent.name.as_str());
        let (route, resource) =
            ctx.operation.map_or(("none", "none"), |known| (known.template, known.resource));
        self.metrics.requests.with_label_values(&[agent, resource, outcome]).inc();
        self.metrics
            .http_requests
            .with_label_values(&[route, method_label(&ctx.method), status.as_str()])
            .inc();
        self.metrics.request_duration.with_label_values(&[outcome]).observe(took.as_secs_f64());
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = ctx.request_id,
                    agent,
                    method = method_label(&ctx.method),
                    route,
                    class = ctx.class.map_or("none", crate::policy::Class::as_str),
                    status = status.as_u16(),
                    outcome,
                    code = refused.map(|(code, _)| code),
                    cause = ctx.cause.as_deref(),
                    subject = ctx.subject.as_deref(),
                    identity = ctx.rejection.as_ref().map(tracing::field::display),
                    waited_ms = u64::try_from(ctx.held.as_millis()).unwrap_or(u64::MAX),
                    took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    "request"
                )
            };
        }
        match ctx.cause.is_some() || refused.is_some_and(|(_, side)| side != Side::Downstream) {
            true => line!(warn),
            false => line!(info),
        }
    }
}

/// nginx's status for a request whose caller did not wait for the answer; it is never sent.
static CLIENT_CLOSED_REQUEST: LazyLock<StatusCode> =
    LazyLock::new(|| StatusCode::from_u16(499).expect("three digits"));

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const USED: HeaderName = HeaderName::from_static("x-ratelimit-used");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RESOURCE: HeaderName = HeaderName::from_static("x-ratelimit-resource");

/// GitHub's figures that the caller may see, and the names they get.
static UPSTREAM: [(HeaderName, HeaderName); 3] = [
    (LIMIT, HeaderName::from_static("x-tollgate-upstream-limit")),
    (REMAINING, HeaderName::from_static("x-tollgate-upstream-remaining")),
    (RESET, HeaderName::from_static("x-tollgate-upstream-reset")),
];

/// Copies GitHub's own figures to names of their own, before `x-ratelimit-*` become the agent's.
fn copy_upstream_limit(headers: &mut HeaderMap) {
    for (from, to) in &UPSTREAM {
        if let Some(value) = headers.get(from).cloned() {
            headers.insert(to, value);
        }
    }
}

/// Sets the agent's own limits in place of GitHub's, which are the whole installation's.
///
/// `remaining` is at least 1, since a served caller can go on: a 0 would make some clients stop until the reset.
pub(super) fn insert_own_limit(headers: &mut HeaderMap, view: &View, resource: &'static str, now_ms: i64) {
    let (mut remaining, mut reset) = (view.remaining, in_seconds(now_ms + view.reset_in_ms));
    // The first answer of a pool: a store that is asked over a network does not know it yet.
    if !view.is_known
        && let (Some(left), Some(until)) = (figure(headers, &REMAINING), figure(headers, &RESET))
    {
        (remaining, reset) = (left * view.weight / view.weights.max(1), until);
    }
    let remaining = remaining.max(1);
    insert_figures(headers, view.used, remaining, reset, resource);
}

/// Sets an agent's limits on an answer about them.
pub(super) fn insert_limit(headers: &mut HeaderMap, view: &View, resource: &'static str, now_ms: i64) {
    insert_figures(headers, view.used, view.remaining, in_seconds(now_ms + view.reset_in_ms), resource);
}

fn insert_figures(headers: &mut HeaderMap, used: i64, remaining: i64, reset: i64, resource: &'static str) {
    for (name, value) in [(LIMIT, used + remaining), (REMAINING, remaining), (USED, used), (RESET, reset)] {
        headers.insert(name, number(value));
    }
    headers.insert(RESOURCE, HeaderValue::from_static(resource));
}

/// Sets GitHub's figures as the budget knows them, on an answer that GitHub was not asked for.
pub(super) fn insert_upstream_limit(headers: &mut HeaderMap, pool: &Snapshot) {
    let used = pool.used.max(pool.own);
    let figures = [pool.limit, (pool.limit - used).max(0), in_seconds(pool.reset)];
    for ((_, name), value) in UPSTREAM.iter().zip(figures) {
        headers.insert(name, number(value));
    }
}

/// Epoch seconds, rounded up.
pub(super) fn in_seconds(epoch_ms: i64) -> i64 {
    (epoch_ms + 999).div_euclid(1000)
}

fn figure(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let figure = headers.get(name)?.to_str().ok()?.parse().ok()?;
    (0..=i64::MAX / 1_000_000).contains(&figure).then_some(figure)
}

/// The headers of an answer that concern its hop only (RFC 9110 §7.6.1), or would bind the caller
/// to GitHub's host. Headers named in `Connection` belong to the hop, too.
fn not_passed_on(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok());
    let listed = headers.keys().filter(|name| {
        matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "set-cookie"
                | "alt-svc"
                | "strict-transport-security"
                | "authorization"
                | "www-authenticate"
                | "x-tollgate-error"
        )
    });
    named.chain(listed.cloned()).collect()
}

fn rewrite_headers(headers: &mut HeaderMap, map: &LinkMap) {
    if let Some(location) = headers.get(LOCATION).and_then(|value| map.rewrite_location(value)) {
        headers.insert(LOCATION, location);
    }
    let links: Vec<HeaderValue> = headers
        .get_all(LINK)
        .iter()
        .map(|value| map.rewrite_link_header(value).unwrap_or_else(|| value.clone()))
        .collect();
    headers.remove(LINK);
    for link in links {
        headers.append(LINK, link);
    }
}

/// Whether a body is the API's JSON, and not a raw file or a diff.
pub(super) fn holds_links(headers: &HeaderMap) -> bool {
    let Some(essence) = media_type(headers, CONTENT_TYPE) else {
        return false;
    };
    let untouched = ["raw", "diff", "patch", "sha"];
    let parameter =
        essence.strip_prefix("application/vnd.github.").and_then(|rest| rest.strip_suffix("+json"));
    let is_content = parameter.is_some_and(|rest| rest.split('.').any(|word| untouched.contains(&word)));
    (essence == "application/json" || essence.ends_with("+json")) && !is_content
}

fn number(value: i64) -> HeaderValue {
    // `HeaderValue::from` allocates twice.
    HeaderValue::from_str(itoa::Buffer::new().format(value)).expect("digits and a sign may stand in a header")
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Methods that the API does not have get no label of their own.
fn method_label(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
