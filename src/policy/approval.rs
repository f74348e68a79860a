//! Approvals: what one must say for an operation, and whether a signed one says it.
//!
//! An approval travels through the agent it is for, so it is worth nothing beyond what it is bound to:
//! a pull request at one commit, or one request to the byte. Algorithm and key come from the
//! configuration alone (RFC 8725 §3.1); of the token's header only its algorithm's name is looked at, and
//! it has to be the issuer's. Whether an approval was used before is asked elsewhere ([`crate::spent`]).

pub mod moving;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::repositories::RepositoryName;
use crate::secret::hex;

/// The `aud` of every approval.
pub const AUDIENCE: &str = "tollgate";
/// How far an approver's clock may be ahead of ours, in seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 60;

/// One pull request at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullAt {
    pub number: u64,
    /// The commit at its head, lower-case hex.
    pub head_sha: String,
}

/// The branch a pull request is into. The commit says nothing of where it lands, and GitHub retargets a pull request by
/// itself when its base was merged and deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub branch: String,
    /// That one can't be deleted, so an approval need not name it.
    pub is_default: bool,
}

impl Base {
    /// One that an approval names.
    pub fn named(branch: &str) -> Base {
        Base { branch: branch.to_owned(), is_default: false }
    }
}

/// What ties an approval to what was reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The merge of a pull request: the approval names the commit, and tollgate puts it into the call.
    Pull {
        number: u64,
        /// Its head as far as it is known: what a refusal tells an approver to look at.
        head_sha: Option<String>,
        /// The branch it is into, as far as that is known.
        base: Option<Base>,
        /// The unmerged pull requests that land with it, bottom first and itself last; empty when it
        /// lands alone.
        stack: Vec<PullAt>,
    },
    /// Everything else: this request and no other.
    Request {
        sha256: String,
        /// The commit that a name in it means, where it names what moves ([`moving`]): what a refusal tells an
        /// approver. An approval that has it is pinned to it.
        head_sha: Option<String>,
        /// What the node ids in it stand for, which nobody could tell by looking at them: an approval says
        /// the same of each.
        ids: BTreeMap<String, String>,
    },
}

/// What an approval must say to open one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The repository; none for what is in no repository.
    pub repository: Option<RepositoryName>,
    /// The class of the operation, or `auto-merge`.
    pub action: &'static str,
    pub binding: Binding,
}

impl Requirement {
    /// The claims to sign, all but `iss`, `sub`, `iat`, `exp` and `jti`.
    pub fn claims(&self) -> Value {
        let mut claims = json!({ "aud": AUDIENCE, "action": self.action });
        if let Some(repository) = &self.repository {
            claims["repo"] = json!(repository.to_string());
        }
        match &self.binding {
            Binding::Pull { number, head_sha, base, stack } => {
                claims["pull_number"] = json!(number);
                if let Some(head_sha) = head_sha {
                    claims["head_sha"] = json!(head_sha);
                }
                if let Some(base) = base.as_ref().filter(|base| !base.is_default) {
                    claims["base"] = json!(base.branch);
                }
                if !stack.is_empty() {
                    claims["stack"] = stack.iter().map(PullAt::claim).collect();
                }
            }
            Binding::Request { sha256, head_sha, ids } => {
                if !ids.is_empty() {
                    claims["ids"] = json!(ids);
                }
                claims["request_sha256"] = json!(sha256);
                if let Some(head_sha) = head_sha {
                    claims["head_sha"] = json!(head_sha);
                }
            }
        }
        claims
    }
}

impl PullAt {
    fn claim(&self) -> Value {
        json!({ "pull_number": self.number, "head_sha": self.head_sha })
    }
}

/// The hash that binds an approval to one request: lower-case hex SHA-256 of `METHOD SP PATH LF BODY`.
///
/// `path` is [`super::target::Target::canonical`] with the repository by name; `body` the bytes as sent.
pub fn request_sha256(method: &str, path: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(method);
    hash.update(" ");
    hash.update(path);
    hash.update("\n");
    hash.update(body);
    hex(&hash.finalize())
}

