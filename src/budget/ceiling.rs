//! The most an agent may spend, kept by one time stamp (the generic cell rate algorithm).
//!
//! The time stamp says when the agent will have paid for all it was given. It may lag behind the
//! present by [`SLACK_MS`], so that a burst passes, and never lie ahead of it.

use std::sync::Mutex;

use crate::error::Limit;

/// Who was quiet may catch up this much.
const SLACK_MS: i64 = 15_000;
/// What a closed agent is told to wait at least.
const CLOSED_WAIT_MS: i64 = 60_000;
/// GitHub's window, in which `used` is counted.
const WINDOW_MS: i64 = 3_600_000;

/// One agent's ceiling.
#[derive(Debug)]
pub(super) struct Ceiling {
    /// Between two points; none when nothing is ever given.
    interval_us: Option<i64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paid_at_us: i64,
    window_ends_ms: i64,
    used: u64,
}

/// A point was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) wait_ms: i64,
    pub(super) used: u64,
    pub(super) is_closed: bool,
}

impl Refusal {
    /// In the terms of GitHub's headers: `retry-after` and `reset` agree, rounded up.
    pub(super) fn limit(self, resource: &'static str, now_ms: i64) -> Limit {
        let ready_at = (now_ms + self.wait_ms).div_euclid(1000) + 1;
        let retry_after = (ready_at - now_ms.div_euclid(1000)).max(1);
        Limit {
            retry_after: retry_after.unsigned_abs(),
            reset: ready_at,
            used: self.used,
            resource,
            is_closed: self.is_closed,
        }
    }
}

impl Ceiling {
    pub(super) fn points_an_hour(points: u32) -> Ceiling {
        let interval_us = (points > 0).then(|| WINDOW_MS * 1000 / i64::from(points));
        Ceiling { interval_us, state: Mutex::default() }
    }

    /// Gives one point, or says when there will be one.
    pub(super) fn take(&self, now_ms: i64) -> Result<(), Refusal> {
        let mut state = self.state.lock().expect("nothing panics while it holds this lock");
        if now_ms >= state.window_ends_ms {
            (state.window_ends_ms, state.used) = (now_ms + WINDOW_MS, 0);
        }
        let Some(interval_us) = self.interval_us else {
            return Err(Refusal { wait_ms: CLOSED_WAIT_MS, used: state.used, is_closed: true });
        };
        let now_us = now_ms * 1000;
        let paid_at_us = state.paid_at_us.max(now_us - SLACK_MS * 1000);
        if paid_at_us > now_us {
            return Err(Refusal {
                wait_ms: (paid_at_us - now_us).div_euclid(1000) + 1,
                used: state.used,
                is_closed: false,
            });
        }
        state.paid_at_us = paid_at_us + interval_us;
        state.used += 1;
        Ok(())
    }

    /// Takes back a point that was not used.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock().expect("nothing panics while it holds this lock");
        state.paid_at_us -= self.interval_us.unwrap_or_default();
        state.used = state.used.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn zero_closes_the_agent_at_once() {
        let refusal = Ceiling::points_an_hour(0).take(NOW).unwrap_err();
        assert_eq!(refusal, Refusal { wait_ms: 60_000, used: 0, is_closed: true });
    }

    #[test]
    fn a_refused_caller_is_served_when_told() {
        let ceiling = Ceiling::points_an_hour(3600);
        let served = (0..100).take_while(|_| ceiling.take(NOW).is_ok()).count();
        assert_eq!(served, 16);
        let refusal = ceiling.take(NOW).unwrap_err();
        let limit = refusal.limit("core", NOW);
        assert_eq!((limit.retry_after, limit.reset, limit.used), (2, NOW / 1000 + 2, 16));
        assert!(ceiling.take(limit.reset * 1000).is_ok());
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let ceiling = Ceiling::points_an_hour(60);
        assert!(ceiling.take(NOW).is_ok());
        assert!(ceiling.take(NOW).is_err());
        ceiling.give_back();
        assert!(ceiling.take(NOW).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_the_ceiling_in_any_time(
            points in 1_u32..20_000,
            steps in proptest::collection::vec(0_i64..5_000, 1..300),
        ) {
            let ceiling = Ceiling::points_an_hour(points);
            let (mut now, mut given) = (NOW, 0_i64);
            for step in steps {
                now += step;
                given += i64::from(ceiling.take(now).is_ok());
            }
            let most = (now - NOW + SLACK_MS) * i64::from(points) / WINDOW_MS + 1;
            proptest::prop_assert!(given <= most + 1, "{given} of {most}");
        }
    }
}
