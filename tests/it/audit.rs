//! The audit log: who did what, with whose approval; and that nothing approved happens without its line.

use std::path::Path;
use std::time::Duration;

use github_sim::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::support::approvals::approve;
use crate::support::{Setup, Tollgate, UNCACHED, agent, eventually};

const MERGE: &str = "/repos/acme/widgets/pulls/76/merge";

fn setup() -> Setup {
    Setup {
        audit_log: "audit.log",
        approval_mode: "signed",
        ..Setup::with(vec![agent("worker", &["repositories: [acme/*]"])])
    }
}

fn lines_of(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Waits for this many lines and returns them.
async fn lines(tollgate: &Tollgate, count: usize) -> Vec<Value> {
    let path = tollgate.files.path().join("audit.log");
    for _ in 0..200 {
        let lines = lines_of(&path);
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", lines_of(&path));
}

#[tokio::test]
async fn writes_denials_and_approvals_have_a_line_each() {
    let tollgate = setup().start().await;
    tollgate.get("/repos/acme/widgets").await;
    let issue = tollgate
        .ask("POST", "/repos/ACME/widgets/issues?x=secret-in-query")
        .json(&json!({"title": "x"}))
        .send()
        .await;
    tollgate.get("/repos/foreign/lib").await;
    let refusal = tollgate.ask("PUT", MERGE).json(&json!({})).send().await;
    let approval = approve(&refusal);
    let merge =
        tollgate.ask("PUT", MERGE).json(&json!({})).header("x-merge-approval", &approval).send().await;
    assert_eq!(merge.verdict(), "200", "{}", merge.text());
    let lines = lines(&tollgate, 5).await;
    let of = |event: &str| -> Vec<&Value> { lines.iter().filter(|line| line["event"] == event).collect() };
    assert_eq!((of("call").len(), of("denial").len(), of("approval").len()), (2, 2, 1), "{lines:#?}");
    let write = of("call")[0];
    assert_eq!(write["request_id"], issue.header("x-request-id"));
    assert_eq!(
        json!([
            write["agent"],
            write["operation"],
            write["repository"],
            write["class"],
            write["verdict"],
            write["upstream_status"]
        ]),
        json!(["worker", "issues/create", "acme/widgets", "write", "allowed", 201])
    );
    assert_eq!(write["path"], "/repos/ACME/widgets/issues");
    let denied = of("denial")[0];
    assert_eq!(
        json!([denied["verdict"], denied["rule"], denied["path"], denied["repository"]]),
        json!(["denied", "repository_forbidden", "/repos/foreign/lib", "foreign/lib"])
    );
    assert_eq!(of("denial")[1]["repository"], "acme/widgets");
    let head = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    for line in [of("approval")[0], of("call")[1]] {
        assert_eq!(line["approved"], json!({"action": "merge", "pull_number": 76, "head_sha": head}));
        assert_eq!(
            json!([line["approver"]["issuer"], line["approver"]["subject"], line["class"], line["rule"]]),
            json!(["team", "jane", "merge", "approval"])
        );
        assert!(line["approver"]["jti"].as_str().unwrap().len() >= 16);
        assert!(line["time"].as_str().unwrap().starts_with("20"));
    }
    assert_eq!(of("approval")[0].get("upstream_status"), None, "it stands there before the call goes up");
    assert_eq!(of("call")[1]["upstream_status"], 200);
    let all = std::fs::read_to_string(tollgate.files.path().join("audit.log")).unwrap();
    for secret in [tollgate.key(0), approval.as_str(), "ghs_", "secret-in-query"] {
        assert!(!all.contains(secret), "{secret} is in the audit log");
    }
}

/// So that it differs from one whose outcome nobody knows.
#[tokio::test]
async fn a_write_whose_caller_left_before_it_was_sent_says_so() {
    let further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = Setup { further, cache: UNCACHED, ..setup() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_500 }).on("GET", "/repos/acme/gadgets");
    let slow = tollgate.sim.faults().add(slow);
    let body = json!({"title": "x"});
    let write = async {
        eventually("the slow call", || tollgate.sim.faults().fired(slow) == 1).await;
        let issue = tollgate.ask("POST", "/repos/acme/widgets/issues").header("prefer", "wait=30");
        tokio::time::timeout(Duration::from_millis(500), issue.json(&body).send()).await
    };
    let (read, write) = tokio::join!(tollgate.get("/repos/acme/gadgets"), write);
    assert!(read.verdict() == "200" && write.is_err());
    let lines = lines(&tollgate, 1).await;
    assert_eq!(json!([lines[0]["operation"], lines[0]["failure"]]), json!(["issues/create", "gone"]));
    assert!(
        !tollgate
            .sim
            .requests()
            .iter()
            .any(|request| request.method == "POST" && request.target.contains("issues"))
    );
}

/// The agent pushes after the approval. GitHub gets the approved commit, and so must the log.
#[tokio::test]
async fn the_line_names_the_approved_commit_whatever_the_branch_holds_now() {
    let tollgate = setup().start().await;
    assert!(tollgate.sim.edit(|world| world.stack("acme/widgets", &[76, 77])));
    let head_of = |number| tollgate.sim.edit(|world| world.head_of("acme/widgets", number)).unwrap();
    let branch_of_77 = tollgate.get("/repos/acme/widgets/pulls/77").await.json()["head"]["ref"].clone();
    let use_after_push = async |method: &str, path: &str, body: Value, branch: &str| {
        let send = async |approval: &str| {
            let ask = tollgate.ask(method, path).header("x-merge-approval", approval);
            ask.json(&body).send().await
        };
        let approval = approve(&send("").await);
        tollgate.sim.edit(|world| world.push_commit("acme/widgets", branch, "later.txt", "x")).unwrap();
        send(&approval).await.verdict()
    };
    // The stack first: a push to its lower branch would make its approval void.
    let (below, top) = (head_of(76), head_of(77));
    let path = "/repos/acme/widgets/pulls/77/merge-async";
    use_after_push("PUT", path, json!({}), branch_of_77.as_str().unwrap()).await;
    let merge = json!({"base": "main", "head": "feature/x"});
    use_after_push("POST", "/repos/acme/widgets/merges", merge, "feature/x").await;
    assert_ne!((head_of(76), head_of(77)), (below.clone(), top.clone()));
    let lines = lines(&tollgate, 6).await;
    let approved = |operation: &str, claim: &str| {
        let of_it = lines.iter().filter(|line| line["operation"] == operation && line["event"] != "denial");
        of_it.map(|line| line["approved"][claim].clone()).collect::<Vec<_>>()
    };
    let stack = json!([{"pull_number": 76, "head_sha": below}, {"pull_number": 77, "head_sha": top}]);
    assert_eq!(approved("repos/merge", "head_sha"), [json!(below), json!(below)]);
    assert_eq!(approved("pulls/merge-async", "head_sha"), [json!(top), json!(top)], "{lines:#?}");
    assert_eq!(approved("pulls/merge-async", "stack"), [stack.clone(), stack]);
}

/// An agent chooses the paths it writes to.
#[tokio::test]
async fn a_line_holds_the_whole_path_and_the_branch() {
    let tollgate = setup().start().await;
    let path = format!("/repos/acme/widgets/contents/{}evil.sh", "folder/".repeat(900));
    let body = |branch: Value| json!({"message": "m", "content": "eA==", "branch": branch});
    for (branch, verdict) in [(json!("feature/x"), "201"), (Value::Null, "403 approval_required")] {
        let answer = tollgate.ask("PUT", &path).json(&body(branch)).send().await;
        assert_eq!(answer.verdict(), verdict, "{}", answer.text());
    }
    let written = lines(&tollgate, 2).await;
    let paths = [&written[0]["path"], &written[1]["path"]];
    assert_eq!(paths, [&json!(path), &json!(path)]);
    assert_eq!(
        json!([written[0]["branches"], written[1]["branches"]]),
        json!([["feature/x"], ["the default branch"]])
    );
    let document = "mutation($name: String!) { createCommitOnBranch(input: {
        branch: {repositoryNameWithOwner: \"acme/widgets\", branchName: $name}, expectedHeadOid: \"0\",
        message: {headline: \"m\"}, fileChanges: {}
    }) { clientMutationId } }";
    tollgate
        .ask("POST", "/graphql")
        .json(&json!({"query": document, "variables": {"name": "main"}}))
        .send()
        .await;
    assert_eq!(lines(&tollgate, 3).await[2]["branches"], json!(["main"]));
}

