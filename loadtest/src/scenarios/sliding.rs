//! An exact sliding window: what was counted, and when it leaves.

use std::collections::VecDeque;

/// Counts over the last `span_ms`.
#[derive(Debug)]
pub(super) struct Log {
    span_ms: u64,
    entries: VecDeque<(u64, u64)>,
    sum: u64,
    /// The most there ever was in any window.
    max: u64,
}

impl Log {
    pub(super) fn new(span_ms: u64) -> Log {
        Log { span_ms, entries: VecDeque::new(), sum: 0, max: 0 }
    }

    /// What the window holds at `now_ms`.
    pub(super) fn sum(&mut self, now_ms: u64) -> u64 {
        while let Some(&(at_ms, count)) = self.entries.front() {
            if at_ms + self.span_ms > now_ms {
                break;
            }
            self.sum -= count;
            self.entries.pop_front();
        }
        self.sum
    }

    pub(super) fn add(&mut self, now_ms: u64, count: u64) {
        self.sum = self.sum(now_ms) + count;
        self.entries.push_back((now_ms, count));
        self.max = self.max.max(self.sum);
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_old_as_the_window_has_left() {
        let mut log = Log::new(60_000);
        log.add(0, 5);
        log.add(1, 1);
        assert_eq!([log.sum(59_999), log.sum(60_000), log.sum(60_001)], [6, 1, 0]);
        log.add(70_000, 2);
        assert_eq!((log.sum(70_000), log.max()), (2, 6));
    }
}
