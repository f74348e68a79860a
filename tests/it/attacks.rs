//! An agent with a valid key tries to land code without an approval, in every possible spelling.
//!
//! Every attack is sent as raw bytes on its own connection; [`oracle`] then judges what arrived at the stand-in.
//! The answer that the agent got does not count. [`controls`] shows that the suite detects what it looks for, and
//! [`ordinary`] that ordinary work continues.

mod approvals;
mod bodies;
mod branches;
mod confinement;
mod controls;
mod documents;
mod framing;
mod headers;
mod hops;
mod identity;
mod methods;
mod mutations;
mod oracle;
mod ordinary;
mod paths;
mod run;
mod walks;
