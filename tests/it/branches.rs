//! A write is judged by the branch it changes, wherever the request names it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use github_sim::{Fault, FaultKind};
use serde_json::{Value, json};
use tollgate::clock::{Clock, ManualClock, SystemClock};

use crate::support::{Answer, Setup, Tollgate, agent, eventually};

const CONTENT: &str = "eA==";

fn setup() -> Setup {
    Setup::with(vec![agent("worker", &["repositories: [acme/*]"])])
}

async fn send(tollgate: &Tollgate, method: &str, path: &str, body: &Value) -> Answer {
    let ask = tollgate.ask(method, path);
    if body.is_null() { ask.send().await } else { ask.json(body).send().await }
}

async fn tip(tollgate: &Tollgate, branch: &str) -> String {
    tollgate.sim.edit(|world| world.branch_tip("acme/widgets", branch)).unwrap()
}

fn look_ups(tollgate: &Tollgate) -> Vec<String> {
    let lines = tollgate.arrived_lines().into_iter();
    lines.filter(|line| line.starts_with("GET ")).collect()
}

#[tokio::test]
async fn an_agent_s_own_branches_are_open_and_guarded_ones_wait() {
    let tollgate = setup().start().await;
    let sha = tip(&tollgate, "main").await;
    let file = |branch: Value| json!({"message": "m", "content": CONTENT, "branch": branch});
    for (method, path, body, verdict) in [
        ("POST", "/repos/acme/widgets/git/refs", json!({"ref": "refs/heads/work", "sha": sha}), "201"),
        ("PUT", "/repos/acme/widgets/contents/a.txt", file(json!("work")), "201"),
        ("PUT", "/api/v3/repositories/2001/contents/b.txt", file(json!("refs/heads/work")), "201"),
        ("PATCH", "/repos/acme/widgets/git/refs/heads/work", json!({"sha": sha, "force": true}), "200"),
        ("PATCH", "/repos/acme/widgets/git/refs/heads%2Fwork", json!({"sha": sha, "force": true}), "200"),
        ("DELETE", "/repos/acme/widgets/git/refs/heads/work", Value::Null, "204"),
        ("PUT", "/repos/acme/widgets/pulls/76/update-branch", json!({}), "202"),
        ("PUT", "/repos/acme/widgets/contents/a.txt", file(json!("main")), "403 approval_required"),
        ("PUT", "/repos/acme/widgets/contents/a.txt", file(json!("MAIN")), "403 approval_required"),
        (
            "PUT",
            "/repos/acme/widgets/contents/a.txt",
            file(json!("refs/heads/main")),
            "403 approval_required",
        ),
        ("PUT", "/repos/acme/widgets/contents/a.txt", file(Value::Null), "403 approval_required"),
        ("PUT", "/repos/acme/widgets/contents/a.txt", json!({"content": CONTENT}), "403 approval_required"),
        (
            "DELETE",
            "/repos/acme/widgets/contents/README.md?branch=main",
            Value::Null,
            "403 approval_required",
        ),
        ("DELETE", "/repos/acme/widgets/contents/README.md?message=x", Value::Null, "403 approval_required"),
        (
            "DELETE",
            "/repos/acme/widgets/contents/README.md?branch=a&branch=main",
            Value::Null,
            "400 bad_request",
        ),
        (
            "POST",
            "/repos/acme/widgets/git/refs",
            json!({"ref": "refs/tags/v9", "sha": sha}),
            "403 approval_required",
        ),
        (
            "POST",
            "/repos/acme/widgets/git/refs",
            json!({"ref": "heads/x", "sha": sha}),
            "403 approval_required",
        ),
        ("PATCH", "/repos/acme/widgets/git/refs/heads/main", json!({"sha": sha}), "403 approval_required"),
        ("DELETE", "/repos/acme/widgets/git/refs/tags/v1.0.0", Value::Null, "403 approval_required"),
        // A pull request is open from it.
        ("DELETE", "/repos/acme/widgets/git/refs/heads/feature/x", Value::Null, "403 approval_required"),
    ] {
        let answer = send(&tollgate, method, path, &body).await;
        assert_eq!(answer.verdict(), verdict, "{method} {path} {body}: {}", answer.text());
    }
    assert_eq!(tip(&tollgate, "main").await, sha);
    tollgate.assert_clean();
}

