//! The turns of refused callers: which one is named to them, and what it takes from their agent's part.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::super::bookings::{self, Booking, Named};
use super::super::units::{FRONT, Micro};
use super::{Ask, Gate, Window};

/// The furthest ahead a time is named because of those named before.
const NAMED_AHEAD_MS: i64 = 3_600_000;
/// Heads at the front of the order whose weights count for the next time named.
const LOOKED_AT: usize = 64;

/// What a refused caller's time depends on, beside what it asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::budget::ledger) struct Refused {
    /// Nobody goes before, in epoch milliseconds.
    pub(in crate::budget::ledger) opens_at: i64,
    /// When its agent's guarantee is behind again, in epoch milliseconds; `i64::MAX` without one.
    pub(in crate::budget::ledger) sure_at: i64,
}

/// When the next turn of an agent comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::budget::ledger) enum Turn {
    /// At this time, in epoch milliseconds, which is kept unless it is too early or too many are.
    At(i64),
    /// Before the window ends. Turns are too close together to keep one.
    Soon,
    /// In the next window, likewise.
    Later,
}

impl Gate {
    /// Finds the next time of an agent, and keeps it where turns are far apart: the first free one from its fair time
    /// on. Times that would come after the window's end are those of the next one, from its beginning on.
    pub(in crate::budget::ledger) fn book(&mut self, ask: &Ask<'_>, refused: Refused) -> Turn {
        let start = self.start(ask);
        let ahead = self.place(start, ask.head).unwrap_or_else(|place| place);
        let before = self.need_of_first(i64::try_from(ahead).unwrap_or(i64::MAX));
        let Window { ends_at, next_rate, pace: _ } = ask.window;
        let Refused { opens_at, sure_at } = refused;
        // Whose guarantee is behind goes before all others.
        let free = |fair: i64, rate: Micro, window: &Range<i64>| {
            self.bookings.free_from(fair, ask.need, rate, window).min(fair.max(sure_at))
        };
        let latest = ask.now + NAMED_AHEAD_MS;
        let from = ask.now + self.wait_ms(ask.need.min(FRONT) + before - self.tok);
        let from = from.min(sure_at.max(ask.now)).max(opens_at);
        let next = self.next_fair(ask, from).unwrap_or_default().min(sure_at.max(from));
        // Kept, a time named before it is fair would be somebody else's turn.
        let is_early = next > latest;
        let next = next.min(latest);
        let mut fair = from.max(next);
        let mut rate = self.rate;
        // What would be left over is for whoever may come: the turns of a window in which nobody has a time any more,
        // and the first of the next, which begins with that call.
        let is_anybodys = ask.least_ms == 0 && !is_early && ends_at < i64::MAX;
        let is_rest = is_anybodys && ahead == 0 && !self.bookings.is_any_before(ends_at);
        let mut at = if is_rest { from } else { free(fair, rate, &(i64::MIN..ends_at)) };
        let is_later = at >= ends_at;
        if is_later {
            let window = ends_at..i64::MAX;
            rate = next_rate;
            let first = (ends_at + bookings::turn_ms(before, rate)).max(opens_at);
            fair = next.max(first);
            let is_free = is_anybodys && free(first, rate, &window) == first;
            at = if is_free { first } else { free(fair, rate, &window) };
        }
        if !bookings::keeps(ask.need, rate, ask.is_at_pool()) {
            return if is_later { Turn::Later } else { Turn::Soon };
        }
        self.bookings.name(ask.agent, fair, ask.now);
        // One is kept in any case, so that the others share with it.
        if !is_early || self.bookings.of(ask.agent) == 0 {
            let (agent, weight) = (Arc::clone(ask.agent), ask.weight);
            self.bookings.keep(Booking { at, need: ask.need, agent, weight });
        }
        Turn::At(at)
    }

    /// A step after the last fair time that was named to an agent, if one was. So what others hold does not cost it a
    /// part of its turns, and its callers are told times apart. The step is what its weight leaves it of the turns,
    /// within its pace; one that leads beyond the window's end is as long as in the next. An agent that is alone is
    /// sent no more steps beyond `from`, its first possible turn, than callers of its come back before.
    fn next_fair(&self, ask: &Ask<'_>, from: i64) -> Option<i64> {
        let Named { at: last, callers, .. } = self.bookings.named(ask.agent, ask.now)?;
        let weights = self.weights(ask);
        let reach = |step: i64| match weights == ask.weight {
            true => from.saturating_add(step.saturating_mul(callers)),
            false => i64::MAX,
        };
        let after = |rate: Micro| {
            let turn = bookings::turn_ms(ask.need, rate);
            let step = (turn * weights / ask.weight).min(ask.most_ms).max(ask.least_ms);
            (last + step).min(reach(step))
        };
        let Window { ends_at, pace, next_rate } = ask.window;
        // Turns that lie in the bucket are to be shared, too.
        let rate = self.rate.max(pace.min(next_rate));
        Some(after(rate).min(after(next_rate).max(ends_at)))
    }

    /// The weights of those who want turns, and of who asks. At a gate that not every call asks, those are who waits here
    /// or has a time.
    fn weights(&self, ask: &Ask<'_>) -> i64 {
        if let Some(wanting) = ask.wanting {
            return wanting;
        }
        let waiting = self.order.iter().take(LOOKED_AT).filter_map(|(_, head)| self.waiting.get(head));
        let waiting = waiting.map(|waiting| (&waiting.agent, waiting.weight));
        let booked = self.bookings.iter().map(|booking| (&booking.agent, booking.weight));
        let mut seen = FxHashSet::from_iter([ask.agent]);
        let mut weights = ask.weight;
        for (agent, weight) in booked.chain(waiting) {
            if seen.insert(agent) {
                weights += weight;
            }
        }
        weights
    }

    /// Uses up the agent's time that has come, or its next turn. At a pool, a call that waited took its turn by the order.
    pub(super) fn take_turn(&mut self, ask: &Ask<'_>, has_waited: bool) {
        if self.bookings.is_empty() {
            return;
        }
        let mut taken = None;
        let turns_are_left = self.tok >= 2 * ask.need;
        if let Some(place) = self.due(ask) {
            self.bookings.take(place);
        } else if (!turns_are_left || ask.window.ends_at < i64::MAX)
            && bookings::keeps(ask.need, self.rate, ask.is_at_pool() && !has_waited && !turns_are_left)
        {
            // A turn between the times of others is one of the agent's, too, unless it was left over: if it counted,
            // callers would be told to come later and later, and leave over ever more. What a window has left is
            // shared.
            let fair = self.next_fair(ask, ask.now).unwrap_or(ask.now).max(ask.now);
            taken = Some(fair.min(ask.now + NAMED_AHEAD_MS));
        }
        self.bookings.serve(ask.agent, taken, turns_are_left, ask.now);
    }
}
