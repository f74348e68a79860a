//! What a run comes to: its notes and books held against the fluid ideals.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fluid::{Absolute, relative};
use super::format::Scenario;
use super::journal::Notes;
use super::model::{Model, index};
use super::span::{Span, seconds};
use super::world::Run;

/// The windows in which shares are compared.
const WINDOW_S: usize = 60;
const STRIDE_S: usize = 10;
/// Fewer ideal units than this in a window say nothing of a share.
const WINDOW_UNITS_MIN: f64 = 8.0;
/// Nor does less than this over the whole run.
const RUN_UNITS_MIN: f64 = 1.0;

/// The figures of one run; errors are relative to the ideal.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) utilisation: Option<f64>,
    pub(super) upstream_refusals: u64,
    upstream_refusals_primary: u64,
    pub(super) window_error_60s_p95: Option<f64>,
    pub(super) whole_error: f64,
    pub(super) jain: f64,
    /// Of the agent whose wait is expected something of, else of all.
    pub(super) wait_p50_s: f64,
    pub(super) wait_p99_s: f64,
    pub(super) refusals_per_served: f64,
    /// Points left over at a reset, at the worst.
    pub(super) left_at_reset: Option<u64>,
    pub(super) store_calls_per_request: Option<f64>,
    pub(super) in_flight_max: u64,
    pub(super) content_per_minute_max: u64,
    pub(super) content_per_hour_max: u64,
    pub(super) leaked_leases: Option<usize>,
    /// Part of its ideal the waking agent got at once.
    pub(super) wake: Option<f64>,
    pub(super) sent: u64,
    pub(super) agents: Vec<AgentFigures>,
}

/// The figures of one agent.
#[derive(Debug, Serialize)]
pub(super) struct AgentFigures {
    pub(super) id: String,
    weight: u32,
    pub(super) served: u64,
    pub(super) fair_units: f64,
    /// Had the run's own capacity been shared ideally.
    pub(super) ideal_units: f64,
    /// Of what was open to us at all.
    fluid_units: f64,
    pub(super) refusals: BTreeMap<String, u64>,
    limited: u64,
    given_up: u64,
    failed: u64,
    pub(super) wait_p50_s: f64,
    pub(super) wait_p99_s: f64,
    pub(super) gap_max_s: f64,
}

impl Figures {
    pub(super) fn new(scenario: &Scenario, run: &Run) -> Figures {
        let model = Model::new(scenario);
        let absolute = Absolute::new(scenario, &model);
        let notes = &run.journal.agents;
        let ideal = relative(&model, &absolute, &by_flow(&model, notes));
        let served = by_agent(&model, notes);
        let agents: Vec<AgentFigures> = scenario
            .agents
            .iter()
            .enumerate()
            .map(|(agent, config)| {
                let waits = sorted(notes[agent].waits_ms.iter().copied());
                AgentFigures {
                    id: config.id.clone(),
                    weight: config.weight,
                    served: notes[agent].served.len() as u64,
                    fair_units: notes[agent].units(),
                    ideal_units: ideal[agent].iter().sum(),
                    fluid_units: absolute.units[agent],
                    refusals: notes[agent].refusals.clone(),
                    limited: notes[agent].limited,
                    given_up: notes[agent].given_up,
                    failed: notes[agent].failed,
                    wait_p50_s: seconds(rank(&waits, 50).unwrap_or(0)),
                    wait_p99_s: seconds(rank(&waits, 99).unwrap_or(0)),
                    gap_max_s: seconds(gap_max_ms(scenario, agent, &notes[agent])),
                }
            })
            .collect();
        let useful: u64 = notes.iter().flat_map(|notes| &notes.served).map(|served| served.points).sum();
        let waits = match scenario.expect.wait.as_ref().and_then(|wait| scenario.agent(&wait.agent)) {
            Some(agent) => sorted(notes[agent].waits_ms.iter().copied()),
            None => sorted(notes.iter().flat_map(|notes| notes.waits_ms.iter().copied())),
        };
        let books = &run.books;
        Figures {
            utilisation: (absolute.points > 0.0).then(|| useful as f64 / absolute.points),
            upstream_refusals: books.refusals_primary + books.refusals_secondary,
            upstream_refusals_primary: books.refusals_primary,
            window_error_60s_p95: window_error(&served, &ideal),
            whole_error: ratios(&agents).map(|ratio| (ratio - 1.0).abs()).fold(0.0, f64::max),
            jain: jain(&ratios(&agents).collect::<Vec<_>>()),
            wait_p50_s: seconds(rank(&waits, 50).unwrap_or(0)),
            wait_p99_s: seconds(rank(&waits, 99).unwrap_or(0)),
            refusals_per_served: refusals_per_served(notes, &agents),
            left_at_reset: books.left.iter().copied().max(),
            store_calls_per_request: run
                .store_calls
                .map(|calls| calls as f64 / (run.journal.sent.max(1)) as f64),
            in_flight_max: books.in_flight_max,
            content_per_minute_max: books.content_per_minute_max,
            content_per_hour_max: books.content_per_hour_max,
            leaked_leases: run.journal.leaked,
            wake: wake(scenario, &served, &ideal),
            sent: run.journal.sent,
            agents,
        }
    }
}

