//! The plan: who asks what, and when. It depends on its measures and the seed alone, so that every
//! contestant meets the same.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Parts of the agents that belong to each class; humans are the rest, and at least three.
const PARTS: [(Class, f64); 7] = [
    (Class::Light, 0.2),
    (Class::Middle, 0.2),
    (Class::Heavy, 0.2),
    (Class::Poller, 0.15),
    (Class::Burst, 0.1),
    (Class::Query, 0.08),
    (Class::Writer, 0.04),
];
/// What each class of readers asks for, as a part of the quota's pace. The heaviest one's fair part is
/// some 0.4 of it, so all three want more than they can get.
const READERS_PACE: f64 = 0.6;
const POLLERS_PACE: f64 = 0.1;
const BURSTS_PACE: f64 = 0.25;
/// Of the pace of the GraphQL pool.
const QUERIES_PACE: f64 = 2.0;
/// Comments a second: a fifth over the 80 a minute that GitHub takes.
const WRITES_A_SECOND: f64 = 1.6;
/// Between two requests of a human, seconds.
const HUMAN_PAUSE_S: f64 = 4.0;
/// All that burst do so at the same time, as jobs by the clock do, give or take.
const BURST_EVERY_MS: u64 = 10_000;
const BURST_SPREAD_MS: u64 = 300;
/// Every so manyth read is of something that all read.
const POPULAR_EVERY: u64 = 7;
const POLLED: u64 = 8;
/// Points of the dear query, and how many of the queries are such.
const DEAR_POINTS: u64 = 5;
const DEAR_EVERY: u64 = 2;
/// Humans are done a while before the end, so that what they wait for can still come.
const HUMANS_LAST_MS: u64 = 10_000;
/// Issues of `acme/widgets` in the stand-in.
const ISSUES: u64 = 75;

/// What an agent is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    Light,
    Middle,
    Heavy,
    Poller,
    Writer,
    Query,
    Burst,
    Human,
}

impl Class {
    /// Those that read without end, lightest first.
    pub(crate) const READERS: [Class; 3] = [Class::Light, Class::Middle, Class::Heavy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Light => "light",
            Class::Middle => "middle",
            Class::Heavy => "heavy",
            Class::Poller => "poller",
            Class::Writer => "writer",
            Class::Query => "query",
            Class::Burst => "burst",
            Class::Human => "human",
        }
    }

    pub(crate) fn weight(self) -> u64 {
        match self {
            Class::Light | Class::Poller | Class::Writer | Class::Query | Class::Human => 1,
            Class::Middle | Class::Burst => 2,
            Class::Heavy => 4,
        }
    }

    /// Whether it wants more than its part at any time.
    pub(crate) fn is_hungry(self) -> bool {
        Class::READERS.contains(&self)
    }
}

/// One of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) class: Class,
}

/// One request, due whether or not an earlier one was answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Request {
    pub(crate) id: usize,
    pub(crate) agent: usize,
    /// Since the start.
    pub(crate) due_ms: u64,
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: Option<serde_json::Value>,
    /// Asked again and again, with the tag of the last answer.
    pub(crate) is_conditional: bool,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measures {
    pub(crate) agents: usize,
    /// Points of `core` in a window; `graphql` has a sixth of it.
    pub(crate) limit: u64,
    pub(crate) window_s: u64,
    pub(crate) windows: u64,
    pub(crate) seed: u64,
}

/// Points in any minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByTheMinute {
    pub(crate) endpoint: u64,
    pub(crate) graphql: u64,
}

impl Measures {
    pub(crate) fn graphql_limit(&self) -> u64 {
        self.limit / 6
    }

    /// What GitHub takes by the minute: 900 points an endpoint and 2,000 of GraphQL, which in an hour is some
    /// times the quota. A window that is an hour in a minute has to have that, too.
    pub(crate) fn by_the_minute(&self) -> ByTheMinute {
        let twice = |limit: u64| 120 * limit / self.window_s.max(1);
        let (endpoint, graphql) = (twice(self.limit), twice(self.graphql_limit()));
        ByTheMinute { endpoint: endpoint.max(10_000), graphql: graphql.max(2_000) }
    }

    /// A window may open a little late, twice or thrice.
    pub(crate) fn duration_ms(&self) -> u64 {
        (self.windows * (self.window_s + 2) + 2) * 1000
    }

    /// Points a second.
    pub(crate) fn pace(&self) -> f64 {
        self.limit as f64 / self.window_s as f64
    }
}

