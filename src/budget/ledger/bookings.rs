//! Times that a gate has promised to callers it refused.
//!
//! Where an agent's turns are further apart than its callers wait, it does not stand in the order when its turn comes,
//! and whoever happens to ask at that moment would take it. So a gate keeps the turn of each time it names: others may
//! take only what the bucket does not need for the times to come, and the agent that comes back at its time goes first.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::units::{FRONT, HOUR_MS, Micro, U};

/// Turns closer together than this are kept by pools alone, which every call asks. A gate that applies from half full
/// would have to be asked for as long as it keeps a time.
const SLOW_TURN_MS: i64 = 1_500;
/// Turns further apart than this count as this.
const TURN_MAX_MS: i64 = 600_000;
/// A time is kept for this much longer. Callers are told whole seconds, and their way here takes some time, too.
const GRACE_MS: i64 = 5_000;
/// Later times are named, but not kept. Whose times are not kept is served by luck, so a large fleet needs many; but a
/// step goes through all of them.
const BOOKINGS_MAX: usize = 2_048;
/// Times that are kept for one agent in any case: one that sends many calls at once must not take all turns for minutes.
const OF_ONE_AGENT: usize = 8;
/// As many more for each agent that has one, until they share [`BOOKINGS_MAX`].
const FOR_EACH_AGENT: usize = 4;
/// A time that was named counts for the next one for so long.
const NAMED_COUNTS_MS: i64 = 600_000;
/// What is kept for all times together counts as this at most, and a rate as that many micro-points a second.
const KEPT_MAX: Micro = 1_000_000 * U;
const RATE_MAX: Micro = 1_000 * U;

/// One time that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Booking {
    /// Epoch milliseconds.
    pub(super) at: i64,
    /// What the call takes from the bucket.
    pub(super) need: Micro,
    pub(super) agent: Arc<str>,
    pub(super) weight: i64,
}

/// The times that a gate keeps, earliest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Bookings {
    kept: Vec<Booking>,
    named: FxHashMap<Arc<str>, Named>,
}

/// What an agent's refused callers were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    /// The fair time named last, in epoch milliseconds.
    pub(super) at: i64,
    /// How many callers are believed to come back: those told a time, less the calls served since. If one does not
    /// come when its time was kept, or turns are left over when a call is served, others may be gone as well: each time
    /// that halves them.
    pub(super) callers: i64,
    /// A time that was kept for it has lapsed, and none of its calls was served since.
    pub(super) is_owed: bool,
}

/// How long the bucket takes to fill for one call.
pub(super) fn turn_ms(need: Micro, rate: Micro) -> i64 {
    (need * 1000 / rate).min(TURN_MAX_MS)
}

/// Whether a gate, or a pool's, keeps the times it names for calls that need so much. Dear calls go into debt, which no
/// time kept for one can foresee.
pub(super) fn keeps(need: Micro, rate: Micro, is_pool: bool) -> bool {
    need <= FRONT && (is_pool || turn_ms(need, rate) >= SLOW_TURN_MS)
}

impl Bookings {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Booking> {
        self.kept.iter()
    }

    /// Gives up times whose callers did not come; returns their agents.
    pub(super) fn drop_lapsed(&mut self, now: i64) -> Vec<Arc<str>> {
        let over = self.kept.partition_point(|booking| booking.at + GRACE_MS <= now);
        let lapsed: Vec<Arc<str>> = self.kept.drain(..over).map(|booking| booking.agent).collect();
        for agent in &lapsed {
            let named = self.named.get_mut(agent);
            if let Some(named) = named.filter(|named| named.at > now - NAMED_COUNTS_MS) {
                named.callers /= 2;
                named.is_owed = true;
            }
        }
        lapsed
    }

    /// The agent's first time, if it has come.
    pub(super) fn due(&self, agent: &str, now: i64) -> Option<usize> {
        let is_own = |booking: &Booking| *booking.agent == *agent;
        self.kept.iter().take_while(|booking| booking.at <= now).position(is_own)
    }

    /// What the bucket must hold for the times before this one, all of which have come, too.
    pub(super) fn before(&self, place: usize) -> Micro {
        self.kept[..place].iter().fold(0, |before, booking| (before + booking.need).min(KEPT_MAX))
    }

