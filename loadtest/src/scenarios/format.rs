//! The scenario format: what a file may say, read into what the runner uses.
//!
//! A key that nobody knows is an error, so that a misspelt limit does not pass in silence. Times are
//! seconds in the file and [`Span`]s here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::arrivals::Arrivals;
pub(super) use super::expectations::Expect;
use super::span::{Shift, Span};

/// The version of the format.
const VERSION: u64 = 2;

/// The whole file; `schema` is a description for people.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    schema: Value,
    scenarios: Vec<Value>,
}

/// One run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) id: String,
    #[serde(default)]
    pub(super) about: String,
    pub(super) resource: String,
    #[serde(rename = "duration_s")]
    pub(super) duration: Span,
    pub(super) replicas: usize,
    pub(super) primary: Primary,
    pub(super) secondary: Secondary,
    #[serde(default)]
    pub(super) external: Option<External>,
    #[serde(default)]
    pub(super) events: Vec<Event>,
    /// In place of what reads and writes take.
    #[serde(default)]
    pub(super) upstream_latency_ms: Option<u64>,
    pub(super) agents: Vec<Agent>,
    #[serde(default)]
    pub(super) expect: Expect,
}

/// The primary limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Primary {
    pub(super) limit: u64,
    #[serde(rename = "first_reset_s")]
    pub(super) first_reset: Span,
    pub(super) used_at_start: u64,
    #[serde(rename = "window_s")]
    pub(super) window: Span,
}

/// The secondary limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secondary {
    pub(super) rest_points_per_min: u64,
    /// Not published: enforced over all REST calls together in place of the published one.
    #[serde(default)]
    pub(super) rest_points_per_min_actual: Option<u64>,
    pub(super) graphql_points_per_min: u64,
    pub(super) concurrent: u64,
    pub(super) content_per_min: u64,
    pub(super) content_per_hour: u64,
    #[serde(rename = "violation_block_s")]
    pub(super) violation_block: Span,
}

/// Somebody who uses the primary limit outside the proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct External {
    pub(super) points_per_s: f64,
    #[serde(default, rename = "from_s")]
    pub(super) from: Option<Span>,
    #[serde(default, rename = "to_s")]
    pub(super) to: Option<Span>,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Event {
    /// For good.
    ReplicaDies {
        #[serde(rename = "at_s")]
        at: Span,
        replica: usize,
    },
    /// Every key is gone at once; replicas keep what they know.
    StoreComesBackEmpty {
        #[serde(rename = "at_s")]
        at: Span,
    },
    /// Every call of that replica fails.
    ReplicaCannotReachStore {
        #[serde(rename = "at_s")]
        at: Span,
        #[serde(rename = "to_s")]
        to: Span,
        replica: usize,
    },
    StoreClockJumps {
        #[serde(rename = "at_s")]
        at: Span,
        #[serde(rename = "by_s")]
        by: Shift,
    },
    /// GitHub counts what is sent in this time, and the answers never arrive.
    AnswersLost {
        #[serde(rename = "at_s")]
        at: Span,
        #[serde(rename = "to_s")]
        to: Span,
    },
}

/// Who sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) id: String,
    pub(super) weight: u32,
    /// Points an hour of `core`.
    #[serde(default)]
    pub(super) guarantee_per_hour: Option<u32>,
    /// Points an hour of `core`; 0 closes the agent.
    #[serde(default)]
    pub(super) ceiling_per_hour: Option<u32>,
    pub(super) arrivals: Vec<Arrivals>,
}

impl Scenario {
    pub(super) fn is_graphql(&self) -> bool {
        self.resource == "graphql"
    }

    pub(super) fn agent(&self, id: &str) -> Option<usize> {
        self.agents.iter().position(|agent| agent.id == id)
    }

    /// When a replica dies, if one does.
    pub(super) fn deaths(&self) -> impl Iterator<Item = (u64, usize)> {
        self.events.iter().filter_map(|event| match event {
            Event::ReplicaDies { at, replica } => Some((at.ms(), *replica)),
            Event::StoreComesBackEmpty { .. }
            | Event::ReplicaCannotReachStore { .. }
            | Event::StoreClockJumps { .. }
            | Event::AnswersLost { .. } => None,
        })
    }

