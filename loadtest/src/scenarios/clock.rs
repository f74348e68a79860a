//! Virtual time: the run begins at a fixed date and goes on with tokio's paused clock.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;
use tollgate::clock::Clock;

/// The date at which every run begins.
pub(super) const EPOCH_MS: u64 = 1_800_000_000_000;

/// A wall clock in virtual time that can be made to jump.
#[derive(Debug)]
pub(super) struct VirtualClock {
    started: Instant,
    jumped_ms: AtomicI64,
}

impl VirtualClock {
    /// The run begins now.
    pub(super) fn new() -> VirtualClock {
        VirtualClock { started: Instant::now(), jumped_ms: AtomicI64::new(0) }
    }

    /// Since the start of the run; knows of no jump.
    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time so long after the start of the run.
    pub(super) fn instant(&self, ms: u64) -> Instant {
        self.started + std::time::Duration::from_millis(ms)
    }

    pub(super) fn jump(&self, by_ms: i64) {
        self.jumped_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> i64 {
        let now_ms = i64::try_from(EPOCH_MS + self.elapsed_ms()).unwrap_or(i64::MAX);
        now_ms.saturating_add(self.jumped_ms.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_with_virtual_time_and_jumps() {
        let clock = VirtualClock::new();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        clock.jump(-600_000);
        assert_eq!(clock.elapsed_ms(), 3_600_000);
        assert_eq!(clock.now_ms(), 1_800_003_000_000);
    }
}
