//! What GitHub's answers say about a pool: its window, and what users outside take of it.

use super::super::units::{GUARD_MS, HOUR_MS, LIMIT_UNTOLD, MATCH_MS, MINUTE_MS, Micro, U};
use super::Pool;

/// Answers that agree on a window that is not ours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Odd {
    reset: i64,
    count: i64,
    since: i64,
    used: i64,
}

/// What an answer's figures turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::budget::ledger) enum Observed {
    /// They are of the window before.
    Late,
    Current,
    /// They are of no window we know.
    Odd,
}

/// A resource's limit and window, in milliseconds, if GitHub names none (GitHub Docs, "Rate limits
/// for the REST API").
fn untold(resource: &str) -> (i64, i64) {
    match resource {
        "search" => (30, 60_000),
        "code_search" => (10, 60_000),
        _ => (LIMIT_UNTOLD, HOUR_MS),
    }
}

impl Pool {
    /// Takes over what GitHub says. The order in which answers arrive does not matter.
    pub(in crate::budget::ledger) fn observe(
        &mut self,
        limit: i64,
        used: i64,
        reset_in_ms: i64,
        now: i64,
    ) -> Observed {
        self.bare = 0;
        let reset = now + reset_in_ms;
        if self.is_known && reset <= self.reset_before + MATCH_MS {
            return Observed::Late;
        }
        if !self.is_known || self.trial.is_some() {
            let is_first = !self.is_known;
            (self.is_known, self.trial) = (true, None);
            if is_first {
                // Ceilings and guarantees in `graphql` depend on it; GitHub has no shorter window there.
                let is_hourly = &*self.resource == "graphql" || reset_in_ms > MINUTE_MS;
                self.window_ms = if is_hourly { HOUR_MS } else { MINUTE_MS };
            }
            self.set(limit, used, reset, now);
            if is_first {
                self.born = now;
                self.gate.restart(now, self.head_start(now));
            }
            return Observed::Current;
        }
        if self.used == 0 && reset > self.reset {
            // Until GitHub has counted something, the window is not open and its end keeps moving.
            (self.limit, self.used, self.reset) = (limit, used, reset);
            return Observed::Current;
        }
        if (reset - self.reset).abs() <= MATCH_MS {
            self.used = self.used.max(used);
            self.limit = limit;
            self.odd = Odd::default();
            if reset > self.reset + GUARD_MS {
                // Resets differ by rounding, which the guard covers. Beyond that the later one is
                // right, or answers came late, which only costs that time. The earlier one would
                // spend a window that has not begun.
                self.reset = reset;
            }
            return Observed::Current;
        }
        if reset > self.reset && now >= self.reset - MATCH_MS {
            self.roll_over(now);
            self.trial = None;
            self.set(limit, used, reset, now);
            return Observed::Current;
        }
        self.observe_odd(limit, used, reset, now)
    }

    fn set(&mut self, limit: i64, used: i64, reset: i64, now: i64) {
        (self.limit, self.used, self.reset) = (limit, used, reset);
        self.window_ms = match () {
            () if reset - now > MINUTE_MS + MATCH_MS => HOUR_MS,
            // What is left of a window tells nothing of its length, but its end does: it begins with the first call
            // after the one before.
            () if (1..HOUR_MS / 2).contains(&(reset - self.reset_before)) => MINUTE_MS,
            () => self.window_ms,
        };
        (self.outside_seen, self.outside_at) = (used - self.own, now);
    }

    /// Believes the third answer in a row that speaks of the same other window, within thirty seconds.
    fn observe_odd(&mut self, limit: i64, used: i64, reset: i64, now: i64) -> Observed {
        let odd = &mut self.odd;
        if (odd.reset - reset).abs() > MATCH_MS || now > odd.since + 30_000 {
            *odd = Odd { reset, count: 1, since: now, used };
            return Observed::Odd;
        }
        (odd.count, odd.used) = (odd.count + 1, odd.used.max(used));
        if odd.count < 3 {
            return Observed::Odd;
        }
        let used = odd.used;
        // By our time no window has ended: we were wrong about this one, or are now. So answers that speak of the other
        // end again are not those of the window before, and unless far less is used, the bucket gains nothing.
        let before = self.reset_before;
        let most = if 2 * used < self.used { Micro::MAX } else { self.gate.tok.max(0) };
        self.roll_over(now);
        self.gate.lower_to(most);
        (self.trial, self.reset_before) = (None, before);
        self.set(limit, used, reset, now);
        Observed::Current
    }

    /// Takes an answer without usable figures: the next call is a trial, too. The third success in
    /// a row ends the trial, since limits may be off, as on an Enterprise server. From then on our
    /// own count is all there is.
    pub(in crate::budget::ledger) fn observe_bare(&mut self, is_success: bool, now: i64) {
        let Some(trial) = &mut self.trial else { return };
        trial.give_back();
        if !is_success {
            return;
        }
        self.bare += 1;
        if self.bare >= 3 {
            self.trial = None;
            if !self.is_known {
                (self.limit, self.window_ms) = untold(&self.resource);
                self.is_known = true;
                (self.reset, self.born, self.outside_at) = (now + self.window_ms, now, now);
                self.gate.restart(now, self.head_start(now));
            }
        }
    }

    /// Forecasts what users outside take, at most every fifteen seconds.
    pub(in crate::budget::ledger) fn forecast(&mut self, now: i64) {
        let passed = now - self.outside_at;
        if !self.is_known || passed < 15_000 {
            return;
        }
        let others = self.used - self.own - self.in_flight / 2;
        let age = (self.outside_at - self.born).clamp(0, 120_000);
        let taken = (others - self.outside_seen).max(0);
        self.outside = (self.outside * age + taken * U * 1000) / (passed + age);
        self.outside_seen = self.outside_seen.max(others);
        self.outside_at = now;
    }
}