/// A signed approval that says what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Who approved, by the issuer's word.
    pub subject: String,
    /// With the issuer, the name of this approval; it opens one operation.
    pub jti: String,
    /// Epoch seconds.
    pub issued_at: i64,
    pub expires_at: i64,
    /// The commit that was approved; always there when it is for a pull request's merge.
    pub head_sha: Option<String>,
    /// The branch it may land on, if the approval says it.
    pub base: Option<String>,
}

/// Why an approval is not taken. Texts say what to change and never hold what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejected {
    #[error("it is no signed token (three parts of base64url without padding, parted by dots)")]
    Form,
    #[error("its header or payload is no plain JSON object with unique keys")]
    Json,
    #[error("its header holds something other than `alg`, `typ` and `kid`, and nothing else is taken")]
    Header,
    #[error(
        "its issuer (`iss`) is not one of those configured; `tollgate approve` takes the key file's name for it unless `--issuer` says another"
    )]
    Issuer,
    #[error("its algorithm is not the one configured for its issuer")]
    Algorithm,
    #[error("its signature does not verify")]
    Signature,
    #[error("the claim `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    #[error("its `aud` is not `tollgate`")]
    Audience,
    #[error("it was issued in the future: compare the clocks")]
    Early,
    #[error("it has expired")]
    Expired,
    #[error("it lives longer than the configured maximum")]
    Lifetime,
    #[error("it is for another repository")]
    Repository,
    #[error("it is for another class of operation")]
    Action,
    #[error("it is for another pull request")]
    Pull,
    #[error("the pull request is into another branch than the approved one (`base`)")]
    Base,
    #[error(
        "the pull request is part of a stack: the approval must name all that land with it, bottom first, at the commits they have now"
    )]
    Stack,
    #[error("it is for another request: method, path or body differ from what was approved")]
    Request,
    #[error("what `ids` says of the node ids in the request is not what they stand for")]
    Ids,
    #[error("it names both a pull request and a request, and one approval is for one thing")]
    Bindings,
}

/// Who may approve, and how its approvals are checked.
#[derive(Clone)]
pub struct Issuer {
    pub name: String,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    /// Of what the key was made from, to tell it from another.
    pub key_sha256: [u8; 32],
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Checks approvals against what the configuration says of those who sign them.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    issuers: BTreeMap<String, Issuer>,
    lifetime_max_seconds: i64,
}

