//! What must hold of tollgate's readers for any bytes at all; each module is one fuzz target.
//!
//! `scripts/prove fuzz` builds the targets with coverage, on stable Rust, and runs them. Built as
//! usual they need no libFuzzer: they run each file they are given once, so that a finding can be
//! looked at with `cargo run -p tollgate-fuzz --bin fuzz-TARGET -- FILE`. The seeds in `corpus/` are a
//! test of their own.

pub mod approval;
pub mod classify;
pub mod config;
pub mod json;
pub mod target;

/// The same reader that the properties beside the modules use.
#[path = "../../src/policy/lenient.rs"]
mod lenient;

/// Signatures need to know whose arithmetic to use.
fn install_crypto() {
    let provider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(provider);
}

/// Checks each file named on the command line.
///
/// # Errors
/// When one can't be read.
///
/// # Panics
/// When a check fails: that is the finding.
pub fn replay(check: fn(&[u8])) -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        check(&std::fs::read(file)?);
    }
    Ok(())
}