#[tokio::test]
async fn protection_by_a_branch_rule_or_a_ruleset_counts_and_rules_of_form_do_not() {
    let tollgate = setup().start().await;
    tollgate.sim.edit(|world| {
        assert!(world.set_protected("acme/widgets", "release", true));
        assert!(world.add_rule("acme/widgets", "100%done", "pull_request"));
        assert!(world.add_rule("acme/widgets", "not-there-yet", "creation"));
        assert!(world.add_rule("acme/widgets", "feature/x", "commit_message_pattern"));
        assert!(world.add_rule("acme/widgets", "feature/x", "copilot_code_review"));
    });
    let sha = tip(&tollgate, "main").await;
    let file = |branch: &str| json!({"message": "m", "content": CONTENT, "branch": branch});
    for (branch, verdict) in
        [("release", "403 approval_required"), ("100%done", "403 approval_required"), ("feature/x", "201")]
    {
        let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/n.txt", &file(branch)).await;
        assert_eq!(answer.verdict(), verdict, "{branch}: {}", answer.text());
    }
    // The head of pull request 77 is `release`.
    let update = send(&tollgate, "PUT", "/repos/acme/widgets/pulls/77/update-branch", &json!({})).await;
    assert_eq!(update.verdict(), "403 approval_required");
    for (name, verdict) in [("not-there-yet", "403 approval_required"), ("new", "201")] {
        let body = json!({"ref": format!("refs/heads/{name}"), "sha": sha});
        let answer = send(&tollgate, "POST", "/repos/acme/widgets/git/refs", &body).await;
        assert_eq!(answer.verdict(), verdict, "{name}");
    }
}

#[tokio::test]
async fn what_can_t_be_known_counts_as_protected() {
    for path in ["/repos/acme/widgets/branches/", "/rules/branches/", "/repos/acme/widgets$"] {
        let tollgate = setup().start().await;
        let mut fault = Fault::new(FaultKind::Status {
            status: 403,
            body: Some(json!({"message": "Resource not accessible by integration"})),
            headers: Default::default(),
            takes_effect: false,
        });
        fault = fault.on("GET", path.trim_end_matches('$'));
        tollgate.sim.faults().add(fault);
        let body = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/n.txt", &body).await;
        assert_eq!(answer.verdict(), "403 approval_required", "{path}: {}", answer.text());
        tollgate.sim.faults().clear();
        let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/n.txt", &body).await;
        assert_eq!(answer.verdict(), "201", "{path}: what failed is not remembered");
    }
}

#[tokio::test]
async fn answers_are_believed_for_five_minutes_and_then_asked_for_again() {
    let clock = Arc::new(ManualClock::at_seconds(SystemClock.now_seconds()));
    let tollgate = Setup { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..setup() }.start().await;
    let put = |name: &str, branch: &str| {
        let path = format!("/repos/acme/widgets/contents/{name}");
        let body = json!({"message": "m", "content": CONTENT, "branch": branch});
        let tollgate = &tollgate;
        async move { send(tollgate, "PUT", &path, &body).await.verdict() }
    };
    assert_eq!(put("a", "feature/x").await, "201");
    let asked = look_ups(&tollgate).len();
    assert_eq!(asked, 4, "{:?}", look_ups(&tollgate));
    clock.advance(Duration::from_secs(290));
    assert_eq!(put("b", "feature/x").await, "201");
    // Whether auto-merge is on is looked up each time.
    assert_eq!(look_ups(&tollgate).len(), asked + 1);
    tollgate.sim.edit(|world| world.set_default_branch("acme/widgets", "feature/x"));
    assert_eq!(put("c", "feature/x").await, "201", "five minutes are not over");
    clock.advance(Duration::from_secs(11));
    assert_eq!(put("d", "feature/x").await, "403 approval_required");
    // What is asked for again carries its validator. GitHub answers 304 for what did not change, which costs nothing
    // of the primary limit; of the release branch's answers that is the rules, the others tell of the write.
    clock.advance(Duration::from_secs(301));
    assert_eq!(put("e", "release").await, "201");
    clock.advance(Duration::from_secs(301));
    let before = tollgate.arrived().len();
    assert_eq!(put("f", "release").await, "201");
    let mut again = tollgate.arrived().split_off(before);
    again.retain(|request| request.method == "GET");
    assert_eq!(again.len(), 4, "{again:?}");
    assert!(again.iter().all(|request| request.headers.contains_key("if-none-match")), "{again:?}");
    let rules = again.iter().find(|request| request.target.contains("/rules/")).unwrap();
    assert_eq!(rules.status, Some(304), "{again:?}");
    assert!(rules.charge.is_none(), "{again:?}");
}

