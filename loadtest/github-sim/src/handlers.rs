//! The handlers: what each route reads and changes in the world.

pub(crate) mod apps;
pub(crate) mod branches;
pub(crate) mod checks;
pub(crate) mod commits;
pub(crate) mod contents;
pub(crate) mod gits;
pub(crate) mod issues;
pub(crate) mod merges;
pub(crate) mod meta;
pub(crate) mod misc;
pub(crate) mod pulls;
pub(crate) mod releases;
pub(crate) mod repositories;
pub(crate) mod reviews;
pub(crate) mod search;
pub(crate) mod stacks;
