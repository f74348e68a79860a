//! Where the points went: what each agent spent on which routes since this replica started.

use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHashMap;

/// Most routes told of one agent.
const SHOWN_MAX: usize = 20;

/// Points by route.
type Routes = FxHashMap<Arc<str>, u64>;

/// Points by agent and route; agents are configured and routes are templates, so it stays bounded.
#[derive(Debug, Default)]
pub(super) struct Spending {
    by_agent: Mutex<FxHashMap<Arc<str>, Routes>>,
}

impl Spending {
    pub(super) fn add(&self, agent: &Arc<str>, route: &Arc<str>, points: u64) {
        let mut by_agent = self.lock();
        if !by_agent.contains_key(agent) {
            by_agent.insert(Arc::clone(agent), FxHashMap::default());
        }
        let Some(routes) = by_agent.get_mut(agent) else { return };
        match routes.get_mut(route) {
            Some(sum) => *sum += points,
            None => {
                routes.insert(Arc::clone(route), points);
            }
        }
    }

    /// The dearest first.
    pub(super) fn of(&self, agent: &str) -> Vec<(Arc<str>, u64)> {
        let by_agent = self.lock();
        let Some(routes) = by_agent.get(agent) else { return Vec::new() };
        let mut routes: Vec<_> = routes.iter().map(|(route, points)| (Arc::clone(route), *points)).collect();
        routes.sort_by(|(a, left), (b, right)| right.cmp(left).then_with(|| a.cmp(b)));
        routes.truncate(SHOWN_MAX);
        routes
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, Routes>> {
        self.by_agent.lock().expect("nothing panics while it holds this lock")
    }
}
