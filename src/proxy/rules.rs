//! What the configuration says about requests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::agent::Agents;
use crate::config::{Config, Policy, Server};
use crate::identity::Identities;
use crate::retry;

/// The settings that a reload replaces, all at once.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) server: Server,
    pub(super) policy: Policy,
    pub(super) agents: Arc<Agents>,
    pub(super) identities: Arc<Identities>,
    pub(super) retry: retry::Policy,
    pub(super) max_wait: Duration,
    pub(super) max_wait_limit: Duration,
    /// Let everything through, and log what would have been refused.
    pub(super) is_observing: bool,
    /// The status of a rate-limit refusal: 403 or 429.
    pub(super) over_budget_status: StatusCode,
}

impl Rules {
    pub(super) fn new(config: &Config, agents: Arc<Agents>, identities: Arc<Identities>) -> Rules {
        Rules {
            server: config.server.clone(),
            policy: config.policy.clone(),
            agents,
            identities,
            retry: retry::Policy::new(config.retry),
            max_wait: config.budget.max_wait,
            max_wait_limit: config.budget.max_wait_limit,
            is_observing: config.budget.is_observing,
            over_budget_status: config.budget.over_budget_status,
        }
    }
}
