//! Another configuration for a running tollgate.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use github_sim::{Fault, FaultKind, SimConfig};
use serde_json::{Value, json};

use crate::support::{Setup, Tollgate, UNCACHED, agent, approvals};

mod credentials;

impl Tollgate {
    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.files.path().join("tollgate.yaml")).unwrap()
    }

    /// Rewrites the file without telling tollgate.
    fn edit(&self, from: &str, to: &str) {
        let text = self.config();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        fs::write(self.files.path().join("tollgate.yaml"), text.replace(from, to)).unwrap();
    }

    /// How often a reload had this result.
    async fn reloads(&self, result: &str) -> u64 {
        let line = format!("tollgate_config_reloads_total{{result=\"{result}\"}} ");
        let metrics = self.metrics().await;
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
    }

    async fn until_reloaded(&self, result: &str, count: u64) {
        for _ in 0..1000 {
            if self.reloads(result).await >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no reload {result} {count} within 10 s");
    }

    /// Edits the file and asks for it to be read again.
    pub(crate) async fn reload(&self, from: &str, to: &str, result: &str) {
        let count = self.reloads(result).await;
        self.edit(from, to);
        self.reread.notify_one();
        self.until_reloaded(result, count + 1).await;
    }

    /// The configuration part of `/api/status`, once it satisfies `is_so`.
    async fn status_of_config(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut config = Value::Null;
        for _ in 0..50 {
            let answer = self.ask_at("GET", &format!("{}/api/status", self.admin)).send().await;
            config = answer.json()["config"].clone();
            if is_so(&config) {
                return config;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{config}");
    }
}

/// Two agents; the second is there to be removed. A few searches are enough to use up the limit.
async fn fleet() -> Tollgate {
    let agents = vec![
        agent("stays", &["repositories: [acme/*]"]),
        agent("leaves", &["repositories: [acme/*]", "weight: 7"]),
    ];
    Setup { cache: UNCACHED, sim: SimConfig::default(), ..Setup::with(agents) }.start().await
}

/// The lines of the last agent in the file.
fn last_agent(config: &str) -> String {
    config[config.rfind("  - name:").unwrap()..].to_owned()
}

const WIDGETS: &str = "/repos/acme/widgets";

#[tokio::test]
async fn a_changed_file_is_taken_up_by_itself() {
    let tollgate = fleet().await;
    assert_eq!(tollgate.ask("GET", WIDGETS).by(1).send().await.verdict(), "200");
    let version = tollgate.status_of_config(|config| config["version"].is_string()).await["version"].clone();
    let gone = last_agent(&tollgate.config());
    tollgate.edit(&gone, "");
    tollgate.until_reloaded("ok", 1).await;
    let removed = tollgate.ask("GET", WIDGETS).by(1).send().await;
    assert_eq!(
        (removed.verdict().as_str(), &removed.json()["message"]),
        ("401 unauthenticated", &json!("Bad credentials"))
    );
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    // And back again.
    tollgate.edit("name: stays", "name: stays\n    weight: 3");
    let text = tollgate.config();
    fs::write(tollgate.files.path().join("tollgate.yaml"), text + &gone).unwrap();
    tollgate.until_reloaded("ok", 2).await;
    assert_eq!(tollgate.ask("GET", WIDGETS).by(1).send().await.verdict(), "200");
    assert_eq!(tollgate.get("/tollgate/me").await.json()["weight"], 3);
    let config = tollgate.status_of_config(|config| config["version"] != version).await;
    assert_eq!((&config["problems"], &config["needs_start"]), (&json!([]), &json!([])));
    assert_eq!(tollgate.reloads("failed").await, 0);
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_mounted_volume_that_is_swapped_is_taken_up() {
    let tollgate = fleet().await;
    let at = |name: &str| tollgate.files.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::rename(at("tollgate.yaml"), at("..1/tollgate.yaml")).unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/tollgate.yaml", at("tollgate.yaml")).unwrap();
    fs::create_dir(at("..2")).unwrap();
    fs::write(at("..2/tollgate.yaml"), tollgate.config().replace("weight: 7", "weight: 9")).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    tollgate.until_reloaded("ok", 1).await;
    assert_eq!(tollgate.ask("GET", "/tollgate/me").by(1).send().await.json()["weight"], 9);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so() {
    let tollgate = fleet().await;
    let started = tollgate.status_of_config(|config| config["version"].is_string()).await;
    tollgate.reload("weight: 7", "wieght: 9", "failed").await;
    assert_eq!(tollgate.ask("GET", "/tollgate/me").by(1).send().await.json()["weight"], 7);
    let config = tollgate.status_of_config(|config| config["problems"] != json!([])).await;
    assert_eq!(config["version"], started["version"], "the one in force");
    let problems = config["problems"].to_string();
    assert!(problems.contains("agents[1].wieght, line"), "{problems}");
    let page = tollgate.ask_at("GET", &format!("{}/", tollgate.admin)).send().await.text();
    assert!(page.contains("is not in force: agents[1]"), "{page}");
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_config_problems 1\n"), "{metrics}");
    // Reported once, not at every check.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(tollgate.reloads("failed").await, 1);
    tollgate.reload("wieght: 9", "weight: 8", "ok").await;
    assert_eq!(tollgate.ask("GET", "/tollgate/me").by(1).send().await.json()["weight"], 8);
    tollgate.status_of_config(|config| config["problems"] == json!([])).await;
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_config_problems 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_secret_that_goes_is_a_bad_file_and_one_that_changes_a_new_one() {
    let mut setup = Setup { cache: UNCACHED, personal_token: true, ..Setup::worker() };
    setup.sim.personal_tokens = vec!["ghp_one".to_owned(), "ghp_two".to_owned()];
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    let token = tollgate.files.path().join("pat");
    for (reload, (secret, status)) in [("ghp_unknown", 502), ("ghp_two", 200)].into_iter().enumerate() {
        fs::write(&token, secret).unwrap();
        tollgate.until_reloaded("ok", reload as u64 + 1).await;
        assert_eq!(tollgate.get(WIDGETS).await.status.as_u16(), status);
    }
    fs::remove_file(&token).unwrap();
    tollgate.until_reloaded("failed", 1).await;
    assert_eq!(tollgate.get(WIDGETS).await.status.as_u16(), 200);
}

/// With two tokens, and one call at a time: whoever asks for gadgets has the slot for a while.
async fn with_one_slot(cache: &'static str) -> Tollgate {
    let mut setup = Setup { cache, personal_token: true, ..Setup::worker() };
    setup.sim.personal_tokens = vec!["ghp_one".to_owned(), "ghp_two".to_owned()];
    setup.further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get(WIDGETS).await.verdict(), "200");
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 2_500 });
    tollgate.sim.faults().add(slow.on("GET", "/repos/acme/gadgets").times(1));
    tollgate
}

/// A withdrawn token would be refused, and the call be lost.
#[tokio::test]
async fn what_waits_goes_up_with_the_new_token() {
    let tollgate = with_one_slot(UNCACHED).await;
    let waiting = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        let issue = tollgate.ask("POST", "/repos/acme/widgets/issues").header("prefer", "wait=30");
        issue.json(&json!({"title": "x"})).send().await
    };
    let change = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        fs::write(tollgate.files.path().join("pat"), "ghp_two").unwrap();
        tollgate.until_reloaded("ok", 1).await;
        assert!(!tollgate.arrived_lines().iter().any(|line| line.starts_with("POST")), "it still waits");
    };
    let (first, answer, ()) = tokio::join!(tollgate.get("/repos/acme/gadgets"), waiting, change);
    assert_eq!((first.verdict().as_str(), answer.verdict().as_str()), ("200", "201"), "{}", answer.text());
    let sent = tollgate.sim.requests();
    let token_of = |method: &str| {
        let sent = sent.iter().rfind(|request| request.method == method).unwrap();
        sent.authorization_sha256.clone().unwrap()
    };
    assert_ne!(token_of("POST"), token_of("GET"));
}

