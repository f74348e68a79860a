//! The world of the demo: the stand-in for GitHub, and the real tollgate before it.
//!
//! tollgate is started the way users start it: a configuration file is written, read with
//! [`config::from_file`] and run. Nothing in it knows that this is a demo. The file and the App's key
//! lie in a directory of this process's own, which goes when the world does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use github_sim::{Books, PrimaryLimits, SecondaryLimits, Sim, SimConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate::app::{App, StartError};
use tollgate::config;
use tollgate::secret::{AgentKey, hex};

use super::fleet::Hire;

/// Where the agents work; the only repository they may see. The stand-in's names and ids are fixed.
pub(crate) const REPOSITORY: &str = "acme/widgets";
/// A pull request that is open from the start.
pub(crate) const PULL: u64 = 76;
/// A repository of the same owner that is none of theirs.
pub(crate) const OUTSIDE: &str = "acme/secret-plans";
pub(crate) const OUTSIDE_ID: u64 = 2003;
pub(crate) const INSTALLATION_ID: u64 = 1001;
/// Label of the installation in tollgate's metrics.
pub(crate) const INSTALLATION: &str = "demo-bot/acme";
pub(crate) const APPROVAL_HEADER: &str = "x-merge-approval";
/// The agent whose key is printed, for trying things by hand.
pub(crate) const BY_HAND: &str = "you";

/// GitHub's hour, here; a viewer wants to see a window end.
pub(crate) const WINDOW: Duration = Duration::from_secs(120);
/// Points of one window: far less than the agents want, and enough that the lightest is served often.
pub(crate) const LIMIT: u64 = 4800;
/// A request is held no longer, so that the lighter agents are now and then told to come back.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// GitHub's limits by the minute on reads would bind long before such an hour's.
const ENDPOINT_POINTS: u32 = 20_000;
/// GitHub's 500 writes an hour would be spent in minutes by a fleet that has an hour's points in two.
const WRITES_AN_HOUR: u32 = 4_000;
/// tollgate warns of these, and is right: only a stand-in allows so much.
const RAISED: [&str; 2] = ["budget.secondary.rest_points_per_minute", "budget.secondary.content_per_hour"];

const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// The stand-in and tollgate, running.
#[derive(Debug)]
pub(crate) struct World {
    sim: Sim,
    base_url: String,
    admin_url: String,
    keys: BTreeMap<String, AgentKey>,
    /// Keys of the file that tollgate takes and does not act on yet.
    pub(crate) idle_keys: Vec<String>,
    /// What else it says about the file.
    pub(crate) warnings: Vec<String>,
    directory: TempDir,
    stop: CancellationToken,
    tollgate: JoinHandle<Result<(), StartError>>,
}

/// The file that holds it, beside the configuration.
pub(crate) const ADMIN_TOKEN: &str = "admin-token";

impl World {
    pub(crate) async fn start(hires: &[Hire]) -> anyhow::Result<World> {
        let sim = Sim::start(strict_github()).await.context("the stand-in for GitHub did not start")?;
        let keys = hires.iter().map(|hire| hire.name.as_str()).chain([BY_HAND]);
        let keys = keys.map(|name| (name.to_owned(), AgentKey::generate(name))).collect();
        let directory = tempfile::Builder::new().prefix("tollgate-demo-").tempdir()?;
        write_private(&directory.path().join("demo-bot.pem"), sim.private_key_pem())?;
        // Nobody holds the approver's secret, so nobody can approve.
        write_private(&directory.path().join("approver.secret"), AgentKey::generate("approver").expose())?;
        write_private(&directory.path().join(ADMIN_TOKEN), AgentKey::generate("admin").expose())?;
        let file = directory.path().join("tollgate.yaml");
        write_private(&file, &configuration(&sim, hires, &keys))?;

        let (config, warnings) =
            config::from_file(&file).context("the demo's own configuration is refused")?;
        let (idle, warnings): (Vec<_>, Vec<_>) =
            warnings.iter().partition(|warning| warning.message.starts_with("has no effect yet"));
        let app = App::start(config).await.context("tollgate did not start")?;
        let (base_url, admin_url) = (url(app.address()?), url(app.admin_address()?));
        let stop = app.stop_token();
        let tollgate = tokio::spawn(app.run());
        Ok(World {
            sim,
            base_url,
            admin_url,
            keys,
            idle_keys: idle.iter().map(|warning| warning.path.clone()).collect(),
            warnings: warnings
                .iter()
                .filter(|warning| !RAISED.contains(&warning.path.as_str()))
                .map(ToString::to_string)
                .collect(),
            directory,
            stop,
            tollgate,
        })
    }

