//! The file as written: one type for each section, with the defaults of what it leaves out.
//!
//! The docs of these fields are the reference manual: `tollgate config schema` prints them, and editors show them beside
//! the key. Nothing here is checked beyond its type; `validate` does that. A type that is the same before and after has
//! one place, where it is used ([`Secondary`], [`DraftRule`]). An unknown key is an error everywhere, so that a typo in a
//! limit starts no server.

mod units;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

pub use units::{Percent, Period, Size};

use super::{ApprovalMode, DraftRule, OnStoreLoss, Secondary, Store};
use crate::policy::Class;

/// Configuration of tollgate, a reverse proxy in front of the GitHub API for fleets of AI agents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["policy", "agents"]))]
pub struct File {
    /// The listeners and their bounds.
    pub server: Server,
    /// Where GitHub is and how long it may take.
    pub upstream: Upstream,
    /// GitHub Apps; the installation is found from the repository's owner.
    pub apps: Vec<App>,
    /// Personal access tokens, for development.
    pub tokens: Vec<PersonalToken>,
    /// How GitHub's quota is shared.
    pub budget: Budget,
    /// When a call is tried again.
    pub retry: Retry,
    /// The cache all agents share.
    pub cache: Cache,
    /// What agents may do, over all of them.
    pub policy: Policy,
    /// Who may use tollgate, and for what.
    #[schemars(length(min = 1))]
    pub agents: Vec<Agent>,
    /// Agents that come with a signed token instead of a key; all who map to one agent share its budget.
    pub identities: Vec<Identity>,
    /// GitHub tells what changed, so that cached reads stay fresh unasked.
    pub webhook: Option<Webhook>,
}

/// The listeners and their bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port for agents.
    pub listen: String,
    /// Metrics, health, status page and admin API; never for agents.
    pub admin_listen: String,
    /// Base of rewritten links. Default: scheme and Host the client used.
    pub public_url: Option<String>,
    /// Addresses or networks of proxies in front of tollgate: from these alone X-Forwarded-Proto,
    /// -Host and -For are believed.
    pub trusted_proxies: Vec<String>,
    /// How long requests under way may take to end when tollgate stops.
    pub drain_timeout: Period,
    /// Environment variable with the token of the admin API. Without one, what changes something
    /// on the admin listener is refused.
    pub admin_token_env: Option<String>,
    /// File with that token.
    pub admin_token_file: Option<String>,
    /// Longest request body; 413 beyond.
    pub max_body: Size,
    /// Longest body of an upload (a release asset).
    pub max_upload: Size,
    /// Serve HTTPS. The files are read again when they change.
    pub tls: Option<Tls>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: "127.0.0.1:8080".to_owned(),
            admin_listen: "127.0.0.1:9090".to_owned(),
            public_url: None,
            trusted_proxies: Vec::new(),
            drain_timeout: Period::from_secs(30),
            admin_token_env: None,
            admin_token_file: None,
            max_body: Size(100 << 20),
            max_upload: Size(2 << 30),
            tls: None,
        }
    }
}

/// Certificate and key of the agents' listener.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["cert_file", "key_file"]))]
pub struct Tls {
    /// Certificate chain, PEM.
    pub cert_file: Option<String>,
    /// Private key, PEM.
    pub key_file: Option<String>,
}

/// Where GitHub is and how long it may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// Base of the REST API; of GitHub Enterprise Server `https://HOST/api/v3`.
    pub api_url: String,
    /// Base of the uploads API. Default: that of `api_url`'s GitHub, such as
    /// `https://uploads.github.com`; on GitHub Enterprise Server `https://HOST/api/uploads`.
    pub uploads_url: Option<String>,
    /// The GraphQL endpoint. Default: `{api_url}/graphql`; on GitHub Enterprise Server
    /// `https://HOST/api/graphql`.
    pub graphql_url: Option<String>,
    /// Bases replaced in answers by tollgate's address. Default: `api_url`, `uploads_url` and their
    /// public counterparts. An uploads base becomes `/api/uploads`.
    pub link_bases: Option<Vec<String>>,
    /// X-GitHub-Api-Version sent when the agent names none.
    pub api_version: String,
    /// How long a connection to GitHub may take.
    pub connect_timeout: Period,
    /// How long GitHub may take to the first byte of its answer.
    pub request_timeout: Period,
    /// How long nothing may move between two bytes, either way.
    pub idle_timeout: Period,
    /// Further certificate authorities to trust, PEM.
    pub ca_file: Option<String>,
}

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            api_url: "https://api.github.com".to_owned(),
            uploads_url: None,
            graphql_url: None,
            link_bases: None,
            api_version: "2022-11-28".to_owned(),
            connect_timeout: Period::from_secs(5),
            request_timeout: Period::from_secs(60),
            idle_timeout: Period::from_secs(30),
            ca_file: None,
        }
    }
}

