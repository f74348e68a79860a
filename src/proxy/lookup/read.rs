//! A read through the cache: fresh, revalidated, shared with callers of the same, or new.

use std::sync::Arc;

use headers::{HeaderMapExt, IfModifiedSince, LastModified};
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
};
use http::{Response, StatusCode};

use super::keep::Kept;
use super::says;
use crate::cache::changes::{Area, Reach};
use crate::cache::entry::{Condition, Entry, Validator, describes_body};
use crate::cache::flights::{Flight, Lead, State};
use crate::cache::key::Key;
use crate::cache::{CacheResult, WRITTEN_BYTES_MAX, etag};
use crate::error::ProxyError;
use crate::github::tokens::Token;
use crate::policy::routes::Scope;
use crate::proxy::Proxy;
use crate::proxy::admit::Admitted;
use crate::proxy::body::full;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;
use crate::proxy::guard::Permitted;
use crate::proxy::identify::unserved;
use crate::proxy::settle::{Answer, Attempts};
use crate::secret::holds_credential;

/// GitHub's default and maximum number of items per page.
const PAGE_DEFAULT: usize = 30;
const PAGE_MAX: usize = 100;

/// A read that the cache has a part in.
#[derive(Debug)]
pub(crate) struct Read {
    pub(super) key: Key,
    pub(super) reach: Reach,
    /// Items per page, as requested.
    pub(super) per_page: usize,
    /// The headers that go up, without the credential and conditions.
    pub(in crate::proxy) headers: HeaderMap,
    /// The cache's entry, fresh or not.
    known: Option<Arc<Entry>>,
    /// The first attempt, if it has been admitted already.
    pub(in crate::proxy) admitted: Option<Admitted>,
    /// Set while other callers wait for this read's answer.
    pub(in crate::proxy) lead: Option<Lead>,
    /// The attempts made so far, once GitHub has answered.
    pub(in crate::proxy) attempts: Option<Attempts>,
    /// The last attempt.
    pub(super) asked: Option<Asked>,
}

/// How GitHub was asked in an attempt.
#[derive(Debug)]
pub(super) struct Asked {
    condition: Condition,
    pub(super) token: Arc<Token>,
    /// When, in epoch milliseconds.
    pub(super) at_ms: i64,
}

/// How a read that may share its answer goes on.
enum Turn {
    /// It asks GitHub, for everybody who waits.
    Lead(Box<Admitted>, Lead),
    /// Another read has asked; none if its answer is not for others.
    Landed(Option<Arc<Entry>>),
}

impl Proxy {
    pub(super) fn read_of(&self, permitted: &Permitted) -> Read {
        let call = permitted.call();
        let headers = self.headers_of_read(&call.headers);
        let repositories = permitted.token_repositories().cloned();
        let installation = permitted.installation();
        let rights = (Arc::clone(&installation.label), installation.rights);
        let key = Key::new(rights, repositories, call.target.path_and_query(), &headers);
        let known = self.cache.get(&key);
        Read {
            reach: reach_of(permitted),
            per_page: page_size(call),
            headers,
            known,
            admitted: None,
            lead: None,
            attempts: None,
            asked: None,
            key,
        }
    }

    /// Answers a read.
    pub(in crate::proxy) async fn read_through(
        &self,
        permitted: &mut Permitted,
        mut read: Read,
        ctx: &mut Context,
    ) -> Result<Answer, ProxyError> {
        // With `no-cache`, a caller takes no answer to an earlier request.
        if !says(permitted.call(), "no-cache") {
            if let Some(entry) = read.known.as_ref().filter(|entry| self.cache.is_fresh(entry, &read.reach)) {
                return Ok(self.known(permitted, &read.key, entry, CacheResult::Hit, ctx).await);
            }
            let flight = self.cache.flights.join(&read.key, self.cache.changed_ms(&read.reach));
            match self.turn(permitted, &flight, ctx).await? {
                Turn::Landed(Some(entry)) => {
                    // The agent may have been switched off while it waited.
                    self.check_still(permitted, ctx)?;
                    return Ok(self.known(permitted, &read.key, &entry, CacheResult::Coalesced, ctx).await);
                }
                Turn::Landed(None) => {}
                Turn::Lead(admitted, lead) => (read.admitted, read.lead) = (Some(*admitted), Some(lead)),
            }
        }
        let mut answer = self.exchange(permitted, Some(&mut read), ctx).await;
        let (answer, shared) = loop {
            let has_begun = answer.is_ok();
            let (landed, shared) = self.landed(permitted, &read, answer, ctx).await;
            // It broke off before the caller had any of it, so the caller need not notice.
            let cut = match landed {
                Err(cut) if has_begun => cut,
                landed => break (landed, shared),
            };
            let Some(pause) = read.attempts.as_ref().and_then(|made| self.pause_after_cut(made)) else {
                break (Err(cut), shared);
            };
            answer = match self.hold_off(permitted.agent(), pause, ctx).await {
                Ok(()) => self.exchange(permitted, Some(&mut read), ctx).await.or(Err(cut)),
                Err(error) => Err(error),
            };
        };
        if let Some(lead) = read.lead {
            lead.land(shared);
        }
        answer
    }

