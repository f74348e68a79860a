//! The ten stages of a request, in order. Each takes what the one before gives.
//!
//! | stage | file | takes | gives |
//! | --- | --- | --- | --- |
//! | 1 listen | [`listener`] | bytes | a framed request |
//! | 2 identify | `identify` | headers | the agent |
//! | 3 classify | `classify` | the request | a `Call`: target, operation, class, body |
//! | 4 guard | `guard` | agent and call | `Permitted` |
//! | 5 look up | `lookup` | `Permitted` | an answer, or on to 6 |
//! | 6 admit | `admit` | `Permitted` | `Admitted`, one attempt paid for |
//! | 7 inject | `inject` | `Admitted` | an `UpstreamRequest` with a credential |
//! | 8 forward | `forward` | the `UpstreamRequest` | an `Attempt` |
//! | 9 settle | `settle` | the `Attempt` | an `Answer`, or back to 6 |
//! | 10 respond | `respond` | the `Answer`, or a refusal | the response |
//!
//! Only their own stage can make a `Permitted`, an `Admitted` or an `UpstreamRequest`, so there is
//! no other way to GitHub: code that skips a stage does not compile.

pub mod listener;

mod identify;

mod classify;

mod guard;

mod lookup;

mod admit;

mod inject;

mod forward;

mod settle;

mod respond;

mod body;
mod context;
mod gzip;
mod held;
mod hints;
pub mod in_force;
mod names;
pub mod overview;
mod preference;
mod rules;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, request};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use admit::Admitted;
use body::{Readers, RequestBody, ResponseBody};
use context::Context;
pub use context::Peer;
use forward::Unclaimed;
use guard::Permitted;
use in_force::InForce;
use lookup::{Lookup, Read, own};
use rules::Rules;
use settle::{Answer, Attempts, Verdict};

use crate::agent::Agents;
use crate::agent::roster::Roster;
use crate::audit::Audit;
use crate::budget::Budget;
use crate::cache::Cache;
use crate::cache::feed::Feed;
use crate::clock::Clock;
use crate::config::{Agent, Config, Upstream};
use crate::error::ProxyError;
use crate::github::apps::App;
use crate::github::client::{CaError, HttpClient};
use crate::github::installations::Installations;
use crate::github::tokens::Tokens;
use crate::identity::Identities;
use crate::links::LinkBase;
use crate::metrics::Metrics;
use crate::retry::RetryBudget;
use crate::spent::SpentStore;
use crate::status::refusals::Refusals;

/// What the budget admits without queueing is admitted within this time.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Everything the stages share under one configuration.
#[derive(Debug, Clone)]
pub struct Proxy {
    rules: Rules,
    upstream: Arc<Upstream>,
    link_bases: Arc<[LinkBase]>,
    api_version: HeaderValue,
    /// Which of the agents are still served.
    roster: Arc<Roster>,
    installations: Arc<Installations>,
    tokens: Arc<Tokens>,
    known: guard::Known,
    /// Which approvals have been used.
    spent: Arc<dyn SpentStore>,
    audit: Audit,
    /// Cheaper ways of calling that agents have been told about.
    hints: hints::Hints,
    /// What was refused lately, and why.
    refusals: Arc<Refusals>,
    /// Request bodies held in memory, and their bounds.
    held: held::Held,
    /// Answers being read, and their bounds.
    readers: Readers,
    /// Calls that go on although their callers have hung up.
    unclaimed: Arc<Unclaimed>,
    budget: Arc<Budget>,
    cache: Arc<Cache>,
    retry_budget: Arc<RetryBudget>,
    route_names: Arc<names::RouteNames>,
    client: HttpClient,
    /// What is known to have changed at GitHub; also tells the other replicas.
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Cancelled late in a drain: from then on, requests that wait are refused.
    closing: CancellationToken,
    /// Leads to the `Proxy` of the configuration in force, which may be a newer one than this.
    in_force: Arc<OnceLock<Weak<InForce>>>,
}

