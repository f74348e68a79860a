//! The proxy as a whole, before the stand-in for GitHub, over real sockets.
//!
//! What arrived at the stand-in is what counts; the status an agent saw comes second.

mod support;

mod cli;
mod confinement;
mod credentials;
mod drain;
mod faults;
mod framing;
mod gate;
mod reading;
mod secrets;
