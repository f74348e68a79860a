//! A Redis of the runner's own: on a socket in a directory of its own, with nothing kept on disk.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;

/// Tries to reach it before it counts as not started, and the time between two.
const TRIES: u32 = 1_000;
const TRY_EVERY: Duration = Duration::from_millis(10);
/// A step takes well below a millisecond; a server that says nothing for so long hangs.
const REPLY_PATIENCE: Duration = Duration::from_secs(60);
/// In its directory.
const SOCKET: &str = "socket";
const LOG: &str = "log";

/// A running `redis-server`. Dropped, the process is killed and its files are gone.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
}

impl Server {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When there is none to start, or with what it wrote when it does not answer.
    pub(crate) fn start() -> anyhow::Result<Server> {
        let directory = tempfile::Builder::new().prefix("tollgate-scenarios-").tempdir()?;
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", SOCKET, "--logfile", LOG])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    anyhow!("there is no redis-server in PATH; Debian's package is redis-server")
                }
                _ => anyhow!(error).context("cannot start redis-server"),
            })?;
        let mut server = Server { process, directory };
        for _ in 0..TRIES {
            if server.connect().is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.process.try_wait()? {
                bail!("redis-server ended with {status}: {}", server.log());
            }
            thread::sleep(TRY_EVERY);
        }
        bail!("redis-server does not answer: {}", server.log())
    }

    /// A connection that blocks: a socket that is awaited would let virtual time go by.
    pub(crate) fn connect(&self) -> anyhow::Result<redis::Connection> {
        let url = format!("unix://{}", self.path(SOCKET).display());
        let mut connection =
            redis::Client::open(url)?.get_connection().context("cannot reach redis-server")?;
        connection.set_read_timeout(Some(REPLY_PATIENCE))?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path(LOG)).unwrap_or_else(|error| format!("no log: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
