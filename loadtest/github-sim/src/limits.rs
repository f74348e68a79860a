//! Primary and secondary rate limits, kept per account.
//!
//! An account is what GitHub gives a pool to: an installation, a user, or an App. A primary window
//! opens with the first charged request and lasts its full length; each resource has its own. The
//! secondary limits slide over the last 60 seconds (content creation also over the last hour).
//! Source: docs.github.com, "Rate limits for the REST API".

use std::collections::{HashMap, VecDeque};

use crate::config::{PrimaryLimits, SecondaryLimits};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// What one request would use of the secondary limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecondaryUse {
    /// 1 for a read, 5 for a write.
    pub(crate) points: u64,
    /// Whether it creates content.
    pub(crate) is_content: bool,
    /// Whether it goes to the GraphQL endpoint.
    pub(crate) is_graphql: bool,
}

/// A primary window as the headers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset_at: i64,
}

impl Window {
    pub(crate) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// All windows of all accounts.
#[derive(Debug)]
pub(crate) struct Limits {
    primary: PrimaryLimits,
    secondary: SecondaryLimits,
    windows: HashMap<(String, String), Window>,
    points: HashMap<String, Slide>,
    content: HashMap<String, Slide>,
}

impl Limits {
    pub(crate) fn new(primary: PrimaryLimits, secondary: SecondaryLimits) -> Self {
        Self { primary, secondary, windows: HashMap::new(), points: HashMap::new(), content: HashMap::new() }
    }

    /// Forgets all use.
    pub(crate) fn clear(&mut self) {
        self.windows.clear();
        self.points.clear();
        self.content.clear();
    }

    /// The window as it stands; an unopened one looks full and ends one length from now.
    pub(crate) fn window(&self, account: &str, resource: &str, now: i64) -> Window {
        let (limit, seconds) = self.limit_of(account, resource);
        self.windows
            .get(&(account.to_owned(), resource.to_owned()))
            .filter(|window| window.reset_at > now)
            .cloned()
            .unwrap_or(Window { limit, used: 0, reset_at: now + seconds })
    }

    /// Whether `cost` more points still fit.
    pub(crate) fn has_room(&self, account: &str, resource: &str, cost: u64, now: i64) -> bool {
        self.window(account, resource, now).remaining() >= cost
    }

    /// Charges `cost` points, which opens the window if necessary; returns the window afterwards.
    pub(crate) fn charge(&mut self, account: &str, resource: &str, cost: u64, now: i64) -> Window {
        let mut window = self.window(account, resource, now);
        window.used = (window.used + cost).min(window.limit);
        self.windows.insert((account.to_owned(), resource.to_owned()), window.clone());
        window
    }

    /// Opens a window as if someone else had used it `seconds_ago`.
    pub(crate) fn open(&mut self, account: &str, resource: &str, used: u64, seconds_ago: i64, now: i64) {
        let (limit, seconds) = self.limit_of(account, resource);
        let window = Window { limit, used: used.min(limit), reset_at: now + seconds - seconds_ago };
        self.windows.insert((account.to_owned(), resource.to_owned()), window);
    }

    /// Counts a request against the secondary limits. Returns its endpoint's points in the last minute, or the
    /// name of the limit that refuses it.
    pub(crate) fn use_secondary(
        &mut self,
        account: &str,
        endpoint: &str,
        cost: SecondaryUse,
        in_flight: u64,
        now_ms: i64,
    ) -> Result<u64, &'static str> {
        if self.secondary.concurrency.is_some_and(|most| in_flight > most) {
            return Err("concurrency");
        }
        if cost.is_content {
            let slide = self.content.entry(account.to_owned()).or_default();
            if exceeds(self.secondary.content_minute, slide.sum(now_ms, MINUTE_MS) + 1) {
                return Err("content_minute");
            }
            if exceeds(self.secondary.content_hour, slide.sum(now_ms, HOUR_MS) + 1) {
                return Err("content_hour");
            }
        }
        let (kind, most) = if cost.is_graphql {
            ("graphql_points", self.secondary.graphql_points)
        } else {
            ("endpoint_points", self.secondary.endpoint_points)
        };
        let slide = self.points.entry(format!("{account} {endpoint}")).or_default();
        slide.forget_before(now_ms - MINUTE_MS);
        let points = slide.sum(now_ms, MINUTE_MS) + cost.points;
        if exceeds(most, points) {
            return Err(kind);
        }
        slide.add(now_ms, cost.points);
        if cost.is_content {
            let slide = self.content.entry(account.to_owned()).or_default();
            slide.forget_before(now_ms - HOUR_MS);
            slide.add(now_ms, 1);
        }
        Ok(points)
    }

