//! A pool: one resource's primary points in GitHub's current window.

mod member;
mod observe;
mod seen;
mod trial;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::command::{Share, Snapshot, Spent, View};
use super::bookings::turn_ms;
use super::gate::{Gate, Window};
use super::lease::Lease;
use super::units::{GUARD_MS, HOUR_MS, LIMIT_MAX, LIMIT_UNTOLD, MATCH_MS, Micro, U, div_ceil};
pub(super) use member::Member;
pub(super) use observe::Observed;
use observe::Odd;
pub(super) use trial::Trial;

/// One pool.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) resource: Arc<str>,
    pub(super) limit: i64,
    /// Points used in the window: by GitHub's headers, and by our own count.
    pub(super) used: i64,
    pub(super) own: i64,
    /// Points reserved by calls in flight.
    pub(super) in_flight: i64,
    /// The end of the window, and of the one before, in epoch milliseconds.
    pub(super) reset: i64,
    reset_before: i64,
    pub(super) window_ms: i64,
    pub(super) window: i64,
    /// When the window began, by our time.
    began: i64,
    pub(super) trial: Option<Trial>,
    pub(super) is_known: bool,
    born: i64,
    /// Forecast of what users outside take, in micro-points a second.
    outside: Micro,
    outside_at: i64,
    outside_seen: i64,
    /// By how many points a call was lately dearer than reserved.
    dear: i64,
    dear_at: i64,
    odd: Odd,
    /// Answers without figures, in a row.
    bare: i64,
    weights: i64,
    /// The weights of those among them that want more than they get.
    wanting: i64,
    members: FxHashMap<Arc<str>, Member>,
    /// From this time on, every agent that wants something has been seen.
    watched_from: i64,
    seen: BTreeSet<(i64, Arc<str>)>,
    pub(super) gate: Gate,
    /// Whether it belongs to a replica without the store.
    is_alone: bool,
    /// The last step in which [`Pool::begin`] ran.
    step: u64,
    /// The points that are certainly left to us; and, in micro-points a second, what that is for the rest of the
    /// window, and what a window has of which nothing is spent. Set by [`Pool::refill`].
    pub(super) left: i64,
    pace: Micro,
    next_rate: Micro,
}

impl Pool {
    /// A pool of which nothing is known yet: a single call finds out.
    pub(super) fn new(resource: Arc<str>, now: i64, trial: Trial, watched_from: i64) -> Pool {
        Pool {
            resource,
            limit: LIMIT_UNTOLD,
            used: 0,
            own: 0,
            in_flight: 0,
            reset: now + HOUR_MS,
            reset_before: -HOUR_MS,
            window_ms: HOUR_MS,
            window: 1,
            began: now,
            trial: Some(trial),
            is_known: false,
            born: now,
            outside: 0,
            outside_at: now,
            outside_seen: 0,
            dear: 0,
            dear_at: now,
            odd: Odd::default(),
            bare: 0,
            weights: 0,
            wanting: 0,
            members: FxHashMap::default(),
            watched_from,
            seen: BTreeSet::new(),
            gate: Gate::new(0, now),
            is_alone: false,
            step: 0,
            left: 1,
            pace: U,
            next_rate: U,
        }
    }

    /// Makes it the pool of a replica that goes on without the store.
    pub(super) fn alone(mut self) -> Pool {
        self.is_alone = true;
        self
    }

    /// The pool as a replica that lost the store last knew it.
    pub(super) fn from_snapshot(snapshot: &Snapshot, now: i64) -> Pool {
        let mut pool = Pool::new(Arc::clone(&snapshot.resource), now, Trial::new(1, 0), 0).alone();
        if snapshot.is_known {
            pool.take_over(snapshot, now);
        }
        pool.outside = snapshot.outside;
        pool
    }

    /// Takes over figures from elsewhere, in store time. In a window known already, the larger count stays.
    pub(super) fn take_over(&mut self, snapshot: &Snapshot, now: i64) {
        if !snapshot.is_known || snapshot.reset <= now {
            return;
        }
        if self.is_known && (snapshot.reset - self.reset).abs() <= MATCH_MS {
            self.used = self.used.max(snapshot.used);
            return;
        }
        if self.is_known && snapshot.reset < self.reset {
            return;
        }
        (self.limit, self.used) = (snapshot.limit, snapshot.used);
        (self.reset, self.window_ms) = (snapshot.reset, snapshot.window_ms);
        self.window = snapshot.window_number.max(self.window);
        (self.outside_seen, self.outside_at, self.born) = (snapshot.used - self.own, now, now);
        self.outside = snapshot.outside;
        (self.is_known, self.trial) = (true, None);
    }

