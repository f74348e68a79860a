//! The replicas of tollgate: the real budget, several times, over one store.
//!
//! Each replica reaches the store by a [`Wire`] of its own, which counts what goes over it and can be cut.

use std::fmt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use rand::RngExt as _;
use tokio::task::AbortHandle;
use tollgate::budget::command::{Call, Reply};
use tollgate::budget::store::{Store, StoreAway};
use tollgate::budget::{
    Budget, Charge, Identity, NotAdmitted, OnStoreLoss, Reservation, Secondary, Settings, Tuning, Wait,
};
use tollgate::metrics::Metrics;

use super::arrivals::Kind;
use super::entries::{Entry, INSTALLATION};
use super::format::Scenario;
use super::gate::Refusal;
use super::keeper::Keeper;
use super::random;

/// More calls than any scenario has open.
const CALLS_MAX: usize = 1_000_000;

/// All replicas and their store.
pub(super) struct Replicas {
    store: Arc<Keeper>,
    replicas: Vec<Replica>,
    agents: Vec<AgentTerms>,
    guarantees: u32,
    installation: Arc<str>,
    resource: Arc<str>,
}

struct Replica {
    budget: Arc<Budget>,
    wire: Arc<Wire>,
    tending: AbortHandle,
}

/// What the configuration would say of an agent.
struct AgentTerms {
    name: Arc<str>,
    weight: u32,
    guarantee: u32,
    ceiling: Option<u32>,
}

impl Replicas {
    /// Starts them; within a runtime.
    pub(super) fn new(scenario: &Scenario, seed: u64, store: Arc<Keeper>) -> Replicas {
        let agent = |agent: &super::format::Agent| AgentTerms {
            name: Arc::from(agent.id.as_str()),
            weight: agent.weight,
            guarantee: agent.guarantee_per_hour.unwrap_or(0),
            ceiling: agent.ceiling_per_hour,
        };
        let agents: Vec<_> = scenario.agents.iter().map(agent).collect();
        let mut seeds = random::stream(seed, "budgets");
        Replicas {
            replicas: (0..scenario.replicas)
                .map(|index| Replica::start(index, seeds.random(), &store))
                .collect(),
            store,
            guarantees: agents.iter().map(|agent| agent.guarantee).sum(),
            agents,
            installation: Arc::from(INSTALLATION),
            resource: Arc::from(scenario.resource.as_str()),
        }
    }

    pub(super) async fn admit(
        &self,
        replica: usize,
        entry: &Entry,
        kind: Kind,
    ) -> Result<Reservation, Refusal> {
        let charge = self.charge(entry, kind);
        let wait = Wait {
            patience: entry.arrivals.patience.duration(),
            is_interactive: entry.arrivals.is_interactive,
        };
        self.replicas[replica].budget.admit(&charge, wait).await.map_err(|error| match error {
            NotAdmitted::Refused(refusal) => Refusal {
                retry_after: Duration::from_secs(refusal.retry_after),
                reason: format!("{:?}", refusal.reason),
            },
            NotAdmitted::TooManyInFlight => {
                Refusal { retry_after: Duration::from_secs(1), reason: "TooManyInFlight".to_owned() }
            }
        })
    }

    fn charge(&self, entry: &Entry, kind: Kind) -> Charge {
        let agent = &self.agents[entry.agent];
        let is_known = entry.arrivals.is_price_known || !matches!(kind, Kind::Query { .. });
        Charge {
            installation: Arc::clone(&self.installation),
            resource: Arc::clone(&self.resource),
            agent: Arc::clone(&agent.name),
            weight: agent.weight,
            guarantee: agent.guarantee,
            ceiling: agent.ceiling,
            guarantees: self.guarantees,
            route: Arc::clone(&entry.route),
            is_write: kind.is_write(),
            creates_content: kind.creates_content(),
            repository: Some(Arc::clone(&entry.repository)),
            // Nobody knows beforehand that an answer will be a 304.
            price: is_known.then_some(kind.cost().max(1)),
        }
    }

    /// A replica is gone for good: it does nothing and hears nothing any more.
    pub(super) fn kill(&self, replica: usize) {
        let replica = &self.replicas[replica];
        replica.wire.is_dead.store(true, Ordering::SeqCst);
        replica.tending.abort();
    }

    /// A replica's calls to the store fail, or no longer do.
    pub(super) fn cut_off(&self, replica: usize, is_cut: bool) {
        self.replicas[replica].wire.is_cut.store(is_cut, Ordering::SeqCst);
    }

    pub(super) fn empty_store(&self) {
        self.store.empty();
    }

    pub(super) fn leases_of(&self, replica: usize) -> usize {
        self.store.leases_of(number(replica))
    }

    /// Calls of the store that requests cost; heartbeats and the like are not among them.
    pub(super) fn store_calls(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.wire.calls.load(Ordering::SeqCst)).sum()
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Replica {
    fn start(index: usize, seed: u64, store: &Arc<Keeper>) -> Replica {
        let wire = Arc::new(Wire {
            store: Arc::clone(store),
            is_dead: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            calls: AtomicU64::new(0),
        });
        let settings = Settings {
            tuning: Tuning { headroom_thousandths: 0, secondary: Secondary::default(), is_observing: false },
            on_store_loss: OnStoreLoss::Degrade,
            calls_max: CALLS_MAX,
        };
        let identity = Identity { replica: number(index), seed };
        let store = Arc::clone(&wire) as Arc<dyn Store>;
        let budget = Budget::new(settings, identity, store, Arc::new(Metrics::new()));
        let tending = tokio::spawn(Arc::clone(&budget).tend()).abort_handle();
        Replica { budget, wire, tending }
    }
}

fn number(replica: usize) -> u64 {
    replica as u64 + 1
}

/// A replica's way to the store.
#[derive(Debug)]
struct Wire {
    store: Arc<Keeper>,
    is_dead: AtomicBool,
    is_cut: AtomicBool,
    calls: AtomicU64,
}

impl Store for Wire {
    fn call<'a>(
        &'a self,
        installation: &'a Arc<str>,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Reply, StoreAway>> {
        if self.is_dead.load(Ordering::SeqCst) {
            return pending().boxed();
        }
        if self.is_cut.load(Ordering::SeqCst) {
            return ready(Err(StoreAway)).boxed();
        }
        if matches!(call.command.name(), "admit" | "settle" | "book" | "withdraw") {
            self.calls.fetch_add(1, Ordering::SeqCst);
        }
        self.store.call(installation, call)
    }
}
