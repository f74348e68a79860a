//! What the clients saw, written down as it happens.

use std::collections::BTreeMap;

use super::upstream::{Answer, Call};

/// The notes of one run.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) agents: Vec<Notes>,
    /// Requests sent to GitHub.
    pub(super) sent: u64,
    /// Leases of a dead replica, when it was time to look.
    pub(super) leaked: Option<usize>,
}

/// The notes on one agent.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) served: Vec<Served>,
    /// From arrival to being sent, or to giving up.
    pub(super) waits_ms: Vec<u64>,
    /// By the proxy, and why.
    pub(super) refusals: BTreeMap<String, u64>,
    /// By GitHub, for a limit.
    pub(super) limited: u64,
    /// Requests given up after many refusals.
    pub(super) given_up: u64,
    /// Requests that ended in an error.
    pub(super) failed: u64,
}

/// One request that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// When GitHub got to it.
    pub(super) at_ms: u64,
    /// Of which of all arrivals.
    pub(super) flow: usize,
    pub(super) units: f64,
    /// Points of the scenario's resource.
    pub(super) points: u64,
}

impl Journal {
    pub(super) fn new(agents: usize) -> Journal {
        let mut journal = Journal::default();
        journal.agents.resize_with(agents, Notes::default);
        journal
    }

    pub(super) fn sent(&mut self, agent: usize, wait_ms: u64) {
        self.sent += 1;
        self.agents[agent].waits_ms.push(wait_ms);
    }

    pub(super) fn refused(&mut self, agent: usize, reason: String) {
        *self.agents[agent].refusals.entry(reason).or_default() += 1;
    }

    pub(super) fn given_up(&mut self, agent: usize, wait_ms: u64) {
        self.agents[agent].given_up += 1;
        self.agents[agent].waits_ms.push(wait_ms);
    }
}

impl Served {
    pub(super) fn new(flow: usize, call: &Call, answer: &Answer) -> Served {
        Served { at_ms: answer.processed_ms, flow, units: call.kind.fair_units(), points: call.cost() }
    }
}

impl Notes {
    pub(super) fn units(&self) -> f64 {
        self.served.iter().map(|served| served.units).sum()
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals.values().sum()
    }
}
