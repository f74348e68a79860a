//! What a run has proven, from counts that the proxy itself did not make.

use std::fmt;

use github_sim::Books;

use super::fleet::Fleet;
use super::fleet::agent::Agent;
use super::shares::{self, Shares};
use super::snapshot;
use super::tally::Tally;

/// The counts that decide.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) seconds: u64,
    pub(crate) agents: u64,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    /// Told to come back later.
    pub(crate) later: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Refusals, not for rate, of agents that did nothing wrong.
    pub(crate) refused_wrongly: u64,
    /// Forbidden things that were done.
    pub(crate) let_through: u64,
    pub(crate) arrived: u64,
    pub(crate) writes: u64,
    pub(crate) limit_hits: u64,
    /// By GitHub.
    pub(crate) refusals: u64,
    pub(crate) keys_leaked: u64,
    pub(crate) tokens_leaked: u64,
    pub(crate) merges: u64,
    pub(crate) merges_tried: u64,
    pub(crate) shares: shares::Split,
}

impl Summary {
    pub(crate) fn new(seconds: u64, fleet: &Fleet, shares: &Shares, books: &Books) -> Summary {
        let total = |count: fn(&Tally) -> u64| -> u64 {
            fleet.agents.iter().map(|agent| count(&agent.tally())).sum()
        };
        let is_good = |agent: &&std::sync::Arc<Agent>| agent.character.keeps_the_rules();
        Summary {
            seconds,
            agents: fleet.agents.len() as u64,
            requests: total(Tally::requests),
            served: total(|tally| tally.served),
            later: total(|tally| tally.later),
            refused: total(Tally::refused_total),
            failed: total(|tally| tally.failed),
            refused_wrongly: fleet
                .agents
                .iter()
                .filter(is_good)
                .map(|agent| agent.tally().refused_total())
                .sum(),
            let_through: total(|tally| tally.let_through),
            arrived: books.arrived,
            writes: books.writes,
            limit_hits: books.violations_total(),
            refusals: snapshot::refusals(books),
            keys_leaked: books.leaked_credentials.len() as u64,
            tokens_leaked: total(|tally| tally.tokens_seen),
            merges: books.merges.len() as u64,
            merges_tried: total(|tally| tally.merges_tried),
            shares: shares.split(),
        }
    }

    /// Whether nothing went through that must not, and everybody had its share.
    pub(crate) fn holds(&self) -> bool {
        self.broken().is_empty()
    }

    fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = [
            (self.limit_hits, "calls met a limit of GitHub's"),
            (self.refusals, "calls were refused by GitHub"),
            (self.keys_leaked, "credentials that are not GitHub's reached GitHub"),
            (self.tokens_leaked, "answers showed an agent a token of GitHub's"),
            (self.merges, "merges were done"),
            (self.let_through, "forbidden requests were let through"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        broken.extend(self.shares.broken());
        if self.arrived == 0 {
            broken.push("no call reached GitHub, so nothing is proven".to_owned());
        }
        broken
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seconds, agents, requests, served, later, refused, failed, arrived, writes, .. } = self;
        writeln!(
            f,
            "{agents} agents made {requests} requests in {seconds} s: {served} served, {later} told to come back \
             later,\n{refused} refused for good, {failed} failed. {arrived} calls reached GitHub, {writes} of them \
             writes that it took.\n\n{}\n",
            self.shares
        )?;
        if self.failed + self.refused_wrongly > 0 {
            let Summary { failed, refused_wrongly, .. } = self;
            writeln!(
                f,
                "Not as it should be: {failed} failed, {refused_wrongly} were refused that are allowed."
            )?;
        }
        let broken = self.broken();
        if !broken.is_empty() {
            return write!(f, "FAILED:\n  - {}", broken.join("\n  - "));
        }
        let by_weight =
            if self.shares.is_judged() { format!("  - {}\n", shares::claim()) } else { String::new() };
        write!(
            f,
            "Proven in this run:\n\
             \x20 - no call met a limit of GitHub's, and GitHub refused none\n\
             {by_weight}\
             \x20 - no agent's key reached GitHub, and no token of GitHub's reached an agent\n\
             \x20 - nothing was merged, though {} merges were tried",
            self.merges_tried
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::shares::Standing;

    fn good() -> Summary {
        Summary {
            seconds: 3,
            agents: 5,
            requests: 30,
            served: 23,
            later: 2,
            refused: 5,
            arrived: 27,
            writes: 4,
            merges_tried: 2,
            ..Summary::default()
        }
    }

    #[test]
    fn says_what_was_proven() {
        assert!(good().holds());
        let text = good().to_string();
        let counts = "5 agents made 30 requests in 3 s: 23 served, 2 told to come back later,\n5 refused for good, 0 failed. 27 calls reached GitHub, 4 of them writes";
        assert!(text.starts_with(counts), "{text}");
        assert!(text.contains("Proven in this run") && text.contains("2 merges were tried"), "{text}");
        assert!(!text.contains("Not as it should be"), "{text}");
    }

    #[test]
    fn anything_that_went_through_fails_it() {
        type Count = fn(&mut Summary) -> &mut u64;
        let counts: [Count; 6] = [
            |s| &mut s.limit_hits,
            |s| &mut s.refusals,
            |s| &mut s.keys_leaked,
            |s| &mut s.tokens_leaked,
            |s| &mut s.merges,
            |s| &mut s.let_through,
        ];
        for count in counts {
            let mut summary = good();
            *count(&mut summary) = 1;
            assert!(!summary.holds());
            let text = summary.to_string();
            assert!(text.contains("FAILED:\n  - 1 ") && !text.contains("Proven"), "{text}");
        }
    }

    #[test]
    fn claims_nothing_without_a_call() {
        let silent = Summary { arrived: 0, ..good() };
        assert!(!silent.holds() && silent.to_string().contains("nothing is proven"), "{silent}");
    }

    #[test]
    fn shares_that_are_off_fail_it() {
        let mut summary = good();
        let agent = |name: &str, weight, points| Standing { name: name.to_owned(), weight, points };
        let lasted = Duration::from_secs(30);
        summary.shares = shares::Split { standings: vec![agent("a", 2, 200), agent("b", 1, 100)], lasted };
        assert!(
            summary.holds() && summary.to_string().contains("share by weight, within 10 % or 3 points"),
            "{summary}"
        );
        summary.shares.standings[1].points = 200;
        assert!(!summary.holds());
        assert!(summary.to_string().contains("  - b had 200 points where its weight says 133"), "{summary}");
        summary.shares.lasted = Duration::from_secs(3);
        assert!(summary.holds() && !summary.to_string().contains("by weight"), "{summary}");
    }
}
