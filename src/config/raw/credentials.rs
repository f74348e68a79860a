//! What tollgate identifies itself to GitHub with.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
