//! Trial calls, to find out about a pool that nobody knows.

/// A few calls are let through until one of them is answered; then the figures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::budget::ledger) struct Trial {
    /// How many calls are let through every `every_ms`.
    calls: i64,
    left: i64,
    /// When the last of them was let through, in epoch milliseconds.
    pub(in crate::budget::ledger) since: i64,
    every_ms: i64,
}

impl Trial {
    pub(in crate::budget::ledger) fn new(calls: i64, since: i64) -> Trial {
        Trial { calls, left: calls, since, every_ms: 10_000 }
    }

    /// A trial of one call at a time, `every_ms` apart.
    pub(in crate::budget::ledger) fn each(every_ms: i64) -> Trial {
        Trial { calls: 1, left: 1, since: 0, every_ms }
    }

    pub(in crate::budget::ledger) fn is_spent(&mut self, now: i64) -> bool {
        if self.left == 0 && now >= self.since + self.every_ms {
            self.left = self.calls;
        }
        self.left == 0
    }

    /// Milliseconds until another call may ask: the answer is likely to come soon, and then all may start.
    pub(in crate::budget::ledger) fn wait_ms(&self, now: i64) -> i64 {
        if now < self.since + 1_000 { 100 } else { 500 }
    }

    pub(in crate::budget::ledger) fn take(&mut self, now: i64) {
        self.left -= 1;
        if self.left == 0 {
            self.since = now;
        }
    }

    pub(in crate::budget::ledger) fn give_back(&mut self) {
        self.left = (self.left + 1).min(self.calls);
    }
}
