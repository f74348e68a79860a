//! The part of the format that says what a run is held to; every key may be left out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::span::Span;

/// What must hold at the end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) allocation: BTreeMap<String, Allocation>,
    pub(super) shares: BTreeMap<String, Share>,
    pub(super) utilisation_min: Option<f64>,
    pub(super) upstream_403_429_max: Option<u64>,
    pub(super) window_error_60s_p95_max: Option<f64>,
    pub(super) jain_min: Option<f64>,
    pub(super) wait: Option<Wait>,
    pub(super) wake: Option<Wake>,
    pub(super) refusals_per_served_max: Option<f64>,
    pub(super) store_calls_per_request_max: Option<f64>,
    pub(super) served_min: BTreeMap<String, u64>,
    pub(super) max_gap_s: BTreeMap<String, Span>,
    pub(super) inflight_max: Option<u64>,
    pub(super) leaked_leases_after_s: Option<Leaked>,
    pub(super) content_per_min_max: Option<u64>,
    pub(super) content_per_hour_max: Option<u64>,
}

/// Fair units over the whole run.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allocation {
    pub(super) fair_units: f64,
    pub(super) tolerance: f64,
}

/// Of all that was served.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    pub(super) share: f64,
    pub(super) relative_tolerance: f64,
}

/// From arrival to being sent, refusals and returns included.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    pub(super) agent: String,
    #[serde(default)]
    pub(super) p50_max_s: Option<Span>,
    #[serde(default)]
    pub(super) p99_max_s: Option<Span>,
}

/// What an agent that wakes gets at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wake {
    pub(super) agent: String,
    pub(super) at_s: Span,
    /// The length of the time that is looked at.
    pub(super) share_of_pool_within_s: Span,
    pub(super) min_fraction_of_ideal: f64,
}

/// Leases of a dead replica.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaked {
    pub(super) after_crash_s: Span,
    pub(super) max: usize,
}

impl Expect {
    /// All agents that are named.
    pub(super) fn agents(&self) -> impl Iterator<Item = &str> {
        let one_by_one =
            [self.wait.as_ref().map(|wait| &wait.agent), self.wake.as_ref().map(|wake| &wake.agent)];
        self.allocation
            .keys()
            .chain(self.shares.keys())
            .chain(self.served_min.keys())
            .chain(self.max_gap_s.keys())
            .chain(one_by_one.into_iter().flatten())
            .map(String::as_str)
    }
}