    fn limit_of(&self, account: &str, resource: &str) -> (u64, i64) {
        let (limit, seconds) = self.primary.of(resource);
        if account == "anonymous" { (limit.min(60), seconds) } else { (limit, seconds) }
    }
}

fn exceeds(most: Option<u64>, value: u64) -> bool {
    most.is_some_and(|most| value > most)
}

/// Amounts with their times, summed over a sliding span. Times within 100 ms share an entry.
#[derive(Debug, Default)]
struct Slide {
    entries: VecDeque<(i64, u64)>,
}

impl Slide {
    fn add(&mut self, now_ms: i64, amount: u64) {
        match self.entries.back_mut() {
            Some((at, sum)) if now_ms - *at < 100 => *sum += amount,
            _ => self.entries.push_back((now_ms, amount)),
        }
    }

    fn sum(&self, now_ms: i64, span_ms: i64) -> u64 {
        let recent = self.entries.iter().rev().take_while(|(at, _)| *at > now_ms - span_ms);
        recent.map(|(_, amount)| amount).sum()
    }

    fn forget_before(&mut self, time_ms: i64) {
        while self.entries.front().is_some_and(|(at, _)| *at <= time_ms) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(secondary: SecondaryLimits) -> Limits {
        Limits::new(PrimaryLimits { core: 2, ..PrimaryLimits::default() }, secondary)
    }

    #[test]
    fn a_window_opens_with_the_first_charge_and_ends_after_its_length() {
        let mut limits = limits(SecondaryLimits::default());
        assert_eq!(limits.window("a", "core", 100).reset_at, 3700);
        assert_eq!(limits.window("a", "core", 200).reset_at, 3800);
        limits.charge("a", "core", 1, 200);
        assert_eq!(limits.window("a", "core", 900).reset_at, 3800);
        limits.charge("a", "core", 1, 900);
        assert!(!limits.has_room("a", "core", 1, 3799));
        assert!(limits.has_room("b", "core", 1, 3799), "accounts do not share");
        assert!(limits.has_room("a", "search", 1, 3799), "resources do not share");
        assert_eq!(limits.window("a", "core", 3800), Window { limit: 2, used: 0, reset_at: 7400 });
    }

    #[test]
    fn secondary_limits_slide() {
        let mut limits = limits(SecondaryLimits::github());
        let write = SecondaryUse { points: 5, is_content: true, is_graphql: false };
        for _ in 0..80 {
            assert!(limits.use_secondary("a", "e", write, 1, 0).is_ok());
        }
        assert_eq!(limits.use_secondary("a", "e", write, 1, 59_999), Err("content_minute"));
        assert!(limits.use_secondary("a", "e", write, 1, 60_000).is_ok());
        assert_eq!(limits.use_secondary("a", "e", write, 101, 60_000), Err("concurrency"));
        let read = SecondaryUse { points: 1, is_content: false, is_graphql: false };
        for _ in 0..900 {
            assert!(limits.use_secondary("b", "e", read, 1, 0).is_ok());
        }
        assert_eq!(limits.use_secondary("b", "e", read, 1, 1), Err("endpoint_points"));
        assert!(limits.use_secondary("b", "other", read, 1, 1).is_ok());
    }
}
