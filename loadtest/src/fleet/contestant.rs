//! Who is compared, and one run of each.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::Options;
use super::client::{Crowd, Doors, lock};
use super::gate::Gate;
use super::github::{Entry, GitHub};
use super::nginx::Nginx;
use super::outcome::Outcome;
use super::plan::Plan;
use super::programs::{Kind, Program};

/// The books are read this often, and something polled changes; every tenth time the progress is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const CHANGE_EVERY: u64 = 10;
const TELL_EVERY: u64 = 10;
/// A program reads its orders within this.
const SETTING_UP: Duration = Duration::from_secs(5);

/// What stands between agents and GitHub, or what the agents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// Well-behaved clients straight at GitHub, with one installation's token.
    Alone,
    /// Octokit with its throttling and retry plugins, likewise.
    Octokit,
    /// PyGithub with its own retries and pauses, likewise.
    Pygithub,
    /// nginx as a cache that revalidates and adds the token.
    Nginx,
    /// The same, before one queue for all at the quota's pace.
    Bucket,
    /// One tollgate with the embedded store.
    Tollgate,
    /// Several tollgates that share a Redis.
    TollgateRedis,
}

impl Contestant {
    pub(crate) fn is_tollgate(self) -> bool {
        matches!(self, Contestant::Tollgate | Contestant::TollgateRedis)
    }

    pub(crate) fn title(self, replicas: usize) -> String {
        match self {
            Contestant::Alone => "clients alone".to_owned(),
            Contestant::Octokit => "Octokit".to_owned(),
            Contestant::Pygithub => "PyGithub".to_owned(),
            Contestant::Nginx => "nginx cache".to_owned(),
            Contestant::Bucket => "nginx cache + queue".to_owned(),
            Contestant::Tollgate => "tollgate".to_owned(),
            Contestant::TollgateRedis => format!("tollgate ×{replicas}, Redis"),
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Contestant::Alone => "one shared token; each client waits as GitHub asks, with jitter",
            Contestant::Octokit => "one shared token; throttling and retry plugins as they come",
            Contestant::Pygithub => "one shared token; GithubRetry and pauses as they come",
            Contestant::Nginx => "adds the token, revalidates what it has; clients back off",
            Contestant::Bucket => "one leaky bucket at the quota's pace, first come, first served",
            Contestant::Tollgate => "one replica, embedded store",
            Contestant::TollgateRedis => "each call to the next replica",
        }
    }

    fn program(self) -> Option<Kind> {
        match self {
            Contestant::Octokit => Some(Kind::Octokit),
            Contestant::Pygithub => Some(Kind::PyGithub),
            Contestant::Alone
            | Contestant::Nginx
            | Contestant::Bucket
            | Contestant::Tollgate
            | Contestant::TollgateRedis => None,
        }
    }

    /// Why it can't take part on this machine, if it can't.
    pub(crate) fn is_missing(self, options: &Options) -> Option<String> {
        match self {
            Contestant::Nginx | Contestant::Bucket => Nginx::is_missing(),
            _ => self.program().and_then(|kind| Program::is_missing(kind, &options.clients)),
        }
    }
}

/// All that was seen of one run.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) contestant: Contestant,
    pub(crate) entries: Vec<Entry>,
    pub(crate) outcomes: Vec<Outcome>,
    /// What the contestant itself complained of.
    pub(crate) notes: Vec<String>,
}

/// What is between, for as long as it is kept.
enum Between {
    Nothing,
    Nginx(Nginx),
    Gate(Gate),
}

/// Lets one contestant meet the plan before a stand-in of its own.
pub(crate) async fn run(
    contestant: Contestant,
    plan: &Arc<Plan>,
    options: &Options,
    out: &mut impl Write,
) -> anyhow::Result<Course> {
    let directory = tempfile::Builder::new().prefix("tollgate-fleet-").tempdir()?;
    let mut github = GitHub::start(&plan.measures).await?;
    let between = start(contestant, directory.path(), &github, plan, options).await?;
    let token = github.sim.mint("acme");
    let api_url = github.sim.api_url();
    let setting_up = if contestant.program().is_some() { SETTING_UP } else { Duration::from_secs(1) };
    let began = Instant::now() + setting_up;
    let setting_up_ms = i64::try_from(setting_up.as_millis()).unwrap_or(0);
    github.begin_at(github.sim.clock().now_epoch_ms() + setting_up_ms);
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let mut program = None;
    let mut crowd = None;
    if let Some(kind) = contestant.program() {
        let place = (api_url.as_str(), token.as_str());
        let begun_ms = github.began_ms;
        program = Some(Program::start(kind, &options.clients, directory.path(), plan, place, begun_ms)?);
    } else {
        let doors = match &between {
            Between::Nothing => {
                Doors { urls: vec![api_url], credentials: Some(vec![token; plan.agents.len()]) }
            }
            Between::Nginx(nginx) => Doors { urls: vec![nginx.url.clone()], credentials: None },
            Between::Gate(gate) => Doors { urls: gate.urls(), credentials: Some(gate.credentials()) },
        };
        crowd = Some(Crowd::start(plan, &doors, began, &outcomes));
    }
    watch(&mut github, &mut program, began + Duration::from_millis(plan.measures.duration_ms()), out).await?;
    drop(crowd);
    let mut outcomes = std::mem::take(&mut *lock(&outcomes));
    if let Some(program) = program {
        outcomes = program.finish()?;
    }
    let notes = match &between {
        Between::Gate(gate) => gate.complaints(),
        Between::Nothing | Between::Nginx(_) => Vec::new(),
    };
    drop(between);
    github.read(true);
    Ok(Course { contestant, entries: github.entries, outcomes, notes })
}

async fn start(
    contestant: Contestant,
    directory: &Path,
    github: &GitHub,
    plan: &Plan,
    options: &Options,
) -> anyhow::Result<Between> {
    let token = github.sim.mint("acme");
    let replicas = if contestant == Contestant::TollgateRedis { options.replicas } else { 1 };
    Ok(match contestant {
        Contestant::Alone | Contestant::Octokit | Contestant::Pygithub => Between::Nothing,
        Contestant::Nginx | Contestant::Bucket => {
            let is_paced = contestant == Contestant::Bucket;
            let url = github.sim.api_url();
            Between::Nginx(Nginx::start(directory, &url, &token, &plan.measures, is_paced).await?)
        }
        Contestant::Tollgate | Contestant::TollgateRedis => {
            Between::Gate(Gate::start(&options.tollgate, directory, github, plan, replicas).await?)
        }
    })
}

/// Reads the books until the end, and says how it goes.
async fn watch(
    github: &mut GitHub,
    program: &mut Option<Program>,
    end: Instant,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut turn = 0;
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + LOOK_EVERY)).await;
        turn += 1;
        github.read(false);
        if turn % CHANGE_EVERY == 0 {
            github.change(turn / CHANGE_EVERY);
        }
        if let Some(program) = program {
            program.is_alive()?;
        }
        if turn % TELL_EVERY == 0 {
            let points: u64 = github.entries.iter().map(|entry| entry.points).sum();
            let refusals = github.entries.iter().filter(|entry| entry.refused_for.is_some()).count();
            let seconds = began.elapsed().as_secs();
            writeln!(out, "{seconds:>5} s  {points} points charged, {refusals} refusals by GitHub")?;
            out.flush()?;
        }
    }
    // Answers under way are in the books soon.
    sleep(LOOK_EVERY).await;
    Ok(())
}
