//! A strict reader for compact JWS: RFC 7515 leaves room for two readers to differ.
//!
//! Reading verifies nothing. The token never chooses the key or algorithm that verifies it: the caller takes both
//! from the configuration (RFC 8725 §3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::json;

/// A well-formed token.
pub struct Jws<'a> {
    /// The signed text: the first two parts as received.
    message: &'a str,
    signature: &'a str,
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

/// Why a token can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwsError {
    /// Not three base64url parts, or too long.
    Form,
    /// The header or the payload is not a JSON object with unique keys.
    Json,
}

/// Parses a token.
///
/// # Errors
/// When it is longer than `bytes_max`, or has no reading or several.
pub fn read(token: &[u8], bytes_max: usize) -> Result<Jws<'_>, JwsError> {
    let token =
        std::str::from_utf8(token).ok().filter(|text| text.len() <= bytes_max).ok_or(JwsError::Form)?;
    let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Form)?;
    let (header, payload) = message.split_once('.').ok_or(JwsError::Form)?;
    if signature.is_empty() || decode(signature).is_none() {
        return Err(JwsError::Form);
    }
    // With a fourth part, its dot would be invalid base64url.
    let object = |part: &str| {
        let bytes = decode(part).ok_or(JwsError::Form)?;
        json::object(&bytes).map_err(|_| JwsError::Json)
    };
    Ok(Jws { message, signature, header: object(header)?, claims: object(payload)? })
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

impl Jws<'_> {
    /// Whether a key signed it.
    pub fn is_signed_by(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        let message = self.message.as_bytes();
        matches!(jsonwebtoken::crypto::verify(self.signature, message, key, algorithm), Ok(true))
    }

    /// A string member of the header; `None` if it is absent.
    ///
    /// # Errors
    /// When the member is not a string.
    pub fn header_text(&self, key: &str) -> Result<Option<&str>, NotText> {
        match self.header.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(NotText),
        }
    }

    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// A claim that names someone or something: a string that is not blank, at most `bytes_max` long and free of
    /// control characters, so safe to log.
    pub fn name(&self, claim: &str, bytes_max: usize) -> Option<&str> {
        let is_sound = |text: &&str| {
            !text.trim().is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
        };
        self.text(claim).filter(is_sound)
    }

    /// A claim in epoch seconds, within 0 to 2^40 so that adding to it can't overflow.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        let seconds = self.claims.get(claim).and_then(Value::as_i64);
        seconds.filter(|seconds| (0..=1 << 40).contains(seconds))
    }
}

/// A value that should be a string is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

impl std::fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jws([redacted])")
    }
}
