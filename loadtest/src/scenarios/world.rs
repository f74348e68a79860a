//! One run: the clients, the gate, GitHub and what goes wrong, in virtual time.
//!
//! All of it is one thread whose clock jumps to the next timer whenever nothing is left to do, so a run
//! depends on the scenario and the seed alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::{Notify, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use super::clients;
use super::clock::VirtualClock;
use super::entries::Entry;
use super::format::{Event, External, Scenario};
use super::gate::{Gate, Policy};
use super::journal::{Journal, Served};
use super::keeper::Home;
use super::random;
use super::upstream::{Answer, Books, Call, Upstream};

/// The longest way to GitHub.
const NETWORK_MS_MAX: u64 = 32;
/// When a client takes an answer for lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// What a run leaves behind.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) journal: Journal,
    pub(super) books: Books,
    /// Calls of the store, where the policy has one.
    pub(super) store_calls: Option<u64>,
    /// All that the store was asked, by whomever.
    pub(super) store_steps: u64,
}

/// Everything there is in a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Arc<Scenario>,
    pub(super) gate: Gate,
    pub(super) journal: RefCell<Journal>,
    /// Counted by GitHub and not answered yet.
    under_way: RefCell<BTreeMap<u64, UnderWay>>,
    clock: Arc<VirtualClock>,
    upstream: RefCell<Upstream>,
    deaths: Vec<Death>,
    /// Calls that reached GitHub.
    processed: Cell<u64>,
    network: RefCell<StdRng>,
    choice: RefCell<StdRng>,
}

/// Whether a replica is dead. No `watch`, whose waiters wake in an order of tokio's own dice.
#[derive(Debug, Default)]
struct Death {
    is_over: Cell<bool>,
    came: Notify,
}

/// A call GitHub is at work on, for a client that waits.
#[derive(Debug)]
struct UnderWay {
    agent: usize,
    served: Served,
}

/// Plays a scenario to its end.
///
/// # Errors
/// When the store fails, or both differ.
pub(super) fn run(scenario: &Arc<Scenario>, policy: Policy, seed: u64, home: &Home) -> anyhow::Result<Run> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("no runtime")?;
    let local = LocalSet::new();
    let run = local.block_on(&runtime, play(Arc::clone(scenario), policy, seed, home));
    // What is dropped with the clients may want the runtime.
    let _inside = runtime.enter();
    drop(local);
    run
}

async fn play(scenario: Arc<Scenario>, policy: Policy, seed: u64, home: &Home) -> anyhow::Result<Run> {
    let clock = Arc::new(VirtualClock::new());
    let store = Arc::new(home.keeper(&clock)?);
    let world = Rc::new(World {
        gate: Gate::new(policy, &scenario, seed, Arc::clone(&store)),
        journal: RefCell::new(Journal::new(scenario.agents.len())),
        upstream: RefCell::new(Upstream::new(&scenario)),
        under_way: RefCell::default(),
        deaths: (0..scenario.replicas).map(|_| Death::default()).collect(),
        processed: Cell::new(0),
        network: RefCell::new(random::stream(seed, "network")),
        choice: RefCell::new(random::stream(seed, "choice")),
        clock,
        scenario,
    });
    for event in &world.scenario.events {
        spawn_local(happen(Rc::clone(&world), event.clone()));
    }
    if let Some(external) = &world.scenario.external {
        spawn_local(take_outside(Rc::clone(&world), external.clone()));
    }
    for entry in Entry::all(&world.scenario) {
        clients::start(&world, &Rc::new(entry));
    }
    sleep(world.scenario.duration.duration()).await;
    if let Some(fault) = store.take_fault() {
        return Err(fault);
    }
    let now_ms = world.now_ms();
    let mut journal = world.journal.take();
    for UnderWay { agent, served } in world.under_way.take().into_values() {
        journal.agents[agent].served.push(served);
    }
    Ok(Run {
        journal,
        books: world.upstream.borrow_mut().close(now_ms),
        store_calls: world.gate.replicas().map(super::replicas::Replicas::store_calls),
        store_steps: store.steps(),
    })
}

