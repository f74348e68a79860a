//! Loads another configuration into a running tollgate: when its files change, and on SIGHUP.
//!
//! A valid configuration applies to requests that arrive from then on; requests in flight finish as they began,
//! except that requests of removed agents stop waiting at once. An invalid one changes nothing. Changed keys that
//! only take effect at start are named, and keep their values until then.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forgetting::Forgetting;
use crate::admin::{AdminToken, Board};
use crate::agent::Agents;
use crate::agent::roster::Roster;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::problem::Severity;
use crate::config::{Config, Fixed, Problems, Reading, Watch};
use crate::github::client::CaError;
use crate::metrics::Metrics;
use crate::proxy::in_force::InForce;
use crate::redis_client::RedisClient;
use crate::status::ConfigStatus;
use crate::status::collect::Sources;

/// How often the files are checked; a change is applied at the second check that finds it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file that takes longer is reported as stuck; tollgate still waits for it.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How many of a file's problems the status page shows; the log has all.
const PROBLEMS_SHOWN: usize = 20;
/// Characters shown of each problem.
const PROBLEM_LENGTH: usize = 300;

/// The parts that a new configuration is applied to.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) in_force: Arc<InForce>,
    pub(super) roster: Arc<Roster>,
    pub(super) budget: Arc<Budget>,
    pub(super) admin_token: Arc<AdminToken>,
    /// The settings that only take effect at start, as they were then.
    pub(super) fixed: Fixed,
    pub(super) status: Arc<ArcSwap<ConfigStatus>>,
    pub(super) metrics: Arc<Metrics>,
    /// The number of problems in a file that was not applied.
    pub(super) problems: IntGauge,
    pub(super) clock: Arc<dyn Clock>,
}

