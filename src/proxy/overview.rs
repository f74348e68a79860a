//! What the proxy knows that operators may want to see.

use super::Proxy;
use super::context::Context;
use crate::error::ProxyError;
use crate::status::refusals::RefusalStatus;
use crate::status::{HintStatus, TokenStatus};

/// See [`crate::status::Status`] for each field.
#[derive(Debug)]
pub struct Overview {
    /// Parts that only record what they would refuse.
    pub observing: Vec<String>,
    pub hints: Vec<HintStatus>,
    pub refusals: Vec<RefusalStatus>,
    pub tokens: Vec<TokenStatus>,
    pub cache_bytes: u64,
    pub cache_bytes_max: u64,
}

impl Proxy {
    pub fn overview(&self) -> Overview {
        let parts = [("budget", self.rules.is_observing), ("policy", self.rules.policy.is_observing)];
        let observing = parts.into_iter().filter(|(_, is_observing)| *is_observing);
        Overview {
            observing: observing.map(|(name, _)| name.to_owned()).collect(),
            hints: self.hints.overview(),
            refusals: self.refusals.latest(),
            tokens: self.tokens.overview(),
            cache_bytes: self.cache.size(),
            cache_bytes_max: self.cache.max_size(),
        }
    }

    /// Adds an error to the latest refusals. Failures of GitHub, or of the way to it, are not refusals.
    pub(super) fn keep_refusal(&self, error: &ProxyError, ctx: &Context) {
        if error.is_upstream_failure() {
            return;
        }
        self.refusals.add(RefusalStatus {
            at_epoch_ms: self.clock.now_ms(),
            agent: ctx.agent.as_ref().map(|agent| agent.name.clone()),
            code: error.code().to_owned(),
            method: ctx.method.as_str().chars().take(16).collect(),
            operation: ctx.operation.map_or("", |operation| operation.id).to_owned(),
            path: ctx.path.clone(),
            reason: error.to_string(),
            count: 1,
        });
    }
}
