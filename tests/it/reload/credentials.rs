//! Other Apps and tokens for a running tollgate: what has not changed goes on as before.

use std::fs;

use github_sim::{Fault, FaultKind, FurtherApp, INSTALLATION_STEP, LimitForm};

use super::{WIDGETS, until_arrived};
use crate::support::{Setup, Tollgate, UNCACHED};

/// One worker, without a cache.
async fn start() -> Tollgate {
    Setup { cache: UNCACHED, ..Setup::worker() }.start().await
}

/// Adds an entry that has nothing to do with the App.
async fn add_token(tollgate: &Tollgate) {
    fs::write(tollgate.files.path().join("pat"), "ghp_one").unwrap();
    tollgate.reload("apps:\n", "tokens:\n  - { name: dev, token_file: pat }\napps:\n", "ok").await;
}

/// How often tollgate called as an App.
fn own_calls(tollgate: &Tollgate) -> usize {
    tollgate.sim.requests().iter().filter(|request| request.credential == "app-jwt").count()
}

/// Every call got 502 until the outage was over.
#[tokio::test]
async fn an_app_that_stays_is_known_while_github_cannot_tell() {
    let tollgate = start().await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    let expiry = "tollgate_token_expiry_timestamp_seconds{access=\"read\",installation=\"bot/acme\"}";
    assert!(tollgate.metrics().await.contains(expiry));
    let away =
        FaultKind::Status { status: 503, body: None, headers: Default::default(), takes_effect: false };
    for path in ["/orgs", "/users", "/app"] {
        tollgate.sim.faults().add(Fault::new(away.clone()).on("GET", path));
        tollgate.sim.faults().add(Fault::new(away.clone()).on("POST", path));
    }
    add_token(&tollgate).await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    assert!(tollgate.metrics().await.contains(expiry), "its token is still the same");
}

/// GitHub bans Apps that go on calling during a limit.
#[tokio::test]
async fn an_app_that_has_to_wait_still_waits() {
    let tollgate = start().await;
    let limit = FaultKind::Limit { form: LimitForm::Secondary403, retry_after: Some(600) };
    tollgate.sim.faults().add(Fault::new(limit).on("POST", "/app/installations"));
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "403 upstream_limited");
    let calls = own_calls(&tollgate);
    add_token(&tollgate).await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "403 upstream_limited");
    assert_eq!(own_calls(&tollgate), calls);
}

#[tokio::test]
async fn an_app_that_takes_the_name_of_another_inherits_nothing() {
    let mut setup = Setup { cache: UNCACHED, ..Setup::worker() };
    setup.sim.further_apps = vec![FurtherApp { app_id: 4343, repositories: None }];
    let tollgate = setup.start().await;
    let second = "  - { name: bot2, app_id: 4343, private_key_file: app.pem }\n";
    tollgate.reload(second, "", "ok").await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    tollgate.reload("app_id: 4242", "app_id: 4343", "ok").await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    let installation = |app: u64| format!("installation:{}", app * INSTALLATION_STEP + 1001);
    let credentials: Vec<_> = tollgate.arrived().into_iter().map(|request| request.credential).collect();
    assert_eq!(credentials, [installation(0), installation(1)]);
}

/// It got `404 no_installation`, which no client repeats, although the next App would have served it.
#[tokio::test]
async fn what_waits_for_an_app_that_goes_is_to_be_sent_again() {
    let further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = Setup { cache: UNCACHED, further, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 10_000 });
    tollgate.sim.faults().add(slow.on("GET", "/repos/acme/gadgets").times(1));
    let path = "/repos/acme/widgets/issues/1";
    let waiting = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        tollgate.ask("GET", path).header("prefer", "wait=30").send().await
    };
    let change = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        tollgate.reload("name: bot,", "name: robot,", "ok").await;
        assert!(!tollgate.arrived_lines().iter().any(|line| line.ends_with(path)), "it still waits");
    };
    let (_, answer, ()) = tokio::join!(tollgate.get("/repos/acme/gadgets"), waiting, change);
    assert_eq!((answer.verdict().as_str(), answer.header("retry-after")), ("503 overloaded", "1"));
    assert_eq!(tollgate.get(path).await.verdict(), "200", "it goes by the new one");
}
