//! When a failed attempt is made again: how long to pause, and whether the retry budget of the
//! whole process still allows it.
//!
//! Only the pauses and the bounds are here. Whether a call may be repeated at all – a read, or a
//! write that surely was not carried out – is for the caller to know.

use std::time::Duration;

use http::StatusCode;
use tower::retry::budget::{Budget, TpsBudget};

use crate::config;

/// How far back the budget looks.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// This many retries a second are allowed whatever the traffic, so that a lone agent's failures are retried, too.
const BUDGET_RESERVE_PER_SECOND: u32 = 1;
/// The share of the window's requests that may be retried.
const BUDGET_SHARE: f32 = 0.1;

/// How often one call is attempted, and the pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    max_attempts: u32,
    base_delay: Duration,
    max_delay: Duration,
}

impl Policy {
    pub fn new(retry: config::Retry) -> Policy {
        let config::Retry { max_attempts, base_delay, max_delay } = retry;
        Policy { max_attempts, base_delay, max_delay }
    }

    /// The pause after the failed attempt number `attempt`, counted from 1. None when it was the last.
    ///
    /// Full jitter: `random`, from 0 to 1, picks from nothing to `base_delay`, doubled with each
    /// attempt up to `max_delay`. It is added to GitHub's `retry-after`, so that nobody comes
    /// early, and callers who were told the same time don't all come back at once.
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let longest = self.base_delay.saturating_mul(factor).min(self.max_delay);
        // Clamped, because the product may round up; a `random` that gives no valid duration waits longest.
        let jitter =
            Duration::try_from_secs_f64(longest.as_secs_f64() * random).unwrap_or(longest).min(longest);
        Some(jitter.saturating_add(retry_after.unwrap_or_default()))
    }
}

/// Keeps retries from multiplying an outage. Over the last ten seconds, this process may retry a
/// tenth of its calls, and ten more.
///
/// Time is tokio's, so tests can steer it.
#[derive(Debug)]
pub struct RetryBudget {
    inner: TpsBudget,
}

impl RetryBudget {
    pub fn new() -> RetryBudget {
        RetryBudget { inner: TpsBudget::new(BUDGET_WINDOW, BUDGET_RESERVE_PER_SECOND, BUDGET_SHARE) }
    }

    /// Call this at the first attempt of each call.
    pub fn record_call(&self) {
        self.inner.deposit();
    }

    /// Takes one retry from the budget; false if there is none.
    pub fn try_take(&self) -> bool {
        self.inner.withdraw()
    }
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget::new()
    }
}

/// Whether a status tells of trouble at GitHub that may be over soon.
pub fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy { max_attempts: 8, base_delay: Duration::from_millis(500), max_delay: Duration::from_secs(20) }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (attempt, longest_ms) in
            [(1, 500), (2, 1000), (3, 2000), (4, 4000), (5, 8000), (6, 16_000), (7, 20_000)]
        {
            let delay = |random| policy().delay(attempt, None, random).unwrap().as_millis();
            assert_eq!((delay(0.0), delay(0.5), delay(1.0)), (0, longest_ms / 2, longest_ms), "{attempt}");
        }
        assert_eq!(policy().delay(8, None, 0.5), None);
        assert_eq!(policy().delay(u32::MAX, None, 0.5), None);
        let once = Policy { max_attempts: 1, ..policy() };
        assert_eq!(once.delay(1, None, 0.5), None);
    }

    #[test]
    fn never_before_the_time_github_names() {
        let told = Duration::from_secs(30);
        for random in [0.0, 0.3, 1.0] {
            let delay = policy().delay(1, Some(told), random).unwrap();
            assert!((told..=told + Duration::from_millis(500)).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn pauses_are_spread_evenly() {
        let delays: Vec<f64> =
            (0..10_000).map(|_| policy().delay(2, None, rand::random()).unwrap().as_secs_f64()).collect();
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let count = delays.iter().filter(|delay| (from..from + 0.1).contains(*delay)).count();
            // 1000 expected, standard deviation 30.
            assert!((800..1200).contains(&count), "{count} from {from}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenth_of_the_calls_may_be_retried() {
        let budget = RetryBudget::new();
        let taken = |budget: &RetryBudget| (0..10_000).take_while(|_| budget.try_take()).count();
        assert_eq!(taken(&budget), 10, "the reserve");
        for _ in 0..1000 {
            budget.record_call();
        }
        assert_eq!(taken(&budget), 100);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(taken(&budget), 0, "neither calls nor retries are forgotten yet");
        for _ in 0..95 {
            budget.record_call();
        }
        assert_eq!(taken(&budget), 9);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(taken(&budget), 10, "all forgotten, and the reserve is full again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_outage_costs_a_tenth_more() {
        let budget = RetryBudget::new();
        let mut retries = 0;
        for _ in 0..600 {
            for _ in 0..10 {
                budget.record_call();
                retries += u32::from(budget.try_take());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        // A minute of 100 calls a second: 600 retries from the share, 60 to 70 from the reserve.
        assert!((600..=700).contains(&retries), "{retries}");
    }

    #[test]
    fn only_trouble_at_githubs_is_transient() {
        let transient: Vec<u16> =
            (100..1000).filter(|status| is_transient(StatusCode::from_u16(*status).unwrap())).collect();
        assert_eq!(transient, [500, 502, 503, 504]);
    }

    proptest! {
        #[test]
        fn bounds_hold_for_any_numbers(
            max_attempts: u32, base: Duration, max: Duration, attempt: u32,
            retry_after: Option<Duration>, random: f64,
        ) {
            let policy = Policy { max_attempts, base_delay: base, max_delay: max };
            match policy.delay(attempt, retry_after, random) {
                None => prop_assert!(attempt >= max_attempts),
                Some(delay) => {
                    let told = retry_after.unwrap_or_default();
                    prop_assert!(delay >= told && delay <= max.saturating_add(told));
                }
            }
        }
    }
}
