//! The fleet over a whole hour of GitHub's, in virtual time: the same classes and weights, every limit as it is
//! published, and the code of the budget that `serve` uses.
//!
//! Readers here have some requests open at any time in place of a plan, so that they are hungry throughout.

use std::io::Write;

use comfy_table::presets::ASCII_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};

use super::plan::{Agent, Class, Measures, Plan, whole};
use super::table::{percent, seconds};
use crate::scenarios::{self, Policy, Told};

/// GitHub's hour, and the largest quota an installation has.
const HOUR_S: f64 = 3600.0;
const LIMIT: u64 = 15_000;
const READER_OPEN: usize = 4;
/// Times between two of an agent's, seconds; in an hour all together ask for twice what there is.
const HUMAN_EVERY_S: f64 = 60.0;
const BURST_EVERY_S: f64 = 600.0;
/// What pollers, bursts and writers ask for together, a second. Writers ask for a fifth more than GitHub takes.
const POLLS: f64 = 0.4;
const BURSTS: f64 = 1.0;
const WRITES: f64 = 0.167;
const REPLICAS: usize = 3;
/// What tollgate is held to.
const USED_MIN: f64 = 0.99;
const ERROR_MAX: f64 = 0.02;

/// Runs the hour with each policy, and prints a row for each; true if tollgate's holds.
pub(crate) fn run(agents: usize, seed: u64, mut out: impl Write) -> anyhow::Result<bool> {
    let measures = Measures { agents, limit: LIMIT, window_s: 3600, windows: 2, seed };
    // Only who there is: the requests come from the scenario.
    let fleet = Plan::new(Measures { limit: 600, window_s: 20, ..measures }).agents;
    let scenario = scenario(&fleet, measures.limit);
    let mut table = Table::new();
    table.load_style(ASCII_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "",
        "core used",
        "refused by GitHub",
        "share error\nagent / class",
        "a human waits, s\np50 / p99",
    ]);
    let mut holds = true;
    for (policy, name) in [
        (Policy::Naive, "clients alone"),
        (Policy::Static, "equal buckets"),
        (Policy::Shared, "one bucket for all"),
        (Policy::Tollgate, "tollgate ×3"),
    ] {
        let told = scenarios::tell(&scenario, policy, seed)?;
        let error = class_error(&fleet, &told);
        let humans = || told.agents.iter().zip(&fleet).filter(|(_, agent)| agent.class == Class::Human);
        let of_worst =
            |wait: fn(&scenarios::AgentTold) -> f64| humans().map(|(told, _)| wait(told)).fold(0.0, f64::max);
        table.add_row([
            name.to_owned(),
            percent(told.used),
            told.refused.to_string(),
            format!("{:.3} / {error:.3}", told.error_max),
            format!(
                "{} / {}",
                seconds(of_worst(|told| told.wait_p50_s)),
                seconds(of_worst(|told| told.wait_p99_s))
            ),
        ]);
        if policy == Policy::Tollgate {
            holds = told.refused == 0 && told.used >= USED_MIN && error <= ERROR_MAX;
        }
    }
    writeln!(out, "{} agents, an hour of 15,000 points in virtual time; seed {seed}\n{table}", fleet.len())?;
    Ok(holds)
}

/// The largest error of a class of readers.
fn class_error(fleet: &[Agent], told: &Told) -> f64 {
    let of = |class: Class| {
        let those = fleet.iter().zip(&told.agents).filter(|(agent, _)| agent.class == class);
        those.fold((0, 0), |(served, weight), (agent, told)| {
            (served + told.served, weight + agent.class.weight())
        })
    };
    let classes = Class::READERS.map(of);
    let (all, weights) = classes.iter().fold((0, 0), |sum, class| (sum.0 + class.0, sum.1 + class.1));
    let error = |(served, weight): &(u64, u64)| {
        (*served as f64 * weights as f64 / (all.max(1) as f64 * *weight as f64) - 1.0).abs()
    };
    classes.iter().map(error).fold(0.0, f64::max)
}

/// The fleet as a scenario.
fn scenario(fleet: &[Agent], limit: u64) -> Value {
    let alike = |class: Class| fleet.iter().filter(|agent| agent.class == class).count() as f64;
    let agents: Vec<Value> = fleet
        .iter()
        .enumerate()
        .map(|(place, agent)| {
            let every = |together: f64| alike(agent.class) / together;
            let periodic = |every_s: f64, kind: &str, route: &str| {
                json!({"kind": "periodic", "interval_s": every_s, "phase_s": every_s * phase(place),
                       "pattern": [kind], "route": route})
            };
            let mut arrivals = match agent.class {
                Class::Light | Class::Middle | Class::Heavy => {
                    json!({"kind": "greedy", "outstanding": READER_OPEN, "route": format!("read-{}", place % 4)})
                }
                // Another pool: in the hour it asks for what pollers do.
                Class::Poller | Class::Query => periodic(every(POLLS), "cond304", "polled"),
                Class::Writer => periodic(every(WRITES), "content", "comments"),
                Class::Human => periodic(HUMAN_EVERY_S, "get", "human"),
                Class::Burst => {
                    let size = (BURSTS * BURST_EVERY_S / alike(Class::Burst)).round().max(1.0);
                    json!({"kind": "burst", "size": whole(size), "period_s": BURST_EVERY_S,
                           "phase_s": BURST_EVERY_S / 2.0, "route": "burst"})
                }
            };
            if agent.class == Class::Human {
                arrivals["interactive"] = true.into();
            }
            if agent.class == Class::Writer {
                arrivals["repo"] = format!("acme/{place}").into();
            }
            json!({"id": agent.name, "weight": agent.class.weight(), "arrivals": [arrivals]})
        })
        .collect();
    json!({
        "id": "fleet", "resource": "core", "duration_s": HOUR_S, "replicas": REPLICAS,
        "primary": {"limit": limit, "first_reset_s": HOUR_S, "used_at_start": 0, "window_s": HOUR_S},
        "secondary": {"rest_points_per_min": 900, "graphql_points_per_min": 2000, "concurrent": 100,
                      "content_per_min": 80, "content_per_hour": 500, "violation_block_s": 60},
        "agents": agents
    })
}

/// Not all at the same time.
fn phase(place: usize) -> f64 {
    (place as f64 * 0.618).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_used_up_and_shared() {
        let mut out = Vec::new();
        assert!(run(20, 1, &mut out).unwrap(), "{}", String::from_utf8_lossy(&out));
    }
}
