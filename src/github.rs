//! GitHub's side: connections to it, App installations, their tokens, and what its headers say about limits.

pub mod apps;

pub mod client;

pub mod installations;

pub mod rate_limit;

pub mod tokens;
