//! What agents may do, and who approves the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mode, Period};
use crate::config::{ApprovalMode, DraftRule};

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
