//! Hashes in hex, and the ids derived from them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Lower-case hex SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// The 40-digit id of a Git object. Git uses SHA-1 over the same bytes; only the look matters here.
pub(crate) fn object_id(kind: &str, bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(kind.as_bytes());
    hasher.update(format!(" {}\0", bytes.len()).as_bytes());
    hasher.update(bytes);
    let mut id = hex(&hasher.finalize());
    id.truncate(40);
    id
}
