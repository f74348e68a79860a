//! Signs approvals as an approver would: with the completed claims of a refusal.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tollgate::clock::{Clock, SystemClock};

use super::Answer;

/// The secret of issuer `team` in signed mode.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Fills in the approver, the times and a new `jti`.
pub(crate) fn filled(claims: &Value) -> Value {
    let now = SystemClock.now_seconds();
    let mut claims = claims.clone();
    let jti = format!("{:032x}", rand::random::<u128>());
    for (key, value) in [
        ("iss", json!("team")),
        ("sub", json!("jane")),
        ("iat", json!(now)),
        ("exp", json!(now + 900)),
        ("jti", json!(jti)),
    ] {
        claims[key] = value;
    }
    claims
}

/// A token of issuer `team`.
pub(crate) fn sign(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// An approval of exactly what was refused.
pub(crate) fn approve(refusal: &Answer) -> String {
    let claims = &refusal.json()["tollgate"]["approval"];
    assert!(claims.is_object(), "no claims: {}", refusal.text());
    sign(&filled(claims))
}
