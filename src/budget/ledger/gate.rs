//! A gate: an order and a bucket, for a limit that can bind for long and so must be shared by weight.
//!
//! The order is start-time fair queueing: each agent has a finish tag, each waiting head a start
//! tag, and `v` is the gate's virtual time. So the shares depend neither on a sum of active weights
//! nor on agents coming and going. The bucket says how many may go: a head with `k` smaller tags
//! before it goes when the bucket holds enough for all of them and itself.

mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bookings::Bookings;
use super::units::{CREDIT, EVICTIONS, FRONT, Micro, PLACE_MS, U, div_ceil};
pub(super) use turns::{Refused, Turn};

/// Tags this far behind are forgotten. Nobody notices, since no agent starts further behind.
const SWEPT_BEHIND: Micro = 250 * U;

/// One gate.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// Virtual time; never falls.
    pub(super) v: Micro,
    /// What the bucket holds; negative is debt.
    pub(super) tok: Micro,
    /// When the bucket was last filled, in epoch milliseconds, and the remainder of that division.
    t: i64,
    rem: i64,
    /// Micro-points a second, as of the last filling.
    pub(super) rate: Micro,
    /// What a waiting head is assumed to need, in micro-points.
    pub(super) avg: Micro,
    /// The finish tag of each agent.
    finish: FxHashMap<Arc<str>, Micro>,
    waiting: FxHashMap<Arc<str>, Waiting>,
    /// How many of the waiting heads are held here, not at a later gate.
    held: usize,
    /// Waiting heads by start tag.
    order: Vec<(Micro, Arc<str>)>,
    expiry: BTreeSet<(i64, Arc<str>)>,
    bookings: Bookings,
}

/// A waiting head.
#[derive(Debug, Clone)]
struct Waiting {
    agent: Arc<str>,
    weight: i64,
    tag: Micro,
    /// What its place added to the agent's finish tag.
    charge: Micro,
    /// What it needs in the bucket, in micro-points.
    need: Micro,
    /// It is held here, not at a later gate.
    is_held: bool,
    expires: i64,
}

/// Who asks at a gate, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) agent: &'a Arc<str>,
    /// The queue whose head it is.
    pub(super) head: &'a Arc<str>,
    pub(super) weight: i64,
    /// What its agent's tag moves by: fair units divided by weight.
    pub(super) charge: Micro,
    /// What it takes from the bucket.
    pub(super) need: Micro,
    pub(super) is_interactive: bool,
    /// Its agent's guarantee is behind, so it goes before all others.
    pub(super) is_due: bool,
    /// What a light head may overdraw.
    pub(super) express: Micro,
    /// Milliseconds between two of its agent's turns: what its ceiling leaves at least, what its guarantee pays for at
    /// most.
    pub(super) least_ms: i64,
    pub(super) most_ms: i64,
    /// The window whose turns the gate gives out.
    pub(super) window: Window,
    /// At a pool, the weights of those who want turns there, and of who asks.
    pub(super) wanting: Option<i64>,
    /// Epoch milliseconds.
    pub(super) now: i64,
}

impl Ask<'_> {
    fn is_at_pool(&self) -> bool {
        self.wanting.is_some()
    }

    /// How far an urgent call may be ahead of virtual time, which moves by whole turns: what its own falls short of one.
    fn slack(&self) -> Micro {
        if self.is_interactive { (U - self.charge).max(0) } else { 0 }
    }

    /// What it may overdraw at a pool if it comes at its time. A bucket is full when its window ends, but the last of the
    /// turns that it pays for comes a turn earlier. And it has this turn even if others went first meanwhile: sent away, a
    /// caller that does not wait would be too early or too late by as much each time. Urgent calls find as much yet.
    fn overdraft(&self) -> Micro {
        if self.window.ends_at < i64::MAX { self.need.max(self.express / 2) } else { 0 }
    }
}

/// A window, after which a bucket begins anew and fills at another rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Epoch milliseconds.
    pub(super) ends_at: i64,
    /// Micro-points a second that are left for the rest of it, those in the bucket with them, and in the next one.
    pub(super) pace: Micro,
    pub(super) next_rate: Micro,
}

