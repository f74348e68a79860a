//! What a call weighs: its price, its fair units, the gates it asks, and its agent's clocks.

use super::super::super::command::{Admit, Caps, Share};
use super::super::Ledger;
use super::super::lease::Asked;
use super::super::pool::Pool;
use super::super::units::{KAPPA, Micro, U, div_ceil};
use super::route_cap;

/// What a call weighs at the gates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    pub(super) price: i64,
    pub(super) units: Micro,
    pub(super) asked: Asked,
    /// Gates that are half full: a head held at a later gate keeps its place at these.
    pub(super) half_full: Asked,
    /// Micro-points a second; 0 for none.
    pub(super) guarantee: Micro,
    pub(super) ceiling: Micro,
    pub(super) is_due: bool,
    /// Nobody knows yet what calls of this agent cost.
    pub(super) is_unpriced: bool,
    /// When it was weighed, in epoch milliseconds.
    pub(super) now: i64,
}

impl Weighed {
    /// Milliseconds that the agent's ceiling leaves between two of its turns.
    pub(super) fn ceiling_apart_ms(&self) -> i64 {
        if self.ceiling > 0 { self.units * 1000 / self.ceiling } else { 0 }
    }

    /// Milliseconds between two turns that the agent's guarantee pays for; `i64::MAX` without one.
    pub(super) fn guaranteed_apart_ms(&self) -> i64 {
        if self.guarantee > 0 { self.units * 1000 / self.guarantee } else { i64::MAX }
    }
}

impl Ledger {
    /// Price and fair units, and which gates are asked.
    pub(super) fn weigh(&self, admit: &Admit, caps: &Caps, now: i64) -> Weighed {
        let pool = self.pool_of(admit);
        let average = pool.member(&admit.share.agent).average;
        let price = admit.price.unwrap_or_else(|| div_ceil(average, 1000).max(1));
        let price = price.clamp(0, pool.price_max(caps.headroom));
        let scale = self.scale(now);
        // Of what this ledger may give: a replica alone has a small part of every cap.
        let is_half = |count: i64, cap: i64| 2 * count * U >= scale.of(cap * U);
        let all = self.all.sum(now);
        let learned = self.cooldown.learned(caps);
        let slots = self.slots(caps, now);
        let is_crowded = self.leases.count() * 2 >= slots || is_half(all, learned);
        let route = &self.routes[&admit.place.route];
        let half_full = Asked {
            content: admit.creates_content,
            route: is_half(route.ring.sum(now), route_cap(admit, caps)),
            installation: is_crowded || learned < caps.all,
            pool: pool.is_known,
        };
        // Nobody passes a head that is held, even if the gate is less than half full again.
        let asked = Asked {
            route: half_full.route || route.gate.holds_somebody(),
            installation: half_full.installation || self.installation.holds_somebody(),
            ..half_full
        };
        let units = (price * U).max(KAPPA * admit.points);
        let is_unpriced = admit.price.is_none() && average == 0;
        Weighed { price, units, asked, half_full, guarantee: 0, ceiling: 0, is_due: false, is_unpriced, now }
    }

    /// Sets the rates of guarantee and ceiling.
    pub(super) fn set_rates(&self, admit: &Admit, weighed: &mut Weighed) {
        (weighed.guarantee, weighed.ceiling) = self.rates_of(&admit.share, self.pool_of(admit));
    }

    /// The rates of an agent's guarantee and ceiling in a pool, in micro-points a second; 0 for none.
    pub(super) fn rates_of(&self, share: &Share, pool: &Pool) -> (Micro, Micro) {
        let ceiling = share.ceiling.map_or(0, |ceiling| self.rate_of(ceiling, pool).max(1));
        if share.guarantee == 0 {
            return (0, ceiling);
        }
        let (own, sum) = (self.rate_of(share.guarantee, pool), self.rate_of(share.guarantees, pool));
        let rate = pool.gate.rate;
        // A scarce pool scales all guarantees alike: together they get four fifths of its rate.
        let scaled = if 5 * sum <= 4 * rate { own } else { own.min(scaled_guarantee(own, sum, rate)) };
        (scaled.max(1), ceiling)
    }

    /// Sets whether the guarantee is behind.
    pub(super) fn set_clocks(&mut self, admit: &Admit, weighed: &mut Weighed, now: i64) {
        if weighed.guarantee == 0 {
            return;
        }
        let catch_up = 2 * U * 1000 / weighed.guarantee;
        let guaranteed_to = &mut self.member(admit).guaranteed_to;
        *guaranteed_to = (*guaranteed_to).max(now - catch_up);
        weighed.is_due = *guaranteed_to <= now;
    }
}

/// `own * 4 rate / (5 sum)`, computed within 53 bits.
fn scaled_guarantee(own: Micro, sum: Micro, rate: Micro) -> Micro {
    // own / sum first, in hundred-thousandths.
    let part = own * 100_000 / sum.max(1);
    part * (4 * rate / 5 / 1000) / 100
}
