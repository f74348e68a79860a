//! Stage 6, who pays: takes a permitted call, gives [`Admitted`], which holds the cost of one attempt.
//!
//! Only this file can make an `Admitted`, and injection asks for one: a call that was not charged
//! never gets a credential.

use super::Proxy;
use super::guard::Permitted;
use crate::budget::{NotAdmitted, Reservation};
use crate::error::ProxyError;

/// One attempt at a permitted call, charged to its agent.
#[derive(Debug)]
pub(crate) struct Admitted {
    reservation: Reservation,
}

impl Admitted {
    pub(super) fn mark_sent(&mut self) {
        self.reservation.mark_sent();
    }

    /// The slot in flight, to be held until the answer's body has ended.
    pub(super) fn into_reservation(self) -> Reservation {
        self.reservation
    }
}

impl Proxy {
    pub(super) fn admit(&self, permitted: &Permitted) -> Result<Admitted, ProxyError> {
        let resource = permitted.call().route.operation.resource;
        let (agent, label) = (&permitted.agent().name, &permitted.installation().label);
        let reservation = self.budget.reserve(agent, label, resource, self.clock.now_ms());
        let reservation = reservation.map_err(|refused| match refused {
            NotAdmitted::AtCeiling(limit) => ProxyError::BudgetExhausted { agent: agent.clone(), limit },
            NotAdmitted::TooManyInFlight => {
                ProxyError::Overloaded("Too many calls are in flight; nothing was sent to GitHub.")
            }
        })?;
        Ok(Admitted { reservation })
    }
}