#[tokio::test]
async fn a_denial_names_the_repository_however_it_was_asked_for() {
    let tollgate = setup().start().await;
    let id = tollgate.get("/repos/acme/widgets").await.json()["id"].clone();
    let node = tollgate.get("/repos/acme/widgets/pulls/76").await.json()["node_id"].clone();
    let by_id = format!("/repositories/{id}/pulls/76/merge");
    let query = "mutation($id: ID!) { mergePullRequest(input: {pullRequestId: $id}) { clientMutationId } }";
    let graphql = json!({"query": query, "variables": {"id": node}});
    for (method, path, body) in [("PUT", by_id.as_str(), json!({})), ("POST", "/graphql", graphql)] {
        let refusal = tollgate.ask(method, path).json(&body).send().await;
        assert_eq!(refusal.verdict(), "403 approval_required", "{path}: {}", refusal.text());
    }
    for denial in lines(&tollgate, 2).await {
        assert_eq!(denial["repository"], "acme/widgets", "{denial}");
    }
}

#[tokio::test]
async fn what_a_graphql_document_changes_is_known_one_by_one() {
    let tollgate = setup().start().await;
    let node = async |path: &str| tollgate.get(path).await.json()["node_id"].as_str().unwrap().to_owned();
    let (issue, pull) =
        (node("/repos/acme/widgets/issues/1").await, node("/repos/acme/widgets/pulls/76").await);
    let both = format!(
        "mutation {{ addComment(input: {{subjectId: \"{issue}\", body: \"x\"}}) {{ clientMutationId }} \
         closePullRequest(input: {{pullRequestId: \"{pull}\"}}) {{ clientMutationId }} }}"
    );
    let merge = format!(
        "mutation {{ mergePullRequest(input: {{pullRequestId: \"{pull}\"}}) {{ clientMutationId }} }}"
    );
    let send =
        async |query: &str| tollgate.ask("POST", "/graphql").json(&json!({ "query": query })).send().await;
    assert_eq!(send(&both).await.verdict(), "200");
    assert_eq!(send(&merge).await.verdict(), "403 approval_required");
    let lines = lines(&tollgate, 2).await;
    let change = |operation: &str, id: &str, title: &str| json!({ "operation": operation, "repositories": ["acme/widgets"], "ids": { id: title } });
    let closed = change("closePullRequest", &pull, "pull request #76");
    assert_eq!(lines[0]["changes"], json!([change("addComment", &issue, "Issue"), closed]), "{}", lines[0]);
    assert_eq!(lines[1]["changes"], json!([change("mergePullRequest", &pull, "pull request #76")]));
    assert_eq!((&lines[0]["path"], &lines[1]["path"]), (&json!("/graphql"), &json!("/graphql")));
}