#[tokio::test]
async fn nothing_older_is_believed_when_github_does_not_answer() {
    let clock = Arc::new(ManualClock::at_seconds(SystemClock.now_seconds()));
    let tollgate = Setup { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..setup() }.start().await;
    let body = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
    assert_eq!(send(&tollgate, "PUT", "/repos/acme/widgets/contents/a", &body).await.verdict(), "201");
    clock.advance(Duration::from_secs(301));
    tollgate.sim.faults().add(
        Fault::new(FaultKind::Status {
            status: 500,
            body: None,
            headers: Default::default(),
            takes_effect: false,
        })
        .on("GET", "/branches/feature"),
    );
    let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/b", &body).await;
    assert_eq!(answer.verdict(), "403 approval_required", "{}", answer.text());
}

#[tokio::test]
async fn repositories_that_moved_are_judged_where_they_are() {
    let tollgate = setup().start().await;
    let body = |branch: &str| json!({"message": "m", "content": CONTENT, "branch": branch});
    for (path, branch, verdict) in [
        ("/repos/acme/old-name/contents/a.txt", "main", "403 approval_required"),
        ("/repositories/2004/contents/a.txt", "main", "403 approval_required"),
    ] {
        let answer = send(&tollgate, "PUT", path, &body(branch)).await;
        assert_eq!(answer.verdict(), verdict, "{path} {branch}: {}", answer.text());
    }
    // GitHub redirects it, and the client's next request is judged again.
    let sha = tollgate.sim.edit(|world| world.branch_tip("acme/new-name", "main")).unwrap();
    let made = json!({"ref": "refs/heads/work", "sha": sha});
    assert_eq!(send(&tollgate, "POST", "/repos/acme/old-name/git/refs", &made).await.verdict(), "307");
    tollgate.sim.edit(|world| world.transfer("acme/new-name", "other"));
    let gone = send(&tollgate, "PUT", "/repos/acme/new-name/contents/a.txt", &body("work")).await;
    assert_ne!(gone.verdict(), "201", "{}", gone.text());
    assert!(tollgate.sim.books().merges.is_empty());
}

#[tokio::test]
async fn a_large_file_is_judged_and_goes_up_whole() {
    let tollgate = setup().start().await;
    let content = base64::engine::general_purpose::STANDARD.encode(vec![b'x'; 6 * 1024 * 1024]);
    for (branch, verdict) in [("feature/x", "201"), ("main", "403 approval_required")] {
        // The branch comes after the content.
        let body = format!("{{\"message\":\"m\",\"content\":\"{content}\",\"branch\":\"{branch}\"}}");
        let answer = tollgate
            .ask("PUT", "/repos/acme/widgets/contents/big.bin")
            .header("content-type", "application/json")
            .body(body.clone())
            .send()
            .await;
        assert_eq!(answer.verdict(), verdict, "{branch}");
        if verdict == "201" {
            let arrived = tollgate.arrived().pop().unwrap();
            assert_eq!(arrived.body_bytes, body.len() as u64);
        }
    }
    let doubled = format!("{{\"branch\":\"feature/x\",\"content\":\"{content}\",\"branch\":\"main\"}}");
    let answer = tollgate.ask("PUT", "/repos/acme/widgets/contents/big.bin").body(doubled).send().await;
    assert_eq!(answer.verdict(), "400 bad_request");
}

