//! Wires the parts together: from a [`Config`] to its listeners, and from a stop to the end.
//!
//! After a stop, in this order: `/readyz` fails, no more connections are accepted, requests on open connections
//! are served for a moment longer, those in flight finish within `drain_timeout`, and the admin listener goes
//! last. While it runs, new configurations take effect; see [`reload`].

mod forgetting;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::{Admin, AdminToken, Api, Door};
use crate::agent::Agents;
use crate::agent::disabled::DisabledAgents;
use crate::agent::roster::Roster;
use crate::audit::Audit;
use crate::budget::redis_store::RedisStore;
use crate::budget::store::{MemoryStore, Store};
use crate::budget::{self, Budget, Identity};
use crate::cache::changes::Changes;
use crate::cache::feed::{Feed, Forget};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, Watch};
use crate::github::client::CaError;
use crate::identity::Identities;
use crate::metrics::Metrics;
use crate::proxy::in_force::InForce;
use crate::proxy::listener::{Bounds, Listener};
use crate::proxy::{self, Proxy};
use crate::redis_client::{RedisClient, RedisStartError};
use crate::spent::{self, MemorySpent, RedisSpent, SpentStore};
use crate::status::ConfigStatus;
use crate::telemetry;
use crate::tls::{Certificate, TlsError};
use crate::webhook::{Webhook, subscription};

use reload::Reload;

