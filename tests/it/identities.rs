//! Agents with a signed identity: who gets in, who does not, and what is reported.

mod issuer;

use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use github_sim::Sim;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::clock::{Clock, SystemClock};

use crate::secrets::{End, addresses, exchange};
use crate::support::{Answer, Setup, Tollgate, UNCACHED, agent, eventually};
use issuer::{Endpoint, ISSUER, SigningKey, claims, key_set};

const READ: &str = "/repos/acme/widgets";

fn setup(place: &str) -> Setup {
    let further = format!(
        "identities:\n  - issuer: {ISSUER}\n    {place}\n    audience: tollgate\n    rules:\n      \
         - {{ subject: \"system:serviceaccount:agents:reviewer-*\", agent: reviewer }}\n      \
         - {{ subject: \"system:serviceaccount:agents:*\", agent: worker }}\n      \
         - {{ subject: gone, agent: gone }}\n"
    );
    let agents = vec![
        agent("worker", &["repositories: [acme/*]"]),
        agent("reviewer", &["repositories: [acme/widgets]"]),
        agent("gone", &["repositories: [acme/*]", "disabled: true"]),
    ];
    Setup { further, audit_log: "audit.log", cache: UNCACHED, ..Setup::with(agents) }
}

async fn start(endpoint: &Endpoint) -> Tollgate {
    setup(&format!("jwks_url: {}", endpoint.url)).start().await
}

async fn show(tollgate: &Tollgate, path: &str, token: &str) -> Answer {
    tollgate.ask("GET", path).header("authorization", &format!("Bearer {token}")).send().await
}

async fn verdict(tollgate: &Tollgate, token: &str) -> String {
    show(tollgate, READ, token).await.verdict()
}

const REFUSED: &str = "401 unauthenticated";

#[tokio::test]
async fn a_token_is_its_agent_wherever_clients_put_it() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let token = key.token(&json!({}));
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    for value in [
        format!("Bearer {token}"),
        format!("token {token}"),
        basic(format!("x-access-token:{token}")),
        basic(format!("{token}:x-oauth-basic")),
    ] {
        let answer = tollgate.ask("GET", READ).header("authorization", &value).send().await;
        assert_eq!((answer.verdict(), answer.header("x-tollgate-agent")), ("200".to_owned(), "reviewer"));
    }
    let me = show(&tollgate, "/tollgate/me", &token).await.json();
    assert_eq!(
        (&me["agent"], &me["subject"]),
        (&json!("reviewer"), &json!("system:serviceaccount:agents:reviewer-1"))
    );
    let worker = key.token(&json!({ "sub": "system:serviceaccount:agents:builder", "aud": "tollgate" }));
    assert_eq!(show(&tollgate, READ, &worker).await.header("x-tollgate-agent"), "worker", "the second rule");
    let another = key.token(&json!({ "sub": "system:serviceaccount:agents:reviewer-2" }));
    let answer = show(&tollgate, "/repos/acme/gadgets", &another).await;
    assert_eq!(answer.verdict(), "403 repository_forbidden", "a token gives what its agent has");
    let gone = show(&tollgate, READ, &key.token(&json!({ "sub": "gone" }))).await;
    assert_eq!(gone.verdict(), "403 operation_forbidden");
    assert_eq!(tollgate.get(READ).await.header("x-tollgate-agent"), "worker", "keys are what they were");
    assert_eq!(tollgate.get("/tollgate/me").await.json()["subject"], Value::Null);
    assert_eq!(endpoint.asked(), 1);
    tollgate.assert_clean();
}

