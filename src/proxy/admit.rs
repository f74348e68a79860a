//! Stage 6, who pays: takes a permitted call, gives [`Admitted`], which holds the cost of one attempt.
//!
//! Only this file can make an `Admitted`, and injection asks for one: a call that was not charged
//! never gets a credential. A call over budget is held here, in its agent's queue.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::Proxy;
use super::body::Holdable;
use super::classify::GraphqlCall;
use super::context::Context;
use super::guard::Permitted;
use super::identify::unserved;
use crate::budget::{Charge, NotAdmitted, Refusal, Reservation, View, Wait};
use crate::config::Agent;
use crate::error::{Limit, ProxyError};
use crate::github::installations::{Installation, Kind};
use crate::github::rate_limit::Reading;

/// Queries that cost more points than this are checked against the most their pool could ever pay.
/// Few queries that people write cost so much.
const DEAR: u32 = 100;

/// One attempt at a permitted call, charged to its agent. It holds a slot in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Boxed: values are moved between stages.
    reservation: Box<Reservation>,
}

impl Admitted {
    pub(super) fn mark_sent(&mut self) {
        self.reservation.mark_sent();
    }

    /// The call failed before GitHub saw any of it.
    pub(super) fn mark_unsent(&mut self) {
        self.reservation.mark_unsent();
    }

    /// Keeps what the answer's head says, in case the caller hangs up before the call is settled.
    pub(super) fn saw(&mut self, reading: Reading, took: Duration) {
        self.reservation.saw(reading, took);
    }

    /// Charges what the call cost, learns from the answer, and returns the agent's standing.
    pub(super) async fn settle(&mut self, reading: &Reading, took: Duration, has_ended: bool) -> View {
        self.reservation.settle(reading, took, has_ended).await
    }
}

impl Holdable for Admitted {
    const ENDS_WITH_BODY: bool = true;

    fn is_wanted(&self) -> bool {
        self.reservation.is_wanted()
    }

    fn cut(self) {}
}

impl Proxy {
    pub(super) async fn admit(
        &self,
        permitted: &Permitted,
        ctx: &mut Context,
    ) -> Result<Admitted, ProxyError> {
        let charge = self.charge(permitted);
        if let Some(graphql) = permitted.call().graphql.as_ref().filter(|_| permitted.call().price > DEAR) {
            Box::pin(self.check_price(permitted, graphql, &charge)).await?;
        }
        self.check_open()?;
        let asked = Instant::now();
        let patience = ctx.hold_until.saturating_duration_since(asked);
        let wait = Wait { patience, is_interactive: ctx.is_interactive };
        let agent = permitted.agent();
        let admitted = tokio::select! {
            biased;
            // Polled first, since most calls need not wait for anything.
            admitted = self.budget.admit(&charge, wait) => self.check_open().map(|()| admitted),
            () = self.closing.cancelled() => Err(ProxyError::Draining),
            standing = self.roster.until_not_served(&agent.name) => Err(unserved(agent, standing)),
        };
        ctx.held += asked.elapsed();
        let reservation = admitted?.map_err(|refused| match refused {
            NotAdmitted::Refused(refusal) => self.refused(permitted, &refusal),
            NotAdmitted::TooManyInFlight => {
                ProxyError::Overloaded("Too many calls wait or are in flight; nothing was sent to GitHub.")
            }
        })?;
        ctx.view = Some(reservation.view());
        if let Some(reason) = reservation.would() {
            self.metrics.observed.with_label_values(&[&permitted.agent().name, reason.as_str()]).inc();
        }
        Ok(Admitted { reservation: Box::new(reservation) })
    }

    /// Refuses a query that no window could ever pay for, however long it waits.
    async fn check_price(
        &self,
        permitted: &Permitted,
        graphql: &GraphqlCall,
        charge: &Charge,
    ) -> Result<(), ProxyError> {
        let call = permitted.call();
        let Some((most, limit)) = self.budget.price_max(charge).await else { return Ok(()) };
        if i64::from(call.price) <= most || self.rules.is_observing {
            return Ok(());
        }
        let requests = graphql.request.price().map(|price| price.requests).unwrap_or_default();
        Err(ProxyError::BadRequest(format!(
            "The query costs {} points: {requests} requests to fill its connections, over 100. Of the installation's {limit} an \
             hour, {most} can be spent at once; ask for smaller pages, or in parts.",
            call.price
        )))
    }

    /// What the call costs, and whom.
    fn charge(&self, permitted: &Permitted) -> Charge {
        let (call, agent) = (permitted.call(), permitted.agent());
        let operation = call.route.operation;
        let is_write = permitted.is_write();
        Charge {
            route: self.route_names.of(&call.method, operation.template),
            is_write,
            // GitHub does not list the operations that create content, so every write counts as one.
            creates_content: is_write,
            repository: permitted.repository().map(|name| Arc::clone(name.full())),
            price: Some(call.price),
            ..self.share(agent, permitted.installation(), operation.resource)
        }
    }

    /// An agent's share in a pool, without a call.
    pub(super) fn share(&self, agent: &Agent, installation: &Installation, resource: &'static str) -> Charge {
        let guarantees = match &installation.kind {
            Kind::App(app) => self.rules.agents.guarantees_of(Some(&app.account)),
            Kind::Personal(_) => self.rules.agents.guarantees_of(None),
        };
        Charge {
            installation: installation.label.clone(),
            resource: self.route_names.resource(resource),
            agent: agent.name.as_str().into(),
            weight: agent.weight,
            guarantee: agent.guarantee.unwrap_or_default(),
            ceiling: agent.ceiling,
            guarantees,
            route: self.route_names.of(&Method::GET, "none"),
            is_write: false,
            creates_content: false,
            repository: None,
            price: Some(1),
        }
    }

    fn refused(&self, permitted: &Permitted, refusal: &Refusal) -> ProxyError {
        let limit = Limit {
            retry_after: refusal.retry_after,
            reset: self.in_seconds(refusal.retry_after),
            used: refusal.view.used.unsigned_abs(),
            resource: permitted.call().route.operation.resource,
            is_closed: refusal.reason == crate::budget::Reason::Closed,
            was_sent: false,
            has_used_approval: false,
        };
        if refusal.reason == crate::budget::Reason::StoreAway {
            return ProxyError::StoreUnavailable { retry_after: refusal.retry_after };
        }
        match refusal.reason.is_upstream() {
            true => ProxyError::UpstreamLimited(limit),
            false => ProxyError::BudgetExhausted { agent: permitted.agent().name.clone(), limit },
        }
    }

    /// The epoch second, rounded up, at which `seconds` will have passed.
    pub(super) fn in_seconds(&self, seconds: u64) -> i64 {
        let now = (self.clock.now_ms() + 999).div_euclid(1000);
        now.saturating_add_unsigned(seconds)
    }
}
