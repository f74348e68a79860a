//! Nothing merges unnoticed, however it is spelled.

use serde_json::json;

use crate::support::{Setup, agent};

/// Every spelling of a merge that this release has to recognize.
const MERGES: [(&str, &str); 8] = [
    ("PUT", "/repos/acme/widgets/pulls/76/merge"),
    ("PUT", "/api/v3/repos/acme/widgets/pulls/76/merge"),
    ("PUT", "/repos/ACME/Widgets/pulls/76/merge"),
    ("PUT", "/repos/acme/widgets/pulls/76/%6D%65rge"),
    ("PUT", "/repos/acme/widgets/pulls/76/merge?x=y"),
    ("PUT", "/repos/acme/widgets/pulls/76/merge-async"),
    ("POST", "/repos/acme/widgets/merges"),
    ("POST", "/repos/acme/widgets/merge-upstream"),
];

#[tokio::test]
async fn merges_wait_for_an_approval_whatever_the_configuration_says() {
    let agents = vec![agent("worker", &["repositories: [acme/*]", "require_approval: []"])];
    let tollgate = Setup::with(agents).start().await;
    for (method, path) in MERGES {
        let answer =
            tollgate.ask(method, path).json(&json!({"base": "main", "head": "release"})).send().await;
        assert_eq!(answer.verdict(), "403 approval_required", "{method} {path}");
        assert!(!answer.headers.contains_key("retry-after"));
        let about = answer.json()["tollgate"].clone();
        assert_eq!(about["approval"]["action"], "merge", "{about}");
    }
    for (method, path) in
        [("POST", "/repos/acme/widgets/pulls/76/merge"), ("PUT", "/repos/acme/widgets/pulls/76/Merge")]
    {
        assert_eq!(
            tollgate.ask(method, path).json(&json!({})).send().await.verdict(),
            "403 operation_forbidden"
        );
    }
    assert_eq!(tollgate.arrived_lines(), Vec::<String>::new());
    // Asking whether it is merged is a read.
    assert_eq!(tollgate.get("/repos/acme/widgets/pulls/76/merge").await.verdict(), "404");
}

#[tokio::test]
async fn presence_takes_exactly_one_header_with_something_in_it() {
    let tollgate = Setup::worker().start().await;
    let merge = || tollgate.ask("PUT", "/repos/acme/widgets/pulls/76/merge").json(&json!({}));
    for (name, value) in [
        ("x-merge-approval", ""),
        ("x-merge-approval", "  "),
        ("x_merge_approval", "yes"),
        ("cookie", "x-merge-approval=yes"),
    ] {
        assert_eq!(
            merge().header(name, value).send().await.verdict(),
            "403 approval_required",
            "{name}: {value:?}"
        );
    }
    let twice = merge().header("x-merge-approval", "yes").header("x-merge-approval", "yes").send().await;
    assert_eq!(twice.verdict(), "403 approval_invalid");
    assert!(!twice.text().contains("another one"), "{}", twice.text());
    assert!(tollgate.sim.books().merges.is_empty());
    let approved = merge().header("X-Merge-Approval", "yes").send().await;
    assert_eq!(approved.verdict(), "200", "{}", approved.text());
    assert_eq!(tollgate.sim.books().merges.len(), 1);
    let metrics = tollgate.metrics().await;
    for line in ["{result=\"accepted\"} 1", "{result=\"missing\"} 4", "{result=\"refused\"} 1"] {
        assert!(metrics.contains(&format!("tollgate_approvals_total{line}")), "{line}\n{metrics}");
    }
    assert!(tollgate.arrived().iter().all(|request| !request.headers.contains_key("x-merge-approval")));
}

