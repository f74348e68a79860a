//! Signed approvals: bound to what was reviewed, valid for one call, across replicas and restarts.

use std::sync::Arc;
use std::time::Duration;

use github_sim::{Fault, FaultKind, LimitForm};
use http::StatusCode;
use serde_json::{Value, json};
use tollgate::app::App;
use tollgate::clock::{Clock, SystemClock};
use tollgate::config;
use tollgate::proxy::listener::Bounds;

use crate::support::approvals::{approve, filled, sign};
use crate::support::redis::RedisServer;
use crate::support::{Answer, Setup, Tollgate, agent};

const MERGE: &str = "/repos/acme/widgets/pulls/76/merge";

fn setup() -> Setup {
    Setup { approval_mode: "signed", ..Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]) }
}

/// Starts another replica with the same file; returns its address.
async fn another(tollgate: &Tollgate) -> String {
    let (config, _) = config::from_file(&tollgate.files.path().join("tollgate.yaml")).unwrap();
    let app = App::start_with(config, Arc::new(SystemClock), Bounds::default()).await.unwrap();
    let base = format!("http://{}", app.address().unwrap());
    tokio::spawn(app.run());
    base
}

async fn send(tollgate: &Tollgate, method: &str, path: &str, body: &Value, approval: Option<&str>) -> Answer {
    let ask = tollgate.ask(method, path).json(body);
    match approval {
        Some(approval) => ask.header("x-merge-approval", approval).send().await,
        None => ask.send().await,
    }
}

async fn refused(tollgate: &Tollgate, method: &str, path: &str, body: &Value) -> Answer {
    let refusal = send(tollgate, method, path, body, None).await;
    assert_eq!(refusal.verdict(), "403 approval_required", "{}", refusal.text());
    refusal
}

/// The requests that arrived at the stand-in, except reads.
fn writes(tollgate: &Tollgate) -> Vec<String> {
    let arrived = tollgate.arrived().into_iter().filter(|request| request.method != "GET");
    arrived.map(|request| format!("{} {}", request.method, request.target)).collect()
}

#[tokio::test]
async fn a_merge_is_pinned_to_the_approved_commit() {
    let tollgate = setup().start().await;
    let head = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    let refusal = refused(&tollgate, "PUT", MERGE, &json!({"merge_method": "squash"})).await;
    assert_eq!(
        refusal.json()["tollgate"]["approval"],
        json!({"aud": "tollgate", "action": "merge", "repo": "acme/widgets", "pull_number": 76, "head_sha": head})
    );
    let approval = approve(&refusal);
    let merged = send(&tollgate, "PUT", MERGE, &json!({"merge_method": "squash"}), Some(&approval)).await;
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
    let arrived = tollgate.arrived().into_iter().find(|request| request.method == "PUT").unwrap();
    let body: Value = serde_json::from_str(arrived.body.as_deref().unwrap()).unwrap();
    assert_eq!(body, json!({"merge_method": "squash", "sha": head}));
    assert!(!arrived.headers.contains_key("x-merge-approval"));
    let again = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(again.verdict(), "403 approval_invalid");
    assert!(again.json()["message"].as_str().unwrap().contains("used before"), "{}", again.text());
    assert_eq!(tollgate.sim.books().merges.len(), 1);
    let metrics = tollgate.metrics().await;
    for line in ["{result=\"accepted\"} 1", "{result=\"missing\"} 1", "{result=\"spent\"} 1"] {
        assert!(metrics.contains(&format!("tollgate_approvals_total{line}")), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn what_is_pushed_after_the_approval_is_not_merged() {
    let tollgate = setup().start().await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "x")).unwrap();
    let late = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(late.verdict(), "409", "the stand-in compares the commit: {}", late.text());
    assert!(tollgate.sim.books().merges.is_empty());
    // A body that names the new commit is no way around it, and does not use up the approval.
    let head = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    let fresh = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "y")).unwrap();
    let newer = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    let other = send(&tollgate, "PUT", MERGE, &json!({"sha": newer}), Some(&fresh)).await;
    assert_eq!(other.verdict(), "403 approval_invalid", "{}", other.text());
    let query = send(&tollgate, "PUT", &format!("{MERGE}?sha={newer}"), &json!({}), Some(&fresh)).await;
    assert_eq!(query.verdict(), "403 approval_invalid", "{}", query.text());
    assert_ne!(head, newer);
    assert!(tollgate.sim.books().merges.is_empty());
}

