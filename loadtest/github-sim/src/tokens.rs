//! Installation tokens: minted, narrowed, expired, revoked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::TokenForm;
use crate::digest::sha256_hex;

/// What an installation token may do. The token itself is not kept.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) installation_id: u64,
    /// Ids of the repositories that it was narrowed to; `None`: all of the installation's.
    pub(crate) repositories: Option<BTreeSet<u64>>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) minted_at_ms: i64,
    /// Epoch seconds.
    pub(crate) expires_at: i64,
    pub(crate) is_revoked: bool,
}

/// All tokens ever minted, by hash.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    grants: HashMap<String, Grant>,
}

impl Tokens {
    pub(crate) fn add(&mut self, token: &str, grant: Grant) {
        self.grants.insert(sha256_hex(token.as_bytes()), grant);
    }

    pub(crate) fn find(&self, token: &str) -> Option<&Grant> {
        self.grants.get(&sha256_hex(token.as_bytes()))
    }

    /// Revokes a token; `false` when it was never minted here.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        let grant = self.grants.get_mut(&sha256_hex(token.as_bytes()));
        grant.map(|grant| grant.is_revoked = true).is_some()
    }

    /// Revokes all tokens of an installation, as suspending it does.
    pub(crate) fn revoke_installation(&mut self, installation_id: u64) {
        for grant in self.grants.values_mut() {
            grant.is_revoked |= grant.installation_id == installation_id;
        }
    }
}

/// A fresh token. The stateless form carries claims nobody is meant to read.
pub(crate) fn fresh_token(form: TokenForm, app_id: u64, expires_at: i64) -> String {
    match form {
        TokenForm::Short => format!("ghs_{}", random_text(36)),
        TokenForm::Stateless => {
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT","kid":"github-sim"}"#);
            let claims = format!(r#"{{"exp":{expires_at},"jti":"{}"}}"#, random_text(190));
            let claims = URL_SAFE_NO_PAD.encode(claims);
            let signature = random_text(136);
            format!("ghs_{app_id}_{header}.{claims}.{signature}")
        }
    }
}

/// Whether a permission level covers another: admin over write over read.
pub(crate) fn covers(held: &str, wanted: &str) -> bool {
    fn rank(level: &str) -> u8 {
        match level {
            "read" => 1,
            "write" => 2,
            "admin" => 3,
            _ => 0,
        }
    }
    rank(wanted) > 0 && rank(held) >= rank(wanted)
}

fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..length).map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>()) % 62])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_two_documented_forms() {
        let long = fresh_token(TokenForm::Stateless, 4242, 1_800_000_000);
        assert!(long.starts_with("ghs_4242_"), "{long}");
        assert_eq!(long.matches('.').count(), 2);
        assert!((480..=560).contains(&long.len()), "{}", long.len());
        let short = fresh_token(TokenForm::Short, 4242, 1_800_000_000);
        assert_eq!(short.len(), 40);
    }

    #[test]
    fn levels_are_ordered() {
        for (held, wanted, is_covered) in [
            ("write", "read", true),
            ("read", "write", false),
            ("admin", "write", true),
            ("write", "everything", false),
        ] {
            assert_eq!(covers(held, wanted), is_covered, "{held} over {wanted}");
        }
    }
}
