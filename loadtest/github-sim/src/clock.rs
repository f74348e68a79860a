//! The simulator's time: the only place that reads the system clock.
//!
//! Everything that GitHub derives from time (window resets, token expiry, `Date`, JWT checks) asks a
//! [`Clock`]. It can run with the system, stand still at a given second, and be moved forward by a
//! test, so that no test has to sleep until a window ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A handle on the simulator's time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Epoch milliseconds at which time stands, or `None` when it runs with the system.
    stands_at_ms: Option<i64>,
    /// Moved by tests, never backwards.
    advanced_ms: AtomicI64,
}

impl Clock {
    /// A clock that runs with the system, or stands at `start` epoch seconds until it is advanced.
    pub(crate) fn new(start: Option<i64>) -> Self {
        Self {
            inner: Arc::new(Inner {
                stands_at_ms: start.map(|seconds| seconds * 1000),
                advanced_ms: AtomicI64::new(0),
            }),
        }
    }

    /// Moves time forward for everybody who asks from now on.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.inner.advanced_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Milliseconds since the epoch, without any clock fault.
    pub fn now_epoch_ms(&self) -> i64 {
        self.inner.stands_at_ms.unwrap_or_else(system_epoch_ms)
            + self.inner.advanced_ms.load(Ordering::Relaxed)
    }

    /// Seconds since the epoch, without any clock fault.
    pub fn now_epoch_seconds(&self) -> i64 {
        self.now_epoch_ms().div_euclid(1000)
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
fn system_epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-03-10T12:00:00Z`, the form of every time in a GitHub body.
pub(crate) fn iso(epoch_seconds: i64) -> String {
    format_time(epoch_seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// `Tue, 10 Mar 2026 12:00:00 GMT`, the form of `Date` and `Last-Modified`.
pub(crate) fn http_date(epoch_seconds: i64) -> String {
    format_time(epoch_seconds, "%a, %d %b %Y %H:%M:%S GMT")
}

/// The epoch seconds of an HTTP date, if it is one.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().as_second())
}

fn format_time(epoch_seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(epoch_seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime(format)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_round_trip() {
        assert_eq!(http_date(1_773_144_000), "Tue, 10 Mar 2026 12:00:00 GMT");
        assert_eq!(parse_http_date("Tue, 10 Mar 2026 12:00:00 GMT"), Some(1_773_144_000));
        assert_eq!(iso(1_773_144_000), "2026-03-10T12:00:00Z");
    }
}