impl Window {
    /// Of a gate whose limit knows no windows.
    pub(super) const ENDLESS: Window = Window { ends_at: i64::MAX, pace: 0, next_rate: U };
}

/// What a gate tells a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    /// Micro-points missing in the bucket; the head passes if this is 0 or less.
    pub(super) short: Micro,
    /// Milliseconds until the bucket holds them.
    pub(super) wait_ms: i64,
    /// The agent is under its share, so nobody is before it.
    pub(super) is_light: bool,
    /// How many heads are before it.
    pub(super) ahead: i64,
}

impl Gate {
    pub(super) fn new(tok: Micro, now: i64) -> Gate {
        Gate {
            v: 0,
            tok,
            t: now,
            rem: 0,
            rate: U,
            avg: U,
            finish: FxHashMap::default(),
            waiting: FxHashMap::default(),
            held: 0,
            order: Vec::new(),
            expiry: BTreeSet::new(),
            bookings: Bookings::default(),
        }
    }

    /// When the bucket was last filled, in epoch milliseconds.
    pub(super) fn touched(&self) -> i64 {
        self.t
    }

    /// Fills the bucket for the time passed since, until it is full at most. Returns the agents that did not come when a
    /// time was kept for them.
    pub(super) fn fill(&mut self, now: i64, rate: Micro, depth: Micro) -> Vec<Arc<str>> {
        let rate = rate.max(1);
        let to_full = (depth - self.tok).max(0) * 1000 / rate + 1;
        let passed = (now - self.t).clamp(0, to_full);
        let gained = rate * passed + self.rem;
        self.rem = gained.rem_euclid(1000);
        self.tok = depth.min(self.tok + gained.div_euclid(1000));
        self.t = self.t.max(now);
        self.rate = rate;
        self.drop_expired(now);
        self.bookings.drop_lapsed(now)
    }

    /// Starts a new window: what was left over from the old one is gone, and so is the debt.
    pub(super) fn restart(&mut self, now: i64, tok: Micro) {
        (self.tok, self.t, self.rem) = (tok, self.t.max(now), 0);
    }

    /// Stops the inflow while GitHub has asked for silence; afterwards the bucket starts nearly empty.
    pub(super) fn pause(&mut self, now: i64) {
        self.t = self.t.max(now);
        self.lower_to(2 * U);
    }

    /// Leaves no more than `most` in the bucket; a debt stays.
    pub(super) fn lower_to(&mut self, most: Micro) {
        self.tok = self.tok.min(most);
    }

    fn drop_expired(&mut self, now: i64) {
        for _ in 0..EVICTIONS {
            match self.expiry.first() {
                Some((expires, head)) if *expires <= now => {
                    let head = Arc::clone(head);
                    self.leave(&head);
                }
                _ => break,
            }
        }
    }

    /// Whether a head is held here, not at a later gate.
    pub(super) fn holds_somebody(&self) -> bool {
        self.held > 0 || !self.bookings.is_empty()
    }

    /// Whether a time is kept here for an agent.
    pub(super) fn keeps_for(&self, agent: &str) -> bool {
        self.bookings.of(agent) > 0
    }

    /// Takes back a part of the turn that an agent's last call took.
    pub(super) fn pay_back(&mut self, agent: &Arc<str>, ms: i64, now: i64) {
        if !self.bookings.is_empty() {
            self.bookings.pay_back(agent, ms, now);
        }
    }

    /// The start tag a head has or would get.
    fn start(&self, ask: &Ask<'_>) -> Micro {
        match self.waiting.get(ask.head) {
            Some(waiting) => waiting.tag,
            None => {
                let finish = self.finish.get(ask.agent).copied().unwrap_or_default();
                finish.max(self.v - (CREDIT / ask.weight).max(ask.charge).min(SWEPT_BEHIND))
            }
        }
    }

