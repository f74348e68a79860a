//! What is counted of each agent, and the arithmetic on it: rates and percentiles.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// A rate is told over this long, so that it neither jumps with each request nor lags behind.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// Microseconds; a request that takes longer counts as this long.
const LATENCY_MAX: u64 = 60_000_000;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// GitHub's answer came through.
    Served,
    /// tollgate refused, with this code.
    Refused(String),
    /// Neither: an error of GitHub's, or no answer.
    Failed(String),
}

/// One agent's counts.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What it is at, in a few words.
    pub(crate) doing: String,
    pub(crate) served: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) failed: u64,
    /// Forbidden things that were done nevertheless.
    pub(crate) let_through: u64,
    pub(crate) merges_tried: u64,
    /// Answers in which a token of GitHub's was seen.
    pub(crate) tokens_seen: u64,
    latencies: Histogram<u64>,
    rate: Rate,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            doing: String::new(),
            served: 0,
            refused: BTreeMap::new(),
            failed: 0,
            let_through: 0,
            merges_tried: 0,
            tokens_seen: 0,
            latencies: Histogram::new_with_max(LATENCY_MAX, 3).expect("the bounds are sound"),
            rate: Rate::default(),
        }
    }

    pub(crate) fn record(&mut self, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Served => self.served += 1,
            Outcome::Refused(code) => *self.refused.entry(code.clone()).or_default() += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
        self.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX));
    }

    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.served + self.refused_total() + self.failed
    }

    /// Requests a second, lately.
    pub(crate) fn rate(&mut self, now: Instant) -> f64 {
        let requests = self.requests();
        self.rate.sample(now, requests)
    }

    /// Milliseconds that a part (0.95: 95 %) of the requests took at most.
    pub(crate) fn quantile_ms(&self, part: f64) -> Option<f64> {
        if self.latencies.is_empty() {
            return None;
        }
        Some(Duration::from_micros(self.latencies.value_at_quantile(part)).as_secs_f64() * 1000.0)
    }
}

/// Turns a growing count into a rate.
#[derive(Debug, Default)]
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Takes the count as it is now; gives its growth per second since the oldest sample in the span.
    fn sample(&mut self, now: Instant, count: u64) -> f64 {
        self.samples.push_back((now, count));
        // The newest sample that is older than the span is kept: it is where the span begins.
        while self.samples.get(1).is_some_and(|(at, _)| now - *at >= RATE_SPAN) {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else { return 0.0 };
        let seconds = (now - *since).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        // No run makes so many requests that a u32 could not count those of some seconds.
        f64::from(u32::try_from(count - before).unwrap_or(u32::MAX)) / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.05 * b.abs().max(0.1)
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(tenths * 100);
        let mut rate = Rate::default();
        assert!(close(rate.sample(at(0), 0), 0.0));
        assert!(close(rate.sample(at(10), 20), 20.0));
        assert!(close(rate.sample(at(50), 40), 8.0));
        assert!(close(rate.sample(at(70), 40), 20.0 / 6.0), "since the first second");
        assert!(close(rate.sample(at(120), 40), 0.0), "nothing for five seconds");
    }

    #[test]
    fn counts_by_outcome() {
        let mut tally = Tally::new();
        assert_eq!((tally.quantile_ms(0.5), tally.requests()), (None, 0));
        for ms in 1..=100 {
            tally.record(&Outcome::Served, Duration::from_millis(ms));
        }
        tally.record(&Outcome::Refused("operation_forbidden".to_owned()), Duration::from_millis(50));
        tally.record(&Outcome::Failed("502".to_owned()), Duration::from_secs(3600));
        assert_eq!((tally.served, tally.refused_total(), tally.failed, tally.requests()), (100, 1, 1, 102));
        assert!(close(tally.quantile_ms(0.5).unwrap(), 50.0));
        assert!(close(tally.quantile_ms(0.95).unwrap(), 96.0));
        assert!(close(tally.quantile_ms(1.0).unwrap(), 60_000.0));
    }
}
