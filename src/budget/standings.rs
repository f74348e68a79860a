//! Where agents stand in the pools, as the store last told this replica.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Charge;
use super::command::View;

/// An agent not seen for this long is away; as in the ledger.
const SEEN_FOR: Duration = Duration::from_secs(60);

/// Installation and resource.
type PoolKey = (Arc<str>, Arc<str>);

/// By pool. This stays bounded, since agents, installations and resources are configured; removed
/// agents are dropped.
#[derive(Debug, Default)]
pub(super) struct Standings {
    by_pool: Mutex<FxHashMap<PoolKey, Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    /// The weights of all agents seen in the last minute, as of the latest word about any of them.
    weights: i64,
    by_agent: FxHashMap<Arc<str>, (View, Instant)>,
}

/// An agent's part in a pool where it was seen in the last minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub installation: Arc<str>,
    pub resource: Arc<str>,
    /// Its weight divided by the weights of all agents seen there in the last minute.
    pub share_ratio: f64,
}

impl Standings {
    /// The store told where the agent of a call stands.
    pub(super) fn note(&self, charge: &Charge, view: View) {
        let key = (Arc::clone(&charge.installation), Arc::clone(&charge.resource));
        let mut by_pool = self.by_pool.lock();
        let pool = by_pool.entry(key).or_default();
        pool.weights = view.weights;
        let told = (view, Instant::now());
        match pool.by_agent.get_mut(&charge.agent) {
            Some(last) => *last = told,
            None => drop(pool.by_agent.insert(Arc::clone(&charge.agent), told)),
        }
    }

    /// The points that an agent spent, over all replicas, in windows that are not over yet; and its
    /// standing in the pool that it used last, if it was seen in the last minute.
    pub(super) fn of(&self, agent: &str) -> (i64, Option<Standing>) {
        let now = Instant::now();
        let (mut spent, mut latest, mut standing) = (0, None, None);
        for ((installation, resource), pool) in &*self.by_pool.lock() {
            let Some((view, at)) = pool.by_agent.get(agent) else { continue };
            let left = u64::try_from(view.reset_in_ms).unwrap_or_default();
            if now.saturating_duration_since(*at) < Duration::from_millis(left) {
                spent += view.used;
            }
            if is_seen(*at, now) && latest.is_none_or(|latest| *at > latest) {
                latest = Some(*at);
                standing = Some(Standing {
                    installation: Arc::clone(installation),
                    resource: Arc::clone(resource),
                    share_ratio: pool.share_ratio(view),
                });
            }
        }
        (spent, standing)
    }

    /// Tells the share of every agent seen in the last minute: agent, installation and resource, and the ratio.
    pub(super) fn each_share(&self, mut tell: impl FnMut(&[&str; 3], f64)) {
        let now = Instant::now();
        for ((installation, resource), pool) in &*self.by_pool.lock() {
            for (agent, (view, _)) in pool.by_agent.iter().filter(|(_, (_, at))| is_seen(*at, now)) {
                tell(&[&**agent, &**installation, &**resource], pool.share_ratio(view));
            }
        }
    }

    pub(super) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        for pool in self.by_pool.lock().values_mut() {
            pool.by_agent.retain(|agent, _| is_known(agent));
        }
    }
}

impl Pool {
    fn share_ratio(&self, view: &View) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "weights are small")]
        let ratio = view.weight as f64 / self.weights.max(view.weight).max(1) as f64;
        ratio
    }
}

fn is_seen(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < SEEN_FOR
}

#[cfg(test)]
mod tests {
    use super::super::tests::charge;
    use super::*;

    fn shares(standings: &Standings) -> Vec<(String, f64)> {
        let mut shares = Vec::new();
        standings.each_share(|[agent, ..], ratio| shares.push(((*agent).to_owned(), ratio)));
        shares.sort_by(|(left, _), (right, _)| left.cmp(right));
        shares
    }

    /// They were as of each agent's own last call, and stayed for good.
    #[tokio::test(start_paused = true)]
    async fn shares_are_of_those_seen_in_the_last_minute_and_add_up_to_one() {
        let standings = Standings::default();
        let view = |used, weights| View { used, reset_in_ms: 90_000, weight: 1, weights, ..View::default() };
        standings.note(&charge("a"), view(7, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        standings.note(&charge("b"), view(2, 2));
        assert_eq!(shares(&standings), [("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
        let (spent, standing) = standings.of("a");
        assert_eq!((spent, standing.unwrap().share_ratio), (7, 0.5));
        tokio::time::advance(Duration::from_secs(59)).await;
        standings.note(&charge("b"), view(3, 1));
        assert_eq!(shares(&standings), [("b".to_owned(), 1.0)]);
        assert_eq!(standings.of("a"), (7, None), "its window is not over");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(standings.of("a"), (0, None));
        standings.retain(|agent| agent == "a");
        assert_eq!(standings.of("b"), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pool_used_last_counts() {
        let standings = Standings::default();
        let view = |weights| View { reset_in_ms: 1, weight: 1, weights, ..View::default() };
        let search = Charge { resource: "search".into(), ..charge("a") };
        for (used, resource, share_ratio) in [(&search, "search", 0.25), (&charge("a"), "core", 0.25)] {
            standings.note(used, view(4));
            tokio::time::advance(Duration::from_secs(1)).await;
            let standing = standings.of("a").1.unwrap();
            assert_eq!((&*standing.resource, standing.share_ratio), (resource, share_ratio));
        }
    }
}
