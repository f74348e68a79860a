//! A call that can't go now: how long it waits, or when its agent is told to come back.

use super::super::super::command::{Admit, Book, Caps, GateKind, Outcome, Reason, Share, View};
use super::super::Ledger;
use super::super::gate::{Ask, Refused, Turn};
use super::super::pool::Pool;
use super::super::units::{Micro, U, div_ceil};
use super::Held;
use super::weigh::Weighed;

impl Ledger {
    /// Lets a call wait with its places, or refuses it with a booking.
    pub(super) fn hold(&mut self, admit: &Admit, mut held: Held, weighed: &Weighed, now: i64) -> Outcome {
        if held.reason == Reason::Closed {
            self.leave_all(admit);
            return Outcome::Refused { retry_after: div_ceil(held.wait_ms, 1000), reason: held.reason };
        }
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        match held.reason {
            Reason::Turn(GateKind::Pool) | Reason::Exhausted => pool.set_wants(&admit.share.agent, true),
            Reason::Ceiling => pool.set_wants(&admit.share.agent, false),
            // What else holds it says nothing of the pool.
            _ => {}
        }
        let step_ms = self.step(admit, held.gate, weighed);
        if held.gate == Some(GateKind::Pool) {
            held.wait_ms = held.wait_ms.min(self.pool_of(admit).to_next_window_ms(now));
        }
        // Whoever has a turn within its patience waits for it, whatever lies before it now.
        let own_ms = match held.gate {
            Some(GateKind::Pool) => {
                self.pool_of(admit).turns_apart_ms(&admit.share.agent, admit.share.weight, weighed.price * U)
            }
            _ => i64::MAX,
        };
        if held.wait_ms.min(own_ms) > admit.patience_ms {
            self.leave_all(admit);
            let retry_after = self.book(admit, &held, step_ms, weighed);
            return Outcome::Refused { retry_after, reason: held.reason };
        }
        let mut hint = held.wait_ms + held.wait_ms * admit.random / 20_000 + 1;
        if held.gate.is_some() && held.wait_ms > 3_000 {
            hint = (held.wait_ms * 4 / 5).max(3_000);
        }
        // A call asks for the last time when its caller's patience ends.
        let hint = hint.min(admit.patience_ms).clamp(4, 60_000);
        if let Some(last) = held.gate {
            let until = GateKind::ORDER.iter().position(|kind| *kind == last).unwrap_or_default();
            for kind in GateKind::ORDER.into_iter().take(until + 1) {
                let ask = self.ask(kind, admit, weighed);
                let is_held = kind == last;
                match is_held || weighed.half_full.has(kind) {
                    true => self.gate(kind, admit).join(&ask, is_held, now, hint + 1_000),
                    false => self.gate(kind, admit).leave(&admit.place.head),
                }
            }
        }
        Outcome::Wait { hint_ms: hint, step_ms, reason: held.reason, has_place: held.gate.is_some() }
    }

    /// Books a time for a caller that does not wait as long. Returns whole seconds from now, at least 1.
    fn book(&mut self, admit: &Admit, held: &Held, step_ms: i64, weighed: &Weighed) -> i64 {
        let now = weighed.now;
        let to_next_window_ms = self.pool_of(admit).to_next_window_ms(now);
        // Of a window that is spent, the next turn is the next one's. Whoever may have none holds none up.
        let is_over = held.reason == Reason::Exhausted
            && held.wait_ms >= to_next_window_ms
            && admit.share.ceiling != Some(0);
        // Whom its ceiling holds needs a turn like all others once it does not.
        let is_capped = held.reason == Reason::Ceiling && weighed.asked.pool;
        let turn = match held.gate {
            Some(kind) => self.book_at(kind, admit, now, weighed),
            None if is_over || is_capped => self.book_at(GateKind::Pool, admit, now + held.wait_ms, weighed),
            None => Turn::Soon,
        };
        let fresh_ms = held.reason.ends_with_window().then(|| self.fresh_step(admit, weighed));
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        match turn {
            Turn::At(at) => {
                pool.expect(&admit.share, at, now);
                div_ceil(at - now, 1000).max(1)
            }
            Turn::Soon => book(pool, &admit.share, held.wait_ms, step_ms, fresh_ms, now),
            Turn::Later => book(pool, &admit.share, held.wait_ms.max(to_next_window_ms), 0, fresh_ms, now),
        }
    }

    fn book_at(&mut self, kind: GateKind, admit: &Admit, opens_at: i64, weighed: &Weighed) -> Turn {
        let is_pool = kind == GateKind::Pool;
        let refused = Refused {
            opens_at,
            sure_at: match is_pool && weighed.guarantee > 0 {
                true => self.member(admit).guaranteed_to + 1,
                false => i64::MAX,
            },
        };
        let ask = self.ask(kind, admit, weighed);
        self.gate(kind, admit).book(&ask, refused)
    }

