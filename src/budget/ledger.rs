//! The ledger of one installation: who may call GitHub now, who waits, and for how long.
//!
//! Pure arithmetic on whole numbers and a given `now`: no clock, no I/O, no randomness of its own.
//! So the same steps at the same times give the same replies, in this process or in a shared store.
//!
//! Three layers are asked in this order. *Stops* are exact facts with an exact waiting time: GitHub
//! said wait, the window is spent, a counted limit is full. *Gates* are limits that can bind for
//! long and so are shared by weight: the pool's points, the installation's secondary points and
//! slots, one route's points, content-creating writes. *Clocks* are one time stamp each: guarantee,
//! ceiling, the pause between writes, the next booking. `docs/budgets.md` explains it all.

mod admit;
mod bookings;
mod cooldown;
mod gate;
mod lease;
mod pool;
mod replicas;
pub(super) mod ring;
mod settle;
mod units;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::command::{
    Call, Command, LeaseId, Look, Outcome, Place, Reply, Share, Snapshot, Stamp, View, resource_of,
};
use cooldown::Cooldown;
use gate::Gate;
use lease::Leases;
use pool::{Pool, Trial};
use replicas::{Isolation, Replicas};
use ring::Ring;
use units::{EVICTIONS, FIRST_WRITES, LIMIT_MAX, LIMIT_UNTOLD, Micro, ROUTE_IDLE_MS, SEEN_MS, U};

/// All of one installation's budget.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// When it began, in epoch milliseconds; 0 before the first step.
    epoch: i64,
    /// Nothing is granted for this long after the beginning: there may be calls in flight it does not know.
    pause_at_birth_ms: i64,
    /// The number of admits and settles so far.
    seq: i64,
    /// Added to the time of the store's clock, which may jump.
    offset_ms: i64,
    used_at: i64,
    /// The number of this step, for what is done once in each.
    step: u64,
    pools: FxHashMap<Arc<str>, Pool>,
    routes: FxHashMap<Arc<str>, Route>,
    /// Secondary points in all, and slots in flight.
    installation: Gate,
    content: Gate,
    /// Secondary points of the last minute; content-creating writes of the last minute and hour.
    all: Ring,
    content_minute: Ring,
    content_hour: Ring,
    leases: Leases,
    cooldown: Cooldown,
    /// When an agent's next write to a repository is due. The default hasher, since agents choose the names.
    spacing: HashMap<Arc<str>, i64>,
    replicas: Replicas,
    /// Only in the ledger of a replica that can't reach the store.
    isolation: Option<Isolation>,
}

/// One method and path template.
#[derive(Debug, Clone)]
struct Route {
    gate: Gate,
    ring: Ring,
}

impl Route {
    fn new(tok: Micro, now: i64) -> Route {
        Route { gate: Gate::new(tok, now), ring: Ring::minute() }
    }
}

impl Ledger {
    /// `pause_at_birth_ms` is 0 where no other replica can have called before.
    pub fn new(pause_at_birth_ms: i64) -> Ledger {
        // After a loss, the replicas hand over what they sent, and the caps count it.
        let content = if pause_at_birth_ms == 0 { 60 * U } else { FIRST_WRITES };
        Ledger {
            epoch: 0,
            pause_at_birth_ms,
            seq: 0,
            offset_ms: 0,
            used_at: 0,
            step: 0,
            pools: FxHashMap::default(),
            routes: FxHashMap::default(),
            installation: Gate::new(20 * U, 0),
            content: Gate::new(content, 0),
            all: Ring::minute(),
            content_minute: Ring::minute(),
            content_hour: Ring::hour(),
            leases: Leases::default(),
            cooldown: Cooldown::default(),
            spacing: HashMap::new(),
            replicas: Replicas::default(),
            isolation: None,
        }
    }

