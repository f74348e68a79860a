//! Whether a call may go now: stops first, then clocks, then gates.

mod gates;
mod hold;
mod weigh;

use std::sync::Arc;

use super::super::command::{Admit, Caps, GateKind, Outcome, Reason, View};
use super::Ledger;
use super::gate::Ask;
use super::lease::Lease;
use super::pool::Pool;
use super::ring::Ring;
use super::units::{DEBT, LEASE_MS, MINUTE_AND_MARGIN_S, Micro, U};
use weigh::Weighed;

/// How far an agent that stayed under its ceiling may catch up.
pub(super) const CEILING_SLACK_MS: i64 = 15_000;
/// Writes of one agent to one repository: one a second, with this much slack.
const SPACING_MS: i64 = 1_000;
const SPACING_SLACK_MS: i64 = 10_000;
/// The furthest that a guarantee is paid ahead.
const GUARANTEE_AHEAD_MS: i64 = 600_000;
/// How many points a route's bucket holds.
const ROUTE_DEPTH: Micro = 40 * U;

/// Why a call can't go, and for how long.
#[derive(Debug, Clone, Copy)]
struct Held {
    wait_ms: i64,
    reason: Reason,
    /// The gate where it waits, if it is a gate.
    gate: Option<GateKind>,
}

impl Held {
    fn stopped(wait_ms: i64, reason: Reason) -> Held {
        Held { wait_ms: wait_ms.max(1), reason, gate: None }
    }
}

impl Ledger {
    pub(super) fn admit(&mut self, admit: &Admit, caps: &Caps, now: i64) -> (Outcome, Option<View>) {
        self.prepare(admit, caps, now);
        if let Some(lease) = self.leases.get(admit.lease) {
            // The reply to an earlier attempt of this step was lost.
            let price = lease.price;
            return (Outcome::Granted { price, would: None }, Some(self.look_at(admit, now)));
        }
        if let Some(left) = admit.left_route.as_ref().and_then(|left| self.routes.get_mut(left)) {
            left.gate.leave(&admit.place.head);
        }
        let outcome = match self.decide(admit, caps, now) {
            Ok(weighed) => self.grant(admit, &weighed, None, now),
            Err((held, weighed)) if admit.is_observing => {
                self.leave_all(admit);
                self.grant(admit, &weighed, Some(held.reason), now)
            }
            Err((held, weighed)) => self.hold(admit, held, &weighed, now),
        };
        (outcome, Some(self.look_at(admit, now)))
    }

    fn look_at(&self, admit: &Admit, now: i64) -> View {
        self.view(&admit.place.resource, &admit.share, now)
    }

    /// Fills every bucket that the call may need.
    fn prepare(&mut self, admit: &Admit, caps: &Caps, now: i64) {
        self.refill(&admit.place.resource, caps.headroom, now);
        let scale = self.scale(now);
        let learned = self.cooldown.learned(caps);
        if now < self.cooldown.until {
            self.installation.pause(now);
        }
        let depth = (learned / 10).clamp(8, 40) * U;
        self.installation.fill(now, scale.of(learned * U) / MINUTE_AND_MARGIN_S, depth);
        let cap = route_cap(admit, caps);
        let rate = scale.of(cap * U) / MINUTE_AND_MARGIN_S;
        self.route(&admit.place.route, now).gate.fill(now, rate, ROUTE_DEPTH);
        if admit.creates_content {
            // 360 an hour, 120 deep, at the default cap of 470.
            let rate = 360 * U / 3600 * caps.content_hour / 470;
            self.content.fill(now, scale.of(rate), 120 * U * caps.content_hour / 470);
        }
        if admit.share.ceiling != Some(0) {
            self.pool(&admit.place.resource, now).see(&admit.share, now);
        }
    }

    fn decide(&mut self, admit: &Admit, caps: &Caps, now: i64) -> Result<Weighed, (Held, Weighed)> {
        let mut weighed = self.weigh(admit, caps, now);
        self.set_rates(admit, &mut weighed);
        if let Some(held) = self.stopped(admit, &weighed, caps, now) {
            self.leave_all(admit);
            return Err((held, weighed));
        }
        self.set_clocks(admit, &mut weighed, now);
        if weighed.ceiling > 0 {
            let ceiling_to = &mut self.member(admit).ceiling_to;
            *ceiling_to = (*ceiling_to).max(now - CEILING_SLACK_MS);
            let wait = *ceiling_to - now;
            if wait > 0 {
                self.leave_all(admit);
                return Err((Held::stopped(wait, Reason::Ceiling), weighed));
            }
        }
        self.ask_gates(admit, &mut weighed, caps, now).map(|()| weighed).map_err(|held| (held, weighed))
    }

