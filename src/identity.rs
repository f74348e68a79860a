//! Signed identities: agents that present a token from an issuer the operator trusts instead of a tollgate key.
//!
//! A token proves its bearer's identity when all of these hold: its `iss` is exactly a configured issuer; one of
//! *that* issuer's keys signed it, with an algorithm that belongs to the key; its `aud` names us; it has not
//! expired; and a rule maps its `sub` to an agent. The token never chooses key or algorithm (RFC 8725 §3.1):
//! nothing that its header says about keys is used, except the name of one.
//!
//! Each token's signature is verified at most once a minute: the result is remembered under the token's hash
//! until the token expires or the issuer's keys change.

pub mod keys;
pub mod pattern;

mod source;
mod token;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::Agents;
use crate::clock::Clock;
use crate::config::{Agent, IdentityIssuer, IssuerKeys};
use crate::github::client::CaError;
use crate::metrics::Metrics;
use keys::{KeySet, Lookup};
use pattern::SubjectPattern;
use source::Source;
use token::Token;

/// Longest token read, in bytes; Kubernetes's have some 1,200, GitHub Actions's some 2,000.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Tokens remembered, at a few hundred bytes each.
const REMEMBERED_MAX: u64 = 10_000;
/// Longest time a result is remembered, if neither the token expires nor its issuer's keys change before.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// A token's bearer.
#[derive(Debug, Clone)]
pub struct Known {
    pub agent: Arc<Agent>,
    /// The token's `iss`.
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
}

/// Why a token is rejected. The texts are only for the log, and contain nothing from the token that its issuer
/// has not signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    #[error("it is no signed token of at most {TOKEN_BYTES_MAX} bytes")]
    Form,
    #[error("its header or payload is no plain JSON object with unique keys")]
    Json,
    #[error("its header asks for what is not understood here (`crit`, `b64`, or an unknown `typ`)")]
    Header,
    #[error("its issuer is not one of those configured")]
    Issuer,
    #[error("its algorithm is none that is taken, or not one of the key's it names")]
    Algorithm,
    #[error("the issuer's keys are not known: they could not be fetched yet")]
    NoKeys,
    #[error("it names a key that is not among the issuer's")]
    Key,
    #[error("it names no key, and the issuer has not exactly one that fits its algorithm")]
    Unnamed,
    #[error("its signature does not verify")]
    Signature,
    #[error("the claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    #[error("its `aud` does not name the configured audience")]
    Audience,
    #[error("it is not valid yet: compare the clocks")]
    Early,
    #[error("it has expired")]
    Expired,
    #[error("no rule says which agent the subject `{0}` is")]
    Subject(String),
}

impl Rejected {
    /// The metric's label.
    fn label(&self) -> &'static str {
        match self {
            Rejected::Form | Rejected::Json | Rejected::Header => "malformed",
            Rejected::Issuer => "issuer",
            Rejected::Algorithm => "algorithm",
            Rejected::NoKeys => "no_keys",
            Rejected::Key | Rejected::Unnamed => "key",
            Rejected::Signature => "signature",
            Rejected::Claim(_) => "claim",
            Rejected::Audience => "audience",
            Rejected::Early => "early",
            Rejected::Expired => "expired",
            Rejected::Subject(_) => "subject",
        }
    }
}

/// A rejection for the log: the issuer, if it is a configured one, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why} (issuer {issuer})")]
pub struct Rejection {
    pub issuer: String,
    pub why: Rejected,
}

/// One issuer and the rules that map its subjects to agents.
#[derive(Debug)]
struct Issuer {
    name: Arc<str>,
    audience: String,
    keys: IssuerKeys,
    source: Arc<Tended>,
    /// In configuration order; the first match counts.
    rules: Vec<(SubjectPattern, Arc<Agent>)>,
}

/// A source, and the task that keeps it fresh for as long as anyone needs it.
#[derive(Debug)]
struct Tended {
    source: Arc<Source>,
    _task: AbortOnDropHandle<()>,
}

impl Tended {
    fn try_new(issuer: &str, keys: &IssuerKeys, metrics: &Arc<Metrics>) -> Result<Tended, CaError> {
        let source = Arc::new(Source::try_new(issuer, keys.clone(), Arc::clone(metrics))?);
        let tended = Arc::clone(&source);
        let task = tokio::spawn(async move { tended.tend().await });
        Ok(Tended { source, _task: AbortOnDropHandle::new(task) })
    }
}

impl Deref for Tended {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.source
    }
}

/// A verified token.
#[derive(Debug, Clone)]
struct Proven {
    known: Known,
    /// Index of the issuer.
    issuer: usize,
    /// The keys that verified it; once the issuer has others, the result no longer holds.
    keys: Arc<KeySet>,
    expires_at: i64,
}

