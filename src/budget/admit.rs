//! How a call passes the budget: its seat in a queue, the question to the store, and what is taken
//! back if its caller goes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rand::RngExt;
use tokio::time::Instant;

use super::command::{Admit, Book, Cancel, Command, GateKind, LeaseId, Outcome, Place, Reason, Reply, View};
use super::queue::{Outlook, QueueKey, Ticket, Told, Turn};
use super::{Budget, Charge, NotAdmitted, Refusal, Reservation, Wait};

impl Budget {
    /// Holds a call until it may go.
    ///
    /// If the future is dropped meanwhile, the call leaves its queue and nothing stays charged.
    ///
    /// # Errors
    /// If its turn does not come within its patience, or a bound is reached.
    pub async fn admit(self: &Arc<Budget>, charge: &Charge, wait: Wait) -> Result<Reservation, NotAdmitted> {
        let slot = self.in_flight.slot(&charge.agent).ok_or(NotAdmitted::TooManyInFlight)?;
        let arrived = Instant::now();
        let deadline = arrived + wait.patience;
        let mut seat = Seat::take(self, charge, wait.is_interactive);
        if let Some(outlook) = seat.ticket.outlook()
            && outlook.rest > wait.patience
            && !self.tuning.load().is_observing
        {
            return Err(Box::pin(self.book(charge, outlook)).await);
        }
        let mut last_reason = None;
        loop {
            if seat.ticket.turn(deadline).await == Turn::Late {
                let outlook = seat.ticket.outlook().unwrap_or_default();
                drop(seat);
                return Err(Box::pin(self.book(charge, outlook)).await);
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            let (lease, reply) = self.ask(charge, wait, patience, &seat).await;
            // A granted call's standing is noted when it is settled.
            if !matches!(reply.outcome, Outcome::Granted { .. })
                && let Some(view) = reply.view
            {
                self.standings.note(charge, view);
            }
            let view = reply.view.unwrap_or_default();
            match reply.outcome {
                Outcome::Granted { would, .. } => {
                    seat.ticket.granted();
                    let held = arrived.elapsed();
                    self.metrics.observe_wait(would.or(last_reason), held);
                    self.spending.held(&charge.agent, held);
                    return Ok(Reservation::new(self, charge.clone(), lease, slot, Granted { view, would }));
                }
                Outcome::Wait { hint_ms, step_ms, reason, has_place } => {
                    last_reason = Some(reason);
                    // The next call waits one step more.
                    self.turns.told(charge, millis(hint_ms.saturating_add(step_ms)));
                    let told = Told {
                        ask_at: Some(Instant::now() + millis(hint_ms)),
                        step: millis(step_ms),
                        reason: Some(reason),
                        route: has_place.then(|| Arc::clone(&charge.route)),
                    };
                    seat.ticket.hold(told);
                }
                Outcome::Refused { retry_after, reason } => {
                    seat.ticket.leave(true);
                    let retry_after = u64::try_from(retry_after).unwrap_or(1).max(1);
                    self.turns.told(charge, Duration::from_secs(retry_after));
                    return Err(NotAdmitted::Refused(Refusal { retry_after, reason, view }));
                }
                // Not an answer to this question, so the store can't be relied on.
                Outcome::Done | Outcome::Settled { .. } => {
                    let refusal = Refusal { retry_after: 1, reason: Reason::StoreAway, view };
                    return Err(NotAdmitted::Refused(refusal));
                }
            }
        }
    }

    async fn ask(
        self: &Arc<Budget>,
        charge: &Charge,
        wait: Wait,
        patience: Duration,
        seat: &Seat<'_>,
    ) -> (LeaseId, Reply) {
        let lease = self.replica.new_lease();
        let told = seat.ticket.told();
        let left_route = told.route.filter(|route| *route != charge.route);
        let admit = Admit {
            lease,
            share: charge.share(),
            place: seat.place.clone(),
            left_route,
            is_write: charge.is_write,
            is_graphql: &*charge.resource == "graphql",
            price: charge.price.map(i64::from),
            points: charge.points(),
            creates_content: charge.creates_content,
            repository: charge.repository.clone(),
            is_interactive: wait.is_interactive,
            patience_ms: i64::try_from(patience.as_millis()).unwrap_or(i64::MAX / 4),
            random: self.roll(),
            is_observing: self.tuning.load().is_observing,
        };
        let asked = Asked { budget: self, charge, lease, is_answered: false };
        let reply = self.replica.call(&charge.installation, Command::Admit(Box::new(admit))).await;
        asked.answered();
        (lease, reply)
    }

    /// Refuses a call, with the next free time of its agent.
    async fn book(&self, charge: &Charge, outlook: Outlook) -> NotAdmitted {
        let book = Book {
            share: charge.share(),
            resource: Arc::clone(&charge.resource),
            wait_ms: millis_of(outlook.rest),
            step_ms: millis_of(outlook.step),
            reason: outlook.reason.unwrap_or(Reason::Turn(GateKind::Pool)),
        };
        let reply = self.replica.call(&charge.installation, Command::Book(book)).await;
        let (retry_after, reason) = match reply.outcome {
            Outcome::Refused { retry_after, reason } => (u64::try_from(retry_after).unwrap_or(1), reason),
            _ => (1, Reason::Turn(GateKind::Pool)),
        };
        self.turns.told(charge, Duration::from_secs(retry_after));
        NotAdmitted::Refused(Refusal { retry_after, reason, view: reply.view.unwrap_or_default() })
    }

    /// Draws a number in 0..=999.
    fn roll(&self) -> i64 {
        self.dice.lock().random_range(0..1000)
    }
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// What came with a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub(super) view: View,
    pub(super) would: Option<Reason>,
}

/// A call's place in its queue and at the store. Dropping it gives up both.
#[derive(Debug)]
struct Seat<'a> {
    budget: &'a Arc<Budget>,
    charge: &'a Charge,
    place: Place,
    ticket: Ticket<'a>,
}

