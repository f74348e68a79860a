//! The cache of GitHub's answers, shared by all agents with the same rights.
//!
//! An entry's key holds everything that the answer depends on ([`key`]); entries are looked up only after the guard.
//! Unless an entry is known to be fresh, GitHub is asked with a conditional request, which costs no quota if nothing
//! changed, even with a token that never fetched the entry ([`etag`]). [`changes`] holds what is known to have changed.

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

/// Longest body that is kept, in bytes as received; an eighth of the whole cache is a second limit.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Total size, in KiB, of all bodies that are to be kept but have not fully arrived.
const ARRIVING_KIB_MAX: usize = 64 * 1024;

/// What the cache did for a request; the value of `x-tollgate-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// The cache does not apply to the request.
    Bypass,
    /// Known to be fresh: GitHub was not asked.
    Hit,
    /// GitHub said that the entry is unchanged.
    Revalidated,
    /// No entry was kept.
    Miss,
    /// GitHub sent something else than what was kept.
    Changed,
    /// Shared the answer to an identical request made at the same time.
    Coalesced,
    /// GitHub failed, so the kept answer was served.
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

/// Longest plain body, in bytes, that is kept a second time as rewritten for clients.
pub const WRITTEN_BYTES_MAX: usize = 1024 * 1024;

/// What is stored under a key: the answer itself, or its body rewritten for clients that use one base address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slot {
    key: Key,
    address: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
enum Kept {
    Entry(Arc<Entry>),
    /// The rewritten body of the entry with this tag.
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

/// How long an entry may be served, as configured.
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

/// Stores GitHub's answers.
pub struct Cache {
    /// Entries and rewritten bodies share one size limit.
    kept: moka::sync::Cache<Slot, Kept>,
    max_bytes: u64,
    times: ArcSwap<Times>,
    /// Knows of changes, and whether this replica hears of all of them.
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

    /// Takes new times; the size limit stays.
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

    /// Keeps an entry, unless the kept one was requested later: long bodies take a while to arrive.
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

    /// The entry's plain body rewritten for clients of `address`; calls `write` if no rewritten body is kept.
    /// `None` when the body can't be unpacked.
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

    /// Bytes of everything kept, as counted against [`Cache::max_size`].
    pub fn size(&self) -> u64 {
        self.kept.run_pending_tasks();
        self.kept.weighted_size()
    }

    /// The limit on [`Cache::size`] in bytes; 0 means that the cache is off.
    pub fn max_size(&self) -> u64 {
        self.max_bytes
    }

    /// Longest body that is kept, in bytes.
    pub fn body_max(&self) -> u64 {
        BODY_BYTES_MAX.min(self.max_bytes / 8)
    }

    /// Reserves room for a body of `bytes` that is still arriving; `None` when too much is already on its way.
    pub fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.arriving).try_acquire_many_owned(kib.max(1)).ok()
    }

    /// When the content an answer shows last changed, as far as is known; epoch milliseconds.
    pub fn changed_ms(&self, reach: &Reach) -> i64 {
        self.feed.changes().last(reach)
    }

    /// Whether the entry may be served without asking GitHub.
    pub fn is_fresh(&self, entry: &Entry, reach: &Reach) -> bool {
        let is_told = !entry.is_pending() && self.feed.changes().covers(reach);
        let told_for = if is_told { TOLD_FOR } else { Duration::ZERO };
        let fresh_for = self.times.load().fresh_for.max(told_for);
        // After a change, GitHub may still show the old state for a while.
        let is_settled =
            entry.checked_ms() >= self.feed.changes().last(reach).saturating_add(ms(SETTLES_WITHIN));
        self.feed.is_whole() && is_settled && self.is_younger(entry, fresh_for)
    }

    /// Whether the entry may be served when GitHub fails: it is not known to have changed and not too old.
    pub fn may_be_stale(&self, entry: &Entry, reach: &Reach) -> bool {
        entry.checked_ms() > self.feed.changes().last(reach)
            && self.is_younger(entry, self.times.load().stale_if_error)
    }

    fn is_younger(&self, entry: &Entry, age: Duration) -> bool {
        let since = self.clock.now_ms() - entry.checked_ms();
        (0..ms(age)).contains(&since)
    }
}

/// Copies a value, which may be part of a large buffer that it would keep alive.
fn owned(value: &HeaderValue) -> HeaderValue {
    let mut own = HeaderValue::from_bytes(value.as_bytes()).expect("it was one before");
    own.set_sensitive(value.is_sensitive());
    own
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
