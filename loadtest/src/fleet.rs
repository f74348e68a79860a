//! `tollgate-loadtest fleet`: one fleet, and what becomes of it with and without tollgate.
//!
//! A seeded plan ([`plan`]) says who asks what and when, whether or not earlier requests were answered. Each
//! contestant meets it before a stand-in for GitHub of its own, whose books say what was charged and what was
//! refused; what was answered, the agents say ([`figures`]). Everything goes through real sockets, and an hour
//! of GitHub's takes a minute. [`hour`] is the whole hour, in virtual time.

mod client;
mod contestant;
mod figures;
mod gate;
mod github;
pub(crate) mod hour;
mod judge;
mod nginx;
mod outcome;
mod page;
mod picture;
mod plan;
mod plots;
mod programs;
mod svg;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use contestant::Contestant;
use figures::Figures;
pub(crate) use plan::Measures;
use plan::Plan;

/// Descriptors: each open request has four ends in two processes, two of them here.
const DESCRIPTORS: u64 = 65_536;

/// How it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The binary the replicas are.
    pub(crate) tollgate: PathBuf,
    /// Where the clients of others are installed.
    pub(crate) clients: PathBuf,
    pub(crate) measures: Measures,
    pub(crate) replicas: usize,
    pub(crate) contestants: Vec<Contestant>,
    /// Where all figures go, the page, and the picture.
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) picture: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    failures: Vec<String>,
}

impl Summary {
    pub(crate) fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) measures: Measures,
    pub(crate) contestants: Vec<Figures>,
    /// Who could not take part, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) failures: Vec<String>,
}

/// Draws again what an earlier run wrote as JSON.
pub(crate) fn redraw(from: &Path, options: &Options, mut out: impl Write) -> anyhow::Result<Summary> {
    let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("{} is no run", from.display()))?;
    tell(&report, options, &mut out)?;
    Ok(Summary { failures: report.failures })
}

/// Lets the contestants meet the plan in turn, and reports.
pub(crate) async fn run(options: &Options, mut out: impl Write) -> anyhow::Result<Summary> {
    // As many as there may be: a small fleet needs few.
    let _ = rlimit::increase_nofile_limit(DESCRIPTORS);
    let plan = Arc::new(Plan::new(options.measures));
    let (agents, requests) = (plan.agents.len(), plan.requests.len());
    let seconds = plan.measures.duration_ms() / 1000;
    writeln!(out, "{agents} agents, {requests} requests in {seconds} s; seed {}", plan.measures.seed)?;
    let mut report = Report {
        measures: options.measures,
        contestants: Vec::new(),
        left_out: Vec::new(),
        failures: Vec::new(),
    };
    for contestant in &options.contestants {
        let title = contestant.title(options.replicas);
        if let Some(why) = contestant.is_missing(options) {
            writeln!(out, "== {title}: left out, {why}")?;
            report.left_out.push(format!("{title}: {why}"));
            continue;
        }
        writeln!(out, "== {title}")?;
        let course = contestant::run(*contestant, &plan, options, &mut out)
            .await
            .with_context(|| format!("{title} did not end well"))?;
        let figures = Figures::new(&plan, &course, options.replicas);
        report.failures.extend(judge::failures(&figures, &plan.measures));
        report.contestants.push(figures);
    }
    tell(&report, options, &mut out)?;
    Ok(Summary { failures: report.failures })
}

fn tell(report: &Report, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}", table::table(&report.contestants))?;
    for figures in &report.contestants {
        for note in &figures.notes {
            writeln!(out, "{}: {note}", figures.title)?;
        }
    }
    for failure in &report.failures {
        writeln!(out, "FAIL {failure}")?;
    }
    let write = |path: &Option<PathBuf>, text: &dyn Fn() -> anyhow::Result<String>| {
        let Some(path) = path else { return Ok(()) };
        std::fs::write(path, text()?).with_context(|| format!("cannot write {}", path.display()))
    };
    write(&options.json, &|| Ok(serde_json::to_string_pretty(report)? + "\n"))?;
    write(&options.html, &|| Ok(page::page(report)))?;
    write(&options.picture, &|| picture::picture(report))
}
