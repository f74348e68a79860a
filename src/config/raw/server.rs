//! The listeners: agents', the operators', and GitHub's webhook.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Period, Size};

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
