//! Clients that are programs of their own: Octokit under Node and PyGithub under Python, unmodified.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use serde::Serialize;

use super::outcome::Outcome;
use super::plan::{Agent, Plan, Request};

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Octokit,
    PyGithub,
}

impl Kind {
    /// Where `tests/clients/install` puts its clients; none: it was not run.
    fn interpreter(self, installed: &Path) -> Option<PathBuf> {
        match self {
            Kind::Octokit => {
                installed.join("node/node_modules/octokit").exists().then(|| PathBuf::from("node"))
            }
            Kind::PyGithub => Some(installed.join("venv/bin/python")).filter(|path| path.exists()),
        }
    }

    fn script(self) -> &'static str {
        match self {
            Kind::Octokit => "octokit.mjs",
            Kind::PyGithub => "pygithub.py",
        }
    }
}

/// What a program is told.
#[derive(Debug, Serialize)]
struct Orders<'a> {
    base_url: &'a str,
    token: &'a str,
    begin_at_epoch_ms: i64,
    end_ms: u64,
    start_by_ms: u64,
    patience_ms: u64,
    agents: &'a [Agent],
    requests: &'a [Request],
}

/// One at work. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    outcomes: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Whether it can be started at all, and if not, why.
    pub(crate) fn is_missing(kind: Kind, installed: &Path) -> Option<String> {
        let missing = kind.interpreter(installed).is_none();
        missing.then(|| format!("no client in {}: run loadtest/fleet/install", installed.display()))
    }

    /// It begins when the time has come.
    pub(crate) fn start(
        kind: Kind,
        installed: &Path,
        directory: &Path,
        plan: &Plan,
        (base_url, token): (&str, &str),
        begin_at_epoch_ms: i64,
    ) -> anyhow::Result<Program> {
        let interpreter = kind.interpreter(installed).context("the client is not installed")?;
        let orders = Orders {
            base_url,
            token,
            begin_at_epoch_ms,
            end_ms: plan.measures.duration_ms(),
            start_by_ms: super::outcome::START_BY_MS,
            patience_ms: super::outcome::PATIENCE_MS,
            agents: &plan.agents,
            requests: &plan.requests,
        };
        let path = directory.join("orders.json");
        std::fs::write(&path, serde_json::to_vec(&orders)?)?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("fleet");
        let mut script = scripts.join(kind.script());
        if kind == Kind::Octokit {
            // Node looks for packages from where the script is.
            let beside = installed.join("node").join(kind.script());
            std::fs::copy(&script, &beside)?;
            script = beside;
        }
        let (outcomes, log) = (directory.join("outcomes.jsonl"), directory.join("client.log"));
        let child = Command::new(interpreter)
            .arg(script)
            .arg(path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&outcomes)?)
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} can't be started", kind.script()))?;
        Ok(Program { child, outcomes, log })
    }

    /// Fails when it ended before its time.
    pub(crate) fn is_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::ensure!(status.success(), "{status}: {}", self.complaint());
        }
        Ok(())
    }

    fn complaint(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| !line.trim().is_empty()).take(8).collect::<Vec<_>>().join(" | ")
    }

    /// Ends it and gives what it wrote; the last line may be half.
    pub(crate) fn finish(mut self) -> anyhow::Result<Vec<Outcome>> {
        let _ = self.child.kill();
        self.child.wait()?;
        let text = std::fs::read_to_string(&self.outcomes)?;
        let outcomes: Vec<Outcome> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        anyhow::ensure!(!outcomes.is_empty(), "it told of no request: {}", self.complaint());
        Ok(outcomes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
