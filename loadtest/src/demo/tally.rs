//! What is counted of each agent, and the arithmetic on it: rates and medians.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;
use tokio::time::Instant;

/// A rate is told over this long, so that it neither jumps with each request nor lags behind.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// Milliseconds; a request that was held longer counts as this long.
const HELD_MAX: u64 = 60_000;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// GitHub's answer came through, with this status.
    Served(StatusCode),
    /// tollgate has no budget for it now, and says when it will.
    Later(Duration),
    /// tollgate refused it for good, with this code.
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
    /// Served ones that GitHub counts: all but 304.
    pub(crate) points: u64,
    /// Sent away with a time to come back at.
    pub(crate) later: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) failed: u64,
    /// Forbidden things that were done nevertheless.
    pub(crate) let_through: u64,
    pub(crate) merges_tried: u64,
    /// Answers in which a token of GitHub's was seen.
    pub(crate) tokens_seen: u64,
    held: Histogram<u64>,
    rate: Rate,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            doing: String::new(),
            served: 0,
            points: 0,
            later: 0,
            refused: BTreeMap::new(),
            failed: 0,
            let_through: 0,
            merges_tried: 0,
            tokens_seen: 0,
            held: Histogram::new_with_max(HELD_MAX, 3).expect("the bounds are sound"),
            rate: Rate::default(),
        }
    }

    pub(crate) fn record(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Served(status) => {
                self.served += 1;
                self.points += u64::from(*status != StatusCode::NOT_MODIFIED);
            }
            Outcome::Later(_) => self.later += 1,
            Outcome::Refused(code) => *self.refused.entry(code.clone()).or_default() += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// How long tollgate held a request that was served.
    pub(crate) fn record_held(&mut self, held: Duration) {
        self.held.saturating_record(u64::try_from(held.as_millis()).unwrap_or(HELD_MAX));
    }

    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.served + self.later + self.refused_total() + self.failed
    }

    /// Requests a second, lately.
    pub(crate) fn rate(&mut self, now: Instant) -> f64 {
        let requests = self.requests();
        self.rate.sample(now, requests)
    }

    /// How long the middle one of the served requests was held.
    pub(crate) fn held_median(&self) -> Option<Duration> {
        (!self.held.is_empty()).then(|| Duration::from_millis(self.held.value_at_quantile(0.5)))
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
        assert_eq!((tally.held_median(), tally.requests()), (None, 0));
        for ms in 1..=100 {
            tally.record(&Outcome::Served(StatusCode::OK));
            tally.record_held(Duration::from_millis(ms));
        }
        tally.record(&Outcome::Served(StatusCode::NOT_MODIFIED));
        tally.record(&Outcome::Later(Duration::from_secs(3)));
        tally.record(&Outcome::Refused("operation_forbidden".to_owned()));
        tally.record(&Outcome::Failed("502".to_owned()));
        assert_eq!((tally.served, tally.points), (101, 100));
        assert_eq!((tally.later, tally.refused_total(), tally.failed, tally.requests()), (1, 1, 1, 104));
        assert_eq!(tally.held_median(), Some(Duration::from_millis(50)));
    }
}