#[tokio::test]
async fn every_merge_route_takes_its_approval() {
    let tollgate = setup().start().await;
    let path = "/api/v3/repositories/2001/pulls/77/merge-async";
    let approval = approve(&refused(&tollgate, "PUT", path, &json!({})).await);
    let merged =
        send(&tollgate, "PUT", "/repos/ACME/widgets/pulls/77/merge-async", &json!({}), Some(&approval)).await;
    assert_eq!(merged.verdict(), "202", "{}", merged.text());
    let body = json!({"base": "main", "head": "feature/x"});
    let refusal = refused(&tollgate, "POST", "/repos/acme/widgets/merges", &body).await;
    let approval = approve(&refusal);
    let elsewhere = json!({"base": "main", "head": "100%done"});
    let other = send(&tollgate, "POST", "/repos/acme/widgets/merges", &elsewhere, Some(&approval)).await;
    assert_eq!(other.verdict(), "403 approval_invalid");
    let merged = send(&tollgate, "POST", "/repos/acme/widgets/merges", &body, Some(&approval)).await;
    assert_eq!(merged.verdict(), "201", "{}", merged.text());
    assert_eq!(tollgate.sim.books().merges.len(), 2);
}

#[tokio::test]
async fn an_approval_for_one_ref_write_opens_no_other() {
    let tollgate = setup().start().await;
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "feature/x")).unwrap();
    let body = json!({"sha": tip, "force": true});
    let refusal = refused(&tollgate, "PATCH", "/repos/acme/widgets/git/refs/heads/main", &body).await;
    let shown = refusal.json()["tollgate"]["request"].clone();
    assert_eq!(shown["method"], "PATCH");
    assert_eq!(shown["path"], "/repos/acme/widgets/git/refs/heads/main");
    assert_eq!(shown["body"], body.to_string());
    let approval = approve(&refusal);
    for (method, path, body) in [
        ("PATCH", "/repos/acme/widgets/git/refs/heads/main", json!({"sha": tip, "force": false})),
        ("PATCH", "/repos/acme/gadgets/git/refs/heads/main", body.clone()),
        ("DELETE", "/repos/acme/widgets/git/refs/heads/main", body.clone()),
        ("POST", "/repos/acme/widgets/git/refs", json!({"ref": "refs/tags/v9", "sha": tip})),
        ("PUT", MERGE, json!({})),
    ] {
        let answer = send(&tollgate, method, path, &body, Some(&approval)).await;
        assert_eq!(answer.verdict(), "403 approval_invalid", "{method} {path}: {}", answer.text());
    }
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    // Naming the repository by its id makes it the same request.
    let moved =
        send(&tollgate, "PATCH", "/api/v3/repositories/2001/git/refs/heads/main", &body, Some(&approval))
            .await;
    assert_eq!(moved.verdict(), "200", "{}", moved.text());
    assert_eq!(tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap(), tip);
}

#[tokio::test]
async fn a_stack_is_merged_as_it_was_approved_or_not_at_all() {
    let tollgate = setup().start().await;
    assert!(tollgate.sim.edit(|world| world.stack("acme/widgets", &[76, 77])));
    let path = "/repos/acme/widgets/pulls/77/merge-async";
    let refusal = refused(&tollgate, "PUT", path, &json!({})).await;
    let claims = refusal.json()["tollgate"]["approval"].clone();
    assert_eq!(claims["stack"].as_array().map(Vec::len), Some(2), "{claims}");
    assert_eq!(claims["stack"][1]["head_sha"], claims["head_sha"]);
    let mut alone = claims.clone();
    alone.as_object_mut().unwrap().remove("stack");
    let answer = send(&tollgate, "PUT", path, &json!({}), Some(&sign(&filled(&alone)))).await;
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert!(answer.json()["message"].as_str().unwrap().contains("stack"), "{}", answer.text());
    let early = approve(&refusal);
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "more.txt", "x")).unwrap();
    let late = send(&tollgate, "PUT", path, &json!({}), Some(&early)).await;
    assert_eq!(late.verdict(), "403 approval_invalid", "what lies below was pushed to: {}", late.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    let now = approve(&refused(&tollgate, "PUT", path, &json!({})).await);
    assert_eq!(send(&tollgate, "PUT", path, &json!({}), Some(&now)).await.verdict(), "202");
    assert_eq!(tollgate.sim.books().merges.len(), 2);
}

