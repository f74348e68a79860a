//! Keys stay in tollgate; tokens are minted narrow, shared, renewed and replaced.

use std::sync::Arc;
use std::time::Duration;

use github_sim::{Fault, FaultKind, LimitForm, PRIVATE_KEY_PKCS8, SimConfig};
use serde_json::json;
use tollgate::clock::{Clock, ManualClock, SystemClock};

use crate::support::{Setup, Tollgate, UNCACHED, agent, eventually};

/// How often a token was requested.
fn mints(tollgate: &Tollgate) -> usize {
    tollgate.sim.requests().iter().filter(|request| request.target.ends_with("/access_tokens")).count()
}

/// Bodies of the token requests.
fn mint_bodies(tollgate: &Tollgate) -> Vec<serde_json::Value> {
    let requests = tollgate.sim.requests();
    let minting = requests.iter().filter(|request| request.target.ends_with("/access_tokens"));
    minting.map(|request| serde_json::from_str(request.body.as_deref().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn keys_are_taken_in_every_form_and_never_travel_on() {
    let tollgate = Setup::worker().start().await;
    use base64::Engine;
    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let key = tollgate.key(0).to_owned();
    for value in [
        format!("Bearer {key}"),
        format!("bearer {key}"),
        format!("token {key}"),
        format!("TOKEN {key}"),
        basic(format!("x-access-token:{key}")),
        basic(format!("{key}:")),
        basic(format!("{key}:x-oauth-basic")),
    ] {
        assert_eq!(
            tollgate.ask("GET", "/meta").header("authorization", &value).send().await.verdict(),
            "200",
            "{value}"
        );
    }
    for (value, message) in [
        (format!("token {key}x"), "Bad credentials"),
        ("token ghp_000000000000000000000000000000000000".to_owned(), "Bad credentials"),
        ("Bearer".to_owned(), "Bad credentials"),
        (key.clone(), "Bad credentials"),
    ] {
        let answer = tollgate.ask("GET", "/meta").header("authorization", &value).send().await;
        assert_eq!(
            (answer.verdict().as_str(), answer.json()["message"].as_str().unwrap()),
            ("401 unauthenticated", message)
        );
    }
    let none = tollgate.ask("GET", "/meta").anonymous().send().await;
    assert_eq!(none.json()["message"], "Requires authentication");
    let doubled = tollgate.head("GET /meta HTTP/1.1", &format!("Authorization: token {key}\r\n"));
    assert!(tollgate.raw(doubled.as_bytes()).await.starts_with("HTTP/1.1 400"));
    let query = tollgate.ask("GET", &format!("/meta?access_token={key}")).anonymous().send().await;
    assert_eq!(query.verdict(), "401 unauthenticated");
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_disabled_agent_is_told_so() {
    let tollgate =
        Setup::with(vec![agent("gone", &["repositories: [acme/*]", "disabled: true"])]).start().await;
    assert_eq!(tollgate.get("/meta").await.verdict(), "403 operation_forbidden");
}

#[tokio::test]
async fn reads_and_writes_carry_tokens_of_their_own() {
    let agents = vec![agent("named", &["repositories: [acme/widgets, acme/gadgets]"])];
    let tollgate = Setup::with(agents).start().await;
    tollgate.get("/repos/acme/widgets").await;
    tollgate.get("/repos/acme/gadgets").await;
    tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "x"})).send().await;
    let bodies = mint_bodies(&tollgate);
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    for body in &bodies {
        assert_eq!(body["repositories"], json!(["gadgets", "widgets"]));
    }
    let (read, write) =
        (bodies[0]["permissions"].as_object().unwrap(), bodies[1]["permissions"].as_object().unwrap());
    assert!(read.values().all(|level| level == "read") && !read.contains_key("workflows"), "{read:?}");
    assert_eq!(write["contents"], "write");
    for withheld in ["administration", "workflows", "secrets", "organization_administration"] {
        assert!(!write.contains_key(withheld), "{withheld}");
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn one_token_serves_all_who_ask_at_once() {
    let tollgate = Setup::worker().start().await;
    let asks = (0..20).map(|_| tollgate.get("/repos/acme/widgets"));
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer.verdict(), "200");
    }
    assert_eq!(mints(&tollgate), 1);
}

/// One worker, and the clock that tollgate uses; the stand-in's started at the same time.
async fn start_with_a_clock() -> (Tollgate, Arc<ManualClock>) {
    let now = SystemClock.now_seconds();
    let clock = Arc::new(ManualClock::at_seconds(now));
    let mut setup = Setup::worker();
    setup.sim.clock_start = Some(now);
    setup.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    (setup.start().await, clock)
}

/// Each call asked GitHub for the installation, as the App, which has a limit of its own.
#[tokio::test]
async fn a_suspended_installation_is_not_asked_for_at_each_call() {
    let mut setup = Setup::worker();
    setup.cache = UNCACHED;
    let tollgate = setup.start().await;
    assert!(tollgate.sim.edit(|world| world.suspend("acme", true)));
    for _ in 0..5 {
        let answer = tollgate.get("/repos/acme/widgets").await;
        assert_eq!(answer.verdict(), "404 no_installation");
        // To install the App, as it said, would not have helped.
        assert!(answer.text().contains("on `acme` is suspended"), "{}", answer.text());
    }
    let requests = tollgate.sim.requests();
    let asked = requests.iter().filter(|request| request.target.ends_with("/acme/installation"));
    assert_eq!(asked.count(), 1);
}

/// Found by fault injection, seed 61078: it was reported as 502 without a time, and tried again every five seconds.
#[tokio::test]
async fn a_limit_on_calls_of_our_own_is_told_and_waited_for() {
    let (tollgate, clock) = start_with_a_clock().await;
    let limit = FaultKind::Limit { form: LimitForm::Secondary403, retry_after: Some(30) };
    tollgate.sim.faults().add(Fault::new(limit).on("POST", "/app/installations"));
    for (ahead, retry_after) in [(0, "30"), (20, "10")] {
        clock.advance(Duration::from_secs(ahead));
        let answer = tollgate.get("/repos/acme/widgets").await;
        assert_eq!(answer.verdict(), "403 upstream_limited", "{}", answer.text());
        assert_eq!(answer.header("retry-after"), retry_after);
        assert!(
            answer.json()["message"].as_str().unwrap().contains("secondary rate limit"),
            "{}",
            answer.text()
        );
    }
    // GitHub is not asked in the meantime.
    let before = tollgate.sim.requests().len();
    assert_eq!(tollgate.get("/repos/acme/gadgets").await.verdict(), "403 upstream_limited");
    assert_eq!((tollgate.sim.requests().len(), mints(&tollgate)), (before, 1));
    tollgate.sim.faults().clear();
    clock.advance(Duration::from_secs(10));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!(mints(&tollgate), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_the_old_one_serves_meanwhile() {
    let (tollgate, clock) = start_with_a_clock().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let ahead = |seconds: u64| {
        clock.advance(Duration::from_secs(seconds));
        tollgate.sim.clock().advance(Duration::from_secs(seconds));
    };
    ahead(53 * 60);
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!(mints(&tollgate), 1);
    // Renewal fails: the old token is used until it expires.
    let fault = tollgate.sim.faults().add(Fault::new(FaultKind::MintFails { status: 500 }));
    ahead(3 * 60);
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    // It is attempted three times.
    eventually("the failed renewal", || tollgate.sim.faults().fired(fault) >= 3).await;
    tollgate.sim.faults().clear();
    ahead(30);
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let before = mints(&tollgate);
    eventually("the renewal", || mints(&tollgate) >= before && tollgate.sim.books().minted >= 2).await;
    // After the first token has expired, nothing expired is sent.
    ahead(10 * 60);
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert!(tollgate.arrived().iter().all(|request| request.status != Some(401)));
    let metrics = tollgate.metrics().await;
    assert!(
        metrics.contains("tollgate_token_refresh_total{installation=\"bot/acme\",result=\"failed\"} 1"),
        "{metrics}"
    );
}

/// There is no other to try, and repeated bad credentials lock out good ones.
#[tokio::test]
async fn a_personal_token_that_is_refused_is_sent_once() {
    let mut setup = Setup { cache: UNCACHED, personal_token: true, ..Setup::worker() };
    setup.sim.personal_tokens = vec!["ghp_one".to_owned()];
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let body = Some(json!({"message": "Bad credentials"}));
    let refused = FaultKind::Status { status: 401, body, headers: Default::default(), takes_effect: false };
    let refused = tollgate.sim.faults().add(Fault::new(refused).on("GET", "/repos/acme"));
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(answer.verdict(), "502 upstream_unreachable");
    assert_eq!(answer.json()["message"], "GitHub refuses tollgate's own credential; nothing was done.");
    assert_eq!(tollgate.sim.faults().fired(refused), 1);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let tollgate = Setup::worker().start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let refused = tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 401,
            body: Some(json!({"message": "Bad credentials"})),
            headers: Default::default(),
            takes_effect: false,
        })
        .on("GET", "/repos/acme")
        .times(1),
    );
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!((tollgate.sim.faults().fired(refused), mints(&tollgate)), (1, 2));
    // Refused for good: the agent is told that its own key is not the problem.
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 401,
            body: Some(json!({"message": "Bad credentials"})),
            headers: Default::default(),
            takes_effect: false,
        })
        .on("POST", "/repos/acme"),
    );
    let write = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "x"})).send().await;
    assert_eq!(write.verdict(), "502 upstream_unreachable", "{}", write.text());
    let attempts = tollgate.arrived().iter().filter(|request| request.method == "POST").count();
    assert_eq!(attempts, 2, "a write is made again once at most");
}

