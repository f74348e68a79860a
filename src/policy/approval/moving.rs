//! Finds what a gated request (other than the merge of a pull request) names by something that can move.

use serde_json::Value;

use super::is_commit;
use crate::policy::Class;
use crate::policy::routes::Operation;

/// Something that stands for another commit after the next push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moving {
    /// The branch that is merged into another.
    Head(String),
    /// The pull request that a review approves without naming a commit.
    Review,
    /// The pull request of a pending review that is submitted as an approval; it can't name a commit.
    Submitted,
}

impl Moving {
    /// The moving name in an operation of this class; `member` returns a member of the body, or of the only
    /// mutation's input.
    ///
    /// # Errors
    /// When the request does not name it unambiguously.
    pub fn of(
        operation: &Operation,
        class: Class,
        member: impl Fn(&str) -> Option<Value>,
    ) -> Result<Option<Moving>, &'static str> {
        // 64 hex digits may be a branch's name, 40 may not.
        let is_whole = |sha: &str| sha.len() == 40 && is_commit(&sha.to_ascii_lowercase());
        match operation.id {
            "repos/merge" | "mergeBranch" => match member("head") {
                Some(Value::String(head)) if is_whole(&head) => Ok(None),
                Some(Value::String(head)) => Ok(Some(Moving::Head(head))),
                _ => Err("What is merged into a branch is named by `head`, a branch or a commit id."),
            },
            "pulls/submit-review" if class == Class::Review => Ok(Some(Moving::Submitted)),
            "pulls/create-review" | "addPullRequestReview" if class == Class::Review => {
                match member(review_key(operation)) {
                    None | Some(Value::Null) => Ok(Some(Moving::Review)),
                    Some(Value::String(sha)) if is_whole(&sha) => Ok(None),
                    Some(_) => {
                        Err("The commit that a review approves is named by its whole id, or not at all.")
                    }
                }
            }
            _ => Ok(None),
        }
    }
}

/// The member in which a review names its commit.
pub fn review_key(operation: &Operation) -> &'static str {
    if operation.id == "addPullRequestReview" { "commitOID" } else { "commit_id" }
}