/// Whoever approves a commit is not asked whether its merge may bypass rules.
#[tokio::test]
async fn an_approval_of_a_merge_covers_the_commit_and_no_more() {
    for approval_mode in ["signed", "presence"] {
        let tollgate = Setup { approval_mode, ..setup() }.start().await;
        let path = format!("{MERGE}-async");
        let more = json!({ "bypass_rules": true, "commit_message": "as reviewed" });
        let refusal = refused(&tollgate, "PUT", &path, &more).await;
        let approval = if approval_mode == "signed" { approve(&refusal) } else { "yes".to_owned() };
        let send = async |path: &str, body: &Value| send(&tollgate, "PUT", path, body, Some(&approval)).await;
        let answer = send(&path, &more).await;
        assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
        assert!(answer.text().contains("`bypass_rules`"), "{}", answer.text());
        assert!(!answer.text().contains("another one"), "{}", answer.text());
        let asked = format!("{path}?bypass_rules=true");
        assert_eq!(send(&asked, &json!({})).await.verdict(), "403 approval_invalid");
        assert_eq!(writes(&tollgate), Vec::<String>::new());
        let covered = json!({ "bypass_rules": false, "merge_action": "direct_merge", "commit_message": "x" });
        assert_eq!(send(&path, &covered).await.verdict(), "202", "the approval was not used up");
    }
}

#[tokio::test]
async fn an_approval_that_was_sent_is_used_whatever_came_of_it() {
    let tollgate = setup().start().await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 401,
            body: None,
            headers: Default::default(),
            takes_effect: false,
        })
        .on("PUT", "/merge"),
    );
    let failed = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY, "{}", failed.text());
    assert_eq!(writes(&tollgate).len(), 1, "what was approved goes up once");
    tollgate.sim.faults().clear();
    assert_eq!(
        send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await.verdict(),
        "403 approval_invalid"
    );
    assert!(tollgate.sim.books().merges.is_empty());
}

/// It was told that it would be served in so many seconds.
#[tokio::test]
async fn who_is_refused_for_a_limit_is_told_that_the_approval_is_used_up() {
    let tollgate = setup().start().await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    let limit = FaultKind::Limit { form: LimitForm::Secondary403, retry_after: Some(5) };
    tollgate.sim.faults().add(Fault::new(limit).on("PUT", "/merge"));
    let failed = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(failed.verdict(), "403 upstream_limited");
    let message = failed.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("its approval is used up; with another you will be served in"), "{message}");
}

#[tokio::test]
async fn a_merge_whose_stack_is_not_known_is_not_sent() {
    let tollgate = setup().start().await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 500,
            body: None,
            headers: Default::default(),
            takes_effect: false,
        })
        .on("GET", "/pulls/76"),
    );
    let answer = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(answer.verdict(), "502 upstream_unreachable");
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    tollgate.sim.faults().clear();
    assert_eq!(send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await.verdict(), "200");
}

#[tokio::test]
async fn a_new_process_takes_no_approval_of_the_last_one() {
    let mut tollgate = setup().start().await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    tollgate.base = another(&tollgate).await;
    let answer = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    let fresh = approve(&answer);
    assert_eq!(send(&tollgate, "PUT", MERGE, &json!({}), Some(&fresh)).await.verdict(), "200");
}

