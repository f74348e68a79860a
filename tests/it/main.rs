//! The whole proxy in front of the GitHub stand-in, over real sockets.
//!
//! What arrived at the stand-in is what counts; the status an agent saw comes second.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

mod admin;
mod approvals;
mod approve;
mod attacks;
mod audit;
mod branches;
mod budgets;
mod cache;
mod ceiling;
mod cli;
mod confinement;
mod connections;
mod corpus;
mod credentials;
mod docs;
mod drafts;
mod drain;
mod faults;
mod framing;
mod gate;
mod hints;
mod identities;
mod mutations;
mod observe;
mod owners;
mod packed;
mod prices;
mod reading;
mod redis;
mod reload;
mod replicas;
mod retries;
mod secrets;
mod several_apps;
mod shares;
mod status;
mod tls;
mod tokens;
mod webhooks;
