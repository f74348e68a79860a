//! What the store answers.

use std::sync::Arc;

use serde::Serialize;

/// The store's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The store's time, in which everything here is said.
    pub now: i64,
    /// When the store began to remember.
    pub epoch: i64,
    /// Admits and settles so far.
    pub seq: i64,
    pub outcome: Outcome,
    /// How the agent stands in the pool, if one was named.
    pub view: Option<View>,
    pub pool: Option<Snapshot>,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Settled {
        /// Primary points it cost its agent.
        cost: i64,
    },
    Granted {
        /// Primary points reserved.
        price: i64,
        /// Observing: what would have held it.
        would: Option<Reason>,
    },
    Wait {
        /// Ask again then.
        hint_ms: i64,
        /// Between two turns of this agent.
        step_ms: i64,
        reason: Reason,
        /// Whether a place is kept meanwhile.
        has_place: bool,
    },
    Refused {
        /// Seconds, at least 1.
        retry_after: i64,
        reason: Reason,
    },
}

/// What holds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The store has only just begun to remember.
    Start,
    /// GitHub asked for silence.
    Cooldown,
    /// This agent likely used up a limit nobody can see.
    Box,
    /// A first call finds out how things stand.
    Trial,
    /// The window is spent.
    Exhausted,
    /// The agent's ceiling.
    Ceiling,
    /// The ceiling is 0.
    Closed,
    /// One write a second to a repository.
    Spacing,
    /// A minute's secondary points, on one route or over all.
    Ring,
    /// Content-creating writes.
    Content,
    /// Its turn at one of the gates.
    Turn(GateKind),
    /// The store is away, and nothing is let through meanwhile.
    StoreAway,
}

/// What is shared by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateKind {
    Pool,
    Installation,
    Route,
    Content,
}

impl Reason {
    /// The label `reason` of waiting times.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::StoreAway => "store",
            Reason::Start => "start",
            Reason::Cooldown => "cooldown",
            Reason::Box => "box",
            Reason::Trial => "trial",
            Reason::Exhausted => "exhausted",
            Reason::Ceiling | Reason::Closed => "ceiling",
            Reason::Spacing => "spacing",
            Reason::Ring => "ring",
            Reason::Content | Reason::Turn(GateKind::Content) => "content",
            Reason::Turn(GateKind::Pool) => "pool",
            Reason::Turn(GateKind::Installation) => "installation",
            Reason::Turn(GateKind::Route) => "route",
        }
    }

    /// Whether a secondary limit holds it, or GitHub itself, not the share of a pool.
    pub fn is_upstream(self) -> bool {
        !matches!(
            self,
            Reason::StoreAway
                | Reason::Start
                | Reason::Exhausted
                | Reason::Ceiling
                | Reason::Closed
                | Reason::Turn(GateKind::Pool)
        )
    }
}

/// How an agent stands in a pool, in whole points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    pub used: i64,
    pub remaining: i64,
    /// Until the window's end.
    pub reset_in_ms: i64,
    /// Its weight among those of all agents seen in the last minute.
    pub weight: i64,
    pub weights: i64,
    pub is_known: bool,
}

/// A pool as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub resource: Arc<str>,
    pub limit: i64,
    /// GitHub's count, and ours.
    pub used: i64,
    pub own: i64,
    pub in_flight: i64,
    pub reset: i64,
    pub window_ms: i64,
    pub window_number: i64,
    /// Micro-points a second: taken by others, and given to agents.
    pub outside: i64,
    pub rate: i64,
    pub learned: i64,
    pub cool: i64,
    /// Replicas seen.
    pub replicas: i64,
    /// Calls in flight in the installation.
    pub leases: i64,
    pub is_known: bool,
}
