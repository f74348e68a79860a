//! The audit log: one JSON line for every write, every denial and every approval.
//!
//! Before certain events (sending an approved call to GitHub) tollgate waits until the line is written: synced to
//! the file, or accepted by the pipe. All other lines are queued and written in the same order; a counter says
//! how many were lost.

mod record;

mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use record::{Approver, Change, Facts, Record, Verdict};

use crate::config::AuditLog;
use crate::metrics::Metrics;
use crate::secret;
use writer::{Job, Target};

/// Lines that may wait to be written; more are lost.
const WAITING_MAX: usize = 8_192;
/// How long tollgate waits for a line that must be written first.
const SURE_WITHIN: Duration = Duration::from_secs(5);

/// A line that had to be written was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the audit log can't be written")]
pub struct AuditUnavailable;

/// Takes lines and has them written by a separate thread.
#[derive(Debug, Clone)]
pub struct Audit {
    /// `None`: the audit log is off.
    jobs: Option<mpsc::Sender<Job>>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// # Errors
    /// When the file can't be opened, or no thread can be started.
    pub fn start(log: &AuditLog, metrics: Arc<Metrics>) -> io::Result<Audit> {
        let target = match log {
            AuditLog::Off => return Ok(Audit { jobs: None, metrics }),
            AuditLog::Stdout => Target::Stdout,
            AuditLog::File(path) => Target::open(path).map_err(|error| {
                let why = secret::reason(&error);
                io::Error::new(error.kind(), format!("`{}` can't be opened: {why}", path.display()))
            })?,
        };
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let lost = metrics.audit_lost.with_label_values::<&str>(&[]);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(target, waiting, &lost))?;
        Ok(Audit { jobs: Some(jobs), metrics })
    }

    /// Queues a line without waiting for it; a line that finds no room is counted as lost.
    fn write(&self, line: String) {
        let Some(jobs) = &self.jobs else { return };
        if jobs.try_send(Job::Line(line)).is_err() {
            self.metrics.audit_lost.with_label_values::<&str>(&[]).inc();
        }
    }

    /// Waits until the line is written, and synced if it goes to a file.
    async fn write_surely(&self, line: String) -> Result<(), AuditUnavailable> {
        let Some(jobs) = &self.jobs else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        let work = async {
            jobs.send(Job::Sure(line, tell)).await.map_err(|_| AuditUnavailable)?;
            told.await.map_err(|_| AuditUnavailable)?
        };
        tokio::time::timeout(SURE_WITHIN, work).await.map_err(|_| AuditUnavailable)?
    }

    /// Waits a few seconds at most until everything queued so far was written.
    pub async fn flush(&self) {
        let Some(jobs) = &self.jobs else { return };
        let (tell, told) = oneshot::channel();
        let work = async {
            if jobs.send(Job::Flush(tell)).await.is_ok() {
                let _ = told.await;
            }
        };
        if tokio::time::timeout(SURE_WITHIN, work).await.is_err() {
            tracing::error!("the audit log takes nothing: its last lines are lost");
        }
    }
}

#[cfg(test)]
mod tests;
