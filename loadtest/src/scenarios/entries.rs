//! The arrivals of a scenario, ready to be sent from.

use std::cell::Cell;
use std::sync::Arc;

use super::arrivals::Arrivals;
use super::format::Scenario;
use super::model::ROUTE;
use super::upstream::Call;

/// The installation all agents use, and the repository of who names none.
pub(super) const INSTALLATION: &str = "acme";
const REPOSITORY: &str = "acme/app";

/// One agent's arrivals.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) agent: usize,
    /// Its place among all arrivals.
    pub(super) flow: usize,
    pub(super) arrivals: Arrivals,
    pub(super) route: Arc<str>,
    pub(super) repository: Arc<str>,
    calls: Cell<u64>,
}

impl Entry {
    /// All of a scenario, agent by agent.
    pub(super) fn all(scenario: &Scenario) -> Vec<Entry> {
        let arrivals = scenario
            .agents
            .iter()
            .enumerate()
            .flat_map(|(agent, config)| config.arrivals.iter().map(move |arrivals| (agent, arrivals)));
        let entry = |(flow, (agent, arrivals)): (usize, (usize, &Arrivals))| Entry {
            agent,
            flow,
            arrivals: arrivals.clone(),
            route: Arc::from(arrivals.route.as_deref().unwrap_or(ROUTE)),
            repository: Arc::from(arrivals.repository.as_deref().unwrap_or(REPOSITORY)),
            calls: Cell::new(0),
        };
        arrivals.enumerate().map(entry).collect()
    }

    /// The next call in the pattern.
    pub(super) fn next_call(&self) -> Call {
        let count = self.calls.get();
        self.calls.set(count + 1);
        let length = self.arrivals.pattern.len() as u64;
        let place = usize::try_from(count % length).unwrap_or_default();
        Call {
            kind: self.arrivals.pattern[place],
            route: Arc::clone(&self.route),
            is_elsewhere: self
                .arrivals
                .elsewhere_every
                .is_some_and(|every| (count + 1).is_multiple_of(every)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::Kind;
    use super::super::format::tests::scenario;
    use super::*;

    #[test]
    fn calls_follow_the_pattern() {
        let agents = serde_json::json!([{"id": "a", "weight": 1, "arrivals": [
            {"kind": "greedy", "outstanding": 1, "pattern": ["get", "cond304"], "charged_elsewhere_every": 3}
        ]}]);
        let entries = Entry::all(&scenario(&serde_json::json!({ "agents": agents })).unwrap());
        let calls: Vec<_> = (0..4).map(|_| entries[0].next_call()).collect();
        assert_eq!(calls[1].kind, Kind::NotModified);
        assert_eq!(calls[2].kind, Kind::Get);
        assert_eq!(
            calls.iter().map(|call| call.is_elsewhere).collect::<Vec<_>>(),
            [false, false, true, false]
        );
    }
}
