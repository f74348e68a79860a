//! Takes the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AgentStatus, CacheStatus, ConfigStatus, PoolStatus, RouteStatus, Status, StoreStatus};
use crate::admin::AdminToken;
use crate::agent::Agents;
use crate::agent::roster::Roster;
use crate::budget::{Budget, Statement, Waits};
use crate::clock::Clock;
use crate::config::Agent;
use crate::metrics::Metrics;
use crate::proxy::in_force::InForce;
use crate::redis_client::RedisClient;

/// Agents that have waited this long are listed first.
const HELD_LONG_MS: u64 = 1_000;
/// Most routes shown, over all agents.
const ROUTES_MAX: usize = 20;

/// The parts that the snapshot is taken from.
#[derive(Debug)]
pub struct Sources {
    pub in_force: Arc<InForce>,
    pub roster: Arc<Roster>,
    pub budget: Arc<Budget>,
    /// `None` if the store is embedded.
    pub redis: Option<Arc<RedisClient>>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub started: Instant,
    pub draining: CancellationToken,
    pub admin_token: Arc<AdminToken>,
    pub config: Arc<ArcSwap<ConfigStatus>>,
}

impl Sources {
    /// Takes a snapshot of the present state.
    pub fn collect(&self) -> Status {
        let proxy = self.in_force.proxy();
        let seen = proxy.overview();
        let waiting = self.budget.waiting();
        let (statements, none) = (self.budget.statements(), Statement::default());
        let known = self.roster.agents();
        let agents = known.all().map(|agent| {
            let statement = statements.get(agent.name.as_str()).unwrap_or(&none);
            self.agent(agent, statement, waiting.get(agent.name.as_str()))
        });
        let mut agents: Vec<AgentStatus> = agents.collect();
        agents.sort_by(|a, b| {
            // A moment in a queue is no reason to reorder.
            let is_held = |agent: &AgentStatus| agent.longest_wait_ms >= HELD_LONG_MS;
            (is_held(b), b.spent_in_windows, b.spent)
                .cmp(&(is_held(a), a.spent_in_windows, a.spent))
                .then_with(|| a.name.cmp(&b.name))
        });
        let (pools, replicas) = self.pools();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_epoch_ms: self.clock.now_ms(),
            uptime_seconds: self.started.elapsed().as_secs(),
            is_draining: self.draining.is_cancelled(),
            config: ConfigStatus::clone(&self.config.load()),
            observing: seen.observing,
            has_admin_token: self.admin_token.is_set(),
            store: StoreStatus {
                kind: if self.redis.is_some() { "redis" } else { "memory" }.to_owned(),
                is_up: self.redis.as_ref().is_none_or(|redis| redis.is_up()),
                replicas,
            },
            limit_hits: Metrics::sums(&self.metrics.limit_hits, "kind"),
            pools,
            agents,
            routes: self.routes(&known),
            cache: CacheStatus {
                bytes: seen.cache_bytes,
                bytes_max: seen.cache_bytes_max,
                requests: Metrics::sums(&self.metrics.cache_requests, "result"),
                saved: Metrics::sums(&self.metrics.quota_saved, "by"),
            },
            hints: seen.hints,
            refusals: seen.refusals,
            approvals: Metrics::sums(&self.metrics.approvals, "result"),
            tokens: seen.tokens,
        }
    }

    /// All pools, and the largest number of replicas that share one of them.
    fn pools(&self) -> (Vec<PoolStatus>, i64) {
        let (mut pools, mut replicas) = (Vec::new(), 1);
        for (installation, snapshots, now_ms) in self.budget.pools() {
            for pool in &snapshots {
                replicas = replicas.max(pool.replicas);
                pools.push(PoolStatus::new(&installation, pool, now_ms));
            }
        }
        // In steps of a tenth, so that rows don't keep changing places.
        pools.sort_by(|a, b| {
            let step = |pool: &PoolStatus| pool.fullness() / 100;
            step(b)
                .cmp(&step(a))
                .then_with(|| (&a.installation, &a.resource).cmp(&(&b.installation, &b.resource)))
        });
        (pools, replicas)
    }

    fn agent(&self, agent: &Agent, statement: &Statement, waits: Option<&Waits>) -> AgentStatus {
        let waits = waits.copied().unwrap_or_default();
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let standing = statement.standing.as_ref();
        AgentStatus {
            name: agent.name.clone(),
            weight: agent.weight,
            guarantee: agent.guarantee,
            ceiling: agent.ceiling,
            is_disabled: self.roster.is_disabled(agent),
            is_disabled_in_file: agent.disabled,
            share_ratio: standing.map(|at| at.share_ratio),
            share_of: standing.map(|at| format!("{} {}", at.installation, at.resource)),
            spent_in_windows: statement.spent_in_windows,
            spent: statement.spent,
            waiting: waits.count,
            longest_wait_ms: millis(waits.longest),
            mean_wait_ms: millis(statement.mean_held),
        }
    }

    fn routes(&self, agents: &Agents) -> Vec<RouteStatus> {
        let mut routes = BTreeMap::new();
        for agent in agents.all() {
            for (route, points) in self.budget.spent_by_route(&agent.name) {
                // Most expensive first; ties by name, so that the order is stable.
                routes.insert((std::cmp::Reverse(points), agent.name.as_str(), route), ());
                if routes.len() > ROUTES_MAX {
                    routes.pop_last();
                }
            }
        }
        let rows = routes.into_keys().filter(|(points, ..)| points.0 > 0);
        rows.map(|(points, agent, route)| RouteStatus {
            agent: agent.to_owned(),
            route: route.to_string(),
            points: points.0,
        })
        .collect()
    }
}
