//! What became of each request, as its client tells it.

use serde::{Deserialize, Serialize};

/// A request that was not sent for the first time by then, its client forgets; a human's it keeps.
pub(crate) const START_BY_MS: u64 = 30_000;
/// After this nothing is sent again. An answer to what is open still counts.
pub(crate) const PATIENCE_MS: u64 = 60_000;

/// The end of one request. Clients that are programs write these, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) id: usize,
    /// Since the start.
    pub(crate) done_ms: u64,
    /// The answer was of use: what was asked, or that it has not changed.
    pub(crate) is_served: bool,
    /// How often it was sent, where that is known.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Of the last answer, 0 if there was none.
    #[serde(default)]
    pub(crate) status: u16,
}
