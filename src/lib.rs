//! tollgate: a reverse proxy in front of the GitHub API for fleets of AI coding agents.
//!
//! Agents use it as their API base URL and hold a tollgate key, never a GitHub token. The life of a
//! request, and the order in which to read the code:
//!
//! 1. [`proxy`] drives the ten stages a request passes, one file each.
//! 2. [`policy`] knows GitHub's operations, and reads targets and bodies that decide; no I/O.
//! 3. [`github`] holds connections, App installations and their tokens.
//! 4. [`budget`] and [`cache`] are what admission and look-up ask; [`retry`] says when to try again.
//! 5. [`links`] turns GitHub's addresses in answers into ours.
//! 6. [`webhook`] takes what GitHub tells of changes.
//! 7. [`config`] is the file, checked; [`app`] puts the parts together; [`admin`] is what an
//!    operator sees of [`status`]; [`cli`] the commands.

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
