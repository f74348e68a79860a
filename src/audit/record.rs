//! One request's part of the audit log: its facts, gathered on its way.
//!
//! The line is written when the last owner of the [`Record`] drops it, so a write whose caller hung up still gets
//! a line with GitHub's status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::Value;

use super::{Audit, AuditUnavailable};
use crate::clock::Clock;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allowed,
    Denied,
    /// Policy would have denied it, but only observes.
    Observed,
}

/// The approver, as far as an approval names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approver {
    pub issuer: String,
    pub subject: String,
    pub jti: String,
}

/// One mutation of a GraphQL document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub operation: &'static str,
    /// The repositories that its input names, also by node ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// What its node ids refer to, as far as that is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, String>,
}

impl Change {
    /// A mutation of which no more is known yet.
    pub fn of(operation: &'static str) -> Change {
        Change { operation, repositories: Vec::new(), ids: BTreeMap::new() }
    }
}

/// The fields of a line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    pub request_id: String,
    pub agent: String,
    /// The agent's subject in its signed identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub method: String,
    /// GitHub's name for the operation.
    pub operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The path without its query, whole: its end may be what matters. A request's target is bounded.
    pub path: String,
    /// The branches that it writes to, as it names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What decided: a refusal's error code, or `approval` or `allowed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Why it was refused, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The mutations of a GraphQL document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver: Option<Approver>,
    /// What the approval is for: its claims about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub github_request_id: Option<String>,
    /// Why there is no status from GitHub although the call was let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    #[serde(flatten)]
    facts: &'a Facts,
}

/// A line that is still being gathered.
#[derive(Debug)]
pub struct Record {
    audit: Audit,
    clock: std::sync::Arc<dyn Clock>,
    facts: Mutex<Facts>,
}

impl Record {
    pub fn new(audit: &Audit, clock: &std::sync::Arc<dyn Clock>, facts: Facts) -> Record {
        Record { audit: audit.clone(), clock: std::sync::Arc::clone(clock), facts: Mutex::new(facts) }
    }

    /// Adds facts to the line.
    pub fn note(&self, add: impl FnOnce(&mut Facts)) {
        add(&mut self.facts());
    }

    /// Writes what is known now as an `approval` line and waits until it is safe.
    ///
    /// # Errors
    /// When the line was not written: the approved operation must then not happen.
    pub async fn approve(&self) -> Result<(), AuditUnavailable> {
        let line = self.line("approval");
        self.audit.write_surely(line).await
    }

    fn line(&self, event: &'static str) -> String {
        let time = Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default();
        // With all three digits, so that lines sort by their text.
        let time = format!("{time:.3}");
        let facts = self.facts();
        serde_json::to_string(&Line { time, event, facts: &facts }).unwrap_or_default()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let event = match self.facts().verdict {
            Some(Verdict::Denied) => "denial",
            Some(Verdict::Allowed | Verdict::Observed) | None => "call",
        };
        let line = self.line(event);
        self.audit.write(line);
    }
}
