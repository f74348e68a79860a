//! GitHub as the scenarios see it: its limits enforced to the point, its answers real headers.
//!
//! A call is judged and counted when GitHub gets to it ([`Upstream::process`]); the rate-limit figures
//! in its answer are of that time, the `date` is of the answer's ([`Upstream::answer`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::arrivals::Kind;
use super::clock::EPOCH_MS;
use super::format::{Primary, Scenario, Secondary};
use super::sliding::Log;
use super::span::Span;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// How long GitHub takes.
pub(super) const READ_MS: u64 = 150;
pub(super) const WRITE_MS: u64 = 400;
const REJECTED_MS: u64 = 50;
/// What some calls are charged to though the proxy cannot know: a resource with a limit of its own.
const ELSEWHERE: &str = "code_scanning_upload";
const ELSEWHERE_LIMIT: u64 = 1000;

/// A call as GitHub gets it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) route: Arc<str>,
    /// Charged to another resource.
    pub(super) is_elsewhere: bool,
}

impl Call {
    /// What it costs of the scenario's resource.
    pub(super) fn cost(&self) -> u64 {
        if self.is_elsewhere { 0 } else { u64::from(self.kind.cost()) }
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    /// How long GitHub takes over it.
    pub(super) takes_ms: u64,
    /// When GitHub got to the call.
    pub(super) processed_ms: u64,
}

impl Answer {
    /// GitHub refused for a limit.
    pub(super) fn is_refused(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }
}

/// What GitHub's own books say at the end.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) refusals_primary: u64,
    pub(super) refusals_secondary: u64,
    pub(super) in_flight_max: u64,
    pub(super) content_per_minute_max: u64,
    pub(super) content_per_hour_max: u64,
    /// Points left over at each reset.
    pub(super) left: Vec<u64>,
}

/// A primary limit with its fixed window.
#[derive(Debug)]
struct Window {
    limit: u64,
    used: u64,
    length_ms: u64,
    reset_ms: u64,
    left: Vec<u64>,
}

impl Window {
    fn new(primary: &Primary) -> Window {
        Window {
            limit: primary.limit,
            used: primary.used_at_start,
            length_ms: primary.window.ms(),
            reset_ms: primary.first_reset.ms(),
            left: Vec::new(),
        }
    }

    /// The first request after a reset opens the next window.
    fn open(&mut self, now_ms: u64) {
        if now_ms >= self.reset_ms {
            self.left.push(self.left());
            self.used = 0;
            self.reset_ms = now_ms + self.length_ms;
        }
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    fn take(&mut self, cost: u64) -> bool {
        let fits = cost <= self.left();
        if fits {
            self.used += cost;
        }
        fits
    }
}

/// GitHub.
#[derive(Debug)]
pub(super) struct Upstream {
    resource: String,
    is_graphql: bool,
    latency_ms: Option<u64>,
    primary: Window,
    elsewhere: Window,
    secondary: Secondary,
    routes: BTreeMap<Arc<str>, Log>,
    rest: Log,
    content_minute: Log,
    content_hour: Log,
    in_flight: u64,
    blocked_until_ms: u64,
    books: Books,
}

impl Upstream {
    pub(super) fn new(scenario: &Scenario) -> Upstream {
        let elsewhere = Primary {
            limit: ELSEWHERE_LIMIT,
            first_reset: Span::default(),
            used_at_start: 0,
            window: Span::of_ms(HOUR_MS),
        };
        Upstream {
            resource: scenario.resource.clone(),
            is_graphql: scenario.is_graphql(),
            latency_ms: scenario.upstream_latency_ms,
            primary: Window::new(&scenario.primary),
            elsewhere: Window::new(&elsewhere),
            secondary: scenario.secondary.clone(),
            routes: BTreeMap::new(),
            rest: Log::new(MINUTE_MS),
            content_minute: Log::new(MINUTE_MS),
            content_hour: Log::new(HOUR_MS),
            in_flight: 0,
            blocked_until_ms: 0,
            books: Books::default(),
        }
    }