/// Units of each flow in each second.
fn by_flow(model: &Model, notes: &[Notes]) -> Vec<Vec<f64>> {
    let mut units = vec![vec![0.0; model.steps]; model.flows.len()];
    for served in notes.iter().flat_map(|notes| &notes.served) {
        units[served.flow][index(served.at_ms / 1000).min(model.steps - 1)] += served.units;
    }
    units
}

/// Units of each agent in each second.
fn by_agent(model: &Model, notes: &[Notes]) -> Vec<Vec<f64>> {
    let mut units = vec![vec![0.0; model.steps]; notes.len()];
    for (units, notes) in units.iter_mut().zip(notes) {
        for served in &notes.served {
            units[index(served.at_ms / 1000).min(model.steps - 1)] += served.units;
        }
    }
    units
}

/// The 95th percentile, over all windows, of the largest deviation in a window.
fn window_error(served: &[Vec<f64>], ideal: &[Vec<f64>]) -> Option<f64> {
    let steps = served.first()?.len();
    let starts = (0..).map(|count| count * STRIDE_S).take_while(|start| start + WINDOW_S <= steps);
    let mut errors: Vec<f64> = starts
        .filter_map(|start| {
            let sum = |units: &[f64]| units[start..start + WINDOW_S].iter().sum::<f64>();
            served
                .iter()
                .zip(ideal)
                .map(|(served, ideal)| (sum(served), sum(ideal)))
                .filter(|(_, ideal)| *ideal >= WINDOW_UNITS_MIN)
                .map(|(served, ideal)| (served / ideal - 1.0).abs())
                .max_by(f64::total_cmp)
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    rank(&errors, 95)
}

/// Served over ideal, of who should have been served at all.
fn ratios(agents: &[AgentFigures]) -> impl Iterator<Item = f64> {
    agents
        .iter()
        .filter(|agent| agent.ideal_units >= RUN_UNITS_MIN)
        .map(|agent| agent.fair_units / agent.ideal_units)
}

/// Jain's index: 1 when all are treated alike, 1/n when one gets everything.
fn jain(ratios: &[f64]) -> f64 {
    let sum: f64 = ratios.iter().sum();
    let squares: f64 = ratios.iter().map(|ratio| ratio * ratio).sum();
    if squares > 0.0 { sum * sum / (ratios.len() as f64 * squares) } else { 0.0 }
}

/// Of the worst agent; one that may send nothing is refused rightly.
fn refusals_per_served(notes: &[Notes], agents: &[AgentFigures]) -> f64 {
    notes
        .iter()
        .zip(agents)
        .filter(|(notes, agent)| !notes.served.is_empty() || agent.ideal_units >= RUN_UNITS_MIN)
        .map(|(notes, _)| notes.refusals() as f64 / notes.served.len().max(1) as f64)
        .fold(0.0, f64::max)
}

fn wake(scenario: &Scenario, served: &[Vec<f64>], ideal: &[Vec<f64>]) -> Option<f64> {
    let wake = scenario.expect.wake.as_ref()?;
    let agent = scenario.agent(&wake.agent)?;
    let start = index(wake.at_s.ms() / 1000);
    let end = start + index(wake.share_of_pool_within_s.ms().div_ceil(1000));
    let sum = |units: &[f64]| units.get(start..end.min(units.len())).map(|units| units.iter().sum::<f64>());
    Some(sum(&served[agent])? / sum(&ideal[agent])?.max(f64::MIN_POSITIVE))
}

/// The longest time without a served request, from when the agent first may send to when it last may.
fn gap_max_ms(scenario: &Scenario, agent: usize, notes: &Notes) -> u64 {
    let arrivals = &scenario.agents[agent].arrivals;
    let end = |to: Option<Span>| to.unwrap_or(scenario.duration).min(scenario.duration).ms();
    let first = arrivals.iter().map(|arrivals| arrivals.from.ms()).min().unwrap_or(0);
    let last = arrivals.iter().map(|arrivals| end(arrivals.to)).max().unwrap_or(0);
    let mut times = sorted(notes.served.iter().map(|served| served.at_ms));
    times.insert(0, first);
    times.push(last);
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0)
}

fn sorted(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values
}

/// The smallest value that so many of a hundred do not exceed.
fn rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((rank(&values, 50), rank(&values, 99), rank(&[7], 1)), (Some(100), Some(198), Some(7)));
        assert_eq!(rank::<u64>(&[], 50), None);
    }

    #[test]
    fn jain_falls_when_one_gets_more() {
        assert!((jain(&[1.0, 1.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((jain(&[1.0, 0.0]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn windows_look_at_the_worst_agent_with_enough_to_judge() {
        let ideal = vec![vec![1.0; 120], vec![0.1; 120]];
        let mut served = ideal.clone();
        served[1] = vec![0.0; 120];
        assert!(window_error(&served, &ideal).unwrap() < 1e-9);
        // From 0 to 60 in the first window to nothing in the last ones.
        served[0][60..].fill(0.0);
        assert!((window_error(&served, &ideal).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(window_error(&[vec![1.0; 59]], &[vec![1.0; 59]]), None);
    }
}
