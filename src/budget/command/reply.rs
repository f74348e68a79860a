//! What the store answers.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The store's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The store's time, in epoch milliseconds; all times here are relative to it.
    pub now: i64,
    /// When the store began to remember, in epoch milliseconds.
    pub epoch: i64,
    /// The number of admits and settles so far.
    pub seq: i64,
    pub outcome: Outcome,
    /// The agent's standing in the pool, if one was named.
    pub view: Option<View>,
    pub pool: Option<Snapshot>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Settled {
        /// Primary points charged to the agent.
        cost: i64,
    },
    Granted {
        /// Primary points reserved.
        price: i64,
        /// While observing: what would have held the call.
        would: Option<Reason>,
    },
    Wait {
        /// Milliseconds after which to ask again.
        hint_ms: i64,
        /// Milliseconds between two turns of this agent.
        step_ms: i64,
        reason: Reason,
        /// Whether the call keeps a place meanwhile.
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
    /// This agent probably used up a limit that nobody can see.
    Box,
    /// A first call has to find out whether GitHub serves again.
    Trial,
    /// A first call has to find out what the pool holds, or what such a call costs.
    Unknown,
    /// The window is spent.
    Exhausted,
    /// The agent's ceiling is reached.
    Ceiling,
    /// The agent's ceiling is 0.
    Closed,
    /// Writes are spaced: one a second to a repository.
    Spacing,
    /// A minute's secondary points are spent, on one route or in all.
    Ring,
    /// A limit on content-creating writes is reached.
    Content,
    /// It is not yet the call's turn at one of the gates.
    Turn(GateKind),
    /// The store is away, and nothing is admitted meanwhile.
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

impl GateKind {
    /// The order in which a call asks them.
    pub const ORDER: [GateKind; 4] =
        [GateKind::Content, GateKind::Route, GateKind::Installation, GateKind::Pool];
}

impl Reason {
    /// All that Redis knows; [`Reason::StoreAway`] is a replica's own.
    const AT_REDIS: [Reason; 15] = [
        Reason::Start,
        Reason::Cooldown,
        Reason::Box,
        Reason::Trial,
        Reason::Unknown,
        Reason::Exhausted,
        Reason::Ceiling,
        Reason::Closed,
        Reason::Spacing,
        Reason::Ring,
        Reason::Content,
        Reason::Turn(GateKind::Pool),
        Reason::Turn(GateKind::Installation),
        Reason::Turn(GateKind::Route),
        Reason::Turn(GateKind::Content),
    ];

    /// What replicas and Redis call it.
    fn name(self) -> &'static str {
        match self {
            Reason::Start => "start",
            Reason::Cooldown => "cooldown",
            Reason::Box => "box",
            Reason::Trial => "trial",
            Reason::Unknown => "unknown",
            Reason::Exhausted => "exhausted",
            Reason::Ceiling => "ceiling",
            Reason::Closed => "closed",
            Reason::Spacing => "spacing",
            Reason::Ring => "ring",
            Reason::Content => "content",
            Reason::StoreAway => "store",
            Reason::Turn(GateKind::Pool) => "turn:pool",
            Reason::Turn(GateKind::Installation) => "turn:installation",
            Reason::Turn(GateKind::Route) => "turn:route",
            Reason::Turn(GateKind::Content) => "turn:content",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Reason> {
        Reason::AT_REDIS.into_iter().find(|reason| reason.name() == name)
    }

    /// The metric label `reason` of waiting times.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::StoreAway => "store",
            Reason::Start => "start",
            Reason::Cooldown => "cooldown",
            Reason::Box => "box",
            Reason::Trial | Reason::Unknown => "trial",
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

    /// Whether what holds the call ends with the pool's window.
    pub(crate) fn ends_with_window(self) -> bool {
        matches!(self, Reason::Exhausted | Reason::Turn(GateKind::Pool))
    }

    /// Whether a secondary limit or GitHub itself holds the call, and not the agent's share of a pool.
    pub fn is_upstream(self) -> bool {
        !matches!(
            self,
            Reason::StoreAway
                | Reason::Start
                | Reason::Unknown
                | Reason::Exhausted
                | Reason::Ceiling
                | Reason::Closed
                | Reason::Turn(GateKind::Pool)
        )
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// An agent's standing in a pool, in whole points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    pub used: i64,
    pub remaining: i64,
    /// Milliseconds until the window ends.
    pub reset_in_ms: i64,
    /// The agent's weight, and the sum of the weights of all agents seen in the last minute.
    pub weight: i64,
    pub weights: i64,
    pub is_known: bool,
}

/// A pool as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub resource: Arc<str>,
    pub limit: i64,
    /// Points used: by GitHub's count, and by ours.
    pub used: i64,
    pub own: i64,
    pub in_flight: i64,
    pub reset: i64,
    pub window_ms: i64,
    pub window_number: i64,
    /// In micro-points a second: taken by users outside, and given to agents.
    pub outside: i64,
    pub rate: i64,
    pub learned: i64,
    pub cool: i64,
    /// The number of replicas seen.
    pub replicas: i64,
    /// Calls in flight in the installation.
    pub leases: i64,
    pub is_known: bool,
}