    /// Waits until this read is admitted, or another one that was admitted first has its answer.
    async fn turn(
        &self,
        permitted: &Permitted,
        flight: &Arc<Flight>,
        ctx: &mut Context,
    ) -> Result<Turn, ProxyError> {
        let mut state = flight.watch();
        let agent = permitted.agent();
        loop {
            let seen = state.borrow_and_update().clone();
            match seen {
                State::Landed(entry) => return Ok(Turn::Landed(entry)),
                State::Flying => tokio::select! {
                    _ = state.changed() => {}
                    standing = self.roster.until_not_served(&agent.name) => return Err(unserved(agent, standing)),
                },
                State::Waiting => tokio::select! {
                    biased;
                    _ = state.changed() => {}
                    // What was charged is given back if another read took off meanwhile.
                    admitted = self.admit(permitted, ctx) => {
                        let admitted = admitted?;
                        if let Some(lead) = flight.take_off() {
                            return Ok(Turn::Lead(Box::new(admitted), lead));
                        }
                    }
                },
            }
        }
    }

    /// What GitHub's answer means for this read, and what others may have of it.
    async fn landed(
        &self,
        permitted: &Permitted,
        read: &Read,
        answer: Result<Answer, ProxyError>,
        ctx: &mut Context,
    ) -> (Result<Answer, ProxyError>, Option<Arc<Entry>>) {
        let call = permitted.call();
        let insists = says(call, "no-cache");
        let stale =
            read.known.as_ref().filter(|entry| !insists && self.cache.may_be_stale(entry, &read.reach));
        let answer = match (answer, stale) {
            (Err(error), Some(entry)) if error.is_upstream_failure() => {
                ctx.cause.get_or_insert_with(|| error.to_string());
                return (Ok(self.known(permitted, &read.key, entry, CacheResult::Stale, ctx).await), None);
            }
            (Ok(answer), Some(entry)) if answer.status().is_server_error() => {
                ctx.cause = Some(format!("GitHub answered {}", answer.status()));
                return (Ok(self.known(permitted, &read.key, entry, CacheResult::Stale, ctx).await), None);
            }
            (Ok(answer), _) => answer,
            (Err(error), _) => return (Err(error), None),
        };
        let Some(asked) = &read.asked else { return (Ok(answer), None) };
        // A failure says nothing of what is known.
        let is_known = read.known.is_some() && !answer.status().is_server_error();
        ctx.cache = Some(if is_known { CacheResult::Changed } else { CacheResult::Miss });
        if answer.status() == StatusCode::NOT_MODIFIED {
            // Without an entry the condition was the caller's own; without a condition a 304 tells us nothing.
            if read.known.is_some() && asked.condition.header.is_none() {
                return (Ok(answer), None);
            }
            ctx.cache = Some(CacheResult::Revalidated);
            self.metrics.quota_saved.with_label_values(&["revalidated"]).inc();
            let Some(entry) = &read.known else { return (Ok(answer), None) };
            self.count_validator(asked, "unchanged");
            entry.confirm(answer.headers(), &asked.condition, &asked.token, asked.at_ms);
            let served = reused(call, &read.key, entry, Some(answer.headers()));
            return (Ok(served), Some(Arc::clone(entry)));
        }
        if is_known {
            self.count_validator(asked, "changed");
        }
        match self.keep(read, asked, answer, ctx).await {
            Ok(Kept::Whole { entry, head }) => (Ok(served(call, &entry, Some(&head))), Some(entry)),
            Ok(Kept::Passing(answer)) => (Ok(answer), None),
            Err(error) => match stale {
                Some(entry) => {
                    ctx.cause = Some(error.to_string());
                    (Ok(self.known(permitted, &read.key, entry, CacheResult::Stale, ctx).await), None)
                }
                None => (Err(error), None),
            },
        }
    }

    fn count_validator(&self, asked: &Asked, result: &str) {
        self.metrics.cache_validators.with_label_values(&[asked.condition.by.as_str(), result]).inc();
    }

    /// Serves the entry without a call to GitHub.
    async fn known(
        &self,
        permitted: &Permitted,
        key: &Key,
        entry: &Arc<Entry>,
        result: CacheResult,
        ctx: &mut Context,
    ) -> Answer {
        ctx.cache = Some(result);
        let saved = match result {
            CacheResult::Hit => Some("fresh"),
            CacheResult::Coalesced => Some("coalesced"),
            _ => None,
        };
        if let Some(by) = saved {
            self.metrics.quota_saved.with_label_values(&[by]).inc();
        }
        let resource = permitted.call().route.operation.resource;
        let share = self.share(permitted.agent(), permitted.installation(), resource);
        ctx.view = Some(self.budget.look(&share).await.0);
        let mut answer = reused(permitted.call(), key, entry, None);
        let age = (self.clock.now_ms() - entry.checked_ms()).max(0) / 1000;
        answer.headers_mut().insert(AGE, HeaderValue::from(age));
        answer
    }
}