#[tokio::test]
async fn nobody_is_asked_where_either_way_is_open() {
    let tollgate =
        Setup::with(vec![agent("worker", &["repositories: [acme/*]", "require_approval: [merge]"])])
            .start()
            .await;
    let body = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
    assert_eq!(send(&tollgate, "PUT", "/repos/acme/widgets/contents/a", &body).await.verdict(), "201");
    assert_eq!(look_ups(&tollgate), Vec::<String>::new());
    // An agent that may not write at all is refused without any look-up.
    let reader =
        Setup::with(vec![agent("reader", &["repositories: [acme/*]", "allow: [read]"])]).start().await;
    let answer = send(&reader, "PUT", "/repos/acme/widgets/contents/a", &body).await;
    assert_eq!(answer.verdict(), "403 operation_forbidden");
    assert!(reader.arrived().is_empty());
}

#[tokio::test]
async fn while_auto_merge_is_on_nothing_is_written_to_the_head() {
    for approval_mode in ["presence", "presence, allow_auto_merge: true"] {
        auto_merge_guards_the_head(Setup { approval_mode, ..setup() }.start().await).await;
    }
}

async fn auto_merge_guards_the_head(tollgate: Tollgate) {
    let body = |branch: &str| json!({"message": "m", "content": CONTENT, "branch": branch});
    assert_eq!(
        send(&tollgate, "PUT", "/repos/acme/widgets/contents/a", &body("feature/x")).await.verdict(),
        "201"
    );
    assert!(tollgate.sim.edit(|world| world.set_auto_merge("acme/widgets", 76, true)));
    let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/b", &body("feature/x")).await;
    assert_eq!(answer.verdict(), "403 operation_forbidden", "{}", answer.text());
    assert!(answer.text().contains("Auto-merge"));
    assert_eq!(
        send(&tollgate, "PUT", "/repos/acme/widgets/contents/b", &body("release")).await.verdict(),
        "201"
    );
    assert!(tollgate.sim.books().merges.is_empty());
}

/// Auto-merge merges what is pushed to a fork into the fork's parent.
#[tokio::test]
async fn a_fork_s_branch_is_guarded_by_the_pull_requests_of_its_parent() {
    for (parent, is_on, verdict) in [
        ("acme/widgets", false, "201"),
        // Pull request 76 of the parent comes from `acme:feature/x`.
        ("acme/widgets", true, "403 operation_forbidden"),
        // It is a fork of a repository that is not visible.
        ("elsewhere/secret", false, "403 approval_required"),
    ] {
        let tollgate = setup().start().await;
        tollgate.sim.edit(|world| {
            assert!(world.set_parent("acme/gadgets", parent));
            assert!(world.set_auto_merge("acme/widgets", 76, is_on));
            assert!(world.add_branch("acme/gadgets", "feature/x"));
        });
        let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        let answer = send(&tollgate, "PUT", "/repos/acme/gadgets/contents/n.txt", &file).await;
        assert_eq!(answer.verdict(), verdict, "{parent} {is_on}: {}", answer.text());
    }
}