    pub(super) fn member(&self, agent: &str) -> Member {
        let member = self.members.get(agent).copied().unwrap_or_default();
        member.enter(self.window, self.began)
    }

    pub(super) fn member_mut(&mut self, agent: &Arc<str>) -> &mut Member {
        // Looks up by reference first, so that the name is cloned only once.
        if !self.members.contains_key(agent) {
            self.members.insert(Arc::clone(agent), Member::default());
        }
        let (window, began) = (self.window, self.began);
        let member = self.members.get_mut(agent).expect("it was put there");
        *member = member.enter(window, began);
        member
    }

    /// Updates what depends on time, once a step: agents not seen any more, and the end of the window.
    pub(super) fn begin(&mut self, step: u64, now: i64) {
        if self.step == step {
            return;
        }
        self.step = step;
        self.forget_unseen(now);
        if self.is_known && now >= self.reset + GUARD_MS {
            self.roll_over(now);
        } else if !self.is_known {
            // As if the window began now.
            self.reset = now + self.window_ms;
        }
    }

    /// Begins a new window; a few calls find out how it stands.
    fn roll_over(&mut self, now: i64) {
        self.reset_before = self.reset;
        self.reset = now + self.window_ms;
        (self.used, self.own, self.outside_seen, self.outside_at) = (0, 0, 0, now);
        self.window += 1;
        self.odd = Odd::default();
        self.began = now;
        self.gate.restart(now, self.head_start(now));
        self.trial = Some(Trial::new((self.limit / 4).clamp(1, 20), now));
    }

    /// Forgets members that make no difference any more.
    pub(super) fn sweep(&mut self) {
        self.gate.sweep();
        let (window, began) = (self.window, self.began);
        self.members.retain(|_, member| member.window == window || member.is_present(began));
    }

    /// Milliseconds until the next window, which has points for all.
    pub(super) fn to_next_window_ms(&self, now: i64) -> i64 {
        (self.reset + GUARD_MS - now).max(1)
    }

    /// The present window, at its gate.
    pub(super) fn as_window(&self, now: i64) -> Window {
        Window { ends_at: now + self.to_next_window_ms(now), pace: self.pace, next_rate: self.next_rate }
    }

    /// Milliseconds between two turns of an agent in the next window.
    pub(super) fn fresh_step_ms(&self, share: &Share) -> i64 {
        turn_ms(self.gate.avg, self.next_rate) * self.weights() / share.weight
    }

    /// How deep in debt a dear call can put the bucket.
    pub(super) fn debt(&self) -> Micro {
        (self.limit / 200).max(8) * U
    }

    /// What a light head may overdraw.
    pub(super) fn express(&self) -> Micro {
        (self.limit / 10).min(8) * U
    }

    /// What the bucket of a new window holds. If only one agent was seen lately: a hundredth, so
    /// that it can do a few things at once, but an agent that comes later loses next to nothing. If
    /// several wait, less, so that the first to ask does not take it all.
    fn head_start(&self, now: i64) -> Micro {
        let is_alone = now >= self.watched_from && self.seen.len() <= 1;
        match is_alone {
            true => (self.limit / 100).max(5).min(self.limit / 4) * U,
            // Nothing at first sight: the first agent may be first by chance.
            false if self.window == 1 => self.gate.tok.clamp(0, 5 * U),
            false => 5.min(self.limit / 4) * U,
        }
    }

    fn depth(&self) -> Micro {
        let least = (self.limit / 10).min(8) * U;
        if self.is_alone {
            // Calls that could not go while slots were short must not all go at once afterwards.
            return (2 * self.gate.rate).max(least);
        }
        // Twice the highest limit is as good as more, and keeps products exact.
        let burst = (self.gate.rate * (self.window_ms / 4000).min(30)).min(2 * LIMIT_MAX * U);
        burst.max(least).max(self.limit / 100 * U)
    }

    /// Points kept back: for calls dearer than reserved, and for what users outside may spend meanwhile.
    fn kept(&self, left_ms: i64, headroom: i64) -> i64 {
        let few = div_ceil(self.limit, 50).min(3).min(self.limit - 1);
        let melting = (self.limit / 250).min(60) * left_ms.min(60_000) / 60_000;
        few.max(self.dear).max(melting) + headroom * self.limit / 1000
    }

