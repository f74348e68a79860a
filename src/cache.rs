//! The cache of GitHub's answers, one for all agents with the same rights.
//!
//! An answer is kept under everything it hangs on ([`key`]) and looked up only after the guard. Unless it
//! is known to be fresh, GitHub is asked whether it is still so, which is free of quota, also under a
//! token that never saw it ([`etag`]). What is known of changes is in [`changes`].

pub mod changes;

pub mod entry;

pub mod etag;

pub mod flights;

pub mod key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::config;
use changes::{Changes, Reach, SETTLES_WITHIN, TOLD_FOR};
use entry::Entry;
use etag::Proofs;
use flights::Flights;
use key::Key;

/// Longest body that is kept, as it comes; and no more than an eighth of the whole.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// All bodies together that are being kept but not yet whole, in KiB.
const ARRIVING_KIB_MAX: usize = 64 * 1024;

/// What the cache did for a request, as said in `x-tollgate-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// Not a request the cache has a part in.
    Bypass,
    /// Known to be fresh: GitHub was not asked.
    Hit,
    /// GitHub said that it is still so.
    Revalidated,
    /// Nothing was kept.
    Miss,
    /// What was kept is no longer so.
    Changed,
    /// Somebody else asked for the same at the same time.
    Coalesced,
    /// GitHub failed, and this is what was known.
    Stale,
}

impl CacheResult {
    pub fn as_str(self) -> &'static str {
        match self {
            CacheResult::Bypass => "bypass",
            CacheResult::Hit => "hit",
            CacheResult::Revalidated => "revalidated",
            CacheResult::Miss => "miss",
            CacheResult::Changed => "changed",
            CacheResult::Coalesced => "coalesced",
            CacheResult::Stale => "stale",
        }
    }
}

/// Keeps answers.
pub struct Cache {
    entries: moka::sync::Cache<Key, Arc<Entry>>,
    settings: config::Cache,
    changes: Arc<Changes>,
    pub flights: Flights,
    pub proofs: Proofs,
    arriving: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Cache {
    pub fn new(settings: config::Cache, changes: Arc<Changes>, clock: Arc<dyn Clock>) -> Cache {
        let size =
            |key: &Key, entry: &Arc<Entry>| u32::try_from(key.size() + entry.size()).unwrap_or(u32::MAX);
        Cache {
            entries: moka::sync::Cache::builder().weigher(size).max_capacity(settings.max_bytes).build(),
            settings,
            changes,
            flights: Flights::default(),
            proofs: Proofs::default(),
            arriving: Arc::new(Semaphore::new(ARRIVING_KIB_MAX)),
            clock,
        }
    }

    pub fn is_off(&self) -> bool {
        self.settings.max_bytes == 0
    }

    /// What is known to have changed.
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    pub fn insert(&self, key: &Key, entry: &Arc<Entry>) {
        self.entries.insert(key.clone(), Arc::clone(entry));
    }

    pub fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// Bytes of all entries, as counted against the bound.
    pub fn size(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }

    /// Longest body that is kept.
    pub fn body_max(&self) -> u64 {
        BODY_BYTES_MAX.min(self.settings.max_bytes / 8)
    }

    /// Room for a body that is kept when it has come whole; none when too many are on their way.
    pub fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.arriving).try_acquire_many_owned(kib.max(1)).ok()
    }

    /// When what an answer shows changed last, as far as it is known; epoch milliseconds.
    pub fn changed_ms(&self, reach: &Reach) -> i64 {
        self.changes.last(reach)
    }

    /// Whether it may be served without asking GitHub.
    pub fn is_fresh(&self, entry: &Entry, reach: &Reach) -> bool {
        let is_told = !entry.is_pending() && self.changes.covers(reach);
        let told_for = if is_told { TOLD_FOR } else { Duration::ZERO };
        let fresh_for = self.settings.fresh_for.max(told_for);
        // GitHub may have shown what was before a change for some time after it.
        let is_settled = entry.checked_ms() >= self.changes.last(reach).saturating_add(ms(SETTLES_WITHIN));
        is_settled && self.is_younger(entry, fresh_for)
    }

    /// Whether it may be served when GitHub fails: it is not known to have changed.
    pub fn may_be_stale(&self, entry: &Entry, reach: &Reach) -> bool {
        entry.checked_ms() > self.changes.last(reach) && self.is_younger(entry, self.settings.stale_if_error)
    }

    fn is_younger(&self, entry: &Entry, age: Duration) -> bool {
        let since = self.clock.now_ms() - entry.checked_ms();
        (0..ms(age)).contains(&since)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
