//! An issuer's public keys, from a JSON Web Key Set (RFC 7517).
//!
//! Unusable keys (for encryption, symmetric, on unsupported curves, damaged) are skipped: a set may hold keys for
//! other users. A symmetric key is never used, whatever the set says.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Longest key set read, in bytes.
pub const SET_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a set that are examined.
const KEYS_MAX: usize = 100;

/// Names as in RFC 7518 and RFC 8037. `none` and the symmetric algorithms are not among them.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The algorithm with this name in a token's header, if it is supported.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// One public key.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    /// The algorithms that the key may be used with.
    algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// The usable keys of an issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// The keys of a set that fit a token.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Keys that may have signed it; almost always one.
    Found(Vec<&'a Key>),
    /// No such key; it may have been added since the set was read.
    Unknown,
    /// The token names no key and several fit.
    Ambiguous,
    /// The key that the token names is for other algorithms.
    Misfit,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Value>,
}

impl KeySet {
    /// # Errors
    /// When the JSON is not a key set at all, or is too long.
    pub fn parse(json: &[u8]) -> Result<KeySet, &'static str> {
        if json.len() > SET_BYTES_MAX {
            return Err("is longer than 256 KiB");
        }
        let set: RawSet = serde_json::from_slice(json).map_err(|_| "is no JSON Web Key Set")?;
        Ok(KeySet { keys: set.keys.into_iter().take(KEYS_MAX).filter_map(key).collect() })
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token with this key id and algorithm.
    pub fn lookup(&self, id: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let fitting = |key: &&Key| key.algorithms.contains(&algorithm);
        let Some(id) = id else {
            let found: Vec<&Key> = self.keys.iter().filter(fitting).collect();
            return match found.len() {
                0 => Lookup::Unknown,
                1 => Lookup::Found(found),
                _ => Lookup::Ambiguous,
            };
        };
        let mut named = self.keys.iter().filter(|key| key.id.as_deref() == Some(id)).peekable();
        if named.peek().is_none() {
            return Lookup::Unknown;
        }
        let found: Vec<&Key> = named.filter(fitting).collect();
        if found.is_empty() { Lookup::Misfit } else { Lookup::Found(found) }
    }
}

fn key(json: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(json).ok()?;
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return None;
    }
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let mut algorithms = algorithms.to_vec();
    if let Some(said) = common.key_algorithm {
        algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == said);
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then(|| Key { id: jwk.common.key_id, algorithms, decoding })
}
