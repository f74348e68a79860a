//! Stage 9, what came of it: takes an attempt, gives the [`Answer`] or says to try again.
//!
//! Here the headers about limits are read, the token is proven or dropped, and the slot in flight
//! moves into the answer's body, so that it is free when the body has ended.

mod repositories;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;

use super::Proxy;
use super::admit::Admitted;
use super::body::{Bounded, ResponseBody};
use super::forward::{Attempt, CallFailed};
use super::guard::Permitted;
use super::gzip;
use super::respond::holds_links;
use crate::error::ProxyError;
use crate::github::rate_limit::{LimitKind, RateLimit};
use crate::github::tokens::Token;
use crate::policy::routes::Scope;

/// GitHub's answer, not yet in the caller's terms.
pub(crate) type Answer = Response<ResponseBody>;

/// Waits before a read is made again with a token GitHub may not have spread yet.
const REPLICATION_WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The attempts made at one call so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    replication_waits: usize,
    /// A 401 led to another attempt already.
    refused_once: bool,
    connection_retried: bool,
}

/// What an attempt means for its call.
#[derive(Debug)]
pub(crate) enum Verdict {
    Done(Answer),
    /// Make another attempt after this pause.
    Again(Duration),
}

impl Proxy {
    pub(super) async fn settle(
        &self,
        permitted: &Permitted,
        admitted: Admitted,
        attempt: Attempt,
        attempts: &mut Attempts,
    ) -> Result<Verdict, ProxyError> {
        let answer = match attempt.result {
            Ok(answer) => answer,
            Err(failure) => return self.settle_failure(permitted, failure, attempts),
        };
        self.record(permitted, &answer);
        let status = answer.status();
        if status.is_informational() {
            // Nothing that goes up asks for another protocol, so nobody may switch to one.
            return Err(ProxyError::UpstreamUnreachable("it answered with something that is no answer"));
        }
        let doubted = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND);
        if !doubted {
            attempt.token.prove();
        }
        if doubted && let Some(pause) = self.pause_after(permitted, status, &attempt.token, attempts).await {
            return Ok(Verdict::Again(pause));
        }
        if status == StatusCode::UNAUTHORIZED {
            self.drop_token(permitted, &attempt.token).await;
            tracing::error!(installation = &*permitted.installation().label, "GitHub refuses the credential");
            return Err(ProxyError::UpstreamUnreachable(
                "it refuses tollgate's own credential; nothing was done",
            ));
        }
        let answer = self.stream(answer, admitted);
        let call = permitted.call();
        let is_rewritten = call.route.scope != Scope::Graphql && holds_links(answer.headers());
        let answer = match is_rewritten || !gzip::is_accepted(&call.headers) {
            true => gzip::unpack(answer)?,
            false => answer,
        };
        if permitted.call().route.scope == Scope::InstallationRepositories {
            return repositories::filter(answer, &call.method, permitted.agent()).await.map(Verdict::Done);
        }
        Ok(Verdict::Done(answer))
    }

    /// Whether, and when, a call is made again after a 401 or 404 that may be the token's fault.
    ///
    /// A read waits for GitHub to spread a young token. Anything else, once: a 401 was not carried
    /// out, so even a write may be sent a second time, with another token or when this one is older.
    async fn pause_after(
        &self,
        permitted: &Permitted,
        status: StatusCode,
        token: &Arc<Token>,
        attempts: &mut Attempts,
    ) -> Option<Duration> {
        let reads = matches!(permitted.call().method, Method::GET | Method::HEAD);
        let is_young = token.may_be_unknown_yet(self.clock.now_ms());
        if reads
            && is_young
            && let Some(pause) = REPLICATION_WAITS.get(attempts.replication_waits)
        {
            attempts.replication_waits += 1;
            self.metrics.retries.with_label_values(&["token_replication"]).inc();
            return Some(*pause);
        }
        let repeatable = permitted.call().body.is_repeatable();
        if status != StatusCode::UNAUTHORIZED || !repeatable || attempts.refused_once {
            return None;
        }
        attempts.refused_once = true;
        self.metrics.retries.with_label_values(&["token_refused"]).inc();
        if is_young && !reads {
            return Some(REPLICATION_WAITS[1]);
        }
        self.drop_token(permitted, token).await;
        Some(Duration::ZERO)
    }

    fn settle_failure(
        &self,
        permitted: &Permitted,
        failure: CallFailed,
        attempts: &mut Attempts,
    ) -> Result<Verdict, ProxyError> {
        let labels = [&*permitted.installation().label, permitted.call().route.operation.resource, "none"];
        self.metrics.upstream_requests.with_label_values(&labels).inc();
        let call = permitted.call();
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        // A kept connection may have been closed from the other side just as it was used.
        let safe = failure.transport && (failure.unsent || reads) && call.body.is_repeatable();
        if safe && !attempts.connection_retried {
            attempts.connection_retried = true;
            self.metrics.retries.with_label_values(&["connection"]).inc();
            return Ok(Verdict::Again(Duration::ZERO));
        }
        Err(failure.error)
    }

    async fn drop_token(&self, permitted: &Permitted, token: &Arc<Token>) {
        let repositories = permitted.token_repositories().cloned();
        self.tokens.invalidate(permitted.installation(), permitted.access(), repositories, token).await;
    }

    /// Counts the answer and takes over what it says of the pool.
    fn record<B>(&self, permitted: &Permitted, answer: &Response<B>) {
        let installation = &*permitted.installation().label;
        let rate_limit = RateLimit::from_headers(answer.headers());
        let resource = rate_limit
            .as_ref()
            .map_or(permitted.call().route.operation.resource, |limit| limit.resource.as_str());
        self.metrics
            .upstream_requests
            .with_label_values(&[installation, resource, answer.status().as_str()])
            .inc();
        if let Some(kind) = LimitKind::of(answer.status(), answer.headers()) {
            self.metrics.limit_hits.with_label_values(&[installation, kind.as_str()]).inc();
            tracing::warn!(installation, resource, kind = kind.as_str(), "GitHub refused for a rate limit");
        }
        if let Some(limit) = &rate_limit {
            let labels = [installation, limit.resource.as_str()];
            let gauge = |family: &prometheus::IntGaugeVec, value: u64| {
                family.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            gauge(&self.metrics.pool_limit, limit.limit);
            gauge(&self.metrics.pool_remaining, limit.remaining);
            gauge(&self.metrics.pool_used, limit.used);
            gauge(&self.metrics.pool_reset, limit.reset);
        }
    }

    /// Ties the body to its bounds and to the slot it holds.
    fn stream(&self, answer: Response<hyper::body::Incoming>, admitted: Admitted) -> Answer {
        let idle = self.upstream.idle_timeout;
        answer.map(|body| {
            let body = Bounded::new(body, u64::MAX, idle).holding(admitted.into_reservation());
            body.map_err(|error| -> crate::github::client::BoxError { Box::new(error) }).boxed_unsync()
        })
    }
}