#[tokio::test]
async fn what_a_disabled_agent_wants_is_known() {
    let fields = ["repositories: [acme/*]", "disabled: true"];
    let tollgate = Setup { audit_log: "audit.log", ..Setup::with(vec![agent("worker", &fields)]) };
    let tollgate = tollgate.start().await;
    let refusal = tollgate.ask("PUT", MERGE).json(&json!({})).send().await;
    assert_eq!(refusal.verdict(), "403 operation_forbidden");
    assert_eq!(refusal.header("x-tollgate-agent"), "worker");
    assert_eq!(refusal.json()["tollgate"]["agent"], "worker");
    let line = &lines(&tollgate, 1).await[0];
    assert_eq!(
        json!([line["event"], line["agent"], line["operation"], line["repository"], line["class"]]),
        json!(["denial", "worker", "pulls/merge", "acme/widgets", "merge"]),
    );
    let metrics = tollgate.metrics().await;
    assert!(
        metrics.contains(r#"tollgate_denied_total{agent="worker",code="operation_forbidden"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_merge_whose_line_can_t_be_written_does_not_happen() {
    let tollgate = Setup { audit_log: "/dev/full", ..setup() }.start().await;
    let refusal = tollgate.ask("PUT", MERGE).json(&json!({})).send().await;
    let approval = approve(&refusal);
    let merge =
        tollgate.ask("PUT", MERGE).json(&json!({})).header("x-merge-approval", &approval).send().await;
    assert_eq!(merge.verdict(), "503 store_unavailable", "{}", merge.text());
    assert!(merge.headers.contains_key("retry-after"));
    assert!(tollgate.arrived().iter().all(|request| request.method == "GET"));
    // Other writes continue, and the lost lines are counted.
    let issue = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "x"})).send().await;
    assert_eq!(issue.verdict(), "201");
    let mut counted = false;
    for _ in 0..50 {
        counted =
            tollgate.metrics().await.lines().any(|line| {
                line.strip_prefix("tollgate_audit_lost_total ").is_some_and(|count| count != "0")
            });
        if counted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counted);
}

#[tokio::test]
async fn a_write_whose_caller_hung_up_has_its_line() {
    let mut setup = setup();
    setup.upstream = "  request_timeout: 5s\n".to_owned();
    let tollgate = setup.start().await;
    tollgate
        .sim
        .faults()
        .add(github_sim::Fault::new(github_sim::FaultKind::SlowFirstByte { ms: 400 }).on("POST", "/issues"));
    let body = r#"{"title":"x"}"#;
    let head = tollgate.head(
        "POST /repos/acme/widgets/issues HTTP/1.1",
        &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
    );
    let address = tollgate.base.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, format!("{head}{body}").as_bytes()).await.unwrap();
    crate::support::eventually("the call", || {
        tollgate.arrived_lines().iter().any(|line| line.starts_with("POST"))
    })
    .await;
    drop(socket);
    let line = lines(&tollgate, 1).await.remove(0);
    assert_eq!(json!([line["event"], line["upstream_status"]]), json!(["call", 201]), "{line}");
}
