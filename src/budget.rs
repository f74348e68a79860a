//! The budget: one installation's quota, shared by weight, and never more than GitHub gives.
//!
//! [`Budget::admit`] holds a call in its agent's queue until its turn, or refuses it with a time at
//! which it will be served. The [`Reservation`] it returns is settled with GitHub's answer.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`command`] | what a replica tells the store, and what it is told |
//! | [`ledger`] | the rules: pure arithmetic on a given time |
//! | [`store`] | where a ledger is kept |
//! | [`redis_store`] | the ledger at Redis, for all replicas |
//! | `replica` | this replica's side of the store, and what it does without it |
//! | `admit` | how a call is admitted: its seat, the question to the store |
//! | `queue` | the waiting: only the head of a queue asks |
//! | `turns` | until when agents were told to wait, and where |
//! | `reservation` | what an admitted call holds, and how it is settled |
//! | `spending` | where the points went |
//! | `standings` | where agents stand in the pools |
//! | `figures` | what is reported about all this |
//! | `in_flight` | a bound on calls that wait or are in flight |

mod admit;
pub mod command;
mod figures;
mod in_flight;
pub mod ledger;
mod queue;
pub mod redis_store;
mod replica;
mod reservation;
mod spending;
mod standings;
pub mod store;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use command::{GateKind, Reason, Snapshot, View};
pub use figures::Statement;
pub use queue::Waits;
pub use reservation::Reservation;
pub use standings::Standing;

use crate::metrics::Metrics;
use command::{Caps, Share};
use in_flight::InFlight;
use queue::Queues;
pub use replica::OnStoreLoss;
use replica::Replica;
use spending::Spending;
use standings::Standings;
use store::Store;
use turns::Turns;

/// How often standings that nobody needs any more are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What is configured.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub tuning: Tuning,
    pub on_store_loss: OnStoreLoss,
    /// The most calls that may wait or be in flight at this replica; each takes a descriptor or two.
    pub calls_max: usize,
}

/// The settings that can be changed while calls wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Thousandths of each primary limit left to users outside tollgate.
    pub headroom_thousandths: i64,
    pub secondary: Secondary,
    /// Decide and record, but let everything through.
    pub is_observing: bool,
}

impl Tuning {
    fn caps(&self) -> Caps {
        Caps::new(self.headroom_thousandths, self.secondary)
    }
}

/// Secondary limits per installation; the defaults stay below what GitHub publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secondary {
    /// Requests under way at once, REST and GraphQL together.
    #[schemars(range(min = 1))]
    pub concurrent: u32,
    /// REST points a minute on one endpoint.
    #[schemars(range(min = 1))]
    pub rest_points_per_minute: u32,
    /// Points a minute over all endpoints, GraphQL with them. GitHub names no such limit, so it
    /// lowers itself when GitHub objects.
    #[schemars(range(min = 1))]
    pub rest_points_per_minute_total: u32,
    /// GraphQL points a minute.
    #[schemars(range(min = 1))]
    pub graphql_points_per_minute: u32,
    /// Requests a minute that create content.
    #[schemars(range(min = 1))]
    pub content_per_minute: u32,
    /// Requests an hour that create content.
    #[schemars(range(min = 1))]
    pub content_per_hour: u32,
}

impl Default for Secondary {
    fn default() -> Secondary {
        Secondary {
            concurrent: 90,
            rest_points_per_minute: 810,
            rest_points_per_minute_total: 2700,
            graphql_points_per_minute: 1800,
            content_per_minute: 72,
            content_per_hour: 470,
        }
    }
}

/// The replica's id and the seed of its random numbers.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub replica: u64,
    pub seed: u64,
}

impl Identity {
    pub fn random() -> Identity {
        Identity { replica: rand::rng().random(), seed: rand::rng().random() }
    }
}

