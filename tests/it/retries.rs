//! What is retried, how often, and what never is.

use github_sim::{Fault, FaultKind};
use serde_json::json;

use crate::support::Setup;

fn broken(status: u16) -> FaultKind {
    FaultKind::Status { status, body: None, headers: Default::default(), takes_effect: false }
}

#[tokio::test]
async fn a_read_is_made_again_after_trouble_and_each_attempt_is_charged() {
    let tollgate = Setup::worker().start().await;
    tollgate.sim.faults().add(Fault::new(broken(502)).on("GET", "/repos/acme").times(2));
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(answer.verdict(), "200");
    assert_eq!(tollgate.arrived().len(), 3);
    assert_eq!(answer.header("x-ratelimit-used"), "3");
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_retries_total{reason=\"status\"} 2"), "{metrics}");
}

#[tokio::test]
async fn attempts_have_an_end_and_the_last_answer_is_passed_on() {
    let tollgate =
        Setup { further: "retry: { max_attempts: 3, base_delay: 10ms }\n".to_owned(), ..Setup::worker() }
            .start()
            .await;
    tollgate.sim.faults().add(Fault::new(broken(503)).on("GET", "/repos/acme"));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "503");
    assert_eq!(tollgate.arrived().len(), 3);
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_made_again() {
    let tollgate = Setup::worker().start().await;
    for kind in [broken(502), FaultKind::ResetBeforeAnswer { takes_effect: true }] {
        tollgate.sim.faults().clear();
        let before = tollgate.arrived().len();
        tollgate.sim.faults().add(Fault::new(kind).on("POST", "/repos/acme"));
        let issue = json!({ "title": "once" });
        let answer = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&issue).send().await;
        assert_eq!(answer.status.as_u16(), 502);
        assert_eq!(tollgate.arrived().len() - before, 1);
    }
}

#[tokio::test]
async fn nobody_is_early_after_retry_after() {
    let tollgate = Setup::worker().start().await;
    let headers = [("retry-after".to_owned(), "2".to_owned())].into_iter().collect();
    let told = FaultKind::Status { status: 503, body: None, headers, takes_effect: false };
    tollgate.sim.faults().add(Fault::new(told).on("GET", "/repos/acme").times(1));
    let asked = tokio::time::Instant::now();
    let answer = tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=10").send().await;
    assert_eq!(answer.verdict(), "200");
    assert!(asked.elapsed().as_millis() >= 2_000);
    // Longer than its caller will wait, so the answer is passed on at once.
    let headers = [("retry-after".to_owned(), "9".to_owned())].into_iter().collect();
    let told = FaultKind::Status { status: 503, body: None, headers, takes_effect: false };
    tollgate.sim.faults().add(Fault::new(told).on("GET", "/repos/acme").times(1));
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!((answer.verdict().as_str(), answer.header("retry-after")), ("503", "9"));
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let tollgate =
        Setup { further: "retry: { base_delay: 1ms, max_delay: 2ms }\n".to_owned(), ..Setup::worker() }
            .start()
            .await;
    tollgate.sim.faults().add(Fault::new(broken(500)).on("GET", "/repos/acme"));
    for _ in 0..100 {
        assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "500");
    }
    let arrived = tollgate.arrived().len();
    assert!((110..=130).contains(&arrived), "{arrived} calls for 100 requests");
}
