//! What GitHub's operations are and who may do which: knowledge and decisions without I/O.
//!
//! [`target`] reads the request line and [`routes`] knows every published operation and its class. [`judge`] says
//! what a REST request does, [`branch`] which branch it changes, and [`repositories`] which repositories an agent
//! has. [`json`] and [`graphql`] read the bodies that decide, and [`jws`] reads signed tokens. [`approval`] says
//! what an approval must state, and whether one does. The stages in [`crate::proxy`] put the pieces together.

pub mod approval;

pub mod authorship;

pub mod branch;

pub mod graphql;

pub mod judge;

pub mod json;

pub mod jws;

pub mod repositories;

pub mod routes;

pub mod search;

pub mod target;

pub mod trailer;

#[cfg(test)]
mod lenient;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of action that an operation is; each GitHub operation has exactly one, subject to its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// GET, HEAD and GraphQL queries.
    Read,
    /// Issues, comments, labels, blobs, trees, commits, draft pull requests, commenting reviews.
    Write,
    /// Moves, creates or deletes a branch or tag, commits onto it, or starts something that does.
    RefWrite,
    /// Lands code on a base branch.
    Merge,
    /// Satisfies or removes a gate that is meant for a person or a check.
    Review,
    /// Rules that guard a branch, an environment or a push.
    Protection,
    /// Ownership, access, keys, secrets, settings, and everything outside a repository.
    Admin,
    /// Credentials: never open to an agent.
    #[schemars(skip)]
    Token,
}

impl Class {
    /// The spelling in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Write => "write",
            Class::RefWrite => "ref-write",
            Class::Merge => "merge",
            Class::Review => "review",
            Class::Protection => "protection",
            Class::Admin => "admin",
            Class::Token => "token",
        }
    }

    /// Classes open to an agent whose configuration names none.
    pub const ALLOWED_BY_DEFAULT: [Class; 5] =
        [Class::Read, Class::Write, Class::RefWrite, Class::Merge, Class::Review];

    /// Classes that need an approval unless the agent's configuration says otherwise.
    pub const APPROVED_BY_DEFAULT: [Class; 3] = [Class::Merge, Class::RefWrite, Class::Review];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