    fn member(&mut self, admit: &Admit) -> &mut super::pool::Member {
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        pool.member_mut(&admit.share.agent)
    }

    fn pool_of(&self, admit: &Admit) -> &Pool {
        self.pools.get(&admit.place.resource).expect("the pool was prepared")
    }

    /// The first stop that applies.
    fn stopped(&mut self, admit: &Admit, weighed: &Weighed, caps: &Caps, now: i64) -> Option<Held> {
        let opens_at = self.epoch + self.pause_at_birth_ms;
        if now < opens_at && opens_at > self.cooldown.until {
            return Some(Held::stopped(opens_at - now, Reason::Start));
        }
        if now < self.cooldown.until {
            let wait = self.cooldown.until - now + admit.random / 2;
            return Some(Held::stopped(wait, Reason::Cooldown));
        }
        if let Some(until) = self.cooldown.boxed(&admit.share.agent, now) {
            return Some(Held::stopped(until - now, Reason::Box));
        }
        if self.cooldown.is_on_trial(admit.is_write, now) {
            return Some(Held::stopped(500, Reason::Trial));
        }
        if let Some(wait) = self.pool_on_trial(admit, now) {
            return Some(Held::stopped(wait, Reason::Unknown));
        }
        let pool = self.pool_of(admit);
        let unpriced = pool.member(&admit.share.agent).unpriced;
        if weighed.is_unpriced && unpriced > 0 {
            // The first one tells what they cost; a burst of them could exceed the limit.
            return Some(Held::stopped(100, Reason::Unknown));
        }
        if pool.is_known && pool.left < weighed.price {
            let to_reset = pool.to_next_window_ms(now);
            let wait = match (pool.trial, pool.in_flight > 0 && to_reset > 7_000) {
                (Some(_), _) => 500,
                (None, true) => 5_000,
                (None, false) => to_reset,
            };
            return Some(Held::stopped(wait, Reason::Exhausted));
        }
        self.ring_full(admit, caps, now).or_else(|| self.spaced(admit, now)).or_else(|| {
            let wait = self.pool_of(admit).to_next_window_ms(now).max(60_000);
            (admit.share.ceiling == Some(0)).then(|| Held::stopped(wait, Reason::Closed))
        })
    }

    fn pool_on_trial(&mut self, admit: &Admit, now: i64) -> Option<i64> {
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        let trial = pool.trial.as_mut()?;
        trial.is_spent(now).then(|| trial.wait_ms(now))
    }

    fn ring_full(&self, admit: &Admit, caps: &Caps, now: i64) -> Option<Held> {
        let full = |ring: &Ring, count: i64, cap: i64| {
            (ring.sum(now) + count > cap).then(|| ring.wait_for(now, (cap - count).max(0)))
        };
        let route = &self.routes[&admit.place.route].ring;
        let learned = self.cooldown.learned(caps);
        let wait = full(route, admit.points, route_cap(admit, caps))
            .or_else(|| full(&self.all, admit.points, learned));
        if let Some(wait) = wait {
            return Some(Held::stopped(wait.min(5_000), Reason::Ring));
        }
        if !admit.creates_content {
            return None;
        }
        let wait = full(&self.content_minute, 1, caps.content_minute)
            .or_else(|| full(&self.content_hour, 1, caps.content_hour))?;
        Some(Held::stopped(wait, Reason::Content))
    }

    fn spaced(&self, admit: &Admit, now: i64) -> Option<Held> {
        if !admit.is_write {
            return None;
        }
        let next = self.spacing.get(&*spacing_key(admit)?)?;
        let wait = next - now - SPACING_SLACK_MS;
        (wait > 0).then(|| Held::stopped(wait, Reason::Spacing))
    }