/// Forged tokens, each with what is wrong with it.
fn forgeries(key: &SigningKey) -> Vec<(&'static str, String)> {
    let now = SystemClock.now_seconds();
    let stranger = SigningKey::new(&key.id);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = key.token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let none = format!("{}.{}.", part(&json!({"alg": "none", "kid": key.id})), parts[1]);
    let unsigned = format!("{}.{}.{}", part(&json!({"alg": "none", "kid": key.id})), parts[1], parts[2]);
    let other_sub = part(&claims(&json!({ "sub": "system:serviceaccount:agents:builder" })));
    let symmetric = EncodingKey::from_secret(key.public.to_string().as_bytes());
    let hs256 = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
    let own_address = Header {
        kid: Some(key.id.clone()),
        jku: Some("http://127.0.0.1:1/jwks".to_owned()),
        jwk: serde_json::from_value(stranger.public.clone()).ok(),
        ..Header::new(Algorithm::ES256)
    };
    let in_rules = "system:serviceaccount:agents:reviewer-1";
    vec![
        ("it has expired", key.token(&json!({ "exp": now - 1 }))),
        ("it is not valid yet", key.token(&json!({ "nbf": now + 120 }))),
        ("it is not valid yet", key.token(&json!({ "iat": now + 120 }))),
        ("`exp` is missing", key.token(&json!({ "exp": null }))),
        ("its `aud` does not name", key.token(&json!({ "aud": "https://kubernetes.default.svc" }))),
        ("its `aud` does not name", key.token(&json!({ "aud": ["vault", "toll"] }))),
        ("`aud` is missing", key.token(&json!({ "aud": null }))),
        ("its issuer is not one", key.token(&json!({ "iss": format!("{ISSUER}/") }))),
        ("`iss` is missing", key.token(&json!({ "iss": null }))),
        ("its signature does not verify", stranger.token(&json!({}))),
        ("its signature does not verify", stranger.token_with(&own_address, &json!({}))),
        ("its signature does not verify", format!("{}.{other_sub}.{}", parts[0], parts[2])),
        ("it names a key that is not", SigningKey::new("made-up").token(&json!({}))),
        ("its algorithm is none", unsigned),
        ("it is no signed token", none),
        ("its algorithm is none", jsonwebtoken::encode(&hs256, &claims(&json!({})), &symmetric).unwrap()),
        ("no rule says", key.token(&json!({ "sub": "system:serviceaccount:other:reviewer-1" }))),
        ("no rule says", key.token(&json!({ "sub": format!("x{in_rules}") }))),
        ("`sub` is missing", key.token(&json!({ "sub": null }))),
        ("it is no signed token", key.token(&json!({ "padding": "x".repeat(8_000) }))),
        ("it is no signed token", format!("{good}.AA")),
        ("it is no signed token", format!("{good}=")),
        ("it is no signed token", "not.a.token!".to_owned()),
        ("no plain JSON object", "e30x.e30x.AAAA".to_owned()),
    ]
}

#[tokio::test]
async fn nothing_else_gets_in() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let good = key.token(&json!({}));
    assert_eq!(verdict(&tollgate, &good).await, "200");
    let arrived = tollgate.arrived().len();
    let wrong_key = tollgate.ask("GET", READ).header("authorization", "Bearer tg_a_b").send().await;
    for (why, token) in forgeries(&key) {
        let answer = show(&tollgate, READ, &token).await;
        assert_eq!(answer.verdict(), REFUSED, "{why}");
        let without_id = |answer: &Answer| answer.text().replace(answer.header("x-request-id"), "");
        assert_eq!(without_id(&answer), without_id(&wrong_key), "{why}: the caller learns nothing");
    }
    let twice = tollgate.ask("GET", READ).header("authorization", &format!("Bearer {good}"));
    let twice = twice.header("authorization", &format!("Bearer {good}")).send().await;
    assert_eq!(twice.verdict(), "400 bad_request");
    let elsewhere = tollgate.ask("GET", &format!("{READ}?access_token={good}")).anonymous().send().await;
    assert_eq!(elsewhere.verdict(), REFUSED);
    assert_eq!(tollgate.arrived().len(), arrived);
    assert!(endpoint.asked() <= 2, "made-up keys and addresses of keys call nobody: {}", endpoint.asked());
    let metrics = tollgate.metrics().await;
    for (issuer, result, count) in
        [(ISSUER, "accepted", 1), (ISSUER, "signature", 3), (ISSUER, "expired", 1), ("none", "issuer", 1)]
    {
        let line =
            format!("tollgate_identity_tokens_total{{issuer=\"{issuer}\",result=\"{result}\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn made_up_keys_do_not_flood_the_issuer() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let made_up: Vec<String> =
        (0..200).map(|i| SigningKey::new(&format!("x{i}")).token(&json!({}))).collect();
    let began = tokio::time::Instant::now();
    let verdicts =
        futures_util::future::join_all(made_up.iter().map(|token| verdict(&tollgate, token))).await;
    assert!(verdicts.iter().all(|verdict| verdict == REFUSED));
    let most = 2 + began.elapsed().as_secs() / 10;
    assert!(endpoint.asked() as u64 <= most, "{} readings", endpoint.asked());
    assert_eq!(verdict(&tollgate, &key.token(&json!({}))).await, "200");
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let endpoint = Endpoint::start(&[&old]).await;
    let tollgate = start(&endpoint).await;
    let token = old.token(&json!({}));
    assert_eq!(verdict(&tollgate, &token).await, "200");
    endpoint.publish(&[&new]);
    assert_eq!(verdict(&tollgate, &token).await, "200", "nobody has told yet");
    assert_eq!(verdict(&tollgate, &new.token(&json!({}))).await, "200");
    assert_eq!(verdict(&tollgate, &token).await, REFUSED, "what the old key has proven is forgotten with it");
}

#[tokio::test]
async fn an_issuer_that_is_away_does_not_stop_the_start() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    endpoint.set_away(true);
    let tollgate = start(&endpoint).await;
    assert_eq!(verdict(&tollgate, &key.token(&json!({}))).await, REFUSED);
    assert_eq!(tollgate.get(READ).await.verdict(), "200", "keys need no issuer");
    endpoint.set_away(false);
    let mut verdicts = Vec::new();
    for _ in 0..100 {
        verdicts.push(verdict(&tollgate, &key.token(&json!({}))).await);
        if verdicts.last().is_some_and(|verdict| verdict == "200") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(verdicts.last().map(String::as_str), Some("200"), "it is found when it comes back");
}

#[tokio::test]
async fn an_issuer_that_goes_away_keeps_its_agents() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    assert_eq!(verdict(&tollgate, &key.token(&json!({}))).await, "200");
    endpoint.set_away(true);
    let asked = endpoint.asked();
    assert_eq!(verdict(&tollgate, &SigningKey::new("made-up").token(&json!({}))).await, REFUSED);
    eventually("a call of an issuer that is away", || endpoint.asked() > asked).await;
    assert_eq!(verdict(&tollgate, &key.token(&json!({}))).await, "200", "its last keys stay in force");
}