/// An agent's writes to one repository are a second apart, after ten that may go ahead.
#[tokio::test]
async fn a_write_that_waited_is_judged_by_its_branch_again() {
    let tollgate = setup().start().await;
    let put = async |name: String| {
        let path = format!("/repos/acme/widgets/contents/{name}");
        let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        send(&tollgate, "PUT", &path, &file).await.verdict()
    };
    for name in 0..11 {
        assert_eq!(put(name.to_string()).await, "201");
    }
    let late = futures_util::future::join_all(["a", "b", "c", "d"].map(|name| put(name.to_owned())));
    let (late, ()) = tokio::join!(late, async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(tollgate.sim.edit(|world| world.set_auto_merge("acme/widgets", 76, true)));
    });
    let refused = late.iter().filter(|verdict| *verdict == "403 operation_forbidden").count();
    assert!((1..=3).contains(&refused), "{late:?}");
    assert!(tollgate.sim.books().merges.is_empty(), "it landed unseen");
}

/// To be judged again it gives back its slot, which may be the only one.
#[tokio::test]
async fn a_write_that_is_judged_again_does_not_wait_for_itself() {
    let further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = Setup { further, ..setup() }.start().await;
    let put = async |name: usize| {
        let path = format!("/repos/acme/widgets/contents/{name}");
        let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        send(&tollgate, "PUT", &path, &file).await.verdict()
    };
    for name in 0..11 {
        assert_eq!(put(name).await, "201");
    }
    let late = futures_util::future::join_all([11, 12].map(put)).await;
    assert_eq!(late, ["201", "201"]);
}

/// It was looked at between two waits, and not after the second one.
#[tokio::test]
async fn a_write_that_waits_twice_is_judged_again_twice() {
    let further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = Setup { further, ..setup() }.start().await;
    let put = async |name: &str| {
        let path = format!("/repos/acme/widgets/contents/{name}");
        let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        tollgate.ask("PUT", &path).header("prefer", "wait=30").json(&file).send().await.verdict()
    };
    let asked_for_pulls =
        || look_ups(&tollgate).iter().filter(|line| line.contains("head=acme:feature%2Fx")).count();
    for name in 0..11 {
        assert_eq!(put(&name.to_string()).await, "201");
    }
    // Either read takes the only slot for so long.
    for (path, ms) in [("/repos/acme/gadgets/labels", 1_300), ("/repos/acme/gadgets/issues", 2_500)] {
        tollgate.sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms }).on("GET", path));
    }
    let judged = asked_for_pulls();
    let (late, ()) = tokio::join!(put("unseen"), async {
        eventually("the first look", || asked_for_pulls() == judged + 1).await;
        let first = tollgate.get("/repos/acme/gadgets/labels").await;
        eventually("the look after the first wait", || asked_for_pulls() == judged + 2).await;
        assert!(tollgate.sim.edit(|world| world.set_auto_merge("acme/widgets", 76, true)));
        let second = tollgate.get("/repos/acme/gadgets/issues").await;
        assert_eq!((first.verdict().as_str(), second.verdict().as_str()), ("200", "200"));
    });
    assert_eq!(late, "403 operation_forbidden");
    assert!(tollgate.sim.books().merges.is_empty(), "it landed unseen");
}

/// Where policy allows auto-merge, who approved the write did not see that it lands elsewhere, too.
#[tokio::test]
async fn an_approved_write_that_waited_is_judged_for_auto_merge_again() {
    let approval_mode = "presence, allow_auto_merge: true";
    let tollgate = Setup { approval_mode, ..setup() }.start().await;
    tollgate.sim.edit(|world| assert!(world.set_protected("acme/widgets", "feature/x", true)));
    let put = async |name: &str| {
        let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
        let ask = tollgate.ask("PUT", &format!("/repos/acme/widgets/contents/{name}"));
        ask.header("x-merge-approval", "yes").json(&file).send().await.verdict()
    };
    // The read that tries the new token is slow.
    let tried = || tollgate.arrived_lines().iter().filter(|line| *line == "GET /repos/acme/widgets").count();
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_500 }).on("GET", "/repos/acme/widgets");
    tollgate.sim.faults().add(slow.after(3).times(1));
    let (answer, ()) = tokio::join!(put("a"), async {
        eventually("the read with the new token", || tried() == 2).await;
        assert!(tollgate.sim.edit(|world| world.set_auto_merge("acme/widgets", 76, true)));
    });
    assert_eq!(answer, "403 operation_forbidden");
    assert!(tollgate.sim.edit(|world| world.set_auto_merge("acme/widgets", 76, false)));
    assert_eq!(put("b").await, "201");
}

