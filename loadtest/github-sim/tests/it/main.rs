//! The simulator over HTTP, table by table against GitHub's documented behaviour.

#![allow(clippy::unwrap_used, reason = "a test may end where its assumptions do")]

mod access;
mod auth;
mod automerge;
mod branches;
mod client;
mod code;
mod control;
mod faults;
mod graphql;
mod limits;
mod mutations;
mod nodes;
mod reading;
mod stacks;
mod writing;
