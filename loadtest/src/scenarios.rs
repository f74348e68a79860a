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
mod model;
mod random;
mod replicas;
mod report;
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

use anyhow::Context as _;
use clap::ValueEnum;

use figures::Figures;
use format::Scenario;
pub(crate) use gate::Policy;
use report::{Document, Outcome};

/// Runs at once; each is a thread.
const RUNS_MAX: usize = 4;

/// Where the replicas keep the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The embedded one.
    Memory,
}

/// How it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) files: Vec<PathBuf>,
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
    let Store::Memory = options.store;
    let mut scenarios = Vec::new();
    for file in &options.files {
        scenarios.extend(format::load(file)?.into_iter().map(Arc::new));
    }
    report::heading(&mut out)?;
    let mut outcomes = Vec::new();
    for_each(&scenarios, options, |outcome| {
        report::row(&mut out, &outcome)?;
        outcomes.push(outcome);
        Ok(())
    })?;
    if let Some(path) = &options.json {
        let document = Document { seed: options.seed, policy: options.policy, scenarios: &outcomes };
        let text = serde_json::to_string_pretty(&document).context("no JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.passed == Some(verdict)).count();
    let summary = Summary { passed: count(true), failed: count(false) };
    match options.policy {
        Policy::Tollgate => writeln!(out, "{} passed, {} failed", summary.passed, summary.failed)?,
        Policy::Naive | Policy::Static | Policy::Shared => {
            writeln!(out, "{} run, not judged: this policy is here to compare with", outcomes.len())?;
        }
    }
    Ok(summary)
}

/// Runs several at once, and hands them on in order.
fn for_each(
    scenarios: &[Arc<Scenario>],
    options: &Options,
    mut each: impl FnMut(Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(RUNS_MAX);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some((place, scenario)) = Some(next.fetch_add(1, Ordering::SeqCst))
                    .and_then(|place| Some((place, scenarios.get(place)?)))
                {
                    let outcome =
                        run_one(scenario, options).with_context(|| format!("scenario {}", scenario.id));
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

fn run_one(scenario: &Arc<Scenario>, options: &Options) -> anyhow::Result<Outcome> {
    let run = world::run(scenario, options.policy, options.seed)?;
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
        figures,
    })
}
