//! The trailer line in a commit message that names the agent (`policy.commit_trailer`).

use bytes::Bytes;
use serde_json::{Map, Value};

use super::json::{self, JsonError};
use super::routes::Operation;

/// Operations that create a commit, and the member of their body that holds the message.
const MESSAGES: [(&str, &str); 4] = [
    ("repos/create-or-update-file-contents", "message"),
    ("repos/delete-file", "message"),
    ("git/create-commit", "message"),
    ("repos/merge", "commit_message"),
];
/// The member that holds a commit's signature; changing the message would invalidate it.
const SIGNATURE: &str = "signature";

/// Whether the operation's body may get a trailer, and so has to be read.
pub fn is_appended(operation: &Operation) -> bool {
    message_of(operation).is_some()
}

fn message_of(operation: &Operation) -> Option<&'static str> {
    MESSAGES.iter().find(|(id, _)| *id == operation.id).map(|(_, key)| *key)
}

/// The body with the trailer at the end of its message; `None` if there is no message that we may change.
///
/// # Errors
/// When the body is not one plain JSON object.
pub fn append(operation: &Operation, body: &[u8], trailer: &str) -> Result<Option<Bytes>, JsonError> {
    let Some(key) = message_of(operation).filter(|_| !body.is_empty()) else { return Ok(None) };
    let object = json::object_without(body, "content")?;
    let is_signed = object.get(SIGNATURE).is_some_and(|signature| !signature.is_null());
    let Some(Value::String(message)) = object.get(key).filter(|_| !is_signed) else { return Ok(None) };
    json::with(body, key, &Value::String(with_trailer(message, trailer))).map(Some)
}

/// What to set in the input of a mutation that creates a commit: the member, and its value with the trailer;
/// `None` if there is no message that we may change.
pub fn in_input(
    operation: &Operation,
    input: &Map<String, Value>,
    trailer: &str,
) -> Option<(&'static str, Value)> {
    match (operation.id, input.get("message"), input.get("commitMessage")) {
        ("createCommitOnBranch", Some(Value::Object(message)), _) => {
            let body = message.get("body").and_then(Value::as_str).filter(|body| !body.trim().is_empty());
            let body = body.map_or_else(|| trailer.to_owned(), |body| with_trailer(body, trailer));
            let mut message = message.clone();
            message.insert("body".to_owned(), Value::String(body));
            Some(("message", Value::Object(message)))
        }
        ("mergeBranch", _, Some(Value::String(message))) => {
            Some(("commitMessage", Value::String(with_trailer(message, trailer))))
        }
        _ => None,
    }
}

/// Git's trailers are the last paragraph; if the message has one, the trailer is added to it.
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
