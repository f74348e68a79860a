//! `tollgate-loadtest replicas`: three tollgates that share a Redis, held to what one alone promises.
//!
//! Each case starts the binary three times and a Redis as processes of their own, before a stand-in for
//! GitHub in this process, which enforces its limits strictly and writes down every call. Twenty greedy
//! agents send each call to a replica at random. Then something breaks ([`fault`]), and the stand-in's
//! books say whether a limit was passed, who was served how often, and at what pace ([`journal`]).
//!
//! The load is 120 calls a second: so many that the lightest of the agents is served a hundred times in a
//! window and its share can be told within 3 %, and so few that two idle cores carry all of it: three
//! replicas take a seventh of a core, Redis a third, agents and stand-in a tenth.

mod disturbed;
mod fault;
mod fleet;
mod gauge;
mod journal;
mod low;
pub(crate) mod process;
pub(crate) mod redis;
mod steady;
mod switch;
mod verdict;
mod wire;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use verdict::{Table, Verdict};

/// The longest a case may take; each is done in about two and a half minutes.
const CASE_TIME_MAX: Duration = Duration::from_secs(300);

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// Two windows without a disturbance.
    Steady,
    /// Few calls, against the same with the embedded store.
    Low,
    /// One replica dies without a word, and comes back.
    Kill,
    /// Redis dies and comes back empty.
    Empty,
    /// Redis hangs for 10 s.
    Paused,
    /// Redis takes 50 ms for every answer, for 20 s.
    Slow,
    /// Redis takes 400 ms for every answer, for 20 s.
    Crawl,
    /// The primary dies, and sentinels name another.
    Sentinel,
    /// The primary of the installation's slot dies in a cluster of three.
    Cluster,
    /// One replica can't reach Redis for 30 s.
    Cut,
    /// An operator switches an agent off.
    Switch,
}

impl Case {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Steady => "steady",
            Case::Low => "low",
            Case::Kill => "kill",
            Case::Empty => "empty",
            Case::Paused => "paused",
            Case::Slow => "slow",
            Case::Crawl => "crawl",
            Case::Sentinel => "sentinel",
            Case::Cluster => "cluster",
            Case::Cut => "cut",
            Case::Switch => "switch",
        }
    }
}

/// How it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The binary the replicas are.
    pub(crate) tollgate: PathBuf,
    pub(crate) cases: Vec<Case>,
    pub(crate) seed: u64,
    /// Where all figures go.
    pub(crate) json: Option<PathBuf>,
    /// Where the logs of the replicas are kept; otherwise they go with the run.
    pub(crate) logs: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    passed: usize,
    failed: usize,
}

impl Summary {
    pub(crate) fn holds(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Runs the cases in turn, then prints a row for each; a signal ends them.
pub(crate) async fn run(options: Options, mut out: impl Write) -> anyhow::Result<Summary> {
    let mut verdicts = Vec::new();
    let stopped = tokio::select! {
        done = run_cases(&options, &mut verdicts, &mut out) => { done?; false }
        stopped = stopped() => { stopped?; true }
    };
    writeln!(out, "{}", Table(&verdicts))?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&verdicts)?;
        std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    anyhow::ensure!(!stopped, "stopped by a signal");
    let passed = verdicts.iter().filter(|verdict| verdict.holds()).count();
    Ok(Summary { passed, failed: verdicts.len() - passed })
}

async fn run_cases(
    options: &Options,
    verdicts: &mut Vec<Verdict>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for &case in &options.cases {
        writeln!(out, "== {}", case.name())?;
        let began = Instant::now();
        let mut verdict = Verdict::new(case.name());
        let work = timeout(CASE_TIME_MAX, Box::pin(run_case(case, options, &mut verdict))).await;
        if let Err(error) = work.context("it did not end in time").and_then(|done| done) {
            verdict.broken(format!("{error:#}"));
        }
        verdict.took(began.elapsed());
        writeln!(out, "{}", verdict.line())?;
        verdicts.push(verdict);
    }
    Ok(())
}

async fn run_case(case: Case, options: &Options, verdict: &mut Verdict) -> anyhow::Result<()> {
    match case {
        Case::Steady => steady::run(options, verdict).await,
        Case::Low => low::run(options, verdict).await,
        Case::Switch => switch::run(options, verdict).await,
        Case::Kill
        | Case::Empty
        | Case::Paused
        | Case::Slow
        | Case::Crawl
        | Case::Sentinel
        | Case::Cluster
        | Case::Cut => disturbed::run(case, options, verdict).await,
    }
}

/// Ready when somebody wants this to end.
async fn stopped() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