/// A call, as the budget sees it.
#[derive(Debug, Clone)]
pub struct Charge {
    pub installation: Arc<str>,
    /// GitHub's resource: `core`, `search`, `graphql`, …
    pub resource: Arc<str>,
    pub agent: Arc<str>,
    /// 1..=1000.
    pub weight: u32,
    /// Points an hour of `core`; 0 for none.
    pub guarantee: u32,
    /// Points an hour of `core`; 0 closes the agent.
    pub ceiling: Option<u32>,
    /// The sum of the guarantees of all agents that may use the installation, in points an hour of `core`.
    pub guarantees: u32,
    /// Method and path template.
    pub route: Arc<str>,
    pub is_write: bool,
    pub creates_content: bool,
    pub repository: Option<Arc<str>>,
    /// Primary points, if known.
    pub price: Option<u32>,
}

impl Charge {
    fn share(&self) -> Share {
        Share {
            agent: Arc::clone(&self.agent),
            weight: i64::from(self.weight),
            guarantee: i64::from(self.guarantee),
            ceiling: self.ceiling.map(i64::from),
            guarantees: i64::from(self.guarantees),
        }
    }

    /// Secondary points (GitHub Docs, "Rate limits for the REST API"): 5 for a write, otherwise 1.
    fn points(&self) -> i64 {
        if self.is_write { 5 } else { 1 }
    }
}

/// How long a call may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub patience: Duration,
    /// Whether it goes before the agent's other calls.
    pub is_interactive: bool,
}

/// Why a call was not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    Refused(Refusal),
    /// Too many calls wait or are in flight, in all or for this agent.
    TooManyInFlight,
}

/// What a pool has left for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Time until the agent's next turn; zero if it has not been told to wait.
    pub wait: Duration,
    /// Points neither spent nor reserved in this window.
    pub points: i64,
}

impl Room {
    /// GitHub's lowest limit, assumed for a pool that nobody has called in yet.
    const UNKNOWN: i64 = 5_000;
}

/// The call was refused, with a time at which it will be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Seconds, at least 1.
    pub retry_after: u64,
    pub reason: Reason,
    pub view: View,
}

/// Shares an installation's quota among its agents.
#[derive(Debug)]
pub struct Budget {
    tuning: ArcSwap<Tuning>,
    replica: Replica,
    queues: Queues,
    turns: Turns,
    in_flight: InFlight,
    dice: Mutex<StdRng>,
    spending: Spending,
    standings: Standings,
    /// Installations whose guarantees have been compared with their limit.
    compared: Mutex<BTreeSet<Arc<str>>>,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(
        settings: Settings,
        identity: Identity,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
    ) -> Arc<Budget> {
        let (caps, on_loss) = (settings.tuning.caps(), settings.on_store_loss);
        Arc::new(Budget {
            in_flight: InFlight::new(settings.calls_max),
            tuning: ArcSwap::from_pointee(settings.tuning),
            replica: Replica::new(identity.replica, store, caps, on_loss),
            queues: Queues::default(),
            turns: Turns::default(),
            dice: Mutex::new(StdRng::seed_from_u64(identity.seed)),
            spending: Spending::default(),
            standings: Standings::default(),
            compared: Mutex::default(),
            metrics,
        })
    }

    /// Replaces the settings. Waiting calls are weighed by the new ones when they ask next.
    pub fn tune(&self, tuning: Tuning) {
        self.replica.set_caps(tuning.caps());
        self.tuning.store(Arc::new(tuning));
        // The guarantees may have changed, too.
        self.lock_compared().clear();
    }

    fn lock_compared(&self) -> parking_lot::MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.compared.lock()
    }

    /// Sends heartbeats and renewals, and drops standings that nobody needs; returns only when this replica leaves.
    pub async fn tend(self: Arc<Budget>) {
        // Calls that were told to wait while the store was away may go once it counts again.
        let tend = self.replica.tend(|installation| self.queues.ask_again(installation, None));
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                self.standings.sweep();
            }
        };
        tokio::select! {
            () = tend => {}
            () = sweep => {}
        }
    }

    /// Tells the store that this replica stops, within a few seconds.
    pub async fn leave(&self) {
        self.replica.leave().await;
    }
}
