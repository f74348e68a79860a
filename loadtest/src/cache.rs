//! What the cache saves: a fleet reads the same things over and over, a few of them change, tokens are
//! renewed, and GitHub makes its tags by another rule all of a sudden.
//!
//! Every answer is compared with what GitHub has at that time, and the quota that was saved with what the
//! stand-in charged.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfy_table::Table;
use github_sim::{Fault, FaultKind, PrimaryLimits, RepositorySeed, Seed, Sim, SimConfig};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tollgate::app::App;
use tollgate::config;
use tollgate::secret::{AgentKey, hex};

use crate::demo::fleet::client::{Call, Client};

const AGENTS: usize = 50;
/// Resources: issues, each with its comments.
const ISSUES: u64 = 100;
/// Issues that change between two windows: one of a hundred resources.
const CHANGES: u64 = 2;
/// GitHub's hour, here: tokens live a little longer than one round of reads and are renewed at half time.
const TOKEN_LIFE_SECONDS: i64 = 8;
const WINDOWS: usize = 10;
/// At this window GitHub begins to make its tags otherwise, in the second run.
const RULE_CHANGES_AT: usize = 5;
/// Reads that must cost no quota, of a thousand.
const FREE_MIN: u64 = 970;
/// As of an Enterprise server that allows much: the stand-in's secondary limits are off.
const POINTS_PER_MINUTE: u32 = 10_000_000;

/// What came of the runs.
#[derive(Debug)]
pub(crate) struct Summary {
    wrong: u64,
    free_per_thousand: u64,
    differs: i64,
    violations: u64,
}

impl Summary {
    pub(crate) fn holds(&self) -> bool {
        self.wrong == 0 && self.free_per_thousand >= FREE_MIN && self.differs == 0 && self.violations == 0
    }
}

/// The stand-in, tollgate before it, and the fleet.
struct World {
    sim: Sim,
    admin: Client,
    agents: Vec<Client>,
    stop: CancellationToken,
    _files: TempDir,
}

/// One window's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Figures {
    reads: u64,
    wrong: u64,
    charged: u64,
    saved: u64,
    seconds_thousandths: u128,
}

/// Runs both, and prints a row for each window.
///
/// # Errors
/// When something does not start, or is not answered.
pub(crate) async fn run(mut out: impl Write) -> anyhow::Result<Summary> {
    let mut summary = Summary { wrong: 0, free_per_thousand: 1000, differs: 0, violations: 0 };
    for rule_changes in [false, true] {
        let world = World::start().await?;
        let mut table = Table::new();
        table.set_header(["window", "reads", "wrong", "charged", "free", "seconds"]);
        let mut all = Figures::default();
        for window in 0..WINDOWS {
            if rule_changes && window == RULE_CHANGES_AT {
                world.sim.faults().add(Fault::new(FaultKind::EtagRule { salt: "another".to_owned() }));
            }
            let figures = world.window(window).await?;
            table.add_row(figures.row(&window.to_string()));
            all.add(figures);
        }
        let validators = world.validators().await?;
        world.stop.cancel();
        table.add_row(all.row("all"));
        writeln!(
            out,
            "GitHub's rule of tags {}",
            if rule_changes { "changes at window 5" } else { "stays" }
        )?;
        writeln!(out, "{table}\n{validators}\n")?;
        summary.wrong += all.wrong;
        summary.violations += world.sim.books().violations_total();
        summary.differs += i64::try_from(all.reads)? - i64::try_from(all.saved + all.charged)?;
        if !rule_changes {
            summary.free_per_thousand = all.free_per_thousand();
        }
    }
    writeln!(out, "{summary:?}: {}", if summary.holds() { "holds" } else { "DOES NOT HOLD" })?;
    Ok(summary)
}

impl Figures {
    fn add(&mut self, other: Figures) {
        self.reads += other.reads;
        self.wrong += other.wrong;
        self.charged += other.charged;
        self.saved += other.saved;
        self.seconds_thousandths += other.seconds_thousandths;
    }

    fn free_per_thousand(&self) -> u64 {
        self.reads.saturating_sub(self.charged) * 1000 / self.reads.max(1)
    }

    fn row(&self, name: &str) -> [String; 6] {
        let free = self.free_per_thousand();
        [
            name.to_owned(),
            self.reads.to_string(),
            self.wrong.to_string(),
            self.charged.to_string(),
            format!("{}.{} %", free / 10, free % 10),
            format!("{}.{:03}", self.seconds_thousandths / 1000, self.seconds_thousandths % 1000),
        ]
    }
}