async fn on_redis(redis: &RedisServer) -> Tollgate {
    let further = format!("budget: {{ store: redis, redis: {{ url: \"{}\" }} }}\n", redis.url());
    Setup { further, ..setup() }.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_uses_at_three_replicas_one_arrives() {
    let redis = RedisServer::start(&[]).await;
    let mut tollgate = on_redis(&redis).await;
    let bases = [tollgate.base.clone(), another(&tollgate).await, another(&tollgate).await];
    for round in 0..3 {
        let number = tollgate.sim.edit(|world| {
            world.push_commit("acme/gadgets", "main", "x.txt", &round.to_string());
            world.open_pull("acme/widgets", "100%done", "main", "t")
        });
        let path = match (round, number) {
            (0, _) => MERGE.to_owned(),
            (1, _) => "/repos/acme/widgets/pulls/77/merge".to_owned(),
            (_, number) => format!("/repos/acme/widgets/pulls/{}/merge", number.unwrap_or(78)),
        };
        tollgate.base.clone_from(&bases[0]);
        let approval = approve(&refused(&tollgate, "PUT", &path, &json!({})).await);
        let before = tollgate.sim.books().merges.len();
        let mut asks = Vec::new();
        for use_ in 0..16 {
            let uri = format!("{}{path}", bases[use_ % 3]);
            asks.push(
                tollgate.ask_at("PUT", &uri).json(&json!({})).header("x-merge-approval", &approval).send(),
            );
        }
        let answers = futures_util::future::join_all(asks).await;
        let served = answers.iter().filter(|answer| answer.verdict() == "200").count();
        let verdicts: Vec<String> = answers.iter().map(Answer::verdict).collect();
        assert_eq!(served, 1, "{verdicts:?} {}", answers[0].text());
        assert_eq!(writes(&tollgate).iter().filter(|line| line.contains(&path)).count(), 1);
        assert_eq!(tollgate.sim.books().merges.len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_reads_go_on_and_nothing_gated_does() {
    let mut redis = RedisServer::start(&[]).await;
    let tollgate = on_redis(&redis).await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    redis.kill9();
    let answer = until(&tollgate, Some(&approval), "503 store_unavailable").await;
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    // It comes back empty: earlier approvals may have been used.
    redis.restart_empty().await;
    until(&tollgate, Some(&approval), "403 approval_invalid").await;
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    let mut merged = false;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let fresh = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
        merged = send(&tollgate, "PUT", MERGE, &json!({}), Some(&fresh)).await.verdict() == "200";
        if merged {
            break;
        }
    }
    assert!(merged, "a new approval is taken again");
}

/// Asks until the verdict is as expected.
async fn until(tollgate: &Tollgate, approval: Option<&str>, verdict: &str) -> Answer {
    let mut last = String::new();
    for _ in 0..100 {
        let answer = send(tollgate, "PUT", MERGE, &json!({}), approval).await;
        last = answer.verdict();
        if last == verdict {
            return answer;
        }
        assert_ne!(last, "200", "it must not be merged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{verdict} did not come, the last was {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_takes_no_old_approval_again() {
    let redis = RedisServer::start(&[]).await;
    let mut tollgate = on_redis(&redis).await;
    let other = another(&tollgate).await;
    let approval = approve(&refused(&tollgate, "PUT", MERGE, &json!({})).await);
    assert_eq!(send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await.verdict(), "200");
    redis.ask(&["FLUSHALL"]);
    // Both at the replica that used it and at one that has not heard of it.
    for base in [tollgate.base.clone(), other] {
        tollgate.base = base;
        let answer = until(&tollgate, Some(&approval), "403 approval_invalid").await;
        assert!(answer.text().contains("used"), "{}", answer.text());
    }
    assert_eq!(writes(&tollgate).len(), 1);
}

#[tokio::test]
async fn what_a_branch_held_when_it_was_approved_is_what_is_merged() {
    let tollgate = setup().start().await;
    let reviewed = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "feature/x")).unwrap();
    let body = json!({"base": "main", "head": "feature/x"});
    let refusal = refused(&tollgate, "POST", "/repos/acme/widgets/merges", &body).await;
    assert_eq!(refusal.json()["tollgate"]["approval"]["head_sha"], json!(reviewed));
    let review = json!({"event": "APPROVE"});
    let review_refusal = refused(&tollgate, "POST", "/repos/acme/widgets/pulls/76/reviews", &review).await;
    assert_eq!(review_refusal.json()["tollgate"]["approval"]["head_sha"], json!(reviewed));
    // A plain write, which every agent may do.
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "x")).unwrap();
    let approval = approve(&review_refusal);
    let approved =
        send(&tollgate, "POST", "/repos/acme/widgets/pulls/76/reviews", &review, Some(&approval)).await;
    assert_eq!((approved.verdict().as_str(), &approved.json()["commit_id"]), ("200", &json!(reviewed)));
    let merged = send(&tollgate, "POST", "/repos/acme/widgets/merges", &body, Some(&approve(&refusal))).await;
    assert_eq!(merged.verdict(), "201", "{}", merged.text());
    assert_eq!(tollgate.get("/repos/acme/widgets/contents/evil.txt?ref=main").await.verdict(), "404");
}

#[tokio::test]
async fn what_is_landed_or_approved_is_named_in_one_way() {
    let tollgate = setup().start().await;
    let reviews = "/repos/acme/widgets/pulls/76/reviews";
    let merges = "/repos/acme/widgets/merges";
    for (path, body) in [
        (merges, json!({"base": "main"})),
        (merges, json!({"base": "main", "head": ["feature/x"]})),
        (merges, json!({"base": "main", "head": ""})),
        (merges, json!({"base": "main", "head": ".."})),
        (merges, json!({"base": "main", "head": "a//b"})),
        (reviews, json!({"event": "APPROVE", "commit_id": ""})),
        (reviews, json!({"event": "APPROVE", "commit_id": false})),
        (reviews, json!({"event": "APPROVE", "commit_id": "main"})),
    ] {
        let answer = send(&tollgate, "POST", path, &body, None).await;
        assert_eq!(answer.verdict(), "400 bad_request", "{path} {body}: {}", answer.text());
    }
    assert_eq!(writes(&tollgate), Vec::<String>::new());
}

#[tokio::test]
async fn a_pending_review_approves_the_commit_that_was_approved() {
    let tollgate = setup().start().await;
    let reviews = "/repos/acme/widgets/pulls/76/reviews";
    let pending = send(&tollgate, "POST", reviews, &json!({"body": "fine"}), None).await;
    let submit = format!("{reviews}/{}/events", pending.json()["id"]);
    let body = json!({"event": "APPROVE"});
    let refusal = refused(&tollgate, "POST", &submit, &body).await;
    let head = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "feature/x")).unwrap();
    assert_eq!(refusal.json()["tollgate"]["approval"]["head_sha"], json!(head));
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "x")).unwrap();
    let moved = send(&tollgate, "POST", &submit, &body, Some(&approve(&refusal))).await;
    assert_eq!(moved.verdict(), "403 approval_invalid", "{}", moved.text());
    let again = refused(&tollgate, "POST", &submit, &body).await;
    let approved = send(&tollgate, "POST", &submit, &body, Some(&approve(&again))).await;
    assert_eq!(approved.verdict(), "200", "{}", approved.text());
}