    /// Makes one step. `time` is by the store's clock, in epoch milliseconds.
    pub fn apply(&mut self, call: &Call, time: i64) -> Reply {
        let now = self.begin(&call.stamp, time);
        let caps = &call.stamp.caps;
        let (outcome, view) = match &call.command {
            Command::Admit(admit) => {
                self.seq += 1;
                self.admit(admit, caps, now)
            }
            Command::Settle(settle) => {
                self.seq += 1;
                self.settle(settle, caps, now)
            }
            Command::Book(book) => self.book_only(book, caps, now),
            Command::Look(look) => (Outcome::Done, Some(self.look(look, caps, now))),
            other => {
                self.keep_books(other, &call.stamp, now);
                (Outcome::Done, None)
            }
        };
        let pool = resource_of(&call.command).and_then(|resource| self.snapshot(resource, now));
        Reply { now, epoch: self.epoch, seq: self.seq, outcome, view, pool }
    }

    /// Steps that don't decide on a single call.
    fn keep_books(&mut self, command: &Command, stamp: &Stamp, now: i64) {
        match command {
            Command::Withdraw(place) => self.withdraw(place),
            Command::Cancel(cancel) => self.cancel(cancel, now),
            Command::Renew(leases) => leases.iter().for_each(|lease| self.leases.renew(*lease, now)),
            Command::Heartbeat(_) => {
                self.replicas.beat(stamp.replica, now);
                self.sweep(now);
            }
            Command::Leave(_) => self.replicas.leave(stamp.replica),
            Command::Adopt(handover) => self.adopt(handover, now),
            Command::Admit(_) | Command::Settle(_) | Command::Book(_) | Command::Look(_) => {}
        }
    }

    /// Begins a step and returns its time. What has expired by then is removed.
    fn begin(&mut self, stamp: &Stamp, time: i64) -> i64 {
        if let Some(last) = stamp.last_reply
            && last.elapsed_ms < 30_000
        {
            // Undoes a jump of the store's clock.
            let jump = time + self.offset_ms - (last.at + last.elapsed_ms);
            if jump.abs() > 5_000 {
                self.offset_ms -= jump;
            }
        }
        let now = time + self.offset_ms;
        self.step += 1;
        self.used_at = self.used_at.max(now);
        if self.epoch == 0 {
            self.epoch = now;
            self.installation = Gate::new(self.installation.tok, now);
            self.content = Gate::new(self.content.tok, now);
        }
        for lease in &stamp.ended {
            self.release(*lease);
        }
        for _ in 0..EVICTIONS {
            let Some(lease) = self.leases.pop_expired(now) else { break };
            if let Some(pool) = self.pools.get_mut(&lease.resource) {
                pool.take_back(&lease);
            }
        }
        now
    }

    /// Frees the slot of a call whose answer has been passed on completely.
    fn release(&mut self, id: LeaseId) {
        if self.leases.get(id).is_some_and(|lease| lease.is_settled) {
            self.leases.remove(id);
        }
    }

    /// The pool of a resource, made when the resource is first seen.
    fn pool(&mut self, resource: &Arc<str>, now: i64) -> &mut Pool {
        if !self.pools.contains_key(resource) {
            let trial = match &self.isolation {
                Some(_) => Trial::each(5_000),
                None => Trial::new(1, 0),
            };
            // In a ledger that came back empty, agents that waited before may not have asked again yet.
            let watched_from = if self.pause_at_birth_ms > 0 { self.epoch + SEEN_MS } else { 0 };
            let pool = Pool::new(Arc::clone(resource), now, trial, watched_from);
            let pool = if self.isolation.is_some() { pool.alone() } else { pool };
            self.pools.insert(Arc::clone(resource), pool);
        }
        let pool = self.pools.get_mut(resource).expect("it was put there");
        pool.begin(self.step, now);
        pool
    }

    fn route(&mut self, name: &Arc<str>, now: i64) -> &mut Route {
        let stale = self.routes.get(name).is_none_or(|route| now - route.gate.touched() > ROUTE_IDLE_MS);
        if stale {
            // A replica on its own starts with empty buckets: the others may just have spent theirs.
            let tok = if self.isolation.is_some() { 0 } else { 20 * U };
            self.routes.insert(Arc::clone(name), Route::new(tok, now));
        }
        self.routes.get_mut(name).expect("it was put there")
    }

