//! The outcome of a call: its true cost, what GitHub's headers say, and refusals.

use std::sync::Arc;

use super::super::command::{Cancel, Caps, Figures, Outcome, Settle, UpstreamRefusal, View};
use super::Ledger;
use super::cooldown::Hit;
use super::lease::Lease;
use super::pool::Observed;
use super::units::{KAPPA, LIMIT_MAX, Micro, U};

/// The silence if GitHub names none: a minute (GitHub Docs, "Rate limits for the REST API").
const UNTOLD_PAUSE_MS: i64 = 60_000;
/// The longest silence GitHub can ask for.
const PAUSE_MAX_MS: i64 = 3_600_000;
/// A reset further away than this, either way, counts as this far.
const RESET_MAX_MS: i64 = 86_400_000;

impl Ledger {
    pub(super) fn settle(&mut self, settle: &Settle, caps: &Caps, now: i64) -> (Outcome, Option<View>) {
        let lease = self.take(settle);
        let pool = self.pool(&settle.resource, now);
        let (counted_before, in_flight) = (pool.used.max(pool.own), pool.in_flight);
        let observed = self.observe(settle, now);
        let is_elsewhere = settle.figures.as_ref().is_some_and(|it| it.resource != settle.resource);
        let mut cost = 0;
        if let Some(lease) = &lease {
            cost = match settle.cost {
                _ if is_elsewhere => 0,
                Some(cost) => cost.clamp(0, LIMIT_MAX),
                None => inferred_cost(settle, lease, counted_before, in_flight),
            };
            self.correct(settle, lease, cost, now);
            self.cooldown.load(&lease.agent, settle.elapsed_ms, lease.points, now);
        }
        let pool = self.pool(&settle.resource, now);
        pool.forecast(now);
        match settle.refused {
            Some(refused) => self.refused(settle, refused, observed, lease.as_ref(), caps, now),
            None => {
                let sent_at = lease.as_ref().map_or(i64::MIN, |lease| lease.at);
                self.cooldown.answered(sent_at, caps, now);
            }
        }
        self.refill(&settle.resource, caps.headroom, now);
        (Outcome::Settled { cost }, Some(self.view(&settle.resource, &settle.share, now)))
    }

    /// Takes back the lease's points; its slot stays until the body has ended.
    fn take(&mut self, settle: &Settle) -> Option<Lease> {
        let lease = self.leases.get(settle.lease).filter(|lease| !lease.is_settled).cloned()?;
        if let Some(pool) = self.pools.get_mut(&lease.resource) {
            pool.take_back(&lease);
        }
        match settle.has_ended {
            true => {
                self.leases.remove(settle.lease);
            }
            false => self.leases.keep_slot(settle.lease),
        }
        Some(lease)
    }

    /// Takes the figures to the pool they are about.
    fn observe(&mut self, settle: &Settle, now: i64) -> Option<Observed> {
        let Some(Figures { resource, limit, used, reset_in_ms }) = &settle.figures else {
            if settle.refused.is_none() {
                self.pool(&settle.resource, now).observe_bare(settle.is_success, now);
            }
            return None;
        };
        let reset_in_ms = (*reset_in_ms).clamp(-RESET_MAX_MS, RESET_MAX_MS);
        let (limit, used) = ((*limit).clamp(1, LIMIT_MAX), (*used).clamp(0, LIMIT_MAX));
        Some(self.pool(resource, now).observe(limit, used, reset_in_ms, now))
    }

    /// Charges the call's cost in place of what was reserved.
    fn correct(&mut self, settle: &Settle, lease: &Lease, cost: i64, now: i64) {
        let is_refused = settle.refused.is_some();
        let pool = self.pool(&lease.resource, now);
        if lease.window == pool.window {
            pool.spend(&lease.agent, cost);
            pool.correct_bucket(lease.price, cost);
        }
        if &*lease.resource == "graphql" && !is_refused && cost > 0 {
            let member = pool.member_mut(&lease.agent);
            let before = if member.average == 0 { cost * 1000 } else { member.average };
            member.average = before + (cost * 1000 - before).div_euclid(10);
            pool.remember_dear(cost - lease.price, now);
            pool.gate.avg += (cost.min(10) * U - pool.gate.avg).div_euclid(50);
        }
        let units = if is_refused { 0 } else { (cost * U).max(KAPPA * lease.points) };
        self.correct_units(lease, units - lease.units, now);
    }

