//! What GitHub says about a repository and its branches, asked as calls of the agent's own. Answers
//! are believed for five minutes, if they can't change with every push.
//!
//! An older answer is asked for again, with its validator, so that what did not change costs
//! nothing of the primary limit. A fact that can't be learned is `None`, and whoever asks decides
//! for the strict side. If GitHub does not answer, no older state stands in for the answer.

mod answer;
mod question;

use std::sync::Arc;

use http::StatusCode;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use moka::sync::Cache;

pub(super) use answer::Fact;
pub(super) use question::Question;

use super::{Asker, permit};
use crate::cache::changes::{Area, Reach, SETTLES_WITHIN};
use crate::error::{ProxyError, Side};
use crate::policy::Class;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::{self, Route, Scope};
use crate::policy::target::Target;
use crate::proxy::Proxy;
use crate::proxy::body::read_answer;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

/// How many answers are kept.
const ANSWERS_MAX: u64 = 100_000;
/// The longest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How many renames of a repository are followed.
pub(super) const MOVES_MAX: usize = 2;

/// Answers by installation: what one may see another may not.
#[derive(Debug, Clone)]
pub(super) struct FactCache {
    answers: Cache<(Arc<str>, u64, Question), Answered>,
}

#[derive(Debug, Clone)]
struct Answered {
    fact: Fact,
    at_ms: i64,
    etag: Option<HeaderValue>,
}

impl Default for FactCache {
    fn default() -> FactCache {
        FactCache { answers: Cache::new(ANSWERS_MAX) }
    }
}

impl Proxy {
    /// Asks GitHub, or remembers; none if the answer can't be known.
    ///
    /// # Errors
    /// If the agent's budget has no room to ask, or one of tollgate's own bounds is reached.
    pub(super) async fn fact(
        &self,
        asker: &Asker,
        question: &Question,
        ctx: &mut Context,
    ) -> Result<Option<Fact>, ProxyError> {
        let installation = &asker.installation;
        let key = (Arc::clone(&installation.label), installation.rights, question.clone());
        let known = self.known.facts.answers.get(&key);
        if let Some(known) = &known
            && known.fact != Fact::Missing
            && self.clock.now_ms() - known.at_ms < question.believed_ms()
            && known.at_ms >= self.guard_settled_at(question, &known.fact)
        {
            return Ok(Some(known.fact.clone()));
        }
        let etag = known.as_ref().and_then(|known| known.etag.clone());
        let mut permitted = permit(asker.clone(), look_up(question.target()?, etag), None)?;
        let at_ms = self.clock.now_ms();
        let answer = match Box::pin(self.exchange(&mut permitted, None, ctx)).await {
            Ok(answer) => answer,
            // GitHub gave no answer. The caller must see refusals of the budget, though.
            Err(error) if error.side() == Side::Upstream => return Ok(None),
            Err(error) => return Err(error),
        };
        let (head, body) = answer.into_parts();
        // The configuration may have another credential by now; what was known by the old one says nothing of it.
        let now = permitted.installation();
        let known = known.filter(|_| now.rights == key.1);
        let key = (Arc::clone(&now.label), now.rights, key.2);
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(known) = known
        {
            self.known.facts.answers.insert(key, Answered { at_ms, ..known.clone() });
            return Ok(Some(known.fact));
        }
        let read = read_answer(body, ANSWER_BYTES_MAX, self.upstream.request_timeout);
        let Some(body) = read.await else { return Ok(None) };
        let fact = question.read(head.status, &head.headers, &body);
        match &fact {
            Some(fact) => {
                let etag = head.headers.get(ETAG).cloned().filter(|_| head.status == StatusCode::OK);
                self.known.facts.answers.insert(key, Answered { fact: fact.clone(), at_ms, etag });
            }
            None => self.known.facts.answers.invalidate(&key),
        }
        Ok(fact)
    }
}

impl Proxy {
    /// From when on GitHub's answers reflect the last change to a repository's branch guards that a
    /// webhook or a write told of, in epoch milliseconds. Changes are told by the current name,
    /// which the question may not name.
    fn guard_settled_at(&self, question: &Question, known: &Fact) -> i64 {
        let current = match known {
            Fact::Repository { name, .. } => Some(name),
            _ => None,
        };
        let settles_ms = i64::try_from(SETTLES_WITHIN.as_millis()).unwrap_or(i64::MAX);
        let settled_at = |name: &RepositoryName| {
            let repository = Some(name.to_string().to_ascii_lowercase());
            let reach = Reach { repository, area: Some(Area::Guard) };
            self.feed.changes().last(&reach).saturating_add(settles_ms)
        };
        question.repository().into_iter().chain(current).map(settled_at).max().unwrap_or(0)
    }
}

/// A question as a call.
pub(super) fn look_up(target: Target, etag: Option<HeaderValue>) -> Box<Call> {
    let route = Route { operation: &routes::LOOK_UP, scope: Scope::Everyone, params: Vec::new() };
    let mut call = Box::new(Call::own(target, route, Class::Read));
    call.headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
    call
}
