//! Several replicas on one ledger: which are there, which are missing, and what a replica does alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::command::{HandedLease, Handover, Sent, Spent};
use super::Ledger;
use super::lease::{Asked, Lease};
use super::pool::Pool;
use super::ring::Ring;
use super::units::{FIRST_WRITES, KAPPA, LEASE_MS, MINUTE_MS, Micro, U};

/// A replica silent for the first time is missing, and after the second it is forgotten.
const MISSING_MS: i64 = 10_000;
const FORGOTTEN_MS: i64 = 120_000;

/// The last heartbeat of each replica, in epoch milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Replicas {
    beats: BTreeMap<u64, i64>,
}

impl Replicas {
    pub(super) fn beat(&mut self, replica: u64, now: i64) {
        self.beats.insert(replica, now);
        self.beats.retain(|_, at| now - *at <= FORGOTTEN_MS);
    }

    pub(super) fn leave(&mut self, replica: u64) {
        self.beats.remove(&replica);
    }

    /// How many replicas were heard of in the last two minutes.
    pub(super) fn seen(&self, now: i64) -> i64 {
        self.count(|at| now - at <= FORGOTTEN_MS)
    }

    fn missing(&self, now: i64) -> i64 {
        self.count(|at| now - at > MISSING_MS && now - at <= FORGOTTEN_MS)
    }

    fn count(&self, is_so: impl Fn(i64) -> bool) -> i64 {
        i64::try_from(self.beats.values().filter(|at| is_so(**at)).count()).unwrap_or(i64::MAX)
    }
}

/// The part of every rate this ledger may give: less while replicas are missing, since they go on alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    numerator: i64,
    denominator: i64,
    /// How often rates are halved.
    halvings: u32,
}

impl Scale {
    pub(super) fn of(self, rate: Micro) -> Micro {
        let part = rate / self.denominator * self.numerator;
        // Alone for long: down to one call in ten seconds.
        match self.halvings {
            0 => part,
            halvings => (part >> halvings.min(40)).max((U / 10).min(part)),
        }
    }
}

/// A replica without the store: since when, and how many replicas there were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Isolation {
    since: i64,
    replicas: i64,
    /// Calls in flight when it began: its own, and those of all replicas if it had heard of them.
    own: i64,
    all: Option<i64>,
}

/// Few slots, if nobody knows how many are taken.
const SLOTS_UNHEARD: i64 = 3;

impl Isolation {
    /// Its share of the slots. At first, while calls of other replicas may still be in flight: a
    /// share of those that were free, beside its own. Later: a share of half of all.
    pub(super) fn slots(self, slots: i64, now: i64) -> i64 {
        if now >= self.since + 10_000 {
            return (slots / 2 / self.replicas).max(1);
        }
        let free = self.all.map_or(0, |all| (slots - all).max(0) / self.replicas);
        (self.own + free).max(SLOTS_UNHEARD).min(slots)
    }
}

impl Ledger {
    /// The ledger of a replica that lost the store. It has what the replica knew of the pools, its
    /// own calls in flight, and its share of half of every rate.
    pub fn alone(knowledge: &Handover, replicas: i64, since: i64) -> Ledger {
        let mut ledger = Ledger::new(0);
        ledger.epoch = since;
        ledger.isolation = Some(Isolation {
            since,
            replicas: replicas.max(1),
            own: i64::try_from(knowledge.leases.len()).unwrap_or(i64::MAX),
            all: knowledge.pools.iter().map(|pool| pool.leases).max(),
        });
        ledger.installation = super::Gate::new(0, since);
        ledger.content = super::Gate::new(0, since);
        for snapshot in &knowledge.pools {
            let pool = Pool::from_snapshot(snapshot, since);
            ledger.pools.insert(Arc::clone(&snapshot.resource), pool);
        }
        ledger.cooldown.adopt(knowledge.cool, since);
        for lease in &knowledge.leases {
            ledger.take_over(lease, since);
        }
        ledger
    }

    pub(super) fn scale(&self, now: i64) -> Scale {
        if let Some(isolation) = &self.isolation {
            let minutes = (now - isolation.since - FORGOTTEN_MS).max(0) / 60_000;
            let halvings = u32::try_from(minutes).unwrap_or(u32::MAX);
            return Scale { numerator: 1, denominator: 2 * isolation.replicas, halvings };
        }
        let (seen, missing) = (self.replicas.seen(now).max(1), self.replicas.missing(now));
        match missing {
            0 => Scale { numerator: 1, denominator: 1, halvings: 0 },
            _ => Scale { numerator: 2 * seen - missing, denominator: 2 * seen, halvings: 0 },
        }
    }

    /// Takes over what a replica knows and this ledger does not.
    pub(super) fn adopt(&mut self, handover: &Handover, now: i64) {
        for snapshot in &handover.pools {
            self.pool(&snapshot.resource, now).take_over(snapshot, now);
        }
        for lease in &handover.leases {
            self.take_over(lease, now);
        }
        self.all.merge(&handover.sent.all);
        self.content_minute.merge(&handover.sent.content_minute);
        if now < self.epoch + MINUTE_MS {
            // Writes of the last minute count against the first writes of a new ledger.
            let written = self.content_minute.sum(now) * U;
            self.content.lower_to((FIRST_WRITES - written).max(0));
        }
        self.content_hour.merge(&handover.sent.content_hour);
        for (route, ring) in &handover.sent.routes {
            self.route(route, now).ring.merge(ring);
        }
        for spent in &handover.spent {
            let pool = self.pool(&spent.resource, now);
            if (pool.reset - spent.reset).abs() <= super::units::MATCH_MS {
                pool.spend(&spent.agent, spent.points);
            }
        }
        self.cooldown.adopt(handover.cool, now);
    }

    fn take_over(&mut self, handed: &HandedLease, now: i64) {
        if self.leases.get(handed.lease).is_some() {
            return;
        }
        let pool = self.pool(&handed.resource, now);
        let lease = Lease {
            resource: Arc::clone(&handed.resource),
            route: Arc::clone(&handed.route),
            agent: Arc::clone(&handed.share.agent),
            weight: handed.share.weight,
            price: handed.price,
            points: handed.points,
            creates_content: handed.creates_content,
            units: (handed.price * U).max(KAPPA * handed.points),
            window: pool.window,
            at: handed.at,
            asked: Asked::default(),
            guarantee: 0,
            ceiling: 0,
            is_unpriced: false,
            is_settled: handed.is_settled,
            expires: now + LEASE_MS,
        };
        pool.in_flight += lease.reserved();
        self.leases.insert(handed.lease, lease);
    }

    /// What was sent since this ledger began, for the store it will be handed over to.
    pub fn sent(&self) -> Sent {
        let routes = self.routes.iter().map(|(name, route)| (Arc::clone(name), route.ring.clone()));
        Sent {
            all: self.all.clone(),
            content_minute: self.content_minute.clone(),
            content_hour: self.content_hour.clone(),
            routes: routes.collect::<Vec<(Arc<str>, Ring)>>(),
        }
    }

    /// What each agent spent in the current windows.
    pub fn spent(&self) -> Vec<Spent> {
        self.pools.values().flat_map(Pool::spent).collect()
    }
}