    fn grant(&mut self, admit: &Admit, weighed: &Weighed, would: Option<Reason>, now: i64) -> Outcome {
        for kind in GateKind::ORDER {
            let ask = self.ask(kind, admit, weighed);
            let debt = match kind {
                GateKind::Pool => self.pool_of(admit).debt(),
                _ => DEBT,
            };
            match kind {
                GateKind::Pool if weighed.asked.pool => self.serve_at_pool(admit, &ask, debt),
                _ if weighed.asked.has(kind) => drop(self.gate(kind, admit).serve(&ask, debt)),
                GateKind::Content => {}
                GateKind::Pool if !self.pool_of(admit).is_known => {}
                _ => {
                    self.gate(kind, admit).leave(&admit.place.head);
                    self.gate(kind, admit).take(ask.need, debt);
                }
            }
        }
        self.charge_clocks(admit, weighed, now);
        self.count_sent(admit, now);
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        if let Some(trial) = &mut pool.trial {
            trial.take(now);
        }
        self.cooldown.take_trial(now);
        pool.in_flight += weighed.price;
        pool.left -= weighed.price;
        pool.member_mut(&admit.share.agent).unpriced += i64::from(weighed.is_unpriced);
        let lease = Lease {
            resource: Arc::clone(&admit.place.resource),
            route: Arc::clone(&admit.place.route),
            agent: Arc::clone(&admit.share.agent),
            weight: admit.share.weight,
            price: weighed.price,
            points: admit.points,
            creates_content: admit.creates_content,
            units: weighed.units,
            window: pool.window,
            at: now,
            asked: weighed.asked,
            guarantee: weighed.guarantee,
            ceiling: weighed.ceiling,
            is_unpriced: weighed.is_unpriced,
            is_settled: false,
            expires: now + LEASE_MS,
        };
        self.leases.insert(admit.lease, lease);
        Outcome::Granted { price: weighed.price, would }
    }

    /// Whoever is let through at once, and has nobody who was told a time, wants no more than it gets.
    fn serve_at_pool(&mut self, admit: &Admit, ask: &Ask<'_>, debt: Micro) {
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        let has_waited = pool.gate.serve(ask, debt);
        if !has_waited && !pool.gate.keeps_for(ask.agent) {
            pool.set_wants(ask.agent, false);
        }
    }

    fn charge_clocks(&mut self, admit: &Admit, weighed: &Weighed, now: i64) {
        let weight = admit.share.weight;
        let pool = self.pools.get_mut(&admit.place.resource).expect("the pool was prepared");
        if weighed.guarantee > 0 {
            pool.gate.hold_near(&admit.share.agent, 20 * U / weight);
        }
        let member = pool.member_mut(&admit.share.agent);
        if weighed.guarantee > 0 {
            // Bounded, so that a pool that is scarce now does not count against the guarantee for longer.
            let paid_to = member.guaranteed_to + weighed.units * 1000 / weighed.guarantee;
            member.guaranteed_to = paid_to.min(now + GUARANTEE_AHEAD_MS);
        }
        if weighed.ceiling > 0 {
            member.ceiling_to =
                member.ceiling_to.max(now - CEILING_SLACK_MS) + weighed.units * 1000 / weighed.ceiling;
        }
    }

    fn count_sent(&mut self, admit: &Admit, now: i64) {
        let route = self.routes.get_mut(&admit.place.route).expect("the route was prepared");
        route.ring.add(now, admit.points);
        self.all.add(now, admit.points);
        if admit.creates_content {
            self.content_minute.add(now, 1);
            self.content_hour.add(now, 1);
        }
        if admit.is_write
            && let Some(key) = spacing_key(admit)
        {
            let next = self.spacing.entry(key.into()).or_insert(now);
            *next = (*next).max(now) + SPACING_MS;
        }
    }

    /// How many calls may be in flight at once.
    pub(super) fn slots(&self, caps: &Caps, now: i64) -> i64 {
        let slots = caps.concurrent.min(self.cooldown.slots(caps));
        self.isolation.as_ref().map_or(slots, |isolation| isolation.slots(slots, now))
    }
}

fn route_cap(admit: &Admit, caps: &Caps) -> i64 {
    if admit.is_graphql { caps.graphql } else { caps.route }
}

fn spacing_key(admit: &Admit) -> Option<String> {
    admit.repository.as_ref().map(|repository| format!("{}/{repository}", admit.share.agent))
}