    /// GitHub gets to a call: judges and counts it.
    pub(super) fn process(&mut self, call: &Call, now_ms: u64) -> Answer {
        self.primary.open(now_ms);
        if call.is_elsewhere {
            self.elsewhere.open(now_ms);
        }
        if now_ms >= self.blocked_until_ms && self.violates(call, now_ms) {
            self.blocked_until_ms = now_ms + self.secondary.violation_block.ms();
        }
        if now_ms < self.blocked_until_ms {
            self.books.refusals_secondary += 1;
            let mut answer = self.made(StatusCode::FORBIDDEN, call, now_ms);
            let retry_after = (self.blocked_until_ms - now_ms).div_ceil(1000);
            answer.headers.insert(http::header::RETRY_AFTER, retry_after.into());
            return answer;
        }
        let window = if call.is_elsewhere { &mut self.elsewhere } else { &mut self.primary };
        if !window.take(call.kind.cost().into()) {
            self.books.refusals_primary += 1;
            let mut answer = self.made(StatusCode::FORBIDDEN, call, now_ms);
            answer.headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
            return answer;
        }
        self.count(call, now_ms);
        let status = if call.kind == Kind::NotModified { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        self.made(status, call, now_ms)
    }

    /// The answer leaves GitHub.
    pub(super) fn answer(&mut self, answer: &mut Answer, now_ms: u64) {
        if !answer.is_refused() {
            self.in_flight -= 1;
        }
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(EPOCH_MS + now_ms));
        let date = HeaderValue::try_from(date).expect("a date is ASCII");
        answer.headers.insert(http::header::DATE, date);
    }

    /// Somebody else takes a point, if one is left.
    pub(super) fn take_outside(&mut self, now_ms: u64) {
        self.primary.open(now_ms);
        self.primary.take(1);
    }

    /// The run is over.
    pub(super) fn close(&mut self, now_ms: u64) -> Books {
        self.primary.open(now_ms);
        Books {
            left: std::mem::take(&mut self.primary.left),
            content_per_minute_max: self.content_minute.max(),
            content_per_hour_max: self.content_hour.max(),
            ..std::mem::take(&mut self.books)
        }
    }

    fn violates(&mut self, call: &Call, now_ms: u64) -> bool {
        let points = call.kind.points();
        let limits = &self.secondary;
        let is_hidden = !self.is_graphql && limits.rest_points_per_min_actual.is_some();
        let (log, limit) = match limits.rest_points_per_min_actual {
            Some(limit) if is_hidden => (&mut self.rest, limit),
            _ if self.is_graphql => (route(&mut self.routes, &call.route), limits.graphql_points_per_min),
            _ => (route(&mut self.routes, &call.route), limits.rest_points_per_min),
        };
        self.in_flight >= limits.concurrent
            || log.sum(now_ms) + points > limit
            || call.kind.creates_content()
                && (self.content_minute.sum(now_ms) >= limits.content_per_min
                    || self.content_hour.sum(now_ms) >= limits.content_per_hour)
    }

    fn count(&mut self, call: &Call, now_ms: u64) {
        route(&mut self.routes, &call.route).add(now_ms, call.kind.points());
        self.rest.add(now_ms, call.kind.points());
        if call.kind.creates_content() {
            self.content_minute.add(now_ms, 1);
            self.content_hour.add(now_ms, 1);
        }
        self.in_flight += 1;
        self.books.in_flight_max = self.books.in_flight_max.max(self.in_flight);
    }

    fn made(&self, status: StatusCode, call: &Call, now_ms: u64) -> Answer {
        let (window, resource) =
            if call.is_elsewhere { (&self.elsewhere, ELSEWHERE) } else { (&self.primary, &*self.resource) };
        let mut headers = HeaderMap::new();
        for (name, figure) in [
            ("x-ratelimit-limit", window.limit),
            ("x-ratelimit-remaining", window.left()),
            ("x-ratelimit-used", window.used),
            ("x-ratelimit-reset", (EPOCH_MS + window.reset_ms) / 1000),
        ] {
            headers.insert(HeaderName::from_static(name), figure.into());
        }
        let resource = HeaderValue::try_from(resource).unwrap_or(HeaderValue::from_static("unknown"));
        headers.insert("x-ratelimit-resource", resource);
        let is_refused = status == StatusCode::FORBIDDEN;
        let body = (self.is_graphql && !is_refused)
            .then(|| format!(r#"{{"data":{{"rateLimit":{{"cost":{}}}}}}}"#, call.kind.cost()).into_bytes());
        let takes_ms = match self.latency_ms {
            _ if is_refused => REJECTED_MS,
            Some(ms) => ms,
            None if call.kind.is_write() => WRITE_MS,
            None => READ_MS,
        };
        Answer { status, headers, body, takes_ms, processed_ms: now_ms }
    }
}

fn route<'a>(routes: &'a mut BTreeMap<Arc<str>, Log>, name: &Arc<str>) -> &'a mut Log {
    routes.entry(Arc::clone(name)).or_insert_with(|| Log::new(MINUTE_MS))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tollgate::github::rate_limit::RateLimit;

