use std::collections::BTreeMap;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};

use super::keys::{KeySet, Lookup, SET_BYTES_MAX};
use super::token;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const NOW: i64 = 1_800_000_000;
/// The RSA key of the tests.
const RSA_PEM: &str = github_sim::PRIVATE_KEY_PKCS1;

/// Algorithm, private key, and the public half as a key set holds it.
type TestKey = (Algorithm, EncodingKey, Value);

fn signing_keys() -> BTreeMap<&'static str, TestKey> {
    crate::app::install_crypto();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = EncodingKey::from_rsa_pem(RSA_PEM.as_bytes()).unwrap();
    let public =
        |key: DecodingKey| serde_json::to_value(Jwk::from_decoding_key(&key, None).unwrap()).unwrap();
    let [ec_public, ed_public] = [
        public(DecodingKey::from_ec_der(ec.public_key_raw())),
        public(DecodingKey::from_ed_der(ed.public_key_raw())),
    ];
    let mut rsa_public =
        serde_json::to_value(Jwk::from_encoding_key(&rsa, Algorithm::RS256).unwrap()).unwrap();
    rsa_public.as_object_mut().unwrap().remove("alg");
    let ec = EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap();
    BTreeMap::from([
        ("rsa", (Algorithm::RS256, rsa, rsa_public)),
        ("ec", (Algorithm::ES256, ec, ec_public)),
        ("ed", (Algorithm::EdDSA, ed, ed_public)),
    ])
}

/// The public half, with a test's changes.
fn jwk(id: &str, key: &TestKey, change: &Value) -> Value {
    let mut jwk = key.2.clone();
    jwk["kid"] = json!(id);
    for (name, value) in change.as_object().into_iter().flatten() {
        jwk[name] = value.clone();
    }
    jwk
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn sign(header: &Value, claims: &Value, key: &TestKey) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.1, key.0).unwrap();
    format!("{message}.{signature}")
}

/// Checks everything but issuer, rule and key source, which the socket tests cover.
fn judge(token: &str, keys: &KeySet) -> Result<(), Rejected> {
    let token = token::read(token.as_bytes())?;
    let found = match token.lookup(keys) {
        Lookup::Found(found) => found,
        Lookup::Unknown => return Err(Rejected::Key),
        Lookup::Ambiguous => return Err(Rejected::Unnamed),
        Lookup::Misfit => return Err(Rejected::Algorithm),
    };
    if !found.iter().any(|key| token.is_signed_by(key)) {
        return Err(Rejected::Signature);
    }
    token.check_times(NOW)?;
    token.check_audience("tollgate")?;
    token.subject().map(drop)
}