/// What the proxy shares with the rest of the program.
#[derive(Debug)]
pub struct Shared {
    /// Already holds the configuration's agents.
    pub roster: Arc<Roster>,
    pub identities: Arc<Identities>,
    pub budget: Arc<Budget>,
    pub spent: Arc<dyn SpentStore>,
    pub audit: Audit,
    pub feed: Arc<Feed>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

impl Proxy {
    /// # Errors
    /// If the configured certificate authorities can't be used.
    pub fn try_new(config: Config, shared: Shared) -> Result<Proxy, CaError> {
        let (clock, metrics) = (shared.clock, shared.metrics);
        let client = HttpClient::try_new(&config.upstream)?;
        let cache = Arc::new(Cache::new(config.cache, Arc::clone(&shared.feed), Arc::clone(&clock)));
        let counted = Arc::downgrade(&cache);
        let bytes = metrics.cache_bytes.with_label_values::<&str>(&[]);
        metrics.before_render(move || {
            if let Some(cache) = counted.upgrade() {
                bytes.set(i64::try_from(cache.size()).unwrap_or(i64::MAX));
            }
        });
        let rules = Rules::new(&config, shared.roster.agents(), shared.identities);
        let upstream = Arc::new(config.upstream);
        let app = |app| Arc::new(App::new(app, client.clone(), &upstream, Arc::clone(&clock)));
        let apps = config.apps.into_iter().map(app).collect();
        Ok(Proxy {
            rules,
            link_bases: upstream.link_bases.clone().into(),
            api_version: HeaderValue::from_str(&upstream.api_version)
                .expect("the configuration holds a date"),
            upstream,
            budget: shared.budget,
            cache,
            retry_budget: Arc::default(),
            route_names: Arc::default(),
            roster: shared.roster,
            installations: Arc::new(Installations::new(apps, config.tokens)),
            tokens: Arc::new(Tokens::new(Arc::clone(&clock), Arc::clone(&metrics))),
            known: guard::Known::default(),
            spent: shared.spent,
            audit: shared.audit,
            hints: hints::Hints::new(),
            refusals: Arc::default(),
            held: held::Held::default(),
            readers: Readers::default(),
            unclaimed: Arc::default(),
            client,
            feed: shared.feed,
            metrics,
            clock,
            closing: CancellationToken::new(),
            in_force: Arc::default(),
        })
    }

    /// The same proxy under a new configuration, whose agents are in the roster already. Keeps what
    /// was learned, and every setting that takes effect only at start-up; see [`Config::fixed`].
    pub fn renewed(&self, config: Config, agents: Arc<Agents>, identities: Arc<Identities>) -> Proxy {
        let rules = Rules::new(&config, agents, identities);
        let mut proxy = Proxy { rules, ..self.clone() };
        if !self.installations.is_of(&config.apps, &config.tokens) {
            let app = |app| App::new(app, self.client.clone(), &self.upstream, Arc::clone(&self.clock));
            proxy.installations = Arc::new(self.installations.renewed(config.apps, config.tokens, app));
        }
        proxy
    }

    /// Forgets the tokens of Apps that this configuration does not have.
    fn forget_withdrawn(&self) {
        self.tokens.keep(self.installations.apps());
        let tokens = self.tokens.overview();
        self.metrics.forget_tokens(|name| tokens.iter().any(|token| token.installation == name));
    }

    /// What is known to have changed at GitHub, as told to the other replicas.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Calls that go on although nobody waits for them.
    pub(crate) fn unclaimed(&self) -> &Arc<Unclaimed> {
        &self.unclaimed
    }

    /// Finds the Apps' installations.
    pub fn installations(&self) -> &Arc<Installations> {
        &self.installations
    }

    /// Verifies the identity tokens of agents that come without a key.
    pub fn identities(&self) -> &Arc<Identities> {
        &self.rules.identities
    }

    /// From now on refuses requests that wait, so that their callers get an answer before the process ends.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Refuses once the proxy is closing, so that nothing is begun that could be cut off half done.
    fn check_open(&self) -> Result<(), ProxyError> {
        if self.closing.is_cancelled() { Err(ProxyError::Draining) } else { Ok(()) }
    }

    /// The `Proxy` of the configuration in force, if that is not this one.
    fn successor(&self) -> Option<Arc<Proxy>> {
        let latest = self.in_force.get()?.upgrade()?.proxy();
        (!std::ptr::eq(&raw const *latest, self)).then_some(latest)
    }

    /// The cache of GitHub's answers.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Serves one request. It always gives an answer: an error returned to hyper would close the
    /// connection without one, so even a panic becomes a 500.
    pub(crate) async fn handle(&self, request: Request<RequestBody>, peer: &Peer) -> Response<ResponseBody> {
        let (mut head, body) = request.into_parts();
        let ctx = Context::new(&head, peer, &self.rules.server);
        let mut awaited = Awaited { proxy: self, ctx, is_answered: false };
        let served = self.serve(&mut head, body, peer, &mut awaited.ctx);
        let served = AssertUnwindSafe(served).catch_unwind().await;
        let outcome = served.unwrap_or(Err(ProxyError::Internal));
        awaited.is_answered = true;
        self.respond(outcome, &awaited.ctx)
    }