impl Verifier {
    /// Without issuers nothing is ever taken.
    pub fn new(issuers: Vec<Issuer>, lifetime_max: Duration) -> Verifier {
        Verifier {
            issuers: issuers.into_iter().map(|issuer| (issuer.name.clone(), issuer)).collect(),
            lifetime_max_seconds: i64::try_from(lifetime_max.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Whether an issuer's key is the one that another verifier has.
    pub fn has_kept(&self, other: &Verifier, issuer: &str) -> bool {
        let key = |verifier: &Verifier| verifier.issuers.get(issuer).map(|issuer| issuer.key_sha256);
        key(self).is_some() && key(self) == key(other)
    }

    /// Whether nobody may approve.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether a token approves what is required, at `now` (epoch seconds).
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn verify(&self, token: &[u8], required: &Requirement, now: i64) -> Result<Approval, Rejected> {
        let token = token::read(token)?;
        let issuer = self.issuers.get(token.text("iss")?).ok_or(Rejected::Issuer)?;
        token.check_signature(issuer)?;
        let (issued_at, expires_at) = self.check_times(&token, now)?;
        if token.text("aud")? != AUDIENCE {
            return Err(Rejected::Audience);
        }
        check_repository(&token, required)?;
        if token.text("action")? != required.action {
            return Err(Rejected::Action);
        }
        let bound = check_binding(&token, &required.binding)?;
        Ok(Approval {
            issuer: issuer.name.clone(),
            subject: token.name("sub")?.to_owned(),
            jti: token.name("jti")?.to_owned(),
            issued_at,
            expires_at,
            head_sha: bound.head_sha,
            base: bound.base,
        })
    }

    fn check_times(&self, token: &token::Token<'_>, now: i64) -> Result<(i64, i64), Rejected> {
        let (issued_at, expires_at) = (token.seconds("iat")?, token.seconds("exp")?);
        if expires_at <= now {
            return Err(Rejected::Expired);
        }
        let not_before = if token.has("nbf") { token.seconds("nbf")? } else { issued_at };
        if issued_at.max(not_before) > now + CLOCK_SKEW_SECONDS {
            return Err(Rejected::Early);
        }
        if expires_at <= issued_at || expires_at - issued_at > self.lifetime_max_seconds {
            return Err(Rejected::Lifetime);
        }
        Ok((issued_at, expires_at))
    }
}

fn check_repository(token: &token::Token<'_>, required: &Requirement) -> Result<(), Rejected> {
    match &required.repository {
        // GitHub's names have no case of their own.
        Some(repository) if token.text("repo")?.eq_ignore_ascii_case(&repository.to_string()) => Ok(()),
        None if !token.has("repo") => Ok(()),
        Some(_) | None => Err(Rejected::Repository),
    }
}

/// What an approval of the right thing says more of it.
struct Bound {
    head_sha: Option<String>,
    base: Option<String>,
}

fn check_binding(token: &token::Token<'_>, binding: &Binding) -> Result<Bound, Rejected> {
    let names_pull = ["pull_number", "stack"].iter().any(|claim| token.has(claim));
    if names_pull && token.has("request_sha256") {
        return Err(Rejected::Bindings);
    }
    match binding {
        Binding::Request { sha256, ids, .. } => {
            if names_pull || token.text("request_sha256")? != sha256 {
                return Err(Rejected::Request);
            }
            if !ids.is_empty() && token.value("ids") != Some(&json!(ids)) {
                return Err(Rejected::Ids);
            }
            let head_sha = if token.has("head_sha") { Some(commit_of(token)?) } else { None };
            Ok(Bound { head_sha, base: None })
        }
        Binding::Pull { number, base, stack, .. } => {
            if token.number("pull_number")? != *number {
                return Err(Rejected::Pull);
            }
            let head_sha = commit_of(token)?;
            check_stack(token, stack)?;
            let approved = if token.has("base") { Some(token.text("base")?.to_owned()) } else { None };
            let now = base.as_ref().map(|base| &base.branch);
            if approved.is_some() && approved.as_ref() != now {
                return Err(Rejected::Base);
            }
            Ok(Bound { head_sha: Some(head_sha), base: approved })
        }
    }
}

fn commit_of(token: &token::Token<'_>) -> Result<String, Rejected> {
    let head_sha = token.text("head_sha")?;
    if is_commit(head_sha) { Ok(head_sha.to_owned()) } else { Err(Rejected::Claim("head_sha")) }
}

/// Nothing pins the pull requests below the one that is merged, so their commits are compared here; the
/// one that is merged GitHub compares.
fn check_stack(token: &token::Token<'_>, stack: &[PullAt]) -> Result<(), Rejected> {
    if !token.has("stack") {
        return if stack.is_empty() { Ok(()) } else { Err(Rejected::Stack) };
    }
    let (below, top) = match stack.split_last() {
        Some((top, below)) => (below, top.number),
        None => (&[][..], token.number("pull_number")?),
    };
    let mut expected: Vec<Value> = below.iter().map(PullAt::claim).collect();
    expected.push(json!({ "pull_number": top, "head_sha": token.text("head_sha")? }));
    if token.list("stack")? == expected { Ok(()) } else { Err(Rejected::Stack) }
}

/// A whole commit id in lower-case hex (SHA-1 or SHA-256).
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
