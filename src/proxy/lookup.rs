//! Stage 5, what is known already: takes a permitted call, gives an answer, or how to go on.
//!
//! tollgate's own answers end here: it is the one to tell an agent its limits. Reads go through the
//! cache (`lookup/read.rs`), which may know the answer or share one among callers. All else asks GitHub.

mod keep;
pub(super) mod own;
mod read;

use http::Method;
use http::header::{CACHE_CONTROL, IF_MATCH, IF_UNMODIFIED_SINCE, PRAGMA, RANGE};

use super::Proxy;
use super::classify::{Call, CallBody};
use super::context::Context;
use super::guard::Permitted;
use super::settle::Answer;
use crate::cache::CacheResult;
use crate::github::tokens::Access;
use crate::policy::routes::Scope;
pub(super) use own::Own;
pub(super) use read::{Read, Reused};

/// What the look-up found for a call.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The cache has no part in this call; GitHub is asked.
    Bypass,
    /// An answer of tollgate's own.
    Own(Answer),
    /// A read that the cache has a part in.
    Read(Box<Read>),
}

/// `GET /rate_limit`: an agent sees its own share.
const RATE_LIMIT: &str = "rate-limit/get";

impl Proxy {
    pub(super) async fn lookup(&self, permitted: &Permitted, ctx: &mut Context) -> Lookup {
        ctx.cache = Some(CacheResult::Bypass);
        if permitted.call().route.operation.id == RATE_LIMIT {
            return Lookup::Own(Box::pin(self.rate_limit(permitted)).await);
        }
        if self.cache.is_off() || permitted.access() != Access::Read || !is_kept(permitted.call()) {
            return Lookup::Bypass;
        }
        Lookup::Read(Box::new(self.read_of(permitted)))
    }
}

/// Whether the answer to such a call may be kept for others.
fn is_kept(call: &Call) -> bool {
    let headers = &call.headers;
    let is_whole = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE].iter().all(|name| !headers.contains_key(name));
    call.method == Method::GET
        && matches!(call.body, CallBody::Empty)
        && is_whole
        && !says(call, "no-store")
        && !call.route.operation.uploads
        && !matches!(call.route.scope, Scope::Graphql | Scope::InstallationRepositories)
}

/// Whether the caller gives this directive (RFC 9111 §5.2.1).
fn says(call: &Call, directive: &str) -> bool {
    let values = call.headers.get_all(CACHE_CONTROL).iter().chain(call.headers.get_all(PRAGMA));
    let mut directives = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    directives.any(|said| said.trim().eq_ignore_ascii_case(directive))
}
