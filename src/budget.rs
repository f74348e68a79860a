//! The budget: what each request costs and who pays.
//!
//! So far it counts, and keeps each agent under its ceiling; every other request is admitted at once.
//! What it counts is what a ledger needs: a cost is reserved before a call, kept once the call was
//! sent, given back when it was not, and a slot is held until the answer's body has ended.

mod ceiling;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Agent;
use crate::error::Limit;
use crate::metrics::Metrics;
use ceiling::Ceiling;

/// Counts what agents spend.
#[derive(Debug)]
pub struct Budget {
    metrics: Arc<Metrics>,
    /// Of the agents that have one.
    ceilings: HashMap<String, Arc<Ceiling>>,
}

impl Budget {
    pub fn new(agents: &[Agent], metrics: Arc<Metrics>) -> Budget {
        let ceiling =
            |agent: &Agent| Some((agent.name.clone(), Arc::new(Ceiling::points_an_hour(agent.ceiling?))));
        Budget { metrics, ceilings: agents.iter().filter_map(ceiling).collect() }
    }

    /// Reserves the cost of one call.
    ///
    /// # Errors
    /// When the agent is at its ceiling: when it will be under it again.
    pub fn reserve(
        &self,
        agent: &str,
        installation: &Arc<str>,
        resource: &'static str,
        now_ms: i64,
    ) -> Result<Reservation, Limit> {
        let ceiling = self.ceilings.get(agent).cloned();
        if let Some(ceiling) = &ceiling {
            ceiling.take(now_ms).map_err(|refusal| refusal.limit(resource, now_ms))?;
        }
        self.metrics.inflight.with_label_values(&[&**installation]).inc();
        Ok(Reservation {
            metrics: Arc::clone(&self.metrics),
            agent: agent.to_owned(),
            installation: Arc::clone(installation),
            resource,
            ceiling,
            sent: false,
        })
    }
}

/// The cost held for one call and its slot among those in flight.
///
/// Dropped before it was sent, it costs nothing; afterwards the charge stands. The slot is free when
/// it is dropped, so whoever streams the answer keeps it until the end of the body.
#[derive(Debug)]
pub struct Reservation {
    metrics: Arc<Metrics>,
    agent: String,
    installation: Arc<str>,
    resource: &'static str,
    ceiling: Option<Arc<Ceiling>>,
    sent: bool,
}

impl Reservation {
    /// From here on GitHub may have counted the call.
    pub fn mark_sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.metrics.inflight.with_label_values(&[&*self.installation]).dec();
        if self.sent {
            let labels = [self.agent.as_str(), &*self.installation, self.resource];
            self.metrics.agent_spent.with_label_values(&labels).inc();
        } else if let Some(ceiling) = &self.ceiling {
            ceiling.give_back();
        }
    }
}
