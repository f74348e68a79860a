//! The budget: what each request costs and who pays.
//!
//! So far it counts, and keeps each agent under its ceiling; every other request is admitted at once.
//! What it counts is what a ledger needs: a cost is reserved before a call, kept once the call was
//! sent, given back when it was not, and a slot is held until the answer's body has ended.

mod ceiling;
mod in_flight;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Agent;
use crate::error::Limit;
use crate::metrics::Metrics;
use ceiling::Ceiling;
use in_flight::{InFlight, Slot};

/// Counts what agents spend.
#[derive(Debug)]
pub struct Budget {
    metrics: Arc<Metrics>,
    /// Of the agents that have one.
    ceilings: HashMap<String, Arc<Ceiling>>,
    in_flight: InFlight,
}

/// Why a call is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The agent is at its ceiling: when it will be under it again.
    AtCeiling(Limit),
    /// Too many calls are in flight, in all or of this agent.
    TooManyInFlight,
}

impl Budget {
    /// `calls_max`: most calls in flight at once; each takes a descriptor.
    pub fn new(agents: &[Agent], calls_max: usize, metrics: Arc<Metrics>) -> Budget {
        let ceiling =
            |agent: &Agent| Some((agent.name.clone(), Arc::new(Ceiling::points_an_hour(agent.ceiling?))));
        let ceilings = agents.iter().filter_map(ceiling).collect();
        Budget { metrics, ceilings, in_flight: InFlight::new(calls_max) }
    }

    /// Reserves the cost of one call.
    ///
    /// # Errors
    /// When the agent is at its ceiling, or too many calls are in flight.
    pub fn reserve(
        &self,
        agent: &str,
        installation: &Arc<str>,
        resource: &'static str,
        now_ms: i64,
    ) -> Result<Reservation, NotAdmitted> {
        let slot = self.in_flight.slot(agent).ok_or(NotAdmitted::TooManyInFlight)?;
        let ceiling = self.ceilings.get(agent).cloned();
        if let Some(ceiling) = &ceiling {
            let refused = |refusal: ceiling::Refusal| NotAdmitted::AtCeiling(refusal.limit(resource, now_ms));
            ceiling.take(now_ms).map_err(refused)?;
        }
        self.metrics.inflight.with_label_values(&[&**installation]).inc();
        Ok(Reservation {
            metrics: Arc::clone(&self.metrics),
            agent: agent.to_owned(),
            installation: Arc::clone(installation),
            resource,
            ceiling,
            sent: false,
            _slot: slot,
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
    _slot: Slot,
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