    async fn serve(
        &self,
        head: &mut request::Parts,
        body: RequestBody,
        peer: &Peer,
        ctx: &mut Context,
    ) -> Result<Answer, ProxyError> {
        let agent = self.identify(&head.headers, ctx).await?;
        self.check_served(&agent, head, ctx)?;
        ctx.agent = Some(Arc::clone(&agent));
        let wait = preference::wait_of(&head.headers, self.rules.max_wait, self.rules.max_wait_limit);
        if own::is_about_me(head) {
            return Box::pin(self.about_me(&agent, ctx)).await;
        }
        let call = self.classify(&agent, head, body, peer, ctx).await?;
        ctx.hold(wait);
        let mut permitted = self.guard(&agent, call, ctx).await?;
        let answer = match self.lookup(&permitted, ctx).await {
            Lookup::Own(answer) => return Ok(answer),
            Lookup::Read(read) => Box::pin(self.read_through(&mut permitted, *read, ctx)).await?,
            Lookup::Bypass => self.exchange(&mut permitted, None, ctx).await?,
        };
        let answer = self.finish(&permitted, answer, ctx).await?;
        Ok(self.advise(&permitted, answer, ctx).await)
    }

    /// Admits another attempt. Identical reads in flight don't wait for one held by the budget:
    /// after `AT_ONCE` this read gives up its lead, and another may go first.
    async fn admit_again(
        &self,
        permitted: &Permitted,
        read: Option<&mut Read>,
        ctx: &mut Context,
    ) -> Result<Admitted, ProxyError> {
        let mut admitted = std::pin::pin!(self.admit(permitted, ctx));
        let Some(read) = read.filter(|read| read.lead.is_some()) else { return admitted.await };
        if let Ok(at_once) = tokio::time::timeout(AT_ONCE, &mut admitted).await {
            return at_once;
        }
        read.lead = None;
        admitted.await
    }

    /// Holds a call for `pause`, or until draining begins. An error if its agent is no longer served.
    async fn hold_off(&self, agent: &Agent, pause: Duration, ctx: &mut Context) -> Result<(), ProxyError> {
        let since = Instant::now();
        let held_off = tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            // Ok: the next attempt is refused by admission.
            () = self.closing.cancelled() => Ok(()),
            standing = self.roster.until_not_served(&agent.name) => Err(identify::unserved(agent, standing)),
        };
        ctx.held += since.elapsed();
        held_off
    }

    /// Asks GitHub. Each attempt is charged and given its credential anew.
    async fn exchange(
        &self,
        permitted: &mut Permitted,
        mut read: Option<&mut Read>,
        ctx: &mut Context,
    ) -> Result<Answer, ProxyError> {
        if permitted.sanction().is_some() {
            Box::pin(self.try_token_early(permitted, ctx)).await;
        }
        let made = read.as_mut().and_then(|read| read.attempts.take());
        let mut attempts = made.unwrap_or_else(|| Attempts::until(ctx.hold_until));
        let mut otherwise = None;
        loop {
            let paid = read.as_mut().and_then(|read| read.admitted.take());
            let admitted = match paid {
                Some(admitted) => Ok(admitted),
                None => self.admit_again(permitted, read.as_deref_mut(), ctx).await,
            };
            let admitted = match admitted {
                Ok(admitted) => admitted,
                // Not `otherwise`: if that answer were good enough, no further attempt would have been made.
                Err(ProxyError::Draining) => return Err(ProxyError::Draining),
                Err(refused) => return otherwise.unwrap_or(Err(refused.after(attempts.are_made()))),
            };
            let admitted = self.look_again(permitted, admitted, ctx).await?;
            let request = self.inject(permitted, &admitted, read.as_deref_mut()).await?;
            let attempt = self.forward(permitted, request, admitted, ctx).await?;
            match self.settle(permitted, attempt, &mut attempts, ctx).await? {
                Verdict::Done(answer) => {
                    if let Some(read) = read {
                        read.attempts = Some(attempts);
                    }
                    return Ok(answer);
                }
                Verdict::Again { pause, otherwise: told } => {
                    otherwise = told;
                    self.hold_off(permitted.agent(), pause, ctx).await?;
                }
            }
        }
    }
}

/// A request whose caller waits for the answer. If dropped unanswered, the caller has hung up,
/// which is counted and logged.
struct Awaited<'a> {
    proxy: &'a Proxy,
    ctx: Context,
    is_answered: bool,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.proxy.record_gone(&self.ctx);
        }
    }
}
