//! The App's key: test key pairs shipped with the crate, and a reader for others.
//!
//! A simulator needs only the public half. It takes a public key in PEM, or finds modulus and
//! exponent in a private one (PKCS#1, RFC 8017 A.1.2, or the same inside PKCS#8, RFC 5208).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;

/// A 2048-bit RSA test key in PKCS#1 form: the private key of the default App.
pub const PRIVATE_KEY_PKCS1: &str = include_str!("../keys/pkcs1.pem");
/// Another 2048-bit RSA test key, in PKCS#8 form.
pub const PRIVATE_KEY_PKCS8: &str = include_str!("../keys/pkcs8.pem");

/// The verifying half of a public or private RSA key in PEM.
pub(crate) fn verifying_key(pem: &str) -> Option<DecodingKey> {
    if pem.contains("PUBLIC KEY-----") {
        return DecodingKey::from_rsa_pem(pem.as_bytes()).ok();
    }
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(base64).ok()?;
    let mut fields = Der(&der).enter(0x30)?;
    fields.take(0x02)?;
    let inner;
    if fields.0.first() == Some(&0x30) {
        fields.take(0x30)?;
        inner = fields.take(0x04)?;
        fields = Der(inner).enter(0x30)?;
        fields.take(0x02)?;
    }
    let modulus = fields.take(0x02)?;
    let exponent = fields.take(0x02)?;
    Some(DecodingKey::from_rsa_raw_components(unsigned(modulus), unsigned(exponent)))
}

/// DER integers carry a leading zero where the first bit is set.
fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// The rest of a sequence of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&first, rest) = self.0.split_first()?;
        let (&length, mut rest) = rest.split_first()?;
        let mut length = usize::from(length);
        if length >= 0x80 {
            let (bytes, after) = rest.split_at_checked(length - 0x80)?;
            length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        (first == tag).then_some(content)
    }

    fn enter(mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(Der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_private_keys_in_both_forms_and_nothing_else() {
        assert!(verifying_key(PRIVATE_KEY_PKCS1).is_some());
        assert!(verifying_key(PRIVATE_KEY_PKCS8).is_some());
        assert!(verifying_key("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n").is_none());
    }
}
