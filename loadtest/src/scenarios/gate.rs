//! What stands between the clients and GitHub: tollgate's budget, or one of the policies it is compared with.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tollgate::budget::Reservation;
use tollgate::github::rate_limit::Reading;

use super::arrivals::Kind;
use super::baselines::{Buckets, Held};
use super::entries::Entry;
use super::format::Scenario;
use super::keeper::Keeper;
use super::replicas::Replicas;

/// Who decides when a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// The budget of tollgate.
    Tollgate,
    /// Nobody: clients call GitHub and back off when it refuses.
    Naive,
    /// A bucket for each agent, all of the same size.
    Static,
    /// One bucket for all, whoever comes first.
    Shared,
}

/// The policy at work.
#[derive(Debug)]
pub(super) enum Gate {
    Tollgate(Replicas),
    Open,
    Buckets(Buckets),
}

/// Leave to send one request.
pub(super) enum Pass {
    Reservation(Box<Reservation>),
    Free,
    Held(Held),
}

/// Leave denied.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) retry_after: Duration,
    pub(super) reason: String,
}

impl Gate {
    pub(super) fn new(policy: Policy, scenario: &Scenario, seed: u64, store: Arc<Keeper>) -> Gate {
        match policy {
            Policy::Tollgate => Gate::Tollgate(Replicas::new(scenario, seed, store)),
            Policy::Naive => Gate::Open,
            Policy::Static => Gate::Buckets(Buckets::new(scenario, scenario.agents.len())),
            Policy::Shared => Gate::Buckets(Buckets::new(scenario, 1)),
        }
    }

    /// Waits for leave, as long as the client has patience.
    pub(super) async fn admit(&self, replica: usize, entry: &Entry, kind: Kind) -> Result<Pass, Refusal> {
        match self {
            Gate::Tollgate(replicas) => replicas
                .admit(replica, entry, kind)
                .await
                .map(|reservation| Pass::Reservation(Box::new(reservation))),
            Gate::Open => Ok(Pass::Free),
            Gate::Buckets(buckets) => buckets.admit(entry).await.map(Pass::Held),
        }
    }

    /// The replicas, where the policy has any.
    pub(super) fn replicas(&self) -> Option<&Replicas> {
        match self {
            Gate::Tollgate(replicas) => Some(replicas),
            Gate::Open | Gate::Buckets(_) => None,
        }
    }
}

impl Pass {
    /// The request goes out now.
    pub(super) fn mark_sent(&mut self) {
        match self {
            Pass::Reservation(reservation) => reservation.mark_sent(),
            Pass::Free | Pass::Held(_) => {}
        }
    }

    /// The answer is there.
    pub(super) async fn settle(mut self, reading: &Reading, took: Duration) {
        match &mut self {
            Pass::Reservation(reservation) => {
                reservation.settle(reading, took, true).await;
            }
            Pass::Free => {}
            Pass::Held(held) => held.settle(reading),
        }
    }
}
