//! Calls in flight: what each holds, and when it expires if nobody renews it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::command::LeaseId;
use super::units::{LEASE_MS, Micro};

/// One call in flight.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) resource: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) agent: Arc<str>,
    pub(super) weight: i64,
    /// Primary points reserved.
    pub(super) price: i64,
    pub(super) points: i64,
    pub(super) creates_content: bool,
    /// Fair units charged.
    pub(super) units: Micro,
    /// The number of the pool's window it was admitted in.
    pub(super) window: i64,
    pub(super) at: i64,
    /// Gates at which its agent's tag was moved.
    pub(super) asked: Asked,
    /// Its agent's guarantee, as scaled at the time, and ceiling, in micro-points a second.
    pub(super) guarantee: Micro,
    pub(super) ceiling: Micro,
    /// Nobody knew what such calls of its agent cost.
    pub(super) is_unpriced: bool,
    /// Its answer has come; the slot is held until the body ends.
    pub(super) is_settled: bool,
    pub(super) expires: i64,
}

/// See [`Lease::asked`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) content: bool,
    pub(super) route: bool,
    pub(super) installation: bool,
    pub(super) pool: bool,
}

impl Lease {
    /// The pool's points it still holds.
    pub(super) fn reserved(&self) -> i64 {
        if self.is_settled { 0 } else { self.price }
    }
}

/// All calls in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    by_id: FxHashMap<LeaseId, Lease>,
    by_expiry: BTreeSet<(i64, LeaseId)>,
    by_agent: FxHashMap<Arc<str>, i64>,
}

impl Leases {
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.by_id.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    pub(super) fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.by_expiry.insert((lease.expires, id));
        *self.by_agent.entry(Arc::clone(&lease.agent)).or_default() += 1;
        self.by_id.insert(id, lease);
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.by_expiry.remove(&(lease.expires, id));
        self.uncount(&lease.agent);
        Some(lease)
    }

    fn uncount(&mut self, agent: &str) {
        if let Some(count) = self.by_agent.get_mut(agent) {
            *count -= 1;
            if *count == 0 {
                self.by_agent.remove(agent);
            }
        }
    }

    /// How many calls of one agent are in flight.
    pub(super) fn of_agent(&self, agent: &str) -> i64 {
        self.by_agent.get(agent).copied().unwrap_or_default()
    }

    /// Keeps the slot of a call whose answer has come.
    pub(super) fn keep_slot(&mut self, id: LeaseId) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            lease.is_settled = true;
        }
    }

    pub(super) fn renew(&mut self, id: LeaseId, now: i64) {
        if let Some(lease) = self.by_id.get_mut(&id) {
            self.by_expiry.remove(&(lease.expires, id));
            lease.expires = now + LEASE_MS;
            self.by_expiry.insert((lease.expires, id));
        }
    }

    pub(super) fn pop_expired(&mut self, now: i64) -> Option<Lease> {
        let (expires, id) = *self.by_expiry.first()?;
        if expires > now {
            return None;
        }
        self.remove(id)
    }

    pub(super) fn of_replica(&self, replica: u64) -> usize {
        self.by_id.keys().filter(|id| id.replica == replica).count()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_id.values()
    }
}
