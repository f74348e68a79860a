//! No token opens what it does not name.
//!
//! Input: one byte that says what is asked for and how the rest is used, and the rest: a whole token; a
//! header, a line end and claims, which are then signed; or changes to sound claims, three bytes each.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};
use tollgate::policy::Class;
use tollgate::policy::approval::{
    Approval, Base, Binding, Issuer, PullAt, Requirement, Verifier, request_sha256,
};
use tollgate::policy::repositories::RepositoryName;

const NOW: i64 = 1_800_000_000;
const LIFETIME_MAX: i64 = 3600;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &[u8] = b"another secret of 32 bytes, or more";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const TOP: &str = "1111111111111111111111111111111111111111";
const BELOW: &str = "2222222222222222222222222222222222222222";

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    crate::install_crypto();
    let issuer = |name: &str, secret: &[u8]| Issuer {
        name: name.to_owned(),
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret),
        key_sha256: [0; 32],
    };
    let issuers = vec![issuer("team", SECRET), issuer("other", OTHER_SECRET)];
    Verifier::new(issuers, Duration::from_secs(LIFETIME_MAX.unsigned_abs()))
});

/// # Panics
/// When a token is taken that is not signed, or does not say what is asked for.
pub fn check(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let verifier = &*VERIFIER;
    let required = required(*first);
    let token = match first >> 2 & 3 {
        0 => rest.to_vec(),
        1 => {
            let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            signed(&rest[..line], rest.get(line + 1..).unwrap_or_default())
        }
        _ => signed(HEADER.as_bytes(), &changed(&required, rest)),
    };
    if let Ok(approval) = verifier.verify(&token, &required, NOW) {
        check_taken(&token, &required, &approval);
    } else {
        assert!(!is_untouched(first >> 2 & 3, rest), "sound claims are refused");
    }
}

fn is_untouched(way: u8, rest: &[u8]) -> bool {
    way > 1 && rest.is_empty()
}

/// What is asked for: a merge alone, a merge of a stack, one request, one in no repository.
fn required(choice: u8) -> Requirement {
    let at = |number, sha: &str| PullAt { number, head_sha: sha.to_owned() };
    let pull = |stack| Binding::Pull {
        number: 76,
        head_sha: Some(TOP.to_owned()),
        base: Some(Base::named("release")),
        stack,
    };
    let request = |path| Binding::Request {
        sha256: request_sha256("PUT", path, b"{}"),
        head_sha: None,
        ids: BTreeMap::new(),
    };
    let repository = RepositoryName::parse("acme/widgets");
    match choice & 3 {
        0 => Requirement { repository, action: Class::Merge.as_str(), binding: pull(Vec::new()) },
        1 => Requirement {
            repository,
            action: Class::Merge.as_str(),
            binding: pull(vec![at(75, BELOW), at(76, TOP)]),
        },
        2 => Requirement {
            repository,
            action: Class::RefWrite.as_str(),
            binding: request("/repos/acme/widgets/contents/x"),
        },
        _ => {
            Requirement { repository: None, action: Class::Admin.as_str(), binding: request("/orgs/acme/x") }
        }
    }
}

fn signed(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", signature(&message, SECRET)).into_bytes()
}

fn signature(message: &str, secret: &[u8]) -> String {
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("HS256 signs anything")
}

/// Sound claims, with some of their bytes replaced, doubled or left out.
fn changed(required: &Requirement, changes: &[u8]) -> Vec<u8> {
    let mut claims = required.claims();
    for (key, value) in [
        ("iss", json!("team")),
        ("sub", json!("jane")),
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 900)),
        ("jti", json!("a1")),
    ] {
        claims[key] = value;
    }
    let mut bytes = claims.to_string().into_bytes();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1] & 1])) % bytes.len();
        match change[1] >> 1 & 3 {
            0 | 1 => bytes[at] = change[2],
            2 => bytes.insert(at, change[2]),
            _ if bytes.len() > 1 => {
                bytes.remove(at);
            }
            _ => {}
        }
    }
    bytes
}

/// Looks at an accepted token again, with nothing of the verifier's.
fn check_taken(token: &[u8], required: &Requirement, approval: &Approval) {
    let token = std::str::from_utf8(token).expect("a token is text");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    let read = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
        serde_json::from_slice(&bytes).expect("a part is JSON")
    };
    let (header, claims) = (read(parts[0]), read(parts[1]));
    assert_eq!(header["alg"], "HS256");
    let (issuer, secret) = if claims["iss"] == "other" { ("other", OTHER_SECRET) } else { ("team", SECRET) };
    assert_eq!(claims["iss"], issuer);
    assert_eq!(parts[2], signature(&format!("{}.{}", parts[0], parts[1]), secret), "not signed: {token}");
    assert_eq!(claims["aud"], "tollgate");
    assert_eq!(claims["action"], required.action);
    let repository = claims.get("repo").map(|repo| repo.as_str().unwrap_or_default().to_ascii_lowercase());
    assert_eq!(repository, required.repository.as_ref().map(RepositoryName::to_string));
    check_binding(&claims, &required.binding, approval);
    let seconds = |key: &str| claims[key].as_i64().expect("times are whole seconds");
    let (iat, exp) = (seconds("iat"), seconds("exp"));
    assert!(iat <= NOW + 60 && exp > NOW && exp > iat && exp - iat <= LIFETIME_MAX, "{claims}");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_i64().is_some_and(|nbf| nbf <= NOW + 60)), "{claims}");
    assert_eq!((approval.issued_at, approval.expires_at), (iat, exp));
    assert_eq!((approval.issuer.as_str(), claims["sub"].as_str()), (issuer, Some(approval.subject.as_str())));
    assert_eq!(claims["jti"].as_str(), Some(approval.jti.as_str()));
    assert!(
        [&approval.subject, &approval.jti].iter().all(|name| !name.trim().is_empty() && name.len() <= 256)
    );
}

fn check_binding(claims: &Value, binding: &Binding, approval: &Approval) {
    match binding {
        Binding::Request { sha256, .. } => {
            assert_eq!(claims["request_sha256"], sha256.as_str());
            assert!(["pull_number", "head_sha", "stack"].iter().all(|key| claims.get(key).is_none()));
            assert_eq!(approval.head_sha, None);
        }
        Binding::Pull { number, base, stack, .. } => {
            assert_eq!(claims["pull_number"], *number);
            let base = base.as_ref().map(|base| &base.branch);
            assert!(approval.base.is_none() || approval.base.as_ref() == base);
            assert_eq!(claims.get("base"), approval.base.as_ref().map(|base| json!(base)).as_ref());
            assert!(claims.get("request_sha256").is_none());
            let head = claims["head_sha"].as_str().expect("a merge names its commit");
            assert!([40, 64].contains(&head.len()) && head.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            assert_eq!(approval.head_sha.as_deref(), Some(head));
            let mut expected: Vec<Value> = Vec::new();
            let below = &stack[..stack.len().saturating_sub(1)];
            expected
                .extend(below.iter().map(|at| json!({"pull_number": at.number, "head_sha": at.head_sha})));
            expected.push(json!({"pull_number": number, "head_sha": head}));
            assert!(
                claims.get("stack").map_or(stack.is_empty(), |stack| *stack == json!(expected)),
                "{claims}"
            );
        }
    }
}
