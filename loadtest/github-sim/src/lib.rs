//! A strict, in-memory stand-in for api.github.com on the loopback interface.
//!
//! [`Sim::start`] binds four ports: the API (REST and GraphQL), the uploads host, the storage hosts
//! behind redirects, and a control port. The simulator verifies App JWTs, mints installation tokens
//! and enforces their permissions and repositories, enforces rate limits, and keeps [`Books`] of
//! everything that a client did wrong. [`Faults`] make it misbehave.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use github_sim::{Fault, FaultKind, Sim, SimConfig};
//!
//! let sim = Sim::start(SimConfig::default()).await?;
//! sim.faults().add(Fault::new(FaultKind::ResetMidBody).on("GET", "/repos/acme").times(1));
//! // … point a client at sim.api_url() …
//! assert_eq!(sim.books().violations_total(), 0);
//! # Ok(())
//! # }
//! ```

// A repository has more members than `json!` takes by default.
#![recursion_limit = "256"]

mod access;
mod answer;
mod auth;
mod books;
mod clock;
mod config;
mod context;
mod control;
mod digest;
mod exchange;
mod faults;
mod graphql;
mod handlers;
mod headers;
mod keys;
mod limits;
mod render;
mod routes;
mod server;
mod shown;
mod storage;
mod tokens;
mod world;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use server::{Links, Listener, Shared};
use tokens::{Grant, fresh_token};

pub use books::{Books, Charge, Leak, Merge, RecordedRequest};
pub use clock::Clock;
pub use config::{FurtherApp, INSTALLATION_STEP, PrimaryLimits, SecondaryLimits, SimConfig, TokenForm};
pub use faults::{Fault, FaultKind, Faults, LimitForm};
pub use keys::{PRIVATE_KEY_PKCS1, PRIVATE_KEY_PKCS8};
pub use world::{OwnerKind, OwnerSeed, RepositorySeed, Seed, World};

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    control_url: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sim {
    /// Binds the ports and starts to serve.
    ///
    /// # Errors
    ///
    /// When a port cannot be bound, or the App's key is not an RSA key in PEM.
    pub async fn start(config: SimConfig) -> io::Result<Self> {
        install_crypto_provider();
        let pem = config.app_key_pem.as_deref().unwrap_or(PRIVATE_KEY_PKCS1);
        let pems = std::iter::once(pem).chain(config.further_keys_pem.iter().map(String::as_str));
        let app_keys: Option<Vec<_>> = pems.map(keys::verifying_key).collect();
        let app_keys = app_keys.ok_or_else(|| io::Error::other("the App's key is not an RSA key in PEM"))?;
        let api = bind(config.port).await?;
        let uploads = bind(config.uploads_port).await?;
        let storage = bind(config.storage_port).await?;
        let control = bind(config.control_port).await?;
        let base = |own: io::Result<String>, told: &Option<String>| {
            own.map(|own| told.as_ref().map_or(own, |told| told.trim_end_matches('/').to_owned()))
        };
        let links = Links {
            api: base(url(&api), &config.link_base)?,
            uploads: base(url(&uploads), &config.uploads_link_base)?,
            storage: url(&storage)?,
        };
        let addresses =
            control::Addresses { api: url(&api)?, uploads: url(&uploads)?, storage: url(&storage)? };
        let control_url = url(&control)?;
        let shared = Arc::new(Shared::new(config, links, app_keys, addresses));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let playing = [(api, Listener::Api), (uploads, Listener::Uploads), (storage, Listener::Storage)];
        for (socket, listener) in playing {
            let shared = Arc::clone(&shared);
            server::listen(socket, &tasks, stop.clone(), move |request| {
                server::serve(Arc::clone(&shared), listener, request)
            });
        }
        let controlled = Arc::clone(&shared);
        server::listen(control, &tasks, stop.clone(), move |request| {
            control::serve(Arc::clone(&controlled), request)
        });
        tasks.close();
        Ok(Self { shared, control_url, tasks, stop })
    }

    /// Base URL of REST; GraphQL is at `/graphql` below it.
    pub fn api_url(&self) -> String {
        self.shared.addresses.api.clone()
    }

    /// Base URL of the uploads host.
    pub fn uploads_url(&self) -> String {
        self.shared.addresses.uploads.clone()
    }

    /// Base URL of the hosts behind redirects.
    pub fn storage_url(&self) -> String {
        self.shared.addresses.storage.clone()
    }

    /// Base URL of the control API.
    pub fn control_url(&self) -> String {
        self.control_url.clone()
    }

    /// The private key of the default App. Wrong if [`SimConfig::app_key_pem`] was given.
    pub fn private_key_pem(&self) -> &'static str {
        PRIVATE_KEY_PKCS1
    }

    /// The App's id.
    pub fn app_id(&self) -> u64 {
        self.shared.config.app_id
    }

    /// The App's client id.
    pub fn client_id(&self) -> &str {
        &self.shared.config.client_id
    }

    /// The installation on an account, if there is one.
    pub fn installation_id(&self, owner: &str) -> Option<u64> {
        self.shared.state().world.owner(owner)?.installation_id
    }

    /// A token with all rights of the installation on `owner`, minted without a request.
    ///
    /// # Panics
    ///
    /// When the App is not installed there.
    pub fn mint(&self, owner: &str) -> String {
        let installation_id = self.installation_id(owner).expect("the App is installed there");
        let config = &self.shared.config;
        let now_ms = self.shared.clock.now_epoch_ms();
        let expires_at = now_ms.div_euclid(1000) + config.token_lifetime_seconds;
        let token = fresh_token(config.token_form, config.app_id, expires_at);
        let grant = Grant {
            installation_id,
            repositories: None,
            permissions: config.permissions.clone(),
            minted_at_ms: now_ms,
            expires_at,
            is_revoked: false,
        };
        self.shared.state().tokens.add(&token, grant);
        token
    }

    /// The current counters.
    pub fn books(&self) -> Books {
        self.shared.state().books.clone()
    }

    /// The remembered requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests_since(0)
    }

    /// The remembered requests with a higher number than `seq`.
    pub fn requests_since(&self, seq: u64) -> Vec<RecordedRequest> {
        self.shared.state().ring.since(seq)
    }

    /// Switches faults on and off.
    pub fn faults(&self) -> Faults {
        Faults { shared: Arc::clone(&self.shared) }
    }

    /// The simulator's clock, which tests can advance.
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Forgets books, requests, faults and limits; tokens and the world stay.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Revokes a token; `false` when it was never minted here.
    pub fn revoke(&self, token: &str) -> bool {
        self.shared.state().tokens.revoke(token)
    }

    /// Revokes all tokens of an installation, as suspending it does.
    pub fn revoke_installation(&self, installation_id: u64) {
        self.shared.state().tokens.revoke_installation(installation_id);
    }

    /// Changes the world behind every client's back.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut World) -> R) -> R {
        self.shared.edit(edit)
    }

    /// Stops the simulator and waits for its connections.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Chooses the crate that verifies JWTs. The first choice in a process wins; any is fine.
fn install_crypto_provider() {
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

fn url(listener: &TcpListener) -> io::Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}