    /// What the types alone do not say.
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.agents.is_empty(), "there are no agents");
        ensure!(self.duration.ms() > 0, "duration_s is 0");
        ensure!(self.primary.window.ms() > 0, "window_s is 0");
        ensure!(self.primary.limit > 0, "the limit is 0");
        if let Some(external) = &self.external {
            ensure!(
                external.points_per_s > 0.0 && external.points_per_s <= 1000.0,
                "external: points_per_s is {}, which is not above 0 and at most 1000",
                external.points_per_s
            );
        }
        for (index, agent) in self.agents.iter().enumerate() {
            let id = &agent.id;
            ensure!(self.agent(id) == Some(index), "agent {id} is there twice");
            ensure!((1..=1000).contains(&agent.weight), "agent {id}: the weight is not 1 to 1000");
            ensure!(
                agent.arrivals.iter().all(|arrivals| arrivals.is_graphql() == self.is_graphql()),
                "agent {id}: gql:N goes with the resource graphql, and only with it"
            );
        }
        self.check_events()?;
        for id in self.expect.agents() {
            ensure!(self.agent(id).is_some(), "expect: there is no agent {id}");
        }
        ensure!(
            self.expect.leaked_leases_after_s.is_none() || self.deaths().next().is_some(),
            "expect: leaked_leases_after_s, but no replica dies"
        );
        Ok(())
    }

    fn check_events(&self) -> anyhow::Result<()> {
        for event in &self.events {
            match event {
                Event::ReplicaDies { replica, .. } | Event::ReplicaCannotReachStore { replica, .. } => {
                    ensure!(*replica < self.replicas, "events: there is no replica {replica}");
                }
                Event::StoreComesBackEmpty { .. }
                | Event::StoreClockJumps { .. }
                | Event::AnswersLost { .. } => {}
            }
        }
        let is_alive = |replica: usize| self.deaths().all(|(_, dead)| dead != replica);
        ensure!((0..self.replicas).any(is_alive), "no replica is left at the end");
        Ok(())
    }
}

/// Reads a file.
///
/// # Errors
/// Names the file, and the scenario if it is one scenario's fault.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<Scenario>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// One scenario.
pub(super) fn read(value: Value) -> anyhow::Result<Scenario> {
    let scenario: Scenario = serde_json::from_value(value)?;
    scenario.check()?;
    Ok(scenario)
}

