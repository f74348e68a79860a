//! The budget: what each request costs and who pays.
//!
//! It only counts so far: every request is admitted at once. What it counts is already what a ledger
//! needs: a cost is reserved before a call, kept once the call was sent, given back when it was not,
//! and a slot is held until the answer's body has ended.

use std::sync::Arc;

use crate::metrics::Metrics;

/// Counts what agents spend.
#[derive(Debug)]
pub struct Budget {
    metrics: Arc<Metrics>,
}

impl Budget {
    pub fn new(metrics: Arc<Metrics>) -> Budget {
        Budget { metrics }
    }

    /// Reserves the cost of one call.
    pub fn reserve(&self, agent: &str, installation: &Arc<str>, resource: &'static str) -> Reservation {
        self.metrics.inflight.with_label_values(&[&**installation]).inc();
        Reservation {
            metrics: Arc::clone(&self.metrics),
            agent: agent.to_owned(),
            installation: Arc::clone(installation),
            resource,
            sent: false,
        }
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
        }
    }
}