#[tokio::test]
async fn a_file_of_keys_is_read_when_it_changes() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let files = TempDir::new().unwrap();
    let file = files.path().join("jwks.json");
    std::fs::write(&file, key_set(&[&old])).unwrap();
    let tollgate = setup(&format!("jwks_file: {}", file.display())).start().await;
    assert_eq!(verdict(&tollgate, &old.token(&json!({}))).await, "200");
    std::fs::write(&file, "half wri").unwrap();
    assert_eq!(verdict(&tollgate, &new.token(&json!({}))).await, REFUSED);
    assert_eq!(verdict(&tollgate, &old.token(&json!({}))).await, "200", "a broken file changes nothing");
    // Like a mounted volume: another file under the same name.
    std::fs::write(files.path().join("next"), key_set(&[&new])).unwrap();
    std::fs::rename(files.path().join("next"), &file).unwrap();
    let (old, new) = (old.token(&json!({})), new.token(&json!({})));
    for _ in 0..100 {
        if verdict(&tollgate, &old).await == REFUSED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        (verdict(&tollgate, &old).await.as_str(), verdict(&tollgate, &new).await.as_str()),
        (REFUSED, "200")
    );
}

/// An empty set shuts the issuer's agents out, and holds up nothing else that the file says.
#[tokio::test]
async fn an_empty_key_set_counts_and_stops_no_reload() {
    let key = SigningKey::new("one");
    let files = TempDir::new().unwrap();
    let file = files.path().join("jwks.json");
    std::fs::write(&file, key_set(&[&key])).unwrap();
    let tollgate = setup(&format!("jwks_file: {}", file.display())).start().await;
    let token = key.token(&json!({}));
    assert_eq!(
        (verdict(&tollgate, &token).await.as_str(), tollgate.get(READ).await.verdict().as_str()),
        ("200", "200")
    );
    std::fs::write(&file, key_set(&[])).unwrap();
    tollgate.reload("- name: worker\n", "- name: worker\n    disabled: true\n", "ok").await;
    assert_eq!(tollgate.get(READ).await.verdict(), "403 operation_forbidden");
    for _ in 0..100 {
        if verdict(&tollgate, &token).await == REFUSED {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the issuer's tokens are still accepted");
}

#[tokio::test]
async fn the_subject_is_in_the_audit_log() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let bearer = format!("Bearer {}", key.token(&json!({})));
    let write = tollgate.ask("POST", "/repos/acme/widgets/issues").header("authorization", &bearer);
    assert_eq!(write.json(&json!({ "title": "x" })).send().await.status, 201);
    let denied = tollgate.ask("GET", "/repos/acme/gadgets").header("authorization", &bearer).send().await;
    assert_eq!(denied.status, 403);
    let by_key = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({ "title": "y" }));
    assert_eq!(by_key.send().await.status, 201);
    let path = tollgate.files.path().join("audit.log");
    let text = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("three lines", || text().lines().count() >= 3).await;
    let subjects: Vec<(Value, Value, Value)> = text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["event"].clone(), line["agent"].clone(), line["subject"].clone()))
        .collect();
    let subject = "system:serviceaccount:agents:reviewer-1";
    for expected in [
        (json!("call"), json!("reviewer"), json!(subject)),
        (json!("denial"), json!("reviewer"), json!(subject)),
        (json!("call"), json!("worker"), Value::Null),
    ] {
        assert!(subjects.contains(&expected), "{expected:?} in {subjects:?}");
    }
}

