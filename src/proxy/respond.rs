//! Stage 10, what the caller gets: GitHub's answer in the caller's own addresses, or a refusal.
//!
//! Here stands the only table from [`ProxyError`] to status and body. Refusals have the shape of
//! GitHub's errors plus one object, `tollgate`, so that clients handle them and a person can tell
//! them from GitHub's.

use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION,
    RETRY_AFTER,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use super::Proxy;
use super::body::{ResponseBody, full};
use super::classify::media_type;
use super::context::Context;
use super::settle::Answer;
use crate::cache::CacheResult;
use crate::error::{ProxyError, Side};
use crate::links::LinkMap;
use crate::links::body::RewrittenBody;

/// Where links to the uploads host lead.
const UPLOADS_PREFIX: &str = "/api/uploads";
/// Documentation named in refusals, as GitHub's own errors do.
const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// Headers that concern one hop only (RFC 9110 §7.6.1), or would bind the caller to GitHub's host.
const NOT_PASSED_ON: [&str; 14] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
    "authorization",
    "www-authenticate",
];

impl Proxy {
    /// Turns the outcome into the answer, counts it and writes the request's one line of log.
    pub(super) fn respond(
        &self,
        outcome: Result<Answer, ProxyError>,
        ctx: &Context,
    ) -> Response<ResponseBody> {
        let (mut response, outcome) = match outcome {
            Ok(answer) => (self.pass_on(answer, ctx), "served"),
            Err(error) => {
                self.count_denial(&error, ctx);
                (
                    refusal(
                        &error,
                        ctx.agent.as_ref().map(|agent| agent.name.as_str()),
                        &ctx.request_id,
                        ctx.is_graphql,
                    ),
                    outcome_of(&error),
                )
            }
        };
        let headers = response.headers_mut();
        insert_text(headers, "x-request-id", &ctx.request_id);
        insert_text(headers, "x-tollgate-cache", CacheResult::Bypass.as_str());
        insert_text(headers, "x-tollgate-wait-ms", "0");
        if let Some(agent) = &ctx.agent {
            insert_text(headers, "x-tollgate-agent", &agent.name);
        }
        self.record_request(ctx, response.status(), outcome);
        response
    }

    fn pass_on(&self, answer: Answer, ctx: &Context) -> Response<ResponseBody> {
        let (mut head, body) = answer.into_parts();
        let named: Vec<HeaderName> = connection_options(&head.headers);
        for name in NOT_PASSED_ON.iter().filter_map(|name| name.parse().ok()).chain(named) {
            head.headers.remove(&name);
        }
        head.headers.remove("x-tollgate-error");
        let map = ctx.origin.as_ref().map(|origin| {
            LinkMap::new(Arc::clone(&self.link_bases), origin, ctx.prefix.for_links(), UPLOADS_PREFIX)
        });
        let Some(map) = map else {
            return Response::from_parts(head, body);
        };
        rewrite_headers(&mut head.headers, &map);
        let bodiless = ctx.method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        if ctx.is_graphql || !holds_links(&head.headers) {
            return Response::from_parts(head, body);
        }
        // The length is another one now, known only at the end.
        head.headers.remove(CONTENT_LENGTH);
        if bodiless {
            return Response::from_parts(head, body);
        }
        Response::from_parts(head, RewrittenBody::new(body, map).boxed_unsync())
    }

    fn count_denial(&self, error: &ProxyError, ctx: &Context) {
        if error.is_denial() {
            let agent = ctx.agent.as_ref().map_or("none", |agent| agent.name.as_str());
            self.metrics.denied.with_label_values(&[agent, error.code()]).inc();
        }
        if error.side() == Side::Internal {
            tracing::warn!(request_id = ctx.request_id, code = error.code(), "request not served");
        }
    }