/// The whole of it; requests are in order of their time, and `id` is their place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) measures: Measures,
    pub(crate) agents: Vec<Agent>,
    pub(crate) requests: Vec<Request>,
}

impl Plan {
    pub(crate) fn new(measures: Measures) -> Plan {
        let agents = hired(measures.agents);
        let mut requests = Vec::new();
        for (place, agent) in agents.iter().enumerate() {
            let alike = agents.iter().filter(|other| other.class == agent.class).count();
            let dice = StdRng::seed_from_u64(measures.seed.wrapping_mul(1_000_003) + place as u64);
            Writer { measures, place, class: agent.class, alike, dice, requests: &mut requests }.write();
        }
        requests.sort_by_key(|request: &Request| (request.due_ms, request.agent));
        for (id, request) in requests.iter_mut().enumerate() {
            request.id = id;
            // What is new was never asked before, by anybody.
            request.target = request.target.replace("{id}", &id.to_string());
        }
        Plan { measures, agents, requests }
    }

    pub(crate) fn class(&self, request: &Request) -> Class {
        self.agents[request.agent].class
    }

    /// What the issues are that pollers look at.
    pub(crate) fn polled() -> impl Iterator<Item = u64> {
        1..=POLLED
    }

    /// Points of a query, on average.
    pub(crate) fn points_of_a_query() -> f64 {
        (DEAR_POINTS as f64 + (DEAR_EVERY - 1) as f64) / DEAR_EVERY as f64
    }
}

/// Rounded down.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and milliseconds of a run: small, and never below 0"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

fn hired(count: usize) -> Vec<Agent> {
    let of = |part: f64| usize::try_from(whole(count as f64 * part)).unwrap_or(count).max(1);
    let others: usize = PARTS.iter().map(|(_, part)| of(*part)).sum();
    let humans = (Class::Human, count.saturating_sub(others).max(3));
    let counts = PARTS.iter().map(|(class, part)| (*class, of(*part))).chain([humans]);
    let agent = |class: Class, number: usize| Agent { name: format!("{}-{number}", class.name()), class };
    counts.flat_map(|(class, count)| (0..count).map(move |number| agent(class, number))).collect()
}

/// Writes the part of one agent.
struct Writer<'a> {
    measures: Measures,
    place: usize,
    class: Class,
    /// How many there are of its class.
    alike: usize,
    dice: StdRng,
    requests: &'a mut Vec<Request>,
}

