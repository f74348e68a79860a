//! A scenario as flows and constraints: what the fluid models share.

use super::arrivals::{Arrivals, When};
use super::filling::{Bound, Flow};
use super::format::{Agent, Scenario};
use super::upstream::{READ_MS, WRITE_MS};

/// Part of each published limit that somebody careful can use.
const ROUTE_PART: f64 = 0.85;
const CONTENT_PART: f64 = 0.94;
/// Guarantees together never take more of the rate.
const GUARANTEED_PART: f64 = 0.8;
/// The limit of `core` where nobody has seen it.
const CORE_LIMIT: f64 = 5000.0;
/// What one greedy slot spends besides the answer: 5 ms, and the network at its mean.
const PAUSE_MS: f64 = 21.0;
/// Units an agent may catch up on: of its guarantee, and seconds of its ceiling.
const FLOOR_CREDIT: f64 = 2.0;
const CEILING_CREDIT_S: f64 = 15.0;

/// The first constraint is the primary limit, the second content; then one for each route.
pub(super) const PRIMARY: usize = 0;
pub(super) const CONTENT: usize = 1;
const ROUTES: usize = 2;

/// The route of whoever names none.
pub(super) const ROUTE: &str = "default";

/// What stays the same over a run.
#[derive(Debug)]
pub(super) struct Model {
    /// In the order of agents and their arrivals.
    pub(super) flows: Vec<Flow>,
    pub(super) agents: Vec<AgentModel>,
    /// A second's worth of each constraint; of the primary limit none, which changes.
    pub(super) capacities: Vec<f64>,
    pub(super) steps: usize,
    demands: Vec<Demand>,
}

/// An agent's place among others, in units a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentModel {
    weight: f64,
    guarantee: f64,
    ceiling: f64,
}

/// When a flow wants how much.
#[derive(Debug, Clone)]
struct Demand {
    arrivals: Arrivals,
    /// Of a request, at the mean of the pattern.
    units: f64,
    /// What the slots of a greedy client can take in a second.
    pace: f64,
}

impl Model {
    pub(super) fn new(scenario: &Scenario) -> Model {
        let secondary = &scenario.secondary;
        let content =
            (secondary.content_per_hour as f64 / 3600.0).min(secondary.content_per_min as f64 / 60.0);
        let per_minute = match scenario.is_graphql() {
            true => secondary.graphql_points_per_min,
            false => secondary.rest_points_per_min,
        };
        let mut model = Model {
            flows: Vec::new(),
            agents: scenario.agents.iter().map(|agent| AgentModel::new(agent, scenario)).collect(),
            capacities: vec![0.0, content * CONTENT_PART],
            steps: index(scenario.duration.ms().div_ceil(1000)),
            demands: Vec::new(),
        };
        let mut routes: Vec<&str> = Vec::new();
        for (agent, arrivals) in scenario
            .agents
            .iter()
            .enumerate()
            .flat_map(|(index, agent)| agent.arrivals.iter().map(move |arrivals| (index, arrivals)))
        {
            let name = arrivals.route.as_deref().unwrap_or(ROUTE);
            let route = routes.iter().position(|route| *route == name).unwrap_or_else(|| {
                routes.push(name);
                model.capacities.push(per_minute as f64 / 60.0 * ROUTE_PART);
                routes.len() - 1
            });
            model.add(agent, arrivals, ROUTES + route, scenario);
        }
        model
    }

    fn add(&mut self, agent: usize, arrivals: &Arrivals, route: usize, scenario: &Scenario) {
        let mean = |of: &dyn Fn(usize) -> f64| {
            (0..arrivals.pattern.len()).map(of).sum::<f64>() / arrivals.pattern.len() as f64
        };
        let kind = |index: usize| arrivals.pattern[index];
        let units = mean(&|index| kind(index).fair_units());
        let elsewhere = arrivals.elsewhere_every.map_or(0.0, |every| 1.0 / every as f64);
        let cost = mean(&|index| f64::from(kind(index).cost())) * (1.0 - elsewhere);
        let points = mean(&|index| kind(index).points() as f64);
        let content = mean(&|index| if kind(index).creates_content() { 1.0 } else { 0.0 });
        let took = mean(&|index| {
            let usual = if kind(index).is_write() { WRITE_MS } else { READ_MS };
            scenario.upstream_latency_ms.unwrap_or(usual) as f64
        });
        let outstanding = match arrivals.when {
            When::Greedy { outstanding } => outstanding,
            When::Paced { size, .. } => size,
        };
        let uses = [(PRIMARY, cost / units), (CONTENT, content / units), (route, points / units)];
        self.flows.push(Flow { agent, part: outstanding as f64 * units, uses: uses.to_vec() });
        let pace = outstanding as f64 * units / ((took + PAUSE_MS) / 1000.0);
        self.demands.push(Demand { arrivals: arrivals.clone(), units, pace });
    }

