//! Whether a permitted call may still go up: while it waited, the configuration may have changed.
//!
//! A call is judged by one whole configuration, the one it met. Right before it goes up, what a
//! newer configuration may have taken away is checked here again: the agent and its key or
//! identity, the repository, the class, who approves. This check can only refuse. The credential for GitHub is taken
//! from the configuration in force, too.

use std::sync::Arc;

use super::confine::{check_compared, check_repository, outside};
use super::{Permitted, Sanction};
use crate::agent::roster::Standing;
use crate::config::{Agent, ApprovalMode};
use crate::error::ProxyError;
use crate::github::installations::{Installation, Kind};
use crate::policy::Class;
use crate::policy::routes::Scope;
use crate::proxy::Proxy;
use crate::proxy::context::{Context, Credential};
use crate::proxy::identify::unserved;

impl Proxy {
    /// # Errors
    /// If the configuration in force has taken away what the call needs.
    pub(in crate::proxy) fn check_still(
        &self,
        permitted: &Permitted,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let agent = permitted.agent();
        self.refuse_unserved(agent)?;
        let Some(latest) = self.successor() else { return Ok(()) };
        let now = latest.rules.agents.named(&agent.name).ok_or_else(|| unserved(agent, Standing::Removed))?;
        if !latest.knows(ctx.credential.as_ref(), now) {
            return Err(ProxyError::BadCredentials);
        }
        if let Some(sanction) = permitted.sanction() {
            self.check_approver(&latest, sanction)?;
        }
        // A look-up serves another call, whose class is the one that counts.
        let is_look_up = permitted.call().is_look_up();
        if !is_look_up {
            latest.check_class(now, permitted.call(), ctx)?;
        }
        let confined = check_confined(permitted, now);
        latest.tolerate(now, ctx, confined)?;
        if is_look_up {
            return Ok(());
        }
        match (check_gate(permitted, now), permitted.call().class) {
            // As in the first check: plain writes are policy, which may only observe.
            (Err(refused), Class::Write) => latest.tolerate(now, ctx, Err(refused)),
            (checked, _) => checked,
        }
    }

    /// If the configuration in force has other credentials than the one that the call met, the call goes up with those:
    /// its own may have been withdrawn while it waited.
    ///
    /// # Errors
    /// If there is no credential of that name any more.
    pub(in crate::proxy) async fn renew_credential(
        &self,
        permitted: &mut Permitted,
    ) -> Result<(), ProxyError> {
        let Some(latest) = self.successor() else { return Ok(()) };
        if !Arc::ptr_eq(&latest.installations, &self.installations) {
            permitted.installation = Box::pin(latest.same_as(&permitted.installation)).await?;
        }
        Ok(())
    }

    /// The installation of this configuration that has another one's name.
    async fn same_as(&self, other: &Installation) -> Result<Arc<Installation>, ProxyError> {
        let found = match &other.kind {
            Kind::Personal(_) => self.installations.personal().into(),
            Kind::App(app) => {
                let found = self.installations.of_owner(&app.account).await;
                found.map_err(|error| self.unavailable(&error))?
            }
        };
        let same = found.iter().find(|one| one.label == other.label);
        // Not 404: sent again, it may go by another App, and clients do that by themselves only after a 503.
        same.map(Arc::clone).ok_or(ProxyError::Overloaded(
            "The configuration changed while the call waited, and what it was to go by is gone; GitHub has done nothing \
             of it. Send it again.",
        ))
    }

    /// Whether the caller's credential would still make it this agent.
    fn knows(&self, credential: Option<&Credential>, agent: &Arc<Agent>) -> bool {
        match credential {
            Some(Credential::Key(digest)) => agent.key_sha256.contains(digest),
            Some(Credential::Identity { issuer, subject }) => {
                self.rules.identities.agent_of(issuer, subject).is_some_and(|found| Arc::ptr_eq(found, agent))
            }
            None => false,
        }
    }

    fn check_approver(&self, latest: &Proxy, sanction: &Sanction) -> Result<(), ProxyError> {
        match sanction {
            Sanction::Presence if latest.rules.policy.approval_mode == ApprovalMode::Presence => Ok(()),
            Sanction::Presence => Err(ProxyError::OperationForbidden(
                "The configuration changed while the call waited: approvals are signed now. Send it again with one."
                    .to_owned(),
            )),
            Sanction::Signed { approval, wanted, .. } => {
                let is_kept = latest.rules.policy.verifier.has_kept(&self.rules.policy.verifier, &approval.issuer);
                let reason = || "who signed it may not approve any more".to_owned();
                is_kept.then_some(()).ok_or_else(|| ProxyError::ApprovalInvalid {
                    reason: reason(),
                    is_another_needed: true,
                    wanted: wanted.clone(),
                })
            }
        }
    }
}

fn check_confined(permitted: &Permitted, now: &Agent) -> Result<(), ProxyError> {
    let call = permitted.call();
    match (&call.route.scope, permitted.repository()) {
        (Scope::Everyone, _) => Ok(()),
        // Its token is for all of the agent's repositories, and what a mutation selects may lie in any.
        (Scope::Graphql, Some(_))
            if now.repositories.patterns() != permitted.agent().repositories.patterns() =>
        {
            Err(outside(now))
        }
        (_, Some(name)) => check_repository(now, name).and_then(|()| check_compared(now, call)),
        _ if now.repositories.is_everything() => Ok(()),
        // What the call reaches depends on all of the agent's repositories.
        _ if now.repositories.patterns() == permitted.agent().repositories.patterns() => Ok(()),
        _ => Err(outside(now)),
    }
}

fn check_gate(permitted: &Permitted, now: &Agent) -> Result<(), ProxyError> {
    let class = permitted.call().class;
    let is_gated = class == Class::Merge || now.require_approval.contains(&class);
    if !is_gated || permitted.sanction().is_some() {
        return Ok(());
    }
    Err(ProxyError::OperationForbidden(format!(
        "The configuration changed while the call waited: {class} operations of agent {} wait for an approval now. \
         Send it again.",
        now.name
    )))
}