    fn record_request(&self, ctx: &Context, status: StatusCode, outcome: &str) {
        let took = ctx.started.elapsed();
        let agent = ctx.agent.as_ref().map_or("none", |agent| agent.name.as_str());
        let (route, resource) =
            ctx.operation.map_or(("none", "none"), |known| (known.template, known.resource));
        self.metrics.requests.with_label_values(&[agent, resource, outcome]).inc();
        self.metrics
            .http_requests
            .with_label_values(&[route, method_label(&ctx.method), status.as_str()])
            .inc();
        self.metrics.request_duration.with_label_values(&[outcome]).observe(took.as_secs_f64());
        self.metrics.overhead.observe(took.saturating_sub(ctx.upstream).as_secs_f64());
        tracing::info!(
            request_id = ctx.request_id,
            agent,
            method = method_label(&ctx.method),
            route,
            class = ctx.class.map_or("none", crate::policy::Class::as_str),
            status = status.as_u16(),
            outcome,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// The one table of statuses.
fn status_of(error: &ProxyError) -> StatusCode {
    match error {
        ProxyError::Unauthenticated | ProxyError::BadCredentials => StatusCode::UNAUTHORIZED,
        ProxyError::RepositoryForbidden(_)
        | ProxyError::OperationForbidden(_)
        | ProxyError::ApprovalRequired { .. }
        | ProxyError::ApprovalInvalid { .. } => StatusCode::FORBIDDEN,
        ProxyError::BadRequest(_) => StatusCode::BAD_REQUEST,
        ProxyError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ProxyError::UriTooLong => StatusCode::URI_TOO_LONG,
        ProxyError::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ProxyError::NoInstallation(_) => StatusCode::NOT_FOUND,
        ProxyError::UpstreamUnreachable(_) => StatusCode::BAD_GATEWAY,
        ProxyError::UpstreamTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
        ProxyError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Seconds after which trying again makes sense; nothing was sent upstream then.
fn retry_after(error: &ProxyError) -> Option<u64> {
    match error {
        ProxyError::Overloaded(_) => Some(1),
        _ => None,
    }
}

/// The label `outcome` of a request that got no answer of GitHub's.
fn outcome_of(error: &ProxyError) -> &'static str {
    match error.side() {
        _ if error.is_denial() => "denied",
        Side::Downstream => "invalid",
        Side::Upstream | Side::Internal => "failed",
    }
}

/// A refusal in GitHub's shape.
pub(super) fn refusal(
    error: &ProxyError,
    agent: Option<&str>,
    request_id: &str,
    is_graphql: bool,
) -> Response<ResponseBody> {
    let status = status_of(error);
    let mut about = json!({ "code": error.code(), "request_id": request_id });
    if let Some(agent) = agent {
        about["agent"] = json!(agent);
    }
    if let Some(seconds) = retry_after(error) {
        about["retry_after"] = json!(seconds);
    }
    if let ProxyError::ApprovalRequired { claims, .. } | ProxyError::ApprovalInvalid { claims, .. } = error {
        about["approval"] = claims.clone();
    }
    let message = error.to_string();
    let mut body = json!({ "message": message, "documentation_url": DOCUMENTATION, "status": status.as_str(), "tollgate": about });
    // To a missing or wrong key GitHub's GraphQL answers with the plain body, too.
    if is_graphql && status != StatusCode::UNAUTHORIZED {
        body["errors"] = json!([{ "type": "FORBIDDEN", "message": message, "extensions": { "tollgate": body["tollgate"] } }]);
    }
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert("x-tollgate-error", HeaderValue::from_static(error.code()));
    if let Some(seconds) = retry_after(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A refusal as bytes, for a connection on which no request could be read. It ends the connection.
pub(super) fn refusal_on_the_wire(error: &ProxyError, request_id: &str) -> Vec<u8> {
    let status = status_of(error);
    let about = json!({ "code": error.code(), "request_id": request_id });
    let body = json!({ "message": error.to_string(), "documentation_url": DOCUMENTATION,
        "status": status.as_str(), "tollgate": about })
    .to_string();
    let retry = retry_after(error).map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\
         x-tollgate-error: {}\r\nx-request-id: {request_id}\r\n{retry}connection: close\r\n\r\n{body}",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
        error.code(),
    )
    .into_bytes()
}

/// Headers that `Connection` names belong to the hop, too.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
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

/// Whether a body is JSON of the API, not a raw file, a diff or anything packed.
fn holds_links(headers: &HeaderMap) -> bool {
    let Some(essence) = media_type(headers, CONTENT_TYPE) else {
        return false;
    };
    if headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return false;
    }
    let untouched = ["raw", "diff", "patch", "sha"];
    let parameter =
        essence.strip_prefix("application/vnd.github.").and_then(|rest| rest.strip_suffix("+json"));
    let is_content = parameter.is_some_and(|rest| rest.split('.').any(|word| untouched.contains(&word)));
    (essence == "application/json" || essence.ends_with("+json")) && !is_content
}

fn insert_text(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Methods outside the API's do not make labels.
fn method_label(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
