//! Whether an answer refuses for a limit, and for which one.
//!
//! The ways in which GitHub does so, from its docs and from observed answers: 403 or 429 with `retry-after`, with
//! `remaining: 0`, or with words alone; GraphQL with 200 and an entry in `errors`. Two mistakes must not happen.
//! A 403 for a missing permission is no limit, even if it is the window's last call. And since GraphQL messages
//! quote the caller's query, words count only at the beginning of a message, where GitHub puts them; otherwise an
//! agent could put the whole installation on hold.

#[cfg(test)]
mod tests;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::body::{Body, GraphqlError};
use super::{LimitKind, is_spent};

/// How GitHub's refusal messages begin; bodies are read in lower case.
const BEGINNINGS: [(&str, LimitKind); 4] = [
    ("you have exceeded a secondary rate limit", LimitKind::Secondary),
    ("you have triggered an abuse detection mechanism", LimitKind::Secondary),
    ("api rate limit exceeded", LimitKind::Primary),
    ("api rate limit already exceeded", LimitKind::Primary),
];

/// GitHub's words for a secondary limit, today and in older versions.
const SECONDARY_WORDS: [&str; 4] = [
    "secondary rate",
    "abuse detection",
    "please wait a few minutes before you try again",
    "please retry your request again later",
];

pub(super) fn kind(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&Body>,
    is_graphql: bool,
) -> Option<LimitKind> {
    let in_errors = || body.filter(|_| is_graphql).and_then(of_errors);
    match status {
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            of_refusal(status, headers, body).or_else(in_errors)
        }
        _ if is_graphql && status.is_success() => {
            in_errors().or_else(|| of_beginning(body?.message.as_deref()?))
        }
        _ => None,
    }
}

/// The limit cited by a 403 or 429.
///
/// Words about a secondary limit take precedence, because that limit concerns the whole installation; `remaining:
/// 0` reaches the ledger through the figures anyway.
fn of_refusal(status: StatusCode, headers: &HeaderMap, body: Option<&Body>) -> Option<LimitKind> {
    if body.is_some_and(is_secondary) || headers.contains_key(RETRY_AFTER) {
        return Some(LimitKind::Secondary);
    }
    let message = body.and_then(|body| body.message.as_deref());
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(if is_spent(headers) { LimitKind::Primary } else { LimitKind::Secondary });
    }
    match message {
        // A refusal for a limit names the limit. Without it, this is some other refusal that happened to be the
        // last call.
        Some(message) if is_spent(headers) => message.contains("rate limit").then_some(LimitKind::Primary),
        Some(message) => of_beginning(message),
        None => is_spent(headers).then_some(LimitKind::Primary),
    }
}

/// Whether the body itself names a secondary limit (headers alone can also imply one).
pub(super) fn names_secondary(body: &Body) -> bool {
    is_secondary(body) || body.errors.iter().any(|error| of_error(error) == Some(LimitKind::Secondary))
}

/// REST messages are GitHub's own words, so these may appear anywhere in them.
fn is_secondary(body: &Body) -> bool {
    let message = body.message.as_deref().unwrap_or_default();
    let documentation_url = body.documentation_url.as_deref().unwrap_or_default();
    speaks_of_secondary(message)
        || documentation_url.ends_with("secondary-rate-limits")
        || documentation_url.ends_with("abuse-rate-limits")
}

fn speaks_of_secondary(message: &str) -> bool {
    SECONDARY_WORDS.iter().any(|words| message.contains(words))
}

/// The limit cited by a GraphQL answer's errors; a secondary limit takes precedence, as above.
fn of_errors(body: &Body) -> Option<LimitKind> {
    let kinds: Vec<LimitKind> = body.errors.iter().filter_map(of_error).collect();
    kinds.iter().find(|kind| **kind == LimitKind::Secondary).or(kinds.first()).copied()
}

fn of_error(error: &GraphqlError) -> Option<LimitKind> {
    let message = error.message.as_deref().unwrap_or_default();
    let is_limit = error.code.as_deref() == Some("graphql_rate_limit")
        || matches!(error.kind.as_deref(), Some("rate_limited" | "rate_limit"));
    if is_limit {
        let is_secondary = speaks_of_secondary(message);
        return Some(if is_secondary { LimitKind::Secondary } else { LimitKind::Primary });
    }
    match error.kind {
        // NOT_FOUND, FORBIDDEN and the like are other reasons, whatever text they quote.
        Some(_) => None,
        None => of_beginning(message),
    }
}

fn of_beginning(message: &str) -> Option<LimitKind> {
    BEGINNINGS.iter().find(|(beginning, _)| message.starts_with(beginning)).map(|(_, kind)| *kind)
}
