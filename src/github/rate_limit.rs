//! What an answer says about GitHub's limits: its figures, and whether it is a refusal for a limit.
//!
//! Source: GitHub Docs, "Rate limits for the REST API". Header values are whole numbers; `reset` is UTC epoch
//! seconds and only has meaning relative to the answer's own `Date`. The set of resources is open: a new one is
//! no error. Nothing read here is trusted: figures are bounded, and unreadable ones are reported as such.

mod body;

mod refusal;

#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use body::Body;

/// Larger than any real pool or time in seconds; sums of such figures can't overflow.
const FIGURE_MAX: u64 = 1_000_000_000_000;
/// Longest plausible window; GitHub's windows are an hour and a minute.
const WINDOW_MAX_SECONDS: u64 = 24 * 60 * 60;
/// A `retry-after` that ends at most this many seconds before a reset means the reset.
const WINDOW_SLACK_SECONDS: u64 = 5;
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static USED: HeaderName = HeaderName::from_static("x-ratelimit-used");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static RESOURCE: HeaderName = HeaderName::from_static("x-ratelimit-resource");

/// The five `x-ratelimit-*` headers of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    pub limit: u64,
    pub remaining: u64,
    pub used: u64,
    /// UTC epoch seconds.
    pub reset: u64,
    pub resource: String,
}

/// Seconds to wait when a refusal doesn't say how long.
const PAUSE_UNTOLD_S: u64 = 60;
/// The longest window there is, in seconds.
const PAUSE_MAX_S: u64 = 3_600;

/// Everything that one answer says about limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub status: StatusCode,
    /// `Some` only with [`Figures::Read`].
    pub limit: Option<RateLimit>,
    /// The answer's `Date`, UTC epoch seconds; `reset` is relative to it, not to our clock.
    pub date: Option<i64>,
    pub figures: Figures,
    pub refused: Option<Refused>,
    /// `data.rateLimit.cost` of a GraphQL answer. The caller names the members of `data`, so unless tollgate
    /// wrote the query the value can't be trusted.
    pub cost: Option<u32>,
    /// The answer refuses for a limit, but part of the GraphQL document was carried out.
    pub is_partly_done: bool,
}

/// Whether an answer's figures can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    Read,
    /// None of the five headers is present.
    Absent,
    /// They may not describe the installation: GitHub refused the credential, or failed.
    Foreign,
    /// They say that nothing is left until the window ends, but `retry-after` ends earlier.
    Contradicted,
    /// Some are missing or invalid, or there is no `Date` to compare the reset with.
    Garbled,
}

/// A refusal for one of GitHub's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub kind: LimitKind,
    /// From a second to an hour; `None` when GitHub names no readable time.
    pub retry_after: Option<Duration>,
}

/// Which of GitHub's limits an answer cites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    Primary,
    Secondary,
}

impl LimitKind {
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Primary => "primary",
            LimitKind::Secondary => "secondary",
        }
    }
}

/// Reads one answer; `body` must be given if [`wants_body`] says so.
pub fn read(status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>, is_graphql: bool) -> Reading {
    let date = date(headers);
    // With a refused credential come the figures of an anonymous caller, 60 an hour. A GitHub server error may
    // carry them too, since it can happen before GitHub knows who is calling.
    let (figures, limit) = match status == StatusCode::UNAUTHORIZED || status.is_server_error() {
        true => (Figures::Foreign, None),
        false => figures(headers, date),
    };
    let body = body.filter(|_| wants_body(status, headers, is_graphql)).and_then(Body::read);
    let kind = refusal::kind(status, headers, body.as_ref(), is_graphql);
    let refused = kind.map(|kind| Refused { kind, retry_after: retry_after(headers) });
    let (figures, limit) = match (limit, refused) {
        (Some(limit), Some(refused)) if is_contradicted(&limit, refused, date, body.as_ref()) => {
            (Figures::Contradicted, None)
        }
        (limit, _) => (figures, limit),
    };
    Reading {
        status,
        limit,
        date,
        figures,
        refused,
        is_partly_done: refused.is_some() && body.as_ref().is_some_and(|body| is_graphql && body.has_data),
        cost: body.filter(|_| is_graphql && status.is_success()).and_then(|body| body.cost),
    }
}

