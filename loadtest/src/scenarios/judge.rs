//! Each expectation held against the figures; what does not hold becomes a sentence.

use super::figures::{AgentFigures, Figures};
use super::format::Expect;

/// Why a run failed; empty when it passed.
pub(super) fn judge(expect: &Expect, figures: &Figures) -> Vec<String> {
    let mut judge = Judge { figures, failures: Vec::new() };
    judge.shares(expect);
    judge.whole(expect);
    judge.waits(expect);
    judge.limits(expect);
    judge.failures
}

struct Judge<'a> {
    figures: &'a Figures,
    failures: Vec<String>,
}

impl<'a> Judge<'a> {
    fn agent(&self, id: &str) -> &'a AgentFigures {
        let found = self.figures.agents.iter().find(|agent| agent.id == id);
        found.expect("the file was checked for agents that are not there")
    }

    fn at_most(&mut self, what: &str, figure: f64, bound: Option<f64>) {
        // What is no number holds nowhere.
        if let Some(bound) = bound.filter(|bound| figure > *bound || figure.is_nan()) {
            self.failures.push(format!("{what}: {} is more than {}", number(figure), number(bound)));
        }
    }

    fn at_least(&mut self, what: &str, figure: f64, bound: Option<f64>) {
        if let Some(bound) = bound.filter(|bound| figure < *bound || figure.is_nan()) {
            self.failures.push(format!("{what}: {} is less than {}", number(figure), number(bound)));
        }
    }

    fn shares(&mut self, expect: &Expect) {
        for (id, expected) in &expect.allocation {
            let units = self.agent(id).fair_units;
            let off = units - expected.fair_units;
            if off.abs() > expected.tolerance {
                self.failures.push(format!(
                    "allocation: {id} was served {units} fair units, {off:+.1} from {}, with a tolerance of {}",
                    expected.fair_units, expected.tolerance
                ));
            }
        }
        let all: f64 = self.figures.agents.iter().map(|agent| agent.fair_units).sum();
        for (id, expected) in &expect.shares {
            let share = self.agent(id).fair_units / all;
            let error = (share / expected.share - 1.0).abs();
            if error > expected.relative_tolerance || error.is_nan() {
                self.failures.push(format!(
                    "shares: {id} has {share:.4} of all, for {} within {:.0} %",
                    expected.share,
                    expected.relative_tolerance * 100.0
                ));
            }
        }
        for (id, least) in &expect.served_min {
            let served = self.agent(id).served;
            self.at_least(&format!("served: requests of {id}"), served as f64, Some(*least as f64));
        }
    }

    fn whole(&mut self, expect: &Expect) {
        let figures = self.figures;
        self.at_least("utilisation", figures.utilisation.unwrap_or(0.0), expect.utilisation_min);
        let error = figures.window_error_60s_p95.unwrap_or(0.0);
        self.at_most("error in 60 s windows, p95", error, expect.window_error_60s_p95_max);
        self.at_least("Jain index", figures.jain, expect.jain_min);
        if let Some(wake) = &expect.wake {
            self.at_least(
                &format!("wake: part of its ideal {} got at once", wake.agent),
                figures.wake.unwrap_or(0.0),
                Some(wake.min_fraction_of_ideal),
            );
        }
    }

    fn waits(&mut self, expect: &Expect) {
        if let Some(wait) = &expect.wait {
            let agent = self.agent(&wait.agent);
            for (name, figure, bound) in
                [("p50", agent.wait_p50_s, wait.p50_max_s), ("p99", agent.wait_p99_s, wait.p99_max_s)]
            {
                let what = format!("wait: {name} of {}, in seconds", wait.agent);
                self.at_most(&what, figure, bound.map(super::span::Span::seconds));
            }
        }
        for (id, most) in &expect.max_gap_s {
            let gap = self.agent(id).gap_max_s;
            self.at_most(
                &format!("gap: seconds without a served request of {id}"),
                gap,
                Some(most.seconds()),
            );
        }
        self.at_most(
            "refusals for each request served, worst agent",
            self.figures.refusals_per_served,
            expect.refusals_per_served_max,
        );
    }

    fn limits(&mut self, expect: &Expect) {
        let figures = self.figures;
        for (what, figure, bound) in [
            ("rate refusals by GitHub", figures.upstream_refusals, expect.upstream_403_429_max),
            ("requests at GitHub at once", figures.in_flight_max, expect.inflight_max),
            ("content writes in 60 s", figures.content_per_minute_max, expect.content_per_min_max),
            ("content writes in an hour", figures.content_per_hour_max, expect.content_per_hour_max),
        ] {
            self.at_most(what, figure as f64, bound.map(|bound| bound as f64));
        }
        if let Some(expected) = expect.leaked_leases_after_s {
            match figures.leaked_leases {
                Some(leaked) => {
                    self.at_most("leases of the dead replica", leaked as f64, Some(expected.max as f64));
                }
                None => self.failures.push("leases of the dead replica: the run ended before".to_owned()),
            }
        }
        let calls = figures.store_calls_per_request.unwrap_or(0.0);
        self.at_most("store calls a request", calls, expect.store_calls_per_request_max);
    }
}

/// Three decimals where there are any.
fn number(figure: f64) -> String {
    let text = format!("{figure:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::scenario;
    use super::super::gate::Policy;
    use super::super::keeper::Home;
    use super::super::world;
    use super::*;

    /// Two greedy slots spend 600 points in less than a minute, and nothing holds them back.
    #[test]
    fn says_with_figures_what_does_not_hold() {
        let wrong = serde_json::json!({
            "allocation": {"a": {"fair_units": 10.0, "tolerance": 1.0}},
            "shares": {"a": {"share": 0.5, "relative_tolerance": 0.1}},
            "utilisation_min": 100.0, "upstream_403_429_max": 0, "jain_min": 1.1,
            "window_error_60s_p95_max": -1.0, "refusals_per_served_max": -1.0,
            "store_calls_per_request_max": -1.0, "served_min": {"a": 100_000}, "max_gap_s": {"a": 0.1},
            "inflight_max": 1, "content_per_min_max": 0, "content_per_hour_max": 0,
            "wait": {"agent": "a", "p50_max_s": 1.0}
        });
        let scenario = scenario(&serde_json::json!({ "expect": wrong })).unwrap();
        let run = world::run(&scenario.clone().into(), Policy::Naive, 1, &Home::Memory).unwrap();
        let failures = judge(&scenario.expect, &Figures::new(&scenario, &run));
        let words = [
            "allocation",
            "shares",
            "served",
            "utilisation",
            "60 s",
            "Jain",
            "gap",
            "refusals for each",
            "rate refusals",
            "once",
            "calls",
        ];
        assert_eq!(failures.len(), words.len(), "{failures:#?}");
        for (failure, word) in failures.iter().zip(words) {
            assert!(failure.contains(word), "{word}: {failure}");
        }
    }
}