    fn correct_units(&mut self, lease: &Lease, by: Micro, now: i64) {
        let tag = by.div_euclid(lease.weight);
        if lease.asked.route
            && let Some(route) = self.routes.get_mut(&lease.route)
        {
            route.gate.correct(&lease.agent, tag);
        }
        if lease.asked.installation {
            self.installation.correct(&lease.agent, tag);
        }
        let pool = self.pool(&lease.resource, now);
        if lease.asked.pool {
            pool.gate.correct(&lease.agent, tag);
            if by < 0 {
                // The agent's next time may have been put off by what the call might have cost.
                let ms = pool.turns_apart_ms(&lease.agent, lease.weight, -by);
                pool.gate.pay_back(&lease.agent, ms, now);
            }
        }
        let member = pool.member_mut(&lease.agent);
        if lease.guarantee > 0 {
            member.guaranteed_to += (by * 1000).div_euclid(lease.guarantee);
        }
        if lease.ceiling > 0 {
            member.ceiling_to += (by * 1000).div_euclid(lease.ceiling);
        }
    }

    fn refused(
        &mut self,
        settle: &Settle,
        refused: UpstreamRefusal,
        observed: Option<Observed>,
        lease: Option<&Lease>,
        caps: &Caps,
        now: i64,
    ) {
        let resource = settle.figures.as_ref().map_or(&settle.resource, |figures| &figures.resource);
        if refused.is_primary && refused.retry_after_ms.is_none() {
            match observed {
                Some(Observed::Late) => return,
                Some(Observed::Current | Observed::Odd) => {
                    let pool = self.pool(&Arc::clone(resource), now);
                    pool.used = pool.used.max(pool.limit);
                    return;
                }
                // Without figures nobody knows how long.
                None => {}
            }
        }
        let retry_after_ms = refused.retry_after_ms.unwrap_or(UNTOLD_PAUSE_MS).clamp(1_000, PAUSE_MAX_MS);
        let route = self.routes.get(&settle.route);
        let cap = if &*settle.resource == "graphql" { caps.graphql } else { caps.route };
        let hit = Hit {
            retry_after_ms,
            all: self.all.sum(now),
            is_route_free: route.is_none_or(|route| route.ring.sum(now) * 10 < cap * 9),
            leases: self.leases.count() + i64::from(lease.is_some() && settle.has_ended),
            sent_at: lease.map_or(i64::MAX, |lease| lease.at),
        };
        self.cooldown.hit(hit, caps, now);
    }

    /// Undoes a call that certainly was not sent.
    pub(super) fn cancel(&mut self, cancel: &Cancel, now: i64) {
        let Some(lease) = self.leases.get(cancel.lease).filter(|lease| !lease.is_settled).cloned() else {
            return;
        };
        self.leases.remove(cancel.lease);
        let at = lease.at;
        if let Some(route) = self.routes.get_mut(&lease.route) {
            route.ring.take_back(at, lease.points);
            route.gate.give_back(lease.points * U, 40 * U);
        }
        self.installation.give_back(lease.points * U, 40 * U);
        self.all.take_back(at, lease.points);
        if lease.creates_content {
            self.content_minute.take_back(at, 1);
            self.content_hour.take_back(at, 1);
            self.content.correct(&lease.agent, -(U / lease.weight));
            self.content.give_back(U, 120 * U);
        }
        self.cooldown.give_trial_back();
        if let Some(pool) = self.pools.get_mut(&lease.resource) {
            pool.take_back(&lease);
            pool.correct_bucket(lease.price, 0);
            if let Some(trial) = &mut pool.trial {
                trial.give_back();
            }
            self.correct_units(&lease, -lease.units, now);
        }
    }
}

/// The cost of a call whose answer does not state it: the rise of GitHub's count, less what other
/// calls in flight may have added. If the call was alone in flight, this is exact.
fn inferred_cost(settle: &Settle, lease: &Lease, counted_before: i64, in_flight: i64) -> i64 {
    if settle.refused.is_some() {
        return 0;
    }
    match &settle.figures {
        Some(figures) if &*lease.resource == "graphql" => {
            let risen = figures.used.clamp(0, LIMIT_MAX) - counted_before;
            match in_flight {
                0 if lease.price == 0 || risen > 0 => risen.max(1),
                0 => lease.price,
                _ => (risen - in_flight / 2).clamp(1, (4 * lease.price).max(10)),
            }
        }
        _ => lease.price,
    }
}
