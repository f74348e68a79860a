//! The file as written: one type for each section, with the defaults of what it leaves out.
//!
//! The docs of these fields are the reference manual: `tollgate config schema` prints them, and editors show them
//! beside the key. Nothing here is checked beyond its type; `validate` does that. A type that is the same before and
//! after has one place, where it is used (`budget::Secondary`, `config::DraftRule`). An unknown key is an error
//! everywhere, so that a typo in a limit starts no server.

mod agents;
mod budget;
mod credentials;
mod policy;
mod server;
mod units;
mod upstream;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use agents::{Agent, Identity, IdentityRule, KeyHashes};
pub use budget::{Budget, Cache, Redis, Retry, Sentinel};
pub use credentials::{Access, App, PersonalToken};
pub use policy::{Approval, Issuer, Policy};
pub use server::{Server, Tls, Webhook};
pub use units::{Percent, Period, Size};
pub use upstream::Upstream;

/// Configuration of tollgate, a reverse proxy in front of the GitHub API for fleets of AI agents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["policy", "agents"]))]
pub struct File {
    /// The listeners and their bounds.
    pub server: Server,
    /// Where GitHub is and how long it may take.
    pub upstream: Upstream,
    /// GitHub Apps; the installation is found from the repository's owner.
    pub apps: Vec<App>,
    /// Personal access tokens, for development.
    pub tokens: Vec<PersonalToken>,
    /// How GitHub's quota is shared.
    pub budget: Budget,
    /// When a call is tried again.
    pub retry: Retry,
    /// The cache all agents share.
    pub cache: Cache,
    /// What agents may do, over all of them.
    pub policy: Policy,
    /// Who may use tollgate, and for what.
    #[schemars(length(min = 1))]
    pub agents: Vec<Agent>,
    /// Agents that come with a signed token instead of a key; all who map to one agent share its budget.
    pub identities: Vec<Identity>,
    /// GitHub tells what changed, so that cached reads stay fresh unasked.
    pub webhook: Option<Webhook>,
}

/// Whether a decision is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is decided is done.
    Enforce,
    /// Decide and record, but let everything through.
    Observe,
}