    pub(super) fn state(&self) -> State {
        State {
            waiting: vec![0.0; self.flows.len()],
            floors: vec![0.0; self.agents.len()],
            ceilings: vec![0.0; self.agents.len()],
        }
    }
}

impl AgentModel {
    fn new(agent: &Agent, scenario: &Scenario) -> AgentModel {
        // Points an hour of `core`; of another resource the same fraction of its limit a window.
        let pace = |points: u32| {
            let an_hour = f64::from(points) / 3600.0;
            match scenario.resource.as_str() {
                "core" => an_hour,
                _ => {
                    let primary = &scenario.primary;
                    f64::from(points) / CORE_LIMIT * primary.limit as f64 / primary.window.seconds()
                }
            }
        };
        AgentModel {
            weight: f64::from(agent.weight),
            guarantee: agent.guarantee_per_hour.map_or(0.0, pace),
            ceiling: agent.ceiling_per_hour.map_or(f64::INFINITY, pace),
        }
    }
}

/// What changes from second to second.
#[derive(Debug)]
pub(super) struct State {
    waiting: Vec<f64>,
    floors: Vec<f64>,
    ceilings: Vec<f64>,
}

impl State {
    /// What everyone wants in a second, now that it has begun.
    pub(super) fn demands(&mut self, model: &Model, step: usize) -> &[f64] {
        for (waiting, demand) in self.waiting.iter_mut().zip(&model.demands) {
            *waiting = demand.next(*waiting, step as u64 * 1000);
        }
        &self.waiting
    }

    /// What binds each agent in a second in which all together get about `rate` units.
    pub(super) fn bounds(&mut self, model: &Model, rate: f64) -> Vec<Bound> {
        let guaranteed: f64 = model.agents.iter().map(|agent| agent.guarantee).sum();
        let scale = (GUARANTEED_PART * rate / guaranteed.max(f64::MIN_POSITIVE)).min(1.0);
        let states = self.floors.iter_mut().zip(&mut self.ceilings);
        let bound = |(agent, (floor, ceiling)): (&AgentModel, (&mut f64, &mut f64))| {
            *floor = (*floor).min(FLOOR_CREDIT) + agent.guarantee * scale;
            *ceiling = (*ceiling).min(agent.ceiling * CEILING_CREDIT_S) + agent.ceiling;
            Bound { weight: agent.weight, floor: floor.min(*ceiling), ceiling: *ceiling }
        };
        model.agents.iter().zip(states).map(bound).collect()
    }

    /// Takes what a second gave.
    pub(super) fn take(&mut self, model: &Model, given: &[f64]) {
        for ((flow, waiting), given) in model.flows.iter().zip(&mut self.waiting).zip(given) {
            *waiting -= given;
            self.floors[flow.agent] = (self.floors[flow.agent] - given).max(0.0);
            self.ceilings[flow.agent] -= given;
        }
    }
}

impl Demand {
    fn next(&self, waiting: f64, now_ms: u64) -> f64 {
        match self.arrivals.when {
            When::Greedy { .. } if !self.arrivals.is_open_at(now_ms) => 0.0,
            // All slots are free at first, and come back at the pace of the answers.
            When::Greedy { outstanding } => {
                let most = (outstanding as f64 * self.units).max(self.pace);
                let is_first =
                    !now_ms.checked_sub(1000).is_some_and(|before| self.arrivals.is_open_at(before));
                if is_first { most } else { most.min(waiting + self.pace) }
            }
            When::Paced { size, period, phase } => {
                let first = self.arrivals.from.ms() + phase.ms();
                let until = |ms: u64| ms.saturating_sub(first).div_ceil(period.ms());
                let end = self.arrivals.to.map_or(u64::MAX, |to| to.ms());
                let count = until((now_ms + 1000).min(end)).saturating_sub(until(now_ms.min(end)));
                waiting + count as f64 * size as f64 * self.units
            }
        }
    }
}

/// Whole seconds as a place in a list.
pub(super) fn index(seconds: u64) -> usize {
    usize::try_from(seconds).unwrap_or(usize::MAX)
}
