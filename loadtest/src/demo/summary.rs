//! What a run has proven, from counts that the proxy itself did not make.

use std::fmt;

use github_sim::Books;

use super::fleet::Fleet;
use super::fleet::agent::Agent;
use super::tally::Tally;

/// The counts that decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) seconds: u64,
    pub(crate) agents: u64,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// Refusals of agents that did nothing wrong.
    pub(crate) refused_wrongly: u64,
    /// Forbidden things that were done.
    pub(crate) let_through: u64,
    pub(crate) arrived: u64,
    pub(crate) writes: u64,
    pub(crate) limit_hits: u64,
    pub(crate) keys_leaked: u64,
    pub(crate) tokens_leaked: u64,
    pub(crate) merges: u64,
    pub(crate) merges_tried: u64,
}

impl Summary {
    pub(crate) fn new(seconds: u64, fleet: &Fleet, books: &Books) -> Summary {
        let total = |count: fn(&Tally) -> u64| -> u64 {
            fleet.agents.iter().map(|agent| count(&agent.tally())).sum()
        };
        let is_good = |agent: &&std::sync::Arc<Agent>| agent.character.keeps_the_rules();
        Summary {
            seconds,
            agents: fleet.agents.len() as u64,
            requests: total(Tally::requests),
            served: total(|tally| tally.served),
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
            keys_leaked: books.leaked_credentials.len() as u64,
            tokens_leaked: total(|tally| tally.tokens_seen),
            merges: books.merges.len() as u64,
            merges_tried: total(|tally| tally.merges_tried),
        }
    }

    /// Whether nothing went through that must not.
    pub(crate) fn holds(&self) -> bool {
        self.broken().is_empty()
    }

    fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = [
            (self.limit_hits, "calls met a limit of GitHub's"),
            (self.keys_leaked, "credentials that are not GitHub's reached GitHub"),
            (self.tokens_leaked, "answers showed an agent a token of GitHub's"),
            (self.merges, "merges were done"),
            (self.let_through, "forbidden requests were let through"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        if self.arrived == 0 {
            broken.push("no call reached GitHub, so nothing is proven".to_owned());
        }
        broken
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seconds, agents, requests, served, refused, failed, arrived, writes, .. } = self;
        writeln!(
            f,
            "{agents} agents made {requests} requests in {seconds} s: {served} served, {refused} refused, {failed} failed.\n\
             {arrived} calls reached GitHub, {writes} of them writes that it took.",
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
        write!(
            f,
            "Proven in this run:\n\
             \x20 - no call met a limit of GitHub's\n\
             \x20 - no agent's key reached GitHub, and no token of GitHub's reached an agent\n\
             \x20 - nothing was merged, though {} merges were tried",
            self.merges_tried
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Summary {
        Summary {
            seconds: 3,
            agents: 5,
            requests: 30,
            served: 25,
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
        let counts = "5 agents made 30 requests in 3 s: 25 served, 5 refused, 0 failed.\n27 calls reached GitHub, 4 of them writes";
        assert!(text.starts_with(counts), "{text}");
        assert!(text.contains("Proven in this run") && text.contains("2 merges were tried"), "{text}");
        assert!(!text.contains("Not as it should be"), "{text}");
    }

    #[test]
    fn anything_that_went_through_fails_it() {
        type Count = fn(&mut Summary) -> &mut u64;
        let counts: [Count; 5] = [
            |s| &mut s.limit_hits,
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
}
