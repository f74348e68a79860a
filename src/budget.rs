//! The budget: one installation's quota, shared by weight, and never more than GitHub gives.
//!
//! [`Budget::admit`] holds a call in its agent's queue until its turn, or sends it away with a time at
//! which it will be served; the [`Reservation`] it gives is settled with what GitHub answered.
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`command`] | what a replica says to the store, and what it is told |
//! | [`ledger`] | the rules: pure arithmetic on a given time |
//! | [`store`] | where a ledger is kept |
//! | [`redis_store`] | the ledger at Redis, for all replicas |
//! | `replica` | this replica's side of the store, and what it does without it |
//! | `queue` | the waiting: only the head of a queue asks |
//! | `turns` | where agents were told to wait, and until when |
//! | `reservation` | what an admitted call holds, and how it is settled |
//! | `spending` | where the points went |
//! | `in_flight` | a bound on all of it |

pub mod command;
mod in_flight;
pub mod ledger;
mod queue;
pub mod redis_store;
mod replica;
mod reservation;
mod spending;
pub mod store;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

pub use command::{GateKind, Reason, Snapshot, View};
pub use queue::Waits;
pub use reservation::Reservation;
pub use spending::{Standing, Statement};

use crate::metrics::Metrics;
use command::{Admit, Book, Cancel, Caps, Command, LeaseId, Look, Outcome, Place, Reply, Share};
use in_flight::InFlight;
use queue::{QueueKey, Queues, Ticket, Told, Turn};
pub use replica::OnStoreLoss;
use replica::Replica;
use spending::Spending;
use store::Store;
use turns::Turns;

/// What is configured.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub tuning: Tuning,
    pub on_store_loss: OnStoreLoss,
    /// Most calls that wait or are in flight at this replica; each takes a descriptor or two.
    pub calls_max: usize,
}

/// What can be changed while calls wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Thousandths of each primary limit left to users outside.
    pub headroom_thousandths: i64,
    pub secondary: Secondary,
    /// Decide and record, but let everything through.
    pub is_observing: bool,
}

impl Tuning {
    fn caps(&self) -> Caps {
        Caps::new(self.headroom_thousandths, self.secondary)
    }
}

/// GitHub's secondary limits, with a distance kept; for one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secondary {
    pub concurrent: u32,
    pub rest_points_per_minute: u32,
    pub rest_points_per_minute_total: u32,
    pub graphql_points_per_minute: u32,
    pub content_per_minute: u32,
    pub content_per_hour: u32,
}

impl Default for Secondary {
    fn default() -> Secondary {
        Secondary {
            concurrent: 90,
            rest_points_per_minute: 810,
            rest_points_per_minute_total: 2700,
            graphql_points_per_minute: 1800,
            content_per_minute: 72,
            content_per_hour: 470,
        }
    }
}

/// Who this replica is, and where its dice start.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub replica: u64,
    pub seed: u64,
}

impl Identity {
    pub fn random() -> Identity {
        Identity { replica: rand::rng().random(), seed: rand::rng().random() }
    }
}

/// A call, as the budget sees it.
#[derive(Debug, Clone)]
pub struct Charge {
    pub installation: Arc<str>,
    /// GitHub's resource: `core`, `search`, `graphql`, …
    pub resource: Arc<str>,
    pub agent: Arc<str>,
    /// 1..=1000.
    pub weight: u32,
    /// Points an hour of `core`; 0: none.
    pub guarantee: u32,
    /// Points an hour of `core`; 0 closes the agent.
    pub ceiling: Option<u32>,
    /// Guarantees of all agents that may use the installation.
    pub guarantees: u32,
    /// Method and path template.
    pub route: Arc<str>,
    pub is_write: bool,
    pub creates_content: bool,
    pub repository: Option<Arc<str>>,
    /// Primary points, if they are known.
    pub price: Option<u32>,
}

