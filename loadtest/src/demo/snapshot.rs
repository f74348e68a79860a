//! What is shown at one moment, from its three sources: the agents' own counts, the stand-in's
//! books, and tollgate's metrics, read over its admin listener.

use std::collections::BTreeMap;
use std::time::Duration;

use github_sim::Books;
use tokio::time::Instant;

use super::exposition;
use super::fleet::Fleet;
use super::fleet::client::{Call, Client};
use super::shares::Shares;
use super::world::{BY_HAND, INSTALLATION, World};

/// One moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) elapsed: Duration,
    pub(crate) agents: Vec<AgentRow>,
    pub(crate) github: GithubSide,
    /// Requests that were made with the printed key.
    pub(crate) by_hand: u64,
    pub(crate) incidents: Vec<IncidentRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AgentRow {
    pub(crate) name: String,
    pub(crate) weight: u32,
    pub(crate) doing: String,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) failed: u64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Percent, of those that share: what its weight says, and what it had lately.
    pub(crate) fair: Option<f64>,
    pub(crate) share: Option<f64>,
    pub(crate) is_asleep: bool,
    /// Requests that tollgate holds now.
    pub(crate) waiting: u64,
    /// The median of those that were served.
    pub(crate) held: Option<Duration>,
    /// Told to come back later, which it obeyed.
    pub(crate) later: u64,
}

impl AgentRow {
    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// What GitHub would say of us.
#[derive(Debug, Clone, Default)]
pub(crate) struct GithubSide {
    pub(crate) arrived: u64,
    pub(crate) minted: u64,
    pub(crate) core: Option<Window>,
    pub(crate) limit_hits: u64,
    /// Its answers of 403 and 429.
    pub(crate) refusals: u64,
    /// Agents' keys, and whatever else is no credential of GitHub's, that arrived there.
    pub(crate) keys_leaked: u64,
    /// Answers to agents in which a token of GitHub's stood.
    pub(crate) tokens_leaked: u64,
    pub(crate) merges: u64,
    pub(crate) merges_tried: u64,
}

/// The primary limit, as GitHub's headers tell it, and tollgate's pace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) limit: f64,
    pub(crate) used: f64,
    /// Points a second that tollgate gives out.
    pub(crate) rate: f64,
    /// Seconds until it is full again.
    pub(crate) resets_in: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct IncidentRow {
    /// Since the start.
    pub(crate) at: Duration,
    pub(crate) agent: String,
    pub(crate) what: String,
    pub(crate) why: String,
}

/// Takes snapshots.
#[derive(Debug)]
pub(crate) struct Observer {
    started: Instant,
    admin: Client,
}

impl Observer {
    pub(crate) fn new(world: &World) -> Observer {
        Observer { started: Instant::now(), admin: Client::new(world.admin_url()) }
    }

    pub(crate) async fn look(&self, world: &World, fleet: &Fleet, shares: &Shares) -> Snapshot {
        let metrics = self.admin.send(Call::get("/metrics")).await;
        // A look without metrics is still worth showing.
        let metrics =
            metrics.map(|reply| String::from_utf8_lossy(&reply.body).into_owned()).unwrap_or_default();
        let now = Instant::now();
        let by_hand = exposition::sum(&metrics, "tollgate_requests_total", &[("agent", BY_HAND)]);
        Snapshot {
            elapsed: now - self.started,
            agents: rows(fleet, shares, &metrics, now),
            github: github_side(world, fleet, &metrics),
            by_hand: whole(by_hand.unwrap_or(0.0)),
            incidents: self.incidents(fleet),
        }
    }

    fn incidents(&self, fleet: &Fleet) -> Vec<IncidentRow> {
        let row = |incident: super::fleet::agent::Incident| IncidentRow {
            at: incident.at.saturating_duration_since(self.started),
            agent: incident.agent,
            what: incident.what,
            why: incident.why,
        };
        fleet.incidents().into_iter().map(row).collect()
    }
}

fn rows(fleet: &Fleet, shares: &Shares, metrics: &str, now: Instant) -> Vec<AgentRow> {
    let row = |agent: &std::sync::Arc<super::fleet::agent::Agent>| {
        let waiting = exposition::sum(metrics, "tollgate_waiting", &[("agent", &agent.name)]);
        let mut tally = agent.tally();
        AgentRow {
            name: agent.name.clone(),
            weight: agent.character.weight(),
            doing: tally.doing.clone(),
            requests: tally.requests(),
            served: tally.served,
            refused: tally.refused.clone(),
            failed: tally.failed,
            rate: tally.rate(now),
            fair: shares.fair(&agent.name),
            share: shares.lately(&agent.name),
            is_asleep: agent.rest(now).is_some(),
            waiting: whole(waiting.unwrap_or(0.0)),
            held: tally.held_median(),
            later: tally.later,
        }
    };
    fleet.agents.iter().map(row).collect()
}

fn github_side(world: &World, fleet: &Fleet, metrics: &str) -> GithubSide {
    let (books, now) = (world.books(), world.now_epoch_seconds() as f64);
    let of_core = [("installation", INSTALLATION), ("resource", "core")];
    let gauge = |family: &str| exposition::sum(metrics, family, &of_core);
    let core = || {
        Some(Window {
            limit: gauge("tollgate_pool_limit")?,
            used: gauge("tollgate_pool_used")?,
            rate: gauge("tollgate_pool_rate")?,
            resets_in: (gauge("tollgate_pool_reset_timestamp_seconds")? - now).max(0.0),
        })
    };
    let total =
        |count: fn(&super::tally::Tally) -> u64| fleet.agents.iter().map(|agent| count(&agent.tally())).sum();
    GithubSide {
        arrived: books.arrived,
        minted: books.minted,
        core: core(),
        limit_hits: books.violations_total(),
        refusals: refusals(&books),
        keys_leaked: books.leaked_credentials.len() as u64,
        tokens_leaked: total(|tally| tally.tokens_seen),
        merges: books.merges.len() as u64,
        merges_tried: total(|tally| tally.merges_tried),
    }
}

/// Calls that GitHub refused. No agent gets so far with what is forbidden, so each is one for rate.
pub(crate) fn refusals(books: &Books) -> u64 {
    [403, 429].iter().filter_map(|status| books.by_status.get(status)).sum()
}

/// A counter of Prometheus' is a float that holds a whole number.
fn whole(count: f64) -> u64 {
    format!("{count:.0}").parse().unwrap_or(0)
}
