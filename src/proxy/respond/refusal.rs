//! The shape of every refusal: status, headers and body, from one table.
//!
//! A rate-limit refusal must be recognized by some twenty different detectors in the field. What
//! satisfies all of them: status 403, a message that begins with GitHub's own words, all five
//! `x-ratelimit-*` headers with `remaining` 0, an integer `retry-after`, and a `reset` that agrees
//! with it, since some clients read one and some the other. A refusal by policy has none of these;
//! otherwise clients would wait and retry for nothing.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::error::{AUDIT_RETRY_SECONDS, Limit, ProxyError, Side, UNSURE_RETRY_SECONDS};

/// The docs that refusals link to, as GitHub's own errors do.
const DOCUMENTATION: &str = "https://docs.github.com/rest";
const LIMITS_DOCUMENTATION: &str =
    "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api";

/// Whom a refusal is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Caller<'a> {
    pub(in crate::proxy) agent: Option<&'a str>,
    pub(in crate::proxy) request_id: &'a str,
    pub(in crate::proxy) is_graphql: bool,
    /// The status of a rate-limit refusal: 403 or 429.
    pub(in crate::proxy) over_budget_status: StatusCode,
}

/// A refusal, ready to be sent.
pub(in crate::proxy) fn refusal(error: &ProxyError, caller: &Caller<'_>) -> Response<String> {
    let status = status_of(error, caller.over_budget_status);
    let mut response = Response::new(body(error, status, caller).to_string());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert("x-tollgate-error", HeaderValue::from_static(error.code()));
    if let Some(seconds) = retry_after(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(limit) = error.limit() {
        insert_rate_limit(headers, limit);
    }
    response
}

/// A refusal as bytes, for a connection on which no request could be read. It closes the connection.
pub(in crate::proxy) fn refusal_on_the_wire(error: &ProxyError, request_id: &str) -> Vec<u8> {
    let over_budget_status = StatusCode::FORBIDDEN;
    let caller = Caller { agent: None, request_id, is_graphql: false, over_budget_status };
    let mut response = refusal(error, &caller);
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body().as_bytes());
    bytes
}

/// The one table of statuses.
fn status_of(error: &ProxyError, over_budget_status: StatusCode) -> StatusCode {
    match error {
        ProxyError::Unauthenticated | ProxyError::BadCredentials => StatusCode::UNAUTHORIZED,
        ProxyError::RepositoryForbidden(_)
        | ProxyError::OperationForbidden(_)
        | ProxyError::ApprovalRequired { .. }
        | ProxyError::ApprovalInvalid { .. } => StatusCode::FORBIDDEN,
        ProxyError::DraftRequired(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ProxyError::BudgetExhausted { .. } | ProxyError::UpstreamLimited(_) => over_budget_status,
        ProxyError::BadRequest(_) => StatusCode::BAD_REQUEST,
        ProxyError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ProxyError::UriTooLong => StatusCode::URI_TOO_LONG,
        ProxyError::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ProxyError::NoInstallation(_) => StatusCode::NOT_FOUND,
        ProxyError::UpstreamUnreachable(_) | ProxyError::CredentialRefused(_) => StatusCode::BAD_GATEWAY,
        ProxyError::UpstreamTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        ProxyError::Overloaded(_)
        | ProxyError::Draining
        | ProxyError::ApprovalUnsure
        | ProxyError::AuditAway
        | ProxyError::StoreUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ProxyError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Seconds after which it makes sense to try again, if it does. GitHub did nothing of such a call.
fn retry_after(error: &ProxyError) -> Option<u64> {
    match error {
        ProxyError::Overloaded(_) | ProxyError::Draining => Some(1),
        ProxyError::ApprovalUnsure => Some(UNSURE_RETRY_SECONDS),
        ProxyError::AuditAway => Some(AUDIT_RETRY_SECONDS),
        ProxyError::StoreUnavailable { retry_after } => Some(*retry_after),
        _ => error.limit().map(|limit| limit.retry_after),
    }
}

/// The metric label `outcome` of a request that got no answer from GitHub.
pub(super) fn outcome_of(error: &ProxyError) -> &'static str {
    match error.side() {
        _ if error.is_denial() => "denied",
        _ if error.limit().is_some() => "refused",
        Side::Downstream => "invalid",
        Side::Upstream | Side::Internal => "failed",
    }
}

fn body(error: &ProxyError, status: StatusCode, caller: &Caller<'_>) -> Value {
    let mut about = json!({ "code": error.code(), "request_id": caller.request_id });
    if let Some(agent) = caller.agent {
        about["agent"] = json!(agent);
    }
    if let Some(seconds) = retry_after(error) {
        about["retry_after"] = json!(seconds);
    }
    if let ProxyError::ApprovalRequired { wanted, .. } | ProxyError::ApprovalInvalid { wanted, .. } = error {
        about["approval"] = wanted.claims.clone();
        if let Some(request) = &wanted.request {
            about["request"] = request.clone();
        }
    }
    let message = error.to_string();
    let documentation = if error.limit().is_some() { LIMITS_DOCUMENTATION } else { DOCUMENTATION };
    let mut body =
        json!({ "message": message, "documentation_url": documentation, "status": status.as_str() });
    // GitHub's GraphQL, too, answers a missing or wrong key with the plain body.
    if caller.is_graphql && status != StatusCode::UNAUTHORIZED {
        let kind = if error.limit().is_some() { "RATE_LIMITED" } else { "FORBIDDEN" };
        body["errors"] = json!([{ "type": kind, "message": message, "extensions": { "tollgate": about } }]);
    }
    body["tollgate"] = about;
    body
}

fn insert_rate_limit(headers: &mut HeaderMap, limit: &Limit) {
    for (name, value) in [
        ("x-ratelimit-limit", HeaderValue::from(limit.used)),
        ("x-ratelimit-remaining", HeaderValue::from(0)),
        ("x-ratelimit-used", HeaderValue::from(limit.used)),
        ("x-ratelimit-reset", HeaderValue::from(limit.reset)),
        ("x-ratelimit-resource", HeaderValue::from_static(limit.resource)),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests;