impl World {
    async fn start() -> anyhow::Result<World> {
        let repository = RepositorySeed { issues: ISSUES, ..RepositorySeed::new("acme/widgets", 2001) };
        let config = SimConfig {
            seed: Seed { repositories: vec![repository], ..Seed::default() },
            token_lifetime_seconds: TOKEN_LIFE_SECONDS,
            limits: PrimaryLimits { core: 1_000_000, ..PrimaryLimits::default() },
            ring: 10,
            ..SimConfig::default()
        };
        let sim = Sim::start(config).await.context("the stand-in for GitHub did not start")?;
        let files = TempDir::new()?;
        std::fs::write(files.path().join("app.pem"), sim.private_key_pem())?;
        let keys: Vec<AgentKey> = (0..AGENTS).map(|number| AgentKey::generate(&name(number))).collect();
        let file = files.path().join("tollgate.yaml");
        std::fs::write(&file, configuration(&sim, &keys))?;
        let app = start(&file).await?;
        let (base, admin) =
            (format!("http://{}", app.address()?), format!("http://{}", app.admin_address()?));
        let stop = app.stop_token();
        tokio::spawn(app.run());
        let agents = keys.iter().map(|key| Client::with_key(&base, key.expose()));
        Ok(World {
            agents: agents.collect::<anyhow::Result<_>>()?,
            sim,
            admin: Client::new(&admin),
            stop,
            _files: files,
        })
    }

    /// All agents read everything, each in an order of its own, after a few issues changed.
    async fn window(&self, window: usize) -> anyhow::Result<Figures> {
        let window = u64::try_from(window)?;
        for place in 0..CHANGES {
            let number = 1 + (window * 37 + place * 11) % ISSUES;
            let title = format!("Issue {number} as of window {window}");
            ensure!(
                self.sim.edit(|world| world.edit_issue("acme/widgets", number, &title)),
                "no issue {number}"
            );
        }
        let titles: Arc<Vec<String>> = Arc::new(self.titles());
        let (charged, saved) = (self.charged(), self.saved().await?);
        let began = Instant::now();
        let readers = self.agents.iter().enumerate().map(|(place, agent)| {
            let (agent, titles) = (agent.clone(), Arc::clone(&titles));
            tokio::spawn(async move { read_all(place, &agent, &titles).await })
        });
        let mut figures = Figures::default();
        for reader in readers.collect::<Vec<_>>() {
            let (reads, wrong) = reader.await??;
            figures.reads += reads;
            figures.wrong += wrong;
        }
        figures.seconds_thousandths = began.elapsed().as_millis();
        // The next window begins with another token.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        figures.charged = self.charged() - charged;
        figures.saved = self.saved().await? - saved;
        Ok(figures)
    }

    /// The titles GitHub has.
    fn titles(&self) -> Vec<String> {
        self.sim.edit(|world| {
            (1..=ISSUES).filter_map(|number| world.issue_title("acme/widgets", number)).collect()
        })
    }

    fn charged(&self) -> u64 {
        self.sim.books().used.get("installation:1001/core").copied().unwrap_or_default()
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.admin.send(Call::get("/metrics")).await?.body.to_vec())?)
    }

    async fn saved(&self) -> anyhow::Result<u64> {
        let metrics = self.metrics().await?;
        let values = metrics.lines().filter_map(|line| line.strip_prefix("tollgate_quota_saved_total{"));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// How GitHub was asked, and how it answered.
    async fn validators(&self) -> anyhow::Result<String> {
        let metrics = self.metrics().await?;
        let lines = metrics.lines().filter(|line| {
            line.starts_with("tollgate_cache_validators_total{")
                || line.starts_with("tollgate_quota_saved_total{")
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// How many reads, and how many of them showed what GitHub has not.
async fn read_all(place: usize, agent: &Client, titles: &[String]) -> anyhow::Result<(u64, u64)> {
    let (mut reads, mut wrong) = (0, 0);
    let offset = place * 7;
    for step in 0..titles.len() {
        let at = (step + offset) % titles.len();
        for below in ["", "/comments"] {
            let mut call = Call::get(format!("/repos/acme/widgets/issues/{}{below}", at + 1));
            if place.is_multiple_of(5) {
                // GitHub indents its answers to these, which makes another tag.
                call = call.with_header("user-agent", "curl/8.5.0");
            }
            let reply = agent.send(call).await?;
            reads += 1;
            let is_right = reply.status == 200
                && match below {
                    "" => reply.json()["title"] == titles[at].as_str(),
                    _ => reply.json().is_array(),
                };
            wrong += u64::from(!is_right);
        }
    }
    Ok((reads, wrong))
}

async fn start(file: &Path) -> anyhow::Result<App> {
    let (config, _) = config::from_file(file).context("the configuration is refused")?;
    App::start(config).await.context("tollgate did not start")
}

fn name(number: usize) -> String {
    format!("agent-{number}")
}

fn configuration(sim: &Sim, keys: &[AgentKey]) -> String {
    let agents = keys.iter().enumerate().map(|(number, key)| {
        format!(
            "  - {{ name: {}, key_sha256: {}, repositories: [acme/*] }}\n",
            name(number),
            hex(&key.sha256())
        )
    });
    format!(
        "server: {{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }}\n\
         upstream: {{ api_url: {}, uploads_url: {} }}\n\
         apps: [{{ name: bot, app_id: {}, private_key_file: app.pem }}]\n\
         budget: {{ secondary: {{ concurrent: 1000, rest_points_per_minute: {POINTS_PER_MINUTE}, \
         rest_points_per_minute_total: {POINTS_PER_MINUTE} }} }}\n\
         policy: {{ audit_log: off, approval: {{ mode: presence }} }}\n\
         agents:\n{}",
        sim.api_url(),
        sim.uploads_url(),
        sim.app_id(),
        agents.collect::<String>()
    )
}