    /// What the bucket must hold now for every time before the window ends to be kept; may be negative. None if there
    /// is no such time.
    pub(super) fn kept(&self, rate: Micro, now: i64, ends_at: i64) -> Option<Micro> {
        let mut before = 0;
        let mut kept = None;
        for booking in self.kept.iter().take_while(|booking| booking.at < ends_at) {
            let gained = rate.min(RATE_MAX) * (booking.at - now).clamp(0, 10 * TURN_MAX_MS) / 1000;
            kept = kept.max(Some(before + booking.need.min(FRONT) - gained));
            before = (before + booking.need).min(KEPT_MAX);
        }
        kept
    }

    pub(super) fn is_any_before(&self, at: i64) -> bool {
        self.kept.first().is_some_and(|booking| booking.at < at)
    }

    /// The agent came at its time.
    pub(super) fn take(&mut self, place: usize) {
        self.kept.remove(place);
    }

    /// The first time from `at` on that lies a turn away from all that are kept within `window`.
    pub(super) fn free_from(&self, mut at: i64, need: Micro, rate: Micro, window: &Range<i64>) -> i64 {
        for other in self.kept.iter().filter(|other| window.contains(&other.at)) {
            let apart = turn_ms(need.max(other.need), rate);
            if at + apart > other.at && at < other.at + apart {
                at = other.at + apart;
            }
        }
        at
    }

    /// Whether a further time of the agent would be kept.
    pub(super) fn has_room_for(&self, agent: &str) -> bool {
        let others = self.kept.iter().map(|booking| &*booking.agent).filter(|other| *other != agent);
        let agents = 1 + others.collect::<FxHashSet<&str>>().len();
        let most = (FOR_EACH_AGENT * agents).min(BOOKINGS_MAX / agents).max(OF_ONE_AGENT);
        self.kept.len() < BOOKINGS_MAX && self.of(agent) < most
    }

    /// How many times are kept for an agent.
    pub(super) fn of(&self, agent: &str) -> usize {
        self.kept.iter().filter(|other| *other.agent == *agent).count()
    }

    /// Keeps a time, if there is room for one more, and for one more of the agent.
    pub(super) fn keep(&mut self, booking: Booking) {
        if self.has_room_for(&booking.agent) {
            let place = self.kept.partition_point(|other| other.at <= booking.at);
            self.kept.insert(place, booking);
        }
    }

    /// What an agent's callers were told, as long as it counts.
    pub(super) fn named(&self, agent: &str, now: i64) -> Option<Named> {
        self.named.get(agent).copied().filter(|named| named.at > now - NAMED_COUNTS_MS)
    }

    /// Whether a time that was kept for the agent has lapsed, and none of its calls was served since. Several count as
    /// one, or an agent whose callers left would have too much later.
    pub(super) fn is_owed(&self, agent: &str, now: i64) -> bool {
        self.named(agent, now).is_some_and(|named| named.is_owed)
    }

    /// The agent's next fair time comes so much earlier.
    pub(super) fn pay_back(&mut self, agent: &Arc<str>, ms: i64, now: i64) {
        if let Some(named) = self.named(agent, now) {
            self.named.insert(Arc::clone(agent), Named { at: named.at - ms, ..named });
        }
    }

    /// A caller was told a time that is fair from `at` on.
    pub(super) fn name(&mut self, agent: &Arc<str>, at: i64, now: i64) {
        let before = self.named(agent, now);
        let callers = before.map_or(0, |named| named.callers) + 1;
        let is_owed = before.is_some_and(|named| named.is_owed);
        self.named.insert(Arc::clone(agent), Named { at, callers, is_owed });
    }

    /// A caller was served. If `at` is given, it took the turn that was fair from then on.
    pub(super) fn serve(&mut self, agent: &Arc<str>, at: Option<i64>, turns_are_left: bool, now: i64) {
        let named = self.named(agent, now);
        if let Some(at) = at.or(named.map(|named| named.at)) {
            let callers = named.map_or(0, |named| named.callers);
            let callers = if turns_are_left { callers / 2 } else { (callers - 1).max(0) };
            self.named.insert(Arc::clone(agent), Named { at, callers, is_owed: false });
        }
    }

    /// Forgets what does not count any more, even if the clock is set back.
    pub(super) fn sweep(&mut self, now: i64) {
        self.named.retain(|_, named| named.at > now - 4 * HOUR_MS);
    }
}