impl<'a> Seat<'a> {
    fn take(budget: &'a Arc<Budget>, charge: &'a Charge, is_interactive: bool) -> Seat<'a> {
        let group = if charge.is_write { "w" } else { "r" };
        let head = [&*charge.agent, "/", &charge.resource, "/", group, "/", budget.replica.name()].concat();
        let place = Place {
            resource: Arc::clone(&charge.resource),
            head: head.into(),
            route: Arc::clone(&charge.route),
        };
        let key = QueueKey {
            installation: Arc::clone(&charge.installation),
            resource: Arc::clone(&charge.resource),
            agent: Arc::clone(&charge.agent),
            is_write: charge.is_write,
        };
        Seat { budget, charge, place, ticket: budget.queues.join(key, &charge.route, is_interactive) }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(route) = self.ticket.leave(false) {
            let (budget, installation) = (Arc::clone(self.budget), Arc::clone(&self.charge.installation));
            let place = Place { route, ..self.place.clone() };
            detach(async move {
                budget.replica.call(&installation, Command::Withdraw(place)).await;
            });
        }
    }
}

/// A question to the store that is under way. If it is dropped unanswered, whatever it may have
/// been granted is taken back.
struct Asked<'a> {
    budget: &'a Arc<Budget>,
    charge: &'a Charge,
    lease: LeaseId,
    is_answered: bool,
}

impl Asked<'_> {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            cancel(self.budget, self.charge, self.lease);
        }
    }
}

/// Takes back a call that certainly was not sent.
pub(super) fn cancel(budget: &Arc<Budget>, charge: &Charge, lease: LeaseId) {
    let (budget, installation) = (Arc::clone(budget), Arc::clone(&charge.installation));
    let cancel = Cancel { lease, resource: Arc::clone(&charge.resource), route: Arc::clone(&charge.route) };
    detach(async move {
        budget.replica.call(&installation, Command::Cancel(cancel)).await;
    });
}

/// Runs work that nobody waits for: at once if it need not wait, otherwise as a task.
pub(super) fn detach(work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    if work.as_mut().now_or_never().is_none()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(work);
    }
}
