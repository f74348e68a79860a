//! An identity token: its form, and the claims it must have (RFC 7519, RFC 8725).

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::keys::{self, Key, KeySet, Lookup};
use super::{Rejected, TOKEN_BYTES_MAX};
use crate::policy::jws::{self, Jws, JwsError, NotText};

/// Longest `sub` and `iss` in bytes; a Kubernetes subject has at most 340.
const NAME_BYTES_MAX: usize = 1_024;
/// How far an issuer's clock may be ahead of ours, in seconds. `exp` gets no such leeway.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// The accepted values of `typ`. Others (`logout+jwt`, `dpop+jwt`) serve another purpose and prove nobody's identity.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// A well-formed token; nothing in it is verified yet.
pub(super) struct Token<'a> {
    jws: Jws<'a>,
    algorithm: Algorithm,
}

impl From<JwsError> for Rejected {
    fn from(error: JwsError) -> Rejected {
        match error {
            JwsError::Form => Rejected::Form,
            JwsError::Json => Rejected::Json,
        }
    }
}

impl From<NotText> for Rejected {
    fn from(_: NotText) -> Rejected {
        Rejected::Header
    }
}

/// Parses a token. Keys and key URLs in its header (`jwk`, `jku`, `x5u`, …) are ignored, because some issuers
/// send them.
pub(super) fn read(token: &[u8]) -> Result<Token<'_>, Rejected> {
    let jws = jws::read(token, TOKEN_BYTES_MAX)?;
    if ["crit", "b64"].iter().any(|key| jws.header.contains_key(*key)) {
        return Err(Rejected::Header);
    }
    let is_known = |kind: &str| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind));
    if jws.header_text("typ")?.is_some_and(|kind| !is_known(kind)) {
        return Err(Rejected::Header);
    }
    jws.header_text("kid")?;
    let algorithm = jws.header_text("alg")?.and_then(keys::algorithm).ok_or(Rejected::Algorithm)?;
    Ok(Token { jws, algorithm })
}

impl Token<'_> {
    pub(super) fn issuer(&self) -> Result<&str, Rejected> {
        self.name("iss")
    }

    pub(super) fn subject(&self) -> Result<&str, Rejected> {
        self.name("sub")
    }

    pub(super) fn lookup<'k>(&self, keys: &'k KeySet) -> Lookup<'k> {
        keys.lookup(self.jws.header_text("kid").unwrap_or_default(), self.algorithm)
    }

    pub(super) fn is_signed_by(&self, key: &Key) -> bool {
        self.jws.is_signed_by(&key.decoding, self.algorithm)
    }

    /// Checks the times against `now`; returns the expiry. Both in epoch seconds.
    pub(super) fn check_times(&self, now: i64) -> Result<i64, Rejected> {
        let expires_at = self.seconds("exp")?;
        for claim in ["nbf", "iat"] {
            if self.jws.claims.contains_key(claim) && self.seconds(claim)? > now + CLOCK_SKEW_SECONDS {
                return Err(Rejected::Early);
            }
        }
        if expires_at <= now { Err(Rejected::Expired) } else { Ok(expires_at) }
    }

    pub(super) fn check_audience(&self, audience: &str) -> Result<(), Rejected> {
        let names_us = match self.jws.claims.get("aud") {
            Some(Value::String(said)) => said == audience,
            Some(Value::Array(said)) if said.iter().all(Value::is_string) => {
                said.iter().any(|said| said == audience)
            }
            _ => return Err(Rejected::Claim("aud")),
        };
        if names_us { Ok(()) } else { Err(Rejected::Audience) }
    }

    fn name(&self, claim: &'static str) -> Result<&str, Rejected> {
        self.jws.name(claim, NAME_BYTES_MAX).ok_or(Rejected::Claim(claim))
    }

    fn seconds(&self, claim: &'static str) -> Result<i64, Rejected> {
        self.jws.seconds(claim).ok_or(Rejected::Claim(claim))
    }
}
