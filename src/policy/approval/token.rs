//! An approval as received: a compact JWS with nothing unnecessary in its header.

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{Issuer, Rejected};
use crate::policy::jws::{self, Jws, JwsError, NotText};

/// Longest token read, in bytes; an RS256 token for a stack of fifty is shorter.
const BYTES_MAX: usize = 16 * 1024;
/// Longest `sub` or `jti`, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A well-formed token; nothing in it is verified yet.
pub(super) struct Token<'a> {
    jws: Jws<'a>,
    algorithm: Option<String>,
    key_id: Option<String>,
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

/// Parses a token.
pub(super) fn read(token: &[u8]) -> Result<Token<'_>, Rejected> {
    let jws = jws::read(token, BYTES_MAX)?;
    // A key or a URL in the header invites the reader to trust it; `crit` demands extensions we don't know.
    if jws.header.keys().any(|key| !matches!(key.as_str(), "alg" | "typ" | "kid")) {
        return Err(Rejected::Header);
    }
    if jws.header_text("typ")?.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
        return Err(Rejected::Header);
    }
    let algorithm = jws.header_text("alg")?.map(str::to_owned);
    let key_id = jws.header_text("kid")?.map(str::to_owned);
    Ok(Token { jws, algorithm, key_id })
}

impl Token<'_> {
    pub(super) fn check_signature(&self, issuer: &Issuer) -> Result<(), Rejected> {
        if self.algorithm.as_deref() != Some(name_of(issuer.algorithm)) {
            return Err(Rejected::Algorithm);
        }
        // An issuer has one key, and its id can only be the issuer's name.
        if self.key_id.as_ref().is_some_and(|id| *id != issuer.name) {
            return Err(Rejected::Header);
        }
        if self.jws.is_signed_by(&issuer.key, issuer.algorithm) { Ok(()) } else { Err(Rejected::Signature) }
    }

    pub(super) fn has(&self, claim: &str) -> bool {
        self.jws.claims.contains_key(claim)
    }

    pub(super) fn text(&self, claim: &'static str) -> Result<&str, Rejected> {
        self.jws.text(claim).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn name(&self, claim: &'static str) -> Result<&str, Rejected> {
        self.jws.name(claim, NAME_BYTES_MAX).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn seconds(&self, claim: &'static str) -> Result<i64, Rejected> {
        self.jws.seconds(claim).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn number(&self, claim: &'static str) -> Result<u64, Rejected> {
        self.value(claim).and_then(Value::as_u64).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn value(&self, claim: &'static str) -> Option<&Value> {
        self.jws.claims.get(claim)
    }

    pub(super) fn list(&self, claim: &'static str) -> Result<&[Value], Rejected> {
        self.value(claim).and_then(Value::as_array).map(Vec::as_slice).ok_or(Rejected::Claim(claim))
    }
}

/// The name in RFC 7518's spelling; the configuration allows no other algorithms.
fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        Algorithm::HS256 => "HS256",
        _ => "none of ours",
    }
}