impl Read {
    /// Adds the condition to the headers that go up with this token: the cache's own if there is an
    /// entry, otherwise the caller's, unless that names an ETag that only the cache gives.
    pub(in crate::proxy) fn ask(
        &mut self,
        proxy: &Proxy,
        permitted: &Permitted,
        token: &Arc<Token>,
        headers: &mut HeaderMap,
    ) {
        let call = permitted.call();
        let (rights, repositories) = (permitted.installation().rights, permitted.token_repositories());
        if self.key.rights() != rights || self.key.repositories() != repositories {
            // The configuration has another credential now, or the token had to be narrowed further.
            self.key = self.key.by_token_for(rights, repositories.cloned());
            self.known = proxy.cache.get(&self.key);
        }
        let condition = match &self.known {
            Some(entry) => entry.condition(&self.key, token, &proxy.cache.proofs),
            None => Condition { by: Validator::Plain, header: None },
        };
        if let Some((name, value)) = &condition.header {
            headers.insert(name.clone(), value.clone());
        } else if self.known.is_none() && !etag::names_own(&call.headers) {
            for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                let values = call.headers.get_all(&name).iter();
                for value in values.filter(|value| !holds_credential(value.as_bytes())) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        self.asked = Some(Asked { condition, token: Arc::clone(token), at_ms: proxy.clock.now_ms() });
    }
}

/// What the answer depends on. By id, a repository may be renamed without our knowledge, so changes may go by another
/// name; and a comparison with a fork shows what happens there.
fn reach_of(permitted: &Permitted) -> Reach {
    let route = &permitted.call().route;
    let reaches_forks = route.param("basehead").is_some_and(|ends| ends.contains(':'));
    let repository = match route.scope {
        Scope::RepositoryId(_) => None,
        _ if reaches_forks => None,
        _ => permitted.repository().map(|name| name.to_string().to_ascii_lowercase()),
    };
    let area = repository.as_ref().and_then(|_| Area::of_template(route.operation.template));
    Reach { repository, area }
}

/// Marks an answer whose body comes from an earlier entry, so that it may have been rewritten already.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Reused {
    pub(in crate::proxy) key: Key,
    pub(in crate::proxy) entry: Arc<Entry>,
}

impl Reused {
    /// Whether the rewritten body may be kept whole. A long one, or one for ever new addresses,
    /// would take memory for each slow reader.
    pub(in crate::proxy) fn is_written_for(&self, ctx: &Context) -> bool {
        let is_short = self.entry.plain_bytes() <= WRITTEN_BYTES_MAX;
        is_short && ctx.address().is_some_and(|address| self.entry.is_written_for(&address))
    }
}

/// Like [`served`], for an entry that was there before.
fn reused(call: &Call, key: &Key, entry: &Arc<Entry>, exchange: Option<&HeaderMap>) -> Answer {
    let mut answer = served(call, entry, exchange);
    if answer.status() == StatusCode::OK {
        answer.extensions_mut().insert(Reused { key: key.clone(), entry: Arc::clone(entry) });
    }
    answer
}

/// An entry as the caller gets it, with the headers of the exchange with GitHub.
fn served(call: &Call, entry: &Entry, exchange: Option<&HeaderMap>) -> Answer {
    let (mut head, body) = entry.answer().into_parts();
    for (name, _) in exchange.into_iter().flatten().filter(|(name, _)| !describes_body(name)) {
        head.headers.remove(name);
    }
    for (name, value) in exchange.into_iter().flatten().filter(|(name, _)| !describes_body(name)) {
        head.headers.append(name.clone(), value.clone());
    }
    if is_had(call, entry, &head.headers) {
        head.status = StatusCode::NOT_MODIFIED;
        for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE] {
            head.headers.remove(name);
        }
        return Response::from_parts(head, full(bytes::Bytes::new()));
    }
    Response::from_parts(head, full(body))
}

/// Whether the caller has it already (RFC 9110 §13.2.2: an ETag takes precedence over a time).
fn is_had(call: &Call, entry: &Entry, head: &HeaderMap) -> bool {
    if let Some(is_named) = etag::is_named(&call.headers, entry.tag()) {
        let github = || entry.github_tag().and_then(|tag| etag::is_named(&call.headers, &tag));
        return is_named || github().unwrap_or(false);
    }
    let since = call.headers.typed_get::<IfModifiedSince>();
    let modified = head.typed_get::<LastModified>();
    matches!((since, modified), (Some(since), Some(modified)) if !since.is_modified(modified.into()))
}

fn page_size(call: &Call) -> usize {
    let said = call.target.query_values("per_page").first().and_then(|value| value.parse().ok());
    said.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
}
