//! nginx before the stand-in: a cache that revalidates, and a queue at the quota's pace.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::plan::{Measures, Plan};
use crate::replicas::redis::free_port;

/// How long one waits in the queue at most; as long as tollgate holds a call here.
const QUEUE_S: f64 = 20.0;
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx. Dropped, it is told to end, and its workers with it.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    pub(crate) url: String,
}

impl Nginx {
    pub(crate) fn is_missing() -> Option<String> {
        let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        found.is_err().then(|| "nginx is not installed: run loadtest/fleet/install".to_owned())
    }

    /// With a cache; with `is_paced` what it does not have waits in one queue for all.
    pub(crate) async fn start(
        directory: &Path,
        api_url: &str,
        token: &str,
        measures: &Measures,
        is_paced: bool,
    ) -> anyhow::Result<Nginx> {
        let (port, inner_port) = (free_port()?, free_port()?);
        let github = api_url.trim_start_matches("http://");
        let inner = if is_paced { queue(inner_port, github, measures) } else { String::new() };
        let behind = if is_paced { format!("127.0.0.1:{inner_port}") } else { github.to_owned() };
        let conf = format!("{}{}{inner}}}\n", head(directory), cache(port, &behind, token));
        let path = directory.join("nginx.conf");
        std::fs::write(&path, conf)?;
        let log = std::fs::File::create(directory.join("nginx.log"))?;
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(directory)
            .arg("-c")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("nginx can't be started")?;
        let mut nginx = Nginx { child, url: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let ended = nginx.child.try_wait()?;
            let said = || std::fs::read_to_string(directory.join("nginx.log")).unwrap_or_default();
            anyhow::ensure!(ended.is_none() && Instant::now() < deadline, "nginx does not start: {}", said());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, the master would leave its workers behind.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn head(directory: &Path) -> String {
    let home = directory.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {home}/{kind};\n")).collect();
    format!(
        // Without rights to give up, nginx ignores `user`; with them its workers must see the directory.
        "user root root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 32768;\npid {home}/pid;\n\
         error_log stderr crit;\nevents {{ worker_connections 16384; }}\nhttp {{\naccess_log off;\n{temporary}\
         keepalive_requests 1000000;\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
         proxy_read_timeout 60s;\nproxy_buffers 16 16k;\n\
         proxy_cache_path {home}/cache keys_zone=reads:16m max_size=256m inactive=10m use_temp_path=off;\n"
    )
}

/// Reads are kept and revalidated when they are asked for again; GitHub's `private` and `Vary` would forbid
/// that, and all callers have the same token here. A second of freshness makes calls at once one.
fn cache(port: u16, behind: &str, token: &str) -> String {
    format!(
        "upstream behind {{ server {behind}; keepalive 512; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{\n\
         proxy_pass http://behind;\nproxy_set_header Authorization \"Bearer {token}\";\n\
         proxy_cache reads;\nproxy_cache_key $request_uri;\nproxy_cache_revalidate on;\nproxy_cache_lock on;\n\
         proxy_ignore_headers Cache-Control Expires Vary;\nproxy_cache_valid 200 1s;\n\
         proxy_cache_use_stale error timeout updating;\n}} }}\n"
    )
}

/// A leaky bucket for all of REST and one for GraphQL, each at the pace of its quota. It knows no price of
/// a query, so it takes the average of those there are, which nobody would know in advance.
fn queue(port: u16, github: &str, measures: &Measures) -> String {
    let rest = measures.pace();
    let queries = measures.graphql_limit() as f64 / measures.window_s as f64 / Plan::points_of_a_query();
    let zone = |name: &str, pace: f64| {
        format!("limit_req_zone $server_port zone={name}:1m rate={}r/m;\n", (pace * 60.0).floor())
    };
    let place = |path: &str, name: &str, pace: f64| {
        format!(
            "location {path} {{ limit_req zone={name} burst={}; limit_req_status 429; proxy_pass http://github; }}\n",
            (pace * QUEUE_S).floor()
        )
    };
    format!(
        "{}{}upstream github {{ server {github}; keepalive 512; }}\nserver {{ listen 127.0.0.1:{port};\n{}{}}}\n",
        zone("rest", rest),
        zone("graphql", queries),
        place("/", "rest", rest),
        place("/graphql", "graphql", queries),
    )
}