    /// Gives up a head's place, and undoes what the place added to its agent's finish tag.
    pub(super) fn leave(&mut self, head: &Arc<str>) {
        if let Some(waiting) = self.forget(head)
            && let Some(finish) = self.finish.get_mut(&waiting.agent)
        {
            *finish -= waiting.charge;
        }
    }

    fn forget(&mut self, head: &Arc<str>) -> Option<Waiting> {
        let waiting = self.waiting.remove(head)?;
        self.held -= usize::from(waiting.is_held);
        if let Ok(place) = self.place(waiting.tag, head) {
            self.order.remove(place);
        }
        self.expiry.remove(&(waiting.expires, Arc::clone(head)));
        Some(waiting)
    }

    fn place(&self, tag: Micro, head: &Arc<str>) -> Result<usize, usize> {
        self.order.binary_search_by(|(other, name)| (*other, name).cmp(&(tag, head)))
    }

    /// Takes a place, or keeps it for longer. `is_held`: the head is held here, not at a later gate.
    pub(super) fn join(&mut self, ask: &Ask<'_>, is_held: bool, now: i64, for_ms: i64) {
        let expires = now + for_ms.min(PLACE_MS);
        if let Some(waiting) = self.waiting.get_mut(ask.head) {
            self.expiry.remove(&(waiting.expires, Arc::clone(ask.head)));
            self.held -= usize::from(waiting.is_held);
            (waiting.need, waiting.is_held, waiting.expires) = (ask.need, is_held, expires);
        } else {
            let tag = self.start(ask);
            self.finish.insert(Arc::clone(ask.agent), tag + ask.charge);
            let place = self.place(tag, ask.head).unwrap_or_else(|place| place);
            self.order.insert(place, (tag, Arc::clone(ask.head)));
            let agent = Arc::clone(ask.agent);
            let (weight, charge, need) = (ask.weight, ask.charge, ask.need);
            let waiting = Waiting { agent, weight, tag, charge, need, is_held, expires };
            self.waiting.insert(Arc::clone(ask.head), waiting);
        }
        self.held += usize::from(is_held);
        self.expiry.insert((expires, Arc::clone(ask.head)));
    }

    pub(super) fn test(&self, ask: &Ask<'_>) -> Test {
        if let Some(place) = self.due(ask) {
            // Whose guarantee is behind goes before those whose times came earlier, too.
            let before = if ask.is_due { 0 } else { self.bookings.before(place) };
            let short = ask.need.min(FRONT) + before - self.tok - ask.overdraft();
            return Test { short, wait_ms: self.wait_ms(short), is_light: true, ahead: 0 };
        }
        let start = self.start(ask);
        let reach = if ask.is_interactive { start - ask.slack() } else { start + ask.charge };
        let is_light = ask.is_due || reach <= self.v;
        let ahead = match is_light {
            true => 0,
            false => self.place(start, ask.head).unwrap_or_else(|place| place),
        };
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        let express = if is_light { ask.express } else { 0 };
        let alone = ask.need.min(FRONT) + self.need_of_first(ahead) - self.tok - express;
        let (mut short, mut wait_ms) = (alone, self.wait_ms(alone));
        // Whoever comes at its time at a pool may overdraw, so an urgent call in between sends hardly anybody away.
        // So may a light call that is too dear to be kept a time for, or comes late: it would never find its turn between
        // others'.
        let is_urgent = is_light && (ask.is_interactive || ask.need > FRONT || self.comes_late(ask));
        let goes_first = ask.is_due || (is_urgent && ask.window.ends_at < i64::MAX);
        if !self.bookings.is_empty() && !goes_first {
            // What was promised is not overdrawn.
            if let Some(kept) = self.bookings.kept(self.rate, ask.now, ask.window.ends_at) {
                short = short.max(alone + express + kept);
            }
            if short > 0 {
                let from = ask.now + wait_ms;
                let window = i64::MIN..ask.window.ends_at;
                let free = self.bookings.free_from(from, ask.need.min(FRONT), self.rate, &window);
                // A turn that is free but can't be spared: more was promised than the bucket fills with now.
                wait_ms = if free > from { free - ask.now } else { self.wait_ms(short) };
            }
        }
        Test { short, wait_ms, is_light, ahead }
    }

