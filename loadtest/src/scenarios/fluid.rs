//! The fluid ideals a run is held against; they know nothing of any policy.
//!
//! [`Absolute`] shares what GitHub leaves us: it says how much could be used. [`relative`] shares what the
//! run itself got in each second: it says whether that was shared by weight, whatever the amount.

use super::filling::{Bound, fill};
use super::format::Scenario;
use super::model::{CONTENT, Model, PRIMARY};
use super::span::seconds;

/// The ideal of what is open to us.
#[derive(Debug)]
pub(super) struct Absolute {
    /// Fair units of each agent over the run.
    pub(super) units: Vec<f64>,
    /// Primary points of all of them.
    pub(super) points: f64,
    /// Which constraints stopped somebody, second by second.
    is_binding: Vec<Vec<bool>>,
}

/// The primary window as the ideal spends it.
#[derive(Debug)]
struct Window<'a> {
    scenario: &'a Scenario,
    used: f64,
    reset_ms: u64,
}

impl Window<'_> {
    /// Points for the second that begins now: what is left, spread evenly over the time left, less
    /// what outsiders will take.
    fn open(&mut self, now_ms: u64, is_wanted: bool) -> f64 {
        let primary = &self.scenario.primary;
        if now_ms >= self.reset_ms {
            if !is_wanted && self.outside(now_ms, now_ms + 1000) <= 0.0 {
                return 0.0;
            }
            self.used = 0.0;
            self.reset_ms = now_ms + primary.window.ms();
        }
        let left = primary.limit as f64 - self.used - self.outside(now_ms, self.reset_ms);
        (left / seconds(self.reset_ms - now_ms).max(1.0)).max(0.0)
    }

    /// What outsiders take from here to there.
    fn outside(&self, from_ms: u64, to_ms: u64) -> f64 {
        self.scenario.external.as_ref().map_or(0.0, |external| {
            let from = from_ms.max(external.from.unwrap_or_default().ms());
            let to = to_ms.min(external.to.map_or(u64::MAX, |to| to.ms()));
            seconds(to.saturating_sub(from)) * external.points_per_s
        })
    }
}

impl Absolute {
    pub(super) fn new(scenario: &Scenario, model: &Model) -> Absolute {
        let mut window = Window {
            scenario,
            used: scenario.primary.used_at_start as f64,
            reset_ms: scenario.primary.first_reset.ms(),
        };
        let mut ideal =
            Absolute { units: vec![0.0; model.agents.len()], points: 0.0, is_binding: Vec::new() };
        let mut state = model.state();
        let mut capacities = model.capacities.clone();
        for step in 0..model.steps {
            let now_ms = step as u64 * 1000;
            let demands = state.demands(model, step).to_vec();
            let rate = window.open(now_ms, demands.iter().any(|demand| *demand > 0.0));
            capacities[PRIMARY] = rate;
            let bounds = state.bounds(model, rate);
            let filled = fill(&bounds, &model.flows, &demands, &capacities);
            state.take(model, &filled.flows);
            let mut points = 0.0;
            for (flow, units) in model.flows.iter().zip(&filled.flows) {
                ideal.units[flow.agent] += units;
                points += units * flow.uses[PRIMARY].1;
            }
            ideal.points += points;
            window.used += points + window.outside(now_ms, now_ms + 1000);
            ideal.is_binding.push(filled.is_binding);
        }
        ideal
    }
}

/// Fair units of each agent in each second, had the run's own capacity been shared ideally.
///
/// `served` are the run's units of each flow in each second. Content and routes bound their flows as
/// they did in the run, where they bind in the absolute ideal too.
pub(super) fn relative(model: &Model, absolute: &Absolute, served: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut ideal = vec![vec![0.0; model.steps]; model.agents.len()];
    let mut state = model.state();
    let flows: Vec<_> = model
        .flows
        .iter()
        .map(|flow| {
            let mut flow = flow.clone();
            for (constraint, use_) in &mut flow.uses {
                *use_ = if *constraint == PRIMARY || *use_ > 0.0 { 1.0 } else { 0.0 };
            }
            flow
        })
        .collect();
    // What a second leaves unused of content or of a route is there in the next: in one second a write
    // may be more than the writers' part of all.
    let mut kept = vec![0.0; model.capacities.len()];
    for step in 0..model.steps {
        let mut capacities = kept.clone();
        for (flow, served) in flows.iter().zip(served) {
            for &(constraint, use_) in &flow.uses {
                capacities[constraint] += use_ * served[step];
            }
        }
        let is_binding = &absolute.is_binding[step];
        for (capacity, is_binding) in capacities.iter_mut().zip(is_binding).skip(CONTENT) {
            if !is_binding {
                *capacity = f64::INFINITY;
            }
        }
        let demands = state.demands(model, step).to_vec();
        let bounds: Vec<Bound> = state.bounds(model, capacities[PRIMARY]);
        let filled = fill(&bounds, &flows, &demands, &capacities);
        state.take(model, &filled.flows);
        kept.clone_from(&capacities);
        for (flow, units) in flows.iter().zip(&filled.flows) {
            ideal[flow.agent][step] += units;
            for &(constraint, use_) in &flow.uses {
                kept[constraint] -= units * use_;
            }
        }
        for (constraint, kept) in kept.iter_mut().enumerate() {
            if constraint == PRIMARY || !kept.is_finite() {
                *kept = 0.0;
            }
        }
    }
    ideal
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::format::load;
    use super::*;

    /// The file's expectations were computed by somebody else.
    #[test]
    fn yields_the_allocations_of_the_conformance_file() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/conformance.json");
        for scenario in load(&file).unwrap() {
            let ideal = Absolute::new(&scenario, &Model::new(&scenario));
            for (id, expected) in &scenario.expect.allocation {
                let units = ideal.units[scenario.agent(id).unwrap()];
                let most = (expected.fair_units * 0.003).max(2.0);
                assert!(
                    (units - expected.fair_units).abs() <= most,
                    "{}: {id} {units} for {}",
                    scenario.id,
                    expected.fair_units
                );
            }
        }
    }

    #[test]
    fn the_relative_ideal_shares_what_there_was() {
        let agent = |id: &str, weight: u32| {
            serde_json::json!({"id": id, "weight": weight,
                               "arrivals": [{"kind": "greedy", "outstanding": 4}]})
        };
        let changes = serde_json::json!({"agents": [agent("a", 1), agent("b", 3)], "duration_s": 2.0});
        let scenario = super::super::format::tests::scenario(&changes).unwrap();
        let model = Model::new(&scenario);
        let absolute = Absolute::new(&scenario, &model);
        let ideal = relative(&model, &absolute, &[vec![4.0, 0.0], vec![0.0, 2.0]]);
        assert_eq!(ideal, [vec![1.0, 0.5], vec![3.0, 1.5]]);
    }
}
