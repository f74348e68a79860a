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
/// Two of GitHub's longest windows, as for what a replica knows of an installation: so long after its window's end a
/// standing is dropped.
const KEPT_FOR: Duration = Duration::from_secs(7200);

/// Installation and resource.
type PoolKey = (Arc<str>, Arc<str>);

/// By pool. This stays bounded, since agents, installations and resources are configured; removed
/// agents are dropped, and so is what nobody used for two windows.
#[derive(Debug, Default)]
pub(super) struct Standings {
    /// Taken for every call that is granted or held, so it is not held while all pools are gone through for a report.
    /// The sweep of each minute takes about a millisecond with 24,000 pairs of agent and installation.
    by_pool: Mutex<FxHashMap<PoolKey, Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    /// The weights of all agents that the store had seen in the last minute, as last told, and when.
    weights: Option<(i64, Instant)>,
    by_agent: FxHashMap<Arc<str>, (View, Instant)>,
}

/// A pool and its agents as they were at one moment.
struct PoolCopy {
    pool: PoolKey,
    weights: i64,
    agents: Vec<(Arc<str>, View, Instant)>,
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
    /// The store told where the agent of a call stands. One whose ceiling is 0 has no share.
    pub(super) fn note(&self, charge: &Charge, view: View) {
        if charge.ceiling == Some(0) {
            return;
        }
        let key = (Arc::clone(&charge.installation), Arc::clone(&charge.resource));
        let now = Instant::now();
        let mut by_pool = self.by_pool.lock();
        let pool = by_pool.entry(key).or_default();
        pool.weights = Some((view.weights, now));
        match pool.by_agent.get_mut(&charge.agent) {
            Some(last) => *last = (view, now),
            None => drop(pool.by_agent.insert(Arc::clone(&charge.agent), (view, now))),
        }
    }

    /// By agent: the points spent over all replicas, in windows that are not over yet; and its standing in the pool
    /// that it used last, if it was seen in the last minute.
    pub(super) fn by_agent(&self) -> FxHashMap<Arc<str>, (i64, Option<Standing>)> {
        let now = Instant::now();
        let mut agents = FxHashMap::<Arc<str>, (i64, Option<(Instant, Standing)>)>::default();
        for PoolCopy { pool: (installation, resource), weights, agents: there } in self.copies(now) {
            for (agent, view, at) in there {
                let (spent, latest) = agents.entry(agent).or_default();
                if now.saturating_duration_since(at) < window_left(&view) {
                    *spent += view.used;
                }
                if is_seen(at, now) && latest.as_ref().is_none_or(|(latest, _)| at > *latest) {
                    let (installation, resource) = (Arc::clone(&installation), Arc::clone(&resource));
                    let share_ratio = ratio(view.weight, weights);
                    *latest = Some((at, Standing { installation, resource, share_ratio }));
                }
            }
        }
        agents
            .into_iter()
            .map(|(agent, (spent, latest))| (agent, (spent, latest.map(|(_, one)| one))))
            .collect()
    }

    /// Tells the share of every agent seen in the last minute: agent, installation and resource, and the ratio.
    pub(super) fn each_share(&self, mut tell: impl FnMut(&[&str; 3], f64)) {
        let now = Instant::now();
        for PoolCopy { pool: (installation, resource), weights, agents } in self.copies(now) {
            for (agent, view, _) in agents.iter().filter(|(.., at)| is_seen(*at, now)) {
                tell(&[&**agent, &*installation, &*resource], ratio(view.weight, weights));
            }
        }
    }

    /// All pools, copied one after the other: those that wait for a grant wait for one pool's copy at most.
    fn copies(&self, now: Instant) -> impl Iterator<Item = PoolCopy> {
        let keys: Vec<PoolKey> = self.by_pool.lock().keys().cloned().collect();
        keys.into_iter().filter_map(move |key| {
            let by_pool = self.by_pool.lock();
            let pool = by_pool.get(&key)?;
            let one = |(agent, (view, at)): (&Arc<str>, &(View, Instant))| (Arc::clone(agent), *view, *at);
            let (weights, agents) = (pool.weights(now), pool.by_agent.iter().map(one).collect());
            Some(PoolCopy { pool: key, weights, agents })
        })
    }

    /// Drops what nobody used for two windows.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.by_pool.lock().retain(|_, pool| {
            pool.by_agent.retain(|_, (view, at)| {
                now.saturating_duration_since(*at) < window_left(view).saturating_add(KEPT_FOR)
            });
            !pool.by_agent.is_empty()
        });
    }

    pub(super) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        for pool in self.by_pool.lock().values_mut() {
            pool.by_agent.retain(|agent, _| is_known(agent));
        }
    }
}

