//! When a call is made again: only what is safe, only so often, and only within its caller's patience.
//!
//! A read is always safe. A write is safe if GitHub certainly did nothing: it refused for a limit
//! or for the credential, or no byte was sent. All attempts together end with the caller's
//! patience, and at the latest fifteen seconds after the first. Only about a tenth of all calls are
//! made again, so that an outage is not multiplied.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use rand::RngExt;
use tokio::time::Instant;

use super::Answer;
use crate::error::ProxyError;
use crate::github::installations::Kind;
use crate::github::rate_limit::{self, Reading};
use crate::github::tokens::Token;
use crate::proxy::context::Context;
use crate::proxy::forward::CallFailed;
use crate::proxy::guard::Permitted;
use crate::proxy::{AT_ONCE, Proxy};
use crate::retry;

/// Pauses before a read is repeated with a token GitHub may not have spread yet. They may exceed
/// the caller's patience, since without them its answer would be wrong.
const REPLICATION_WAITS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Trouble at GitHub that lasts longer is left to the caller.
const TROUBLE_MAX: Duration = Duration::from_secs(15);

/// The attempts made at one call so far.
#[derive(Debug)]
pub(crate) struct Attempts {
    made: u32,
    until: Instant,
    replication_waits: usize,
    /// Another read has already tested whether GitHub knows the token.
    has_probed: bool,
    /// A 401 has already led to another attempt.
    refused_once: bool,
}

impl Attempts {
    /// With time until the caller's patience ends.
    pub(crate) fn until(patience_ends: Instant) -> Attempts {
        let until = patience_ends.min(Instant::now() + TROUBLE_MAX);
        Attempts { made: 0, until, replication_waits: 0, has_probed: false, refused_once: false }
    }

    /// Whether GitHub was asked at all.
    pub(crate) fn are_made(&self) -> bool {
        self.made > 0
    }
}

/// What to do after an attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    Done(Answer),
    /// Make another attempt after this pause.
    Again {
        pause: Duration,
        /// What the caller is told if the budget has no room for another attempt.
        otherwise: Option<Result<Answer, ProxyError>>,
    },
}

impl Proxy {
    pub(super) fn note_attempt(&self, attempts: &mut Attempts) {
        if attempts.made == 0 {
            self.retry_budget.record_call();
        }
        attempts.made += 1;
    }

    /// Whether one more attempt is allowed; if so, takes it from the budget that all calls share.
    pub(super) fn may_try_again(&self, attempts: &Attempts) -> bool {
        self.rules.retry.delay(attempts.made, None, 0.0).is_some() && self.retry_budget.try_take()
    }

    fn pause(&self, attempts: &Attempts, retry_after: Option<Duration>) -> Option<Duration> {
        let pause = self.rules.retry.delay(attempts.made, retry_after, rand::rng().random())?;
        let is_in_time = Instant::now() + pause <= attempts.until;
        (is_in_time && self.retry_budget.try_take()).then_some(pause)
    }

    /// The pause before repeating a read that GitHub failed to answer; none if it is not repeated.
    pub(super) fn pause_after_trouble(
        &self,
        permitted: &Permitted,
        reading: &Reading,
        headers: &HeaderMap,
        attempts: &Attempts,
    ) -> Option<Duration> {
        let is_safe = !permitted.is_write() && permitted.is_repeatable();
        if !is_safe || !retry::is_transient(reading.status) {
            return None;
        }
        let pause = self.pause(attempts, rate_limit::retry_after(headers))?;
        self.metrics.retries.with_label_values(&["status"]).inc();
        Some(pause)
    }

    /// The pause before repeating a call that got no answer; none if it is not repeated.
    pub(super) fn pause_after_failure(
        &self,
        permitted: &Permitted,
        failure: &CallFailed,
        attempts: &Attempts,
    ) -> Option<Duration> {
        let is_safe = failure.unsent || !permitted.is_write();
        if !failure.transport || !is_safe || !permitted.call().body.is_repeatable() {
            return None;
        }
        let pause = self.pause(attempts, None)?;
        self.metrics.retries.with_label_values(&["connection"]).inc();
        Some(pause)
    }

    /// The pause before repeating a read whose answer broke off before its caller had any of it.
    pub(in crate::proxy) fn pause_after_cut(&self, attempts: &Attempts) -> Option<Duration> {
        let pause = self.pause(attempts, None)?;
        self.metrics.retries.with_label_values(&["connection"]).inc();
        Some(pause)
    }

    /// The pause before repeating a call after a 401 or 404 that may be the token's fault.
    ///
    /// A read waits for GitHub to spread a young token. After a 404 the repository is read first,
    /// and that read does the waiting, so that a missing file costs no seconds. Anything else is
    /// repeated once: a 401 was not carried out, so even a write may be sent again, with another
    /// token, or with a young one once it is older. A young one that is refused all the while is
    /// not replaced: the next would be younger still.
    pub(super) async fn pause_after_doubt(
        &self,
        permitted: &Permitted,
        status: StatusCode,
        token: &Arc<Token>,
        attempts: &mut Attempts,
        ctx: &mut Context,
    ) -> Option<Duration> {
        let reads = matches!(permitted.call().method, Method::GET | Method::HEAD);
        let is_young = token.may_be_unknown_yet(self.clock.now_ms());
        if reads && is_young && status == StatusCode::NOT_FOUND && self.probe(permitted, attempts, ctx).await
        {
            self.metrics.retries.with_label_values(&["token_replication"]).inc();
            let is_known = !token.may_be_unknown_yet(self.clock.now_ms());
            return is_known.then_some(Duration::ZERO);
        }
        if reads
            && is_young
            && let Some(pause) = REPLICATION_WAITS.get(attempts.replication_waits)
        {
            attempts.replication_waits += 1;
            self.metrics.retries.with_label_values(&["token_replication"]).inc();
            return Some(*pause);
        }
        // There is no other token to try, and repeated bad credentials would lock out the user's good ones.
        let is_personal = matches!(permitted.installation().kind, Kind::Personal(_));
        let repeatable = permitted.is_repeatable() && !is_personal && !(reads && is_young);
        if status != StatusCode::UNAUTHORIZED || !repeatable || attempts.refused_once {
            return None;
        }
        attempts.refused_once = true;
        self.metrics.retries.with_label_values(&["token_refused"]).inc();
        if is_young {
            return Some(REPLICATION_WAITS[1]);
        }
        self.drop_token(permitted, token);
        Some(Duration::ZERO)
    }

    /// Reads the repository once with the call's credential, which proves the token if that
    /// succeeds. Returns whether it was answered; false, too, if the call is such a read itself or
    /// names no repository.
    async fn probe(&self, permitted: &Permitted, attempts: &mut Attempts, ctx: &mut Context) -> bool {
        let Some(mut probe) = permitted.probe() else { return false };
        if attempts.has_probed || probe.call().target.path() == permitted.call().target.path() {
            return false;
        }
        attempts.has_probed = true;
        let before = (ctx.hold_until, ctx.view, ctx.observed);
        // Others may wait for the answer to the call, so the budget must not hold the probe.
        ctx.hold_until = ctx.hold_until.min(Instant::now() + AT_ONCE);
        let is_answered = Box::pin(self.exchange(&mut probe, None, ctx)).await.is_ok();
        (ctx.hold_until, ctx.view, ctx.observed) = before;
        is_answered
    }
}