/// Three calls used to send fifteen refused ones and to mint six tokens, and GitHub locks out who fails so often.
#[tokio::test]
async fn an_app_whose_tokens_are_all_refused_mints_few() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    let body = Some(json!({"message": "Bad credentials"}));
    let refused = FaultKind::Status { status: 401, body, headers: Default::default(), takes_effect: false };
    let refused = tollgate.sim.faults().add(Fault::new(refused).on("GET", "/repos/acme"));
    let get = || tollgate.get("/repos/acme/widgets");
    let answers = futures_util::future::join3(get(), get(), get()).await;
    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(answer.verdict(), "502 upstream_unreachable", "{}", answer.text());
    }
    assert_eq!((tollgate.sim.faults().fired(refused), mints(&tollgate)), (3 * 4, 1));
    // GitHub knows the token after all.
    tollgate.sim.faults().clear();
    assert_eq!(get().await.verdict(), "200");
    assert_eq!(mints(&tollgate), 1);
}

#[tokio::test]
async fn a_token_github_has_not_spread_yet_is_tried_again() {
    for status in [401, 404] {
        let mut setup = Setup::worker();
        setup.sim = SimConfig::default();
        let tollgate = setup.start().await;
        let lag = Fault::new(FaultKind::ReplicationLag { ms: 1_500, status });
        tollgate.sim.faults().add(lag);
        let answer = tollgate.get("/repos/acme/widgets").await;
        assert_eq!(answer.verdict(), "200", "{status}: {}", answer.text());
        assert_eq!(mints(&tollgate), 1);
        // The token is known to work, so the 404 is GitHub's real answer.
        let calls = tollgate.arrived().len();
        assert_eq!(tollgate.get("/repos/acme/no-such-repository").await.verdict(), "404");
        assert_eq!(tollgate.arrived().len(), calls + 1);
    }
}

