//! JSON views of the world, with the members that client libraries rely on.
//!
//! Every URL of the API begins with the configured base; `html_url` and the like stay on github.com
//! as on GitHub. Several libraries build their next request from `url` and the URI templates.

mod accounts;
pub(crate) mod gits;
pub(crate) mod issues;
mod releases;
mod repositories;
mod stacks;

use crate::server::Links;
use crate::world::{Repository, World};

pub(crate) use gits::{object_url, verification};

/// What a view is made with.
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

    /// Whether members that the version of March 2026 removed are left out.
    pub(crate) fn is_2026(&self) -> bool {
        self.version == "2026-03-10"
    }
}

/// The web URL of a repository.
pub(crate) fn html_url(repository: &Repository) -> String {
    format!("https://github.com/{}", repository.full_name())
}

/// The node id of a repository.
pub(crate) fn repository_node_id(repository: &Repository) -> String {
    format!("R_kgDO{}", repository.id)
}