impl Reload {
    /// The status board that operators are shown.
    pub(super) fn board(&self, redis: Option<Arc<RedisClient>>, draining: CancellationToken) -> Board {
        let sources = Sources {
            in_force: Arc::clone(&self.in_force),
            roster: Arc::clone(&self.roster),
            budget: Arc::clone(&self.budget),
            redis,
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.clock),
            started: Instant::now(),
            draining,
            admin_token: Arc::clone(&self.admin_token),
            config: Arc::clone(&self.status),
        };
        Board::new(move || sources.collect())
    }

    /// Reloads when the files change or `asked` is notified; never ends. If no files are followed, `asked` only
    /// logs that.
    pub(super) async fn tend(self, mut watch: Option<Watch>, asked: Arc<Notify>) {
        let mut forgetting = Forgetting::new();
        loop {
            let is_asked = tokio::select! {
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY), if watch.is_some() => false,
            };
            watch = match watch {
                Some(files) => {
                    let (files, has_reloaded) = self.look(files, is_asked).await;
                    if has_reloaded {
                        forgetting.call_for(Instant::now(), self.roster.agents());
                    }
                    Some(files)
                }
                None => {
                    tracing::warn!("there is no configuration file to read again");
                    None
                }
            };
            if let Some(kept) = forgetting.take_turn(Instant::now(), || self.roster.agents()) {
                self.forget(&kept);
            }
        }
    }

    /// Drops the figures of agents and Apps that no longer exist; agents in `kept`, which may just have been
    /// removed, keep theirs.
    fn forget(&self, kept: &Agents) {
        let agents = self.roster.agents();
        self.budget.forget_agents(|name| agents.named(name).is_some() || kept.named(name).is_some());
        let tokens = self.in_force.proxy().overview().tokens;
        self.metrics.forget_tokens(|name| tokens.iter().any(|token| token.installation == name));
    }

    /// Reads the files on a blocking thread, since they may be on a slow disk and a fleet's configuration takes a
    /// moment to check. Also returns whether another configuration is now in force.
    async fn look(&self, mut files: Watch, is_asked: bool) -> (Watch, bool) {
        let path = files.path().to_owned();
        let mut read = tokio::task::spawn_blocking(move || {
            let reading = (is_asked || files.is_due()).then(|| files.read());
            (files, reading)
        });
        let read = match tokio::time::timeout(READ_WITHIN, &mut read).await {
            Ok(read) => read,
            Err(_) => {
                let before = (self.status.load_full(), self.problems.get());
                self.refuse(&[format!("{} or a file it names can't be read to its end", path.display())]);
                let read = read.await;
                if matches!(read, Ok((_, None))) {
                    // The read was slow, but nothing changed.
                    self.status.store(before.0);
                    self.problems.set(before.1);
                }
                read
            }
        };
        match read {
            Ok((files, reading)) => {
                let has_reloaded = reading.is_some_and(|reading| self.take(reading));
                (files, has_reloaded)
            }
            Err(error) => {
                self.refuse(&[error.to_string()]);
                (Watch::unread(&path), false)
            }
        }
    }

    fn take(&self, reading: Reading) -> bool {
        let result = match reading.outcome {
            Ok((config, warnings)) => self.put_into_force(config, &warnings, &reading.version),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        };
        match &result {
            Ok(()) => {
                self.metrics.config_reloads.with_label_values(&["ok"]).inc();
                self.problems.set(0);
            }
            Err(problems) => self.refuse(problems),
        }
        result.is_ok()
    }

    fn refuse(&self, problems: &[String]) {
        self.metrics.config_reloads.with_label_values(&["failed"]).inc();
        let count = i64::try_from(problems.len()).unwrap_or(i64::MAX);
        self.problems.set(count);
        let problems: Vec<String> = problems.iter().map(|problem| for_everybody(problem)).collect();
        tracing::error!(
            problems = problems.join("; "),
            "the configuration was not reloaded; the one in force stays"
        );
        let shorten = |problem: &String| problem.chars().take(PROBLEM_LENGTH).collect();
        let problems = problems.iter().take(PROBLEMS_SHOWN).map(shorten).collect();
        let status = ConfigStatus { problems, ..ConfigStatus::clone(&self.status.load()) };
        self.status.store(Arc::new(status));
    }

    /// Does everything that can fail before the first change.
    fn put_into_force(&self, config: Config, warnings: &Problems, version: &str) -> Result<(), Vec<String>> {
        let needs_start = self.fixed.changed(&config.fixed());
        let (tuning, cache) = (super::tuning(&config.budget), config.cache);
        let admin_token = config.server.admin_token.clone();
        let (agents, next) = self.prepare(config).map_err(|error| vec![error.to_string()])?;
        // From here on a removed agent is refused, even if a request of its own has just been read.
        self.roster.replace(agents);
        self.in_force.replace(next);
        self.budget.tune(tuning);
        self.in_force.proxy().cache().tune(cache);
        self.admin_token.replace(admin_token.as_ref());
        for warning in warnings.iter().filter(|problem| problem.severity == Severity::Warning) {
            tracing::warn!("{}", warning.plain());
        }
        if !needs_start.is_empty() {
            tracing::warn!(
                keys = needs_start.join(", "),
                "some changes take effect when tollgate is started again"
            );
        }
        tracing::info!(version, "the configuration was reloaded");
        self.status.store(Arc::new(ConfigStatus {
            version: Some(version.to_owned()),
            since_epoch_ms: self.clock.now_ms(),
            problems: Vec::new(),
            needs_start: needs_start.into_iter().map(str::to_owned).collect(),
        }));
        Ok(())
    }

    fn prepare(&self, mut config: Config) -> Result<(Arc<Agents>, crate::proxy::Proxy), CaError> {
        let proxy = self.in_force.proxy();
        let agents = Arc::new(Agents::new(std::mem::take(&mut config.agents)));
        let issuers = std::mem::take(&mut config.identities);
        let identities = Arc::new(proxy.identities().renewed(issuers, &agents)?);
        Ok((Arc::clone(&agents), proxy.renewed(config, agents, identities)))
    }
}

/// Removes what stands between backticks: many read the log, and everyone who reaches the status page sees it, and
/// somebody may have typed a secret where the name of its file belongs.
fn for_everybody(problem: &str) -> String {
    let parts = problem.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 0 { part } else { "…" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_sees_holds_no_values() {
        for (problem, shown) in [
            ("agents[1].weight, line 21: must be 1 to 1000", "agents[1].weight, line 21: must be 1 to 1000"),
            ("a, line 2: `/etc/S3cret` can't be read: it is `x`", "a, line 2: … can't be read: it is …"),
            ("`", "…"),
        ] {
            assert_eq!(for_everybody(problem), shown);
        }
    }
}
