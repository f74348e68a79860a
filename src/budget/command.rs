//! What a replica tells the store that keeps a budget, and what it is told.
//!
//! One call is one step of the ledger, whichever store runs it. It holds names, whole numbers, and
//! nothing a store would have to look up elsewhere.

mod reply;

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::{Serialize, Serializer};

use super::Secondary;
use super::ledger::ring::Ring;

pub use reply::{GateKind, Outcome, Reason, Reply, Snapshot, View};

/// A reservation's id, made by the replica that asks, so that a repeated call counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    pub replica: u64,
    pub number: u64,
}

impl Serialize for LeaseId {
    /// Of fixed length, so that ids sort as text as they do here.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [b'-'; 33];
        HEXLOWER.encode_mut(&self.replica.to_be_bytes(), &mut text[..16]);
        HEXLOWER.encode_mut(&self.number.to_be_bytes(), &mut text[17..]);
        serializer.serialize_str(str::from_utf8(&text).expect("digits are ASCII"))
    }
}

/// Writes a 64-bit number as hex digits, since Lua's numbers are too short for it.
fn hexadecimal<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(&number.to_be_bytes()))
}

/// One step of one installation's ledger.
#[derive(Debug, Clone)]
pub struct Call {
    pub stamp: Stamp,
    pub command: Command,
}

/// What comes with every step.
#[derive(Debug, Clone, Serialize)]
pub struct Stamp {
    #[serde(serialize_with = "hexadecimal")]
    pub replica: u64,
    /// The store's time in its last reply to this replica, and the milliseconds since, by a monotonic clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reply: Option<LastReply>,
    pub caps: Caps,
    /// Calls whose answer's body has ended since the last step.
    pub ended: Vec<LeaseId>,
}

/// See [`Stamp::last_reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastReply {
    pub at: i64,
    pub elapsed_ms: i64,
}

/// The configured limits, for one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Caps {
    /// Thousandths of each primary limit left to users outside tollgate.
    pub headroom: i64,
    /// Calls in flight.
    pub concurrent: i64,
    /// Secondary points a minute on one REST route.
    pub route: i64,
    /// Secondary points a minute of GraphQL.
    pub graphql: i64,
    /// Secondary points a minute over everything.
    pub all: i64,
    pub content_minute: i64,
    pub content_hour: i64,
}

impl Caps {
    /// `headroom` is in thousandths.
    pub fn new(headroom: i64, secondary: Secondary) -> Caps {
        Caps {
            headroom,
            concurrent: i64::from(secondary.concurrent),
            route: i64::from(secondary.rest_points_per_minute),
            graphql: i64::from(secondary.graphql_points_per_minute),
            all: i64::from(secondary.rest_points_per_minute_total),
            content_minute: i64::from(secondary.content_per_minute),
            content_hour: i64::from(secondary.content_per_hour),
        }
    }
}

/// What a step asks for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Admit(Box<Admit>),
    Settle(Box<Settle>),
    Book(Book),
    Withdraw(Place),
    Cancel(Cancel),
    Renew(Vec<LeaseId>),
    Heartbeat(Known),
    /// This replica stops.
    Leave(Known),
    Adopt(Box<Handover>),
    Look(Look),
}

impl Command {
    /// A label for counts and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Admit(_) => "admit",
            Command::Settle(_) => "settle",
            Command::Book(_) => "book",
            Command::Withdraw(_) => "withdraw",
            Command::Cancel(_) => "cancel",
            Command::Renew(_) => "renew",
            Command::Heartbeat(_) => "heartbeat",
            Command::Leave(_) => "leave",
            Command::Adopt(_) => "adopt",
            Command::Look(_) => "look",
        }
    }
}

/// The part of an installation that a replica deals with.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Known {
    pub resources: Vec<Arc<str>>,
}

/// An agent as the ledger sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    pub agent: Arc<str>,
    pub weight: i64,
    /// Points an hour of `core`; 0 for none.
    pub guarantee: i64,
    /// Points an hour of `core`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<i64>,
    /// The sum of the guarantees of all agents that may use the installation, in points an hour of `core`.
    pub guarantees: i64,
}

/// Where the head of a queue may be waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    pub resource: Arc<str>,
    /// `AGENT/RESOURCE/r|w/REPLICA`.
    pub head: Arc<str>,
    pub route: Arc<str>,
}

