//! Real Redis servers, each on its own loopback port and in its own directory.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tollgate::redis_client::{RedisAddress, RedisPlace, RedisSettings};

/// A server that is stopped when this value is dropped.
pub(crate) struct RedisServer {
    directory: TempDir,
    args: Vec<String>,
    pub(crate) port: u16,
    child: Child,
}

impl RedisServer {
    /// An empty server; `args` are added to its command line, such as `["--requirepass", "x"]`.
    pub(crate) async fn start(args: &[&str]) -> RedisServer {
        RedisServer::start_in(TempDir::new().unwrap(), args).await
    }

    /// Like [`RedisServer::start`], in a directory that already has files; `PORT` in the arguments stands for the port.
    pub(crate) async fn start_in(directory: TempDir, args: &[&str]) -> RedisServer {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut port = free_port();
        let child = spawn(directory.path(), &args, port);
        let mut server = RedisServer { directory, args, port, child };
        // Another process may take a port that was free a moment ago.
        for _ in 0..5 {
            if server.is_ready().await {
                return server;
            }
            port = free_port();
            server.port = port;
            server.child = spawn(server.directory.path(), &server.args, port);
        }
        let log = fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
        panic!("redis-server does not start: {log}")
    }

    /// A server on a given port.
    pub(crate) async fn start_at(port: u16, args: &[&str]) -> RedisServer {
        let directory = TempDir::new().unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let child = spawn(directory.path(), &args, port);
        let mut server = RedisServer { directory, args, port, child };
        assert!(server.is_ready().await, "redis-server does not start at {port}");
        server
    }

    async fn is_ready(&mut self) -> bool {
        for _ in 0..1000 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> RedisAddress {
        loopback(self.port)
    }

    /// The settings for a client without a password.
    pub(crate) fn settings(&self) -> RedisSettings {
        settings(RedisPlace::Standalone { address: self.address(), database: 0 })
    }

    /// Kills it without warning.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Makes it hang: connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success(), "kill -{name}");
    }

    /// Restarts it empty, at the same address.
    pub(crate) async fn restart_empty(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.directory.path(), &self.args, self.port);
        assert!(self.is_ready().await, "redis-server does not come back");
    }

    /// What `redis-cli` prints for a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        ask(self.port, command)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, args: &[String], port: u16) -> Child {
    let port = port.to_string();
    let is_sentinel = args.iter().any(|arg| arg == "--sentinel");
    let is_tls = args.iter().any(|arg| arg == "--tls-port");
    let mut command = Command::new("redis-server");
    command.current_dir(directory);
    if is_sentinel {
        command.arg("sentinel.conf");
    }
    if !is_tls {
        command.args(["--port", &port]);
    }
    if !is_sentinel {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(args.iter().map(|arg| arg.replace("PORT", &port)));
    command.args(["--bind", "127.0.0.1", "--logfile", "log"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("redis-server can't be started ({error}): run scripts/test, which installs what tests need")
    })
}

/// What `redis-cli` prints for a command.
pub(crate) fn ask(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(command).output();
    let output = output.unwrap_or_else(|error| {
        panic!("redis-cli can't be started ({error}): run scripts/test, which installs what tests need")
    });
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn loopback(port: u16) -> RedisAddress {
    RedisAddress { host: "127.0.0.1".to_owned(), port, is_tls: false }
}

pub(crate) fn settings(place: RedisPlace) -> RedisSettings {
    RedisSettings { place, username: None, password: None, ca_pem: None }
}
