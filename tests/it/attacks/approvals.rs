//! Signed approvals: forged, made for something else, or used twice.
//!
//! An approval travels through the agent, who can read, keep and change it. A merge only passes with a configured
//! issuer's signature over exactly this merge, and only once.

mod bindings;
mod claims;
mod controls;
mod forgeries;
mod replay;

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollgate::clock::{Clock, SystemClock};
use tollgate::secret::hex;

use super::run::{MERGE, Run, setup};

/// The secret that [`crate::support::Setup`] gives the issuer `team`.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Both issuers' keys, and the heads of the pull requests.
struct Approvers {
    /// Of `release-team`, Ed25519.
    release_team: EncodingKey,
    public_pem: String,
    /// Of `team`, HS256.
    team: EncodingKey,
    /// Of pull request 76, which nobody has approved except in the controls.
    head: String,
    /// Of pull request 77.
    other_head: String,
}

async fn start() -> (Run, Approvers) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut setup = setup("signed");
    setup.issuers.push(("release-team", pair.public_key_pem()));
    let mut run = Run::on(setup).await;
    let head = head_of(&run, 76).await;
    let other_head = head_of(&run, 77).await;
    run.judge_arrivals("the start");
    let approvers = Approvers {
        release_team: EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap(),
        public_pem: pair.public_key_pem(),
        team: EncodingKey::from_secret(SECRET),
        head,
        other_head,
    };
    (run, approvers)
}

async fn head_of(run: &Run, number: u64) -> String {
    let pull = run.tollgate.get(&format!("/repos/acme/widgets/pulls/{number}")).await.json();
    pull["head"]["sha"].as_str().unwrap().to_owned()
}

fn now() -> i64 {
    SystemClock.now_seconds()
}

/// The common claims of every approval, issued by `release-team` just now and not used before.
fn claims(action: &str) -> Value {
    static SPENT: AtomicU64 = AtomicU64::new(0);
    let number = SPENT.fetch_add(1, Ordering::Relaxed);
    let issued = now();
    json!({
        "iss": "release-team",
        "sub": "a person",
        "aud": "tollgate",
        "repo": "acme/widgets",
        "action": action,
        "iat": issued,
        "exp": issued + 600,
        "jti": format!("approval-{number}-{issued}"),
    })
}

/// The claims for the merge of a pull request.
fn claims_for_pull(number: u64, head_sha: &str) -> Value {
    let mut claims = claims("merge");
    claims["pull_number"] = json!(number);
    claims["head_sha"] = json!(head_sha);
    claims
}

/// The claims for any other gated request.
fn claims_for_request(action: &str, method: &str, path: &str, body: &str) -> Value {
    let mut claims = claims(action);
    claims["request_sha256"] = json!(hex(&Sha256::digest(format!("{method} {path}\n{body}"))));
    claims
}

/// A compact JWS with header and claims verbatim, so that they may contain duplicates.
fn sign_text(header: &str, payload: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// Signs as `release-team`.
fn sign(claims: &Value, approvers: &Approvers) -> String {
    let header = r#"{"alg":"EdDSA","typ":"JWT"}"#;
    sign_text(header, &claims.to_string(), &approvers.release_team, Algorithm::EdDSA)
}

/// Signs as `team`; the claims have to name it.
fn sign_with_secret(claims: &Value, approvers: &Approvers) -> String {
    let mut claims = claims.clone();
    if claims["iss"] == "release-team" {
        claims["iss"] = json!("team");
    }
    sign_text(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), &approvers.team, Algorithm::HS256)
}

/// The merge of pull request 76, with an approval.
fn merge(run: &Run, approval: &str) -> Vec<u8> {
    run.request(&format!("PUT {MERGE}"), &format!("X-Merge-Approval: {approval}\r\n"), "{}")
}

#[tokio::test]
async fn the_tokens_that_attacks_begin_with_are_rightly_signed() {
    let (run, approvers) = start().await;
    let claims = claims_for_pull(76, &approvers.head);
    let public = DecodingKey::from_ed_pem(approvers.public_pem.as_bytes()).unwrap();
    let secret = DecodingKey::from_secret(SECRET);
    for (token, key, algorithm, issuer) in [
        (sign(&claims, &approvers), public, Algorithm::EdDSA, "release-team"),
        (sign_with_secret(&claims, &approvers), secret, Algorithm::HS256, "team"),
    ] {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["tollgate"]);
        validation.set_issuer(&[issuer]);
        let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!((&read["head_sha"], &read["pull_number"]), (&json!(approvers.head), &json!(76)));
    }
    run.finish(0).await;
}
