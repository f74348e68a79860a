//! tollgate as a process: configured by a file, started, asked for its address, and ended.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tollgate::secret::{AgentKey, hex};

/// A debug build reads its tables within this.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Lines kept of what tollgate complained about.
const COMPLAINTS_MAX: usize = 10;
/// For a certificate that is its own authority, and no authority for others.
const CERTIFICATE_REQUEST: &str = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
     [name]\nCN = localhost\n[extensions]\nbasicConstraints = critical, CA:FALSE\n\
     subjectAltName = DNS:localhost, IP:127.0.0.1\n";

/// Where tollgate is and what opens it; all that tasks may have of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) key: Arc<AgentKey>,
}

impl Target {
    /// The bytes of a request's head; `fields` are further lines, each with its end.
    pub(crate) fn head(&self, request_line: &str, fields: &str) -> String {
        let (address, key) = (self.address, self.key.expose());
        format!("{request_line}\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n{fields}\r\n")
    }
}

/// A running tollgate. Dropped, the process is killed and its files are gone.
///
/// Never shared with a task: a runtime that is shut down may forget its tasks without dropping them.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) target: Target,
    complaints: Arc<Mutex<Vec<String>>>,
    files: TempDir,
}

impl Process {
    /// Starts the binary before an upstream, with TLS if that is asked for.
    pub(crate) async fn start(binary: &Path, upstream: SocketAddr, has_tls: bool) -> anyhow::Result<Process> {
        let files = tempfile::Builder::new().prefix("tollgate-bounds-").tempdir()?;
        let key = AgentKey::generate("worker");
        write_private(&files.path().join("github.token"), "ghp_000000000000000000000000000000000000\n")?;
        if has_tls {
            make_certificate(files.path())?;
        }
        let config = files.path().join("tollgate.yaml");
        write_private(&config, &configuration(upstream, &key, has_tls))?;
        let child = Command::new(binary)
            .args(["serve", "--log", "info", "--log-format", "json", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| crate::cli::not_started(binary))?;
        // From here on it is killed whatever happens; the address becomes known below.
        let target = Target { address: SocketAddr::from(([127, 0, 0, 1], 0)), key: Arc::new(key) };
        let mut process = Process { child, target, complaints: Arc::default(), files };
        let log = process.child.stderr.take().context("the process has no standard error")?;
        let (says_address, address) = oneshot::channel();
        // A thread, not a task: however busy this process is, tollgate must not wait for its log to be read.
        let complaints = Arc::clone(&process.complaints);
        std::thread::spawn(move || read_log(log, says_address, &complaints));
        let address = timeout(START_PATIENCE, address).await;
        match address {
            Ok(Ok(address)) => process.target.address = address,
            _ => anyhow::bail!("tollgate did not say that it serves: {}", process.complaints().join(" ")),
        }
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The certificate it serves, PEM.
    pub(crate) fn certificate(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.files.path().join("tls.pem"))?)
    }

    /// What it logged as a warning or an error; the first lines of it.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("nothing panics while it holds this lock").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log to its end, so that writing it never waits.
fn read_log(log: ChildStderr, says_address: oneshot::Sender<SocketAddr>, complaints: &Mutex<Vec<String>>) {
    let mut says_address = Some(says_address);
    for line in BufReader::new(log).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        if says_address.is_some()
            && let Some(address) = served_address(&line)
        {
            let _ = says_address.take().map(|says| says.send(address));
        } else if !line.contains("\"level\":\"INFO\"") && !line.contains(RAISED_LIMITS) {
            let mut complaints = complaints.lock().expect("nothing panics while it holds this lock");
            if complaints.len() < COMPLAINTS_MAX {
                complaints.push(line.into_owned());
            }
        }
    }
}

/// The address in the line that says tollgate serves.
fn served_address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event["message"] != "tollgate serves" {
        return None;
    }
    event["listen"].as_str()?.parse().ok()
}

/// It warns of limits above GitHub's, which are set so that the budget holds nobody.
const RAISED_LIMITS: &str = "warning: budget.secondary.";

/// The file an operator would write.
fn configuration(upstream: SocketAddr, key: &AgentKey, has_tls: bool) -> String {
    let tls = if has_tls { "  tls: { cert_file: tls.pem, key_file: tls.key }\n" } else { "" };
    format!(
        "server:\n  listen: 127.0.0.1:0\n  admin_listen: 127.0.0.1:0\n  max_upload: 2GiB\n{tls}\
         upstream:\n  api_url: http://{upstream}\n  uploads_url: http://{upstream}\n\
         tokens:\n  - {{ name: bounds, token_file: github.token }}\n\
         budget:\n  secondary: {{ concurrent: 1000000, rest_points_per_minute: 1000000000, \
         rest_points_per_minute_total: 1000000000, content_per_minute: 1000000000, content_per_hour: 1000000000 }}\n\
         policy:\n  approval: {{ mode: presence }}\n\
         agents:\n  - name: worker\n    key_sha256: \"{}\"\n    repositories: [\"*\"]\n",
        hex(&key.sha256())
    )
}

fn make_certificate(directory: &Path) -> anyhow::Result<()> {
    std::fs::write(directory.join("request.cnf"), CERTIFICATE_REQUEST)?;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-config", "request.cnf", "-days", "2", "-nodes", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "tls.key", "-out", "tls.pem"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .context("openssl, which makes the certificate, can't be started")?;
    anyhow::ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_in_the_log() {
        let line = r#"{"level":"INFO","message":"tollgate serves","listen":"127.0.0.1:4711","admin_listen":"127.0.0.1:1"}"#;
        assert_eq!(served_address(line), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        for other in ["", "tollgate serves", r#"{"message":"stopping","listen":"127.0.0.1:4711"}"#] {
            assert_eq!(served_address(other), None);
        }
    }

    #[test]
    fn the_configuration_is_one() {
        let files = TempDir::new().unwrap();
        make_certificate(files.path()).unwrap();
        write_private(&files.path().join("github.token"), "ghp_0\n").unwrap();
        let path = files.path().join("tollgate.yaml");
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 1)), &AgentKey::generate("worker"), true);
        write_private(&path, &text).unwrap();
        if let Err(problems) = tollgate::config::from_file(&path) {
            panic!("{problems}");
        }
    }
}
