//! Judges a REST request by its route and body: its class, or the branch that its class depends on.
//!
//! Everything here is decided without asking anyone. A body that decides is read strictly, and a key that merely looks
//! like a deciding one is refused, so that GitHub can't read a forwarded request as stronger than it was judged.

use serde_json::{Map, Value};
use thiserror::Error;

use super::Class;
use super::branch::{self, BranchError, NamedBranch, Place};
use super::json::{self, JsonError};
use super::routes::{Condition, Operation, Route, decimal};
use super::target::Target;

/// Merges of a pull request; an approval binds them to a commit.
const PULL_MERGES: [&str; 2] = ["pulls/merge", "pulls/merge-async"];
/// The key that holds a file's content in a body.
const CONTENT: &str = "content";

/// A request with more than one reading.
#[derive(Debug, Error)]
pub enum Ambiguous {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Branch(#[from] BranchError),
    #[error("the key {0:?} of the body looks like one that decides; leave it out")]
    LookAlike(String),
    #[error("the number of a pull request is a plain decimal number")]
    Number,
    #[error("this operation takes its parameters in the body; leave the query string out")]
    Query,
}

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The class; if `branch` is set, the class that applies if that branch is guarded.
    pub class: Class,
    /// The branch that has to be examined before the class is known.
    pub branch: Option<NamedBranch>,
}

/// Whether the body says what the operation does and so must be read first.
pub fn body_decides(operation: &Operation) -> bool {
    operation.condition != Condition::Always || merges_pull(operation)
}

/// Whether the body may be as long as a file.
pub fn holds_content(operation: &Operation) -> bool {
    matches!(
        operation.condition,
        Condition::Branch { place: Place::Body("branch") | Place::BodyOrQuery(_), .. }
    )
}

/// Whether the operation merges one pull request.
pub fn merges_pull(operation: &Operation) -> bool {
    PULL_MERGES.contains(&operation.id)
}

/// Judges a request; `body` is empty if there is none or it does not decide.
///
/// # Errors
/// When the request is ambiguous.
pub fn judge(route: &Route, target: &Target, body: &[u8]) -> Result<Judged, Ambiguous> {
    let operation = route.operation;
    let settled = |class| Ok(Judged { class, branch: None });
    let takes_query = matches!(operation.condition, Condition::Branch { place: Place::BodyOrQuery(_), .. });
    if operation.condition != Condition::Always && target.query().is_some() && !takes_query {
        // GitHub may read a parameter from either place.
        return Err(Ambiguous::Query);
    }
    match operation.condition {
        Condition::Always if merges_pull(operation) => {
            // An approval is bound to this number, so only one spelling is accepted.
            if route.param("pull_number").and_then(decimal).is_none() {
                return Err(Ambiguous::Number);
            }
            fields(body, &["sha"])?;
            settled(operation.class)
        }
        Condition::Always => settled(operation.class),
        Condition::EndsDraft => settled(operation.class),
        Condition::CreatesPull => {
            fields(body, &["draft"])?;
            settled(operation.class)
        }
        Condition::NamesBase => {
            let named = fields(body, &["base", "draft"])?.contains_key("base");
            settled(if named { operation.class } else { Class::Write })
        }
        Condition::Approves => {
            let approves = approves(fields(body, &["event"])?.get("event"));
            settled(if approves { operation.class } else { Class::Write })
        }
        Condition::Branch { place, .. } => {
            let object = match (place, body) {
                (_, []) => Map::new(),
                (Place::Head | Place::Input(_), _) => Map::new(),
                _ if holds_content(operation) => json::object_without(body, CONTENT)?,
                _ => json::object(body)?,
            };
            let branch = branch::named(place, |name| route.param(name), target, &object)?;
            Ok(Judged { class: operation.class, branch: Some(branch) })
        }
    }
}

/// The members of a body; none may look like a deciding one.
fn fields(body: &[u8], deciding: &[&str]) -> Result<Map<String, Value>, Ambiguous> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let object = json::object(body)?;
    match json::look_alike(&object, deciding) {
        Some(key) => Err(Ambiguous::LookAlike(json::shown(key))),
        None => Ok(object),
    }
}

/// Anything that GitHub could read as an approval counts as one; only these three values don't.
fn approves(event: Option<&Value>) -> bool {
    match event {
        None | Some(Value::Null) => false,
        Some(Value::String(event)) => !matches!(event.as_str(), "COMMENT" | "REQUEST_CHANGES" | "PENDING"),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests;
