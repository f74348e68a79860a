//! JSON views of the world, with the members that client libraries rely on.
//!
//! Every API URL starts with the configured base; `html_url` and the like stay on github.com, as on GitHub.
//! Several libraries build their next request from `url` and the URI templates.

mod accounts;
pub(crate) mod gits;
pub(crate) mod issues;
mod releases;
mod repositories;
mod stacks;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::digest::sha256_hex;
use crate::server::Links;
use crate::world::{Repository, World};

pub(crate) use gits::{object_url, verification};

/// What views are built from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) links: &'a Links,
    pub(crate) world: &'a World,
    /// The selected API version.
    pub(crate) version: &'a str,
}

impl View<'_> {
    /// The API URL of a repository.
    pub(crate) fn repository_url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.links.api, repository.full_name())
    }

    /// Whether to leave out members that the version of March 2026 removed.
    pub(crate) fn is_2026(&self) -> bool {
        self.version == "2026-03-10"
    }
}

/// The web URL of a repository.
pub(crate) fn html_url(repository: &Repository) -> String {
    format!("https://github.com/{}", repository.full_name())
}

/// The id of a label. Derived from its name, so that it stays when others come and go.
pub(crate) fn label_id(repository: &Repository, name: &str) -> u64 {
    let hash = sha256_hex(name.to_lowercase().as_bytes());
    repository.id * 10_000_000_000 + u64::from_str_radix(&hash[..8], 16).unwrap_or(0)
}

/// The node id of a ref, by its full name.
pub(crate) fn ref_node_id(repository: &Repository, name: &str) -> String {
    format!("REF_kwDO{}{}", repository.id, URL_SAFE_NO_PAD.encode(name))
}

/// The node id of a commit.
pub(crate) fn commit_node_id(repository: &Repository, sha: &str) -> String {
    format!("C_kwDO{}{sha}", repository.id)
}

/// The node id of a repository.
pub(crate) fn repository_node_id(repository: &Repository) -> String {
    format!("R_kgDO{}", repository.id)
}
