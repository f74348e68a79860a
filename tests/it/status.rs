//! What an operator sees, through the real listener.

use std::process::Command;
use std::time::Duration;

use github_sim::SimConfig;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::support::{Setup, Tollgate, agent};

const TOKEN: &str = "an admin+token";

/// Two agents with some rights, and an admin token.
async fn fleet() -> Tollgate {
    let agents = vec![
        agent("reviewer", &["repositories: [acme/*]", "weight: 3"]),
        agent("writer", &["repositories: [acme/*]", "guarantee: 100"]),
        agent("gone", &["repositories: [acme/*]", "disabled: true"]),
    ];
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), TOKEN).unwrap();
    let server = format!("  admin_token_file: {}\n", token.path().display());
    Setup { server, sim: SimConfig::default(), ..Setup::with(agents) }.start().await
}

async fn send(method: &str, uri: &str, fields: &[(&str, &str)], body: &str) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.request(request.body(Full::new(bytes::Bytes::from(body.to_owned()))).unwrap()).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn page(tollgate: &Tollgate, path: &str) -> String {
    text(send("GET", &format!("{}{path}", tollgate.admin), &[], "").await).await
}

async fn status(tollgate: &Tollgate) -> Value {
    serde_json::from_str(&page(tollgate, "/api/status").await).unwrap()
}

/// Sends a form as the page does without JavaScript.
async fn form(tollgate: &Tollgate, path: &str, body: &str, more: &[(&str, &str)]) -> (StatusCode, String) {
    let mut fields = vec![("content-type", "application/x-www-form-urlencoded")];
    fields.extend(more);
    let response = send("POST", &format!("{}{path}", tollgate.admin), &fields, body).await;
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    (status, text(response).await)
}

