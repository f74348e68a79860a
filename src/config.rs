//! The configuration the program runs on: every value checked, every secret read, every default filled in.
//!
//! Two steps lead here. [`raw`] holds the file as written, with the field docs that make the
//! reference manual and the JSON schema; `validate` turns it into this [`Config`] or into the
//! list of everything that is wrong with it. No stage of the proxy checks a value again.

pub mod raw;

pub mod problem;

pub mod load;

pub mod watch;

mod fixed;

mod document;

mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::header::HeaderName;
use http::{StatusCode, Uri};
use ipnet::IpNet;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

pub use crate::budget::{OnStoreLoss, Secondary};
pub use crate::links::LinkBase;
pub use crate::redis_client::{RedisAddress, RedisPlace, RedisSettings};
pub use crate::tls::TlsFiles;
pub use fixed::Fixed;
pub use load::{Reading, from_environment, from_file};
pub use problem::{Problem, Problems};
pub use validate::Sources;
pub(crate) use validate::is_name;
pub use watch::Watch;

use crate::identity::pattern::SubjectPattern;
use crate::policy::Class;
use crate::policy::approval::Verifier;
use crate::policy::repositories::RepositorySet;

/// Everything `tollgate serve` needs to run.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub upstream: Upstream,
    /// GitHub Apps, asked in this order for an installation that covers a repository.
    pub apps: Vec<App>,
    /// Personal access tokens, used for owners no App is installed for.
    pub tokens: Vec<PersonalToken>,
    pub budget: Budget,
    pub retry: Retry,
    pub cache: Cache,
    pub policy: Policy,
    pub agents: Vec<Agent>,
    /// GitHub tells what changed.
    pub webhook: Option<Webhook>,
    /// Who vouches for agents that come without a key; each name once.
    pub identities: Vec<IdentityIssuer>,
}

/// The listeners and their bounds.
#[derive(Debug, Clone)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// Base of rewritten links, without a trailing slash; none: the scheme and Host the client used.
    pub public_url: Option<String>,
    /// From these addresses alone `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub drain_timeout: Duration,
    pub admin_token: Option<SecretString>,
    pub max_body_bytes: u64,
    pub max_upload_bytes: u64,
    /// HTTPS in place of plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// Where GitHub's webhook arrives.
#[derive(Debug)]
pub struct Webhook {
    pub listen: SocketAddr,
    /// What deliveries are signed with.
    pub secret: SecretString,
}

/// Where GitHub is and how long it may take.
#[derive(Debug)]
pub struct Upstream {
    /// `scheme://authority[/path]` without a trailing slash.
    pub api_url: Uri,
    pub uploads_url: Uri,
    pub graphql_url: Uri,
    /// Bases replaced in answers, longest first.
    pub link_bases: Vec<LinkBase>,
    /// `X-GitHub-Api-Version` sent when the agent names none.
    pub api_version: String,
    pub connect_timeout: Duration,
    /// To the first byte of the answer.
    pub request_timeout: Duration,
    /// Between bytes, either way.
    pub idle_timeout: Duration,
    /// Further certificate authorities, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// One GitHub App.
#[derive(Debug)]
pub struct App {
    pub name: String,
    /// `iss` of the App JWT: the client id or the numeric app id.
    pub issuer: String,
    pub private_key: PrivateKey,
    /// Permission name -> `read` | `write` | `admin`; none: derived from the installation's.
    pub read_permissions: Option<BTreeMap<String, String>>,
    pub write_permissions: Option<BTreeMap<String, String>>,
}

/// Where an App's private key comes from; a file is read again at each use, so that it can be rotated.
#[derive(Debug)]
pub enum PrivateKey {
    File(PathBuf),
    Pem(SecretString),
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &PrivateKey) -> bool {
        match (self, other) {
            (PrivateKey::File(one), PrivateKey::File(other)) => one == other,
            (PrivateKey::Pem(one), PrivateKey::Pem(other)) => one.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

/// A personal access token.
#[derive(Debug)]
pub struct PersonalToken {
    pub name: String,
    pub token: SecretString,
}

/// How the quota is shared.
#[derive(Debug, Clone)]
pub struct Budget {
    pub store: Store,
    /// There exactly when the store is [`Store::Redis`].
    pub redis: Option<RedisSettings>,
    pub on_store_loss: OnStoreLoss,
    /// Part of each primary limit left to users outside tollgate: 0..=900.
    pub headroom_thousandths: i64,
    /// How long a request is held when it names no wait itself; at most `max_wait_limit`.
    pub max_wait: Duration,
    /// The most it may ask for.
    pub max_wait_limit: Duration,
    /// Status of a refusal for rate: 403, which every client takes for one, or 429.
    pub over_budget_status: StatusCode,
    /// Decide and record, but let everything through.
    pub is_observing: bool,
    pub secondary: Secondary,
}

/// Where the count is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Embedded; for one replica.
    Memory,
    /// Shared by all replicas.
    Redis,
}

/// When a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first with them: 1..=10.
    pub max_attempts: u32,
    /// Longest pause before the second attempt.
    pub base_delay: Duration,
    /// Longest pause before any attempt.
    pub max_delay: Duration,
}

/// The cache all agents share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Most bytes it holds; 0 turns it off.
    pub max_bytes: u64,
    /// Answers are served for this long without asking GitHub.
    pub fresh_for: Duration,
    /// What is known is served for this long when GitHub fails.
    pub stale_if_error: Duration,
}

