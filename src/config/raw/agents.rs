//! Who may use tollgate, by key or by signed token.

use schemars::JsonSchema;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::config::DraftRule;
use crate::policy::Class;

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