    /// Where agents send their requests.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(crate) fn admin_url(&self) -> &str {
        &self.admin_url
    }

    pub(crate) fn control_url(&self) -> String {
        self.sim.control_url()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("tollgate.yaml")
    }

    pub(crate) fn key(&self, agent: &str) -> anyhow::Result<&str> {
        self.keys.get(agent).map(AgentKey::expose).with_context(|| format!("agent {agent} has no key"))
    }

    /// What the stand-in has seen.
    pub(crate) fn books(&self) -> Books {
        self.sim.books()
    }

    /// The stand-in's time, which its windows end by.
    pub(crate) fn now_epoch_seconds(&self) -> i64 {
        self.sim.clock().now_epoch_seconds()
    }

    /// A person pushes to the default branch, behind tollgate's back.
    pub(crate) fn push(&self, number: u64) {
        let content = format!("Change {number}.\n");
        self.sim.edit(|world| world.push_commit(REPOSITORY, "main", "CHANGELOG.md", &content));
    }

    /// Drains tollgate, then ends the stand-in; gives its books as they are in the end.
    pub(crate) async fn stop(self) -> anyhow::Result<Books> {
        self.stop.cancel();
        tokio::time::timeout(STOP_PATIENCE, self.tollgate)
            .await
            .context("tollgate did not drain in time")???;
        let books = self.sim.books();
        tokio::time::timeout(STOP_PATIENCE, self.sim.shutdown()).await.context("the stand-in did not end")?;
        self.directory.close()?;
        Ok(books)
    }
}

/// GitHub's limits by the hour hold for [`WINDOW`]; those by the minute are as they are, but for points.
fn strict_github() -> SimConfig {
    let seconds = i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX);
    SimConfig {
        limits: PrimaryLimits { core: LIMIT, window_seconds: seconds, ..PrimaryLimits::default() },
        secondary: SecondaryLimits {
            endpoint_points: Some(u64::from(ENDPOINT_POINTS)),
            content_hour: None,
            ..SecondaryLimits::github()
        },
        ..SimConfig::default()
    }
}

/// The file an operator would write.
fn configuration(sim: &Sim, hires: &[Hire], keys: &BTreeMap<String, AgentKey>) -> String {
    let max_wait = MAX_WAIT.as_secs();
    let (api, uploads, app_id) = (sim.api_url(), sim.uploads_url(), sim.app_id());
    let mut file = format!(
        "# Written by `cargo demo` for one run.\n\
         server:\n  listen: 127.0.0.1:0\n  admin_listen: 127.0.0.1:0\n  drain_timeout: 3s\n\
         \x20 admin_token_file: {ADMIN_TOKEN}\n\
         upstream:\n  api_url: {api}\n  uploads_url: {uploads}\n\
         apps:\n  - name: demo-bot\n    app_id: {app_id}\n    private_key_file: demo-bot.pem\n\
         budget:\n  max_wait: {max_wait}s\n  secondary:\n\
         \x20   rest_points_per_minute: {ENDPOINT_POINTS}\n    rest_points_per_minute_total: {ENDPOINT_POINTS}\n\
         \x20   content_per_hour: {WRITES_AN_HOUR}\n\
         # Its agents ask for the same few things over and over; kept, those would cost nothing and leave\n\
         # nothing to share.\n\
         cache: {{ max_size: 0 }}\n\
         policy:\n  audit_log: off\n  approval:\n    mode: signed\n    header: {APPROVAL_HEADER}\n    issuers:\n\
         \x20     - {{ name: release-team, secret_file: approver.secret }}\n\
         agents:\n"
    );
    let by_hand = (BY_HAND, 1, false);
    let agents =
        hires.iter().map(|hire| (hire.name.as_str(), hire.character.weight(), hire.character.builds()));
    for (name, weight, builds) in agents.chain([by_hand]) {
        let hash = keys.get(name).map(|key| hex(&key.sha256())).unwrap_or_default();
        let _ = write!(
            file,
            "  - name: {name}\n    key_sha256: \"{hash}\"\n    weight: {weight}\n    repositories: [{REPOSITORY}]\n"
        );
        if builds {
            // Branches without a person's approval; merges wait for it whatever stands here.
            file.push_str("    require_approval: [merge]\n");
        }
    }
    file
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
