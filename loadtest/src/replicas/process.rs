//! One replica as a process: started from a file, killed, and started again at the same address.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// A debug build reads its tables within this.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Where the admin token is.
pub(super) const ADMIN_TOKEN_ENV: &str = "TOLLGATE_REPLICAS_ADMIN_TOKEN";
/// Lines of its log that are repeated to people, and how much of each.
const COMPLAINTS_MAX: usize = 4;
const COMPLAINT_CHARS_MAX: usize = 240;

/// A replica. Dropped, the process is killed.
///
/// Never shared with a task: a runtime that is shut down may forget its tasks without dropping them.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(super) admin: SocketAddr,
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    admin_token: String,
    child: Child,
}

impl Replica {
    /// Serves when this returns.
    pub(crate) async fn start(
        binary: &Path,
        config: PathBuf,
        addresses: (SocketAddr, SocketAddr),
        log: PathBuf,
        admin_token: String,
    ) -> anyhow::Result<Replica> {
        let child = spawn(binary, &config, &log, &admin_token)?;
        let (address, admin) = addresses;
        let mut replica =
            Replica { address, admin, binary: binary.to_owned(), config, log, admin_token, child };
        replica.serves().await?;
        Ok(replica)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Again, after [`Replica::kill9`].
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.binary, &self.config, &self.log, &self.admin_token)?;
        self.serves().await
    }

    async fn serves(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        // The admin listener comes last, when Redis was found.
        while TcpStream::connect(self.admin).await.is_err() {
            let ended = self.child.try_wait()?;
            anyhow::ensure!(
                ended.is_none() && Instant::now() < deadline,
                "tollgate does not start: {}",
                std::fs::read_to_string(&self.log).unwrap_or_default()
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What it logged as a warning or an error; the first lines of it.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        // What it says of its file before its log begins is known: the limits are a stand-in's.
        let is_grave = |line: &&str| line.starts_with('{') && !line.contains("\"level\":\"INFO\"");
        let cut = |line: &str| line.chars().take(COMPLAINT_CHARS_MAX).collect();
        log.lines().filter(is_grave).take(COMPLAINTS_MAX).map(cut).collect()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(binary: &Path, config: &Path, log: &Path, admin_token: &str) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(binary)
        .args(["serve", "--log", "info", "--log-format", "json", "--config"])
        .arg(config)
        .env(ADMIN_TOKEN_ENV, admin_token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| crate::cli::not_started(binary))
}

pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
