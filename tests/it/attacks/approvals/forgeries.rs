//! Tokens without a valid signature, or signed by nobody in the configuration.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{Approvers, SECRET, claims_for_pull, merge, sign, sign_text, sign_with_secret, start};

/// Headers of tokens without a signature.
const UNSIGNED: [&str; 12] = [
    r#"{"alg":"none"}"#,
    r#"{"alg":"None"}"#,
    r#"{"alg":"NONE"}"#,
    r#"{"alg":"nOnE"}"#,
    r#"{"alg":"none "}"#,
    r#"{"alg":""}"#,
    r#"{"alg":null}"#,
    r#"{"alg":["none","EdDSA"]}"#,
    r#"{"alg":"none\u0000"}"#,
    r#"{"typ":"JWT"}"#,
    r#"{"alg":"EdDSA"}"#,
    r#"{"alg":"HS256"}"#,
];

#[tokio::test]
async fn a_token_without_a_signature_approves_nothing() {
    let (mut run, approvers) = start().await;
    for header in UNSIGNED {
        for issuer in ["release-team", "team"] {
            let mut claims = claims_for_pull(76, &approvers.head);
            claims["iss"] = json!(issuer);
            let message =
                format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
            for (name, token) in [
                ("an empty signature", format!("{message}.")),
                ("no signature", message.clone()),
                ("a signature of zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
                ("a short signature", format!("{message}.AA")),
            ] {
                let bytes = merge(&run, &token);
                run.attack(&format!("{name} below {header} of {issuer}"), &bytes).await;
            }
        }
    }
    run.finish(UNSIGNED.len() * 8).await;
}

/// Keys that are not the issuer's, with the header and the issuer that they claim.
fn wrong_keys(
    approvers: &Approvers,
) -> Vec<(&'static str, &'static str, &'static str, EncodingKey, Algorithm)> {
    let secret = EncodingKey::from_secret;
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let elliptic = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = || EncodingKey::from_ed_pem(stranger.serialize_pem().as_bytes()).unwrap();
    let ec = || EncodingKey::from_ec_pem(elliptic.serialize_pem().as_bytes()).unwrap();
    let pem = approvers.public_pem.as_bytes();
    let der = STANDARD
        .decode(approvers.public_pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
    let der = der.unwrap();
    let (eddsa, hs256, es256) = (r#"{"alg":"EdDSA"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"ES256"}"#);
    let team = approvers.team.clone();
    let rest = approvers.release_team.clone();
    use Algorithm::{ES256, EdDSA, HS256, HS384, HS512};
    vec![
        ("a stranger's key", eddsa, "release-team", ed(), EdDSA),
        ("a stranger's key for the other issuer", eddsa, "team", ed(), EdDSA),
        ("a stranger's elliptic key", es256, "release-team", ec(), ES256),
        ("a stranger's elliptic key called EdDSA", eddsa, "release-team", ec(), ES256),
        ("the public key's PEM as a secret", hs256, "release-team", secret(pem), HS256),
        (
            "the public key's PEM, trimmed, as a secret",
            hs256,
            "release-team",
            secret(pem.trim_ascii()),
            HS256,
        ),
        ("the public key's DER as a secret", hs256, "release-team", secret(&der), HS256),
        ("the public key's bytes as a secret", hs256, "release-team", secret(&der[der.len() - 32..]), HS256),
        ("the public key's PEM as a longer secret", r#"{"alg":"HS512"}"#, "release-team", secret(pem), HS512),
        ("no secret", hs256, "team", secret(b""), HS256),
        ("the name of the file as a secret", hs256, "team", secret(b"approver.secret"), HS256),
        ("the secret cut short", hs256, "team", secret(&SECRET[..31]), HS256),
        ("the secret with a line feed", hs256, "team", secret(&[SECRET, b"\n"].concat()), HS256),
        ("the other issuer's secret", hs256, "release-team", team.clone(), HS256),
        ("the other issuer's key", eddsa, "team", rest, EdDSA),
        ("another length of the hash", r#"{"alg":"HS384"}"#, "team", team.clone(), HS384),
        ("the longest hash", r#"{"alg":"HS512"}"#, "team", team.clone(), HS512),
        ("another hash than it says", hs256, "team", team.clone(), HS512),
        ("a lower-case algorithm", r#"{"alg":"hs256"}"#, "team", team, HS256),
        ("an unknown issuer", eddsa, "somebody", approvers.release_team.clone(), EdDSA),
        ("an issuer in capitals", eddsa, "Release-Team", approvers.release_team.clone(), EdDSA),
        ("an issuer with a blank", eddsa, "release-team ", approvers.release_team.clone(), EdDSA),
        ("an empty issuer", eddsa, "", approvers.release_team.clone(), EdDSA),
    ]
}

#[tokio::test]
async fn nobody_elses_key_approves_anything() {
    let (mut run, approvers) = start().await;
    let rows = wrong_keys(&approvers);
    for (name, header, issuer, key, algorithm) in &rows {
        let mut claims = claims_for_pull(76, &approvers.head);
        claims["iss"] = json!(issuer);
        let token = sign_text(header, &claims.to_string(), key, *algorithm);
        let bytes = merge(&run, &token);
        run.attack(name, &bytes).await;
    }
    run.finish(rows.len()).await;
}

#[tokio::test]
async fn a_token_does_not_bring_its_own_key() {
    let (mut run, approvers) = start().await;
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = EncodingKey::from_ed_pem(stranger.serialize_pem().as_bytes()).unwrap();
    let raw = stranger.public_key_raw();
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(raw), "kid": "release-team"});
    let octets = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")});
    let chain = json!([STANDARD.encode(raw)]);
    let headers = [
        json!({"alg": "EdDSA", "jwk": jwk}),
        json!({"alg": "EdDSA", "jwk": jwk, "kid": "release-team"}),
        json!({"alg": "EdDSA", "jwks": {"keys": [jwk]}}),
        json!({"alg": "EdDSA", "jku": "http://127.0.0.1:9/jwks.json"}),
        json!({"alg": "EdDSA", "x5u": "http://127.0.0.1:9/chain.pem"}),
        json!({"alg": "EdDSA", "x5c": chain}),
        json!({"alg": "EdDSA", "x5t": "AA", "x5c": chain}),
        json!({"alg": "EdDSA", "kid": "../../../../tmp/key.pem"}),
        json!({"alg": "EdDSA", "kid": "' UNION SELECT 'key"}),
        json!({"alg": "EdDSA", "kid": "release-team"}),
        json!({"alg": "EdDSA", "iss": "release-team"}),
        json!({"alg": "EdDSA", "epk": jwk}),
    ];
    for header in &headers {
        let claims = claims_for_pull(76, &approvers.head);
        let token = sign_text(&header.to_string(), &claims.to_string(), &key, Algorithm::EdDSA);
        let bytes = merge(&run, &token);
        run.attack(&header.to_string(), &bytes).await;
    }
    for (kid, secret) in [
        ("/dev/null", ""),
        ("../../dev/null", ""),
        ("release-team.pub.pem", approvers.public_pem.as_str()),
        ("x", "mine"),
    ] {
        for issuer in ["team", "release-team"] {
            let mut claims = claims_for_pull(76, &approvers.head);
            claims["iss"] = json!(issuer);
            let header = json!({"alg": "HS256", "kid": kid, "jwk": octets}).to_string();
            let key = EncodingKey::from_secret(secret.as_bytes());
            let bytes = merge(&run, &sign_text(&header, &claims.to_string(), &key, Algorithm::HS256));
            run.attack(&format!("{kid} of {issuer}"), &bytes).await;
        }
    }
    run.finish(headers.len() + 8).await;
}

#[tokio::test]
async fn a_header_that_says_too_much_is_not_taken() {
    let (mut run, approvers) = start().await;
    let headers = [
        r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
        r#"{"alg":"EdDSA","crit":["b64"],"b64":true}"#,
        r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#,
        r#"{"alg":"EdDSA","crit":[]}"#,
        r#"{"alg":"EdDSA","crit":["x-unknown"],"x-unknown":1}"#,
        r#"{"alg":"EdDSA","crit":null}"#,
        r#"{"alg":"EdDSA","alg":"none"}"#,
        r#"{"alg":"none","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"HS256"}"#,
        r#"{"alg":"EdDSA"} {}"#,
        "\u{feff}{\"alg\":\"EdDSA\"}",
        r#"["EdDSA"]"#,
        r#""EdDSA""#,
    ];
    for header in headers {
        let claims = claims_for_pull(76, &approvers.head);
        let token = sign_text(header, &claims.to_string(), &approvers.release_team, Algorithm::EdDSA);
        let bytes = merge(&run, &token);
        run.attack(header, &bytes).await;
    }
    run.finish(headers.len()).await;
}

#[tokio::test]
async fn a_token_that_is_bent_is_not_taken() {
    let (mut run, approvers) = start().await;
    let fresh = || sign(&claims_for_pull(76, &approvers.head), &approvers);
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, two) = (parts(&fresh()), parts(&sign(&claims_for_pull(77, &approvers.other_head), &approvers)));
    let for_76 = URL_SAFE_NO_PAD.encode(claims_for_pull(76, &approvers.head).to_string());
    let secret = sign_with_secret(&claims_for_pull(76, &approvers.head), &approvers);
    let general = json!({"payload": one[1], "signatures": [{"protected": one[0], "signature": one[2]}]});
    let rows = [
        ("the signature of another", format!("{}.{}.{}", one[0], one[1], two[2])),
        ("the claims of another", format!("{}.{for_76}.{}", two[0], two[2])),
        ("the header of another", format!("{}.{}.{}", parts(&secret)[0], one[1], one[2])),
        ("a signature cut short", fresh()[..fresh().len() - 4].to_owned()),
        ("an empty signature", format!("{}.{}.", one[0], one[1])),
        ("two parts", format!("{}.{}", one[0], one[1])),
        ("one part", one[1].clone()),
        ("four parts", format!("{}.x", fresh())),
        ("four parts, the last empty", format!("{}.", fresh())),
        ("four parts, the first empty", format!(".{}", fresh())),
        ("five parts", format!("{}.x.y", fresh())),
        ("two dots", "..".to_owned()),
        ("padding", fresh().replace('.', "=.")),
        ("padding at the end", format!("{}==", fresh())),
        ("a blank within", fresh().replacen('.', " .", 1)),
        ("a tab within", fresh().replacen('.', "\t.", 1)),
        ("garbage after a blank", format!("{} x", fresh())),
        ("garbage after a comma", format!("{},x", fresh())),
        ("garbage after a semicolon", format!("{};x", fresh())),
        ("two in a list", format!("{}, {}", fresh(), fresh())),
        ("in quotes", format!("\"{}\"", fresh())),
        ("as JSON", general.to_string()),
        ("an escape", fresh().replacen('.', "%2E", 2)),
        ("reversed", fresh().chars().rev().collect()),
        ("a word", "yes".to_owned()),
        ("very long", "x".repeat(20_000)),
        ("longer than a head", "x".repeat(40_000)),
        ("very many dots", ".".repeat(20_000)),
        ("a long signature", format!("{}{}", fresh(), "A".repeat(20_000))),
    ];
    for (name, token) in &rows {
        let bytes = merge(&run, token);
        run.attack(name, &bytes).await;
    }
    let twice = format!("{}\r\nX-Merge-Approval: {}", fresh(), fresh());
    let bytes = merge(&run, &twice);
    run.attack("two headers", &bytes).await;
    let bytes = merge(&run, &format!("\r\nX-Merge-Approval: {}", fresh()));
    run.attack("two headers, the first empty", &bytes).await;
    run.finish(rows.len() + 2).await;
}
