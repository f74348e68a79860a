//! What an admitted call holds: its points until they are settled, its slot until the body has ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use prometheus::IntGauge;

use super::admit::{Granted, cancel, detach};
use super::command::{Command, Figures, LeaseId, Outcome, Reason, Settle, UpstreamRefusal, View};
use super::in_flight::Slot;
use super::{Budget, Charge};
use crate::github::rate_limit::{LimitKind, Reading};

/// One attempt that has been charged.
///
/// Dropped before it was sent, it costs nothing. Dropped after it was sent but before it was
/// settled, it is settled by the answer's head if that was seen. If not, nobody knows whether
/// GitHub counted it: it stays charged until some answer's headers must have included it. Dropped
/// after it was settled, the answer's body has ended and its slot is free.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    charge: Arc<Charge>,
    lease: LeaseId,
    view: View,
    would: Option<Reason>,
    state: State,
    seen: Option<(Reading, Duration)>,
    in_flight: IntGauge,
    _slot: Slot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reserved,
    Sent,
    /// The answer has come; its body has not ended.
    Settled,
    Ended,
}

impl Reservation {
    pub(super) fn new(
        budget: &Arc<Budget>,
        charge: Charge,
        lease: LeaseId,
        slot: Slot,
        granted: Granted,
    ) -> Reservation {
        let in_flight = budget.metrics.inflight.with_label_values(&[&*charge.installation]);
        in_flight.inc();
        let Granted { view, would } = granted;
        let budget = Arc::clone(budget);
        Reservation {
            budget,
            charge: Arc::new(charge),
            lease,
            view,
            would,
            state: State::Reserved,
            seen: None,
            in_flight,
            _slot: slot,
        }
    }

    /// From here on GitHub may have counted the call.
    pub fn mark_sent(&mut self) {
        self.state = State::Sent;
    }

    /// GitHub certainly saw nothing of it after all.
    pub fn mark_unsent(&mut self) {
        self.state = State::Reserved;
    }

    /// Keeps what the answer's head says; the call is settled by this if nobody waits for the rest.
    pub fn saw(&mut self, reading: Reading, took: Duration) {
        self.seen = Some((reading, took));
    }

    /// The agent's standing when the call was admitted.
    pub fn view(&self) -> View {
        self.view
    }

    /// Whether slots are scarce: another call to the same installation waits in this process, and half of the slots are
    /// taken here. Below that no call waits for one.
    pub fn is_wanted(&self) -> bool {
        let slots = i64::from(self.budget.tuning.load().secondary.concurrent);
        2 * self.in_flight.get() >= slots && self.budget.queues.is_anyone_at(&self.charge.installation)
    }

    /// While observing: what would have held the call.
    pub fn would(&self) -> Option<Reason> {
        self.would
    }

    /// Settles by what GitHub answered, and returns the agent's standing then.
    ///
    /// `took` is the time from sending to the answer. If the body has not ended yet, the slot is
    /// held until this reservation is dropped.
    ///
    /// The caller does not wait for a store across the network: the standing is then estimated from
    /// the one at admission, and later questions to the store queue behind this one. Only after a
    /// refusal by GitHub does it wait, since what is done next depends on the reply.
    pub async fn settle(&mut self, reading: &Reading, took: Duration, has_ended: bool) -> View {
        if self.state != State::Sent {
            return self.view;
        }
        let settle = self.settlement(reading, took, has_ended);
        let reckoned = settle.cost.unwrap_or(1);
        self.state = if has_ended { State::Ended } else { State::Settled };
        let mut told = Box::pin(tell(Arc::clone(&self.budget), Arc::clone(&self.charge), settle));
        let view = match (&mut told).now_or_never() {
            Some(view) => view,
            None if reading.refused.is_some() => told.await,
            None => {
                tokio::spawn(told);
                Some(View { used: self.view.used + reckoned, ..self.view })
            }
        };
        self.view = view.unwrap_or(self.view);
        self.view
    }

    fn settlement(&self, reading: &Reading, took: Duration, has_ended: bool) -> Settle {
        Settle {
            lease: self.lease,
            share: self.charge.share(),
            resource: Arc::clone(&self.charge.resource),
            route: Arc::clone(&self.charge.route),
            cost: cost(reading, &self.charge),
            figures: figures(reading),
            is_success: reading.status.is_success(),
            elapsed_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            refused: reading.refused.map(|refused| UpstreamRefusal {
                is_primary: refused.kind == LimitKind::Primary,
                retry_after_ms: refused
                    .retry_after
                    .map(|pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)),
            }),
            has_ended,
        }
    }
}

/// Settles a call at the store, and in this replica's own books.
async fn tell(budget: Arc<Budget>, charge: Arc<Charge>, settle: Settle) -> Option<View> {
    let reply = budget.replica.call(&charge.installation, Command::Settle(Box::new(settle))).await;
    if let Outcome::Settled { cost } = reply.outcome {
        let points = u64::try_from(cost).unwrap_or_default();
        let labels = [&*charge.agent, &*charge.installation, &*charge.resource];
        budget.metrics.agent_spent.with_label_values(&labels).inc_by(points);
        budget.spending.add(&charge.agent, &charge.route, points);
    }
    if let Some(pool) = &reply.pool {
        budget.compare_guarantees(&charge, pool);
        if budget.replica.note_window(&charge.installation, pool, reply.now) {
            // Heads ask together: the first to wake would take all there is.
            budget.queues.ask_again(&charge.installation, Some(&pool.resource));
        }
    }
    if let Some(view) = &reply.view {
        budget.standings.note(&charge, *view);
    }
    reply.view
}

/// The primary points of an answer, if known. GitHub charges nothing for a 304 (GitHub Docs, "Best
/// practices for using the REST API") and nothing for what it refused.
fn cost(reading: &Reading, charge: &Charge) -> Option<i64> {
    if reading.refused.is_some() || reading.status == StatusCode::NOT_MODIFIED {
        return Some(0);
    }
    reading.cost.or(charge.price).map(i64::from)
}

fn figures(reading: &Reading) -> Option<Figures> {
    let (limit, date) = (reading.limit.as_ref()?, reading.date?);
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Some(Figures {
        resource: limit.resource.as_str().into(),
        limit: number(limit.limit),
        used: number(limit.used),
        reset_in_ms: number(limit.reset).saturating_sub(date).saturating_mul(1000),
    })
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.dec();
        let installation = &self.charge.installation;
        match self.state {
            State::Reserved => cancel(&self.budget, &self.charge, self.lease),
            State::Sent => match self.seen.take() {
                None => self.budget.replica.abandon(installation, self.lease),
                Some((reading, took)) => {
                    let settle = self.settlement(&reading, took, true);
                    let (budget, installation) = (Arc::clone(&self.budget), Arc::clone(installation));
                    detach(async move {
                        budget.replica.call(&installation, Command::Settle(Box::new(settle))).await;
                    });
                }
            },
            State::Settled => self.budget.replica.ended(installation, self.lease),
            State::Ended => {}
        }
    }
}
