//! Weighted progressive filling: the level rises for everyone, by weight, until something stops it.
//!
//! An agent may have several flows, for whom different constraints bind; its rise is divided among those
//! that can still take it. First the guarantees are filled, then everyone from the bottom: whoever is
//! already above the level waits for it.

/// Below this, nothing is left.
const NOTHING: f64 = 1e-9;

/// An agent, for one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) weight: f64,
    /// What it gets before others, if it wants it.
    pub(super) floor: f64,
    pub(super) ceiling: f64,
}

/// A stream of requests of the same mix.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) agent: usize,
    /// Part of its agent's rise, beside the agent's other flows.
    pub(super) part: f64,
    /// Which constraints a unit of it uses, and how much of each.
    pub(super) uses: Vec<(usize, f64)>,
}

/// What a step gives.
#[derive(Debug)]
pub(super) struct Filled {
    /// Units of each flow.
    pub(super) flows: Vec<f64>,
    /// Whether each constraint stopped somebody.
    pub(super) is_binding: Vec<bool>,
}

/// Fills one step: `demands` of the flows, `capacities` of the constraints.
pub(super) fn fill(agents: &[Bound], flows: &[Flow], demands: &[f64], capacities: &[f64]) -> Filled {
    let mut state = State {
        flows,
        demands,
        rates: vec![0.0; flows.len()],
        is_live: demands.iter().map(|demand| *demand > NOTHING).collect(),
        agents: vec![0.0; agents.len()],
        ceilings: agents.iter().map(|agent| agent.ceiling).collect(),
        left: capacities.to_vec(),
        is_binding: vec![false; capacities.len()],
    };
    if agents.iter().any(|agent| agent.floor > 0.0) {
        let floors: Vec<f64> = agents.iter().map(|agent| agent.floor).collect();
        state.raise(&floors, 1.0);
    }
    let weights: Vec<f64> = agents.iter().map(|agent| agent.weight).collect();
    state.raise(&weights, f64::INFINITY);
    Filled { flows: state.rates, is_binding: state.is_binding }
}

struct State<'a> {
    flows: &'a [Flow],
    demands: &'a [f64],
    rates: Vec<f64>,
    is_live: Vec<bool>,
    /// Units of each agent.
    agents: Vec<f64>,
    ceilings: Vec<f64>,
    left: Vec<f64>,
    is_binding: Vec<bool>,
}

