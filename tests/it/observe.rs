//! `policy.mode: observe` lets through what it would refuse, and reports it; the approval gate stays closed.

use serde_json::{Value, json};

use crate::support::{Setup, agent};

fn setup() -> Setup {
    Setup {
        further: "  mode: observe\n".to_owned(),
        audit_log: "audit.log",
        ..Setup::with(vec![
            agent("named", &["repositories: [acme/widgets]", "draft_pull_requests: require"]),
            agent("reader", &["repositories: [acme/*]", "allow: [read]"]),
            agent("forced", &["repositories: [acme/widgets]"]),
        ])
    }
}

#[tokio::test]
async fn policy_only_observes_and_the_gate_does_not() {
    let tollgate = setup().start().await;
    let file = json!({"message": "m", "content": "eA==", "branch": "main"});
    let pull = json!({"title": "t", "head": "100%done", "base": "main"});
    let other_pull = json!({"title": "t", "head": "release", "base": "main"});
    for (who, method, path, body, verdict) in [
        (0, "GET", "/repos/acme/gadgets", Value::Null, "200"),
        (0, "GET", "/repos/foreign/lib", Value::Null, "404 no_installation"),
        (0, "POST", "/repos/acme/gadgets/issues", json!({"title": "x"}), "201"),
        (0, "POST", "/repos/acme/widgets/pulls", pull, "201"),
        // It went up: GitHub has one of that branch.
        (2, "POST", "/repos/acme/widgets/pulls", other_pull, "422"),
        (1, "POST", "/repos/acme/widgets/issues", json!({"title": "x"}), "201"),
        (1, "PUT", "/repos/acme/widgets/pulls/76/merge", json!({}), "403 operation_forbidden"),
        (1, "PUT", "/repos/acme/widgets/contents/x", file.clone(), "403 operation_forbidden"),
        (
            1,
            "POST",
            "/repos/acme/widgets/pulls/76/reviews",
            json!({"event": "APPROVE"}),
            "403 operation_forbidden",
        ),
        (0, "PUT", "/repos/acme/gadgets/pulls/1/merge", json!({}), "403 approval_required"),
        (0, "PUT", "/repos/acme/widgets/contents/x", file, "403 approval_required"),
        (
            0,
            "POST",
            "/repos/acme/widgets/pulls/76/reviews",
            json!({"event": "APPROVE"}),
            "403 approval_required",
        ),
        (0, "PUT", "/repos/acme/widgets/branches/main/protection", json!({}), "403 operation_forbidden"),
        (0, "DELETE", "/repos/acme/widgets", Value::Null, "403 operation_forbidden"),
        (0, "DELETE", "/installation/token", Value::Null, "403 operation_forbidden"),
        (0, "PUT", "/repos/acme/widgets/pulls/76/Merge", json!({}), "403 operation_forbidden"),
    ] {
        let ask = tollgate.ask(method, path).by(who);
        let answer = if body.is_null() { ask.send().await } else { ask.json(&body).send().await };
        assert_eq!(answer.verdict(), verdict, "{who} {method} {path}: {}", answer.text());
    }
    let metrics = tollgate.metrics().await;
    for line in [
        "tollgate_observed_total{agent=\"named\",reason=\"repository_forbidden\"}",
        "tollgate_observed_total{agent=\"named\",reason=\"draft_required\"} 1",
        "tollgate_observed_total{agent=\"forced\",reason=\"draft_required\"} 1",
        // The issue; counted once, though its class is judged twice.
        "tollgate_observed_total{agent=\"reader\",reason=\"operation_forbidden\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let mut observed = false;
    for _ in 0..100 {
        let log = std::fs::read_to_string(tollgate.files.path().join("audit.log")).unwrap_or_default();
        observed = log
            .lines()
            .any(|line| line.contains("\"verdict\":\"observed\"") && line.contains("acme/gadgets"));
        if observed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(observed, "what would have been refused is in the audit log");
    tollgate.assert_clean();
}

#[tokio::test]
async fn so_it_is_by_graphql() {
    let tollgate = setup().start().await;
    let gadgets = tollgate.ask("GET", "/repos/acme/gadgets").by(1).send().await.json()["node_id"].clone();
    for (input, field, verdict) in [
        (json!({"repositoryId": gadgets, "title": "x"}), "createIssue", "200"),
        (json!({"pullRequestId": "PR_unseen"}), "mergePullRequest", "403 repository_forbidden"),
    ] {
        let name = format!("{}{}Input", field[..1].to_uppercase(), &field[1..]);
        let query = format!("mutation($input: {name}!) {{ {field}(input: $input) {{ clientMutationId }} }}");
        let body = json!({ "query": query, "variables": { "input": input } });
        let answer = tollgate.ask("POST", "/graphql").json(&body).send().await;
        assert_eq!(answer.verdict(), verdict, "{field}: {}", answer.text());
    }
    // What GitHub makes of it is GitHub's: the agent's token is for its own repositories.
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_observed_total{agent=\"named\",reason=\"repository_forbidden\"} 1"));
}

#[tokio::test]
async fn a_commit_trailer_names_the_agent() {
    let further = "  commit_trailer: \"Agent: {agent} ({request_id})\"\n".to_owned();
    let tollgate =
        Setup { further, ..Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]) }.start().await;
    let put = json!({"message": "Fix it", "content": "eA==", "branch": "feature/x"});
    let written = tollgate.ask("PUT", "/repos/acme/widgets/contents/t.txt").json(&put).send().await;
    assert_eq!(written.verdict(), "201", "{}", written.text());
    let message = written.json()["commit"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, format!("Fix it\n\nAgent: worker ({})", written.header("x-request-id")));
    // A signed commit stays exactly as signed.
    let head = tollgate.get("/repos/acme/widgets/git/ref/heads/main").await.json()["object"]["sha"].clone();
    let tree = tollgate
        .get(&format!("/repos/acme/widgets/git/commits/{}", head.as_str().unwrap()))
        .await
        .json()["tree"]["sha"]
        .clone();
    for (signature, expected) in
        [(Value::Null, "M\n\nAgent: worker ("), (json!("-----BEGIN PGP SIGNATURE-----"), "M")]
    {
        let body = json!({"message": "M", "tree": tree, "parents": [head], "signature": signature});
        let made = tollgate.ask("POST", "/repos/acme/widgets/git/commits").json(&body).send().await;
        assert_eq!(made.verdict(), "201", "{}", made.text());
        let message = made.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(expected) && (message == "M") == (expected == "M"), "{message}");
    }
}
