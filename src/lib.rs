//! tollgate: a reverse proxy in front of the GitHub API for fleets of AI coding agents.
//!
//! Agents use it as their API base URL and hold a tollgate key, never a GitHub token. The life of a request,
//! which is also the order in which to read the code:
//!
//! 1. [`proxy`] drives the ten stages a request passes, one file each.
//! 2. [`policy`] knows GitHub's operations and reads the targets and bodies that decide what a request does; no I/O.
//! 3. [`github`] holds connections, App installations and their tokens.
//! 4. [`budget`] and [`cache`] serve admission and cache look-up; [`retry`] says when to try again.
//! 5. [`links`] rewrites GitHub's URLs in responses to tollgate's.
//! 6. [`webhook`] receives GitHub's webhook deliveries about changes.
//! 7. [`config`] is the checked configuration; [`app`] wires the parts together; [`admin`] shows an operator
//!    the [`status`]; [`cli`] holds the commands.

pub mod admin;
pub mod agent;
pub mod app;
pub mod audit;
pub mod budget;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod github;
pub mod identity;
pub mod links;
pub mod metrics;
pub mod paced;
pub mod places;
pub mod policy;
pub mod proxy;
pub mod redis_client;
pub mod retry;
pub mod secret;
pub mod spent;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod webhook;
