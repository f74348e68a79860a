//! Times that a gate has promised to callers it refused.
//!
//! Where turns are further apart than callers wait, nobody stands in the order when a turn comes, and whichever agent
//! happens to ask at that moment would take it. So such a gate keeps the turn of each time it names: others may take only
//! what the bucket does not need for the times to come, and the agent that comes back at its time goes first.

use std::sync::Arc;

use super::units::{FRONT, Micro, U};

/// Turns closer together than this need no keeping: callers wait for longer, and the order decides among them.
const SLOW_TURN_MS: i64 = 1_500;
/// Turns further apart than this count as this.
const TURN_MAX_MS: i64 = 600_000;
/// A time is kept for this much longer. Callers are told whole seconds, and their way here takes some time, too.
const GRACE_MS: i64 = 5_000;
/// Later times are named, but not kept.
const BOOKINGS_MAX: usize = 64;
/// Times that are kept for one agent: one that sends many calls at once must not take all turns for minutes.
const OF_ONE_AGENT: usize = 4;
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
pub(super) struct Bookings(Vec<Booking>);

/// How long the bucket takes to fill for one call.
pub(super) fn turn_ms(need: Micro, rate: Micro) -> i64 {
    (need * 1000 / rate).min(TURN_MAX_MS)
}

/// Whether a gate at which calls need so much keeps the times it names.
pub(super) fn is_slow(need: Micro, rate: Micro) -> bool {
    turn_ms(need, rate) >= SLOW_TURN_MS
}

impl Bookings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Booking> {
        self.0.iter()
    }

    /// Whether no further time is kept for an agent.
    pub(super) fn has_enough(&self, agent: &str) -> bool {
        self.0.iter().filter(|booking| *booking.agent == *agent).count() >= OF_ONE_AGENT
    }

    /// Gives up times whose callers did not come.
    pub(super) fn drop_lapsed(&mut self, now: i64) {
        self.0.retain(|booking| booking.at + GRACE_MS > now);
    }

    /// The agent's first time, if it has come.
    pub(super) fn due(&self, agent: &str, now: i64) -> Option<usize> {
        let is_own = |booking: &Booking| *booking.agent == *agent;
        self.0.iter().take_while(|booking| booking.at <= now).position(is_own)
    }

    /// What the bucket must hold for the times before this one, all of which have come, too.
    pub(super) fn before(&self, place: usize) -> Micro {
        self.0[..place].iter().fold(0, |before, booking| (before + booking.need).min(KEPT_MAX))
    }

    /// What the bucket must hold now for every time to be kept; may be negative.
    pub(super) fn kept(&self, rate: Micro, now: i64) -> Micro {
        let mut before = 0;
        let mut kept = Micro::MIN;
        for booking in &self.0 {
            let gained = rate.min(RATE_MAX) * (booking.at - now).clamp(0, 10 * TURN_MAX_MS) / 1000;
            kept = kept.max(before + booking.need.min(FRONT) - gained);
            before = (before + booking.need).min(KEPT_MAX);
        }
        kept
    }

    /// The agent came at its time.
    pub(super) fn take(&mut self, place: usize) {
        self.0.remove(place);
    }

    /// Keeps the first time from the one named on that lies a turn away from all others; returns it.
    pub(super) fn book(&mut self, mut booking: Booking, rate: Micro) -> i64 {
        for other in &self.0 {
            let apart = turn_ms(booking.need.max(other.need), rate);
            if booking.at + apart > other.at && booking.at < other.at + apart {
                booking.at = other.at + apart;
            }
        }
        let at = booking.at;
        if self.0.len() < BOOKINGS_MAX {
            let place = self.0.partition_point(|other| other.at <= at);
            self.0.insert(place, booking);
        }
        at
    }
}