fn parse(text: &str) -> anyhow::Result<Vec<Scenario>> {
    let file: File = serde_json::from_str(text).context("not a file of scenarios")?;
    if let Some(version) = file.schema.get("version") {
        ensure!(
            version == &Value::from(VERSION),
            "the version of the format is {version}, this reads {VERSION}"
        );
    }
    let mut seen = BTreeMap::new();
    let mut scenarios = Vec::new();
    for (index, value) in file.scenarios.into_iter().enumerate() {
        let name = value
            .get("id")
            .and_then(Value::as_str)
            .map_or_else(|| format!("the scenario at place {index}"), |id| format!("scenario {id}"));
        let scenario = read(value).with_context(|| name.clone())?;
        if seen.insert(scenario.id.clone(), index).is_some() {
            bail!("{name} is there twice");
        }
        scenarios.push(scenario);
    }
    ensure!(!scenarios.is_empty(), "there are no scenarios");
    Ok(scenarios)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small scenario with these keys replaced.
    pub(in super::super) fn scenario(changes: &Value) -> anyhow::Result<Scenario> {
        let mut value = serde_json::json!({
            "id": "small", "about": "", "resource": "core", "duration_s": 60.0, "replicas": 2,
            "primary": {"limit": 600, "first_reset_s": 3600.0, "used_at_start": 0, "window_s": 3600.0},
            "secondary": {
                "rest_points_per_min": 900, "graphql_points_per_min": 2000, "concurrent": 100,
                "content_per_min": 80, "content_per_hour": 500, "violation_block_s": 60
            },
            "external": null, "events": [],
            "agents": [{"id": "a", "weight": 1, "arrivals": [{"kind": "greedy", "outstanding": 2}]}],
            "expect": {}
        });
        for (key, change) in changes.as_object().unwrap() {
            value[key] = change.clone();
        }
        Ok(parse(&serde_json::json!({ "scenarios": [value] }).to_string())?.remove(0))
    }

    fn error(changes: &Value) -> String {
        format!("{:#}", scenario(changes).unwrap_err())
    }

    #[test]
    fn reads_every_key_of_the_format() {
        let read = scenario(&serde_json::json!({
            "external": {"points_per_s": 1.5, "from_s": 1.0, "to_s": 2.0},
            "upstream_latency_ms": 20_000,
            "events": [
                {"at_s": 1, "kind": "replica_dies", "replica": 1},
                {"at_s": 2, "kind": "store_comes_back_empty"},
                {"at_s": 3, "to_s": 4, "kind": "replica_cannot_reach_store", "replica": 0},
                {"at_s": 5, "kind": "store_clock_jumps", "by_s": -600.5},
                {"at_s": 6, "to_s": 7, "kind": "answers_lost"}
            ],
            "agents": [{"id": "a", "weight": 3, "guarantee_per_hour": 10, "ceiling_per_hour": 0, "arrivals": [
                {"kind": "periodic", "interval_s": 7.0, "phase_s": 1.799_999_999_999_999_8, "route": "x"},
                {"kind": "burst", "size": 4, "period_s": 240, "phase_s": 100.0, "interactive": true,
                 "returns": {"back_off_s": 0.5}},
                {"kind": "greedy", "outstanding": 2, "from_s": 1, "to_s": 2, "pattern": ["get", "cond304"],
                 "charged_elsewhere_every": 20, "price_known": true, "repo": "r", "patience_s": 4.0}
            ]}],
        }))
        .unwrap();
        assert_eq!(read.deaths().collect::<Vec<_>>(), [(1000, 1)]);
        assert_eq!(read.agents[0].arrivals.len(), 3);
        let unpublished = serde_json::json!({
            "rest_points_per_min": 900, "rest_points_per_min_actual": 180, "graphql_points_per_min": 2000,
            "concurrent": 100, "content_per_min": 80, "content_per_hour": 500, "violation_block_s": 60
        });
        let read = scenario(&serde_json::json!({ "secondary": unpublished })).unwrap();
        assert_eq!(read.secondary.rest_points_per_min_actual, Some(180));
    }

    #[test]
    fn errors_name_the_scenario_and_what_is_wrong() {
        let agent = |arrivals: Value| serde_json::json!({"agents": [{"id": "a", "weight": 1, "arrivals": [arrivals]}]});
        for (changes, word) in [
            (serde_json::json!({"events": [{"at_s": 1, "kind": "flood"}]}), "unknown variant `flood`"),
            (serde_json::json!({"events": [{"at_s": 1, "kind": "replica_dies", "replica": 7}]}), "replica 7"),
            (serde_json::json!({"duration_s": -1.0}), "-1"),
            (serde_json::json!({"colour": 1}), "unknown field `colour`"),
            (serde_json::json!({"expect": {"served_min": {"b": 1}}}), "no agent b"),
            (agent(serde_json::json!({"kind": "storm"})), "unknown variant `storm`"),
            (agent(serde_json::json!({"kind": "greedy"})), "outstanding"),
            (agent(serde_json::json!({"kind": "greedy", "outstanding": 1, "returns": "never"})), "never"),
            (agent(serde_json::json!({"kind": "greedy", "outstanding": 1, "size": 3})), "size"),
            (agent(serde_json::json!({"kind": "greedy", "outstanding": 1, "pattern": ["put"]})), "put"),
            (agent(serde_json::json!({"kind": "greedy", "outstanding": 1, "pattern": ["gql:3"]})), "graphql"),
        ] {
            let error = error(&changes);
            assert!(error.contains("scenario small") && error.contains(word), "{word}: {error}");
        }
        assert!(load(Path::new("/nowhere/x.json")).unwrap_err().to_string().contains("/nowhere/x.json"));
        assert!(parse("[").is_err() && parse(r#"{"scenarios": []}"#).is_err());
    }
}
