//! What was learned of Apps, of owners and of names, for as long as it counts.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use moka::future::Cache;
use moka::sync;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::{Instant, timeout};

use super::asking::Failures;
use super::lists::OfApp;
use super::{Believed, Installation, LAST_FOR, MISS_COUNTED_FOR, MISSING_FOR, OWNERS_MAX};
use crate::github::apps::{App, AppError};

/// What was learned of each App by itself. It stays when the configuration changes: an App that takes the place of
/// another has another serial, so it inherits nothing.
#[derive(Debug)]
pub(super) struct Learned {
    /// What GitHub last told of an App, by its serial, on an owner, and when; it serves while GitHub can't tell.
    pub(super) last_on: sync::Cache<(u64, String), (Arc<Installation>, Instant)>,
    /// That an App is not on an owner, and when GitHub told so.
    pub(super) not_on: sync::Cache<(u64, String), Instant>,
    /// Whether an App's installation limited to selected repositories covers a repository; and what GitHub last told,
    /// as above.
    pub(super) covered: Cache<(u64, String), bool>,
    pub(super) last_covered: sync::Cache<(u64, String), bool>,
    /// By the App's serial; and what GitHub last told, as above.
    pub(super) of_app: Cache<u64, Arc<OfApp>>,
    pub(super) last_of_app: sync::Cache<u64, Arc<OfApp>>,
    pub(super) failures: Failures,
    /// Owners that have had an installation.
    pub(super) seen: sync::Cache<String, ()>,
    pub(super) unknown_owners: Unknown,
    pub(super) unknown_repositories: Unknown,
    /// How often an installation was forgotten: what was asked before must not be remembered after.
    pub(super) forgotten: AtomicU64,
    pub(super) found_for: Duration,
    pub(super) last_patience: Duration,
    /// For this long, what GitHub told of an App on an owner that is served is not asked again, even if other Apps
    /// failed; and that it is not there, if nobody serves the owner.
    pub(super) recent_for: Duration,
    pub(super) missing_for: Duration,
}

impl Learned {
    pub(super) fn new(found_for: Duration, last_patience: Duration) -> Learned {
        fn last<K: Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>() -> sync::Cache<K, V>
        {
            sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(LAST_FOR).build()
        }
        let recent_for = found_for / 5;
        Learned {
            last_on: last(),
            not_on: sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(recent_for).build(),
            covered: Cache::builder().max_capacity(OWNERS_MAX).expire_after(Believed).build(),
            last_covered: last(),
            of_app: Cache::builder().time_to_live(found_for).build(),
            last_of_app: last(),
            failures: Failures::new(),
            seen: sync::Cache::builder().max_capacity(OWNERS_MAX).build(),
            unknown_owners: Unknown::new(),
            unknown_repositories: Unknown::new(),
            forgotten: AtomicU64::new(0),
            found_for,
            last_patience,
            recent_for,
            missing_for: MISSING_FOR.min(found_for),
        }
    }

    /// Waits for an answer only so long, if there is an earlier one: whoever was served is not held up for long by an
    /// endpoint that hangs. `about` is what fails then, if it is not the App.
    pub(super) async fn soon_if<T>(
        &self,
        is_known: bool,
        app: &App,
        about: Option<&str>,
        asked: impl Future<Output = Result<T, Arc<AppError>>>,
    ) -> Result<T, Arc<AppError>> {
        if !is_known {
            return asked.await;
        }
        let late = || Err(self.failures.keep(app, about, AppError::Timeout(self.last_patience)));
        timeout(self.last_patience, asked).await.unwrap_or_else(|_| late())
    }
}

/// Names that nobody knows. Look-ups are the App's own calls, charged to no agent, so only so many are asked about in a
/// minute.
#[derive(Debug)]
pub(super) struct Unknown {
    /// Those of the last minute.
    names: sync::Cache<String, ()>,
    /// Those that are asked about now, each of which may be one more, and for how many callers.
    asked: Mutex<FxHashMap<String, usize>>,
}

impl Unknown {
    fn new() -> Unknown {
        let names = sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(MISS_COUNTED_FOR).build();
        Unknown { names, asked: Mutex::default() }
    }

    /// Leave to ask about a name, unless that would be more than `most`.
    pub(super) fn permit(&self, name: &str, most: usize) -> Option<Permit<'_>> {
        let mut asked = self.asked.lock();
        if !asked.contains_key(name) && self.count() + asked.len() >= most {
            return None;
        }
        *asked.entry(name.to_owned()).or_default() += 1;
        Some(Permit { unknown: self, name: name.to_owned(), counts: true })
    }

    pub(super) fn count(&self) -> usize {
        self.names.run_pending_tasks();
        usize::try_from(self.names.entry_count()).unwrap_or(usize::MAX / 2)
    }
}

/// What the answer says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Known,
    Unknown,
    /// Nobody was asked, or could tell.
    Untold,
}

/// Leave to ask about a name. Unless it is settled otherwise, the name counts for a minute: also if the caller hangs
/// up.
pub(super) struct Permit<'a> {
    unknown: &'a Unknown,
    name: String,
    counts: bool,
}

impl Permit<'_> {
    pub(super) fn settle(permit: Option<Permit<'_>>, name: Name) {
        let Some(mut permit) = permit else { return };
        permit.counts = name == Name::Unknown;
        if name == Name::Known {
            permit.unknown.names.invalidate(&permit.name);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut asked = self.unknown.asked.lock();
        match asked.get_mut(&self.name) {
            Some(callers) if *callers > 1 => *callers -= 1,
            _ => drop(asked.remove(&self.name)),
        }
        if self.counts {
            self.unknown.names.insert(std::mem::take(&mut self.name), ());
        }
    }
}
