//! Where the points went: what each agent spent on which routes since this replica started, its
//! standing in each pool, and how long its calls were held.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::command::View;

/// The most routes listed for one agent.
const SHOWN_MAX: usize = 20;
/// An agent not seen for this long is away; as in the ledger.
const SEEN_FOR: Duration = Duration::from_secs(60);
/// How far each call moves the mean time that calls were held.
const MEAN_MOVES_BY: f64 = 0.1;

/// Points by route.
type Routes = FxHashMap<Arc<str>, u64>;
/// Installation and resource.
type PoolKey = (Arc<str>, Arc<str>);

/// By agent. This stays bounded, since agents, installations and resources are configured and
/// routes are templates; removed agents are dropped.
#[derive(Debug, Default)]
pub(super) struct Spending {
    by_agent: Mutex<FxHashMap<Arc<str>, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    routes: Routes,
    /// As the store last said.
    pools: FxHashMap<PoolKey, (View, Instant)>,
    mean_held_s: f64,
}

/// One agent's account, for people to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// Points since this replica started, and those in windows that are not over yet.
    pub spent: u64,
    pub spent_in_windows: i64,
    /// The pool where it was last seen, if that was within the last minute.
    pub standing: Option<Standing>,
    /// The mean time that its latest calls were held.
    pub mean_held: Duration,
}

/// An agent's standing in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub installation: Arc<str>,
    pub resource: Arc<str>,
    pub view: View,
}

impl Spending {
    pub(super) fn add(&self, agent: &Arc<str>, route: &Arc<str>, points: u64) {
        self.with(agent, |account| match account.routes.get_mut(route) {
            Some(sum) => *sum += points,
            None => {
                account.routes.insert(Arc::clone(route), points);
            }
        });
    }

    /// The store told an agent's standing in a pool.
    pub(super) fn stands(&self, agent: &Arc<str>, installation: &Arc<str>, resource: &Arc<str>, view: View) {
        let key = (Arc::clone(installation), Arc::clone(resource));
        self.with(agent, |account| {
            account.pools.insert(key, (view, Instant::now()));
        });
    }

    /// A call was admitted after it was held for this long.
    pub(super) fn held(&self, agent: &Arc<str>, held: Duration) {
        self.with(agent, |account| {
            account.mean_held_s += (held.as_secs_f64() - account.mean_held_s) * MEAN_MOVES_BY;
        });
    }

    pub(super) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.by_agent.lock().retain(|agent, _| is_known(agent));
    }

    /// An agent's routes, those with most points first.
    pub(super) fn of(&self, agent: &str) -> Vec<(Arc<str>, u64)> {
        let by_agent = self.by_agent.lock();
        let Some(account) = by_agent.get(agent) else { return Vec::new() };
        let mut routes: Vec<_> =
            account.routes.iter().map(|(route, points)| (Arc::clone(route), *points)).collect();
        drop(by_agent);
        routes.sort_by(|(a, left), (b, right)| right.cmp(left).then_with(|| a.cmp(b)));
        routes.truncate(SHOWN_MAX);
        routes
    }

    /// An agent's statement; none if it never called.
    pub(super) fn statement(&self, agent: &str) -> Option<Statement> {
        let by_agent = self.by_agent.lock();
        let account = by_agent.get(agent)?;
        let now = Instant::now();
        let in_window = |(view, at): &&(View, Instant)| {
            let left = u64::try_from(view.reset_in_ms).unwrap_or_default();
            now.saturating_duration_since(*at) < Duration::from_millis(left)
        };
        let last = account.pools.iter().max_by_key(|(_, (_, at))| *at);
        let seen = last.filter(|(_, (_, at))| now.saturating_duration_since(*at) < SEEN_FOR);
        Some(Statement {
            spent: account.routes.values().sum(),
            spent_in_windows: account.pools.values().filter(in_window).map(|(view, _)| view.used).sum(),
            standing: seen.map(|((installation, resource), (view, _))| Standing {
                installation: Arc::clone(installation),
                resource: Arc::clone(resource),
                view: *view,
            }),
            mean_held: Duration::from_secs_f64(account.mean_held_s.max(0.0)),
        })
    }

    fn with(&self, agent: &Arc<str>, change: impl FnOnce(&mut Account)) {
        let mut by_agent = self.by_agent.lock();
        match by_agent.get_mut(agent) {
            Some(account) => change(account),
            None => change(by_agent.entry(Arc::clone(agent)).or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_of_windows_that_run_and_of_who_was_seen() {
        let spending = Spending::default();
        let (agent, core, search): (Arc<str>, Arc<str>, Arc<str>) =
            ("a".into(), "core".into(), "search".into());
        assert_eq!(spending.statement("a"), None);
        let view = |used, reset_in_ms| View { used, reset_in_ms, weight: 1, weights: 4, ..View::default() };
        spending.add(&agent, &"GET /x".into(), 7);
        spending.stands(&agent, &"bot/acme".into(), &core, view(7, 3_600_000));
        tokio::time::advance(Duration::from_secs(1)).await;
        spending.stands(&agent, &"bot/acme".into(), &search, view(2, 30_000));
        spending.held(&agent, Duration::from_secs(10));
        let now = spending.statement("a").unwrap();
        assert_eq!((now.spent, now.spent_in_windows, now.mean_held), (7, 9, Duration::from_secs(1)));
        assert_eq!(&*now.standing.unwrap().resource, "search");
        tokio::time::advance(Duration::from_secs(61)).await;
        let later = spending.statement("a").unwrap();
        assert_eq!((later.spent_in_windows, later.standing), (7, None));
    }
}
