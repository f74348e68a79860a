//! What an operator sees of a running tollgate: one snapshot that the page, `/api/status`, the events
//! and `tollgate status` all show.
//!
//! It is taken from what the parts know anyway ([`collect`]) and asks nobody: neither GitHub nor the
//! shared store. Figures are of this replica where `docs/status.md` does not say otherwise.

pub mod collect;

pub mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use refusals::RefusalStatus;

use crate::budget::Snapshot;

/// A forecast from less of a window than this part of it says nothing.
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
    /// Whether the admin API takes orders at all.
    pub has_admin_token: bool,
    pub store: StoreStatus,
    /// Answers in which GitHub refused for a rate limit, by kind; must stay empty.
    pub limit_hits: BTreeMap<String, u64>,
    /// The fullest first.
    pub pools: Vec<PoolStatus>,
    /// Those that wait and spend first.
    pub agents: Vec<AgentStatus>,
    /// Who burns most, the dearest first.
    pub routes: Vec<RouteStatus>,
    pub cache: CacheStatus,
    /// Given in the last ten minutes.
    pub hints: Vec<HintStatus>,
    /// The newest first.
    pub refusals: Vec<RefusalStatus>,
    /// By result: accepted, missing, refused, spent, forgotten, unsure.
    pub approvals: BTreeMap<String, u64>,
    pub tokens: Vec<TokenStatus>,
}

/// The configuration in force, and what became of the file since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// First digits of the file's SHA-256 (see `sha256sum`); none without a file.
    pub version: Option<String>,
    pub since_epoch_ms: i64,
    /// What is wrong with the file as it is now, so that it is not in force.
    pub problems: Vec<String>,
    /// Keys of the file that have other values than those in force, until tollgate is started again.
    pub needs_start: Vec<String>,
}

/// Where the budget is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// `memory` or `redis`.
    pub kind: String,
    pub is_up: bool,
    /// As last told by the store; at least this one.
    pub replicas: i64,
}

/// One pool: an installation's points of one resource, in GitHub's current window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    pub installation: String,
    pub resource: String,
    pub limit: i64,
    pub used: i64,
    pub in_flight: i64,
    pub reset_in_seconds: i64,
    pub window_seconds: i64,
    /// Whether GitHub has said the figures, or they are assumed.
    pub is_known: bool,
    /// Points an hour taken by users outside tollgate.
    pub outside_per_hour: i64,
    /// Until GitHub may be called again.
    pub cooldown_seconds: i64,
    /// None while too little of the window has passed.
    pub forecast: Option<Forecast>,
}

/// Where a pool will be when its window ends, at the mean pace of the window so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// At most the limit: tollgate slows agents down before.
    pub used_at_reset: i64,
    /// When the limit would be reached at this pace; none: not before the reset.
    pub full_in_seconds: Option<i64>,
}

impl PoolStatus {
    /// From a pool as the budget knows it at a time, epoch milliseconds.
    pub fn new(installation: &str, pool: &Snapshot, now_ms: i64) -> PoolStatus {
        let left_ms = (pool.reset - now_ms).max(0);
        // A window that is over was followed by one nobody has called in yet.
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

    /// Thousandths of the limit that are used or will be, whichever is known.
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
    /// By the file: only a change of the file lets it in.
    pub is_disabled_in_file: bool,
    /// Its weight among those of all seen in the last minute, where it called last; none: idle.
    pub share_ratio: Option<f64>,
    /// `INSTALLATION RESOURCE` the share is of.
    pub share_of: Option<String>,
    /// In windows that run, over all replicas; and at this one since it started.
    pub spent_in_windows: i64,
    pub spent: u64,
    pub waiting: usize,
    pub longest_wait_ms: u64,
    /// How long its latest calls were held before they went up.
    pub mean_wait_ms: u64,
}

/// Points of an agent on a route, at this replica since it started.
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
    /// 0: it is off.
    pub bytes_max: u64,
    /// As in `x-tollgate-cache`.
    pub requests: BTreeMap<String, u64>,
    /// Points of the primary limit that reads did not cost, by way.
    pub saved: BTreeMap<String, u64>,
}

/// Advice, and who was given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintStatus {
    pub text: String,
    pub agents: Vec<String>,
}

/// Tokens in use for one installation and access; never a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    pub installation: String,
    pub access: String,
    pub count: u64,
    pub oldest_age_seconds: i64,
    pub first_expiry_in_seconds: i64,
    /// The last try to get one failed, and the next waits.
    pub is_failing: bool,
}

#[cfg(test)]
pub(crate) mod tests;