fn claims(change: &Value) -> Value {
    let mut claims =
        json!({ "iss": "i", "aud": "tollgate", "sub": "s", "iat": NOW, "nbf": NOW, "exp": NOW + 600 });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn each_kind_of_key_proves_with_its_own_algorithms_alone() {
    let keys = signing_keys();
    let all: Vec<Value> = keys.iter().map(|(id, key)| jwk(id, key, &Value::Null)).collect();
    let all = set(&all);
    for (id, key) in &keys {
        let name = serde_json::to_value(key.0).unwrap();
        let token = sign(&json!({ "alg": name, "kid": id }), &claims(&json!({})), key);
        assert_eq!(judge(&token, &all), Ok(()), "{id}");
        for other in ["RS256", "ES256", "EdDSA", "PS384", "ES384"].iter().filter(|other| name != **other) {
            let token = sign(&json!({ "alg": other, "kid": id }), &claims(&json!({})), key);
            assert!(judge(&token, &all).is_err(), "{id} as {other}");
        }
        let named = |other: &str| sign(&json!({ "alg": name, "kid": other }), &claims(&json!({})), key);
        assert_eq!(judge(&named("nobody"), &all), Err(Rejected::Key));
        for other in keys.keys().filter(|other| *other != id) {
            assert_eq!(judge(&named(other), &all), Err(Rejected::Algorithm), "{id} {other}");
        }
    }
    for symmetric in ["none", "None", "HS256", "HS384", "HS512", "", "rs256"] {
        let token = sign(&json!({ "alg": symmetric, "kid": "rsa" }), &claims(&json!({})), &keys["rsa"]);
        assert_eq!(judge(&token, &all), Err(Rejected::Algorithm), "{symmetric}");
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let keys = signing_keys();
    let published = jwk("rsa", &keys["rsa"], &Value::Null);
    let all = set(std::slice::from_ref(&published));
    let modulus = URL_SAFE_NO_PAD.decode(published["n"].as_str().unwrap()).unwrap();
    for secret in [published.to_string().into_bytes(), modulus, RSA_PEM.as_bytes().to_vec()] {
        let key = (Algorithm::HS256, EncodingKey::from_secret(&secret), Value::Null);
        let token = sign(&json!({ "alg": "HS256", "kid": "rsa" }), &claims(&json!({})), &key);
        assert_eq!(judge(&token, &all), Err(Rejected::Algorithm));
        let token = sign(&json!({ "alg": "RS256", "kid": "rsa" }), &claims(&json!({})), &key);
        assert_eq!(judge(&token, &all), Err(Rejected::Signature));
    }
    let symmetric = json!({ "kty": "oct", "kid": "x", "k": "c2VjcmV0", "alg": "HS256" });
    assert!(set(&[symmetric]).is_empty());
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let keys = signing_keys();
    for (change, count) in [
        (json!({}), 1),
        (json!({ "use": "sig" }), 1),
        (json!({ "use": "enc" }), 0),
        (json!({ "key_ops": ["verify"] }), 1),
        (json!({ "key_ops": ["encrypt"] }), 0),
        (json!({ "alg": "RS256" }), 1),
        (json!({ "alg": "HS256" }), 0),
        (json!({ "alg": "RSA-OAEP" }), 0),
        (json!({ "alg": "something" }), 0),
        (json!({ "n": "!" }), 0),
        (json!({ "kid": 7 }), 0),
        (json!({ "kty": "none" }), 0),
    ] {
        let good = jwk("ed", &keys["ed"], &Value::Null);
        let found = set(&[jwk("rsa", &keys["rsa"], &change), good]);
        assert_eq!(found.len(), count + 1, "{change}");
    }
    let bound = jwk("rsa", &keys["rsa"], &json!({ "alg": "RS512" }));
    let token = sign(&json!({ "alg": "RS256", "kid": "rsa" }), &claims(&json!({})), &keys["rsa"]);
    assert_eq!(judge(&token, &set(&[bound])), Err(Rejected::Algorithm));
    for text in ["", "[]", "{}", r#"{"keys":7}"#, "eyJ"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(KeySet::parse(&vec![b' '; SET_BYTES_MAX + 1]).is_err());
}

#[test]
fn a_token_that_names_no_key_needs_exactly_one_that_fits() {
    let keys = signing_keys();
    let (ec, ed) = (jwk("ec", &keys["ec"], &Value::Null), jwk("ed", &keys["ed"], &Value::Null));
    let token = sign(&json!({ "alg": "EdDSA" }), &claims(&json!({})), &keys["ed"]);
    assert_eq!(judge(&token, &set(&[ec.clone(), ed.clone()])), Ok(()));
    assert_eq!(judge(&token, &set(&[ec])), Err(Rejected::Key));
    let other = jwk("other", &signing_keys()["ed"], &Value::Null);
    assert_eq!(judge(&token, &set(&[ed, other])), Err(Rejected::Unnamed));
}

#[test]
fn the_header_chooses_no_key_and_asks_for_nothing_unknown() {
    let (keys, stranger) = (signing_keys(), signing_keys());
    let all = set(&[jwk("ed", &keys["ed"], &Value::Null)]);
    for (member, expected) in [
        (json!({ "typ": "JWT" }), Ok(())),
        (json!({ "typ": "at+jwt" }), Ok(())),
        (json!({ "x5t": "abc", "jku": "https://evil.example/jwks" }), Ok(())),
        (json!({ "typ": "logout+jwt" }), Err(Rejected::Header)),
        (json!({ "typ": 1 }), Err(Rejected::Header)),
        (json!({ "kid": ["ed"] }), Err(Rejected::Header)),
        (json!({ "crit": ["exp"] }), Err(Rejected::Header)),
        (json!({ "b64": false }), Err(Rejected::Header)),
    ] {
        let mut header = json!({ "alg": "EdDSA", "kid": "ed" });
        header.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        assert_eq!(judge(&sign(&header, &claims(&json!({})), &keys["ed"]), &all), expected, "{member}");
    }
    let own = jwk("ed", &stranger["ed"], &Value::Null);
    for member in [
        json!({ "jwk": own }),
        json!({ "jku": "http://127.0.0.1:1/" }),
        json!({ "x5u": "http://127.0.0.1:1/" }),
        json!({ "x5c": ["AA=="] }),
    ] {
        let mut header = json!({ "alg": "EdDSA", "kid": "ed" });
        header.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        let token = sign(&header, &claims(&json!({})), &stranger["ed"]);
        assert_eq!(judge(&token, &all), Err(Rejected::Signature), "{member}");
    }
}

#[test]
fn each_claim_is_there_of_its_type_and_of_now() {
    let keys = signing_keys();
    let all = set(&[jwk("ed", &keys["ed"], &Value::Null)]);
    for (change, expected) in [
        (json!({ "nbf": null, "iat": null }), Ok(())),
        (json!({ "aud": ["other", "tollgate"] }), Ok(())),
        (json!({ "kubernetes.io": { "pod": { "name": "x" } } }), Ok(())),
        (json!({ "nbf": NOW + 60, "iat": NOW + 60 }), Ok(())),
        (json!({ "exp": NOW + 1 }), Ok(())),
        (json!({ "nbf": NOW + 61 }), Err(Rejected::Early)),
        (json!({ "iat": NOW + 61 }), Err(Rejected::Early)),
        (json!({ "exp": NOW }), Err(Rejected::Expired)),
        (json!({ "exp": null }), Err(Rejected::Claim("exp"))),
        (json!({ "exp": "1900000000" }), Err(Rejected::Claim("exp"))),
        (json!({ "exp": u64::MAX }), Err(Rejected::Claim("exp"))),
        (json!({ "exp": -1 }), Err(Rejected::Claim("exp"))),
        (json!({ "nbf": "x" }), Err(Rejected::Claim("nbf"))),
        (json!({ "aud": null }), Err(Rejected::Claim("aud"))),
        (json!({ "aud": ["tollgate", 7] }), Err(Rejected::Claim("aud"))),
        (json!({ "aud": [] }), Err(Rejected::Audience)),
        (json!({ "aud": "Tollgate" }), Err(Rejected::Audience)),
        (json!({ "aud": "tollgate " }), Err(Rejected::Audience)),
        (json!({ "aud": ["tollgate,other"] }), Err(Rejected::Audience)),
        (json!({ "sub": null }), Err(Rejected::Claim("sub"))),
        (json!({ "sub": " " }), Err(Rejected::Claim("sub"))),
        (json!({ "sub": "a\nb" }), Err(Rejected::Claim("sub"))),
        (json!({ "sub": "s".repeat(1_025) }), Err(Rejected::Claim("sub"))),
    ] {
        let token = sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims(&change), &keys["ed"]);
        assert_eq!(judge(&token, &all), expected, "{change}");
    }
}

#[test]
fn one_byte_changed_is_never_taken() {
    let keys = signing_keys();
    let all = set(&[jwk("ed", &keys["ed"], &Value::Null)]);
    let token = sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims(&json!({})), &keys["ed"]);
    for at in 0..token.len() {
        for byte in [b'A', b'z', b'.', b'=', b' '] {
            let mut changed = token.clone().into_bytes();
            if changed[at] != byte {
                changed[at] = byte;
                assert!(judge(std::str::from_utf8(&changed).unwrap(), &all).is_err(), "{at}");
            }
        }
    }
    let huge = format!("{}.{}.{}", "e".repeat(4_000), "e".repeat(4_000), "e".repeat(4_000));
    for text in ["", "..", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA.AA", &huge, &format!("{token}.AA")] {
        assert!(judge(text, &all).is_err(), "{text:.40}");
    }
}
