//! What goes wrong at GitHub or on the way is reported plainly, and no write is done twice.

use std::time::Duration;

use github_sim::{Fault, FaultKind};
use serde_json::json;

use crate::support::{Setup, UNCACHED, eventually};

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let mut setup = Setup::worker();
    setup.personal_token = true;
    setup.api_url = Some(format!("http://{address}"));
    let tollgate = setup.start().await;
    for (method, path) in [("GET", "/repos/acme/widgets"), ("POST", "/repos/acme/widgets/issues")] {
        let answer = tollgate.ask(method, path).json(&json!({"title": "x"})).send().await;
        assert_eq!(answer.verdict(), "502 upstream_unreachable", "{}", answer.text());
        assert!(!answer.text().contains(&address.to_string()), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_within_the_time_configured() {
    let mut setup = Setup::worker();
    setup.upstream = "  request_timeout: 300ms\n".to_owned();
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tollgate.sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: 3_000 }).on("GET", "/repos/acme"));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "504 upstream_timeout");
    tollgate.sim.faults().clear();
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert!(tollgate.metrics().await.contains("tollgate_inflight{installation=\"bot/acme\"} 0"));
}

/// A request that depends on a look-up gets no data while the look-up's answer trickles in.
#[tokio::test]
async fn a_look_up_that_trickles_in_ends_within_the_time_configured() {
    let mut setup = Setup::worker();
    setup.upstream = "  request_timeout: 500ms\n".to_owned();
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let trickle = Fault::new(FaultKind::SlowBody { bytes_per_second: 300 });
    tollgate.sim.faults().add(trickle.on("GET", "/repositories/2001"));
    let asked = tokio::time::Instant::now();
    assert_eq!(tollgate.get("/repositories/2001/labels").await.verdict(), "502 upstream_unreachable");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    tollgate.sim.faults().clear();
    assert_eq!(tollgate.get("/repositories/2001/labels").await.verdict(), "200");
}

#[tokio::test]
async fn reads_find_another_connection_and_writes_are_never_repeated() {
    let tollgate = Setup::worker().start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let reset = |method: &str| {
        Fault::new(FaultKind::ResetBeforeAnswer { takes_effect: true }).on(method, "/repos/acme").times(1)
    };
    tollgate.sim.faults().add(reset("GET"));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tollgate.sim.faults().add(reset("POST"));
    let before = tollgate.arrived().len();
    let write =
        tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "once"})).send().await;
    assert_eq!(write.verdict(), "502 upstream_unreachable");
    assert_eq!(tollgate.arrived().len(), before + 1);
}

#[tokio::test]
async fn githubs_own_errors_pass_as_they_are() {
    let tollgate = Setup::worker().start().await;
    for status in [403, 404, 409, 422, 500, 502, 503] {
        tollgate.sim.faults().clear();
        tollgate.sim.faults().add(
            Fault::new(FaultKind::Status {
                status,
                body: Some(
                    json!({"message": "from GitHub", "documentation_url": "https://docs.github.com/rest"}),
                ),
                headers: Default::default(),
                takes_effect: false,
            })
            .on("POST", "/repos/acme"),
        );
        let answer =
            tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "x"})).send().await;
        assert_eq!(
            (answer.verdict(), answer.json()["message"].as_str()),
            (status.to_string(), Some("from GitHub"))
        );
    }
}

#[tokio::test]
async fn a_limit_of_githubs_holds_everybody_and_is_counted() {
    let tollgate = Setup::worker().start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Limit { form: github_sim::LimitForm::Secondary403, retry_after: Some(60) })
            .on("GET", "/repos/acme")
            .times(1),
    );
    let limited = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(limited.verdict(), "403 upstream_limited");
    let seconds: u64 = limited.header("retry-after").parse().unwrap();
    assert!((60..=63).contains(&seconds), "{seconds}");
    // GitHub is not asked again in the meantime.
    let before = tollgate.sim.requests().len();
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "403 upstream_limited");
    assert_eq!(tollgate.sim.requests().len(), before);
    let metrics = tollgate.metrics().await;
    assert!(
        metrics.contains("tollgate_limit_hits_total{installation=\"bot/acme\",kind=\"secondary\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_here_too() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    for kind in [FaultKind::TruncatedBody, FaultKind::ResetMidBody] {
        tollgate.sim.faults().add(Fault::new(kind).on("GET", "/repos/acme").times(1));
        let request = tollgate.head("GET /repos/acme/widgets/issues HTTP/1.1", "");
        let answer = tollgate.raw(request.as_bytes()).await;
        // The head, and no last chunk: no client takes it for complete.
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    }
    eventually_idle(&tollgate).await;
    // Their lines were written at the head, with status 200.
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_upstream_broken_total{installation=\"bot/acme\"} 2"), "{metrics}");
}