    /// The place of the agent's time that has come; a dear call does not use up one that was kept for a cheap one.
    fn due(&self, ask: &Ask<'_>) -> Option<usize> {
        if ask.need > FRONT { None } else { self.bookings.due(ask.agent, ask.now) }
    }

    /// Whether a time of the agent's has lapsed that the call may make up for.
    fn comes_late(&self, ask: &Ask<'_>) -> bool {
        !self.bookings.is_empty()
            && !self.waiting.contains_key(ask.head)
            && self.bookings.is_owed(ask.agent, ask.now)
    }

    /// What the first heads of the order need in the bucket, if there are so many.
    fn need_of_first(&self, heads: i64) -> Micro {
        match self.order.first() {
            Some((_, first)) if heads > 0 => {
                let need = self.waiting.get(first).map_or(U, |waiting| waiting.need);
                FRONT.min(need) + (heads - 1) * self.avg
            }
            _ => 0,
        }
    }

    /// Milliseconds until the bucket holds what is missing.
    fn wait_ms(&self, short: Micro) -> i64 {
        div_ceil(short.max(0) * 1000, self.rate)
    }

    /// Lets a head through. Returns whether it had waited.
    pub(super) fn serve(&mut self, ask: &Ask<'_>, debt: Micro) -> bool {
        let start = self.start(ask);
        let waiting = self.forget(ask.head);
        match &waiting {
            Some(waiting) => self.correct(ask.agent, ask.charge - waiting.charge),
            None => {
                self.finish.insert(Arc::clone(ask.agent), start + ask.charge);
            }
        }
        let has_waited = waiting.is_some();
        self.take_turn(ask, has_waited);
        // With its slack, an urgent call would pull time along for its agent alone.
        let reached = start - ask.slack();
        let lowest = self.order.first().map_or(reached, |(tag, _)| *tag);
        self.v = self.v.max(reached.min(lowest));
        self.take(ask.need, debt);
        has_waited
    }

    /// Takes a call's part of the bucket, even if the call did not have to ask here.
    pub(super) fn take(&mut self, need: Micro, debt: Micro) {
        self.tok = (self.tok - need).max(self.tok.min(-debt));
    }

    pub(super) fn give_back(&mut self, amount: Micro, depth: Micro) {
        self.tok = (self.tok + amount).min(depth.max(self.tok));
    }

    /// Moves an agent's tag by what became known later. A tag that fell behind, or was forgotten
    /// for that, counts as just as far behind as an agent may start, so that a dear call is paid for in full.
    pub(super) fn correct(&mut self, agent: &Arc<str>, by: Micro) {
        let behind = self.v - CREDIT;
        match self.finish.get_mut(agent) {
            Some(finish) if by > 0 => *finish = (*finish).max(behind) + by,
            Some(finish) => *finish += by,
            None if by > 0 => {
                self.finish.insert(Arc::clone(agent), behind + by);
            }
            None => {}
        }
    }

    /// Limits how far an agent's tag runs ahead: with a guarantee, the agent pays by its tag only that far.
    pub(super) fn hold_near(&mut self, agent: &Arc<str>, ahead: Micro) {
        if let Some(finish) = self.finish.get_mut(agent) {
            *finish = (*finish).min(self.v + ahead);
        }
    }

    #[cfg(test)]
    pub(super) fn has_place(&self, head: &str) -> bool {
        self.waiting.contains_key(head)
    }

    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let held = self.waiting.values().filter(|waiting| waiting.is_held).count();
        (self.held, self.order.len()) == (held, self.waiting.len())
    }

    /// Forgets tags that make no difference any more.
    pub(super) fn sweep(&mut self) {
        let behind = self.v - SWEPT_BEHIND;
        self.finish.retain(|_, finish| *finish > behind);
        self.finish.shrink_to(self.finish.len() * 2);
        self.bookings.sweep(self.t);
    }
}
