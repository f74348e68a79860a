//! Another configuration for a running tollgate: when its files change, and on SIGHUP.
//!
//! What is sound takes effect for requests that come from then on; those under way are served to their end
//! as they began, but for agents that are there no more: their waiting ends at once. What is not sound
//! changes nothing. Keys that take effect at a start alone are named, and keep their values until then.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

/// How often the files are looked at; a change is taken up at the second look that finds it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Problems of a file that are shown; the log has all.
const PROBLEMS_SHOWN: usize = 20;

/// What a configuration is put into.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) in_force: Arc<InForce>,
    pub(super) roster: Arc<Roster>,
    pub(super) budget: Arc<Budget>,
    pub(super) admin_token: Arc<AdminToken>,
    /// As at the start.
    pub(super) fixed: Fixed,
    pub(super) status: Arc<ArcSwap<ConfigStatus>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Reload {
    /// What an operator is shown.
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

    /// Follows the files, or what is asked for where there are none; never ends.
    pub(super) async fn tend(self, mut watch: Option<Watch>, asked: Arc<Notify>) {
        loop {
            let is_asked = tokio::select! {
                () = asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY), if watch.is_some() => false,
            };
            let Some(mut files) = watch.take() else {
                tracing::warn!("there is no configuration file to read again");
                continue;
            };
            // Files may lie on a slow disk, and a fleet's takes a moment to check.
            let read = tokio::task::spawn_blocking(move || {
                let reading = (files.is_due() || is_asked).then(|| files.read());
                (files, reading)
            });
            match read.await {
                Ok((files, reading)) => {
                    reading.into_iter().for_each(|reading| self.take(reading));
                    watch = Some(files);
                }
                Err(error) => tracing::error!(%error, "the configuration can't be read again"),
            }
        }
    }

    fn take(&self, reading: Reading) {
        let result = match reading.outcome {
            Ok((config, warnings)) => self.put_into_force(config, &warnings, &reading.version),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        };
        let label = if result.is_ok() { "ok" } else { "failed" };
        self.metrics.config_reloads.with_label_values(&[label]).inc();
        let Err(mut problems) = result else { return };
        tracing::error!(
            problems = problems.join("; "),
            "the configuration was not reloaded; the one in force stays"
        );
        problems.truncate(PROBLEMS_SHOWN);
        let status = ConfigStatus { problems, ..ConfigStatus::clone(&self.status.load()) };
        self.status.store(Arc::new(status));
    }

    /// Everything that can fail comes before the first change.
    fn put_into_force(&self, config: Config, warnings: &Problems, version: &str) -> Result<(), Vec<String>> {
        let needs_start = self.fixed.changed(&config.fixed());
        let (tuning, cache) = (super::tuning(&config.budget), config.cache);
        let admin_token = config.server.admin_token.clone();
        let (agents, next) = self.prepare(config).map_err(|error| vec![error.to_string()])?;
        // An agent that is gone is refused from here on, even if a request of its own was just read.
        self.roster.replace(agents);
        self.in_force.replace(next);
        self.budget.tune(tuning);
        self.in_force.proxy().cache().tune(cache);
        self.admin_token.replace(admin_token.as_ref());
        for warning in warnings.iter().filter(|problem| problem.severity == Severity::Warning) {
            tracing::warn!("{}", warning);
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