impl Reading {
    /// If the answer refuses for a limit: whole seconds from `now` (UTC epoch seconds) until the next call, at least 1.
    /// Without `retry-after`, a primary limit ends with its window (at most an hour) and any other after a minute.
    ///
    /// Source: GitHub Docs, "Rate limits for the REST API", exceeding the rate limit.
    pub fn pause(&self, now: i64) -> Option<u64> {
        let refused = self.refused?;
        let until_reset = self.limit.as_ref().and_then(|limit| limit.reset.checked_add_signed(-now));
        let seconds = match (refused.kind, refused.retry_after) {
            (_, Some(pause)) => pause.as_secs(),
            (LimitKind::Primary, None) => until_reset.unwrap_or(PAUSE_UNTOLD_S).min(PAUSE_MAX_S),
            (LimitKind::Secondary, None) => PAUSE_UNTOLD_S,
        };
        Some(seconds.max(1))
    }
}

/// Whether the body is needed to recognize a refusal for a limit.
///
/// GraphQL refuses with status 200; a REST 403 may also be about a permission.
pub fn wants_body(status: StatusCode, headers: &HeaderMap, is_graphql: bool) -> bool {
    match status {
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => true,
        _ => is_graphql && status.is_success() && may_be_json(headers),
    }
}

/// How long `retry-after` says to wait, clamped to a second to an hour.
///
/// A date counts from the answer's own `Date`. `None` if that date is past, or the value is neither a date nor a
/// whole number.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = single(headers, &RETRY_AFTER)?;
    let wait = match digits(text) {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            let seconds = http_date(text)?.checked_sub(date(headers)?)?;
            Duration::from_secs(u64::try_from(seconds).ok()?)
        }
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

impl RateLimit {
    /// Reads the headers; `None` when one is missing or invalid.
    pub fn from_headers(headers: &HeaderMap) -> Option<RateLimit> {
        let resource = single(headers, &RESOURCE)?;
        let sound = !resource.is_empty()
            && resource.len() <= 64
            && resource
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        sound.then_some(RateLimit {
            limit: figure(headers, &LIMIT)?,
            remaining: figure(headers, &REMAINING)?,
            used: figure(headers, &USED)?,
            reset: figure(headers, &RESET)?,
            resource: resource.to_owned(),
        })
    }
}

fn figures(headers: &HeaderMap, date: Option<i64>) -> (Figures, Option<RateLimit>) {
    let date = date.and_then(|date| u64::try_from(date).ok());
    let limit = RateLimit::from_headers(headers).filter(|limit| {
        limit.limit > 0 && date.is_some_and(|date| limit.reset.abs_diff(date) <= WINDOW_MAX_SECONDS)
    });
    let is_there = |name: &&HeaderName| headers.contains_key(*name);
    let figures = match limit {
        Some(_) => Figures::Read,
        None if [&LIMIT, &REMAINING, &USED, &RESET, &RESOURCE].iter().any(is_there) => Figures::Garbled,
        None => Figures::Absent,
    };
    (figures, limit)
}

/// Whether a refusal's `retry-after` ends well before the window that its figures call spent.
///
/// GitHub's docs give `retry-after` precedence over `remaining: 0` (GitHub Docs, "Rate limits for the REST API",
/// "Exceeding the rate limit"). So one call is tried when `retry-after` ends, and that call's figures decide.
/// Believing the figures of such an answer would hold everyone for up to an hour. If the answer names a secondary
/// limit there is no contradiction: both limits are reached.
fn is_contradicted(limit: &RateLimit, refused: Refused, date: Option<i64>, body: Option<&Body>) -> bool {
    let (Some(pause), Some(date)) = (refused.retry_after, date) else { return false };
    let back = date.saturating_add_unsigned(pause.as_secs() + WINDOW_SLACK_SECONDS);
    let is_back_before = i64::try_from(limit.reset).is_ok_and(|reset| back < reset);
    limit.remaining == 0 && is_back_before && !body.is_some_and(refusal::names_secondary)
}

/// Whether this was the window's last call, or one too many.
fn is_spent(headers: &HeaderMap) -> bool {
    figure(headers, &REMAINING) == Some(0)
}

fn figure(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    digits(single(headers, name)?).filter(|figure| *figure <= FIGURE_MAX)
}

/// The value of a header that is present once, or several times with the same value.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    Some(first.to_str().ok()?.trim_ascii())
}

/// Digits only, not even a sign; a number that is too large becomes `u64::MAX`.
fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn date(headers: &HeaderMap) -> Option<i64> {
    http_date(single(headers, &DATE)?)
}

/// Any of HTTP's three date formats, as epoch seconds.
fn http_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// An answer without `Content-Type` may be JSON.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(CONTENT_TYPE) else { return true };
    let media_type = media_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence == "application/json" || essence.ends_with("+json")
}
