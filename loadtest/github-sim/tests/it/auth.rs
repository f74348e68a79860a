//! App JWTs, tokens in both forms, and credentials that do not belong here.

use std::time::Duration;

use github_sim::{PRIVATE_KEY_PKCS1, PRIVATE_KEY_PKCS8, SimConfig, TokenForm};
use serde_json::json;

use crate::client::{NOW, call, config, good_jwt, jwt, mint, minted, start, to};

#[tokio::test]
async fn judges_app_jwts_as_documented() {
    let sim = start(config()).await;
    let client_id = sim.client_id().to_owned();
    let undecodable = "A JSON web token could not be decoded";
    let table = [
        (PRIVATE_KEY_PKCS1, json!({"iat": NOW - 60, "exp": NOW + 600, "iss": client_id}), ""),
        (PRIVATE_KEY_PKCS1, json!({"iat": NOW - 60, "exp": NOW + 540, "iss": "4242"}), ""),
        (PRIVATE_KEY_PKCS1, json!({"iat": NOW + 5, "exp": NOW + 540, "iss": client_id}), ""),
        (
            PRIVATE_KEY_PKCS1,
            json!({"iat": NOW, "exp": NOW + 601, "iss": client_id}),
            "'Expiration time' claim ('exp') is too far in the future",
        ),
        (
            PRIVATE_KEY_PKCS1,
            json!({"iat": NOW - 700, "exp": NOW, "iss": client_id}),
            "'Expiration time' claim ('exp') must be a numeric value",
        ),
        (
            PRIVATE_KEY_PKCS1,
            json!({"iat": NOW + 6, "exp": NOW + 540, "iss": client_id}),
            "'Issued at' claim ('iat')",
        ),
        (PRIVATE_KEY_PKCS1, json!({"iat": NOW, "exp": NOW + 9, "iss": "1"}), "'Issuer'"),
        (PRIVATE_KEY_PKCS1, json!({"iat": NOW, "exp": NOW + 9, "iss": 4242}), "'Issuer'"),
        (PRIVATE_KEY_PKCS8, json!({"iat": NOW, "exp": NOW + 9, "iss": client_id}), undecodable),
    ];
    for (pem, claims, refusal) in table {
        let answer = call(&sim, "GET", "/app").token(&jwt(pem, &claims)).send().await;
        assert_eq!(answer.status, if refusal.is_empty() { 200 } else { 401 }, "{claims}");
        assert!(answer.message().starts_with(refusal), "{claims}: {}", answer.message());
    }
    let answer =
        call(&sim, "GET", "/app").header("authorization", &format!("token {}", good_jwt(&sim))).send().await;
    assert_eq!((answer.status, answer.message().as_str()), (401, undecodable), "scheme token");
    let answer = call(&sim, "GET", "/app").token(&sim.mint("acme")).send().await;
    assert_eq!((answer.status, answer.message().as_str()), (401, undecodable), "no JWT");
    let answer = call(&sim, "GET", "/repos/acme/widgets").token(&good_jwt(&sim)).send().await;
    assert_eq!(answer.status, 401, "a JWT is no token");
    assert!(sim.books().leaked_credentials.is_empty());
}

#[tokio::test]
async fn takes_the_public_half_of_a_configured_key() {
    let app_key_pem = Some(PRIVATE_KEY_PKCS8.to_owned());
    let sim = start(SimConfig { app_key_pem, ..config() }).await;
    let claims = json!({"iat": NOW, "exp": NOW + 60, "iss": sim.client_id()});
    let answer = call(&sim, "GET", "/app").token(&jwt(PRIVATE_KEY_PKCS8, &claims)).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["id"], 4242);
}

#[tokio::test]
async fn takes_both_keys_while_one_is_replaced() {
    let further_keys_pem = vec![PRIVATE_KEY_PKCS8.to_owned()];
    let sim = start(SimConfig { further_keys_pem, ..config() }).await;
    let claims = json!({"iat": NOW, "exp": NOW + 60, "iss": sim.client_id()});
    for key in [PRIVATE_KEY_PKCS1, PRIVATE_KEY_PKCS8] {
        assert_eq!(call(&sim, "GET", "/app").token(&jwt(key, &claims)).send().await.status, 200);
    }
}

#[tokio::test]
async fn tokens_expire_and_are_revoked() {
    let sim = start(config()).await;
    let token = minted(&sim, 1001, &json!({})).await;
    let read = |token: &str| call(&sim, "GET", "/repos/acme/widgets").token(token).send();
    assert_eq!(read(&token).await.status, 200);
    sim.clock().advance(Duration::from_secs(3599));
    assert_eq!(read(&token).await.status, 200);
    sim.clock().advance(Duration::from_secs(1));
    let answer = read(&token).await;
    assert_eq!((answer.status, answer.message().as_str()), (401, "Bad credentials"));
    let second = sim.mint("acme");
    let answer = call(&sim, "DELETE", "/installation/token").token(&second).send().await;
    assert_eq!(answer.status, 204);
    assert_eq!(read(&second).await.status, 401);
    let third = sim.mint("acme");
    assert!(sim.revoke(&third));
    assert_eq!(read(&third).await.status, 401);
    assert_eq!(sim.requests().last().unwrap().credential, "installation:1001");
}

