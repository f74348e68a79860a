//! Advice on cheaper ways to call, given in `x-tollgate-hint` and, for ten minutes, in `/tollgate/me`.
//!
//! It is about reads that GitHub answered, and never delays one, except for a look at the budget
//! while an agent's GraphQL points run out.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, LINK};
use http::{Response, StatusCode};
use moka::sync::Cache;

use super::Proxy;
use super::context::Context;
use super::guard::Permitted;
use super::respond::HINT;
use super::settle::Answer;
use crate::budget::View;
use crate::cache::CacheResult;
use crate::policy::Class;
use crate::policy::routes::Scope;
use crate::policy::target::Target;
use crate::status::HintStatus;

/// The window in which calls are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How long advice stays in `/tollgate/me`.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// How many counters and pieces of advice are kept, for all agents together.
const CALLS_MAX: u64 = 100_000;
/// Advise if the same call is made more often than this in a window.
const REPEATS: u32 = 5;
/// A call that the budget held this long came when points were short.
const HELD_LONG: Duration = Duration::from_secs(1);
/// Advise if more single files of one repository than this are read in a window.
const FILES: u32 = 20;
/// GitHub's largest page.
const PAGE_MAX: u32 = 100;

/// A cheaper way to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hint {
    RestIsIdle,
    ManyFiles,
    Repeated,
    SmallPages,
}

impl Hint {
    const ALL: [Hint; 4] = [Hint::RestIsIdle, Hint::ManyFiles, Hint::Repeated, Hint::SmallPages];

    /// ASCII, since it goes into a header.
    fn text(self) -> &'static str {
        match self {
            Hint::RestIsIdle => {
                "Your GraphQL points run out while most of your REST points are left; ask by REST."
            }
            Hint::ManyFiles => {
                "Many files of this repository were read one by one; GET /repos/{owner}/{repo}/git/trees/{branch}?recursive=1 \
                 lists them all, and a clone has them."
            }
            Hint::Repeated => {
                "The same was asked more than five times in a minute; send If-None-Match with the answer's ETag, or ask less \
                 often."
            }
            Hint::SmallPages => "There are more pages; per_page=100 takes fewer calls.",
        }
    }
}

/// What agents asked lately, and what they were told.
#[derive(Debug, Clone)]
pub(crate) struct Hints {
    hasher: RandomState,
    calls: Cache<(Arc<str>, u64), Arc<AtomicU32>>,
    told: Cache<(Arc<str>, Hint), ()>,
}

impl Hints {
    pub(super) fn new() -> Hints {
        Hints {
            hasher: RandomState::new(),
            calls: Cache::builder().max_capacity(CALLS_MAX).time_to_live(WINDOW).build(),
            told: Cache::builder().max_capacity(CALLS_MAX).time_to_live(TOLD_FOR).build(),
        }
    }

    /// How often an agent has asked for `what` in this window, this time included.
    fn count(&self, agent: &Arc<str>, what: &impl std::hash::Hash) -> u32 {
        let key = (Arc::clone(agent), self.hasher.hash_one(what));
        self.calls.get_with(key, Arc::default).fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Remembers what an agent is told. What it was told already is not written again, since the
    /// write would cost more than all the rest of the advice.
    fn tell(&self, agent: Arc<str>, hint: Hint) {
        let told = (agent, hint);
        if !self.told.contains_key(&told) {
            self.told.insert(told, ());
        }
    }

    /// Which agents were told what in the last ten minutes.
    pub(super) fn overview(&self) -> Vec<HintStatus> {
        let mut agents: [Vec<String>; 4] = Default::default();
        for (told, ()) in &self.told {
            if let Some(place) = Hint::ALL.iter().position(|hint| *hint == told.1) {
                agents[place].push(told.0.to_string());
            }
        }
        let hints = Hint::ALL.into_iter().zip(agents).filter(|(_, agents)| !agents.is_empty());
        hints
            .map(|(hint, mut agents)| {
                agents.sort_unstable();
                HintStatus { text: hint.text().to_owned(), agents }
            })
            .collect()
    }

    /// What an agent was told in the last ten minutes.
    pub(super) fn told(&self, agent: &str) -> Vec<&'static str> {
        let agent: Arc<str> = agent.into();
        let is_told = |hint: &Hint| self.told.contains_key(&(Arc::clone(&agent), *hint));
        Hint::ALL.into_iter().filter(is_told).map(Hint::text).collect()
    }
}