    /// Finds a time at the pool for a caller that its replica's queue refuses, one turn after another of its agent's.
    fn book_queued(&mut self, booking: &Book, reason: Reason, now: i64) -> Option<i64> {
        let Book { share, resource, .. } = booking;
        let pool = self.pools.get(resource).filter(|pool| pool.is_known)?;
        // What the ceiling leaves between two of its turns follows from what its own calls cost.
        let (opens_at, step_ms) = match reason {
            Reason::Turn(GateKind::Pool) => (now, 0),
            Reason::Ceiling => (now + booking.wait_ms, booking.step_ms),
            _ => return None,
        };
        let (guarantee, ceiling) = self.rates_of(share, pool);
        let need = pool.gate.avg;
        let apart_ms = |rate: Micro| need * 1000 / rate;
        let ask = Ask {
            agent: &share.agent,
            head: &share.agent,
            weight: share.weight,
            charge: need / share.weight,
            need,
            is_interactive: false,
            is_due: false,
            express: 0,
            least_ms: if ceiling > 0 { apart_ms(ceiling).max(step_ms) } else { 0 },
            most_ms: if guarantee > 0 { apart_ms(guarantee) } else { i64::MAX },
            window: pool.as_window(now),
            wanting: Some(pool.wanting(&share.agent, share.weight)),
            now,
        };
        let sure_at = if guarantee > 0 { pool.member(&share.agent).guaranteed_to + 1 } else { i64::MAX };
        let pool = self.pools.get_mut(resource)?;
        match pool.gate.book(&ask, Refused { opens_at, sure_at }) {
            Turn::At(at) => {
                pool.expect(share, at, now);
                Some(at)
            }
            Turn::Soon | Turn::Later => None,
        }
    }

    /// Milliseconds between two turns of the agent: by its weight or its guarantee, at least what its ceiling leaves.
    fn step(&mut self, admit: &Admit, gate: Option<GateKind>, weighed: &Weighed) -> i64 {
        let apart = weighed.ceiling_apart_ms();
        if gate.is_none() && !self.pool_of(admit).is_known {
            // Nobody can tell before the first call is answered.
            return apart;
        }
        let kind = gate.unwrap_or(GateKind::Pool);
        let need = self.ask(kind, admit, weighed).need;
        let turn = (need * 1000 / self.gate(kind, admit).rate).min(60_000);
        let by_weight = turn * self.pool_of(admit).weights() / admit.share.weight;
        by_weight.min(weighed.guaranteed_apart_ms()).max(apart)
    }

    /// Milliseconds between two turns of the agent in a window of which nothing is spent.
    fn fresh_step(&self, admit: &Admit, weighed: &Weighed) -> i64 {
        let by_weight = self.pool_of(admit).fresh_step_ms(&admit.share);
        by_weight.min(weighed.guaranteed_apart_ms()).max(weighed.ceiling_apart_ms())
    }

    /// Books a time for a caller that the replica's own queue refuses. What the head of that queue was told may
    /// have been before GitHub asked for silence.
    pub(in crate::budget::ledger) fn book_only(
        &mut self,
        booking: &Book,
        caps: &Caps,
        now: i64,
    ) -> (Outcome, Option<View>) {
        self.refill(&booking.resource, caps.headroom, now);
        let silence_ms = self.cooldown.until - now;
        let (wait_ms, reason) = match silence_ms > 0 {
            true => (booking.wait_ms.max(silence_ms), Reason::Cooldown),
            false => (booking.wait_ms, booking.reason),
        };
        let pool = self.pool(&booking.resource, now);
        pool.see(&booking.share, now);
        if matches!(reason, Reason::Turn(GateKind::Pool) | Reason::Exhausted) {
            pool.set_wants(&booking.share.agent, true);
        }
        if let Some(at) = self.book_queued(booking, reason, now) {
            let outcome = Outcome::Refused { retry_after: div_ceil(at - now, 1000).max(1), reason };
            return (outcome, Some(self.view(&booking.resource, &booking.share, now)));
        }
        let pool = self.pool(&booking.resource, now);
        let fresh_ms = reason.ends_with_window().then(|| pool.fresh_step_ms(&booking.share));
        let retry_after = book(pool, &booking.share, wait_ms, booking.step_ms, fresh_ms, now);
        let outcome = Outcome::Refused { retry_after, reason };
        (outcome, Some(self.view(&booking.resource, &booking.share, now)))
    }
}

/// Books the agent's next time, one step after the last one booked, so that callers that obey come
/// back one by one. Returns whole seconds from now, at least 1.
///
/// If what holds the call ends with the pool's window, the times go on from there, `fresh_ms` apart.
fn book(pool: &mut Pool, share: &Share, wait_ms: i64, step_ms: i64, fresh_ms: Option<i64>, now: i64) -> i64 {
    let booked_to = pool.member(&share.agent).booked_to;
    let next = if booked_to > now { booked_to + step_ms } else { 0 };
    let mut at = (now + wait_ms).max(next.min(now + wait_ms + 60_000));
    let end = now + pool.to_next_window_ms(now);
    if let Some(fresh_ms) = fresh_ms.filter(|_| pool.is_known && at >= end) {
        let after = if booked_to >= end { booked_to + fresh_ms } else { end };
        at = after.min(end + (pool.window_ms / 2).min(60_000));
    }
    pool.member_mut(&share.agent).booked_to = at;
    pool.see(share, now);
    div_ceil(at - now, 1000).max(1)
}
