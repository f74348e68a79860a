//! Pull requests that agents open are drafts; only a person may mark them as ready.

use serde_json::Value;

use crate::config::{Agent, DraftRule};
use crate::error::ProxyError;
use crate::policy::json;
use crate::policy::routes::{Condition, Operation};
use crate::proxy::Proxy;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

/// What a call does to a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Nothing,
    /// Opens a pull request that is no draft.
    OpensOther,
    /// Marks a pull request as ready.
    Ends,
}

impl Proxy {
    /// Refuses a call that ends a draft and, under `require`, one that opens no draft. While policy only observes, a
    /// call that `force` would change is observed, too.
    pub(super) fn check_draft(
        &self,
        agent: &Agent,
        call: &Call,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let is_observing = self.rules.policy.is_observing;
        let refused = match (act_of(call)?, agent.draft_pull_requests) {
            (_, DraftRule::Off) | (Act::Nothing, _) => return Ok(()),
            (Act::OpensOther, DraftRule::Force) if !is_observing => return Ok(()),
            (Act::OpensOther, DraftRule::Force) => "Pull requests become drafts here.",
            (Act::OpensOther, DraftRule::Require) => {
                "Pull requests are opened as drafts here: send `\"draft\": true`. A person marks them as ready for review."
            }
            (Act::Ends, DraftRule::Force | DraftRule::Require) => {
                "Whether a draft is ready for review is a person's to say, not an agent's. Ask one, and say what is \
                 ready; asking again will not help."
            }
        };
        self.tolerate(agent, ctx, Err(ProxyError::DraftRequired(refused)))
    }

    /// Under `force`, turns a new pull request that is no draft into one.
    pub(super) fn force_draft(&self, agent: &Agent, call: &mut Call) -> Result<(), ProxyError> {
        if !is_forced(agent, call, self.rules.policy.is_observing)? {
            return Ok(());
        }
        call.set_member("draft", &Value::Bool(true))?;
        call.is_made_draft = true;
        Ok(())
    }
}

fn is_forced(agent: &Agent, call: &Call, is_observing: bool) -> Result<bool, ProxyError> {
    let applies = agent.draft_pull_requests == DraftRule::Force && !is_observing;
    Ok(applies && act_of(call)? == Act::OpensOther)
}

/// The strongest thing a call does. Its body was judged before, so it can be parsed.
fn act_of(call: &Call) -> Result<Act, ProxyError> {
    if let Some(graphql) = &call.graphql {
        let acts =
            graphql.mutations.iter().map(|mutation| act(mutation.operation, mutation.input.get("draft")));
        return Ok(acts.max().unwrap_or(Act::Nothing));
    }
    let operation = call.route.operation;
    if !matches!(operation.condition, Condition::CreatesPull | Condition::NamesBase)
        || call.body.held().is_empty()
    {
        return Ok(act(operation, None));
    }
    let object = json::object(call.body.held()).map_err(|_| ProxyError::Internal)?;
    Ok(act(operation, object.get("draft")))
}

fn act(operation: &Operation, draft: Option<&Value>) -> Act {
    match (operation.condition, draft) {
        (Condition::CreatesPull, Some(Value::Bool(true))) => Act::Nothing,
        (Condition::CreatesPull, _) => Act::OpensOther,
        (Condition::EndsDraft, _) => Act::Ends,
        // REST has no such parameter there; should it get one, only a person may use it.
        (Condition::NamesBase, Some(value)) if *value != Value::Bool(true) => Act::Ends,
        _ => Act::Nothing,
    }
}
