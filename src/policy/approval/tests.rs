//! What is accepted, and every way in which a token can be wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;

use super::*;

mod properties;

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const HEAD: &str = "1111111111111111111111111111111111111111";
const BELOW: &str = "2222222222222222222222222222222222222222";

fn verifier() -> Verifier {
    crate::app::install_crypto();
    let issuer = |name: &str, secret: &[u8]| Issuer {
        name: name.to_owned(),
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret),
        key_sha256: [0; 32],
    };
    Verifier::new(
        vec![issuer("team", SECRET), issuer("other", b"another secret of 32 bytes, or more")],
        Duration::from_secs(3600),
    )
}

fn merge_of(stack: Vec<PullAt>) -> Requirement {
    Requirement {
        repository: RepositoryName::parse("acme/widgets"),
        action: "merge",
        binding: Binding::Pull {
            number: 76,
            head_sha: Some(HEAD.to_owned()),
            base: Some(Base::named("release")),
            stack,
        },
    }
}

fn request() -> Requirement {
    Requirement {
        repository: RepositoryName::parse("acme/widgets"),
        action: "ref-write",
        binding: Binding::Request {
            sha256: request_sha256("PUT", "/repos/acme/widgets/contents/x", b"{}"),
            head_sha: None,
            ids: BTreeMap::new(),
        },
    }
}