#[tokio::test]
async fn a_token_in_the_wrong_place_travels_nowhere() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let token = key.token(&json!({}));
    for path in [format!("{READ}/issues?labels={token}"), format!("{READ}/contents/{token}")] {
        assert_eq!(show(&tollgate, &path, &token).await.verdict(), "400 bad_request", "{path}");
    }
    assert_eq!(tollgate.arrived().len(), 0);
    let answer = tollgate.ask("GET", READ).header("user-agent", &format!("x/{token}"));
    assert_eq!(answer.header("accept", &token).send().await.status, 200);
    let headers = format!("{:?}", tollgate.arrived());
    assert!(!headers.contains(&token[..40]), "{headers}");
}

/// Against the real binary at its most verbose.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_which_check_failed_and_nothing_says_the_token() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let sim = Sim::start(crate::support::roomy()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup { audit_log: "off", ..setup(&format!("jwks_url: {}", endpoint.url)) };
    let config = setup.write_config(&sim, &files);
    let log = files.path().join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["serve", "--config"])
        .arg(&config)
        .env("TOLLGATE_LOG", "trace")
        .env("TOLLGATE_LOG_FORMAT", "json")
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let child = End(child);
    let (address, admin) = addresses(&log).await;
    let mut cases = forgeries(&key);
    cases.push(("\"outcome\":\"served\"", key.token(&json!({}))));
    let mut seen = String::new();
    for (_, token) in &cases {
        let fields = format!("Host: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
        seen.push_str(&exchange(&address, format!("GET {READ} HTTP/1.1\r\n{fields}\r\n")).await);
    }
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned();
    seen.push_str(&exchange(&admin, metrics).await);
    drop(child);
    let log = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"message\":\"request\"")).collect();
    assert_eq!(lines.len(), cases.len());
    for ((why, _), line) in cases.iter().zip(&lines) {
        assert!(line.contains(why), "{why}: {line}");
        assert!(!seen.contains(why) || why.contains("outcome"), "{why} was told");
    }
    seen.push_str(&log);
    for (why, token) in &cases {
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!seen.contains(part), "a part of a token was written down: {why}");
        }
    }
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_an_issuer_that_is_away_and_changes_who_is_who() {
    let key = SigningKey::new("one");
    let endpoint = Endpoint::start(&[&key]).await;
    let tollgate = start(&endpoint).await;
    let token = key.token(&json!({}));
    let who = async || show(&tollgate, READ, &token).await.header("x-tollgate-agent").to_owned();
    assert_eq!(who().await, "reviewer");
    endpoint.set_away(true);
    tollgate.reload("reviewer-*\", agent: reviewer", "reviewer-*\", agent: worker", "ok").await;
    assert_eq!(who().await, "worker");
    tollgate.reload("audience: tollgate", "audience: another", "ok").await;
    assert_eq!(verdict(&tollgate, &token).await, REFUSED);
    tollgate.reload("audience: another", "audience: tollgate", "ok").await;
    assert_eq!(who().await, "worker");
    let text = tollgate.config();
    let section = &text[text.find("identities:").unwrap()..text.find("\nagents:").unwrap() + 1];
    tollgate.reload(section, "", "ok").await;
    assert_eq!(verdict(&tollgate, &token).await, REFUSED);
}