/// Asks for one call to be admitted.
#[derive(Debug, Clone, Serialize)]
pub struct Admit {
    pub lease: LeaseId,
    pub share: Share,
    pub place: Place,
    /// A route where the queue's previous head may still hold a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_route: Option<Arc<str>>,
    pub is_write: bool,
    pub is_graphql: bool,
    /// Primary points, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<i64>,
    /// Secondary points.
    pub points: i64,
    pub creates_content: bool,
    /// For the pause between writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Arc<str>>,
    pub is_interactive: bool,
    /// The longest the caller can be held, in milliseconds.
    pub patience_ms: i64,
    /// 0..=999, drawn by the replica.
    pub random: i64,
    /// Decide, but let the call through.
    pub is_observing: bool,
}

/// Reports the outcome of a call.
#[derive(Debug, Clone, Serialize)]
pub struct Settle {
    pub lease: LeaseId,
    pub share: Share,
    pub resource: Arc<str>,
    pub route: Arc<str>,
    /// Primary points the call cost; none to take them from `figures`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// The status was 2xx. Without figures, that means the server's limits are off.
    pub is_success: bool,
    pub elapsed_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<UpstreamRefusal>,
    /// The answer's body has ended, too.
    pub has_ended: bool,
}

/// What an answer says about its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    pub resource: Arc<str>,
    pub limit: i64,
    pub used: i64,
    /// From the answer's `Date` to its `x-ratelimit-reset`.
    pub reset_in_ms: i64,
}

/// GitHub refused a call for a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UpstreamRefusal {
    pub is_primary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<i64>,
}

/// Books a time at which a refused caller will be served.
#[derive(Debug, Clone, Serialize)]
pub struct Book {
    pub share: Share,
    pub resource: Arc<str>,
    /// Milliseconds until its turn, as the queue estimates.
    pub wait_ms: i64,
    /// Milliseconds between two turns of its agent.
    pub step_ms: i64,
    /// What holds the call before it.
    pub reason: Reason,
}

/// Takes back a call that certainly was not sent.
#[derive(Debug, Clone, Serialize)]
pub struct Cancel {
    pub lease: LeaseId,
    pub resource: Arc<str>,
    pub route: Arc<str>,
}

/// Asks for an agent's standing.
#[derive(Debug, Clone, Serialize)]
pub struct Look {
    pub share: Share,
    pub resource: Arc<str>,
}

/// What a replica knows and the store does not: handed over when the store came back empty, or when
/// the replica reaches it again.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Handover {
    pub leases: Vec<HandedLease>,
    pub sent: Sent,
    pub pools: Vec<Snapshot>,
    pub spent: Vec<Spent>,
    /// GitHub asked for silence until then, in epoch milliseconds.
    pub cool: i64,
}

/// A call in flight.
#[derive(Debug, Clone, Serialize)]
pub struct HandedLease {
    pub lease: LeaseId,
    pub share: Share,
    pub resource: Arc<str>,
    pub route: Arc<str>,
    pub price: i64,
    pub points: i64,
    pub creates_content: bool,
    /// Its answer has come; only the body goes on.
    pub is_settled: bool,
    pub at: i64,
}

/// Points an agent spent in the window that ends at `reset`.
#[derive(Debug, Clone, Serialize)]
pub struct Spent {
    pub resource: Arc<str>,
    pub reset: i64,
    pub agent: Arc<str>,
    pub points: i64,
}

/// Secondary points sent lately, in all and per route.
#[derive(Debug, Clone, Serialize)]
pub struct Sent {
    pub all: Ring,
    pub content_minute: Ring,
    pub content_hour: Ring,
    pub routes: Vec<(Arc<str>, Ring)>,
}

impl Sent {
    /// What was sent since `at`, and a little before.
    pub fn since(&self, at: i64) -> Sent {
        Sent {
            all: self.all.since(at),
            content_minute: self.content_minute.since(at),
            content_hour: self.content_hour.since(at),
            routes: self.routes.iter().map(|(route, ring)| (Arc::clone(route), ring.since(at))).collect(),
        }
    }
}

impl Default for Sent {
    fn default() -> Sent {
        Sent {
            all: Ring::minute(),
            content_minute: Ring::minute(),
            content_hour: Ring::hour(),
            routes: Vec::new(),
        }
    }
}

/// The resource whose pool a step is about.
pub(super) fn resource_of(command: &Command) -> Option<&Arc<str>> {
    match command {
        Command::Admit(admit) => Some(&admit.place.resource),
        Command::Settle(settle) => Some(&settle.resource),
        Command::Book(book) => Some(&book.resource),
        Command::Look(look) => Some(&look.resource),
        Command::Cancel(cancel) => Some(&cancel.resource),
        _ => None,
    }
}
