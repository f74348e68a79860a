//! Everything a case needs: the stand-in, Redis, and the replicas between them and the agents.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use github_sim::{PrimaryLimits, SecondaryLimits, Sim, SimConfig};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::time::timeout;
use tollgate::secret::{AgentKey, hex};

use super::Options;
use super::gauge::{Reading, core_pool, cpu_s};
use super::process::{ADMIN_TOKEN_ENV, Replica, write_private};
use super::redis::{Cluster, Server, Watched, free_port};
use super::wire::Wire;

/// Agents of weights 1 to 8, and again.
const AGENTS: usize = 20;
/// Points of one window, and its length: 120 calls a second.
pub(super) const LIMIT: u64 = 9_000;
pub(super) const WINDOW_S: i64 = 75;
pub(super) const REPLICAS: usize = 3;
const ADMIN_PATIENCE: Duration = Duration::from_secs(10);
/// The installation as the replicas name it, in Redis with them.
const INSTALLATION: &str = "bot/acme";

pub(super) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

pub(super) fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A key of the installation's ledger.
pub(super) fn ledger_key(name: &str) -> String {
    format!("tollgate:1:{{{INSTALLATION}}}:{name}")
}

pub(super) fn weights() -> Vec<u64> {
    (0..AGENTS as u64).map(|place| 1 + place % 8).collect()
}

/// Where the ledger is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backing {
    /// In the one replica there is.
    Memory,
    Single,
    /// As `Single`, behind a wire for each replica.
    Wired,
    Sentinel,
    Cluster,
}

/// Where the ledger is kept.
#[derive(Debug)]
pub(super) enum Ledger {
    Memory,
    Single(Server),
    Wired(Server, Vec<Wire>),
    Sentinel(Watched),
    Cluster(Cluster),
}

impl Ledger {
    async fn start(backing: Backing) -> anyhow::Result<Ledger> {
        Ok(match backing {
            Backing::Memory => Ledger::Memory,
            Backing::Single => Ledger::Single(Server::start(&[]).await?),
            Backing::Wired => {
                let server = Server::start(&[]).await?;
                let mut wires = Vec::new();
                for _ in 0..REPLICAS {
                    wires.push(Wire::to(server.port).await?);
                }
                Ledger::Wired(server, wires)
            }
            Backing::Sentinel => Ledger::Sentinel(Watched::start().await?),
            Backing::Cluster => Ledger::Cluster(Cluster::start().await?),
        })
    }

    /// What one replica's file says of it, within `budget`.
    fn lines(&self, replica: usize) -> String {
        let place = match self {
            Ledger::Memory => return "  store: memory\n".to_owned(),
            Ledger::Single(server) => format!("url: {}", server.url()),
            Ledger::Wired(_, wires) => format!("url: redis://{}", wires[replica].address),
            Ledger::Sentinel(watched) => {
                format!("sentinel: {{ service: main, nodes: [{}] }}", watched.urls().join(", "))
            }
            Ledger::Cluster(cluster) => format!("nodes: [{}]", cluster.urls().join(", ")),
        };
        format!("  store: redis\n  redis: {{ {place} }}\n")
    }

    /// The only server there is.
    pub(super) fn server(&mut self) -> anyhow::Result<&mut Server> {
        match self {
            Ledger::Single(server) | Ledger::Wired(server, _) => Ok(server),
            Ledger::Memory | Ledger::Sentinel(_) | Ledger::Cluster(_) => anyhow::bail!("no single server"),
        }
    }

    pub(super) fn wires(&self) -> anyhow::Result<&[Wire]> {
        match self {
            Ledger::Wired(_, wires) => Ok(wires),
            _ => anyhow::bail!("there are no wires"),
        }
    }
}

/// One of each; the replicas go first.
#[derive(Debug)]
pub(super) struct World {
    pub(super) replicas: Vec<Replica>,
    pub(super) ledger: Ledger,
    pub(super) sim: Sim,
    pub(super) keys: Vec<AgentKey>,
    client: HttpClient,
    admin_token: AgentKey,
    _files: TempDir,
}

impl World {
    /// Everything serves when this returns. Without a Redis there is one replica.
    pub(super) async fn start(options: &Options, case: &str, backing: Backing) -> anyhow::Result<World> {
        let sim = Sim::start(strict_github()).await.context("the stand-in for GitHub did not start")?;
        let files = tempfile::Builder::new().prefix("tollgate-replicas-").tempdir()?;
        write_private(&files.path().join("app.pem"), sim.private_key_pem())?;
        let keys = (0..AGENTS).map(|place| AgentKey::generate(&name(place))).collect();
        let admin_token = AgentKey::generate("operator");
        let ledger = Ledger::start(backing).await?;
        let mut world = World {
            replicas: Vec::new(),
            ledger,
            sim,
            keys,
            client: http_client(),
            admin_token,
            _files: files,
        };
        let count = if backing == Backing::Memory { 1 } else { REPLICAS };
        for place in 0..count {
            let replica = world.start_replica(options, case, place).await?;
            world.replicas.push(replica);
        }
        Ok(world)
    }