#[tokio::test]
async fn what_is_not_there_is_asked_for_once_more_while_the_token_is_young() {
    let mut setup = Setup::worker();
    setup.sim = SimConfig::default();
    let tollgate = setup.start().await;
    let path = "/repos/acme/widgets/contents/no-such-file";
    assert_eq!(tollgate.get(path).await.verdict(), "404");
    let up = || -> Vec<String> {
        let arrived = tollgate
            .arrived()
            .into_iter()
            .filter(|request| request.target.starts_with("/repos/acme/widgets"));
        arrived.map(|request| request.target).collect()
    };
    assert_eq!(up().iter().filter(|target| target.contains("contents")).count(), 2, "{:?}", up());
    // The read of the repository has proven the token.
    let before = up().len();
    assert_eq!(tollgate.get("/repos/acme/widgets/contents/another").await.verdict(), "404");
    assert_eq!(up().len(), before + 1, "{:?}", up());
}

#[tokio::test]
async fn a_file_behind_a_token_that_is_not_spread_is_found() {
    let mut setup = Setup::worker();
    setup.sim = SimConfig::default();
    let tollgate = setup.start().await;
    tollgate.sim.faults().add(Fault::new(FaultKind::ReplicationLag { ms: 1_500, status: 404 }));
    let answer = tollgate.get("/repos/acme/widgets/contents/README.md").await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
}

