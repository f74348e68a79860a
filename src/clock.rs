//! The wall clock. GitHub gives times in epoch seconds, which tokio's timers know nothing about.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Tells the time of day. Passed in wherever it is needed, so that tests can control it.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the epoch, UTC.
    fn now_ms(&self) -> i64;

    /// Seconds since the epoch, UTC, rounded down.
    fn now_seconds(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use tollgate::clock::{Clock, ManualClock};
/// let clock = ManualClock::at_seconds(1_000);
/// clock.advance(std::time::Duration::from_millis(1_500));
/// assert_eq!(clock.now_ms(), 1_001_500);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    pub fn at_seconds(epoch_seconds: i64) -> ManualClock {
        ManualClock { now_ms: AtomicI64::new(epoch_seconds * 1000) }
    }

    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}
