//! What was learned of Apps, of owners and of names, for as long as it counts.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use moka::future::Cache;
use moka::sync;
use parking_lot::Mutex;
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
    /// Unknown names that were looked up within the last minute, or are just now.
    pub(super) misses: sync::Cache<String, ()>,
    /// Held while one is added.
    pub(super) counting: Mutex<()>,
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
            misses: sync::Cache::builder().max_capacity(OWNERS_MAX).time_to_live(MISS_COUNTED_FOR).build(),
            counting: Mutex::new(()),
            forgotten: AtomicU64::new(0),
            found_for,
            last_patience,
            recent_for,
            missing_for: MISSING_FOR.min(found_for),
        }
    }

    /// Waits for an answer only so long, if there is an earlier one: whoever was served is not held up for long by an
    /// endpoint that hangs.
    pub(super) async fn soon_if<T>(
        &self,
        is_known: bool,
        app: &App,
        asked: impl Future<Output = Result<T, Arc<AppError>>>,
    ) -> Result<T, Arc<AppError>> {
        if !is_known {
            return asked.await;
        }
        let late = || Err(self.failures.note(app, AppError::Timeout(self.last_patience)));
        timeout(self.last_patience, asked).await.unwrap_or_else(|_| late())
    }
}
