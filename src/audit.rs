//! The audit log: one JSON line for every write, every denial and every approval.
//!
//! A line that must be there before something happens (an approved call goes up) is waited for until the
//! file has it, synced, or the pipe has taken it. The others are handed over and written in the same
//! order; if they can't be, a counter says how many were lost.

mod record;

mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use record::{Approver, Facts, Record, Verdict};

use crate::config::AuditLog;
use crate::metrics::Metrics;
use writer::{Job, Target};

/// Lines that wait to be written.
const WAITING_MAX: usize = 8_192;
/// How long a line that must be there is waited for.
const SURE_WITHIN: Duration = Duration::from_secs(5);

/// A line that had to be there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the audit log can't be written")]
pub struct AuditUnavailable;

/// Takes lines and has them written, by a thread of its own.
#[derive(Debug, Clone)]
pub struct Audit {
    /// None: it is off.
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
            AuditLog::File(path) => Target::open(path)?,
        };
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let lost = metrics.audit_lost.with_label_values::<&str>(&[]);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(target, waiting, &lost))?;
        Ok(Audit { jobs: Some(jobs), metrics })
    }

    /// Hands a line over; nobody waits for it.
    fn write(&self, line: String) {
        let Some(jobs) = &self.jobs else { return };
        if jobs.try_send(Job::Line(line)).is_err() {
            self.metrics.audit_lost.with_label_values::<&str>(&[]).inc();
        }
    }

    /// Waits until the line is where it belongs.
    async fn write_surely(&self, line: String) -> Result<(), AuditUnavailable> {
        let Some(jobs) = &self.jobs else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        let work = async {
            jobs.send(Job::Sure(line, tell)).await.map_err(|_| AuditUnavailable)?;
            told.await.map_err(|_| AuditUnavailable)?
        };
        tokio::time::timeout(SURE_WITHIN, work).await.map_err(|_| AuditUnavailable)?
    }

    /// Waits until everything handed over so far was written, within some seconds.
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