impl World {
    pub(super) fn now_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }

    pub(super) async fn sleep_until(&self, ms: u64) {
        sleep_until(self.clock.instant(ms)).await;
    }

    /// Any replica that lives, each as likely as the others.
    pub(super) fn choose_replica(&self) -> usize {
        let live: Vec<usize> =
            (0..self.deaths.len()).filter(|replica| !self.deaths[*replica].is_over.get()).collect();
        live[self.choice.borrow_mut().random_range(0..live.len())]
    }

    /// Returns when the replica dies.
    pub(super) async fn death(&self, replica: usize) {
        let death = &self.deaths[replica];
        if !death.is_over.get() {
            death.came.notified().await;
        }
    }

    /// A time between the two, at random.
    pub(super) fn pause(&self, min_ms: u64, max_ms: u64) -> Duration {
        Duration::from_millis(self.choice.borrow_mut().random_range(min_ms..=max_ms))
    }

    /// Sends a call to GitHub, which works on it even if nobody waits any more.
    ///
    /// Gives no answer, after a while, where the answer is lost.
    pub(super) fn send(self: &Rc<World>, entry: &Entry, call: &Call) -> oneshot::Receiver<Option<Answer>> {
        let (answered, answer) = oneshot::channel();
        spawn_local(exchange(Rc::clone(self), entry.agent, entry.flow, call.clone(), answered));
        answer
    }

    fn is_lossy(&self, now_ms: u64) -> bool {
        self.scenario.events.iter().any(
            |event| matches!(event, Event::AnswersLost { at, to } if (at.ms()..to.ms()).contains(&now_ms)),
        )
    }
}

async fn exchange(
    world: Rc<World>,
    agent: usize,
    flow: usize,
    call: Call,
    answered: oneshot::Sender<Option<Answer>>,
) {
    let is_lost = world.is_lossy(world.now_ms());
    let way_ms = world.network.borrow_mut().random_range(0..=NETWORK_MS_MAX);
    sleep(Duration::from_millis(way_ms)).await;
    let mut answer = world.upstream.borrow_mut().process(&call, world.now_ms());
    let served = Served::new(flow, &call, &answer);
    let number = world.processed.get();
    world.processed.set(number + 1);
    if !is_lost && !answer.is_refused() && !answered.is_closed() {
        world.under_way.borrow_mut().insert(number, UnderWay { agent, served });
    }
    sleep(Duration::from_millis(answer.takes_ms)).await;
    world.upstream.borrow_mut().answer(&mut answer, world.now_ms());
    let was_under_way = world.under_way.borrow_mut().remove(&number).is_some();
    if is_lost {
        sleep(LOST_AFTER.saturating_sub(Duration::from_millis(way_ms + answer.takes_ms))).await;
    }
    // A client whose replica died does not wait any more.
    if answered.send((!is_lost).then_some(answer)).is_ok() && was_under_way {
        world.journal.borrow_mut().agents[agent].served.push(served);
    }
}

async fn happen(world: Rc<World>, event: Event) {
    match event {
        Event::ReplicaDies { at, replica } => {
            world.sleep_until(at.ms()).await;
            if let Some(replicas) = world.gate.replicas() {
                replicas.kill(replica);
            }
            world.deaths[replica].is_over.set(true);
            world.deaths[replica].came.notify_waiters();
            if let (Some(leaked), Some(replicas)) =
                (world.scenario.expect.leaked_leases_after_s, world.gate.replicas())
            {
                sleep(leaked.after_crash_s.duration()).await;
                *world.journal.borrow_mut().leaked.get_or_insert(0) += replicas.leases_of(replica);
            }
        }
        Event::ReplicaCannotReachStore { at, to, replica } => {
            for (ms, is_cut) in [(at.ms(), true), (to.ms(), false)] {
                world.sleep_until(ms).await;
                if let Some(replicas) = world.gate.replicas() {
                    replicas.cut_off(replica, is_cut);
                }
            }
        }
        Event::StoreComesBackEmpty { at } => {
            world.sleep_until(at.ms()).await;
            if let Some(replicas) = world.gate.replicas() {
                replicas.empty_store();
            }
        }
        Event::StoreClockJumps { at, by } => {
            world.sleep_until(at.ms()).await;
            world.clock.jump(by.ms);
        }
        // Looked up when something is sent.
        Event::AnswersLost { .. } => {}
    }
}