    /// Works out how many points are left and at which rate they may go, and fills the bucket.
    pub(super) fn refill(
        &mut self,
        now: i64,
        headroom: i64,
        is_cooling: bool,
        scale: impl Fn(Micro) -> Micro,
    ) {
        if !self.is_known {
            (self.left, self.gate.rate, self.pace, self.next_rate) = (1, U, U, U);
            return;
        }
        while self.dear > 0 && now >= self.dear_at + 60_000 {
            (self.dear, self.dear_at) = (self.dear / 2, self.dear_at + 60_000);
        }
        let left_ms = (self.reset - now).max(1_000);
        self.left = self.limit - self.used.max(self.own) - self.in_flight - self.kept(left_ms, headroom);
        let mut rate = (self.left * U - self.gate.tok.max(0)) * 1000 / left_ms - self.outside;
        if self.left > 0 {
            rate = rate.max(self.left * U * 100 / left_ms);
        }
        let rate = scale(rate.max(1)).max(1);
        self.pace = scale((self.left.max(0) * U * 1000 / left_ms - self.outside).max(0));
        self.next_rate = scale(self.rate_of_a_window(headroom)).max(1);
        if is_cooling {
            self.gate.pause(now);
        }
        self.gate.rate = rate;
        let depth = self.depth();
        for agent in self.gate.fill(now, rate, depth) {
            self.set_wants(&agent, false);
        }
        if self.left <= 0 {
            self.gate.tok = self.gate.tok.min(0);
        }
    }

    /// Micro-points a second in a window of which nothing is spent.
    fn rate_of_a_window(&self, headroom: i64) -> Micro {
        let points = (self.limit - self.kept(self.window_ms, headroom)).max(1);
        let rate = points * U * 1000 / self.window_ms;
        (rate - self.outside).max(rate / 10)
    }

    /// The most points a single call can ever be charged before it is sent.
    pub(super) fn price_max(&self, headroom: i64) -> i64 {
        (self.limit - self.kept(0, headroom)).max(1)
    }

    /// A call was dearer than reserved: keep more back for a while.
    pub(super) fn remember_dear(&mut self, over: i64, now: i64) {
        let over = over.min(self.limit / 50);
        if over > self.dear {
            (self.dear, self.dear_at) = (over, now);
        }
    }

    /// Corrects the bucket after a call that cost other than was reserved.
    pub(super) fn correct_bucket(&mut self, reserved: i64, actual: i64) {
        if actual < reserved {
            let depth = self.depth();
            self.gate.give_back((reserved - actual) * U, depth);
        } else {
            let debt = self.debt();
            self.gate.take((actual - reserved) * U, debt);
        }
    }

    pub(super) fn spend(&mut self, agent: &Arc<str>, points: i64) {
        self.own += points;
        self.member_mut(agent).spent += points;
    }

    /// Takes back what a call no longer in flight had reserved.
    pub(super) fn take_back(&mut self, lease: &Lease) {
        self.in_flight -= lease.reserved();
        if lease.is_unpriced
            && !lease.is_settled
            && let Some(member) = self.members.get_mut(&lease.agent)
        {
            member.unpriced -= 1;
        }
    }

    /// An agent's standing; `at_ceiling` is the points that its ceiling leaves.
    pub(super) fn view(&self, share: &Share, now: i64, at_ceiling: Option<i64>) -> View {
        let member = self.member(&share.agent);
        let weights = if member.forget_at.is_some() { self.weights } else { self.weights + share.weight };
        let part = self.left.max(0) * share.weight / weights.max(1);
        let remaining = part.min(at_ceiling.unwrap_or(part)).max(0);
        View {
            used: member.spent,
            remaining,
            reset_in_ms: (self.reset - now).max(0),
            weight: share.weight,
            weights,
            is_known: self.is_known,
        }
    }

    /// What each agent spent in this window.
    pub(super) fn spent(&self) -> Vec<Spent> {
        let current =
            self.members.iter().filter(|(_, member)| member.window == self.window && member.spent > 0);
        current
            .map(|(agent, member)| Spent {
                resource: Arc::clone(&self.resource),
                reset: self.reset,
                agent: Arc::clone(agent),
                points: member.spent,
            })
            .collect()
    }

    pub(super) fn outside(&self) -> Micro {
        self.outside
    }
}