    use super::super::format::tests::scenario;
    use super::*;

    fn upstream(changes: &Value) -> Upstream {
        Upstream::new(&scenario(changes).unwrap())
    }

    fn call(kind: Kind) -> Call {
        Call { kind, route: Arc::from("r"), is_elsewhere: false }
    }

    fn secondary(changes: &[(&str, u64)]) -> Value {
        let mut value = json!({
            "rest_points_per_min": 900, "graphql_points_per_min": 2000, "concurrent": 100,
            "content_per_min": 80, "content_per_hour": 500, "violation_block_s": 60
        });
        for (key, change) in changes {
            value[key] = (*change).into();
        }
        json!({ "secondary": value })
    }

    fn done(upstream: &mut Upstream, call: &Call, now_ms: u64) -> Answer {
        let mut answer = upstream.process(call, now_ms);
        upstream.answer(&mut answer, now_ms);
        answer
    }

    #[test]
    fn the_window_is_opened_by_the_first_request_after_the_reset() {
        let primary = json!({"limit": 2, "first_reset_s": 10.0, "used_at_start": 1, "window_s": 100.0});
        let mut upstream = upstream(&json!({ "primary": primary }));
        let first = done(&mut upstream, &call(Kind::Get), 1_000);
        let read = RateLimit::from_headers(&first.headers).unwrap();
        assert_eq!((read.limit, read.remaining, read.used, read.reset), (2, 0, 2, EPOCH_MS / 1000 + 10));
        assert_eq!(first.headers["date"], "Fri, 15 Jan 2027 08:00:01 GMT");
        assert_eq!(done(&mut upstream, &call(Kind::NotModified), 1_000).status, StatusCode::NOT_MODIFIED);
        let spent = done(&mut upstream, &call(Kind::Get), 9_999);
        assert!(spent.is_refused() && spent.headers["x-ratelimit-remaining"] == "0");
        let next = done(&mut upstream, &call(Kind::Get), 15_000);
        assert_eq!(RateLimit::from_headers(&next.headers).unwrap().reset, EPOCH_MS / 1000 + 115);
        let books = upstream.close(20_000);
        assert_eq!((books.left, books.refusals_primary, books.in_flight_max), (vec![0], 1, 1));
    }

    #[test]
    fn a_violation_blocks_everything() {
        let mut upstream = upstream(&secondary(&[("rest_points_per_min", 6)]));
        for now_ms in [0, 1] {
            let write = done(&mut upstream, &call(Kind::Write), now_ms);
            assert_eq!(write.is_refused(), now_ms == 1);
        }
        let mut other = call(Kind::Get);
        other.route = Arc::from("other");
        let blocked = done(&mut upstream, &other, 1_001);
        assert!(blocked.is_refused() && blocked.headers["retry-after"] == "59");
        assert!(!done(&mut upstream, &other, 60_001).is_refused());
        assert_eq!(upstream.books.refusals_secondary, 2);
    }

    #[test]
    fn the_unpublished_limit_counts_all_routes_together() {
        let mut upstream = upstream(&secondary(&[("rest_points_per_min_actual", 2)]));
        for (name, is_refused) in [("x", false), ("y", false), ("z", true)] {
            let call = Call { kind: Kind::Get, route: Arc::from(name), is_elsewhere: false };
            assert_eq!(done(&mut upstream, &call, 0).is_refused(), is_refused, "{name}");
        }
    }

    #[test]
    fn concurrency_and_content_have_limits() {
        let mut slow = upstream(&secondary(&[("concurrent", 1)]));
        assert!(!slow.process(&call(Kind::Get), 0).is_refused());
        assert!(slow.process(&call(Kind::Get), 0).is_refused());
        let mut content = upstream(&secondary(&[("content_per_min", 1)]));
        assert!(!done(&mut content, &call(Kind::Content), 0).is_refused());
        assert!(done(&mut content, &call(Kind::Content), 59_999).is_refused());
        assert_eq!(content.close(60_000).content_per_minute_max, 1);
    }

    #[test]
    fn some_calls_are_charged_elsewhere() {
        let mut upstream = upstream(&json!({}));
        let elsewhere = Call { kind: Kind::Get, route: Arc::from("r"), is_elsewhere: true };
        let answer = done(&mut upstream, &elsewhere, 0);
        let read = RateLimit::from_headers(&answer.headers).unwrap();
        assert_eq!((read.limit, read.used, read.resource.as_str()), (1000, 1, ELSEWHERE));
        assert_eq!((elsewhere.cost(), upstream.primary.used), (0, 0));
    }
}
