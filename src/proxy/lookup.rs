//! Stage 5, what is known already: takes a permitted call, gives an answer or says to go on.
//!
//! Our own answers end here: an agent's limits are ours to tell. No answer of GitHub's is kept yet.

pub(super) mod own;

use super::Proxy;
use super::guard::Permitted;
use super::settle::Answer;
use crate::cache::CacheResult;

/// What is known for a call.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Nothing to do with this call; GitHub is asked.
    Bypass,
    /// An answer of tollgate's own.
    Own(Answer),
}

/// `GET /rate_limit`: an agent sees its own part.
const RATE_LIMIT: &str = "rate-limit/get";

impl Proxy {
    pub(super) async fn lookup(&self, permitted: &Permitted) -> Lookup {
        self.metrics.cache_requests.with_label_values(&[CacheResult::Bypass.as_str()]).inc();
        if permitted.call().route.operation.id == RATE_LIMIT {
            return Lookup::Own(self.rate_limit(permitted).await);
        }
        Lookup::Bypass
    }
}
