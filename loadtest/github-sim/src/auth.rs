//! Who is calling: App JWTs, installation tokens, personal access tokens, and anything else.
//!
//! Sources: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App" and "GitHub's
//! token formats". A credential that GitHub could not have issued is noted as a leak.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde_json::Value;

use crate::books::Leak;
use crate::config::SimConfig;
use crate::digest::sha256_hex;
use crate::exchange::{Reply, Request};
use crate::server::{Shared, State};
use crate::tokens::Grant;

/// How far a JWT's `iat` may be ahead.
const IAT_SKEW_SECONDS: i64 = 5;
/// How far a JWT's `exp` may be ahead.
const EXP_MAX_SECONDS: i64 = 600;
/// How many bytes of a body are searched for leaked keys.
const LEAK_SCAN_BYTES: usize = 64 * 1024;

/// A caller that was let in.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Anonymous,
    /// By the App's index.
    App(usize),
    Installation {
        grant: Grant,
        token: String,
    },
    Personal,
}

impl Caller {
    /// The account whose limits are charged.
    pub(crate) fn account(&self, config: &SimConfig) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::App(app) => format!("app:{}", config.app_id_of(*app)),
            Self::Installation { grant, .. } => format!("installation:{}", grant.installation_id),
            Self::Personal => format!("user:{PERSONAL_ID}"),
        }
    }
}

/// The id of the user of all personal access tokens.
pub(crate) const PERSONAL_ID: u64 = 9001;

/// The result of reading `Authorization`.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// As recorded: `app-jwt`, `installation:ID`, `pat`, `none` or `unknown`.
    pub(crate) label: String,
    /// The caller, or the 401.
    pub(crate) caller: Result<Caller, Box<Reply>>,
    pub(crate) credential_sha256: Option<String>,
}

/// Looks at `Authorization`, and notes every leaked credential of the request.
pub(crate) fn identify(
    shared: &Shared,
    state: &mut State,
    request: &Request,
    seq: u64,
    now: i64,
) -> Identity {
    scan_for_leaks(state, request, seq);
    let Some(value) = request.headers.get("authorization") else {
        return Identity { label: "none".to_owned(), caller: Ok(Caller::Anonymous), credential_sha256: None };
    };
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let (scheme, credential) = value.split_once(' ').unwrap_or(("", value.as_str()));
    let credential = credential.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    let is_known_scheme = is_bearer || scheme.eq_ignore_ascii_case("token");
    let (label, caller) = if !is_known_scheme {
        leak(state, seq, "authorization", &scheme.to_ascii_lowercase(), credential);
        ("unknown".to_owned(), Err(bad_credentials()))
    } else if let Some(grant) = state.tokens.find(credential) {
        let label = format!("installation:{}", grant.installation_id);
        let is_alive = !grant.is_revoked && now < grant.expires_at;
        let caller = Caller::Installation { grant: grant.clone(), token: credential.to_owned() };
        (label, if is_alive { Ok(caller) } else { Err(bad_credentials()) })
    } else if shared.config.personal_tokens.iter().any(|token| token == credential) {
        ("pat".to_owned(), Ok(Caller::Personal))
    } else if credential.starts_with("eyJ") && credential.matches('.').count() == 2 {
        let checked = if is_bearer { check_jwt(shared, credential, now) } else { Err(UNDECODABLE) };
        let caller = checked.map(Caller::App);
        ("app-jwt".to_owned(), caller.map_err(|message| Reply::error(401, message)))
    } else {
        leak(state, seq, "authorization", kind_of(credential), credential);
        ("unknown".to_owned(), Err(bad_credentials()))
    };
    Identity {
        label,
        caller: caller.map_err(Box::new),
        credential_sha256: Some(sha256_hex(credential.as_bytes())),
    }
}

/// GitHub's 401 for a token that is wrong, expired or revoked.
pub(crate) fn bad_credentials() -> Reply {
    Reply::error(401, "Bad credentials")
}

/// GitHub's 401 for an unreadable JWT, and for anything else where a JWT is required.
pub(crate) const UNDECODABLE: &str = "A JSON web token could not be decoded";

