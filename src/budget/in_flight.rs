//! How many calls are in flight, in all and per agent.
//!
//! Each takes a connection to GitHub, and a caller that reads slowly or not at all holds it. So no
//! agent may take them all.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// One agent may have this fraction of all: a fourth.
const AGENTS_PART: usize = 4;

/// Counts calls.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    all_max: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_agent: FxHashMap<Arc<str>, usize>,
}

/// One call's place. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Slot {
    in_flight: InFlight,
    agent: Arc<str>,
}

impl InFlight {
    pub(super) fn new(all_max: usize) -> InFlight {
        InFlight { all_max, counts: Arc::default() }
    }

    pub(super) fn slot(&self, agent: &Arc<str>) -> Option<Slot> {
        let mut counts = self.counts.lock();
        let own = counts.by_agent.get(agent).copied().unwrap_or_default();
        if counts.all >= self.all_max || own >= (self.all_max / AGENTS_PART).max(1) {
            return None;
        }
        counts.all += 1;
        *counts.by_agent.entry(Arc::clone(agent)).or_default() += 1;
        Some(Slot { in_flight: self.clone(), agent: Arc::clone(agent) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_agent.get_mut(&self.agent) {
            *own -= 1;
            if *own == 0 {
                counts.by_agent.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_never_takes_all() {
        let calls = InFlight::new(8);
        let mut slots: Vec<Slot> = std::iter::from_fn(|| calls.slot(&"greedy".into())).collect();
        assert_eq!(slots.len(), 2);
        assert!(calls.slot(&"other".into()).is_some());
        slots.pop();
        assert!(calls.slot(&"greedy".into()).is_some());
        drop(slots);
        assert!(calls.counts.lock().by_agent.is_empty());
    }
}
