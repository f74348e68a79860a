//! Redis as processes: one alone, watched by sentinels, or a cluster. All end with the value.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// An election takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One server, on a loopback port of its own. Dropped, it is killed and its files are gone.
#[derive(Debug)]
pub(crate) struct Server {
    directory: TempDir,
    args: Vec<String>,
    pub(super) port: u16,
    child: Child,
}

impl Server {
    /// An empty one; `args` are further ones.
    pub(crate) async fn start(args: &[&str]) -> anyhow::Result<Server> {
        Server::start_with(None, args).await
    }

    async fn start_with(sentinel: Option<&str>, args: &[&str]) -> anyhow::Result<Server> {
        let directory = tempfile::Builder::new().prefix("tollgate-replicas-redis-").tempdir()?;
        let port = free_port()?;
        let mut all = Vec::new();
        if let Some(conf) = sentinel {
            std::fs::write(directory.path().join("sentinel.conf"), conf)?;
            all.extend(["sentinel.conf", "--sentinel"]);
        } else {
            all.extend(["--save", "", "--appendonly", "no"]);
        }
        all.extend(args);
        let args: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let child = spawn(&directory, &args, port)?;
        let server = Server { directory, args, port, child };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        until("redis-server's start", async || Ok(TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()))
            .await
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The same address, and nothing in it.
    pub(super) async fn restart_empty(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.directory, &self.args, self.port)?;
        self.ready().await
    }

    /// `STOP`: it hangs, connections stay, and nothing answers; `CONT`: it goes on.
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// What `redis-cli` prints for a command.
    pub(super) async fn ask(&self, command: &[&str]) -> anyhow::Result<String> {
        let port = self.port.to_string();
        cli(&[&["-p", port.as_str()], command].concat()).await
    }

    async fn is_primary(&self) -> anyhow::Result<bool> {
        Ok(self.ask(&["ROLE"]).await?.starts_with("master"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &TempDir, args: &[String], port: u16) -> anyhow::Result<Child> {
    let log = File::create(directory.path().join("out"))?;
    let mut command = Command::new("redis-server");
    command.current_dir(directory.path()).args(args).args(["--port", &port.to_string()]);
    command.args(["--bind", "127.0.0.1", "--logfile", "log"]).stdin(Stdio::null()).stdout(log);
    command.stderr(Stdio::null());
    command.spawn().context("redis-server can't be started: run scripts/test, which installs it")
}

async fn cli(args: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new("redis-cli");
    let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await? {
        anyhow::ensure!(Instant::now() < deadline, "{what} takes longer than a minute");
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// A primary, its replica, and three sentinels.
#[derive(Debug)]
pub(super) struct Watched {
    primary: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

impl Watched {
    pub(super) async fn start() -> anyhow::Result<Watched> {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]).await?;
        let port = primary.port.to_string();
        let replica =
            Server::start(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await?;
        until("the replica's sync", async || {
            Ok(replica.ask(&["INFO", "replication"]).await?.contains("master_link_status:up"))
        })
        .await?;
        let conf = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n"
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::start_with(Some(&conf), &[]).await?);
        }
        for sentinel in &sentinels {
            until("that sentinels know each other", async || {
                let said = sentinel.ask(&["SENTINEL", "MASTER", "main"]).await?;
                let lines: Vec<&str> = said.lines().collect();
                let is = |key, value| lines.windows(2).any(|pair| pair == [key, value]);
                Ok(is("num-slaves", "1") && is("num-other-sentinels", "2"))
            })
            .await?;
        }
        Ok(Watched { primary, replica, sentinels })
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// Kills the primary; returns when the replica has its place.
    pub(super) async fn fail_over(&mut self) -> anyhow::Result<()> {
        self.primary.kill9()?;
        until("the fail-over", || self.replica.is_primary()).await
    }
}

/// Three primaries, and a replica of each.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    pub(super) async fn start() -> anyhow::Result<Cluster> {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let bus = free_port()?.to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
            let quick = ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"];
            nodes.push(Server::start(&[&args[..], &quick].concat()).await?);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let said = cli(&create).await?;
        anyhow::ensure!(said.contains("All 16384 slots covered"), "no cluster came of it: {said}");
        for node in &nodes {
            until("that the cluster is whole", async || {
                let said = node.ask(&["INFO", "replication"]).await?;
                let is_linked = said.contains("master_link_status:up") || said.contains("state=online");
                Ok(is_linked && node.ask(&["CLUSTER", "INFO"]).await?.contains("cluster_state:ok"))
            })
            .await?;
        }
        Ok(Cluster { nodes })
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The primary that has a key, unless it is `none`.
    async fn owner(&self, key: &str, none: Option<usize>) -> anyhow::Result<Option<usize>> {
        for (place, node) in self.nodes.iter().enumerate().filter(|(place, _)| Some(*place) != none) {
            if node.is_primary().await? && !node.ask(&["TYPE", key]).await?.contains("MOVED") {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Kills the primary that has a key; returns when another one has it.
    pub(super) async fn fail_over(&mut self, key: &str) -> anyhow::Result<()> {
        let dead = self.owner(key, None).await?.context("nobody has the installation's slot")?;
        self.nodes[dead].kill9()?;
        until("the fail-over", async || {
            let Some(heir) = self.owner(key, Some(dead)).await? else { return Ok(false) };
            Ok(self.nodes[heir].ask(&["CLUSTER", "INFO"]).await?.contains("cluster_state:ok"))
        })
        .await
    }
}