#[tokio::test]
async fn the_page_and_the_json_have_what_happened() {
    let tollgate = fleet().await;
    for _ in 0..2 {
        assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    }
    let merge = tollgate.ask("PUT", "/repos/acme/widgets/pulls/1/merge").json(&json!({}));
    assert_eq!(merge.send().await.verdict(), "403 approval_required");
    for _ in 0..3 {
        let hostile = tollgate.get("/repos/other/tool/contents/%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
        assert_eq!(hostile.verdict(), "403 repository_forbidden");
    }
    // Uses up the thirty searches of a minute, until one has to wait.
    let search = |number| format!("/search/issues?q=repo:acme/widgets+n{number}");
    for number in 0..60 {
        let answer = tollgate.ask("GET", &search(number)).by(1).header("prefer", "wait=0").send().await;
        if answer.status != 200 {
            break;
        }
    }
    let waiting = tollgate.ask("GET", &search(99)).by(1).header("prefer", "wait=60").send();
    let looking = async {
        for _ in 0..100 {
            let status = status(&tollgate).await;
            let writer =
                status["agents"].as_array().unwrap().iter().find(|it| it["name"] == "writer").unwrap();
            if writer["waiting"] == 1 && writer["longest_wait_ms"].as_u64() > Some(1_000) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nobody was seen waiting");
    };
    let status = tokio::select! {
        _ = waiting => panic!("it did not wait"),
        status = looking => status,
    };
    assert_eq!(status["agents"][0]["name"], "writer", "who waits comes first");
    let reviewer = status["agents"].as_array().unwrap().iter().find(|it| it["name"] == "reviewer").unwrap();
    assert_eq!((&reviewer["weight"], &reviewer["is_disabled"]), (&json!(3), &json!(false)));
    assert!(reviewer["spent"].as_u64().unwrap() >= 1, "{reviewer}");
    assert!(reviewer["share_ratio"].as_f64().is_some(), "{reviewer}");
    let search =
        status["pools"].as_array().unwrap().iter().find(|pool| pool["resource"] == "search").unwrap();
    assert_eq!((&search["installation"], &search["limit"]), (&json!("bot/acme"), &json!(30)));
    assert_eq!(status["cache"]["saved"]["revalidated"], 1);
    assert_eq!(status["approvals"]["missing"], 1);
    assert_eq!(status["limit_hits"], json!({}));
    assert_eq!(status["store"], json!({"kind": "memory", "is_up": true, "replicas": 1}));
    assert!(status["tokens"][0]["first_expiry_in_seconds"].as_i64().unwrap() > 3_000);
    let codes: Vec<_> = status["refusals"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert!(codes.contains(&&json!("approval_required")) && codes.contains(&&json!("budget_exhausted")));
    let looped =
        status["refusals"].as_array().unwrap().iter().find(|it| it["code"] == "repository_forbidden");
    assert_eq!(looped.unwrap()["count"], 3, "alike, so one entry");

    let page = page(&tollgate, "/").await;
    for part in ["reviewer", "approval_required", "bot/acme", "/repos/acme/widgets/pulls/1/merge", "disabled"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script>alert"), "what callers wrote is escaped");
    for secret in [tollgate.key(0), TOKEN, "ghs_"] {
        assert!(!page.contains(secret) && !status.to_string().contains(secret), "{secret}");
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn the_page_lets_nothing_in_and_is_kept_nowhere() {
    let tollgate = fleet().await;
    let response = send("GET", &format!("{}/", tollgate.admin), &[], "").await;
    let headers = response.headers();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let asked = page(&tollgate, "/?agent=reviewer").await;
    assert!(asked.contains("action=\"/api/agents/reviewer/disable\""));
    for unknown in ["/?agent=nobody", "/?agent=%ff", "/?other", "/?agent=%3Cb%3E"] {
        assert!(!page(&tollgate, unknown).await.contains("method=\"post\""), "{unknown}");
    }
}

#[tokio::test]
async fn the_form_works_without_javascript_and_asks_for_the_token() {
    let tollgate = fleet().await;
    let path = "/api/agents/reviewer/disable";
    for (body, more, status) in [
        ("", &[][..], 401),
        ("token=", &[], 401),
        ("token=wrong", &[], 401),
        ("token=an+admin%2Btoken&token=an+admin%2Btoken", &[], 401),
        ("token=an+admin%2Btoken%0a", &[], 401),
        ("token=an+admin%2Btoken", &[("origin", "http://evil.example")], 403),
        ("token=an+admin%2Btoken", &[("origin", "null")], 403),
    ] {
        let (got, answer) = form(&tollgate, path, body, more).await;
        assert_eq!(got.as_u16(), status, "{body}");
        assert!(answer.contains("Nothing was changed"), "{answer}");
    }
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let own = tollgate.admin.clone();
    let (got, answer) = form(&tollgate, path, "token=an+admin%2Btoken", &[("origin", &own)]).await;
    assert_eq!(got, 200);
    assert!(answer.contains("Agent reviewer is disabled.") && !answer.contains("admin+token"), "{answer}");
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "403 operation_forbidden");
    let agents = status(&tollgate).await["agents"].clone();
    let reviewer = agents.as_array().unwrap().iter().find(|it| it["name"] == "reviewer").unwrap();
    assert_eq!(reviewer["is_disabled"], true, "seen at once");
    let (got, answer) = form(&tollgate, "/api/agents/gone/enable", "token=an+admin%2Btoken", &[]).await;
    assert_eq!(got, 409);
    assert!(answer.contains("configuration file"), "{answer}");
}

#[tokio::test]
async fn each_listener_has_its_own_endpoints() {
    let tollgate = fleet().await;
    for path in ["/", "/api/status", "/api/events", "/metrics", "/livez", "/api/agents/reviewer/disable"] {
        let answer = tollgate.ask("GET", path).anonymous().send().await;
        assert_eq!(answer.status.as_u16(), 401, "{path}: {}", answer.text());
        // With a key it is an API path like any other, not our page.
        let answer = tollgate.get(path).await;
        assert!(
            !answer.text().contains("tollgate status") && !answer.text().contains("uptime_seconds"),
            "{path}"
        );
        assert_ne!(answer.header("content-type"), "text/event-stream; charset=utf-8", "{path}");
    }
    for path in ["/repos/acme/widgets", "/rate_limit", "/tollgate/me", "/graphql", "/user", "/api/v3/"] {
        let response = send("GET", &format!("{}{path}", tollgate.admin), &[], "").await;
        assert_eq!(response.status(), 404, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        for path in ["/", "/api/status", "/api/events"] {
            let response = send(method.as_str(), &format!("{}{path}", tollgate.admin), &[], "").await;
            assert_eq!(response.status(), 405, "{method} {path}");
        }
    }
}

/// The next event's name and data.
async fn event(body: &mut Incoming) -> Option<(String, String)> {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("an event")?;
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    let (name, data) = text.trim_end().split_once('\n').unwrap();
    Some((name.to_owned(), data.trim_start_matches("data: ").to_owned()))
}

#[tokio::test]
async fn events_come_and_end_with_the_drain() {
    let tollgate = fleet().await;
    let listen = |path: &str| format!("{}{path}", tollgate.admin);
    let json = send("GET", &listen("/api/events"), &[], "").await;
    assert_eq!(json.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(json.headers()["cache-control"], "no-store");
    let (mut json, mut html) =
        (json.into_body(), send("GET", &listen("/api/events?as=page"), &[], "").await.into_body());
    for _ in 0..2 {
        let (name, data) = event(&mut json).await.unwrap();
        assert_eq!(name, "event: status");
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data["agents"].as_array().unwrap().len(), 3);
        assert!(event(&mut html).await.unwrap().1.contains("reviewer"));
    }
    tollgate.stop.cancel();
    assert_eq!(event(&mut json).await, None);
    assert_eq!(event(&mut html).await, None);
}

#[tokio::test]
async fn listeners_are_bounded() {
    let tollgate = fleet().await;
    let uri = format!("{}/api/events", tollgate.admin);
    let mut listening = Vec::new();
    for _ in 0..128 {
        let response = send("GET", &uri, &[], "").await;
        assert_eq!(response.status(), 200);
        listening.push(response);
    }
    assert_eq!(send("GET", &uri, &[], "").await.status(), 503);
    assert_eq!(send("GET", &format!("{}/livez", tollgate.admin), &[], "").await.status(), 200);
    listening.clear();
    for _ in 0..100 {
        if send("GET", &uri, &[], "").await.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("who left still has a place");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_the_same() {
    let tollgate = fleet().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.arg("status").args(arguments).env_remove("TOLLGATE_ADMIN").output().unwrap()
    };
    let shown = run(&["--admin", &tollgate.admin]);
    let table = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{table}");
    for part in ["POOLS", "bot/acme core", "AGENTS", "reviewer", "off:file", "TOKENS"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let json = run(&["--admin", &tollgate.admin, "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["agents"].as_array().unwrap().len(), 3);
    for (arguments, why) in [
        (["--admin", "http://127.0.0.1:1"], "can't be reached"),
        (["--admin", &tollgate.base], "401"),
        (["--admin", "https://localhost"], "http://"),
    ] {
        let failed = run(&arguments);
        let message = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1), "{message}");
        assert!(message.contains(why) && failed.stdout.is_empty(), "{message}");
    }
}
