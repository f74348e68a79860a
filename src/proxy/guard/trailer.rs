//! A line at the end of commit messages that says which agent made them (`policy.commit_trailer`).

use serde_json::Value;

use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::json;
use crate::policy::routes::Operation;
use crate::proxy::Proxy;
use crate::proxy::classify::{Call, CallBody};
use crate::proxy::context::Context;

/// Operations that make a commit, and where their body has its message.
const MESSAGES: [(&str, &str); 4] = [
    ("repos/create-or-update-file-contents", "message"),
    ("repos/delete-file", "message"),
    ("git/create-commit", "message"),
    ("repos/merge", "commit_message"),
];
/// A commit that came with its signature: another message would break it.
const SIGNATURE: &str = "signature";

/// Whether the operation's body may get a trailer, so that it has to be read.
pub(in crate::proxy) fn is_appended(operation: &Operation) -> bool {
    MESSAGES.iter().any(|(id, _)| *id == operation.id)
}

impl Proxy {
    pub(super) fn append_trailer(
        &self,
        agent: &Agent,
        call: &mut Call,
        ctx: &Context,
    ) -> Result<(), ProxyError> {
        let Some(trailer) = &self.policy.commit_trailer else { return Ok(()) };
        let place = MESSAGES.iter().find(|(id, _)| *id == call.route.operation.id);
        let Some((_, key)) = place else { return Ok(()) };
        if call.body.held().is_empty() {
            return Ok(());
        }
        let body = call.body.held();
        let object = json::object_without(body, "content")
            .map_err(|error| ProxyError::BadRequest(format!("The request is ambiguous: {error}.")))?;
        let is_signed = object.get(SIGNATURE).is_some_and(|signature| !signature.is_null());
        let Some(Value::String(message)) = object.get(*key).filter(|_| !is_signed) else { return Ok(()) };
        let trailer = trailer.replace("{agent}", &agent.name).replace("{request_id}", &ctx.request_id);
        let message = Value::String(with_trailer(message, &trailer));
        call.body = CallBody::Whole(json::with(body, key, &message).map_err(|_| ProxyError::Internal)?);
        Ok(())
    }
}

/// Git's trailers are the last paragraph; a message that has some gets one more line there.
fn with_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let is_trailer = |line: &str| {
        line.split_once(": ").is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let last = message.rsplit_once("\n\n").map(|(_, last)| last);
    let separator = match last {
        Some(last) if last.lines().all(is_trailer) => "\n",
        _ => "\n\n",
    };
    format!("{message}{separator}{trailer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_stand_together_at_the_end() {
        for (message, expected) in [
            ("Fix it", "Fix it\n\nAgent: a"),
            ("Fix it\n", "Fix it\n\nAgent: a"),
            (
                "Fix it\n\nWhy: because it was broken,\nand more.",
                "Fix it\n\nWhy: because it was broken,\nand more.\n\nAgent: a",
            ),
            ("Fix it\n\nSigned-off-by: x <x@y>", "Fix it\n\nSigned-off-by: x <x@y>\nAgent: a"),
            ("docs: say more", "docs: say more\n\nAgent: a"),
        ] {
            assert_eq!(with_trailer(message, "Agent: a"), expected, "{message:?}");
        }
    }
}
