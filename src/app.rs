//! The parts put together: from a [`Config`] to its listeners, and from a stop to the end.
//!
//! On the stop, in this order: `/readyz` fails, no connection is accepted any more, requests on open
//! connections are served for a moment longer, those in flight finish within `drain_timeout`, and
//! the admin listener goes last.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::{Admin, Api, Board, Door};
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
use crate::config::{self, Config};
use crate::github::client::CaError;
use crate::identity::Identities;
use crate::metrics::Metrics;
use crate::proxy::listener::{Bounds, Listener};
use crate::proxy::{self, Proxy};
use crate::redis_client::{RedisClient, RedisStartError};
use crate::spent::{self, MemorySpent, RedisSpent, SpentStore};
use crate::status::collect::Sources;
use crate::tls::{Certificate, TlsError};
use crate::webhook::{Webhook, subscription};

/// What the webhook received is told to other replicas before the end, unless that takes longer.
const WEBHOOK_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Why tollgate could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("{key}: {address} can't be listened on: {why}")]
    Bind { key: &'static str, address: SocketAddr, why: io::Error },
    #[error("policy.audit_log: can't be opened: {0}")]
    Audit(io::Error),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("server.tls: {0}")]
    Certificate(#[from] TlsError),
    #[error(transparent)]
    Redis(#[from] RedisStartError),
    #[error("server.tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// A tollgate that listens, ready to run.
#[derive(Debug)]
pub struct App {
    proxy: Arc<Proxy>,
    roster: Arc<Roster>,
    identities: Arc<Identities>,
    budget: Arc<Budget>,
    spent: Arc<dyn SpentStore>,
    audit: Audit,
    listener: Listener,
    admin: Admin,
    webhook: Option<Webhook>,
    certificate: Option<Arc<Certificate>>,
    clock: Arc<dyn Clock>,
    drain: Duration,
    stop: CancellationToken,
}

impl App {
    /// Binds the listeners.
    pub async fn start(config: Config) -> Result<App, StartError> {
        let bounds = Bounds::default().within(descriptors());
        App::start_with(config, Arc::new(SystemClock), bounds).await
    }

    /// As [`App::start`], with a clock and bounds of one's own.
    #[allow(clippy::too_many_lines, reason = "a list of the parts, each made from those before it")]
    pub async fn start_with(
        mut config: Config,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Result<App, StartError> {
        install_crypto();
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let (listen, admin_listen) = (config.server.listen, config.server.admin_listen);
        let drain = config.server.drain_timeout;
        let listener = Listener::bind(listen, bounds).await.map_err(unbound("server.listen", listen))?;
        let shared = match config.budget.redis.take() {
            Some(settings) => Some(RedisClient::start(settings, Arc::clone(&metrics)).await?),
            None => None,
        };
        let disabled = disabled(shared.as_ref()).await;
        let agents = Arc::new(Agents::new(std::mem::take(&mut config.agents)));
        let roster = Arc::new(Roster::new(Arc::clone(&agents), disabled));
        let api = Api::new(Arc::clone(&roster), config.server.admin_token.as_ref());
        let door = Door::bind(admin_listen).await.map_err(unbound("server.admin_listen", admin_listen))?;
        let (observing, has_admin_token) = (observing(&config), config.server.admin_token.is_some());
        let redis = shared.clone();
        let certificate = match config.server.tls.clone() {
            Some(files) => Some(Arc::new(Certificate::try_new(files, clock.now_seconds())?)),
            None => None,
        };
        let audit =
            Audit::start(&config.policy.audit_log, Arc::clone(&metrics)).map_err(StartError::Audit)?;
        let spent = spent(&config.policy, shared.as_ref(), &clock).await;
        let changes = Arc::new(Changes::new(Arc::clone(&clock)));
        let feed = Arc::new(Feed::new(changes, shared.clone(), Arc::clone(&metrics)));
        let webhook = webhook(config.webhook.take(), &feed, &metrics).await?;
        let store: Arc<dyn Store> = match shared {
            Some(redis) => Arc::new(RedisStore::new(redis)),
            None => Arc::new(MemoryStore::new(Arc::clone(&clock))),
        };
        let budget = budget(&config.budget, bounds.connections, store, &metrics);
        let exported = Arc::downgrade(&budget);
        metrics.before_render(move || exported.upgrade().iter().for_each(|budget| budget.export()));
        let issuers = std::mem::take(&mut config.identities);
        let identities =
            Identities::try_new(issuers, &agents, Arc::clone(&clock), Arc::clone(&metrics)).map(Arc::new)?;
        let parts = proxy::Shared {
            roster: Arc::clone(&roster),
            identities: Arc::clone(&identities),
            budget: Arc::clone(&budget),
            spent: Arc::clone(&spent),
            audit: audit.clone(),
            feed: Arc::clone(&feed),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let proxy = Arc::new(Proxy::try_new(config, parts)?);
        feed.forget_with(Arc::downgrade(&proxy) as Weak<dyn Forget>);
        let sources = Sources {
            proxy: Arc::clone(&proxy),
            roster: Arc::clone(&roster),
            budget: Arc::clone(&budget),
            redis,
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            started: Instant::now(),
            draining: stop.clone(),
            observing,
            has_admin_token,
        };
        let board = Board::new(move || sources.collect());
        let admin = Admin::new(door, metrics, api, board, stop.clone());
        Ok(App {
            proxy,
            roster,
            identities,
            budget,
            spent,
            audit,
            listener,
            admin,
            webhook,
            certificate,
            clock,
            drain,
            stop,
        })
    }

    /// Where agents are served.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where metrics and health are served.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where GitHub's webhook is taken, if it is.
    pub fn webhook_address(&self) -> Option<io::Result<SocketAddr>> {
        self.webhook.as_ref().map(Webhook::local_addr)
    }

    /// What is known to have changed at GitHub.
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(self.proxy.feed().changes())
    }

    /// What replicas tell each other.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(self.proxy.feed())
    }

    /// Cancelling it stops [`App::run`].
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Serves until stopped and drained.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub async fn run(self) -> Result<(), StartError> {
        let mut beside = JoinSet::new();
        let tls = match self.certificate {
            Some(certificate) => {
                let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
                beside.spawn(certificate.watch(Arc::clone(&self.clock)));
                Some(acceptor)
            }
            None => None,
        };
        beside.spawn(self.admin.serve());
        beside.spawn(Arc::clone(&self.budget).tend());
        beside.spawn(async move { self.roster.tend().await });
        beside.spawn(async move { self.identities.tend().await });
        beside.spawn(spent::tend(self.spent));
        let feed = Arc::clone(self.proxy.feed());
        beside.spawn(async move { feed.tend().await });
        let webhook = self.webhook.map(|webhook| {
            let (installations, changes) = (self.proxy.installations(), self.proxy.feed().changes());
            beside.spawn(subscription::tend(Arc::clone(installations), Arc::clone(changes), self.clock));
            AbortOnDropHandle::new(tokio::spawn(webhook.serve(self.stop.clone())))
        });
        self.listener.serve(self.proxy, tls, self.stop, self.drain).await;
        if let Some(webhook) = webhook {
            let _ = timeout(WEBHOOK_ENDS_WITHIN, webhook).await;
        }
        self.budget.leave().await;
        self.audit.flush().await;
        Ok(())
    }
}

/// The agents that operators switched off.
async fn disabled(shared: Option<&Arc<RedisClient>>) -> DisabledAgents {
    match shared {
        Some(redis) => DisabledAgents::in_redis(Arc::clone(redis) as _).await,
        None => DisabledAgents::in_process(),
    }
}

/// The listener for GitHub, where there is to be one.
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

/// The parts that record what they would do and let it through.
fn observing(config: &Config) -> Vec<String> {
    let parts = [("budget", config.budget.is_observing), ("policy", config.policy.is_observing)];
    parts.into_iter().filter(|(_, is_observing)| *is_observing).map(|(name, _)| name.to_owned()).collect()
}

/// What remembers used approvals. Where none is ever used, nobody waits for it to begin.
async fn spent(
    policy: &config::Policy,
    shared: Option<&Arc<RedisClient>>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn SpentStore> {
    match shared {
        _ if policy.verifier.is_empty() => Arc::new(MemorySpent::of_all_times(Arc::clone(clock))),
        Some(redis) => Arc::new(RedisSpent::begin(Arc::clone(redis), Arc::clone(clock)).await),
        None => Arc::new(MemorySpent::begin(Arc::clone(clock)).await),
    }
}

/// `calls_max`: most calls that wait or are in flight.
fn budget(
    config: &config::Budget,
    calls_max: usize,
    store: Arc<dyn Store>,
    metrics: &Arc<Metrics>,
) -> Arc<Budget> {
    let settings = budget::Settings {
        headroom_thousandths: config.headroom_thousandths,
        secondary: config.secondary,
        is_observing: config.is_observing,
        on_store_loss: config.on_store_loss,
        calls_max,
    };
    Budget::new(settings, Identity::random(), store, Arc::clone(metrics))
}

/// How many descriptors this process may have, raised as far as it is allowed to.
fn descriptors() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// One provider for TLS and JWT, process-wide; a second call changes nothing.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
}
