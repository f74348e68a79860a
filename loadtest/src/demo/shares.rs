//! Who got how much: of the last seconds, for the table, and of all the time nobody slept, for the end.
//!
//! Counted in points of GitHub's primary limit, from the answers that agents got, not from what tollgate
//! says of itself.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The table's share is that of so long: the lightest agent is served some times in it.
pub(crate) const LATELY: Duration = Duration::from_secs(6);
/// After a start or a waking the first answers tell more of who was first than of shares.
const SETTLING: Duration = Duration::from_secs(3);
/// Shares of a shorter time are not judged.
const JUDGED_MIN: Duration = Duration::from_secs(20);
/// Percent of its fair share that an agent may be off, and points, for one that has but a few.
const OFF_PERCENT_MAX: f64 = 10.0;
const OFF_POINTS: f64 = 3.0;

/// One agent that shares: always wants more, so its share is what it is let have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) points: u64,
}

/// Watches the counts of those that share.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Points are what each had when it was last seen.
    seen: Vec<Standing>,
    seen_at: Duration,
    /// Samples of the last seconds, the oldest first.
    lately: VecDeque<(Duration, Vec<u64>)>,
    /// Since when nobody sleeps.
    awake_since: Option<Duration>,
    split: Split,
}

/// What each got while nobody slept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Split {
    pub(crate) standings: Vec<Standing>,
    pub(crate) lasted: Duration,
}

impl Shares {
    pub(crate) fn new(agents: impl Iterator<Item = (String, u32)>) -> Shares {
        let seen: Vec<_> = agents.map(|(name, weight)| Standing { name, weight, points: 0 }).collect();
        let lately = VecDeque::from([(Duration::ZERO, vec![0; seen.len()])]);
        let split = Split { standings: seen.clone(), lasted: Duration::ZERO };
        Shares { seen, seen_at: Duration::ZERO, lately, awake_since: Some(Duration::ZERO), split }
    }

    /// Takes the points of each so far, in the order of `new`.
    pub(crate) fn sample(&mut self, at: Duration, points: &[u64], is_everybody_awake: bool) {
        let is_settled = self.awake_since.is_some_and(|since| self.seen_at >= since + SETTLING);
        for ((seen, total), now) in self.seen.iter_mut().zip(&mut self.split.standings).zip(points) {
            if is_settled && is_everybody_awake {
                total.points += now - seen.points;
            }
            seen.points = *now;
        }
        if is_settled && is_everybody_awake {
            self.split.lasted += at - self.seen_at;
        }
        self.awake_since = is_everybody_awake.then(|| self.awake_since.unwrap_or(at));
        self.seen_at = at;
        self.lately.push_back((at, points.to_vec()));
        // The newest sample that is older than the span is kept: it is where the span begins.
        while self.lately.get(1).is_some_and(|(then, _)| at - *then >= LATELY) {
            self.lately.pop_front();
        }
    }

    /// Percent that an agent's weight says.
    pub(crate) fn fair(&self, name: &str) -> Option<f64> {
        let weights: u32 = self.seen.iter().map(|agent| agent.weight).sum();
        let agent = self.seen.iter().find(|agent| agent.name == name)?;
        Some(100.0 * f64::from(agent.weight) / f64::from(weights))
    }

    /// Percent that it had lately; nothing before the first answer.
    pub(crate) fn lately(&self, name: &str) -> Option<f64> {
        let place = self.seen.iter().position(|agent| agent.name == name)?;
        let (_, before) = self.lately.front()?;
        let grown = |(agent, before): (&Standing, &u64)| agent.points - before;
        let all: u64 = self.seen.iter().zip(before).map(grown).sum();
        (all > 0).then(|| 100.0 * grown((&self.seen[place], &before[place])) as f64 / all as f64)
    }

    pub(crate) fn split(&self) -> Split {
        self.split.clone()
    }
}

impl Split {
    pub(crate) fn is_judged(&self) -> bool {
        self.lasted >= JUDGED_MIN
    }