fn check_jwt(shared: &Shared, token: &str, now: i64) -> Result<usize, &'static str> {
    let (message, signature) = token.rsplit_once('.').ok_or(UNDECODABLE)?;
    let (header, claims) = message.split_once('.').ok_or(UNDECODABLE)?;
    if json_part(header).and_then(|header| Some(header.get("alg")? == "RS256")) != Some(true) {
        return Err(UNDECODABLE);
    }
    let is_by = |key| crypto::verify(signature, message.as_bytes(), key, Algorithm::RS256).unwrap_or(false);
    if !shared.app_keys.iter().any(is_by) {
        return Err(UNDECODABLE);
    }
    let claims = json_part(claims).ok_or(UNDECODABLE)?;
    let Some(issued_at) = claims.get("iat").and_then(Value::as_i64) else {
        return Err("Missing 'issued at' claim ('iat') in assertion");
    };
    if issued_at > now + IAT_SKEW_SECONDS {
        return Err("'Issued at' claim ('iat') must be an Integer representing the time that the \
                    assertion was issued");
    }
    let expires_at = claims.get("exp").and_then(Value::as_i64);
    let Some(expires_at) = expires_at.filter(|expires_at| *expires_at > now) else {
        return Err("'Expiration time' claim ('exp') must be a numeric value representing the \
                    future time at which the assertion expires");
    };
    if expires_at > now + EXP_MAX_SECONDS {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let app = shared.config.app_of(issuer);
    app.ok_or("'Issuer' claim ('iss') must be the client ID or the ID of the App")
}

fn json_part(base64: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(base64).ok()?).ok()
}

/// The prefix by which a credential is known.
fn kind_of(credential: &str) -> &'static str {
    const PREFIXES: [&str; 8] = ["tg_", "github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "eyJ"];
    PREFIXES.into_iter().find(|prefix| credential.starts_with(prefix)).unwrap_or("unknown")
}

/// Records a leak. Only the beginning of the credential's hash is kept.
pub(crate) fn leak(state: &mut State, seq: u64, place: &str, kind: &str, credential: &str) {
    let mut sha256_prefix = sha256_hex(credential.as_bytes());
    sha256_prefix.truncate(12);
    state.books.leaked_credentials.push(Leak {
        seq,
        place: place.to_owned(),
        kind: kind.to_owned(),
        sha256_prefix,
    });
}

/// Looks for agent keys (`tg_NAME_…`) wherever they do not belong.
fn scan_for_leaks(state: &mut State, request: &Request, seq: u64) {
    for (name, value) in &request.headers {
        if name != "authorization"
            && let Some(key) = agent_key(value.as_bytes())
        {
            leak(state, seq, &format!("header:{name}"), "tg_", &key);
        }
    }
    let query = request.raw_query.as_deref().unwrap_or("");
    if let Some(key) = agent_key(format!("{}?{query}", request.path).as_bytes()) {
        leak(state, seq, "path", "tg_", &key);
    }
    let beginning = &request.body[..request.body.len().min(LEAK_SCAN_BYTES)];
    if let Some(key) = agent_key(beginning) {
        leak(state, seq, "body", "tg_", &key);
    }
}

/// The first text of the form `tg_[A-Za-z0-9]+_[A-Za-z0-9_]*`.
fn agent_key(bytes: &[u8]) -> Option<String> {
    let mut from = 0;
    while let Some(at) = bytes[from..].windows(3).position(|window| window == b"tg_") {
        let start = from + at;
        let rest = &bytes[start + 3..];
        let name = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if name > 0 && rest.get(name) == Some(&b'_') {
            let is_key = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
            let end = start + 3 + rest.iter().take_while(is_key).count();
            return Some(String::from_utf8_lossy(&bytes[start..end]).into_owned());
        }
        from = start + 3;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_agent_keys_in_text() {
        for (text, found) in [
            ("x tg_reviewer_abc123 y", Some("tg_reviewer_abc123")),
            ("tg__x", None),
            ("tg_tg_a_b", Some("tg_tg_a_b")),
            ("tg_name", None),
            ("", None),
        ] {
            assert_eq!(agent_key(text.as_bytes()).as_deref(), found, "{text}");
        }
    }
}