impl Charge {
    fn share(&self) -> Share {
        Share {
            agent: Arc::clone(&self.agent),
            weight: i64::from(self.weight),
            guarantee: i64::from(self.guarantee),
            ceiling: self.ceiling.map(i64::from),
            guarantees: i64::from(self.guarantees),
        }
    }

    /// Secondary points (GitHub Docs, "Rate limits for the REST API"): 5 for what writes, else 1.
    fn points(&self) -> i64 {
        if self.is_write { 5 } else { 1 }
    }
}

/// How long a call may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub patience: Duration,
    /// Goes before the agent's other calls.
    pub is_interactive: bool,
}

/// Why a call is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    Refused(Refusal),
    /// Too many calls wait or are in flight, in all or of this agent.
    TooManyInFlight,
}

/// What a pool has to give to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Until the agent's next turn; nothing where it has not been told to wait.
    pub wait: Duration,
    /// Neither spent nor promised in this window.
    pub points: i64,
}

impl Room {
    /// GitHub's least limit: for a pool that nobody has called in yet.
    const UNKNOWN: i64 = 5_000;
}

/// Sent away, with a time at which the call will be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Seconds, at least 1.
    pub retry_after: u64,
    pub reason: Reason,
    pub view: View,
}

/// Shares the quota.
#[derive(Debug)]
pub struct Budget {
    tuning: ArcSwap<Tuning>,
    replica: Replica,
    queues: Queues,
    turns: Turns,
    in_flight: InFlight,
    dice: Mutex<StdRng>,
    spending: Spending,
    /// Installations whose guarantees were compared with their limit.
    compared: Mutex<BTreeSet<Arc<str>>>,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(
        settings: Settings,
        identity: Identity,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
    ) -> Arc<Budget> {
        let (caps, on_loss) = (settings.tuning.caps(), settings.on_store_loss);
        Arc::new(Budget {
            in_flight: InFlight::new(settings.calls_max),
            tuning: ArcSwap::from_pointee(settings.tuning),
            replica: Replica::new(identity.replica, store, caps, on_loss),
            queues: Queues::default(),
            turns: Turns::default(),
            dice: Mutex::new(StdRng::seed_from_u64(identity.seed)),
            spending: Spending::default(),
            compared: Mutex::default(),
            metrics,
        })
    }

    /// Goes on by other figures: calls that wait are weighed by them when they ask next.
    pub fn tune(&self, tuning: Tuning) {
        self.replica.set_caps(tuning.caps());
        self.tuning.store(Arc::new(tuning));
        // What is guaranteed may have changed, too.
        self.lock_compared().clear();
    }

