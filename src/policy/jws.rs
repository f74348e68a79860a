//! A compact JWS, read strictly: RFC 7515 leaves room that two readers could fill differently.
//!
//! Nothing in it is proven by reading it. Which key and algorithm may prove it is never the token's to
//! say: whoever reads one takes both from the configuration (RFC 8725 §3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::json;

/// A token whose form is sound.
pub struct Jws<'a> {
    /// What is signed: the first two parts as they came.
    message: &'a str,
    signature: &'a str,
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

/// Why a token can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwsError {
    /// Not three parts of base64url, or too long.
    Form,
    /// Its header or payload is no JSON object with unique keys.
    Json,
}

/// Takes a token apart.
///
/// # Errors
/// When it is longer than `bytes_max`, or has more than one reading, or none.
pub fn read(token: &[u8], bytes_max: usize) -> Result<Jws<'_>, JwsError> {
    let token =
        std::str::from_utf8(token).ok().filter(|text| text.len() <= bytes_max).ok_or(JwsError::Form)?;
    let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Form)?;
    let (header, payload) = message.split_once('.').ok_or(JwsError::Form)?;
    if signature.is_empty() || decode(signature).is_none() {
        return Err(JwsError::Form);
    }
    // A fourth part's dot is no base64url.
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

    /// A member of the header that is a text, if it is there at all.
    ///
    /// # Errors
    /// When it is something else.
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

    /// A text that names somebody or something: not blank, bounded, and safe to be logged.
    pub fn name(&self, claim: &str, bytes_max: usize) -> Option<&str> {
        let is_sound = |text: &&str| {
            !text.trim().is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
        };
        self.text(claim).filter(is_sound)
    }

    /// Whole seconds since the epoch, and of our time: nothing that overflows what is added to it.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        let seconds = self.claims.get(claim).and_then(Value::as_i64);
        seconds.filter(|seconds| (0..=1 << 40).contains(seconds))
    }
}

/// Something stands where a text belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText;

impl std::fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jws([redacted])")
    }
}
