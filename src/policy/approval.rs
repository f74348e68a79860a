//! Approvals: what one must state for an operation, and whether a signed one states it.
//!
//! An approval travels through the agent that it is for, so it is worth nothing beyond what it is bound to: a
//! pull request at one commit, or one request, byte for byte. Algorithm and key come only from the configuration
//! (RFC 8725 §3.1); of the token's header only the algorithm's name is used, and it must be the issuer's.
//! [`crate::spent`] tells whether an approval was used before.

pub mod covered;
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
    /// The pull request's number.
    pub number: u64,
    /// Its head commit, lower-case hex.
    pub head_sha: String,
}

/// The branch that a pull request targets. The commit does not tell where it lands, and GitHub itself retargets a
/// pull request when its base is merged and deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub branch: String,
    /// The default branch can't be deleted, so an approval need not name it.
    pub is_default: bool,
}

impl Base {
    /// A base branch that an approval names.
    pub fn named(branch: &str) -> Base {
        Base { branch: branch.to_owned(), is_default: false }
    }
}

/// What ties an approval to what was reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The merge of a pull request: the approval names the commit, and tollgate puts that commit into the call.
    Pull {
        number: u64,
        /// The head commit as far as it is known; a refusal shows it, so that an approver knows what to review.
        head_sha: Option<String>,
        /// The base branch, as far as it is known.
        base: Option<Base>,
        /// The unmerged pull requests that land with it, bottom first and itself last; empty when it lands alone.
        stack: Vec<PullAt>,
    },
    /// Everything else: exactly this request.
    Request {
        sha256: String,
        /// If the request names something that can move ([`moving`]), the commit that the name stands for now; a
        /// refusal shows it. An approval that states it is pinned to that commit.
        head_sha: Option<String>,
        /// What the opaque node ids in the request stand for; an approval must state the same for each.
        ids: BTreeMap<String, String>,
    },
}

/// What an approval must say to open one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The repository; `None` for an operation outside any repository.
    pub repository: Option<RepositoryName>,
    /// The class of the operation, or `auto-merge`.
    pub action: &'static str,
    pub binding: Binding,
}

impl Requirement {
    /// The claims to sign, except `iss`, `sub`, `iat`, `exp` and `jti`.
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
/// `path` is [`super::target::Target::canonical`] with the repository by name; `body` is the bytes as sent.
pub fn request_sha256(method: &str, path: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(method);
    hash.update(" ");
    hash.update(path);
    hash.update("\n");
    hash.update(body);
    hex(&hash.finalize())
}

/// A signed approval that states what it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Who approved, according to the issuer.
    pub subject: String,
    /// With the issuer, this identifies the approval; it opens one operation.
    pub jti: String,
    /// Epoch seconds, as is `expires_at`.
    pub issued_at: i64,
    pub expires_at: i64,
    /// The approved commit; always present for the merge of a pull request.
    pub head_sha: Option<String>,
    /// The branch it may land on, if the approval names one.
    pub base: Option<String>,
}

/// Why an approval is rejected. The texts say what to change and never contain what was sent.
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
    #[error("it lives longer than {0} s, the configured maximum: sign one with a shorter `--expires`")]
    Lifetime(i64),
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

/// An approver, and how its approvals are verified.
#[derive(Clone)]
pub struct Issuer {
    pub name: String,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    /// Hash of the key's source, to tell whether the key was replaced.
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

/// Checks approvals against the configured issuers.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    issuers: BTreeMap<String, Issuer>,
    lifetime_max_seconds: i64,
}

impl Verifier {
    /// Without issuers, every approval is rejected.
    pub fn new(issuers: Vec<Issuer>, lifetime_max: Duration) -> Verifier {
        Verifier {
            issuers: issuers.into_iter().map(|issuer| (issuer.name.clone(), issuer)).collect(),
            lifetime_max_seconds: i64::try_from(lifetime_max.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Whether both verifiers have the same key for an issuer.
    pub fn has_kept(&self, other: &Verifier, issuer: &str) -> bool {
        let key = |verifier: &Verifier| verifier.issuers.get(issuer).map(|issuer| issuer.key_sha256);
        key(self).is_some() && key(self) == key(other)
    }

    /// Whether there are no issuers, so nobody can approve.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Checks that a token approves what is required, at `now` (epoch seconds).
    ///
    /// # Errors
    /// With the first check that failed.
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
            return Err(Rejected::Lifetime(self.lifetime_max_seconds));
        }
        Ok((issued_at, expires_at))
    }
}

fn check_repository(token: &token::Token<'_>, required: &Requirement) -> Result<(), Rejected> {
    match &required.repository {
        // GitHub's names are not case-sensitive.
        Some(repository) if token.text("repo")?.eq_ignore_ascii_case(&repository.to_string()) => Ok(()),
        None if !token.has("repo") => Ok(()),
        Some(_) | None => Err(Rejected::Repository),
    }
}

/// What a matching approval states beyond what is required.
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

/// Compares the commits of the pull requests below the merged one, which nothing else pins; GitHub compares the
/// merged one's.
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

/// Whether the text is a full commit id in lower-case hex (SHA-1 or SHA-256).
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
