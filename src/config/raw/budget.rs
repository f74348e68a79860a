//! How the quota is shared, when a call is tried again, and what is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mode, Percent, Period, Size};
use crate::config::{OnStoreLoss, Secondary, Store};

/// How GitHub's quota is shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Where the count is kept.
    pub store: Store,
    /// The Redis of `store: redis`; exactly one of `url`, `nodes` and `sentinel`.
    pub redis: Option<Redis>,
    /// Part of each primary limit left to users outside tollgate; at most 90%.
    pub headroom: Percent,
    /// How long a request over budget is held when it names no wait itself.
    pub max_wait: Period,
    /// The most it may ask for; at most 10m.
    pub max_wait_limit: Period,
    /// Status of `budget_exhausted` and `upstream_limited`. 403 is what every client takes for a
    /// rate limit; 429 if all of yours know it.
    #[schemars(extend("enum" = [403, 429]))]
    pub over_budget_status: u16,
    /// What happens while the store is away.
    pub on_store_loss: OnStoreLoss,
    /// Whether the budget is enforced.
    pub mode: Mode,
    /// Secondary limits per installation; the defaults stay below what GitHub publishes.
    pub secondary: Secondary,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            store: Store::Memory,
            redis: None,
            headroom: Percent(0),
            max_wait: Period::from_secs(4),
            max_wait_limit: Period::from_secs(60),
            over_budget_status: 403,
            on_store_loss: OnStoreLoss::Degrade,
            mode: Mode::Enforce,
            secondary: Secondary::default(),
        }
    }
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// One server, `redis://HOST:PORT[/DB]` or `rediss://…` for TLS.
    pub url: Option<String>,
    /// Some nodes of a cluster, `HOST:PORT` or as in `url`; the others are found from them.
    pub nodes: Option<Vec<String>>,
    /// A server found through sentinels.
    pub sentinel: Option<Sentinel>,
    /// User name, if not the default user.
    pub username: Option<String>,
    /// Environment variable with the password.
    pub password_env: Option<String>,
    /// File with the password.
    pub password_file: Option<String>,
    /// Certificate authorities to trust for TLS in place of the system's, PEM.
    pub ca_file: Option<String>,
}

/// Redis Sentinel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["service", "nodes"]))]
pub struct Sentinel {
    /// Name of the monitored service.
    pub service: Option<String>,
    /// Addresses of the sentinels, `HOST:PORT` or `redis://…`; `rediss://…` if they and the servers
    /// use TLS.
    pub nodes: Vec<String>,
}

/// When a call is tried again: full jitter, `uniform(0, min(max_delay, base_delay * 2^n))`, and never
/// before GitHub's `retry-after`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first with them.
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Longest pause before the second attempt.
    pub base_delay: Period,
    /// Longest pause before any attempt; at most 10m.
    pub max_delay: Period,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { max_attempts: 4, base_delay: Period::from_millis(500), max_delay: Period::from_secs(20) }
    }
}

/// The cache all agents share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Most bytes it holds; 0 turns it off.
    pub max_size: Size,
    /// Answer without asking GitHub for this long; 0s: always revalidate.
    pub fresh_for: Period,
    /// Serve what is known for this long when GitHub fails, marked as stale.
    pub stale_if_error: Period,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache { max_size: Size(256 << 20), fresh_for: Period::default(), stale_if_error: Period::default() }
    }
}