    async fn start_replica(&self, options: &Options, case: &str, place: usize) -> anyhow::Result<Replica> {
        let directory = self._files.path();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = (local(free_port()?), local(free_port()?));
        let config = directory.join(format!("replica-{place}.yaml"));
        write_private(&config, &self.configuration(addresses, place))?;
        let log = log_path(options.logs.as_deref(), directory, case, place)?;
        let token = self.admin_token.expose().to_owned();
        Replica::start(&options.tollgate, config, addresses, log, token).await
    }

    /// The file an operator would write.
    fn configuration(&self, (address, admin): (SocketAddr, SocketAddr), place: usize) -> String {
        let (api, uploads, app_id) = (self.sim.api_url(), self.sim.uploads_url(), self.sim.app_id());
        let mut file = format!(
            "server:\n  listen: {address}\n  admin_listen: {admin}\n  admin_token_env: {ADMIN_TOKEN_ENV}\n\
             upstream:\n  api_url: {api}\n  uploads_url: {uploads}\n\
             apps:\n  - {{ name: bot, app_id: {app_id}, private_key_file: app.pem }}\n\
             cache:\n  max_size: 0\n\
             budget:\n{}  secondary: {{ rest_points_per_minute: 9000, rest_points_per_minute_total: 30000 }}\n\
             policy:\n  approval: {{ mode: presence }}\n  audit_log: off\nagents:\n",
            self.ledger.lines(place)
        );
        for (place, (key, weight)) in self.keys.iter().zip(weights()).enumerate() {
            let _ = write!(
                file,
                "  - name: {}\n    key_sha256: \"{}\"\n    weight: {weight}\n    repositories: [acme/*]\n",
                name(place),
                hex(&key.sha256())
            );
        }
        file
    }

    /// A request to the admin listener of a replica, with the token.
    pub(super) async fn admin(
        &self,
        method: Method,
        replica: usize,
        path: &str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let url = format!("http://{}{path}", self.replicas[replica].admin);
        let bearer = format!("Bearer {}", self.admin_token.expose());
        let request =
            Request::builder().method(method).uri(url).header("authorization", bearer).body(Empty::new())?;
        let work = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        timeout(ADMIN_PATIENCE, work).await.context("the admin listener is silent")?
    }

    /// What all replicas say of themselves, together.
    pub(super) async fn reading(&self) -> anyhow::Result<Reading> {
        let mut reading = Reading::default();
        for (place, replica) in self.replicas.iter().enumerate() {
            let (_, text) = self.admin(Method::GET, place, "/metrics").await?;
            reading.add(&text);
            reading.cpu_s += cpu_s(replica.pid())?;
        }
        Ok(reading)
    }

    /// How each replica sees the pool: GitHub's count less ours, and points given out a second.
    pub(super) async fn pools(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for place in 0..self.replicas.len() {
            let (_, text) = self.admin(Method::GET, place, "/metrics").await?;
            let of = |family| core_pool(&text, family).unwrap_or("unknown");
            let (drift, rate) = (of("tollgate_ledger_drift"), of("tollgate_pool_rate"));
            all.push(format!("replica {place}: drift {drift}, rate {rate}"));
        }
        Ok(all)
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        let of = |(place, replica): (usize, &Replica)| {
            replica.complaints().into_iter().map(move |line| format!("replica {place}: {line}"))
        };
        self.replicas.iter().enumerate().flat_map(of).collect()
    }
}

pub(super) fn name(place: usize) -> String {
    format!("agent-{place}")
}

fn log_path(kept: Option<&Path>, directory: &Path, case: &str, place: usize) -> anyhow::Result<PathBuf> {
    let file = format!("{case}-replica-{place}.log");
    let Some(kept) = kept else { return Ok(directory.join(file)) };
    std::fs::create_dir_all(kept)?;
    let path = kept.join(file);
    // Of an earlier run.
    let _ = std::fs::remove_file(&path);
    Ok(path)
}

/// Hourly limits hold for a window, those by the minute as they are, but for points: these would bind
/// long before such an hour's.
fn strict_github() -> SimConfig {
    SimConfig {
        limits: PrimaryLimits { core: LIMIT, window_seconds: WINDOW_S, ..PrimaryLimits::default() },
        secondary: SecondaryLimits { endpoint_points: Some(10_000), ..SecondaryLimits::github() },
        ring: 100_000,
        ..SimConfig::default()
    }
}
