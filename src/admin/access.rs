//! Who may change something: whoever has the admin token, but no web page of another origin.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;

/// The configured admin token. Only its digest is kept, and compared in constant time.
pub struct AdminToken {
    sha256: ArcSwapOption<[u8; 32]>,
}

impl AdminToken {
    /// With `None`, nobody may change anything.
    pub fn new(token: Option<&SecretString>) -> AdminToken {
        AdminToken { sha256: ArcSwapOption::from_pointee(token.map(digest)) }
    }

    /// Replaces the token; `None` removes it.
    pub fn replace(&self, token: Option<&SecretString>) {
        self.sha256.store(token.map(digest).map(Arc::new));
    }

    /// Whether a token is configured.
    pub fn is_set(&self) -> bool {
        self.sha256.load().is_some()
    }

    /// Refuses what no token would help: requests from another origin's page, and every request if no token is
    /// configured. Returns the token's SHA-256.
    pub(super) fn may_be_asked(&self, headers: &HeaderMap) -> Result<[u8; 32], Refusal> {
        match is_foreign(headers) {
            true => Err(Refusal::Foreign),
            false => self.sha256.load().as_deref().copied().ok_or(Refusal::NoToken),
        }
    }

    /// Refuses requests without the token, and those sent by a page of another origin.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let sha256 = self.may_be_asked(headers)?;
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Refusal::Unauthenticated)?;
        if values.next().is_some() {
            return Err(Refusal::Authorizations);
        }
        let sent: [u8; 32] = Sha256::digest(bearer(value.as_bytes()).ok_or(Refusal::Unauthenticated)?).into();
        match bool::from(sent.ct_eq(&sha256)) {
            true => Ok(()),
            false => Err(Refusal::Unauthenticated),
        }
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "AdminToken([redacted])" } else { "AdminToken(none)" })
    }
}

/// Trims the secret: HTTP strips blanks around a header value, so they can't be part of the token.
fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().trim()).into()
}

/// The credentials after the scheme `Bearer`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (scheme, token) = (&value[..space], value[space..].trim_ascii());
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// Whether a browser says that a page of another origin sends the request. The scheme is not compared: TLS may
/// end before this listener.
fn is_foreign(headers: &HeaderMap) -> bool {
    if !headers.contains_key(ORIGIN) {
        return false;
    }
    let (Some(origin), Some(host)) = (only(headers, &ORIGIN), only(headers, &HOST)) else { return true };
    let (origin, host) = (origin.as_bytes(), host.as_bytes());
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// Keeps both values; collecting into a `HeaderMap` keeps only one per name.
    fn twice(name: &'static str, value: &str) -> HeaderMap {
        let mut map = headers(&[("host", "admin:9090")]);
        map.append(name, value.parse().unwrap());
        map.append(name, value.parse().unwrap());
        map
    }

    #[test]
    fn takes_the_token_alone() {
        let token = AdminToken::new(Some(&SecretString::from(" hunter2\n")));
        for value in ["Bearer hunter2", "bearer hunter2", "BEARER   hunter2  "] {
            assert!(token.check(&headers(&[("authorization", value)])).is_ok(), "{value}");
        }
        for value in [
            "",
            "hunter2",
            "Bearer",
            "Bearer ",
            "token hunter2",
            "Bearer hunter",
            "Bearer hunter22",
            "Bearer Hunter2",
        ] {
            let refused = token.check(&headers(&[("authorization", value)]));
            assert!(matches!(refused, Err(Refusal::Unauthenticated)), "{value}");
        }
        assert!(matches!(token.check(&HeaderMap::new()), Err(Refusal::Unauthenticated)));
        let refused = token.check(&twice("authorization", "Bearer hunter2"));
        assert!(matches!(refused, Err(Refusal::Authorizations)));
    }

    #[test]
    fn without_a_token_nobody_may() {
        let token = AdminToken::new(None);
        for map in [HeaderMap::new(), headers(&[("authorization", "Bearer ")])] {
            assert!(matches!(token.check(&map), Err(Refusal::NoToken)));
        }
    }

    #[test]
    fn another_token_takes_its_place() {
        let token = AdminToken::new(None);
        let check = |value: &str| token.check(&headers(&[("authorization", value)])).is_ok();
        assert!(!token.is_set() && !check("Bearer one"));
        token.replace(Some(&SecretString::from("one")));
        assert!(token.is_set() && check("Bearer one"));
        token.replace(Some(&SecretString::from("two")));
        assert!(!check("Bearer one") && check("Bearer two"));
        token.replace(None);
        assert!(!token.is_set() && !check("Bearer two"));
    }

    #[test]
    fn does_not_print() {
        let token = AdminToken::new(Some(&SecretString::from("hunter2")));
        assert_eq!(format!("{token:?}"), "AdminToken([redacted])");
    }

    #[test]
    fn tells_pages_of_other_origins() {
        let host = ("host", "admin:9090");
        for (origin, is_own) in [
            ("http://admin:9090", true),
            ("https://ADMIN:9090", true),
            ("http://admin", false),
            ("http://admin:9090.evil.example", false),
            ("http://evil.example", false),
            ("admin:9090", false),
            ("ftp://admin:9090", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(!is_foreign(&headers(&[host, ("origin", origin)])), is_own, "{origin}");
        }
        assert!(!is_foreign(&headers(&[host])));
        assert!(is_foreign(&headers(&[("origin", "http://admin:9090")])), "no Host to compare with");
        assert!(is_foreign(&twice("origin", "http://admin:9090")));
        let mut two_hosts = twice("host", "admin:9090");
        two_hosts.insert("origin", "http://admin:9090".parse().unwrap());
        assert!(is_foreign(&two_hosts));
    }
}