fn signed_parts(header: &str, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn signed(claims: &Value) -> String {
    signed_parts(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

/// The claims from a refusal, completed as an approver would.
fn filled(required: &Requirement) -> Value {
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
    claims
}

fn with(required: &Requirement, key: &str, value: Value) -> Value {
    let mut claims = filled(required);
    claims[key] = value;
    claims
}

fn verify(token: &str, required: &Requirement) -> Result<Approval, Rejected> {
    verifier().verify(token.as_bytes(), required, NOW)
}

#[test]
fn what_a_refusal_asks_for_is_taken() {
    let merge = verify(&signed(&filled(&merge_of(Vec::new()))), &merge_of(Vec::new())).unwrap();
    assert_eq!((merge.issuer.as_str(), merge.subject.as_str(), merge.jti.as_str()), ("team", "jane", "a1"));
    assert_eq!(merge.head_sha.as_deref(), Some(HEAD));
    assert_eq!((merge.issued_at, merge.expires_at), (NOW, NOW + 900));
    assert_eq!(verify(&signed(&filled(&request())), &request()).unwrap().head_sha, None);
    let pinned = with(&request(), "head_sha", json!(HEAD));
    assert_eq!(verify(&signed(&pinned), &request()).unwrap().head_sha.as_deref(), Some(HEAD));
    assert!(verify(&signed(&with(&request(), "head_sha", json!("main"))), &request()).is_err());
    // Any commit may be approved: GitHub compares it with the head.
    let earlier =
        verify(&signed(&with(&merge_of(Vec::new()), "head_sha", json!(BELOW))), &merge_of(Vec::new()));
    assert_eq!(earlier.unwrap().head_sha.as_deref(), Some(BELOW));
    for (key, value) in [
        ("repo", json!("Acme/Widgets")),
        ("iat", json!(NOW + 60)),
        ("nbf", json!(NOW + 60)),
        ("note", json!(["x"])),
    ] {
        assert!(verify(&signed(&with(&request(), key, value.clone())), &request()).is_ok(), "{key}: {value}");
    }
    let named = signed_parts(r#"{"alg":"HS256","kid":"team"}"#, &filled(&request()).to_string());
    assert!(verify(&named, &request()).is_ok());
}

#[test]
fn node_ids_are_approved_for_what_they_are() {
    let mut required = request();
    let Binding::Request { ids, .. } = &mut required.binding else { unreachable!() };
    ids.insert("REF_1".to_owned(), "refs/heads/main".to_owned());
    assert!(verify(&signed(&filled(&required)), &required).is_ok());
    for other in [
        json!(null),
        json!({}),
        json!({"REF_1": "refs/tags/mine"}),
        json!({"REF_1": "refs/heads/main", "REF_2": "x"}),
        json!([]),
    ] {
        let token = signed(&with(&required, "ids", other.clone()));
        assert_eq!(verify(&token, &required).unwrap_err(), Rejected::Ids, "{other}");
    }
    assert_eq!(verify(&signed(&filled(&request())), &required).unwrap_err(), Rejected::Ids);
}

#[test]
fn each_claim_must_be_there_right_and_of_its_type() {
    let required = merge_of(Vec::new());
    for key in ["iss", "sub", "aud", "repo", "action", "iat", "exp", "jti", "pull_number", "head_sha"] {
        let mut missing = filled(&required);
        missing.as_object_mut().unwrap().remove(key);
        assert!(verify(&signed(&missing), &required).is_err(), "without {key}");
        for wrong in
            [json!(null), json!([]), json!({}), json!(true), json!(""), json!(1.5), json!("other"), json!(-1)]
        {
            // Who approved and the approval's id may be any text.
            if matches!(key, "sub" | "jti") && wrong == json!("other") {
                continue;
            }
            let token = signed(&with(&required, key, wrong.clone()));
            assert!(verify(&token, &required).is_err(), "{key}: {wrong}");
        }
    }
    for (key, wrong, expected) in [
        ("aud", json!(["tollgate"]), Rejected::Claim("aud")),
        ("iss", json!("other"), Rejected::Signature),
        ("iss", json!("nobody"), Rejected::Issuer),
        ("repo", json!("acme/gadgets"), Rejected::Repository),
        ("action", json!("ref-write"), Rejected::Action),
        ("pull_number", json!(77), Rejected::Pull),
        ("base", json!("main"), Rejected::Base),
        ("base", json!("Release"), Rejected::Base),
        ("base", json!(null), Rejected::Claim("base")),
        ("pull_number", json!("76"), Rejected::Claim("pull_number")),
        ("head_sha", json!("1111111"), Rejected::Claim("head_sha")),
        ("exp", json!(NOW), Rejected::Expired),
        ("exp", json!(NOW + 3601), Rejected::Lifetime(3600)),
        ("iat", json!(NOW + 61), Rejected::Early),
        ("nbf", json!(NOW + 61), Rejected::Early),
        ("iat", json!(NOW - 3000), Rejected::Lifetime(3600)),
        ("iat", json!(i64::MAX), Rejected::Claim("iat")),
        ("request_sha256", json!("x"), Rejected::Bindings),
        ("jti", json!("a\nb"), Rejected::Claim("jti")),
        ("jti", json!("x".repeat(257)), Rejected::Claim("jti")),
    ] {
        let token = signed(&with(&required, key, wrong.clone()));
        assert_eq!(verify(&token, &required).unwrap_err(), expected, "{key}: {wrong}");
    }
}

#[test]
fn one_request_s_approval_opens_no_other() {
    let token = signed(&filled(&request()));
    for (method, path, body) in [
        ("DELETE", "/repos/acme/widgets/contents/x", &b"{}"[..]),
        ("PUT", "/repos/acme/widgets/contents/y", b"{}"),
        ("PUT", "/repos/acme/widgets/contents/x?branch=main", b"{}"),
        ("PUT", "/repos/acme/widgets/contents/x", b"{} "),
    ] {
        let binding = Binding::Request {
            sha256: request_sha256(method, path, body),
            head_sha: None,
            ids: BTreeMap::new(),
        };
        let other = Requirement { binding, ..request() };
        assert_eq!(verify(&token, &other).unwrap_err(), Rejected::Request, "{method} {path}");
    }
    let merge = signed(&filled(&merge_of(Vec::new())));
    assert!(verify(&merge, &Requirement { action: "merge", ..request() }).is_err());
    assert!(verify(&token, &Requirement { action: "ref-write", ..merge_of(Vec::new()) }).is_err());
}

#[test]
fn a_stack_is_approved_as_a_whole() {
    let at = |number, sha: &str| PullAt { number, head_sha: sha.to_owned() };
    let required = merge_of(vec![at(75, BELOW), at(76, HEAD)]);
    assert!(verify(&signed(&filled(&required)), &required).is_ok());
    // The top commit comes from the approval, and GitHub compares it; the ones below are compared here.
    let moved = merge_of(vec![at(75, BELOW), at(76, BELOW)]);
    assert!(verify(&signed(&filled(&required)), &moved).is_ok());
    for other in [
        merge_of(vec![at(75, HEAD), at(76, HEAD)]),
        merge_of(vec![at(74, BELOW), at(76, HEAD)]),
        merge_of(vec![at(74, BELOW), at(75, BELOW), at(76, HEAD)]),
        merge_of(Vec::new()),
    ] {
        assert_eq!(verify(&signed(&filled(&required)), &other).unwrap_err(), Rejected::Stack, "{other:?}");
    }
    let alone = signed(&filled(&merge_of(Vec::new())));
    assert_eq!(verify(&alone, &required).unwrap_err(), Rejected::Stack);
    for wrong in [json!([]), json!("x"), json!({}), json!([76]), json!([{"pull_number": 76}])] {
        assert!(verify(&signed(&with(&required, "stack", wrong.clone())), &required).is_err(), "{wrong}");
    }
}

#[test]
fn algorithm_and_key_are_the_configuration_s() {
    let payload = filled(&request()).to_string();
    for (header, expected) in [
        (r#"{"alg":"none"}"#, Rejected::Algorithm),
        (r#"{"alg":"None"}"#, Rejected::Algorithm),
        (r#"{"alg":"hs256"}"#, Rejected::Algorithm),
        (r#"{"alg":"HS384"}"#, Rejected::Algorithm),
        (r#"{"alg":"EdDSA"}"#, Rejected::Algorithm),
        (r#"{"typ":"JWT"}"#, Rejected::Algorithm),
        (r#"{"alg":["HS256"]}"#, Rejected::Header),
        (r#"{"alg":"HS256","kid":"../../etc/passwd"}"#, Rejected::Header),
        (r#"{"alg":"HS256","kid":7}"#, Rejected::Header),
        (r#"{"alg":"HS256","jwk":{}}"#, Rejected::Header),
        (r#"{"alg":"HS256","jku":"https://evil.example"}"#, Rejected::Header),
        (r#"{"alg":"HS256","x5u":"x"}"#, Rejected::Header),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Rejected::Header),
        (r#"{"alg":"HS256","b64":false}"#, Rejected::Header),
        (r#"{"alg":"HS256","zip":"DEF"}"#, Rejected::Header),
        (r#"{"alg":"HS256","typ":"JWE"}"#, Rejected::Header),
        (r#"{"alg":"none","alg":"HS256"}"#, Rejected::Json),
        ("[]", Rejected::Json),
    ] {
        assert_eq!(verify(&signed_parts(header, &payload), &request()).unwrap_err(), expected, "{header}");
    }
    // An issuer's public key is no secret, so it must not work as one.
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let public = pair.public_key_pem();
    let issuer = Issuer {
        name: "team".to_owned(),
        algorithm: Algorithm::EdDSA,
        key: DecodingKey::from_ed_pem(public.as_bytes()).unwrap(),
        key_sha256: [0; 32],
    };
    let verifier = Verifier::new(vec![issuer], Duration::from_secs(3600));
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(&payload));
    let key = EncodingKey::from_secret(public.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    let forged = format!("{message}.{signature}");
    assert_eq!(verifier.verify(forged.as_bytes(), &request(), NOW).unwrap_err(), Rejected::Algorithm);
}

#[test]
fn duplicates_and_other_forms_are_refused() {
    let payload = filled(&request()).to_string();
    let doubled = payload.replacen('{', r#"{"jti":"b2","#, 1);
    let header = r#"{"alg":"HS256"}"#;
    assert_eq!(verify(&signed_parts(header, &doubled), &request()).unwrap_err(), Rejected::Json);
    let good = signed(&filled(&request()));
    assert!(verify(&good, &request()).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for token in [
        String::new(),
        "..".to_owned(),
        "yes".to_owned(),
        format!("{good}="),
        format!("{good}.x"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], parts[2], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], parts[0]),
        good.replace('.', ".."),
        "a".repeat(20_000),
    ] {
        assert!(verify(&token, &request()).is_err(), "{token}");
    }
}

#[test]
fn without_issuers_nothing_is_taken() {
    let none = Verifier::new(Vec::new(), Duration::from_secs(3600));
    let token = signed(&filled(&request()));
    assert_eq!(none.verify(token.as_bytes(), &request(), NOW).unwrap_err(), Rejected::Issuer);
}

proptest! {
    #[test]
    fn one_byte_changed_is_never_taken(at in 0usize..1000, with in any::<u8>()) {
        let token = signed(&filled(&request())).into_bytes();
        let mut changed = token.clone();
        let at = at % changed.len();
        changed[at] = with;
        prop_assume!(changed != token);
        prop_assert!(verifier().verify(&changed, &request(), NOW).is_err());
    }

    #[test]
    fn rubbish_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verifier().verify(&bytes, &request(), NOW).is_err());
    }

    /// Correctly signed, but with arbitrary claims: accepted only if they meet the requirement.
    #[test]
    fn signed_rubbish_is_refused(
        key in "(iss|sub|aud|repo|action|iat|exp|jti|pull_number|head_sha|stack)",
        value in "\\PC{0,20}",
    ) {
        let required = merge_of(Vec::new());
        let harmless = matches!(key.as_str(), "sub" | "jti");
        let token = signed(&with(&required, &key, json!(value)));
        let same = filled(&required)[&key] == json!(value) || (key == "repo" && value.eq_ignore_ascii_case("acme/widgets"));
        prop_assert!(harmless || same || verify(&token, &required).is_err());
    }
}