#[tokio::test]
async fn signed_mode_takes_no_approval_it_cannot_verify() {
    let mut setup = Setup::worker();
    setup.approval_mode = "signed";
    let tollgate = setup.start().await;
    let merge = tollgate.ask("PUT", "/repos/acme/widgets/pulls/76/merge").json(&json!({}));
    assert_eq!(merge.header("x-merge-approval", "yes").send().await.verdict(), "403 approval_invalid");
    // For the refusal, tollgate looks up what an approval would have to name.
    assert!(tollgate.arrived().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn classes_are_open_as_configured() {
    let agents = vec![
        agent("default", &["repositories: [acme/*]"]),
        agent("reader", &["repositories: [acme/*]", "allow: [read]"]),
        agent("admin", &["repositories: [acme/*]", "allow: [read, write, admin, protection]"]),
    ];
    let tollgate = Setup::with(agents).start().await;
    let sha = "0000000000000000000000000000000000000000";
    let branch = json!({ "ref": "refs/heads/main", "sha": sha });
    let status = json!({ "state": "success" });
    let issue = json!({ "title": "x" });
    for (who, method, path, body, verdict) in [
        (0, "POST", "/repos/acme/widgets/git/refs".to_owned(), &branch, "403 approval_required"),
        (0, "POST", format!("/repos/acme/widgets/statuses/{sha}"), &status, "403 approval_required"),
        (0, "PUT", "/repos/acme/widgets/contents/x".to_owned(), &issue, "403 approval_required"),
        (
            0,
            "PUT",
            "/repos/acme/widgets/branches/main/protection".to_owned(),
            &issue,
            "403 operation_forbidden",
        ),
        (0, "DELETE", "/repos/acme/widgets".to_owned(), &issue, "403 operation_forbidden"),
        (0, "POST", "/gists".to_owned(), &issue, "403 operation_forbidden"),
        (0, "DELETE", "/installation/token".to_owned(), &issue, "403 operation_forbidden"),
        (0, "POST", "/app/installations/1001/access_tokens".to_owned(), &issue, "403 operation_forbidden"),
        (0, "POST", "/repos/acme/widgets/issues".to_owned(), &issue, "201"),
        (1, "POST", "/repos/acme/widgets/issues".to_owned(), &issue, "403 operation_forbidden"),
        (1, "PUT", "/repos/acme/widgets/pulls/76/merge".to_owned(), &issue, "403 operation_forbidden"),
        (1, "GET", "/repos/acme/widgets".to_owned(), &issue, "200"),
        (2, "DELETE", "/installation/token".to_owned(), &issue, "403 operation_forbidden"),
        (2, "PUT", "/repos/acme/widgets/pulls/76/merge".to_owned(), &issue, "403 operation_forbidden"),
    ] {
        let answer = tollgate.ask(method, &path).by(who).json(body).send().await;
        assert_eq!(answer.verdict(), verdict, "{who} {method} {path}: {}", answer.text());
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_review_is_gated_when_it_approves() {
    let tollgate = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]).start().await;
    let review = |body: &str| {
        tollgate
            .ask("POST", "/repos/acme/widgets/pulls/76/reviews")
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    for (body, verdict) in [
        (r#"{"event":"COMMENT","body":"fine"}"#, "200"),
        (r#"{"event":"APPROVE"}"#, "403 approval_required"),
        (r#"{"event":"COMMENT","event":"APPROVE"}"#, "400 bad_request"),
        ("\u{feff}{\"event\":\"COMMENT\"}", "400 bad_request"),
        (r#"{"event":"COMMENT"} {"event":"APPROVE"}"#, "400 bad_request"),
        ("event=APPROVE", "400 bad_request"),
    ] {
        assert_eq!(review(body).send().await.verdict(), verdict, "{body}");
    }
    let arrived: Vec<_> = tollgate.arrived().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].body.as_deref(), Some(r#"{"event":"COMMENT","body":"fine"}"#));
    let retarget =
        tollgate.ask("PATCH", "/repos/acme/widgets/pulls/76").json(&json!({"base": "release"})).send().await;
    assert_eq!(retarget.verdict(), "403 approval_required");
    let rename =
        tollgate.ask("PATCH", "/repos/acme/widgets/pulls/76").json(&json!({"title": "new"})).send().await;
    assert_eq!(rename.verdict(), "200");
}

#[tokio::test]
async fn graphql_queries_pass_and_mutations_of_nothing_do_not() {
    let tollgate = Setup::worker().start().await;
    for path in ["/graphql", "/api/graphql", "/api/v3/graphql"] {
        let query = json!({ "query": "query { viewer { login } } # mutation { mergePullRequest }" });
        assert_eq!(tollgate.ask("POST", path).json(&query).send().await.verdict(), "200", "{path}");
        let mutation = json!({ "query": "mutation { mergePullRequest(input: {pullRequestId: \"x\"}) { clientMutationId } }" });
        let answer = tollgate.ask("POST", path).json(&mutation).send().await;
        assert_eq!(
            answer.verdict(),
            "403 repository_forbidden",
            "an id of nothing there is: {}",
            answer.text()
        );
        assert_eq!(answer.json()["errors"][0]["type"], "FORBIDDEN");
    }
    for (content_type, body) in [
        ("application/json", r#"[{"query":"{ viewer { login } }"}]"#),
        ("application/json", r#"{"query":"{ viewer { login } }","query":"mutation { x { y } }"}"#),
        ("application/json", r#"{"query":"{ viewer { login "}"#),
        ("application/json", r#"{"id":"stored"}"#),
        ("application/x-www-form-urlencoded", "query={viewer{login}}"),
    ] {
        let answer =
            tollgate.ask("POST", "/graphql").header("content-type", content_type).body(body).send().await;
        assert_eq!(answer.verdict(), "400 bad_request", "{body}");
    }
    assert_eq!(
        tollgate.ask("GET", "/graphql?query={viewer{login}}").send().await.verdict(),
        "400 bad_request"
    );
    assert!(tollgate.sim.books().mutations.is_empty());
}

#[tokio::test]
async fn the_method_cannot_be_overridden() {
    let tollgate = Setup::worker().start().await;
    for name in ["x-http-method-override", "X-Method-Override", "x-http-method"] {
        let answer = tollgate
            .ask("POST", "/repos/acme/widgets/issues")
            .header(name, "PUT")
            .json(&json!({"title": "x"}))
            .send()
            .await;
        assert_eq!(answer.verdict(), "400 bad_request", "{name}");
    }
    for query in ["?event=APPROVE", "?base=release"] {
        for (method, path) in
            [("POST", "/repos/acme/widgets/pulls/76/reviews"), ("PATCH", "/repos/acme/widgets/pulls/76")]
        {
            let answer =
                tollgate.ask(method, &format!("{path}{query}")).json(&json!({"body": "x"})).send().await;
            assert_eq!(answer.verdict(), "400 bad_request", "{method} {path}{query}");
        }
    }
    // A form, in which some servers look for `_method`, arrives as JSON whatever its content type.
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded, x",
        "multipart/form-data; boundary=x",
        "x",
        "",
    ] {
        let form = tollgate
            .ask("POST", "/repos/acme/widgets/issues")
            .header("content-type", content_type)
            .body(r#"{"title":"_method=PUT"}"#)
            .send()
            .await;
        assert_eq!(form.verdict(), "201");
        assert_eq!(tollgate.arrived().pop().unwrap().headers["content-type"], "application/json");
    }
}