/// What the new token read is the new token's, though the call was met by the old one.
#[tokio::test]
async fn what_waited_is_kept_for_the_credential_it_went_up_with() {
    let tollgate = with_one_slot("cache: { fresh_for: 10m }\n").await;
    let path = "/repos/acme/widgets/issues/1";
    let swap = async |secret: &str, count| {
        fs::write(tollgate.files.path().join("pat"), secret).unwrap();
        tollgate.until_reloaded("ok", count).await;
    };
    let waiting = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        tollgate.ask("GET", path).header("prefer", "wait=30").send().await
    };
    let change = async {
        until_arrived(&tollgate, "GET /repos/acme/gadgets").await;
        swap("ghp_two", 1).await;
        assert!(!tollgate.arrived_lines().iter().any(|line| line.ends_with(path)), "it still waits");
    };
    let (_, answer, ()) = tokio::join!(tollgate.get("/repos/acme/gadgets"), waiting, change);
    assert_eq!((answer.verdict().as_str(), answer.header("x-tollgate-cache")), ("200", "miss"));
    assert_eq!(tollgate.get(path).await.header("x-tollgate-cache"), "hit");
    swap("ghp_one", 2).await;
    assert_eq!(tollgate.get(path).await.header("x-tollgate-cache"), "miss");
}

