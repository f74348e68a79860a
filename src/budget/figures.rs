//! What the budget reports about pools and agents, and to those that choose between installations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::command::{Command, Look, Snapshot, View};
use super::{Budget, Charge, Room, Standing, Waits};

/// One agent's account, for people to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// Points spent at this replica since it started.
    pub spent: u64,
    /// Points spent over all replicas, in windows that are not over yet.
    pub spent_in_windows: i64,
    /// The pool where it was last seen, if that was within the last minute.
    pub standing: Option<Standing>,
    /// The mean time that its latest calls were held.
    pub mean_held: Duration,
}

impl Budget {
    /// An agent's standing in a pool.
    pub async fn look(&self, charge: &Charge) -> (View, Option<Snapshot>) {
        let look = Look { share: charge.share(), resource: Arc::clone(&charge.resource) };
        let reply = self.replica.call(&charge.installation, Command::Look(look)).await;
        (reply.view.unwrap_or_default(), reply.pool)
    }

    /// The most points one call could ever be charged, and the limit they come from; none until it is known.
    pub async fn price_max(&self, charge: &Charge) -> Option<(i64, i64)> {
        let pool = self.look(charge).await.1.filter(|pool| pool.is_known)?;
        let kept = self.tuning.load().headroom_thousandths * pool.limit / 1000;
        Some((pool.limit - kept, pool.limit))
    }

    /// What a pool has left for an agent, as far as this replica knows. Asks nobody.
    pub fn room(&self, installation: &Arc<str>, resource: &str, agent: &str, is_write: bool) -> Room {
        let wait = self.turns.next(installation, resource, agent, is_write);
        let Some((pool, now_ms)) = self.replica.pool(installation, resource) else {
            return Room { wait, points: Room::UNKNOWN };
        };
        // About what the ledger keeps back, so that nothing is left where it lets nobody through.
        let reserve = (pool.limit / 50).clamp(1, 3).max((pool.limit / 250).min(60));
        let kept = self.tuning.load().headroom_thousandths * pool.limit / 1000 + reserve;
        let spent = if pool.reset <= now_ms { 0 } else { pool.used.max(pool.own) };
        let points = pool.limit - kept - spent - pool.in_flight;
        let opens_at = match () {
            () if now_ms < pool.cool => pool.cool,
            () if points <= 0 => pool.reset,
            () => return Room { wait, points },
        };
        let opens_in = u64::try_from(opens_at - now_ms).map(Duration::from_millis).unwrap_or_default();
        Room { wait: wait.max(opens_in), points: 0 }
    }

    /// Warns once, when an installation's limit is first seen, if more is guaranteed than can be kept.
    pub(super) fn compare_guarantees(&self, charge: &Charge, pool: &Snapshot) {
        if charge.guarantees == 0 || !pool.is_known || &*pool.resource != "core" {
            return;
        }
        let is_first = self.lock_compared().insert(Arc::clone(&charge.installation));
        let (sum, keeps) = (i64::from(charge.guarantees), pool.limit * 4 / 5);
        if is_first && sum > keeps {
            tracing::warn!(
                installation = &*charge.installation,
                "guarantees add up to {sum} points an hour, more than four fifths of the limit (0.8 x {} = {keeps}): \
                 while all are claimed, each gets {keeps}/{sum} of its own",
                pool.limit
            );
        }
    }

    /// Waiting calls, by agent.
    pub fn waiting(&self) -> BTreeMap<Arc<str>, Waits> {
        self.queues.waiting()
    }

    /// The points an agent spent at this replica, by method and path template, most first.
    pub fn spent_by_route(&self, agent: &str) -> Vec<(Arc<str>, u64)> {
        self.spending.of(agent)
    }

    /// The agents' spending, shares and waits, as known to this replica; nothing of those that never called.
    pub fn statements(&self) -> FxHashMap<Arc<str>, Statement> {
        let mut statements = FxHashMap::<Arc<str>, Statement>::default();
        for (agent, (spent_in_windows, standing)) in self.standings.by_agent() {
            statements.insert(agent, Statement { spent_in_windows, standing, ..Statement::default() });
        }
        self.spending.each_sum(|agent, spent, mean_held| {
            let statement = statements.entry(Arc::clone(agent)).or_default();
            (statement.spent, statement.mean_held) = (spent, mean_held);
        });
        statements
    }

    /// Per installation: its pools as last seen here, and the store's time in epoch milliseconds.
    pub fn pools(&self) -> Vec<(Arc<str>, Vec<Snapshot>, i64)> {
        self.replica.all_pools()
    }

    /// Updates the exported metrics.
    pub fn export(&self) {
        self.metrics.set_waiting(&self.queues.waiting());
        let all = self.replica.all_pools();
        self.metrics.forget_pools(&all.iter().map(|(installation, ..)| &**installation).collect());
        for (installation, pools, now) in all {
            self.metrics.set_pools(&installation, &pools, now);
        }
        // Anew each time, since who has been idle for a minute has no share any more.
        self.metrics.agent_share.reset();
        let share = &self.metrics.agent_share;
        self.standings.each_share(|labels, ratio| share.with_label_values(labels).set(ratio));
    }

    /// Drops the accounts of agents that no longer exist.
    pub fn forget_agents(&self, is_known: impl Fn(&str) -> bool) {
        self.spending.retain(&is_known);
        self.standings.retain(&is_known);
        self.metrics.forget_agents(is_known);
    }
}
