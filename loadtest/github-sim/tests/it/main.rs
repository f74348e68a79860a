//! The simulator over HTTP, table by table against GitHub's documented behaviour.

mod access;
mod auth;
mod client;
mod code;
mod faults;
mod graphql;
mod limits;
mod reading;
mod writing;
