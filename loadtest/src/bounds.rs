//! `tollgate-loadtest bounds`: the real tollgate under load and abuse, held to the bounds it promises.
//!
//! Each part starts the binary as a process of its own ([`process`]) before an upstream that streams
//! ([`upstream`]), so what the kernel says of that process is tollgate's alone. Everything is on
//! loopback, bounded in count and time, and ends with the run, however that ends.

mod client;
mod content;
mod dribble;
mod floods;
mod http2;
mod idle;
mod ordinary;
mod process;
mod report;
mod slow_reader;
mod stream;
mod upstream;
mod usage;
mod world;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use report::Report;
pub(crate) use report::Summary;

/// The longest a part may take; each is done in about a minute.
const PART_TIME_MAX: Duration = Duration::from_secs(240);
/// Descriptors this process needs: both ends of every connection that is not tollgate's.
const DESCRIPTORS: u64 = 12_000;

/// What is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One upload and one download of 1 GiB at once.
    Stream,
    /// 5,000 idle connections.
    Idle,
    /// A caller that reads a large answer slowly.
    SlowReader,
    /// 200 connections that send a byte a second.
    Dribble,
    /// Bad keys, connections reset at once, HTTP/2 streams reset at once.
    Floods,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Stream => "stream",
            Part::Idle => "idle",
            Part::SlowReader => "slow-reader",
            Part::Dribble => "dribble",
            Part::Floods => "floods",
        }
    }
}

/// How it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The binary that is held to the bounds.
    pub(crate) tollgate: PathBuf,
    pub(crate) parts: Vec<Part>,
}

/// Runs the parts in turn, printing a row for each figure; a signal ends them.
pub(crate) async fn run(options: Options, out: impl Write) -> anyhow::Result<Summary> {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).context("no limit of descriptors")?;
    anyhow::ensure!(
        descriptors >= DESCRIPTORS,
        "this needs {DESCRIPTORS} descriptors, and only {descriptors} are allowed: `ulimit -Hn {DESCRIPTORS}`"
    );
    let mut report = Report::new(out);
    tokio::select! {
        done = run_parts(&options, &mut report) => done?,
        stopped = stopped() => {
            stopped?;
            anyhow::bail!("stopped by a signal");
        }
    }
    report.finish()
}

async fn run_parts(options: &Options, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    report.heading()?;
    for &part in &options.parts {
        report.begin(part.name());
        let work = run_part(part, options, report);
        let done = timeout(PART_TIME_MAX, Box::pin(work))
            .await
            .context("it did not end in time")
            .and_then(|done| done);
        if let Err(error) = done {
            report.broken(&error)?;
        }
    }
    Ok(())
}

async fn run_part(part: Part, options: &Options, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let binary = options.tollgate.as_path();
    match part {
        Part::Stream => stream::run(binary, report).await,
        Part::Idle => idle::run(binary, report).await,
        Part::SlowReader => slow_reader::run(binary, report).await,
        Part::Dribble => dribble::run(binary, report).await,
        Part::Floods => floods::run(binary, report).await,
    }
}

/// Ready when somebody wants this to end.
async fn stopped() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