/// One GitHub App. Needs `app_id` or `client_id`, and `private_key_file` or `private_key_env`.
///
/// Reads carry a token minted with the read permissions, writes one with the write permissions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name"]))]
pub struct App {
    /// What metrics and logs call it.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub name: Option<String>,
    /// The number on the App's settings page.
    #[schemars(range(min = 1))]
    pub app_id: Option<u64>,
    /// The client id on that page, such as `Iv23…`.
    pub client_id: Option<String>,
    /// File with the App's private key (RSA, PEM), read again when it changes.
    pub private_key_file: Option<String>,
    /// Environment variable with that key.
    pub private_key_env: Option<String>,
    /// Permissions of the token that reads carry. Default: what the installation has, each as
    /// `read` (without those that have no read level, such as `workflows`).
    pub read_permissions: Option<BTreeMap<String, Access>>,
    /// Permissions of the token that writes carry. Default: what the installation has, less
    /// `administration`, `organization_*`, `secrets` and `workflows`.
    pub write_permissions: Option<BTreeMap<String, Access>>,
}

/// Level of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    Read,
    Write,
    Admin,
}

impl Access {
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Admin => "admin",
        }
    }
}

/// A personal access token. Needs `token_env` or `token_file`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name"]))]
pub struct PersonalToken {
    /// What metrics and logs call it.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub name: Option<String>,
    /// Environment variable with the token.
    pub token_env: Option<String>,
    /// File with the token.
    pub token_file: Option<String>,
}

/// How GitHub's quota is shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Where the count is kept.
    pub store: Store,
    /// The Redis of `store: redis`; exactly one of `url`, `nodes` and `sentinel`.
    pub redis: Option<Redis>,
    /// Part of each primary limit left to users outside tollgate; at most 90%.
    pub headroom: Percent,
    /// How long a request over budget is held when it names no wait itself.
    pub max_wait: Period,
    /// The most it may ask for; at most 10m.
    pub max_wait_limit: Period,
    /// Status of `budget_exhausted` and `upstream_limited`. 403 is what every client takes for a
    /// rate limit; 429 if all of yours know it.
    #[schemars(extend("enum" = [403, 429]))]
    pub over_budget_status: u16,
    /// What happens while the store is away.
    pub on_store_loss: OnStoreLoss,
    /// Whether the budget is enforced.
    pub mode: Mode,
    /// Secondary limits per installation; the defaults stay below what GitHub publishes.
    pub secondary: Secondary,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            store: Store::Memory,
            redis: None,
            headroom: Percent(0),
            max_wait: Period::from_secs(4),
            max_wait_limit: Period::from_secs(60),
            over_budget_status: 403,
            on_store_loss: OnStoreLoss::Degrade,
            mode: Mode::Enforce,
            secondary: Secondary::default(),
        }
    }
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// One server, `redis://HOST:PORT[/DB]` or `rediss://…` for TLS.
    pub url: Option<String>,
    /// Some nodes of a cluster, `HOST:PORT` or as in `url`; the others are found from them.
    pub nodes: Option<Vec<String>>,
    /// A server found through sentinels.
    pub sentinel: Option<Sentinel>,
    /// User name, if not the default user.
    pub username: Option<String>,
    /// Environment variable with the password.
    pub password_env: Option<String>,
    /// File with the password.
    pub password_file: Option<String>,
    /// Certificate authorities to trust for TLS in place of the system's, PEM.
    pub ca_file: Option<String>,
}

/// Redis Sentinel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["service", "nodes"]))]
pub struct Sentinel {
    /// Name of the monitored service.
    pub service: Option<String>,
    /// Addresses of the sentinels, `HOST:PORT` or `redis://…`; `rediss://…` if they and the servers
    /// use TLS.
    pub nodes: Vec<String>,
}

/// Whether a decision is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is decided is done.
    Enforce,
    /// Decide and record, but let everything through.
    Observe,
}

/// When a call is tried again: full jitter, `uniform(0, min(max_delay, base_delay * 2^n))`, and never
/// before GitHub's `retry-after`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first with them.
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Longest pause before the second attempt.
    pub base_delay: Period,
    /// Longest pause before any attempt; at most 10m.
    pub max_delay: Period,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { max_attempts: 4, base_delay: Period::from_millis(500), max_delay: Period::from_secs(20) }
    }
}

/// The cache all agents share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Most bytes it holds; 0 turns it off.
    pub max_size: Size,
    /// Answer without asking GitHub for this long; 0s: always revalidate.
    pub fresh_for: Period,
    /// Serve what is known for this long when GitHub fails, marked as stale.
    pub stale_if_error: Period,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache { max_size: Size(256 << 20), fresh_for: Period::default(), stale_if_error: Period::default() }
    }
}

/// What agents may do, over all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["approval"]))]
pub struct Policy {
    /// How a gated operation is approved.
    pub approval: Approval,
    /// What becomes of pull requests agents open.
    pub draft_pull_requests: DraftRule,
    /// Appended to the messages of unsigned commits made through the API; `{agent}` and
    /// `{request_id}` are filled in. Off by default.
    pub commit_trailer: Option<String>,
    /// Where the audit log goes: `stdout`, `off` or a file.
    pub audit_log: String,
    /// Whether refusals are enforced; the merge gate always is.
    pub mode: Mode,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            approval: Approval::default(),
            draft_pull_requests: DraftRule::Force,
            commit_trailer: None,
            audit_log: "stdout".to_owned(),
            mode: Mode::Enforce,
        }
    }
}

