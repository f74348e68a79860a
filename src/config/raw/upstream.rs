//! Where GitHub is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Period;

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
    /// How long a connection to GitHub may take, with the look-up of its name and the TLS handshake.
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
