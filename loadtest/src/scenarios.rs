//! `tollgate-loadtest scenarios`: the real budget in virtual time, held to what it promises.
//!
//! A file describes agents, GitHub's limits, faults, and what must come of it ([`mod@format`]). A run is a
//! [`world`] of clients, replicas and a GitHub that enforces its limits to the point; an hour takes a
//! second or so, and comes out the same for the same seed. What is fair is said by fluid models that know
//! nothing of the budget ([`fluid`]).

mod arrivals;
mod baselines;
mod clients;
mod clock;
mod entries;
mod expectations;
mod figures;
mod filling;
mod fluid;
mod format;
mod gate;
mod journal;
mod judge;
mod keeper;
mod model;
mod random;
pub(crate) mod redis_server;
mod replicas;
mod report;
mod scripted;
mod sliding;
mod span;
mod upstream;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use serde::Serialize;

use figures::Figures;
use format::Scenario;
pub(crate) use gate::Policy;
use keeper::Home;
use report::{Document, Outcome};

/// Runs at once; each is a thread.
const RUNS_MAX: usize = 4;

/// Where the replicas keep the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    /// The embedded one.
    Memory,
    /// The scripts, at a redis-server that is started for it.
    Redis,
    /// Both, step by step; ends with the first reply that differs.
    Both,
}

/// How it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) files: Vec<PathBuf>,
    /// Ids of scenarios; all if none is named.
    pub(crate) only: Vec<String>,
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) seed: u64,
    /// Where all figures go.
    pub(crate) json: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    passed: usize,
    failed: usize,
}

impl Summary {
    pub(crate) fn holds(&self) -> bool {
        self.failed == 0
    }
}

/// Runs all scenarios of all files, and prints a row for each.
pub(crate) fn run(options: &Options, mut out: impl Write) -> anyhow::Result<Summary> {
    let scenarios = load(options)?;
    let homes = homes(options)?;
    report::heading(&mut out)?;
    let mut outcomes = Vec::new();
    for_each(&scenarios, options, homes, |outcome| {
        report::row(&mut out, &outcome)?;
        outcomes.push(outcome);
        Ok(())
    })?;
    if let Some(path) = &options.json {
        let Options { seed, policy, store, .. } = *options;
        let document = Document { seed, policy, store, scenarios: &outcomes };
        let text = serde_json::to_string_pretty(&document).context("no JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.passed == Some(verdict)).count();
    let summary = Summary { passed: count(true), failed: count(false) };
    match options.policy {
        Policy::Tollgate => {
            let steps: u64 = outcomes.iter().map(|outcome| outcome.store_steps).sum();
            let which = match options.store {
                Store::Memory => "at the embedded store",
                Store::Redis => "at Redis",
                Store::Both => "with the same reply from the embedded store and Redis",
            };
            writeln!(out, "{} passed, {} failed; {steps} steps {which}", summary.passed, summary.failed)?;
        }
        Policy::Naive | Policy::Static | Policy::Shared => {
            writeln!(out, "{} run, not judged: this policy is here to compare with", outcomes.len())?;
        }
    }
    Ok(summary)
}

/// What is to be run, in the files' order.
fn load(options: &Options) -> anyhow::Result<Vec<Arc<Scenario>>> {
    let mut scenarios = Vec::new();
    for file in &options.files {
        scenarios.extend(format::load(file)?.into_iter().map(Arc::new));
    }
    for id in &options.only {
        ensure!(scenarios.iter().any(|scenario| scenario.id == *id), "no file has a scenario {id}");
    }
    scenarios.retain(|scenario| options.only.is_empty() || options.only.contains(&scenario.id));
    Ok(scenarios)
}

/// A store for each run at once; policies without a budget need none.
fn homes(options: &Options) -> anyhow::Result<Vec<Home>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(RUNS_MAX);
    let store = match options.policy {
        Policy::Tollgate => options.store,
        Policy::Naive | Policy::Static | Policy::Shared => Store::Memory,
    };
    (0..threads).map(|_| Home::start(store)).collect()
}

/// Runs several at once, and hands them on in order.
fn for_each(
    scenarios: &[Arc<Scenario>],
    options: &Options,
    homes: Vec<Home>,
    mut each: impl FnMut(Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for home in homes {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some((place, scenario)) = Some(next.fetch_add(1, Ordering::SeqCst))
                    .and_then(|place| Some((place, scenarios.get(place)?)))
                {
                    let outcome = run_one(scenario, options, &home)
                        .with_context(|| format!("scenario {}", scenario.id));
                    if done.send((place, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (place, outcome) in results {
            early.insert(place, outcome);
            while let Some(outcome) = early.remove(&due) {
                each(outcome?)?;
                due += 1;
            }
        }
        Ok(())
    })
}

/// What one run comes to, for other commands.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Part of what was open to the agents.
    pub(crate) used: f64,
    /// By GitHub.
    pub(crate) refused: u64,
    /// The largest error of an agent's share, against the fluid ideal.
    pub(crate) error_max: f64,
    /// In the scenario's order.
    pub(crate) agents: Vec<AgentTold>,
}

/// What it came to for one agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentTold {
    pub(crate) served: u64,
    pub(crate) wait_p50_s: f64,
    pub(crate) wait_p99_s: f64,
}

/// Plays one scenario, as a file would hold it, on the embedded store.
///
/// # Errors
/// When it is no scenario.
pub(crate) fn tell(scenario: &serde_json::Value, policy: Policy, seed: u64) -> anyhow::Result<Told> {
    let scenario = Arc::new(format::read(scenario.clone())?);
    let run = world::run(&scenario, policy, seed, &Home::start(Store::Memory)?)?;
    let figures = Figures::new(&scenario, &run);
    let agent = |agent: &figures::AgentFigures| AgentTold {
        served: agent.served,
        wait_p50_s: agent.wait_p50_s,
        wait_p99_s: agent.wait_p99_s,
    };
    Ok(Told {
        used: figures.utilisation.unwrap_or(0.0),
        refused: figures.upstream_refusals,
        error_max: figures.whole_error,
        agents: figures.agents.iter().map(agent).collect(),
    })
}

fn run_one(scenario: &Arc<Scenario>, options: &Options, home: &Home) -> anyhow::Result<Outcome> {
    let run = world::run(scenario, options.policy, options.seed, home)?;
    let figures = Figures::new(scenario, &run);
    let failures = match options.policy {
        Policy::Tollgate => judge::judge(&scenario.expect, &figures),
        Policy::Naive | Policy::Static | Policy::Shared => Vec::new(),
    };
    Ok(Outcome {
        id: scenario.id.clone(),
        about: scenario.about.clone(),
        passed: (options.policy == Policy::Tollgate).then_some(failures.is_empty()),
        failures,
        store_steps: run.store_steps,
        figures,
    })
}
