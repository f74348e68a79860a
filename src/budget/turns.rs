//! Until when agents were told to wait, by pool: for calls that can choose between pools.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::Charge;

/// Bound on agents times pools.
const TURNS_MAX: u64 = 100_000;
/// What was told longer ago says little: others come and go.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// An agent at a pool: installation, resource, agent, and whether it writes, which has limits of its own.
type Key = (Arc<str>, Box<str>, Box<str>, bool);

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
    /// A call was told when its turn comes; the next one would have to wait for so long.
    pub(super) fn told(&self, charge: &Charge, wait: Duration) {
        let key = key(&charge.installation, &charge.resource, &charge.agent, charge.is_write);
        self.next.insert(key, Instant::now() + wait.min(KEPT_FOR));
    }

    /// How long an agent's next call would have to wait.
    pub(super) fn next(
        &self,
        installation: &Arc<str>,
        resource: &str,
        agent: &str,
        is_write: bool,
    ) -> Duration {
        let next = self.next.get(&key(installation, resource, agent, is_write));
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }
}

fn key(installation: &Arc<str>, resource: &str, agent: &str, is_write: bool) -> Key {
    (Arc::clone(installation), resource.into(), agent.into(), is_write)
}