/// The very first call is an approved one: the pool is still unknown, so one call goes at a time.
#[tokio::test]
async fn a_young_token_is_tried_before_an_approved_call_takes_the_only_place() {
    let mut setup = Setup::worker();
    setup.sim = SimConfig::default();
    let tollgate = setup.start().await;
    tollgate.sim.faults().add(Fault::new(FaultKind::ReplicationLag { ms: 400, status: 404 }));
    let merge = tollgate.ask("PUT", "/repos/acme/widgets/pulls/76/merge");
    let started = tokio::time::Instant::now();
    let merged = merge.header("x-merge-approval", "jane").json(&json!({})).send().await;
    let took = started.elapsed();
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
    let up = tollgate.arrived().into_iter().filter(|request| request.target.starts_with("/repos/"));
    let up: Vec<String> = up.map(|request| request.method).collect();
    assert_eq!(up.last().map(String::as_str), Some("PUT"));
    assert!(up.len() > 1 && up[..up.len() - 1].iter().all(|method| method == "GET"), "{up:?}");
    assert!(took < Duration::from_secs(3), "it waits for GitHub, not for itself: {took:?}");
}

#[tokio::test]
async fn a_private_key_is_taken_up_when_its_file_changes() {
    let mut setup = Setup::with(vec![agent("worker", &["repositories: [acme/*, other/*]"])]);
    setup.sim.app_key_pem = Some(PRIVATE_KEY_PKCS8.to_owned());
    let tollgate = setup.start().await;
    let before = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(before.verdict(), "502 upstream_unreachable", "{}", before.text());
    let file = tollgate.files.path().join("app.pem");
    std::fs::write(&file, PRIVATE_KEY_PKCS8).unwrap();
    // A failed call as the App is remembered briefly, so that bad credentials are not repeated quickly.
    let mut taken_up = false;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        taken_up = tollgate.get("/repos/acme/widgets").await.verdict() == "200";
        if taken_up {
            break;
        }
    }
    assert!(taken_up);
    // An invalid file does not affect a tollgate that already has a good key.
    std::fs::write(&file, "not a key").unwrap();
    assert_eq!(tollgate.get("/repos/other/tool").await.verdict(), "200");
}

#[tokio::test]
async fn short_tokens_and_long_ones_are_the_same_to_us() {
    for form in [github_sim::TokenForm::Short, github_sim::TokenForm::Stateless] {
        let mut setup = Setup::worker();
        setup.sim.token_form = form;
        let tollgate = setup.start().await;
        assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    }
}

/// With a 401 come an anonymous caller's figures: 60 an hour, all spent by others. Found by revoking tokens at random.
#[tokio::test]
async fn the_figures_of_a_refused_credential_are_not_the_installation_s() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    let limit = async || {
        let answer = tollgate.get("/repos/acme/widgets").await;
        assert_eq!(answer.verdict(), "200", "{}", answer.text());
        answer.header("x-tollgate-upstream-limit").to_owned()
    };
    let before = limit().await;
    for _ in 0..80 {
        limit().await;
    }
    let installation = tollgate.sim.installation_id("acme").unwrap();
    for _ in 0..3 {
        tollgate.sim.revoke_installation(installation);
        for _ in 0..3 {
            assert_eq!(limit().await, before);
        }
    }
    tollgate.assert_clean();
}

/// Even without room for another attempt, the agent must not see the first one's 401.
#[tokio::test]
async fn a_401_of_github_s_never_reaches_an_agent() {
    let setup =
        Setup { cache: UNCACHED, further: "retry: { max_attempts: 4 }\n".to_owned(), ..Setup::worker() };
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let body = Some(json!({"message": "Bad credentials"}));
    let refused = FaultKind::Status { status: 401, body, headers: Default::default(), takes_effect: false };
    tollgate.sim.faults().add(Fault::new(refused).on("GET", "/repos/acme"));
    for _ in 0..5 {
        let asks =
            (0..40).map(|_| tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=0").send());
        for answer in futures_util::future::join_all(asks).await {
            assert_ne!(answer.status.as_u16(), 401, "{}", answer.text());
            assert!(answer.headers.contains_key("x-tollgate-error"), "{}", answer.text());
        }
    }
}