/// Anyone who can open pull requests can open a hundred to hide one.
#[tokio::test]
async fn a_full_page_of_pull_requests_is_not_taken_for_all_there_are() {
    let tollgate = setup().start().await;
    tollgate.sim.edit(|world| {
        assert!(world.set_auto_merge("acme/widgets", 76, true));
        for number in 0..100 {
            let decoy = format!("decoy{number}");
            assert!(world.add_branch("acme/widgets", &decoy));
            assert!(world.open_pull("acme/widgets", "feature/x", &decoy, "decoy").is_some());
        }
    });
    let file = json!({"message": "m", "content": CONTENT, "branch": "feature/x"});
    let answer = send(&tollgate, "PUT", "/repos/acme/widgets/contents/n.txt", &file).await;
    assert_eq!(answer.verdict(), "403 approval_required", "{}", answer.text());
    assert!(tollgate.sim.books().merges.is_empty());
}

#[tokio::test]
async fn a_branch_said_to_be_missing_opens_only_what_makes_or_deletes_one() {
    let tollgate = setup().start().await;
    tollgate.sim.edit(|world| assert!(world.set_protected("acme/widgets", "release", true)));
    let missing = || {
        let status = FaultKind::Status {
            status: 404,
            body: Some(json!({"message": "Branch not found"})),
            headers: Default::default(),
            takes_effect: false,
        };
        Fault::new(status).on("GET", "/branches/release").times(1)
    };
    let put = json!({"message": "m", "content": CONTENT, "branch": "release"});
    let sha = tip(&tollgate, "main").await;
    for (method, path, body) in [
        ("PUT", "/repos/acme/widgets/contents/a", put.clone()),
        ("PATCH", "/repos/acme/widgets/git/refs/heads/release", json!({"sha": sha, "force": true})),
    ] {
        tollgate.sim.faults().add(missing());
        let answer = send(&tollgate, method, path, &body).await;
        assert_eq!(answer.verdict(), "403 approval_required", "{method} {path}: {}", answer.text());
        tollgate.sim.faults().clear();
    }
    // Deleting something again is allowed, since GitHub says that it is gone.
    let gone =
        send(&tollgate, "DELETE", "/repos/acme/widgets/git/refs/heads/no-such-branch", &Value::Null).await;
    assert_eq!(gone.verdict(), "422", "{}", gone.text());
}

#[tokio::test]
async fn a_branch_that_was_missing_is_looked_at_again() {
    let tollgate = setup().start().await;
    let sha = tip(&tollgate, "feature/x").await;
    let made = json!({"ref": "refs/heads/wk", "sha": sha});
    assert_eq!(send(&tollgate, "POST", "/repos/acme/widgets/git/refs", &made).await.verdict(), "201");
    tollgate.sim.edit(|world| world.open_pull("acme/widgets", "wk", "release", "t")).unwrap();
    let deleted = send(&tollgate, "DELETE", "/repos/acme/widgets/git/refs/heads/wk", &Value::Null).await;
    assert_eq!(
        deleted.verdict(),
        "403 approval_required",
        "a pull request is open from it: {}",
        deleted.text()
    );
    let made = json!({"ref": "refs/heads/release-9", "sha": sha});
    assert_eq!(send(&tollgate, "POST", "/repos/acme/widgets/git/refs", &made).await.verdict(), "201");
    tollgate.sim.edit(|world| assert!(world.set_protected("acme/widgets", "release-9", true)));
    let moved = json!({"sha": sha, "force": true});
    let moved = send(&tollgate, "PATCH", "/repos/acme/widgets/git/refs/heads/release-9", &moved).await;
    assert_eq!(moved.verdict(), "403 approval_required", "{}", moved.text());
}