/// All configured issuers.
#[derive(Debug)]
pub struct Identities {
    issuers: Vec<Issuer>,
    proven: Cache<[u8; 32], Proven>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Identities {
    /// Starts to read the issuers' keys, in tasks that end when the returned value is dropped.
    ///
    /// # Errors
    /// When an issuer's certificate authorities can't be used.
    pub fn try_new(
        issuers: Vec<IdentityIssuer>,
        agents: &Agents,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Identities, CaError> {
        Identities::knowing(&[], issuers, agents, clock, metrics)
    }

    /// The issuers of another configuration. An issuer that keeps its name and key location keeps its known keys,
    /// so that an issuer that is unreachable just now locks nobody out.
    ///
    /// # Errors
    /// As for [`Identities::try_new`].
    pub fn renewed(&self, issuers: Vec<IdentityIssuer>, agents: &Agents) -> Result<Identities, CaError> {
        let (clock, metrics) = (Arc::clone(&self.clock), Arc::clone(&self.metrics));
        Identities::knowing(&self.issuers, issuers, agents, clock, metrics)
    }

    fn knowing(
        known: &[Issuer],
        issuers: Vec<IdentityIssuer>,
        agents: &Agents,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Identities, CaError> {
        let issuers = issuers.into_iter().map(|issuer| {
            // The configuration was checked: it has every agent that it names.
            let agent_of = |name: &str| agents.named(name).map(Arc::clone);
            let rules = issuer.rules.into_iter();
            let is_same = |known: &&Issuer| *known.name == *issuer.issuer && known.keys == issuer.keys;
            let source = match known.iter().find(is_same) {
                Some(known) => Arc::clone(&known.source),
                None => Arc::new(Tended::try_new(&issuer.issuer, &issuer.keys, &metrics)?),
            };
            Ok(Issuer {
                source,
                keys: issuer.keys,
                rules: rules.filter_map(|(subject, agent)| Some((subject, agent_of(&agent)?))).collect(),
                name: issuer.issuer.into(),
                audience: issuer.audience,
            })
        });
        Ok(Identities {
            issuers: issuers.collect::<Result<_, _>>()?,
            proven: Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build(),
            clock,
            metrics,
        })
    }

    /// Whether a credential is to be read as a token: keys have no dot, and no token starts like a key.
    pub fn takes(&self, credential: &[u8]) -> bool {
        !self.issuers.is_empty() && !credential.starts_with(b"tg_") && credential.contains(&b'.')
    }

    /// Verifies a token and returns its bearer.
    ///
    /// # Errors
    /// With the first check that failed.
    pub async fn identify(&self, token: &[u8]) -> Result<Known, Rejection> {
        let digest = Sha256::digest(token).into();
        if let Some(proven) = self.proven.get(&digest) {
            let issuer = &self.issuers[proven.issuer];
            if self.holds(issuer, &proven) {
                self.count(&issuer.name, "accepted");
                return Ok(proven.known);
            }
            self.proven.invalidate(&digest);
        }
        let (issuer, proven) = match self.read(token) {
            Ok((token, index)) => (&*self.issuers[index].name, self.prove(&token, index).await),
            Err(rejected) => ("none", Err(rejected)),
        };
        self.count(issuer, proven.as_ref().map_or_else(Rejected::label, |_| "accepted"));
        let proven = proven.map_err(|why| Rejection { issuer: issuer.to_owned(), why })?;
        self.proven.insert(digest, proven.clone());
        Ok(proven.known)
    }

    /// The agent that an issuer's subject stands for.
    pub fn agent_of(&self, issuer: &str, subject: &str) -> Option<&Arc<Agent>> {
        self.issuers.iter().find(|known| &*known.name == issuer)?.agent_of(subject)
    }

    fn holds(&self, issuer: &Issuer, proven: &Proven) -> bool {
        let keys = issuer.source.keys();
        let is_signed = keys.is_some_and(|keys| Arc::ptr_eq(&keys, &proven.keys));
        is_signed && self.clock.now_seconds() < proven.expires_at
    }

    fn count(&self, issuer: &str, result: &str) {
        self.metrics.identity_tokens.with_label_values(&[issuer, result]).inc();
    }

    fn read<'a>(&self, token: &'a [u8]) -> Result<(Token<'a>, usize), Rejected> {
        let token = token::read(token)?;
        let name = token.issuer()?;
        let index = self.issuers.iter().position(|issuer| *issuer.name == *name).ok_or(Rejected::Issuer)?;
        Ok((token, index))
    }

    async fn prove(&self, token: &Token<'_>, index: usize) -> Result<Proven, Rejected> {
        let issuer = &self.issuers[index];
        let keys = issuer.check_signature(token).await?;
        let now = self.clock.now_seconds();
        let expires_at = token.check_times(now)?;
        token.check_audience(&issuer.audience)?;
        let subject = token.subject()?;
        let agent = issuer.agent_of(subject).ok_or_else(|| Rejected::Subject(subject.to_owned()))?;
        let (agent, name) = (Arc::clone(agent), Arc::clone(&issuer.name));
        let known = Known { agent, issuer: name, subject: subject.into() };
        Ok(Proven { known, issuer: index, keys, expires_at })
    }
}

impl Issuer {
    fn agent_of(&self, subject: &str) -> Option<&Arc<Agent>> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(subject)).map(|(_, agent)| agent)
    }

    /// Returns the key set in which a key signed the token. An unknown key may be new, so the key set is read
    /// once more if enough time has passed.
    async fn check_signature(&self, token: &Token<'_>) -> Result<Arc<KeySet>, Rejected> {
        let mut keys = self.source.keys();
        let lacks = |keys: &Option<Arc<KeySet>>| {
            keys.as_ref().is_none_or(|keys| matches!(token.lookup(keys), Lookup::Unknown))
        };
        if lacks(&keys) && self.source.look_again().await {
            keys = self.source.keys();
        }
        let keys = keys.ok_or(Rejected::NoKeys)?;
        let candidates = match token.lookup(&keys) {
            Lookup::Found(candidates) => candidates,
            Lookup::Unknown => return Err(Rejected::Key),
            Lookup::Ambiguous => return Err(Rejected::Unnamed),
            Lookup::Misfit => return Err(Rejected::Algorithm),
        };
        match candidates.iter().any(|key| token.is_signed_by(key)) {
            true => Ok(keys),
            false => Err(Rejected::Signature),
        }
    }
}

#[cfg(test)]
mod tests;
