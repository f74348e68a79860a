//! An agent with a valid key tries to land code without an approval, in every way it could be spelled.
//!
//! Every attack is sent as bytes on a connection of its own; [`oracle`] then judges what arrived at
//! the stand-in. What the agent was answered does not count. [`controls`] shows that the suite sees
//! what it looks for, and [`ordinary`] that ordinary work goes on.

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
