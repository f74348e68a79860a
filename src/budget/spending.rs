//! Where the points went: what each agent spent on which routes since this replica started, and how
//! long its calls were held.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// The most routes listed for one agent.
const SHOWN_MAX: usize = 20;
/// How far each call moves the mean time that calls were held.
const MEAN_MOVES_BY: f64 = 0.1;

/// Points by route.
type Routes = FxHashMap<Arc<str>, u64>;

/// By agent. This stays bounded, since agents are configured and routes are templates; removed
/// agents are dropped.
#[derive(Debug, Default)]
pub(super) struct Spending {
    by_agent: Mutex<FxHashMap<Arc<str>, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    routes: Routes,
    mean_held_s: f64,
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

    /// Tells the points that each agent spent, and the mean time that its latest calls were held.
    pub(super) fn each_sum(&self, mut tell: impl FnMut(&Arc<str>, u64, Duration)) {
        for (agent, account) in &*self.by_agent.lock() {
            let mean_held = Duration::from_secs_f64(account.mean_held_s.max(0.0));
            tell(agent, account.routes.values().sum(), mean_held);
        }
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

    #[test]
    fn points_add_up_and_waits_are_smoothed() {
        let spending = Spending::default();
        let agent: Arc<str> = "a".into();
        spending.add(&agent, &"GET /x".into(), 7);
        spending.add(&agent, &"GET /y".into(), 2);
        spending.held(&agent, Duration::from_secs(10));
        let mut sums = Vec::new();
        spending.each_sum(|agent, spent, mean_held| sums.push((Arc::clone(agent), spent, mean_held)));
        assert_eq!(sums, [(agent, 9, Duration::from_secs(1))]);
    }
}