/// How a gated operation is approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["mode"]))]
pub struct Approval {
    /// How an approval proves itself. Has no default: it must be said.
    pub mode: Option<ApprovalMode>,
    /// The header an approval travels in; never forwarded.
    pub header: String,
    /// Longest life of an approval; at most 24h.
    pub max_lifetime: Period,
    /// Whether auto-merge can be approved. It lands what is pushed later, so it is off unless said.
    pub allow_auto_merge: bool,
    /// Who may approve in `signed` mode.
    pub issuers: Vec<Issuer>,
}

impl Default for Approval {
    fn default() -> Approval {
        Approval {
            mode: None,
            header: "x-merge-approval".to_owned(),
            max_lifetime: Period::from_secs(3600),
            allow_auto_merge: false,
            issuers: Vec::new(),
        }
    }
}

/// One who may approve. Needs `public_key_file` or `secret_file`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name"]))]
pub struct Issuer {
    /// The `iss` of its approvals.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub name: Option<String>,
    /// Public key, PEM: Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256).
    pub public_key_file: Option<String>,
    /// Shared secret of at least 32 bytes (HS256). Whoever can check with it can sign, too.
    pub secret_file: Option<String>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "repositories"]))]
pub struct Agent {
    /// What keys, metrics and logs call it.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    pub name: Option<String>,
    /// SHA-256 of the whole key in hex, as `tollgate key new` prints it; a list while rotating.
    pub key_sha256: KeyHashes,
    /// Its part of each pool beside the other agents'.
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Floor: points an hour of `core` that are its own even when all are busy; in other pools the
    /// same fraction of their limit.
    pub guarantee: Option<u32>,
    /// Points an hour of `core` it may never pass, likewise; 0 closes it.
    pub ceiling: Option<u32>,
    /// Its repositories: OWNER/NAME, OWNER/* or "*" (all). Must be said.
    #[schemars(length(min = 1))]
    pub repositories: Vec<String>,
    /// Owner whose installation serves calls that name no repository. Default: the owner named
    /// first; with "*" the only one there is.
    pub installation: Option<String>,
    /// Classes of operations open to it. Default: read, write, ref-write, merge, review;
    /// `protection` and `admin` only if named, `token` never.
    pub allow: Option<Vec<Class>>,
    /// Those of them that wait for an approval; merge always does. Default: merge, ref-write, review.
    pub require_approval: Option<Vec<Class>>,
    /// What becomes of pull requests it opens. Default: that of `policy`.
    pub draft_pull_requests: Option<DraftRule>,
    /// Whether it is shut out.
    pub disabled: bool,
}

impl Default for Agent {
    fn default() -> Agent {
        Agent {
            name: None,
            key_sha256: KeyHashes::default(),
            weight: 1,
            guarantee: None,
            ceiling: None,
            repositories: Vec::new(),
            installation: None,
            allow: None,
            require_approval: None,
            draft_pull_requests: None,
            disabled: false,
        }
    }
}

/// One SHA-256 in hex, or a list of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("type" = ["string", "array"], "pattern" = "^[0-9A-Fa-f]{64}$"))]
#[schemars(extend("items" = { "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" }))]
pub struct KeyHashes(pub Vec<String>);

impl<'de> Deserialize<'de> for KeyHashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyHashes, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = KeyHashes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("64 hex digits in quotes, or a list of such")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<KeyHashes, E> {
                Ok(KeyHashes(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<KeyHashes, A::Error> {
                let mut hashes = Vec::new();
                while let Some(hash) = seq.next_element()? {
                    hashes.push(hash);
                }
                Ok(KeyHashes(hashes))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// One issuer of signed identity tokens. Needs `jwks_file` or `jwks_url`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["issuer", "audience", "rules"]))]
pub struct Identity {
    /// The `iss` of its tokens.
    pub issuer: Option<String>,
    /// File with its public keys, a JSON Web Key Set.
    pub jwks_file: Option<String>,
    /// Address of its public keys: https, or http on this machine.
    pub jwks_url: Option<String>,
    /// Further certificate authorities (PEM) for `jwks_url`.
    pub ca_file: Option<String>,
    /// The `aud` its tokens must name.
    pub audience: Option<String>,
    /// Which subject is which agent; the first that matches counts.
    #[schemars(length(min = 1))]
    pub rules: Vec<IdentityRule>,
}

/// Which subject is which agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["subject", "agent"]))]
pub struct IdentityRule {
    /// The `sub` of the token; `*` stands for any characters.
    pub subject: Option<String>,
    /// Name of an agent of this file.
    pub agent: Option<String>,
}

/// GitHub tells what changed, so that cached reads stay fresh unasked. Needs `secret_env` or `secret_file`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["listen"]))]
pub struct Webhook {
    /// Address and port for GitHub.
    pub listen: Option<String>,
    /// Environment variable with the webhook's secret.
    pub secret_env: Option<String>,
    /// File with that secret.
    pub secret_file: Option<String>,
}