/// What agents may do, over all of them.
#[derive(Debug, Clone)]
pub struct Policy {
    pub approval_mode: ApprovalMode,
    /// The header an approval travels in; never forwarded.
    pub approval_header: HeaderName,
    /// Who may approve, and for how long an approval may live.
    pub verifier: Verifier,
    /// Whether auto-merge can be approved, which lands what is pushed later.
    pub allow_auto_merge: bool,
    /// `Key: value`, appended to messages of commits; `{agent}` and `{request_id}` are to be filled in.
    pub commit_trailer: Option<String>,
    pub audit_log: AuditLog,
    /// Record what would be refused, and let it through; the merge gate is never observed only.
    pub is_observing: bool,
}

/// Where the lines of the audit log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// What becomes of pull requests agents open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DraftRule {
    /// They are made drafts.
    Force,
    /// Those that are none are refused.
    Require,
    /// They pass as they are.
    Off,
}

impl DraftRule {
    /// As in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            DraftRule::Force => "force",
            DraftRule::Require => "require",
            DraftRule::Off => "off",
        }
    }
}

/// How an approval proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalMode {
    /// A signed token bound to what was reviewed.
    Signed,
    /// Exactly one non-blank header; proves nothing about who approved.
    Presence,
}

impl ApprovalMode {
    /// As in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            ApprovalMode::Signed => "signed",
            ApprovalMode::Presence => "presence",
        }
    }
}

/// One agent as configured.
#[derive(Debug)]
pub struct Agent {
    pub name: String,
    /// SHA-256 of each of its keys.
    pub key_sha256: Vec<[u8; 32]>,
    /// 1..=1000.
    pub weight: u32,
    /// Points an hour of `core` that are its own even when all are busy.
    pub guarantee: Option<u32>,
    /// Points an hour of `core` it may never pass, at least the guarantee; 0 closes it.
    pub ceiling: Option<u32>,
    pub repositories: RepositorySet,
    /// Owner whose installation serves calls that name no repository; none: that of the first of `repositories`, or
    /// another of its own if that one is gone.
    pub installation: Option<String>,
    /// Classes open to it.
    pub allow: Vec<Class>,
    /// Those of them that wait for an approval.
    pub require_approval: Vec<Class>,
    pub draft_pull_requests: DraftRule,
    pub disabled: bool,
}

/// One issuer of signed identity tokens.
#[derive(Debug)]
pub struct IdentityIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` they must name.
    pub audience: String,
    pub keys: IssuerKeys,
    /// Which subject is which agent, by name; the first that matches counts.
    pub rules: Vec<(SubjectPattern, String)>,
}

/// Where an issuer's public keys are; they are read again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKeys {
    File(PathBuf),
    Url {
        /// https, or http on this machine.
        url: Uri,
        /// Further certificate authorities, PEM.
        ca_pem: Option<Vec<u8>>,
    },
}
