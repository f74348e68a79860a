//! Until when agents were told to wait, by pool: for calls that can choose between pools.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::Charge;

/// Bound on agents times pools.
const TURNS_MAX: u64 = 100_000;
/// Longer than any call is held.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// An agent at a pool: installation, resource, agent.
type Key = (Arc<str>, Box<str>, Box<str>);

/// The turns to come.
pub(super) struct Turns {
    next: Cache<Key, Instant>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("count", &self.next.entry_count()).finish()
    }
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { next: Cache::builder().max_capacity(TURNS_MAX).time_to_live(KEPT_FOR).build() }
    }
}

impl Turns {
    /// A call was told to wait; the next one will have to wait one step more.
    pub(super) fn told(&self, charge: &Charge, hint_ms: i64, step_ms: i64) {
        let wait = Duration::from_millis(u64::try_from(hint_ms.saturating_add(step_ms)).unwrap_or_default());
        let key = key(&charge.installation, &charge.resource, &charge.agent);
        self.next.insert(key, Instant::now() + wait.min(KEPT_FOR));
    }

    /// How long an agent's next call would have to wait.
    pub(super) fn next(&self, installation: &Arc<str>, resource: &str, agent: &str) -> Duration {
        let next = self.next.get(&key(installation, resource, agent));
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }
}

fn key(installation: &Arc<str>, resource: &str, agent: &str) -> Key {
    (Arc::clone(installation), resource.into(), agent.into())
}