impl Proxy {
    /// Adds at most one piece of advice, the first that applies, to an answer of GitHub's.
    pub(super) async fn advise(&self, permitted: &Permitted, answer: Answer, ctx: &Context) -> Answer {
        // An answer that cost no call has no cheaper way.
        let is_free = ctx.cache == Some(CacheResult::Hit);
        if is_free || permitted.call().class != Class::Read || answer.status() != StatusCode::OK {
            return answer;
        }
        let (mut head, body) = answer.into_parts();
        let agent: Arc<str> = permitted.agent().name.as_str().into();
        if let Some(hint) = self.hint(permitted, &agent, &head.headers, ctx).await {
            self.hints.tell(agent, hint);
            head.headers.insert(HINT, HeaderValue::from_static(hint.text()));
        }
        Response::from_parts(head, body)
    }

    async fn hint(
        &self,
        permitted: &Permitted,
        agent: &Arc<str>,
        headers: &HeaderMap,
        ctx: &Context,
    ) -> Option<Hint> {
        let call = permitted.call();
        let repeats = self.hints.count(agent, &(call.target.path(), call.target.query(), call.body.held()));
        let is_file = call.route.operation.id == "repos/get-content";
        let files = if is_file { self.hints.count(agent, &(permitted.repository(), "files")) } else { 0 };
        let is_short = ctx.held >= HELD_LONG || ctx.view.as_ref().is_some_and(is_short);
        if call.route.scope == Scope::Graphql && is_short {
            let core = self.share(permitted.agent(), permitted.installation(), "core");
            let (core, _) = Box::pin(self.budget.look(&core)).await;
            if !core.is_known || core.remaining > core.used {
                return Some(Hint::RestIsIdle);
            }
        }
        if files > FILES {
            Some(Hint::ManyFiles)
        } else if repeats > REPEATS && call.route.scope != Scope::Graphql {
            Some(Hint::Repeated)
        } else {
            (has_more(headers) && page_size(&call.target) < PAGE_MAX).then_some(Hint::SmallPages)
        }
    }
}

/// Whether less than a tenth is left.
fn is_short(view: &View) -> bool {
    view.is_known && view.remaining.saturating_mul(10) < view.used.saturating_add(view.remaining)
}

fn has_more(headers: &HeaderMap) -> bool {
    headers.get_all(LINK).iter().any(|link| link.to_str().is_ok_and(|link| link.contains("rel=\"next\"")))
}

/// GitHub's default is 30.
fn page_size(target: &Target) -> u32 {
    target.query_values("per_page").first().and_then(|value| value.parse().ok()).unwrap_or(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_into_a_header_and_is_said_once_for_all() {
        for hint in Hint::ALL {
            assert!(hint.text().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{hint:?}");
        }
        let hints = Hints::new();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert_eq!([1, 2].map(|_| hints.count(&one, &"x")), [1, 2]);
        assert_eq!((hints.count(&one, &"y"), hints.count(&other, &"x")), (1, 1));
        hints.tell(one, Hint::Repeated);
        assert_eq!(hints.told("one"), [Hint::Repeated.text()]);
        assert!(hints.told("other").is_empty());
    }

    #[test]
    fn pages_are_as_large_as_asked_for() {
        for (query, size) in
            [(None, 30), (Some("page=2"), 30), (Some("per_page=100"), 100), (Some("per_page=x"), 30)]
        {
            assert_eq!(page_size(&Target::parse("/issues", query).unwrap()), size, "{query:?}");
        }
    }
}
