//! Stage 5, what is known already: takes a permitted call, gives an answer or says to go on.
//!
//! Nothing is kept yet, so every call goes on.

use super::Proxy;
use super::guard::Permitted;
use crate::cache::CacheResult;

/// What the cache has for a call.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Nothing to do with this call; GitHub is asked.
    Bypass,
}

impl Proxy {
    pub(super) fn lookup(&self, _permitted: &Permitted) -> Lookup {
        self.metrics.cache_requests.with_label_values(&[CacheResult::Bypass.as_str()]).inc();
        Lookup::Bypass
    }
}
