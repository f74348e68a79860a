//! Stage 9, what came of it: takes an attempt, gives the [`Answer`] or says to try again.
//!
//! This charges the call's true cost, reads the rate-limit headers, and proves or drops the token.
//! The slot in flight moves into the answer's body, so that it is free when the body ends. Which
//! calls are made again is in `settle/again.rs`.

mod again;
mod peek;
mod repositories;

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::Proxy;
use super::admit::Admitted;
use super::body::ResponseBody;
use super::context::Context;
use super::forward::{Attempt, CallFailed};
use super::guard::{Permitted, Sanction};
use super::gzip;
use super::lookup::Reused;
use super::respond::{self, holds_links};
use crate::error::{Limit, ProxyError};
use crate::github::rate_limit::{self, Figures, LimitKind, Reading, Refused};
use crate::github::tokens::Token;
use crate::policy::routes::Scope;
pub(crate) use again::{Attempts, Verdict};

/// GitHub's answer, not yet in the caller's terms.
pub(crate) type Answer = Response<ResponseBody>;

impl Proxy {
    pub(super) async fn settle(
        &self,
        permitted: &Permitted,
        attempt: Attempt,
        attempts: &mut Attempts,
        ctx: &mut Context,
    ) -> Result<Verdict, ProxyError> {
        self.note_attempt(attempts);
        let Attempt { mut admitted, token, took, result } = attempt;
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => return self.settle_failure(permitted, admitted, failure, attempts),
        };
        let status = answer.status();
        if status.is_informational() {
            // No request asks to switch protocols, so GitHub may not switch either.
            return Err(ProxyError::UpstreamUnreachable("it answered with something that is no answer"));
        }
        let (answer, reading) = match self.read(permitted, answer, &mut admitted, took, ctx).await {
            Ok(read) => read,
            Err(error) => {
                let failure = CallFailed { error, unsent: false, transport: true, cause: None };
                return self.settle_failure(permitted, admitted, failure, attempts);
            }
        };
        self.record(permitted, &reading);
        if let Some(refused) = reading.refused {
            let (installation, kind) = (&permitted.installation().label, refused.kind.as_str());
            ctx.cause = Some(format!("GitHub refused for a rate limit: {kind}, {installation}"));
        }
        let has_ended = peek::is_as_good_as_ended(answer.body());
        let view = admitted.settle(&reading, took, has_ended).await;
        // While only observing, the caller gets GitHub's refusal, with GitHub's figures.
        ctx.view = (reading.refused.is_none() || !self.rules.is_observing).then_some(view);
        // A mutation that was carried out in part must not be repeated, and its caller must see the answer.
        let is_answer = reading.is_partly_done && permitted.is_write();
        if let Some(refused) = reading.refused
            && !self.rules.is_observing
            && !is_answer
        {
            return self.refused_upstream(permitted, refused, &reading, attempts);
        }
        let doubted = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND);
        if !doubted {
            token.prove();
        }
        let pause = match doubted {
            true => Box::pin(self.pause_after_doubt(permitted, status, &token, attempts, ctx)).await,
            false => self.pause_after_trouble(permitted, &reading, answer.headers(), attempts),
        };
        if let Some(pause) = pause {
            // A 401 about our own credential is never passed on.
            let otherwise = Some(match status {
                StatusCode::UNAUTHORIZED => Err(credential_refused()),
                _ => Ok(answer.map(|body| self.readers.holding(body, admitted))),
            });
            return Ok(Verdict::Again { pause, otherwise });
        }
        if status == StatusCode::UNAUTHORIZED {
            self.drop_token(permitted, &token);
            ctx.cause = Some(format!("GitHub refuses the credential of {}", permitted.installation().label));
            return Err(credential_refused());
        }
        if status == StatusCode::OK {
            self.learn_id(permitted, answer.headers());
        }
        Ok(Verdict::Done(answer.map(|body| self.readers.holding(body, admitted))))
    }

    /// Unpacks or filters answers that must not be passed on as they are.
    pub(super) async fn finish(
        &self,
        permitted: &Permitted,
        mut answer: Answer,
        ctx: &Context,
    ) -> Result<Answer, ProxyError> {
        let call = permitted.call();
        let is_rewritten = call.route.scope != Scope::Graphql && holds_links(answer.headers());
        if is_rewritten
            && answer.extensions().get::<Reused>().is_some_and(|reused| reused.is_written_for(ctx))
        {
            return Ok(answer);
        }
        // From here on it streams, as any other answer.
        answer.extensions_mut().remove::<Reused>();
        let answer = match is_rewritten || !gzip::is_accepted(&call.headers) {
            true => gzip::unpack(answer)?,
            false => answer,
        };
        if call.is_made_draft && answer.status() == StatusCode::UNPROCESSABLE_ENTITY {
            return Box::pin(self.explain_draft(permitted, answer)).await;
        }
        if call.route.scope == Scope::InstallationRepositories {
            let within = self.upstream.request_timeout;
            let filtered = repositories::filter(answer, &call.method, permitted.agent(), within);
            return Box::pin(filtered).await;
        }
        Ok(answer)
    }

    /// Explains GitHub's refusal if the repository takes no drafts: the agent did not ask for one.
    async fn explain_draft(&self, permitted: &Permitted, answer: Answer) -> Result<Answer, ProxyError> {
        let (mut answer, text) = peek::text(answer).await.ok_or(cut_short())?;
        let text = text.unwrap_or_default();
        if String::from_utf8_lossy(&text).to_ascii_lowercase().contains("draft") {
            let hint = format!(
                "tollgate makes the pull requests of agent {} drafts (draft_pull_requests: force), and this \
                 repository takes none. A person can open it; the operator can set `draft_pull_requests: off` for \
                 the agent.",
                permitted.agent().name
            );
            let hint = http::HeaderValue::try_from(hint);
            answer.headers_mut().extend(hint.map(|hint| (respond::HINT, hint)));
        }
        Ok(answer)
    }

    /// Reads what the answer says about limits.
    ///
    /// # Errors
    /// If it broke off before its caller had any of it.
    async fn read(
        &self,
        permitted: &Permitted,
        mut answer: Answer,
        admitted: &mut Admitted,
        took: Duration,
        ctx: &mut Context,
    ) -> Result<(Answer, Reading), ProxyError> {
        let is_graphql = permitted.call().route.scope == Scope::Graphql;
        let mut reading = rate_limit::read(answer.status(), answer.headers(), None, is_graphql);
        if rate_limit::wants_body(answer.status(), answer.headers(), is_graphql) {
            admitted.saw(reading, took);
            let since = Instant::now();
            let peeked = Box::pin(peek::text(answer)).await;
            ctx.upstream += since.elapsed();
            let (seen, text) = peeked.ok_or(cut_short())?;
            answer = seen;
            reading = rate_limit::read(answer.status(), answer.headers(), text.as_deref(), is_graphql);
        }
        match (reading.cost, permitted.call().shows_cost) {
            (Some(cost), true) => {
                let ratio = f64::from(cost) / f64::from(permitted.call().price);
                let labels = [&*permitted.installation().label];
                self.metrics.graphql_price_ratio.with_label_values(&labels).observe(ratio);
            }
            // The caller's query gave this name to something else.
            _ => reading.cost = None,
        }
        Ok((answer, reading))
    }

    /// GitHub refused for a limit and did nothing. Another attempt waits as long as the budget says.
    fn refused_upstream(
        &self,
        permitted: &Permitted,
        refused: Refused,
        reading: &Reading,
        attempts: &Attempts,
    ) -> Result<Verdict, ProxyError> {
        if permitted.is_repeatable() && self.may_try_again(attempts) {
            self.metrics.retries.with_label_values(&["rate_limit"]).inc();
            return Ok(Verdict::Again { pause: Duration::ZERO, otherwise: None });
        }
        let resource = permitted.call().route.operation.resource;
        let retry_after = reading.pause(self.clock.now_seconds()).unwrap_or(1);
        let reset = self.in_seconds(retry_after);
        let used = reading.limit.as_ref().map_or(0, |limit| limit.used);
        let has_used_approval = matches!(permitted.sanction(), Some(Sanction::Signed { .. }));
        let limit =
            Limit { retry_after, reset, used, resource, is_closed: false, was_sent: true, has_used_approval };
        Err(match refused.kind {
            LimitKind::Secondary => ProxyError::UpstreamLimited(limit),
            LimitKind::Primary => {
                ProxyError::BudgetExhausted { agent: permitted.agent().name.clone(), limit }
            }
        })
    }

    fn settle_failure(
        &self,
        permitted: &Permitted,
        mut admitted: Admitted,
        failure: CallFailed,
        attempts: &mut Attempts,
    ) -> Result<Verdict, ProxyError> {
        let labels = [&*permitted.installation().label, permitted.call().route.operation.resource, "none"];
        self.metrics.upstream_requests.with_label_values(&labels).inc();
        if failure.unsent {
            admitted.mark_unsent();
        }
        match self.pause_after_failure(permitted, &failure, attempts) {
            Some(pause) => Ok(Verdict::Again { pause, otherwise: Some(Err(failure.error)) }),
            None => Err(failure.error),
        }
    }

    /// Drops a token that GitHub refused, so that the next call mints another. A young one stays until it is old enough
    /// to be judged: it may have to spread yet, and an App whose tokens are all refused mints few of them.
    fn drop_token(&self, permitted: &Permitted, token: &Arc<Token>) {
        if token.may_be_unknown_yet(self.clock.now_ms()) {
            return;
        }
        let repositories = permitted.token_repositories().cloned();
        self.tokens.invalidate(permitted.installation(), permitted.access(), repositories, token);
    }

    /// Counts the answer, rate-limit headers that were ignored, and refusals that should not have happened.
    fn record(&self, permitted: &Permitted, reading: &Reading) {
        let installation = &*permitted.installation().label;
        let expected = permitted.call().route.operation.resource;
        let resource = reading.limit.as_ref().map_or(expected, |limit| limit.resource.as_str());
        let labels = [installation, resource, reading.status.as_str()];
        self.metrics.upstream_requests.with_label_values(&labels).inc();
        let ignored = match reading.figures {
            Figures::Read | Figures::Foreign => None,
            Figures::Absent => Some("absent"),
            Figures::Garbled => Some("garbled"),
            Figures::Contradicted => Some("contradicted"),
        };
        if let Some(reason) = ignored {
            self.metrics.figures_ignored.with_label_values(&[installation, reason]).inc();
        }
        if let Some(refused) = reading.refused {
            let kind = refused.kind.as_str();
            self.metrics.limit_hits.with_label_values(&[installation, kind]).inc();
        }
    }
}

fn cut_short() -> ProxyError {
    ProxyError::UpstreamUnreachable("its answer was cut short")
}

fn credential_refused() -> ProxyError {
    ProxyError::CredentialRefused("GitHub refuses tollgate's own credential; nothing was done")
}