impl Pool {
    /// The weights of all agents seen in the last minute: those here, and as many elsewhere as when the store last told.
    fn weights(&self, now: Instant) -> i64 {
        let Some((told, then)) = self.weights else { return 0 };
        let here = |when: Instant| -> i64 {
            let seen = self.by_agent.values().filter(|(_, at)| is_seen(*at, when));
            seen.map(|(view, _)| view.weight).sum()
        };
        here(now) + (told - here(then)).max(0)
    }
}

#[allow(clippy::cast_precision_loss, reason = "weights are small")]
fn ratio(weight: i64, weights: i64) -> f64 {
    weight as f64 / weights.max(1) as f64
}

/// How long the window went on when the store told of it.
fn window_left(view: &View) -> Duration {
    Duration::from_millis(u64::try_from(view.reset_in_ms).unwrap_or_default())
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
    async fn shares_are_of_those_seen_in_the_last_minute() {
        let standings = Standings::default();
        let view = |used, weights| View { used, reset_in_ms: 90_000, weight: 1, weights, ..View::default() };
        standings.note(&charge("a"), view(7, 1));
        tokio::time::advance(Duration::from_secs(30)).await;
        standings.note(&charge("b"), view(2, 2));
        let closed = Charge { ceiling: Some(0), ..charge("closed") };
        standings.note(&closed, view(0, 3));
        assert_eq!(shares(&standings), [("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
        let (spent, standing) = standings.by_agent()["a"].clone();
        assert_eq!((spent, standing.unwrap().share_ratio), (7, 0.5));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(shares(&standings), [("b".to_owned(), 1.0)], "a is away, though nobody was told so");
        assert_eq!(standings.by_agent()["a"], (7, None), "its window is not over");
        // Another replica's agent of weight 3.
        standings.note(&charge("b"), view(3, 4));
        assert_eq!(shares(&standings), [("b".to_owned(), 0.25)]);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(standings.by_agent()["a"], (0, None));
        standings.retain(|agent| agent == "a");
        assert!(!standings.by_agent().contains_key("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pool_used_last_counts() {
        let standings = Standings::default();
        let view = View { reset_in_ms: 1, weight: 1, weights: 4, ..View::default() };
        let search = Charge { resource: "search".into(), ..charge("a") };
        for (used, resource) in [(&search, "search"), (&charge("a"), "core")] {
            standings.note(used, view);
            tokio::time::advance(Duration::from_secs(1)).await;
            let (_, standing) = standings.by_agent()["a"].clone();
            let standing = standing.unwrap();
            assert_eq!((&*standing.resource, standing.share_ratio), (resource, 0.25));
        }
    }

    /// They were kept until the agent was removed from the configuration.
    #[tokio::test(start_paused = true)]
    async fn what_nobody_used_for_two_windows_is_dropped() {
        let standings = Standings::default();
        let view = View { used: 5, reset_in_ms: 3_600_000, weight: 1, weights: 2, ..View::default() };
        standings.note(&charge("idle"), view);
        let search = Charge { resource: "search".into(), ..charge("idle") };
        standings.note(&search, view);
        tokio::time::advance(Duration::from_secs(1)).await;
        standings.note(&charge("later"), view);
        let agents = || {
            standings.sweep();
            let mut agents: Vec<_> =
                standings.by_agent().into_iter().map(|(name, (spent, _))| (name, spent)).collect();
            agents.sort();
            agents
        };
        assert_eq!(agents(), [("idle".into(), 10), ("later".into(), 5)]);
        // Its window is over, but a view of it may still be asked for.
        tokio::time::advance(Duration::from_secs(3 * 3600 - 2)).await;
        assert_eq!(agents(), [("idle".into(), 0), ("later".into(), 0)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(agents(), [("later".into(), 0)]);
        assert_eq!(standings.by_pool.lock().len(), 1, "of the pool of searches nothing is left");
        standings.note(&charge("idle"), view);
        assert_eq!(shares(&standings), [("idle".to_owned(), 0.5)]);
    }

    /// A scrape with 24,000 shares held up all calls until the last one was set.
    #[tokio::test(start_paused = true)]
    async fn whoever_is_told_the_shares_keeps_no_call_waiting() {
        let standings = Standings::default();
        let view = View { weight: 1, weights: 1, ..View::default() };
        standings.note(&charge("a"), view);
        let mut told = 0;
        standings.each_share(|_, _| {
            assert!(standings.by_pool.try_lock().is_some());
            told += 1;
        });
        assert_eq!(told, 1);
    }
}
