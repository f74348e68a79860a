//! A compact JWS, read strictly: RFC 7515 leaves room that two readers could fill differently.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{Issuer, Rejected};
use crate::policy::json;

/// Longest token read, in bytes; an RS256 token for a stack of fifty is shorter.
const BYTES_MAX: usize = 16 * 1024;
/// Longest `sub` or `jti`.
const NAME_BYTES_MAX: usize = 256;

/// A token whose form is sound; nothing in it is proven yet.
pub(super) struct Token<'a> {
    /// What is signed: the first two parts as they came.
    message: &'a str,
    signature: &'a str,
    algorithm: Option<String>,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

/// Takes a token apart.
pub(super) fn read(token: &[u8]) -> Result<Token<'_>, Rejected> {
    let token =
        std::str::from_utf8(token).ok().filter(|text| text.len() <= BYTES_MAX).ok_or(Rejected::Form)?;
    let (message, signature) = token.rsplit_once('.').ok_or(Rejected::Form)?;
    let (header, payload) = message.split_once('.').ok_or(Rejected::Form)?;
    if signature.is_empty() || decode(signature).is_none() {
        return Err(Rejected::Form);
    }
    let object = |part: &str| {
        let bytes = decode(part).ok_or(Rejected::Form)?;
        json::object(&bytes).map_err(|_| Rejected::Json)
    };
    let header = object(header)?;
    // A key or an address in the header is an invitation to trust it; `crit` asks for what we don't know.
    if header.keys().any(|key| !matches!(key.as_str(), "alg" | "typ" | "kid")) {
        return Err(Rejected::Header);
    }
    let text = |key: &str| match header.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Rejected::Header),
    };
    if text("typ")?.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
        return Err(Rejected::Header);
    }
    Ok(Token { message, signature, algorithm: text("alg")?, key_id: text("kid")?, claims: object(payload)? })
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

impl Token<'_> {
    pub(super) fn check_signature(&self, issuer: &Issuer) -> Result<(), Rejected> {
        if self.algorithm.as_deref() != Some(name_of(issuer.algorithm)) {
            return Err(Rejected::Algorithm);
        }
        // An issuer has one key, and the name of it can be no other than the issuer's.
        if self.key_id.as_ref().is_some_and(|id| *id != issuer.name) {
            return Err(Rejected::Header);
        }
        let verified = jsonwebtoken::crypto::verify(
            self.signature,
            self.message.as_bytes(),
            &issuer.key,
            issuer.algorithm,
        );
        if matches!(verified, Ok(true)) { Ok(()) } else { Err(Rejected::Signature) }
    }

    pub(super) fn has(&self, claim: &str) -> bool {
        self.claims.contains_key(claim)
    }

    pub(super) fn text(&self, claim: &'static str) -> Result<&str, Rejected> {
        self.claims.get(claim).and_then(Value::as_str).ok_or(Rejected::Claim(claim))
    }

    /// A text that names somebody or something: not blank, bounded, and safe to be logged.
    pub(super) fn name(&self, claim: &'static str) -> Result<&str, Rejected> {
        let text = self.text(claim)?;
        let is_sound =
            !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        if is_sound { Ok(text) } else { Err(Rejected::Claim(claim)) }
    }

    /// Whole seconds since the epoch, and of our time: nothing that overflows what is added to it.
    pub(super) fn seconds(&self, claim: &'static str) -> Result<i64, Rejected> {
        let seconds = self.claims.get(claim).and_then(Value::as_i64);
        seconds.filter(|seconds| (0..=1 << 40).contains(seconds)).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn number(&self, claim: &'static str) -> Result<u64, Rejected> {
        self.claims.get(claim).and_then(Value::as_u64).ok_or(Rejected::Claim(claim))
    }

    pub(super) fn value(&self, claim: &'static str) -> Option<&Value> {
        self.claims.get(claim)
    }

    pub(super) fn list(&self, claim: &'static str) -> Result<&[Value], Rejected> {
        self.claims.get(claim).and_then(Value::as_array).map(Vec::as_slice).ok_or(Rejected::Claim(claim))
    }
}

/// As RFC 7518 spells them; the configuration knows no others.
fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        Algorithm::HS256 => "HS256",
        _ => "none of ours",
    }
}
