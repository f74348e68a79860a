//! The latest refusals and their reasons, for operators. Repeated refusals share one entry with a count, so that
//! an agent in a loop does not displace what happened to others.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Refusals kept.
pub const KEPT_MAX: usize = 50;
/// Characters kept of a path or a reason; callers can influence both.
const TEXT_CHARS_MAX: usize = 240;

/// One refusal, or the latest of several alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalStatus {
    pub at_epoch_ms: i64,
    /// `None` for a caller that tollgate does not know.
    pub agent: Option<String>,
    /// The code, as in `x-tollgate-error`.
    pub code: String,
    pub method: String,
    /// GitHub's id of the operation; empty if it was refused before that was known.
    pub operation: String,
    /// The path as judged; empty if it was refused before that.
    pub path: String,
    pub reason: String,
    /// Refusals of this agent, code and operation since the entry was created.
    pub count: u64,
}

impl RefusalStatus {
    fn is_like(&self, other: &RefusalStatus) -> bool {
        self.agent == other.agent && self.code == other.code && self.operation == other.operation
    }
}

/// The list of the latest refusals.
#[derive(Debug, Default)]
pub struct Refusals {
    latest: Mutex<VecDeque<RefusalStatus>>,
}

impl Refusals {
    pub fn add(&self, mut refusal: RefusalStatus) {
        refusal.path = bounded(&refusal.path);
        refusal.reason = bounded(&refusal.reason);
        let mut latest = self.latest.lock();
        if let Some(place) = latest.iter().position(|known| known.is_like(&refusal)) {
            refusal.count += latest.remove(place).map_or(0, |known| known.count);
        }
        latest.truncate(KEPT_MAX - 1);
        latest.push_front(refusal);
    }

    /// The newest first.
    pub fn latest(&self) -> Vec<RefusalStatus> {
        self.latest.lock().iter().cloned().collect()
    }
}

/// Cuts a text and removes characters that move a terminal's cursor or reverse text.
fn bounded(text: &str) -> String {
    let is_sly = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cut: String =
        text.chars().take(TEXT_CHARS_MAX).map(|c| if is_sly(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn refusal(agent: &str, operation: &str) -> RefusalStatus {
        RefusalStatus {
            at_epoch_ms: 1,
            agent: Some(agent.to_owned()),
            code: "operation_forbidden".to_owned(),
            method: "GET".to_owned(),
            operation: operation.to_owned(),
            path: "/repos/acme/widgets".to_owned(),
            reason: "No.".to_owned(),
            count: 1,
        }
    }

    #[test]
    fn a_loop_is_one_entry_and_the_oldest_go_first() {
        let refusals = Refusals::default();
        refusals.add(refusal("victim", "a"));
        for _ in 0..10_000 {
            refusals.add(refusal("loop", "b"));
        }
        let latest = refusals.latest();
        assert_eq!((latest.len(), latest[0].count, latest[1].agent.as_deref()), (2, 10_000, Some("victim")));
        for number in 0..1_000 {
            refusals.add(refusal("many", &number.to_string()));
        }
        assert_eq!((refusals.latest().len(), &*refusals.latest()[0].operation), (KEPT_MAX, "999"));
    }

    #[test]
    fn what_callers_wrote_is_cut_and_moves_no_cursor() {
        let refusals = Refusals::default();
        let reason = format!("\u{1b}[2J\u{202e}{}", "é".repeat(5_000));
        refusals.add(RefusalStatus { reason, ..refusal("a", "b") });
        let reason = &refusals.latest()[0].reason;
        assert!(reason.chars().count() <= TEXT_CHARS_MAX + 1 && reason.ends_with('…'), "{reason}");
        assert!(!reason.contains(['\u{1b}', '\u{202e}']));
    }
}