    /// Holds a call until it may go.
    ///
    /// A caller that is dropped meanwhile leaves its queue, and nothing stays charged.
    ///
    /// # Errors
    /// When its turn does not come within its patience, or a bound is reached.
    pub async fn admit(self: &Arc<Budget>, charge: &Charge, wait: Wait) -> Result<Reservation, NotAdmitted> {
        let slot = self.in_flight.slot(&charge.agent).ok_or(NotAdmitted::TooManyInFlight)?;
        let arrived = Instant::now();
        let deadline = arrived + wait.patience;
        let mut seat = Seat::take(self, charge, wait.is_interactive);
        if let Some((rest, step)) = seat.ticket.outlook()
            && rest > wait.patience
            && !self.tuning.load().is_observing
        {
            return Err(self.book(charge, rest, step).await);
        }
        let mut last_reason = None;
        loop {
            if seat.ticket.turn(deadline).await == Turn::Late {
                let (rest, step) = seat.ticket.outlook().unwrap_or_default();
                drop(seat);
                return Err(self.book(charge, rest, step).await);
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            let (lease, reply) = self.ask(charge, wait.is_interactive, patience, &seat).await;
            let view = reply.view.unwrap_or_default();
            match reply.outcome {
                Outcome::Granted { would, .. } => {
                    seat.ticket.leave(true);
                    let held = arrived.elapsed();
                    self.metrics.observe_wait(would.or(last_reason), held);
                    self.spending.held(&charge.agent, held);
                    return Ok(Reservation::new(self, charge.clone(), lease, slot, Granted { view, would }));
                }
                Outcome::Wait { hint_ms, step_ms, reason, has_place } => {
                    last_reason = Some(reason);
                    self.turns.told(charge, hint_ms, step_ms);
                    seat.hold(hint_ms, step_ms, has_place);
                }
                Outcome::Refused { retry_after, reason } => {
                    seat.ticket.leave(true);
                    let retry_after = u64::try_from(retry_after).unwrap_or(1).max(1);
                    return Err(NotAdmitted::Refused(Refusal { retry_after, reason, view }));
                }
                Outcome::Done | Outcome::Settled { .. } => return Err(NotAdmitted::TooManyInFlight),
            }
        }
    }

    async fn ask(
        self: &Arc<Budget>,
        charge: &Charge,
        is_interactive: bool,
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
            is_interactive,
            patience_ms: i64::try_from(patience.as_millis()).unwrap_or(i64::MAX / 4),
            random: self.roll(),
            is_observing: self.tuning.load().is_observing,
        };
        let asked = Asked { budget: self, charge, lease, is_answered: false };
        let reply = self.replica.call(&charge.installation, Command::Admit(admit)).await;
        asked.answered();
        (lease, reply)
    }

    /// Sends a call away, with the next free time of its agent.
    async fn book(&self, charge: &Charge, rest: Duration, step: Duration) -> NotAdmitted {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
        let book = Book {
            share: charge.share(),
            resource: Arc::clone(&charge.resource),
            wait_ms: millis(rest),
            step_ms: millis(step),
        };
        let reply = self.replica.call(&charge.installation, Command::Book(book)).await;
        let (retry_after, reason) = match reply.outcome {
            Outcome::Refused { retry_after, reason } => (u64::try_from(retry_after).unwrap_or(1), reason),
            _ => (1, Reason::Turn(GateKind::Pool)),
        };
        NotAdmitted::Refused(Refusal { retry_after, reason, view: reply.view.unwrap_or_default() })
    }

    /// How an agent stands in a pool.
    pub async fn look(&self, charge: &Charge) -> (View, Option<Snapshot>) {
        let look = Look { share: charge.share(), resource: Arc::clone(&charge.resource) };
        let reply = self.replica.call(&charge.installation, Command::Look(look)).await;
        (reply.view.unwrap_or_default(), reply.pool)
    }

    /// The most that one call could ever be paid with, and the limit it comes from; none until GitHub named it.
    pub async fn price_max(&self, charge: &Charge) -> Option<(i64, i64)> {
        let pool = self.look(charge).await.1.filter(|pool| pool.is_known)?;
        let kept = self.tuning.load().headroom_thousandths * pool.limit / 1000;
        Some((pool.limit - kept, pool.limit))
    }

    /// What a pool has to give to an agent, as far as this replica knows. Asks nobody.
    pub fn room(&self, installation: &Arc<str>, resource: &str, agent: &str) -> Room {
        let wait = self.turns.next(installation, resource, agent);
        let Some((pool, now_ms)) = self.replica.pool(installation, resource) else {
            return Room { wait, points: Room::UNKNOWN };
        };
        let kept = self.tuning.load().headroom_thousandths * pool.limit / 1000;
        let spent = if pool.reset <= now_ms { 0 } else { pool.used.max(pool.own) };
        let points = if now_ms < pool.cool { 0 } else { pool.limit - kept - spent - pool.in_flight };
        Room { wait, points: points.max(0) }
    }