#[tokio::test]
async fn mints_both_forms() {
    for (form, header, length) in [
        (TokenForm::Stateless, "", 480..=560),
        (TokenForm::Short, "", 40..=40),
        (TokenForm::Short, "enabled", 480..=560),
        (TokenForm::Stateless, "disabled", 40..=40),
    ] {
        let sim = start(SimConfig { token_form: form, ..config() }).await;
        let path = "/app/installations/1001/access_tokens";
        let request = call(&sim, "POST", path).token(&good_jwt(&sim));
        let answer = request.header("x-github-stateless-s2s-token", header).send().await;
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        assert!(length.contains(&token.len()), "{form:?} {header}: {}", token.len());
        let answer = call(&sim, "GET", "/installation/repositories").token(&token).send().await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn narrows_tokens_and_refuses_more_than_there_is() {
    let sim = start(config()).await;
    let many: Vec<u64> = (0..501).collect();
    for (body, status) in [
        (json!({"repositories": ["widgets"], "permissions": {"issues": "read"}}), 201),
        (json!({"repository_ids": [2001, 2002]}), 201),
        (json!({"permissions": {}}), 201),
        (json!({"repositories": "widgets"}), 422),
        (json!({"repositories": ["nothing"]}), 422),
        (json!({"repository_ids": [2101]}), 422),
        (json!({"repository_ids": many}), 422),
        (json!({"permissions": {"issues": "admin"}}), 422),
        (json!({"permissions": {"pages": "read"}}), 422),
    ] {
        let answer = mint(&sim, 1001, &body).await;
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(mint(&sim, 77, &json!({})).await.status, 404);
    let body = json!({"repositories": ["widgets"], "permissions": {"issues": "read"}});
    let answer = mint(&sim, 1001, &body).await.json();
    assert_eq!(answer["repository_selection"], "selected");
    assert_eq!(answer["repositories"][0]["id"], 2001);
    assert_eq!(answer["permissions"], json!({"issues": "read", "metadata": "read"}));
    assert_eq!(answer["expires_at"], "2026-11-21T01:00:00Z");
    let token = answer["token"].as_str().unwrap();
    for (method, path, status) in [
        ("GET", "/repos/acme/widgets/issues", 200),
        ("GET", "/repositories/2001/issues", 200),
        ("POST", "/repos/acme/widgets/issues", 403),
        ("GET", "/repos/acme/widgets/contents/README.md", 403),
        ("GET", "/repos/acme/gadgets/issues", 404),
        ("GET", "/repositories/2002/issues", 404),
        ("GET", "/repos/other/tool", 404),
    ] {
        let answer = call(&sim, method, path).token(token).send().await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(sim.books().minted, 4);
}

#[tokio::test]
async fn credentials_that_are_not_githubs_are_leaks() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let key = "tg_reviewer_0123456789";
    for authorization in [
        format!("Bearer {key}"),
        "token gho_somebody".to_owned(),
        "Basic dXNlcjprZXk=".to_owned(),
        "ghs_without_a_scheme".to_owned(),
    ] {
        let request = call(&sim, "GET", "/repos/acme/widgets");
        let answer = request.header("authorization", &authorization).send().await;
        assert_eq!((answer.status, answer.message().as_str()), (401, "Bad credentials"));
    }
    let path = format!("/repos/acme/widgets/issues?state={key}");
    call(&sim, "GET", &path).token(&token).header("x-copy", key).send().await;
    let body = json!({"title": key});
    call(&sim, "POST", "/repos/acme/widgets/issues").token(&token).json(&body).send().await;
    let leaks = sim.books().leaked_credentials;
    let found: Vec<(&str, &str)> =
        leaks.iter().map(|leak| (leak.place.as_str(), leak.kind.as_str())).collect();
    assert_eq!(
        found,
        [
            ("authorization", "tg_"),
            ("authorization", "gho_"),
            ("authorization", "basic"),
            ("authorization", ""),
            ("header:x-copy", "tg_"),
            ("path", "tg_"),
            ("body", "tg_"),
        ]
    );
    let recorded = format!("{:?}", sim.requests()[0].headers);
    assert!(!recorded.contains(key), "the books keep no credential: {recorded}");
}

#[tokio::test]
async fn some_things_need_no_credential_and_a_user_agent_is_always_needed() {
    let sim = start(config()).await;
    for (path, status) in [
        ("/", 200),
        ("/meta", 200),
        ("/zen", 200),
        ("/versions", 200),
        ("/rate_limit", 200),
        ("/repos/acme/widgets", 401),
        ("/nothing", 401),
    ] {
        assert_eq!(call(&sim, "GET", path).send().await.status, status, "{path}");
    }
    let answer = call(&sim, "GET", "/zen").without_user_agent().send().await;
    assert_eq!(answer.status, 403);
    assert!(answer.message().starts_with("Request forbidden by administrative rules"));
    let answer = call(&sim, "GET", "/zen").header("x-github-api-version", "2020-01-01").send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(to("GET", &format!("{}/books", sim.control_url())).send().await.status, 200);
}