/// Takes a point at a time.
async fn take_outside(world: Rc<World>, external: External) {
    let pace = Duration::from_secs_f64(1.0 / external.points_per_s);
    let mut at = world.clock.instant(external.from.unwrap_or_default().ms());
    let end = external.to.map(|to| world.clock.instant(to.ms()));
    while end.is_none_or(|end| at < end) {
        sleep_until(at).await;
        world.upstream.borrow_mut().take_outside(world.now_ms());
        at += pace;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Store;
    use super::super::figures::Figures;
    use super::super::format::tests::scenario;
    use super::*;

    fn figures(changes: &Value, policy: Policy, seed: u64) -> Value {
        figures_with(&Home::Memory, changes, policy, seed)
    }

    fn figures_with(home: &Home, changes: &Value, policy: Policy, seed: u64) -> Value {
        let scenario = Arc::new(scenario(changes).unwrap());
        let run = run(&scenario, policy, seed, home).unwrap();
        serde_json::to_value(Figures::new(&scenario, &run)).unwrap()
    }

    fn faults() -> Value {
        json!({
            "duration_s": 120.0, "replicas": 3, "external": {"points_per_s": 1.25},
            "agents": [
                {"id": "a", "weight": 1, "arrivals": [{"kind": "greedy", "outstanding": 4, "patience_s": 4.0}]},
                {"id": "b", "weight": 3, "arrivals": [{"kind": "burst", "size": 20, "period_s": 30}]}
            ],
            "events": [
                {"at_s": 20, "kind": "replica_dies", "replica": 1},
                {"at_s": 40, "kind": "store_comes_back_empty"},
                {"at_s": 50, "to_s": 60, "kind": "replica_cannot_reach_store", "replica": 0},
                {"at_s": 70, "kind": "store_clock_jumps", "by_s": -600},
                {"at_s": 80, "to_s": 85, "kind": "answers_lost"}
            ],
            "expect": {"leaked_leases_after_s": {"after_crash_s": 45, "max": 0}}
        })
    }

    #[test]
    fn a_run_depends_on_scenario_and_seed_alone() {
        for policy in [Policy::Tollgate, Policy::Naive, Policy::Static, Policy::Shared] {
            let first = figures(&faults(), policy, 1);
            assert_eq!(first, figures(&faults(), policy, 1), "{policy:?}");
            assert_ne!(first, figures(&faults(), policy, 2), "{policy:?}");
        }
    }

    #[test]
    fn a_run_is_the_same_on_every_store() {
        let expected = figures(&faults(), Policy::Tollgate, 1);
        for store in [Store::Redis, Store::Both] {
            let home = Home::start(store).unwrap();
            // What the first run leaves is gone in the second.
            for _ in 0..2 {
                assert_eq!(figures_with(&home, &faults(), Policy::Tollgate, 1), expected, "{store:?}");
            }
        }
    }

    #[test]
    fn lost_answers_are_counted_by_github_and_fail_after_a_while() {
        let lossy = json!({"events": [{"at_s": 0, "to_s": 10, "kind": "answers_lost"}], "duration_s": 41.0});
        let figures = figures(&lossy, Policy::Naive, 1);
        // Each of two slots waits 20 s for nothing.
        assert_eq!(figures["agents"][0]["failed"], 2);
        assert!(figures["agents"][0]["gap_max_s"].as_f64().unwrap() >= 20.0);
    }

    #[test]
    fn requests_of_a_dead_replica_are_sent_again() {
        let dying = json!({
            "events": [{"at_s": 10, "kind": "replica_dies", "replica": 0}],
            "upstream_latency_ms": 15_000, "duration_s": 16.0,
            "agents": [{"id": "a", "weight": 1, "arrivals": [{"kind": "greedy", "outstanding": 40}]}]
        });
        let figures = figures(&dying, Policy::Naive, 1);
        let (sent, served) =
            (figures["sent"].as_u64().unwrap(), figures["agents"][0]["served"].as_u64().unwrap());
        // What was cut is sent a second time at 12 s, and the rest once more after 15 s.
        assert_eq!(sent, 80);
        assert!((45..=75).contains(&served), "{served}");
    }
}