    /// Says once, when an installation's limit is first seen, if more is guaranteed than can be kept.
    fn compare_guarantees(&self, charge: &Charge, pool: &Snapshot) {
        if charge.guarantees == 0 || !pool.is_known || &*pool.resource != "core" {
            return;
        }
        let is_first = self.lock_compared().insert(Arc::clone(&charge.installation));
        let (sum, keeps) = (i64::from(charge.guarantees), pool.limit * 4 / 5);
        if is_first && sum > keeps {
            tracing::warn!(
                installation = &*charge.installation,
                "guarantees add up to {sum} points an hour, more than four fifths of the limit (0.8 x {} = {keeps}): \
                 while all are claimed, each gets {keeps}/{sum} of its own",
                pool.limit
            );
        }
    }

    fn lock_compared(&self) -> std::sync::MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.compared.lock().expect("nothing panics while it holds this lock")
    }

    /// Calls that wait, by agent.
    pub fn waiting(&self) -> BTreeMap<Arc<str>, Waits> {
        self.queues.waiting()
    }

    /// Points an agent spent at this replica, by method and path template, the most first.
    pub fn spent_by_route(&self, agent: &str) -> Vec<(Arc<str>, u64)> {
        self.spending.of(agent)
    }

    /// What an agent spent, its share and its waits at this replica; none for one that never called.
    pub fn statement(&self, agent: &str) -> Option<Statement> {
        self.spending.statement(agent)
    }

    /// Of each installation: its pools as last seen here, and the store's time.
    pub fn pools(&self) -> Vec<(Arc<str>, Vec<Snapshot>, i64)> {
        self.replica.all_pools()
    }

    /// Heartbeats and renewals; never ends.
    pub async fn tend(self: Arc<Budget>) {
        self.replica.tend().await;
    }

    /// Tells the store that this replica stops.
    pub async fn leave(&self) {
        self.replica.leave().await;
    }

    /// Brings what is exported up to date.
    pub fn export(&self) {
        self.metrics.set_waiting(&self.queues.waiting());
        let all = self.replica.all_pools();
        self.metrics.forget_pools(|name| all.iter().any(|(known, ..)| **known == *name));
        for (installation, pools, now) in all {
            self.metrics.set_pools(&installation, &pools, now);
        }
    }

    /// Drops the accounts of agents that are there no more.
    pub fn forget_agents(&self, is_known: impl Fn(&str) -> bool) {
        self.spending.retain(&is_known);
        self.metrics.forget_agents(is_known);
    }

    /// 0..=999.
    fn roll(&self) -> i64 {
        self.dice.lock().expect("nothing panics while it holds this lock").random_range(0..1000)
    }
}

/// What came with a grant.
#[derive(Debug, Clone, Copy)]
struct Granted {
    view: View,
    would: Option<Reason>,
}

/// A call's place in its queue and at the store. Dropped, both are left.
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
        let head = format!("{}/{}/{group}/{:016x}", charge.agent, charge.resource, budget.replica.id);
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
        Seat { budget, charge, place, ticket: budget.queues.join(key, is_interactive) }
    }

    fn hold(&mut self, hint_ms: i64, step_ms: i64, has_place: bool) {
        let millis = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or_default());
        self.ticket.hold(Told {
            ask_at: Some(Instant::now() + millis(hint_ms)),
            step: millis(step_ms),
            route: has_place.then(|| Arc::clone(&self.charge.route)),
        });
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

/// A question to the store that is under way. Dropped unanswered, what it may have been granted is
/// taken back.
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

/// Takes a call back that was certainly not sent.
fn cancel(budget: &Arc<Budget>, charge: &Charge, lease: LeaseId) {
    let (budget, installation) = (Arc::clone(budget), Arc::clone(&charge.installation));
    let cancel = Cancel { lease, resource: Arc::clone(&charge.resource), route: Arc::clone(&charge.route) };
    detach(async move {
        budget.replica.call(&installation, Command::Cancel(cancel)).await;
    });
}

/// Runs work that nobody waits for: at once if it needs no waiting itself.
fn detach(work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    if work.as_mut().now_or_never().is_none()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(work);
    }
}