/// How long shutdown waits for what the webhook received to reach the other replicas.
const WEBHOOK_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Why tollgate could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("{key}: {address} can't be listened on: {why}")]
    Bind { key: &'static str, address: SocketAddr, why: io::Error },
    #[error("policy.audit_log: {0}")]
    Audit(io::Error),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("server.tls: {0}")]
    Certificate(#[from] TlsError),
    #[error(transparent)]
    Redis(#[from] RedisStartError),
    #[error("server.tls: {0}")]
    Tls(#[from] rustls::Error),
    #[error("a part of tollgate failed while it ran: the log says which; please report it")]
    PartLost,
}

/// A tollgate that is listening, ready to run.
#[derive(Debug)]
pub struct App {
    reload: Reload,
    /// The configuration files to follow, if any.
    watch: Option<Watch>,
    /// Asks for the files to be read again.
    reread: Arc<Notify>,
    spent: Arc<dyn SpentStore>,
    audit: Audit,
    listener: Listener,
    admin: Admin,
    webhook: Option<Webhook>,
    certificate: Option<Arc<Certificate>>,
    drain: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl App {
    /// Binds the listeners.
    ///
    /// # Errors
    /// When an address can't be bound or a part can't be set up.
    pub async fn start(config: Config) -> Result<App, StartError> {
        let bounds = Bounds::default().within(descriptors());
        App::start_with(config, Arc::new(SystemClock), bounds).await
    }

    /// Like [`App::start`], with the caller's clock and bounds.
    #[allow(clippy::too_many_lines, reason = "a list of the parts, each made from those before it")]
    pub async fn start_with(
        mut config: Config,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Result<App, StartError> {
        install_crypto();
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let fixed = config.fixed();
        let (listen, admin_listen) = (config.server.listen, config.server.admin_listen);
        let drain = config.server.drain_timeout;
        let listener = Listener::bind(listen, bounds).await.map_err(unbound("server.listen", listen))?;
        let redis = match config.budget.redis.take() {
            Some(settings) => Some(RedisClient::start(settings, Arc::clone(&metrics)).await?),
            None => None,
        };
        let agents = Arc::new(Agents::new(std::mem::take(&mut config.agents)));
        let roster = Arc::new(Roster::new(Arc::clone(&agents), disabled(redis.as_ref()).await));
        let admin_token = Arc::new(AdminToken::new(config.server.admin_token.as_ref()));
        let api = Api::new(Arc::clone(&roster), Arc::clone(&admin_token));
        let door = Door::bind(admin_listen).await.map_err(unbound("server.admin_listen", admin_listen))?;
        let certificate = match config.server.tls.clone() {
            Some(files) => {
                Some(Arc::new(Certificate::try_new(files, clock.now_seconds(), Arc::clone(&metrics))?))
            }
            None => None,
        };
        let audit =
            Audit::start(&config.policy.audit_log, Arc::clone(&metrics)).map_err(StartError::Audit)?;
        let spent = spent(&config.policy, redis.as_ref(), &clock).await;
        let changes = Arc::new(Changes::new(Arc::clone(&clock)));
        let feed = Arc::new(Feed::new(changes, redis.clone(), Arc::clone(&metrics)));
        let webhook = webhook(config.webhook.take(), &feed, &metrics).await?;
        let store: Arc<dyn Store> = match redis.clone() {
            Some(redis) => Arc::new(RedisStore::new(redis)),
            None => Arc::new(MemoryStore::new(Arc::clone(&clock))),
        };
        let budget = budget(&config.budget, bounds.connections, store, &metrics);
        let lost = metrics.log_lost.with_label_values::<&str>(&[]);
        metrics.before_render(move || lost.inc_by(telemetry::lines_lost().saturating_sub(lost.get())));
        let exported = Arc::downgrade(&budget);
        metrics.before_render(move || exported.upgrade().iter().for_each(|budget| budget.export()));
        let issuers = std::mem::take(&mut config.identities);
        let identities =
            Identities::try_new(issuers, &agents, Arc::clone(&clock), Arc::clone(&metrics)).map(Arc::new)?;
        let parts = proxy::Shared {
            roster: Arc::clone(&roster),
            identities,
            budget: Arc::clone(&budget),
            spent: Arc::clone(&spent),
            audit: audit.clone(),
            feed: Arc::clone(&feed),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let in_force = InForce::new(Proxy::try_new(config, parts)?);
        feed.forget_with(Arc::downgrade(&in_force) as Weak<dyn Forget>);
        let status = ConfigStatus { since_epoch_ms: clock.now_ms(), ..ConfigStatus::default() };
        let reload = Reload {
            in_force,
            roster,
            budget,
            admin_token,
            fixed,
            status: Arc::new(ArcSwap::from_pointee(status)),
            problems: metrics.config_problems.with_label_values::<&str>(&[]),
            metrics,
            clock,
        };
        let board = reload.board(redis, stop.clone());
        let admin = Admin::new(door, Arc::clone(&reload.metrics), api, board, stop.clone());
        Ok(App {
            reload,
            watch: None,
            reread: Arc::default(),
            spent,
            audit,
            listener,
            admin,
            webhook,
            certificate,
            drain,
            stop,
            cut: CancellationToken::new(),
        })
    }

    /// Follows changes to the configuration file and to the files that it names; with `None` it came from a pipe
    /// and there is nothing to follow.
    #[must_use]
    pub fn following(mut self, watch: Option<Watch>, version: &str) -> App {
        let status = ConfigStatus {
            version: Some(version.to_owned()),
            ..ConfigStatus::clone(&self.reload.status.load())
        };
        self.reload.status.store(Arc::new(status));
        self.watch = watch;
        self
    }

    /// Notifying it makes tollgate read the file again at once.
    pub fn reread(&self) -> Arc<Notify> {
        Arc::clone(&self.reread)
    }

    /// The address where agents are served.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address of the admin listener: metrics and health.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// The address of the webhook listener, if there is one.
    pub fn webhook_address(&self) -> Option<io::Result<SocketAddr>> {
        self.webhook.as_ref().map(Webhook::local_addr)
    }

    /// What is known to have changed at GitHub.
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(self.feed().changes())
    }

    /// The feed through which replicas tell each other of changes.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(self.reload.in_force.proxy().feed())
    }

    /// Cancelling it stops [`App::run`].
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Cancelling it after the stop ends [`App::run`] without waiting for requests in flight.
    pub fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Serves until stopped and drained.
    ///
    /// # Errors
    /// When TLS can't be set up, or a background task failed.
    pub async fn run(self) -> Result<(), StartError> {
        let mut beside = JoinSet::new();
        let clock = Arc::clone(&self.reload.clock);
        let tls = match self.certificate {
            Some(certificate) => {
                let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
                beside.spawn(certificate.watch(Arc::clone(&clock)));
                Some(acceptor)
            }
            None => None,
        };
        let (in_force, budget) = (Arc::clone(&self.reload.in_force), Arc::clone(&self.reload.budget));
        let (roster, feed) = (Arc::clone(&self.reload.roster), Arc::clone(in_force.proxy().feed()));
        let changes = Arc::clone(feed.changes());
        beside.spawn(self.admin.serve());
        beside.spawn(Arc::clone(&budget).tend());
        beside.spawn(async move { roster.tend().await });
        beside.spawn(spent::tend(self.spent));
        beside.spawn(async move { feed.tend().await });
        beside.spawn(self.reload.tend(self.watch, self.reread));
        let webhook = self.webhook.map(|webhook| {
            let latest = Arc::clone(&in_force);
            let installations = move || Arc::clone(latest.proxy().installations());
            beside.spawn(subscription::tend(installations, changes, clock));
            AbortOnDropHandle::new(tokio::spawn(webhook.serve(self.stop.clone())))
        });
        let unclaimed = Arc::clone(in_force.proxy().unclaimed());
        let drained = AbortOnDropHandle::new(tokio::spawn({
            let (stop, cut, drain) = (self.stop.clone(), self.cut.clone(), self.drain);
            async move {
                stop.cancelled().await;
                let _ = timeout(drain, cut.cancelled()).await;
            }
        }));
        let serving = self.listener.serve(in_force, tls, self.stop.clone(), self.cut, self.drain);
        let served = serve_beside(serving, &mut beside, &self.stop).await;
        // They write their audit lines before the log's last flush.
        unclaimed.end(drained).await;
        if let Some(webhook) = webhook {
            let _ = timeout(WEBHOOK_ENDS_WITHIN, webhook).await;
        }
        // Side by side: a slow store must not keep audit lines from the disk.
        tokio::join!(budget.leave(), self.audit.flush());
        served
    }
}

/// Runs `serving` to its end. If a background task panics, stops it: otherwise requests would go on being served
/// with budgets, keys or rules that nobody maintains.
async fn serve_beside(
    serving: impl Future<Output = ()>,
    beside: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let mut serving = std::pin::pin!(serving);
    let mut served = Ok(());
    loop {
        tokio::select! {
            () = &mut serving => return served,
            Some(ended) = beside.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a part of tollgate failed; it stops, and should be started again");
                served = Err(StartError::PartLost);
                stop.cancel();
            },
        }
    }
}

/// Sets up the set of agents that operators switched off.
async fn disabled(shared: Option<&Arc<RedisClient>>) -> DisabledAgents {
    match shared {
        Some(redis) => DisabledAgents::in_redis(Arc::clone(redis) as _).await,
        None => DisabledAgents::in_process(),
    }
}

/// Binds the webhook listener, if one is configured.
async fn webhook(
    config: Option<config::Webhook>,
    feed: &Arc<Feed>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Webhook>, StartError> {
    let Some(config) = config else { return Ok(None) };
    let webhook = Webhook::bind(&config, Arc::clone(feed), Arc::clone(metrics)).await;
    let address = config.listen;
    webhook.map(Some).map_err(|why| StartError::Bind { key: "webhook.listen", address, why })
}

/// Names the address that can't be listened on.
fn unbound(key: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |why| StartError::Bind { key, address, why }
}

/// Sets up the store of used approvals. If no approval signer is configured yet, start-up does not wait for the store.
async fn spent(
    policy: &config::Policy,
    shared: Option<&Arc<RedisClient>>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn SpentStore> {
    match shared {
        Some(redis) => Arc::new(RedisSpent::begin(Arc::clone(redis), Arc::clone(clock)).await),
        None if policy.verifier.is_empty() => Arc::new(MemorySpent::begin_soon(Arc::clone(clock))),
        None => Arc::new(MemorySpent::begin(Arc::clone(clock)).await),
    }
}

/// The budget settings that can be changed at run time.
fn tuning(config: &config::Budget) -> budget::Tuning {
    budget::Tuning {
        headroom_thousandths: config.headroom_thousandths,
        secondary: config.secondary,
        is_observing: config.is_observing,
    }
}

/// `calls_max`: the most calls that may wait or be in flight.
fn budget(
    config: &config::Budget,
    calls_max: usize,
    store: Arc<dyn Store>,
    metrics: &Arc<Metrics>,
) -> Arc<Budget> {
    let settings =
        budget::Settings { tuning: tuning(config), on_store_loss: config.on_store_loss, calls_max };
    Budget::new(settings, Identity::random(), store, Arc::clone(metrics))
}

/// How many file descriptors this process may open, after raising the limit as far as allowed.
fn descriptors() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Installs one crypto provider for TLS and one for JWT, process-wide; a second call changes nothing.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_in_order_when_a_part_is_lost() {
        let stop = CancellationToken::new();
        let mut beside = JoinSet::new();
        // A task that has done its work is no failure.
        beside.spawn(async {});
        let stopped = stop.clone();
        let served = serve_beside(async move { tokio::task::yield_now().await }, &mut beside, &stop).await;
        assert!(served.is_ok() && !stop.is_cancelled());
        beside.spawn(async { panic!("on purpose") });
        beside.spawn(std::future::pending());
        let served = serve_beside(async move { stopped.cancelled().await }, &mut beside, &stop).await;
        assert!(matches!(served, Err(StartError::PartLost)));
        assert_eq!(beside.len(), 1, "the others are tended until the end");
    }
}