#[tokio::test]
async fn a_pull_request_github_does_not_show_is_not_merged() {
    let tollgate = setup().start().await;
    assert!(tollgate.sim.edit(|world| world.stack("acme/widgets", &[76, 77])));
    let path = "/repos/acme/widgets/pulls/77/merge-async";
    let mut claims = refused(&tollgate, "PUT", path, &json!({})).await.json()["tollgate"]["approval"].clone();
    claims.as_object_mut().unwrap().remove("stack");
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 404,
            body: None,
            headers: Default::default(),
            takes_effect: false,
        })
        .on("GET", "/pulls/77"),
    );
    let answer = send(&tollgate, "PUT", path, &json!({}), Some(&sign(&filled(&claims)))).await;
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
}

/// GitHub does not merge drafts, so the approval would be used up for nothing.
#[tokio::test]
async fn a_draft_is_not_merged_and_its_approval_stays_good() {
    let tollgate = setup().start().await;
    let draft = |is_draft| tollgate.sim.edit(|world| world.set_draft("acme/widgets", 76, is_draft));
    assert!(draft(true));
    let first = refused(&tollgate, "PUT", MERGE, &json!({})).await;
    let approval = approve(&first);
    let early = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(early.verdict(), "403 approval_invalid", "{}", early.text());
    for answer in [&first, &early] {
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("ready for review") && !message.contains("another one"), "{message}");
    }
    assert!(early.text().contains("It was not used"), "{}", early.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    assert!(draft(false));
    assert!(!refused(&tollgate, "PUT", MERGE, &json!({})).await.text().contains("ready for review"));
    let merged = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
}

