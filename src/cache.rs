//! The cache of GitHub's answers, one for all agents with the same rights.
//!
//! An answer is kept under everything it hangs on ([`key`]) and looked up only after the guard. Unless it
//! is known to be fresh, GitHub is asked whether it is still so, which is free of quota, also under a
//! token that never saw it ([`etag`]). What is known of changes is in [`changes`].

pub mod changes;

pub mod entry;

pub mod etag;

pub mod feed;

pub mod flights;

pub mod key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use moka::ops::compute::Op;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::config;
use changes::{Reach, SETTLES_WITHIN, TOLD_FOR};
use entry::Entry;
use etag::Proofs;
use feed::Feed;
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

/// Longest plain body that is kept a second time, as a client got it.
pub const WRITTEN_BYTES_MAX: usize = 1024 * 1024;

/// What stands under a key: the answer, or its body as written for those who came by one address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slot {
    key: Key,
    address: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
enum Kept {
    Entry(Arc<Entry>),
    /// Of the entry with this tag.
    Written {
        tag: HeaderValue,
        body: Bytes,
    },
}

impl Kept {
    fn size(&self) -> usize {
        const FIXED: usize = 200;
        match self {
            Kept::Entry(entry) => entry.size(),
            Kept::Written { body, .. } => FIXED + body.len(),
        }
    }
}

/// How long what is kept may be served, as configured.
#[derive(Debug, Clone, Copy)]
struct Times {
    fresh_for: Duration,
    stale_if_error: Duration,
}

impl Times {
    fn of(settings: config::Cache) -> Times {
        Times { fresh_for: settings.fresh_for, stale_if_error: settings.stale_if_error }
    }
}

/// Keeps answers.
pub struct Cache {
    /// One bound for both kinds.
    kept: moka::sync::Cache<Slot, Kept>,
    max_bytes: u64,
    times: ArcSwap<Times>,
    /// What is known of changes, and whether all of them are heard of.
    feed: Arc<Feed>,
    pub flights: Flights,
    pub proofs: Proofs,
    arriving: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("max_bytes", &self.max_bytes)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

impl Cache {
    pub fn new(settings: config::Cache, feed: Arc<Feed>, clock: Arc<dyn Clock>) -> Cache {
        let size = |slot: &Slot, kept: &Kept| {
            let address = slot.address.as_ref().map_or(0, |address| address.len());
            u32::try_from(slot.key.size() + address + kept.size()).unwrap_or(u32::MAX)
        };
        Cache {
            kept: moka::sync::Cache::builder().weigher(size).max_capacity(settings.max_bytes).build(),
            max_bytes: settings.max_bytes,
            times: ArcSwap::from_pointee(Times::of(settings)),
            feed,
            flights: Flights::default(),
            proofs: Proofs::default(),
            arriving: Arc::new(Semaphore::new(ARRIVING_KIB_MAX)),
            clock,
        }
    }

    /// Goes on by other times; its bound stays.
    pub fn tune(&self, settings: config::Cache) {
        self.times.store(Arc::new(Times::of(settings)));
    }

    pub fn is_off(&self) -> bool {
        self.max_bytes == 0
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.kept.get(&Slot { key: key.clone(), address: None })? {
            Kept::Entry(entry) => Some(entry),
            Kept::Written { .. } => None,
        }
    }

    /// Keeps an entry, unless what is kept was asked for later: long bodies arrive in their own time.
    pub fn insert(&self, key: &Key, entry: &Arc<Entry>) {
        let slot = Slot { key: key.clone(), address: None };
        self.kept.entry(slot).and_compute_with(|kept| match kept.as_ref().map(moka::Entry::value) {
            Some(Kept::Entry(kept)) if kept.checked_ms() > entry.checked_ms() => Op::Nop,
            _ => Op::Put(Kept::Entry(Arc::clone(entry))),
        });
    }

    pub fn remove(&self, key: &Key) {
        self.kept.invalidate(&Slot { key: key.clone(), address: None });
    }

    /// The plain body of an entry as it is written for those who come by `address`; `write` is asked where
    /// nobody came by it before. None when it can't be unpacked.
    pub fn written(
        &self,
        key: &Key,
        entry: &Entry,
        address: &str,
        write: impl FnOnce(Bytes) -> Bytes,
    ) -> Option<Bytes> {
        let slot = Slot { key: key.clone(), address: Some(address.into()) };
        match self.kept.get(&slot) {
            Some(Kept::Written { tag, body }) if tag == *entry.tag() => return Some(body),
            _ => {}
        }
        let body = write(entry.plain()?);
        if body.len() <= WRITTEN_BYTES_MAX {
            self.kept.insert(slot, Kept::Written { tag: entry.tag().clone(), body: body.clone() });
        }
        Some(body)
    }

    /// Bytes of all entries, as counted against the bound.
    pub fn size(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.weighted_size()
    }

    /// The bound on it; 0: the cache is off.
    pub fn max_size(&self) -> u64 {
        self.max_bytes
    }

    /// Longest body that is kept.
    pub fn body_max(&self) -> u64 {
        BODY_BYTES_MAX.min(self.max_bytes / 8)
    }

    /// Room for a body that is kept when it has come whole; none when too many are on their way.
    pub fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.arriving).try_acquire_many_owned(kib.max(1)).ok()
    }

    /// When what an answer shows changed last, as far as it is known; epoch milliseconds.
    pub fn changed_ms(&self, reach: &Reach) -> i64 {
        self.feed.changes().last(reach)
    }

    /// Whether it may be served without asking GitHub.
    pub fn is_fresh(&self, entry: &Entry, reach: &Reach) -> bool {
        let is_told = !entry.is_pending() && self.feed.changes().covers(reach);
        let told_for = if is_told { TOLD_FOR } else { Duration::ZERO };
        let fresh_for = self.times.load().fresh_for.max(told_for);
        // GitHub may have shown what was before a change for some time after it.
        let is_settled =
            entry.checked_ms() >= self.feed.changes().last(reach).saturating_add(ms(SETTLES_WITHIN));
        self.feed.is_whole() && is_settled && self.is_younger(entry, fresh_for)
    }

    /// Whether it may be served when GitHub fails: it is not known to have changed.
    pub fn may_be_stale(&self, entry: &Entry, reach: &Reach) -> bool {
        entry.checked_ms() > self.feed.changes().last(reach)
            && self.is_younger(entry, self.times.load().stale_if_error)
    }

    fn is_younger(&self, entry: &Entry, age: Duration) -> bool {
        let since = self.clock.now_ms() - entry.checked_ms();
        (0..ms(age)).contains(&since)
    }
}

/// A value of its own: it may be a part of a large buffer.
fn owned(value: &HeaderValue) -> HeaderValue {
    let mut own = HeaderValue::from_bytes(value.as_bytes()).expect("it was one before");
    own.set_sensitive(value.is_sensitive());
    own
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
