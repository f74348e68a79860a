//! Pull requests that agents open are drafts: whether they may leave that state is a person's to say.

use serde_json::Value;

use crate::config::{Agent, DraftRule};
use crate::error::ProxyError;
use crate::policy::json;
use crate::policy::routes::Condition;
use crate::proxy::Proxy;
use crate::proxy::classify::{Call, CallBody};
use crate::proxy::context::Context;

/// What a call does to a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    /// It opens a pull request that is none.
    OpensOther,
    /// It says that a pull request is ready.
    Ends,
}

impl Proxy {
    /// Refuses what ends a draft, and under `require` what is none.
    pub(super) fn check_draft(
        &self,
        agent: &Agent,
        call: &Call,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let refused = match (act_of(call)?, agent.draft_pull_requests) {
            (_, DraftRule::Off) | (Act::Nothing, _) | (Act::OpensOther, DraftRule::Force) => return Ok(()),
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

    /// Under `force` a pull request that is none becomes a draft.
    pub(super) fn force_draft(&self, agent: &Agent, call: &mut Call) -> Result<(), ProxyError> {
        if !is_forced(agent, call, self.policy.is_observing)? {
            return Ok(());
        }
        let body =
            json::with(call.body.held(), "draft", &Value::Bool(true)).map_err(|_| ProxyError::Internal)?;
        call.body = CallBody::Whole(body);
        call.is_made_draft = true;
        Ok(())
    }
}

fn is_forced(agent: &Agent, call: &Call, is_observing: bool) -> Result<bool, ProxyError> {
    let applies = agent.draft_pull_requests == DraftRule::Force && !is_observing;
    Ok(applies && act_of(call)? == Act::OpensOther)
}

/// The body was judged before, so it can be read.
fn act_of(call: &Call) -> Result<Act, ProxyError> {
    let draft = |body: &[u8]| match body {
        [] => Ok(None),
        body => json::object(body).map(|mut object| object.remove("draft")).map_err(|_| ProxyError::Internal),
    };
    Ok(match call.route.operation.condition {
        Condition::CreatesPull if draft(call.body.held())? == Some(Value::Bool(true)) => Act::Nothing,
        Condition::CreatesPull => Act::OpensOther,
        // GitHub has no such parameter there; should it get one, it is a person's.
        Condition::NamesBase => match draft(call.body.held())? {
            None | Some(Value::Bool(true)) => Act::Nothing,
            Some(_) => Act::Ends,
        },
        Condition::Always | Condition::Approves | Condition::Branch { .. } => Act::Nothing,
    })
}