#[tokio::test]
async fn one_that_is_read_whole_first_is_asked_for_again() {
    const ISSUES: &str = "/repos/acme/widgets/issues";
    let further = "retry: { max_attempts: 3, base_delay: 1ms, max_delay: 1ms }\n".to_owned();
    let tollgate = Setup { further, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let asked = || tollgate.arrived_lines().iter().filter(|line| line.contains(ISSUES)).count();
    for kind in [FaultKind::TruncatedBody, FaultKind::ResetMidBody] {
        let (before, path) = (asked(), format!("{ISSUES}?page={}", asked() + 1));
        tollgate.sim.faults().add(Fault::new(kind.clone()).on("GET", ISSUES).times(1));
        let answer = tollgate.get(&path).await;
        assert_eq!((answer.verdict().as_str(), asked() - before), ("200", 2), "{kind:?}");
        assert!(answer.json().is_array());
        // No more often than any other, and each attempt is charged.
        tollgate.sim.faults().add(Fault::new(kind.clone()).on("GET", ISSUES).times(9));
        let answer = tollgate.get(&format!("{path}&per_page=1")).await;
        assert_eq!(
            (answer.verdict().as_str(), asked() - before),
            ("502 upstream_unreachable", 5),
            "{kind:?}"
        );
        tollgate.sim.faults().clear();
    }
    assert_eq!(tollgate.get("/repos/acme/widgets/labels").await.header("x-ratelimit-used"), "12");
    assert!(tollgate.metrics().await.contains("tollgate_retries_total{reason=\"connection\"} 6"));
    eventually_idle(&tollgate).await;
}

#[tokio::test]
async fn of_what_graphql_is_asked_only_a_query_is_asked_again() {
    let tollgate = Setup::worker().start().await;
    let ask = async |query: &str| {
        let asked = tollgate.ask("POST", "/graphql").json(&json!({ "query": query })).send().await;
        asked.verdict()
    };
    let cut =
        || tollgate.sim.faults().add(Fault::new(FaultKind::TruncatedBody).on("POST", "/graphql").times(1));
    let issue =
        tollgate.get("/repos/acme/widgets/issues/1").await.json()["node_id"].as_str().unwrap().to_owned();
    let comment = format!(
        "mutation {{ addComment(input: {{subjectId: \"{issue}\", body: \"x\"}}) {{ clientMutationId }} }}"
    );
    cut();
    assert_eq!(ask("{ viewer { login } }").await, "200");
    // Finding out what the issue is takes a query of tollgate's own.
    cut();
    assert_eq!(ask(&comment).await, "200");
    cut();
    assert_eq!(ask(&comment).await, "502 upstream_unreachable");
    assert_eq!(tollgate.sim.books().mutations, ["addComment", "addComment"]);
    eventually_idle(&tollgate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_pays_and_its_slot_is_free_when_github_has_answered() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow = tollgate
        .sim
        .faults()
        .add(Fault::new(FaultKind::SlowFirstByte { ms: 1_500 }).on("GET", "/repos/acme").times(1));
    let request = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    let gone = tokio::time::timeout(Duration::from_millis(500), tollgate.raw(request.as_bytes())).await;
    assert!(gone.is_err());
    assert_eq!(tollgate.sim.faults().fired(slow), 1);
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_inflight{installation=\"bot/acme\"} 1"), "GitHub works on it");
    eventually_idle(&tollgate).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.header("x-ratelimit-used"), "3");
}

async fn eventually_idle(tollgate: &crate::support::Tollgate) {
    for _ in 0..200 {
        if tollgate.metrics().await.contains("tollgate_inflight{installation=\"bot/acme\"} 0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a slot is still held");
}

#[tokio::test]
async fn a_failing_app_is_told_from_a_missing_installation() {
    let tollgate = Setup::worker().start().await;
    let fault = tollgate.sim.faults().add(Fault::new(FaultKind::MintFails { status: 503 }));
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(answer.verdict(), "502 upstream_unreachable", "{}", answer.text());
    eventually("the fault", || tollgate.sim.faults().fired(fault) > 0).await;
    // It is attempted three times. While minting fails, not every call requests a token again.
    for _ in 0..5 {
        assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "502 upstream_unreachable");
    }
    assert_eq!(tollgate.sim.faults().fired(fault), 3);
}