/// What distinguishes the next test's two configurations, as an agent sees them.
fn marks(answer: &Value) -> Value {
    json!([answer["weight"], answer["may"]["repositories"], answer["approval"]["header"], answer["holding"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_lost_and_nothing_half_applied() {
    let setup = Setup {
        cache: UNCACHED,
        further: "budget: { max_wait: 1s }\n".to_owned(),
        ..Setup::with(vec![agent("worker", &["repositories: [acme/widgets]", "weight: 1"])])
    };
    let tollgate = setup.start().await;
    let first = tollgate.config();
    let second = first
        .replace("max_wait: 1s", "max_wait: 2s")
        .replace("[acme/widgets]", "[other/tool]")
        .replace("weight: 1", "weight: 2")
        .replace("mode: presence", "mode: presence, header: x-second");
    let both = [
        json!([1, ["acme/widgets"], "x-merge-approval", {"default_seconds": 1, "most_seconds": 60}]),
        json!([2, ["other/tool"], "x-second", {"default_seconds": 2, "most_seconds": 60}]),
    ];
    let is_over = AtomicBool::new(false);
    let reader = async |path: &str, allowed: &[&str]| {
        let mut seen = std::collections::BTreeSet::new();
        while !is_over.load(Ordering::SeqCst) {
            let answer = tollgate.get(path).await;
            assert!(allowed.contains(&answer.verdict().as_str()), "{path}: {}", answer.text());
            seen.insert(match path {
                "/tollgate/me" => marks(&answer.json()).to_string(),
                _ => answer.verdict(),
            });
            // The stand-in's own limits are not what this tests.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen
    };
    let either = ["200", "403 repository_forbidden"];
    let reload = async {
        for round in 0..20 {
            let text = if round % 2 == 0 { &second } else { &first };
            fs::write(tollgate.files.path().join("tollgate.yaml"), text).unwrap();
            tollgate.reread.notify_one();
            tollgate.until_reloaded("ok", round + 1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let (widgets, tool, me, again, ()) = tokio::join!(
        reader(WIDGETS, &either),
        reader("/repos/other/tool", &either),
        reader("/tollgate/me", &["200"]),
        reader("/tollgate/me", &["200"]),
        reload,
    );
    assert_eq!((widgets.len(), tool.len()), (2, 2), "both were seen");
    let expected: std::collections::BTreeSet<String> = both.iter().map(Value::to_string).collect();
    assert_eq!((&me, &again), (&expected, &expected));
    assert_eq!(tollgate.reloads("failed").await, 0);
    tollgate.assert_clean();
}

#[tokio::test]
async fn an_agent_that_is_taken_out_waits_no_longer() {
    let tollgate = fleet().await;
    let path = "/search/issues?q=repo:acme/widgets";
    let search = |wait| tollgate.ask("GET", path).by(1).header("prefer", wait);
    let mut last = String::new();
    for _ in 0..60 {
        last = search("wait=0").send().await.verdict();
        if last != "200" {
            break;
        }
    }
    assert_eq!(last, "403 budget_exhausted");
    let arrived = tollgate.arrived().len();
    let (answer, ()) = tokio::join!(search("wait=60").send(), async {
        for _ in 0..200 {
            if tollgate.metrics().await.contains("tollgate_waiting{agent=\"leaves\"} 1") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tollgate.reload(&last_agent(&tollgate.config()), "", "ok").await;
    });
    assert_eq!(answer.verdict(), "401 unauthenticated");
    assert_eq!(tollgate.arrived().len(), arrived, "nothing was sent");
    assert!(!tollgate.metrics().await.contains("tollgate_waiting{agent=\"leaves\"} 1"));
    // What it would have spent is available to another agent.
    let other = tollgate.ask("GET", path).header("prefer", "wait=30").send().await;
    assert_eq!(other.verdict(), "200");
    tollgate.assert_clean();
}

#[tokio::test]
async fn what_takes_a_start_is_named_and_the_rest_taken_up() {
    let tollgate = fleet().await;
    tollgate.reload("uploads_url:", "request_timeout: 7s\n  uploads_url:", "ok").await;
    tollgate.reload("weight: 7", "weight: 5", "ok").await;
    let config = tollgate.status_of_config(|config| config["needs_start"] != json!([])).await;
    assert_eq!(config["needs_start"], json!(["upstream"]));
    assert_eq!(tollgate.ask("GET", "/tollgate/me").by(1).send().await.json()["weight"], 5);
    tollgate.reload("request_timeout: 7s\n  ", "", "ok").await;
    tollgate.status_of_config(|config| config["needs_start"] == json!([])).await;
}

#[tokio::test]
async fn approvers_and_the_admin_token_change() {
    let tollgate = fleet().await;
    let disable = async |token: &str| {
        let at = format!("{}/api/agents/leaves/disable", tollgate.admin);
        tollgate
            .ask_at("POST", &at)
            .header("authorization", &format!("Bearer {token}"))
            .send()
            .await
            .status
            .as_u16()
    };
    assert_eq!(disable("one").await, 403);
    for token in ["one", "two"] {
        fs::write(tollgate.files.path().join("admin"), token).unwrap();
        let count = tollgate.reloads("ok").await;
        if token == "one" {
            tollgate.edit("server:\n", "server:\n  admin_token_file: admin\n");
        }
        tollgate.until_reloaded("ok", count + 1).await;
        assert_eq!(disable(token).await, 200);
    }
    assert_eq!(disable("one").await, 401);
    // An agent that an operator switched off stays off under the next configuration.
    tollgate.reload("weight: 7", "weight: 5", "ok").await;
    assert_eq!(tollgate.ask("GET", WIDGETS).by(1).send().await.verdict(), "403 operation_forbidden");
}

#[tokio::test]
async fn limits_and_modes_change() {
    let tollgate = fleet().await;
    let limit = async || tollgate.get(WIDGETS).await.header("x-ratelimit-limit").parse::<i64>().unwrap();
    let before = limit().await;
    tollgate.reload("policy:\n", "budget: { headroom: 50%, over_budget_status: 429 }\npolicy:\n", "ok").await;
    let after = limit().await;
    assert!(after <= before / 2 + 1, "{before} {after}");
    let exhausted = async || {
        let mut last = String::new();
        for _ in 0..60 {
            last = tollgate
                .ask("GET", "/search/issues?q=repo:acme/widgets")
                .header("prefer", "wait=0")
                .send()
                .await
                .verdict();
            if last != "200" {
                break;
            }
        }
        last
    };
    assert_eq!(exhausted().await, "429 budget_exhausted");
    tollgate.reload("over_budget_status: 429", "mode: observe", "ok").await;
    // Let through, and refused by GitHub itself.
    assert_eq!(exhausted().await, "403");
    tollgate.status_of_config(|_| true).await;
    let status = tollgate.ask_at("GET", &format!("{}/api/status", tollgate.admin)).send().await;
    assert_eq!(status.json()["observing"], json!(["budget"]));
}

/// Waits until a request has arrived at the stand-in.
async fn until_arrived(tollgate: &Tollgate, line: &str) {
    for _ in 0..500 {
        if tollgate.arrived_lines().iter().any(|arrived| arrived == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{line} did not arrive: {:?}", tollgate.arrived_lines());
}

/// An approved call is sent only after a read has shown that GitHub knows its token; meanwhile anything can happen.
#[tokio::test]
async fn what_was_approved_does_not_go_up_for_an_agent_that_is_gone() {
    for change in
        ["the agent", "its key", "its repositories", "what it may do", "how approvals prove themselves"]
    {
        let agents = vec![
            agent("stays", &["repositories: [acme/*]"]),
            agent("leaves", &["repositories: [acme/*]", "allow: [read, write, merge]"]),
        ];
        let tollgate = Setup { cache: UNCACHED, ..Setup::with(agents) }.start().await;
        // Until it has seen an answer, the budget lets one call through at a time.
        assert_eq!(tollgate.ask("GET", "/repos/acme/gadgets").by(1).send().await.verdict(), "200");
        let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_500 });
        tollgate.sim.faults().add(slow.on("GET", "/repos/acme/widgets"));
        let merge = async {
            let merge = tollgate.ask("PUT", "/repos/acme/widgets/pulls/76/merge").by(1);
            merge.header("x-merge-approval", "yes").json(&json!({})).send().await
        };
        let removal = async {
            until_arrived(&tollgate, "GET /repos/acme/widgets").await;
            if change == "how approvals prove themselves" {
                fs::write(tollgate.files.path().join("approver.secret"), approvals::SECRET).unwrap();
                let signed = "mode: signed, issuers: [{ name: team, secret_file: approver.secret }]";
                return tollgate.reload("mode: presence", signed, "ok").await;
            }
            let lines = last_agent(&tollgate.config());
            let less = match change {
                "its key" => {
                    let key = lines.lines().find(|line| line.contains("key_sha256")).unwrap();
                    lines.replace(key, &format!("    key_sha256: {}", "a".repeat(64)))
                }
                "its repositories" => lines.replace("[acme/*]", "[other/tool]"),
                "what it may do" => lines.replace("[read, write, merge]", "[read, write]"),
                _ => String::new(),
            };
            tollgate.reload(&lines, &less, "ok").await;
        };
        let (answer, ()) = tokio::join!(merge, removal);
        assert!(answer.headers.contains_key("x-tollgate-error"), "{change}: {}", answer.text());
        assert!(tollgate.sim.books().merges.is_empty(), "{change}: it went up");
        tollgate.assert_clean();
    }
}

/// The final check must not be stricter than the first one.
#[tokio::test]
async fn what_the_same_rules_let_through_goes_up_after_a_reload() {
    for (rule, mode) in [("require_approval: [write]", "  mode: observe\n"), ("allow: [write]", "")] {
        let agents = vec![agent("worker", &["repositories: [acme/*]", rule, "weight: 2"])];
        let tollgate = Setup { further: mode.to_owned(), ..Setup::with(agents) }.start().await;
        let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_000 });
        tollgate.sim.faults().add(slow.on("GET", "/repos/acme/widgets").times(1));
        let file = json!({"message": "m", "content": "eA==", "branch": "feature/x"});
        let write =
            async { tollgate.ask("PUT", "/repos/acme/widgets/contents/new.txt").json(&file).send().await };
        let change = async {
            until_arrived(&tollgate, "GET /repos/acme/widgets").await;
            tollgate.reload("weight: 2", "weight: 3", "ok").await;
        };
        let (answer, ()) = tokio::join!(write, change);
        assert_eq!(answer.verdict(), "201", "{rule}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_approval_by_who_may_approve_no_more_opens_nothing() {
    let worker = agent("worker", &["repositories: [acme/*]", "require_approval: [merge]"]);
    let setup = Setup { cache: UNCACHED, approval_mode: "signed", ..Setup::with(vec![worker]) };
    let tollgate = setup.start().await;
    let path = "/repos/acme/widgets/pulls/76/merge";
    let refusal = tollgate.ask("PUT", path).json(&json!({})).send().await;
    let approval = approvals::approve(&refusal);
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_500 });
    tollgate.sim.faults().add(slow.on("GET", "/repos/acme/widgets"));
    let merge = async {
        tollgate.ask("PUT", path).header("x-merge-approval", &approval).json(&json!({})).send().await
    };
    let removal = async {
        until_arrived(&tollgate, "GET /repos/acme/widgets").await;
        fs::write(tollgate.files.path().join("approver.secret"), "another secret, of 32 bytes or more")
            .unwrap();
        let count = tollgate.reloads("ok").await;
        tollgate.reread.notify_one();
        tollgate.until_reloaded("ok", count + 1).await;
    };
    let (answer, ()) = tokio::join!(merge, removal);
    assert_eq!(answer.verdict(), "403 approval_invalid", "{}", answer.text());
    assert!(tollgate.sim.books().merges.is_empty());
    tollgate.assert_clean();
}

#[tokio::test]
async fn what_one_credential_read_is_not_for_another() {
    let setup = Setup { cache: "cache: { fresh_for: 10m }\n", ..Setup::worker() };
    let tollgate = setup.start().await;
    let path = "/repos/acme/widgets/contents/README.md";
    for result in ["miss", "hit"] {
        assert_eq!(tollgate.get(path).await.header("x-tollgate-cache"), result);
    }
    let app = "private_key_file: app.pem";
    tollgate.reload(app, &format!("{app}, read_permissions: {{ metadata: read }}"), "ok").await;
    let answer = tollgate.get(path).await;
    assert_eq!((answer.verdict().as_str(), answer.header("x-tollgate-cache")), ("403", "miss"));
    tollgate.reload(", read_permissions: { metadata: read }", "", "ok").await;
    assert_eq!(tollgate.get(path).await.header("x-tollgate-cache"), "hit", "what was known is of use again");
}

/// Audit log lines are not configuration, and no reason to read it again.
#[tokio::test]
async fn writing_the_audit_log_reloads_nothing_and_holds_nothing_off() {
    let setup = Setup { audit_log: "audit.log", cache: UNCACHED, ..Setup::worker() };
    let tollgate = setup.start().await;
    for number in 0..5 {
        let path = "/repos/acme/widgets/issues/1/comments";
        let made = tollgate.ask("POST", path).json(&json!({"body": number.to_string()})).send().await;
        assert_eq!(made.verdict(), "201");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(tollgate.reloads("ok").await, 0);
}