impl Writer<'_> {
    fn write(&mut self) {
        let pace = self.measures.pace();
        let each = |together: f64| self.alike as f64 / together;
        match self.class {
            Class::Light | Class::Middle | Class::Heavy => self.at_random(each(READERS_PACE * pace), 0),
            Class::Poller => self.at_random(each(POLLERS_PACE * pace), 0),
            Class::Writer => self.at_random(each(WRITES_A_SECOND), 0),
            Class::Query => {
                let pool = self.measures.graphql_limit() as f64 / self.measures.window_s as f64;
                self.at_random(each(QUERIES_PACE * pool / Plan::points_of_a_query()), 0);
            }
            Class::Human => self.at_random(HUMAN_PAUSE_S, HUMANS_LAST_MS),
            Class::Burst => {
                let size = BURSTS_PACE * pace * (BURST_EVERY_MS / 1000) as f64 / self.alike as f64;
                let beats = self.measures.duration_ms() / BURST_EVERY_MS;
                for beat in 0..beats {
                    for _ in 0..whole(size.round()).max(1) {
                        let late = self.dice.random_range(0..=BURST_SPREAD_MS);
                        self.add(beat * BURST_EVERY_MS + BURST_EVERY_MS / 2 + late);
                    }
                }
            }
        }
    }

    /// As people and events come: pauses are exponential, `pause_s` on average.
    fn at_random(&mut self, pause_s: f64, last_ms: u64) {
        let end_ms = (self.measures.duration_ms() - last_ms) as f64;
        let mut at_ms = 0.0;
        loop {
            let chance: f64 = self.dice.random_range(f64::EPSILON..1.0);
            at_ms -= chance.ln() * pause_s * 1000.0;
            if at_ms >= end_ms {
                return;
            }
            self.add(whole(at_ms));
        }
    }

    fn add(&mut self, due_ms: u64) {
        let (method, target, body) = match self.class {
            Class::Light | Class::Middle | Class::Heavy if self.dice.random_range(0..POPULAR_EVERY) == 0 => {
                ("GET", self.popular(), None)
            }
            Class::Light | Class::Middle | Class::Heavy | Class::Burst | Class::Human => {
                ("GET", self.new_read(), None)
            }
            Class::Poller => {
                ("GET", format!("/repos/acme/widgets/issues/{}", 1 + self.place as u64 % POLLED), None)
            }
            Class::Writer => {
                let target = format!("/repos/acme/widgets/issues/{}/comments", self.issue());
                ("POST", target, Some(json!({ "body": format!("{} was here", self.place) })))
            }
            Class::Query => ("POST", "/graphql".to_owned(), Some(self.query())),
        };
        let is_conditional = self.class == Class::Poller;
        self.requests.push(Request {
            id: 0,
            agent: self.place,
            due_ms,
            method,
            target,
            body,
            is_conditional,
        });
    }

    fn issue(&mut self) -> u64 {
        self.dice.random_range(POLLED + 1..=ISSUES)
    }

    fn popular(&mut self) -> String {
        const PATHS: [&str; 4] = ["", "/contents/README.md", "/pulls/76", "/issues?per_page=5"];
        format!("/repos/acme/widgets{}", PATHS[self.dice.random_range(0..PATHS.len())])
    }

    fn new_read(&mut self) -> String {
        let path = match self.dice.random_range(0..4) {
            0 => format!("issues/{}", self.issue()),
            1 => format!("issues/{}/comments", self.issue()),
            2 => "contents/src/lib.rs".to_owned(),
            _ => "pulls/77".to_owned(),
        };
        format!("/repos/acme/widgets/{path}?nr={{id}}")
    }

    fn query(&mut self) -> serde_json::Value {
        let repository = |inner: &str| {
            format!(
                "query($n: Int!) {{ repository(owner: \"acme\", name: \"widgets\") {{ issue(number: $n) {{ title }} {inner} }} }}"
            )
        };
        let is_dear = self.dice.random_range(0..DEAR_EVERY) == 0;
        // One call for the issues, twenty for their comments, five hundred for the reactions: 521 / 100.
        let dear = "issues(first: 20) { nodes { comments(first: 25) { nodes { reactions(first: 1) { totalCount } } } } }";
        let text = repository(if is_dear { dear } else { "" });
        json!({ "query": text, "variables": { "n": self.issue() } })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn measures() -> Measures {
        Measures { agents: 40, limit: 600, window_s: 20, windows: 3, seed: 7 }
    }

    #[test]
    fn a_plan_depends_on_its_measures_and_seed_alone() {
        let plan = Plan::new(measures());
        assert_eq!(plan, Plan::new(measures()));
        assert_ne!(plan.requests, Plan::new(Measures { seed: 8, ..measures() }).requests);
        assert!(plan.requests.is_sorted_by_key(|request| request.due_ms));
        assert!(plan.requests.iter().enumerate().all(|(place, request)| request.id == place));
    }

    #[test]
    fn more_is_wanted_than_there_is() {
        for agents in [40, 400] {
            let plan = Plan::new(Measures { agents, ..measures() });
            let windows = plan.measures.duration_ms() as f64 / 1000.0 / plan.measures.window_s as f64;
            let count = |of: &dyn Fn(&Request) -> bool| {
                plan.requests.iter().filter(|request| of(request)).count() as f64
            };
            let reads = count(&|request| request.target.contains("?nr=")) / windows;
            assert!((1.5..2.5).contains(&(reads / 600.0)), "{agents}: {reads} reads a window");
            let queries = count(&|request| request.target == "/graphql") / windows;
            let points = queries * Plan::points_of_a_query();
            assert!((1.5..2.6).contains(&(points / 100.0)), "{agents}: {points} points a window");
        }
    }

    #[test]
    fn nobody_has_asked_before_what_is_new() {
        let plan = Plan::new(measures());
        let new: Vec<&str> = plan
            .requests
            .iter()
            .filter_map(|request| request.target.split_once("?nr=").map(|(_, number)| number))
            .collect();
        let distinct: std::collections::BTreeSet<&str> = new.iter().copied().collect();
        assert_eq!(distinct.len(), new.len());
    }

    #[test]
    fn every_class_is_there_in_the_smallest_fleet() {
        let agents = hired(20);
        for (class, _) in PARTS {
            assert!(agents.iter().any(|agent| agent.class == class), "{class:?}");
        }
        assert!(agents.iter().filter(|agent| agent.class == Class::Human).count() >= 3);
    }
}
