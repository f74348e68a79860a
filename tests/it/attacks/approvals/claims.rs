//! Correctly signed tokens whose claims don't approve this merge.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{Approvers, claims_for_pull, merge, now, sign, sign_text, sign_with_secret, start};
use crate::attacks::run::Run;

async fn refused(run: &mut Run, name: &str, claims: &Value, approvers: &Approvers) {
    let bytes = merge(run, &sign(claims, approvers));
    run.attack(name, &bytes).await;
    let bytes = merge(run, &sign_with_secret(claims, approvers));
    run.attack(&format!("{name}, with a secret"), &bytes).await;
}

const CLAIMS: [&str; 10] =
    ["iss", "sub", "aud", "repo", "action", "iat", "exp", "jti", "pull_number", "head_sha"];

#[tokio::test]
async fn every_claim_is_needed_and_of_its_type() {
    let (mut run, approvers) = start().await;
    for name in CLAIMS {
        let whole = claims_for_pull(76, &approvers.head);
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(name);
        refused(&mut run, &format!("no {name}"), &without, &approvers).await;
        let wrong = match &whole[name] {
            Value::String(_) => json!(76),
            right => json!(right.to_string()),
        };
        for value in
            [wrong, json!(null), json!([whole[name]]), json!({"value": whole[name]}), json!(true), json!("")]
        {
            let mut changed = claims_for_pull(76, &approvers.head);
            changed[name] = value.clone();
            refused(&mut run, &format!("{name} is {value}"), &changed, &approvers).await;
        }
        // Other spellings of the key are different keys.
        let mut capital = claims_for_pull(76, &approvers.head);
        let value = capital.as_object_mut().unwrap().remove(name).unwrap();
        capital[name.to_uppercase()] = value;
        refused(&mut run, &format!("{name} in capitals"), &capital, &approvers).await;
    }
    run.finish(CLAIMS.len() * 16).await;
}

#[tokio::test]
async fn every_claim_stands_once() {
    let (mut run, approvers) = start().await;
    for name in CLAIMS {
        let wrong = match name {
            "iat" => json!(1),
            "exp" => json!(now() + 9_000_000),
            "pull_number" => json!(77),
            _ => json!("another"),
        };
        for (order, escaped) in [(0, false), (1, false), (0, true), (1, true)] {
            let right = claims_for_pull(76, &approvers.head).to_string();
            let key = if escaped {
                format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..])
            } else {
                name.to_owned()
            };
            let payload = match order {
                0 => format!("{{\"{key}\":{wrong},{}", &right[1..]),
                _ => format!("{},\"{key}\":{wrong}}}", &right[..right.len() - 1]),
            };
            let token = sign_text(r#"{"alg":"EdDSA"}"#, &payload, &approvers.release_team, Algorithm::EdDSA);
            let bytes = merge(&run, &token);
            run.attack(&format!("{name} twice: {order} {escaped}"), &bytes).await;
        }
    }
    for (name, payload) in [
        ("a second document", format!("{} {{}}", claims_for_pull(76, &approvers.head))),
        ("a byte order mark", format!("\u{feff}{}", claims_for_pull(76, &approvers.head))),
        ("a list", format!("[{}]", claims_for_pull(76, &approvers.head))),
        ("a text", json!(claims_for_pull(76, &approvers.head).to_string()).to_string()),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
    ] {
        let token = sign_text(r#"{"alg":"EdDSA"}"#, &payload, &approvers.release_team, Algorithm::EdDSA);
        let bytes = merge(&run, &token);
        run.attack(name, &bytes).await;
    }
    run.finish(CLAIMS.len() * 4 + 6).await;
}

#[tokio::test]
async fn an_approval_has_its_time() {
    let (mut run, approvers) = start().await;
    let now = now();
    let float = |seconds: i64| json!(format!("{seconds}.5").parse::<f64>().unwrap());
    let rows = [
        ("ended", json!(now - 700), json!(now - 120)),
        ("ended at the epoch", json!(now), json!(0)),
        ("ends before it begins", json!(now), json!(now - 300)),
        ("ended before the epoch", json!(now), json!(-1)),
        ("too long", json!(now), json!(now + 3_600 + 120)),
        ("much too long", json!(now), json!(now + 86_400)),
        ("endless", json!(now), json!(i64::MAX)),
        ("beyond 64 bits", json!(now), json!(u64::MAX)),
        ("begun too long ago", json!(now - 7_200), json!(now + 600)),
        ("begun at the epoch", json!(0), json!(now + 600)),
        ("begun before the epoch", json!(-1), json!(now + 600)),
        ("older than what remembers the spent ones", json!(now - 600), json!(now + 600)),
        ("begins later", json!(now + 120), json!(now + 600)),
        ("begins much later", json!(now + 86_400), json!(now + 86_900)),
        ("in milliseconds", json!(now * 1_000), json!(now * 1_000 + 600_000)),
        ("a fraction at its end", json!(now), float(now + 600)),
        ("a fraction at its start", float(now), json!(now + 600)),
    ];
    for (name, issued, ends) in &rows {
        let mut claims = claims_for_pull(76, &approvers.head);
        claims["iat"] = issued.clone();
        claims["exp"] = ends.clone();
        refused(&mut run, name, &claims, &approvers).await;
    }
    for (name, not_before) in [
        ("valid later", json!(now + 300)),
        ("valid at a text", json!("now")),
        ("valid at the end", json!(i64::MAX)),
    ] {
        let mut claims = claims_for_pull(76, &approvers.head);
        claims["nbf"] = not_before;
        refused(&mut run, name, &claims, &approvers).await;
    }
    run.finish(2 * rows.len() + 6).await;
}

#[tokio::test]
async fn an_approval_is_of_one_thing() {
    let (mut run, approvers) = start().await;
    let rows = [
        ("aud", json!("github")),
        ("aud", json!("Tollgate")),
        ("aud", json!("tollgate ")),
        ("aud", json!(["tollgate"])),
        ("aud", json!(["github", "tollgate"])),
        ("aud", json!([])),
        ("repo", json!("acme/gadgets")),
        ("repo", json!("acme/widget")),
        ("repo", json!("acme/widgets2")),
        ("repo", json!("acme/*")),
        ("repo", json!("*")),
        ("repo", json!("widgets")),
        ("repo", json!("acme/widgets/")),
        ("repo", json!("acme/widgets\u{0}")),
        ("repo", json!("other/widgets")),
        ("repo", json!(["acme/widgets", "acme/gadgets"])),
        ("action", json!("ref-write")),
        ("action", json!("review")),
        ("action", json!("MERGE")),
        ("action", json!("merge ")),
        ("action", json!("auto-merge")),
        ("action", json!("*")),
        ("action", json!(["merge"])),
        ("pull_number", json!(77)),
        ("pull_number", json!("76")),
        ("pull_number", json!(76.5)),
        ("pull_number", json!(76.0)),
        ("pull_number", json!(-76)),
        ("pull_number", json!(0)),
        ("pull_number", json!(4_294_967_372_u64)),
        ("pull_number", json!(1.844_674_407_370_955_2e19)),
        ("pull_number", json!([76, 77])),
        ("head_sha", json!([approvers.head])),
        ("head_sha", json!("")),
        ("jti", json!("")),
        ("jti", json!(" ")),
        ("jti", json!(1)),
    ];
    for (name, value) in &rows {
        let mut claims = claims_for_pull(76, &approvers.head);
        claims[*name] = value.clone();
        refused(&mut run, &format!("{name} is {value}"), &claims, &approvers).await;
    }
    run.finish(2 * rows.len()).await;
}