impl State<'_> {
    /// Raises the level from 0 to `top`, where an agent's units are its weight times the level.
    fn raise(&mut self, weights: &[f64], top: f64) {
        let mut level = 0.0;
        self.stop();
        while level < top {
            let slopes = self.slopes(weights, level);
            let step = self.step(weights, level, &slopes).min(top - level);
            if !step.is_finite() {
                return;
            }
            for (flow, slope) in self.flows.iter().zip(&slopes) {
                for &(constraint, use_) in &flow.uses {
                    self.left[constraint] -= slope * use_ * step;
                }
                self.agents[flow.agent] += slope * step;
            }
            for (rate, slope) in self.rates.iter_mut().zip(&slopes) {
                *rate += slope * step;
            }
            level += step;
            self.stop();
        }
    }

    /// How fast each flow rises with the level.
    fn slopes(&self, weights: &[f64], level: f64) -> Vec<f64> {
        let mut parts = vec![0.0; self.agents.len()];
        for (flow, is_live) in self.flows.iter().zip(&self.is_live) {
            if *is_live {
                parts[flow.agent] += flow.part;
            }
        }
        let slope = |(flow, is_live): (&Flow, &bool)| {
            let weight = weights[flow.agent];
            let is_reached = self.agents[flow.agent] <= weight * level + NOTHING;
            if *is_live && is_reached && weight > 0.0 { weight * flow.part / parts[flow.agent] } else { 0.0 }
        };
        self.flows.iter().zip(&self.is_live).map(slope).collect()
    }

    /// How far the level rises until something changes; infinite when nothing does any more.
    fn step(&self, weights: &[f64], level: f64, slopes: &[f64]) -> f64 {
        let mut step = f64::INFINITY;
        let mut use_of = vec![0.0; self.left.len()];
        let mut rise_of = vec![0.0; self.agents.len()];
        for (index, (flow, &slope)) in self.flows.iter().zip(slopes).enumerate() {
            let weight = weights[flow.agent];
            if slope > 0.0 {
                step = step.min((self.demands[index] - self.rates[index]) / slope);
                rise_of[flow.agent] += slope;
                for &(constraint, use_) in &flow.uses {
                    use_of[constraint] += slope * use_;
                }
            } else if self.is_live[index] && weight > 0.0 {
                step = step.min(self.agents[flow.agent] / weight - level);
            }
        }
        for (left, use_) in self.left.iter().zip(&use_of) {
            if *use_ > 0.0 {
                step = step.min(left / use_);
            }
        }
        for ((units, ceiling), rise) in self.agents.iter().zip(&self.ceilings).zip(&rise_of) {
            if *rise > 0.0 {
                step = step.min((ceiling - units) / rise);
            }
        }
        step.max(0.0)
    }

    /// Ends what can rise no further.
    fn stop(&mut self) {
        for (index, flow) in self.flows.iter().enumerate() {
            if !self.is_live[index] {
                continue;
            }
            let mut is_live = self.demands[index] - self.rates[index] > NOTHING
                && self.ceilings[flow.agent] - self.agents[flow.agent] > NOTHING;
            for &(constraint, use_) in &flow.uses {
                if use_ > 0.0 && self.left[constraint] <= NOTHING {
                    self.is_binding[constraint] = true;
                    is_live = false;
                }
            }
            self.is_live[index] = is_live;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: f64 = f64::INFINITY;

    fn agent(weight: f64) -> Bound {
        Bound { weight, floor: 0.0, ceiling: OPEN }
    }

    fn flow(agent: usize, uses: &[(usize, f64)]) -> Flow {
        Flow { agent, part: 1.0, uses: uses.to_vec() }
    }

    fn filled(agents: &[Bound], flows: &[Flow], demands: &[f64], capacities: &[f64]) -> Vec<f64> {
        let filled = fill(agents, flows, demands, capacities).flows;
        filled.iter().map(|units| (units * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn shares_by_weight_and_lends_what_is_idle() {
        let agents = [agent(1.0), agent(2.0), agent(5.0)];
        let flows = [flow(0, &[(0, 1.0)]), flow(1, &[(0, 1.0)]), flow(2, &[(0, 1.0)])];
        assert_eq!(filled(&agents, &flows, &[9.0; 3], &[8.0]), [1.0, 2.0, 5.0]);
        assert_eq!(filled(&agents, &flows, &[9.0, 9.0, 2.0], &[8.0]), [2.0, 4.0, 2.0]);
        assert_eq!(filled(&agents, &flows, &[1.0; 3], &[8.0]), [1.0; 3]);
        assert_eq!(filled(&agents, &flows, &[1.0; 3], &[0.0]), [0.0; 3]);
    }

    #[test]
    fn guarantees_raise_and_ceilings_bound() {
        let mut agents = [agent(1.0), agent(1.0), agent(2.0)];
        let flows = [flow(0, &[(0, 1.0)]), flow(1, &[(0, 1.0)]), flow(2, &[(0, 1.0)])];
        agents[0].floor = 4.0;
        agents[2].ceiling = 1.0;
        assert_eq!(filled(&agents, &flows, &[9.0; 3], &[8.0]), [4.0, 3.0, 1.0]);
        // Nobody gets less by a guarantee than without it.
        agents[0].floor = 1.0;
        assert_eq!(filled(&agents, &flows, &[9.0; 3], &[8.0]), [3.5, 3.5, 1.0]);
        agents[2].ceiling = 0.0;
        assert_eq!(filled(&agents, &flows, &[9.0; 3], &[8.0]), [4.0, 4.0, 0.0]);
    }

    #[test]
    fn another_constraint_stops_only_its_own() {
        // Reading goes on while writing is held by the second constraint.
        let agents = [agent(1.0), agent(1.0)];
        let flows = [flow(0, &[(0, 1.0), (1, 1.0)]), flow(0, &[(0, 1.0)]), flow(1, &[(0, 1.0)])];
        let done = fill(&agents, &flows, &[9.0; 3], &[8.0, 1.0]);
        assert_eq!(done.flows.iter().map(|units| units.round()).collect::<Vec<_>>(), [1.0, 3.0, 4.0]);
        assert_eq!(done.is_binding, [true, true]);
    }
}