    /// Makes the pool if needed, and fills its bucket.
    fn refill(&mut self, resource: &Arc<str>, headroom: i64, now: i64) {
        let scale = self.scale(now);
        let is_cooling = now < self.cooldown.until;
        self.pool(resource, now).refill(now, headroom, is_cooling, |rate| scale.of(rate));
    }

    /// A client hung up: gives up the places of its queue's head.
    fn withdraw(&mut self, place: &Place) {
        self.content.leave(&place.head);
        self.installation.leave(&place.head);
        if let Some(route) = self.routes.get_mut(&place.route) {
            route.gate.leave(&place.head);
        }
        if let Some(pool) = self.pools.get_mut(&place.resource) {
            pool.gate.leave(&place.head);
        }
    }

    fn look(&mut self, look: &Look, caps: &super::command::Caps, now: i64) -> View {
        self.refill(&look.resource, caps.headroom, now);
        self.view(&look.resource, &look.share, now)
    }

    /// An agent's standing in a pool that has just been filled.
    fn view(&self, resource: &Arc<str>, share: &Share, now: i64) -> View {
        let Some(pool) = self.pools.get(resource) else { return View::default() };
        let ceiling = share.ceiling.map(|ceiling| {
            let rate = self.rate_of(ceiling, pool);
            let paid_to = pool.member(&share.agent).ceiling_to;
            let span = (pool.reset - paid_to.max(now - admit::CEILING_SLACK_MS)).max(0);
            (rate * (span / 1000)) / U
        });
        pool.view(share, now, ceiling)
    }

    /// Converts points an hour of `core` to micro-points a second of a pool: the same part of its limit.
    fn rate_of(&self, points_an_hour: i64, pool: &Pool) -> Micro {
        if &*pool.resource == "core" || !pool.is_known {
            return points_an_hour.min(LIMIT_MAX) * U / 3600;
        }
        let core = self.pools.get("core").filter(|core| core.is_known);
        let core = core.map_or(LIMIT_UNTOLD, |core| core.limit).max(1);
        let thousandths = (points_an_hour.min(LIMIT_MAX) * pool.limit * 1000 / core).min(LIMIT_MAX * 1000);
        thousandths * U / pool.window_ms
    }

    fn snapshot(&self, resource: &Arc<str>, now: i64) -> Option<Snapshot> {
        let pool = self.pools.get(resource)?;
        Some(Snapshot {
            resource: Arc::clone(resource),
            limit: pool.limit,
            used: pool.used,
            own: pool.own,
            in_flight: pool.in_flight,
            reset: pool.reset,
            window_ms: pool.window_ms,
            window_number: pool.window,
            outside: pool.outside(),
            rate: pool.gate.rate,
            learned: self.cooldown.learned,
            cool: self.cooldown.until,
            replicas: self.replicas.seen(now),
            leases: self.leases.count(),
            is_known: pool.is_known,
        })
    }

    /// Forgets what no longer matters.
    fn sweep(&mut self, now: i64) {
        self.installation.sweep();
        self.content.sweep();
        self.pools.values_mut().for_each(|pool| pool.sweep());
        self.routes.retain(|_, route| now - route.gate.touched() <= ROUTE_IDLE_MS);
        self.routes.values_mut().for_each(|route| route.gate.sweep());
        self.spacing.retain(|_, next| *next > now);
        self.cooldown.sweep(now);
    }

    /// Whether nobody used the ledger for two of GitHub's longest windows, and nothing is in flight or cooling.
    pub fn is_forgotten(&self, time: i64) -> bool {
        let now = time + self.offset_ms;
        self.leases.count() == 0 && now - self.used_at > 2 * units::HOUR_MS && now >= self.cooldown.until
    }

    /// How many calls of one replica are in flight.
    pub fn leases_of(&self, replica: u64) -> usize {
        self.leases.of_replica(replica)
    }
}