    /// Those whose share is not what their weight says.
    pub(crate) fn broken(&self) -> Vec<String> {
        if !self.is_judged() {
            return Vec::new();
        }
        let is_off = |agent: &&Standing| {
            let fair = self.fair(agent);
            (agent.points as f64 - fair).abs() > (fair * OFF_PERCENT_MAX / 100.0).max(OFF_POINTS)
        };
        let tell = |agent: &Standing| {
            format!(
                "{} had {} points where its weight says {:.0}",
                agent.name,
                agent.points,
                self.fair(agent)
            )
        };
        self.standings.iter().filter(is_off).map(tell).collect()
    }

    fn all(&self) -> u64 {
        self.standings.iter().map(|agent| agent.points).sum()
    }

    /// Points that its weight says.
    fn fair(&self, agent: &Standing) -> f64 {
        let weights: u32 = self.standings.iter().map(|agent| agent.weight).sum();
        self.all() as f64 * f64::from(agent.weight) / f64::from(weights.max(1))
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, all) = (self.lasted.as_secs(), self.all());
        write!(f, "Shares in the {seconds} s in which nobody slept, {all} points in all:")?;
        for agent in &self.standings {
            let Standing { name, weight, points } = agent;
            let fair = self.fair(agent);
            let percent = |points: f64| 100.0 * points / (all.max(1) as f64);
            let off = if fair > 0.0 { 100.0 * (*points as f64 / fair - 1.0) } else { 0.0 };
            write!(
                f,
                "\n  {name:<12} weight {weight}   fair {:>5.1} %   had {:>5.1} %   off by {off:>+5.1} %",
                percent(fair),
                percent(*points as f64),
            )?;
        }
        if !self.is_judged() {
            write!(f, "\n  That is too short to judge them: it takes {} s.", JUDGED_MIN.as_secs())?;
        }
        Ok(())
    }
}

/// What a judged result proves.
pub(crate) fn claim() -> String {
    format!(
        "every agent that wanted more had its share by weight, within {OFF_PERCENT_MAX:.0} % or {OFF_POINTS:.0} points"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares() -> Shares {
        Shares::new([("heavy".to_owned(), 3), ("light".to_owned(), 1)].into_iter())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn split(seconds: u64, points: [u64; 2]) -> Split {
        let standings = shares().seen.into_iter().zip(points);
        let standings = standings.map(|(agent, points)| Standing { points, ..agent }).collect();
        Split { standings, lasted: at(seconds) }
    }

    #[test]
    fn the_table_shows_the_last_seconds() {
        let mut shares = shares();
        assert_eq!((shares.fair("heavy"), shares.fair("poller")), (Some(75.0), None));
        assert_eq!(shares.lately("heavy"), None);
        for second in 1..=10 {
            shares.sample(at(second), &[second, second], true);
        }
        assert_eq!(shares.lately("heavy"), Some(50.0));
        for second in 11..=16 {
            shares.sample(at(second), &[10, second], false);
        }
        assert_eq!((shares.lately("heavy"), shares.lately("light")), (Some(0.0), Some(100.0)));
    }

    #[test]
    fn what_is_had_while_somebody_sleeps_or_settles_is_left_out() {
        let mut shares = shares();
        let awake = |second: u64| !(10..20).contains(&second);
        for second in 1..=30 {
            shares.sample(at(second), &[3 * second, second], awake(second));
        }
        // 3 to 9, and 23 to 30.
        assert_eq!(shares.split(), split(13, [39, 13]));
    }

    #[test]
    fn a_share_may_be_off_by_a_tenth_or_by_three_points() {
        assert!(split(20, [3000, 1000]).broken().is_empty());
        assert!(split(20, [3070, 930]).broken().is_empty());
        assert_eq!(split(20, [3140, 860]).broken(), ["light had 860 points where its weight says 1000"]);
        assert!(split(20, [27, 13]).broken().is_empty());
        assert_eq!(split(20, [20, 20]).broken().len(), 2);
        assert_eq!(split(20, [0, 0]).broken().len(), 0);
    }

    #[test]
    fn a_short_time_is_told_and_not_judged() {
        let short = split(19, [0, 100]);
        assert!(short.broken().is_empty() && short.to_string().contains("too short"), "{short}");
        let long = split(20, [3300, 1100]).to_string();
        assert!(
            long.contains("heavy        weight 3   fair  75.0 %   had  75.0 %   off by  +0.0 %"),
            "{long}"
        );
        assert!(!long.contains("too short"), "{long}");
    }
}