/// The commit does not tell where it lands.
#[tokio::test]
async fn what_was_approved_for_one_branch_does_not_land_on_another() {
    let tollgate = setup().start().await;
    let retarget = |base| assert!(tollgate.sim.edit(|world| world.retarget("acme/widgets", 76, base)));
    retarget("feature/x");
    let refusal = refused(&tollgate, "PUT", MERGE, &json!({})).await;
    let claims = refusal.json()["tollgate"]["approval"].clone();
    assert_eq!(claims["base"], "feature/x");
    let approval = sign(&filled(&claims));
    retarget("main");
    let elsewhere = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(elsewhere.verdict(), "403 approval_invalid", "{}", elsewhere.text());
    assert!(
        elsewhere.json()["tollgate"]["approval"].get("base").is_none(),
        "nobody deletes the default branch"
    );
    // Meanwhile the call is waiting for GitHub.
    retarget("feature/x");
    tollgate.sim.faults().add(
        Fault::new(FaultKind::SlowFirstByte { ms: 1_200 }).on("GET", "/repos/acme/widgets/pulls/76").times(1),
    );
    let body = json!({});
    let merge = send(&tollgate, "PUT", MERGE, &body, Some(&approval));
    let (answer, ()) = tokio::join!(merge, async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        retarget("main");
    });
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert!(answer.json()["message"].as_str().unwrap().contains("another branch"), "{}", answer.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
    // An approver who leaves the base out says that any will do.
    let mut any = claims;
    any.as_object_mut().unwrap().remove("base");
    let merged = send(&tollgate, "PUT", MERGE, &body, Some(&sign(&filled(&any)))).await;
    assert_eq!(merged.verdict(), "200", "{}", merged.text());
}

#[tokio::test]
async fn a_stack_is_looked_at_again_when_the_call_has_waited() {
    let tollgate = setup().start().await;
    assert!(tollgate.sim.edit(|world| world.stack("acme/widgets", &[76, 77])));
    let path = "/repos/acme/widgets/pulls/77/merge-async";
    let approval = approve(&refused(&tollgate, "PUT", path, &json!({})).await);
    // The read that tries the new token is slow, and meanwhile somebody pushes.
    tollgate.sim.faults().add(
        Fault::new(FaultKind::SlowFirstByte { ms: 700 }).on("GET", "/repos/acme/widgets").after(2).times(1),
    );
    let body = json!({});
    let merge = send(&tollgate, "PUT", path, &body, Some(&approval));
    let push = async {
        tokio::time::sleep(Duration::from_millis(350)).await;
        tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "x")).unwrap();
    };
    let (answer, ()) = tokio::join!(merge, push);
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
}

/// It was looked at again only if it had been in a stack before.
#[tokio::test]
async fn what_becomes_a_stack_while_the_call_waits_is_not_landed() {
    let tollgate = setup().start().await;
    let path = "/repos/acme/widgets/pulls/77/merge-async";
    let mut claims = refused(&tollgate, "PUT", path, &json!({})).await.json()["tollgate"]["approval"].clone();
    claims.as_object_mut().unwrap().remove("base");
    let approval = sign(&filled(&claims));
    // The read that tries the new token is slow.
    tollgate.sim.faults().add(
        Fault::new(FaultKind::SlowFirstByte { ms: 1_300 }).on("GET", "/repos/acme/widgets").after(1).times(1),
    );
    let body = json!({});
    let merge = send(&tollgate, "PUT", path, &body, Some(&approval));
    let stack = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(tollgate.sim.edit(|world| world.stack("acme/widgets", &[76, 77])));
    };
    let (answer, ()) = tokio::join!(merge, stack);
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert!(answer.json()["message"].as_str().unwrap().contains("stack"), "{}", answer.text());
    assert_eq!(writes(&tollgate), Vec::<String>::new());
}

#[tokio::test]
async fn an_approval_of_tomorrow_is_used_tomorrow() {
    let mut tollgate = setup().start().await;
    let refusal = refused(&tollgate, "PUT", MERGE, &json!({})).await;
    let mut claims = filled(&refusal.json()["tollgate"]["approval"]);
    let issued = claims["iat"].as_i64().unwrap() + 3;
    claims["iat"] = json!(issued);
    let approval = sign(&claims);
    let answer = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
    assert!(
        SystemClock.now_seconds() >= issued,
        "used before it was issued, it could be used again by a memory that begins now"
    );
    tollgate.base = another(&tollgate).await;
    let again = send(&tollgate, "PUT", MERGE, &json!({}), Some(&approval)).await;
    assert_eq!(again.verdict(), "403 approval_invalid", "{}", again.text());
}
