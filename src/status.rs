//! What an operator sees of a running tollgate: one snapshot, shown by the page, `/api/status`, the events and
//! `tollgate status`.
//!
//! It is taken from what the parts already know ([`collect`]) and asks neither GitHub nor the shared store.
//! Figures are this replica's unless `docs/status.md` says otherwise.

pub mod collect;

pub mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use refusals::RefusalStatus;

use crate::budget::Snapshot;

/// Divisor: less than this part of a window is too little for a forecast.
const FORECAST_FROM_PART: i64 = 50;

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub now_epoch_ms: i64,
    pub uptime_seconds: u64,
    pub is_draining: bool,
    pub config: ConfigStatus,
    /// Parts that only record what they would do: `budget`, `policy`.
    pub observing: Vec<String>,
    /// Whether an admin token is configured, so that the admin API accepts changes.
    pub has_admin_token: bool,
    pub store: StoreStatus,
    /// Answers in which GitHub refused for a rate limit, by kind; should stay empty.
    pub limit_hits: BTreeMap<String, u64>,
    /// The fullest pool first.
    pub pools: Vec<PoolStatus>,
    /// Agents that wait or spend first.
    pub agents: Vec<AgentStatus>,
    /// The most expensive routes first.
    pub routes: Vec<RouteStatus>,
    pub cache: CacheStatus,
    /// Hints given in the last ten minutes.
    pub hints: Vec<HintStatus>,
    /// The newest first.
    pub refusals: Vec<RefusalStatus>,
    /// Count by result: accepted, missing, refused, spent, forgotten, unsure.
    pub approvals: BTreeMap<String, u64>,
    pub tokens: Vec<TokenStatus>,
}

/// The configuration in force, and what has happened to its file since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The first digits of the file's SHA-256 (see `sha256sum`); `None` without a file.
    pub version: Option<String>,
    pub since_epoch_ms: i64,
    /// Problems of the file in its present state, which keep it from being in force.
    pub problems: Vec<String>,
    /// Keys whose values in the file only take effect when tollgate is restarted.
    pub needs_start: Vec<String>,
}

/// Where the budget is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// `memory` or `redis`.
    pub kind: String,
    pub is_up: bool,
    /// Replicas, as last reported by the store; at least 1.
    pub replicas: i64,
}

/// One pool: an installation's points of one resource in GitHub's current window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    pub installation: String,
    pub resource: String,
    pub limit: i64,
    pub used: i64,
    pub in_flight: i64,
    pub reset_in_seconds: i64,
    pub window_seconds: i64,
    /// Whether GitHub reported the figures; otherwise they are assumed.
    pub is_known: bool,
    /// Points per hour used outside tollgate.
    pub outside_per_hour: i64,
    /// Seconds until GitHub may be called again.
    pub cooldown_seconds: i64,
    /// `None` while too little of the window has passed.
    pub forecast: Option<Forecast>,
}

/// A pool's state at the end of its window, at the window's average pace so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Points; at most the limit (or what is used already), because tollgate slows agents down before.
    pub used_at_reset: i64,
    /// Seconds until the limit is reached at this pace; `None` if that is not before the reset.
    pub full_in_seconds: Option<i64>,
}

impl PoolStatus {
    /// From the budget's snapshot of a pool at `now_ms`, epoch milliseconds.
    pub fn new(installation: &str, pool: &Snapshot, now_ms: i64) -> PoolStatus {
        let left_ms = (pool.reset - now_ms).max(0);
        // The next window has begun, but nobody has called in it yet.
        let used = if left_ms == 0 { 0 } else { pool.used.max(pool.own) };
        PoolStatus {
            installation: installation.to_owned(),
            resource: pool.resource.to_string(),
            limit: pool.limit,
            used,
            in_flight: pool.in_flight,
            reset_in_seconds: (left_ms + 999) / 1000,
            window_seconds: pool.window_ms / 1000,
            is_known: pool.is_known,
            outside_per_hour: pool.outside.saturating_mul(3600) / 1_000_000,
            cooldown_seconds: ((pool.cool - now_ms).max(0) + 999) / 1000,
            forecast: forecast(used, pool.in_flight, pool.limit, pool.window_ms, left_ms),
        }
    }

    /// Thousandths of the limit that are used now or forecast for the end of the window, whichever is more.
    pub fn fullness(&self) -> i64 {
        let used = self.used + self.in_flight;
        let used = self.forecast.map_or(used, |forecast| forecast.used_at_reset.max(used));
        used.saturating_mul(1000) / self.limit.max(1)
    }
}

fn forecast(used: i64, in_flight: i64, limit: i64, window_ms: i64, left_ms: i64) -> Option<Forecast> {
    let passed = window_ms - left_ms;
    if left_ms == 0 || passed <= 0 || passed < window_ms / FORECAST_FROM_PART {
        return None;
    }
    let so_far = used + in_flight;
    let more = so_far.saturating_mul(left_ms) / passed;
    let free = (limit - so_far).max(0);
    let full_in_ms = (more > free).then(|| free.saturating_mul(passed) / so_far.max(1));
    Some(Forecast {
        used_at_reset: (so_far + more).min(limit.max(so_far)),
        full_in_seconds: full_in_ms.map(|millis| millis / 1000),
    })
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub name: String,
    pub weight: u32,
    pub guarantee: Option<u32>,
    pub ceiling: Option<u32>,
    pub is_disabled: bool,
    /// Disabled in the file: only a change of the file lets the agent in.
    pub is_disabled_in_file: bool,
    /// The agent's weight divided by the weights of all agents seen in the last minute, in the pool that it last
    /// used; `None` if it is idle.
    pub share_ratio: Option<f64>,
    /// The pool of the share, as `INSTALLATION RESOURCE`.
    pub share_of: Option<String>,
    /// Points spent in the current windows, over all replicas.
    pub spent_in_windows: i64,
    /// Points spent at this replica since it started.
    pub spent: u64,
    pub waiting: usize,
    pub longest_wait_ms: u64,
    /// Average time for which its latest calls were held before they were sent.
    pub mean_wait_ms: u64,
}

/// Points that an agent spent on a route, at this replica since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    pub agent: String,
    pub route: String,
    pub points: u64,
}

/// What the cache did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatus {
    pub bytes: u64,
    /// The limit; 0 means that the cache is off.
    pub bytes_max: u64,
    /// Requests by result, as in `x-tollgate-cache`.
    pub requests: BTreeMap<String, u64>,
    /// Points of the primary limit that reads did not cost, by how they were saved.
    pub saved: BTreeMap<String, u64>,
}

/// A piece of advice, and the agents that were given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintStatus {
    pub text: String,
    pub agents: Vec<String>,
}

/// Tokens in use for one installation and access; never a token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    pub installation: String,
    pub access: String,
    pub count: u64,
    pub oldest_age_seconds: i64,
    pub first_expiry_in_seconds: i64,
    /// The last attempt to mint a token failed, and the next one waits.
    pub is_failing: bool,
}

#[cfg(test)]
pub(crate) mod tests;
