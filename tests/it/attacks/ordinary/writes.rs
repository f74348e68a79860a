//! Writes that nobody has to approve.

use serde_json::json;

use super::{Row, serve, start};

const ISSUES: [Row; 22] = [
    ("POST", "/repos/acme/widgets/issues", &[], r#"{"title":"Plain"}"#, 201),
    ("POST", "/api/v3/repos/acme/widgets/issues", &[], r#"{"title":"Below /api/v3","labels":["bug"]}"#, 201),
    ("POST", "/repositories/2001/issues", &[], r#"{"title":"By id"}"#, 201),
    ("POST", "/repos/ACME/Widgets/issues", &[], r#"{"title":"In capitals"}"#, 201),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        r#"{"title":"Merge main into release","body":"mergePullRequest"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        r#"{"title":"x","body":"PUT /repos/acme/widgets/pulls/76/merge"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        r#"{"title":"x","body":"{\"event\":\"APPROVE\",\"base\":\"main\"}"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        r#"{"title":"_method=PUT","body":"X-HTTP-Method-Override: PUT"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        r#"{"title":"x","body":"../../secret-plans %2e%2e%2f \u0000 //"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[],
        "{\"title\":\"Übergröße 🌞\",\"body\":\"\u{200b}\u{feff}\"}",
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[("content-type", "application/x-www-form-urlencoded")],
        r#"{"title":"As curl sends it"}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/issues",
        &[("content-type", "application/vnd.github+json; charset=utf-8")],
        r#"{"title":"x"}"#,
        201,
    ),
    ("POST", "/repos/acme/widgets/issues", &[("expect", "100-continue")], r#"{"title":"Expected"}"#, 201),
    ("PATCH", "/repos/acme/widgets/issues/1", &[], r#"{"title":"Renamed","state":"closed"}"#, 200),
    ("PATCH", "/repos/acme/widgets/issues/1", &[], r#"{"state":"open"}"#, 200),
    ("POST", "/repos/acme/widgets/issues/1/comments", &[], r#"{"body":"/merge"}"#, 201),
    (
        "POST",
        "/repos/acme/widgets/issues/76/comments",
        &[],
        r#"{"body":"Please merge, after an APPROVE"}"#,
        201,
    ),
    ("POST", "/repos/acme/widgets/labels", &[], r#"{"name":"good first issue","color":"00ff00"}"#, 201),
    ("POST", "/repos/acme/widgets/issues/1/labels", &[], r#"{"labels":["good first issue","bug"]}"#, 200),
    ("GET", "/repos/acme/widgets/labels/good%20first%20issue", &[], "", 200),
    ("DELETE", "/repos/acme/widgets/issues/1/labels/good%20first%20issue", &[], "", 200),
    ("PUT", "/repos/acme/widgets/issues/1/labels", &[], r#"{"labels":["merge"]}"#, 200),
];

const PULLS: [Row; 15] = [
    (
        "POST",
        "/repos/acme/widgets/pulls",
        &[],
        r#"{"title":"Draft","head":"spare","base":"main","draft":true}"#,
        201,
    ),
    (
        "POST",
        "/repos/acme/widgets/pulls",
        &[],
        r#"{"title":"Draft","head":"acme:spare","base":"release","draft":true}"#,
        201,
    ),
    ("PATCH", "/repos/acme/widgets/pulls/76", &[], r#"{"title":"Merge feature/x into main"}"#, 200),
    ("PATCH", "/repos/acme/widgets/pulls/76", &[], r#"{"body":"\"base\": \"main\""}"#, 200),
    ("PATCH", "/repositories/2001/pulls/76", &[], r#"{"title":"By id","body":null}"#, 200),
    ("PATCH", "/repos/acme/widgets/pulls/77", &[], r#"{"state":"closed"}"#, 200),
    ("PATCH", "/repos/acme/widgets/pulls/77", &[], r#"{"state":"open"}"#, 200),
    (
        "POST",
        "/repos/acme/widgets/pulls/76/reviews",
        &[],
        r#"{"event":"COMMENT","body":"I would not APPROVE this"}"#,
        200,
    ),
    (
        "POST",
        "/repos/acme/widgets/pulls/76/reviews",
        &[],
        r#"{"event":"REQUEST_CHANGES","body":"{\"event\":\"APPROVE\"}"}"#,
        200,
    ),
    ("POST", "/repos/acme/widgets/pulls/76/reviews", &[], r#"{"body":"pending"}"#, 200),
    (
        "POST",
        "/repos/acme/widgets/pulls/76/reviews",
        &[],
        r#"{"\u0065vent":"COMMENT","body":"escaped"}"#,
        200,
    ),
    (
        "POST",
        "/repos/acme/widgets/pulls/76/comments",
        &[],
        r#"{"body":"merge","path":"README.md","line":1}"#,
        201,
    ),
    ("POST", "/repos/acme/widgets/pulls/76/requested_reviewers", &[], r#"{"reviewers":["sim-user"]}"#, 201),
    (
        "POST",
        "/repos/acme/widgets/git/blobs",
        &[],
        r#"{"content":"mutation { mergePullRequest }","encoding":"utf-8"}"#,
        201,
    ),
    ("POST", "/repos/acme/widgets/git/blobs", &[], r#"{"content":"AAEC/w==","encoding":"base64"}"#, 201),
];

const DOCUMENTS: [Row; 10] = [
    ("POST", "/graphql", &[], r#"{"query":"{ viewer { login } }"}"#, 200),
    ("POST", "/api/graphql", &[], r#"{"query":"query Q { viewer { login } }","operationName":"Q"}"#, 200),
    ("POST", "/api/v3/graphql", &[], r#"{"query":"query Q { viewer { login } }","variables":null}"#, 200),
    (
        "POST",
        "/graphql",
        &[],
        r##"{"query":"query { viewer { login } } # mutation { mergePullRequest }"}"##,
        200,
    ),
    ("POST", "/graphql", &[], r#"{"query":"query mutation { mutation: viewer { login } }"}"#, 200),
    (
        "POST",
        "/graphql",
        &[],
        r#"{"query":"{ viewer { ...mergeBranch } } fragment mergeBranch on User { login }"}"#,
        200,
    ),
    (
        "POST",
        "/graphql",
        &[],
        r#"{"query":"query($n: String!) { repository(owner: \"acme\", name: $n) { nameWithOwner } }","variables":{"n":"widgets"}}"#,
        200,
    ),
    (
        "POST",
        "/graphql",
        &[],
        r#"{"query":"{ repository(owner: \"acme\", name: \"widgets\") { issues(first: 3) { nodes { title } } } }"}"#,
        200,
    ),
    ("POST", "/graphql", &[], r#"{"query":"{ rateLimit { cost remaining } viewer { login } }"}"#, 200),
    (
        "POST",
        "/graphql",
        &[("content-type", "application/json; charset=utf-8")],
        r#"{"query":"{ __typename }"}"#,
        200,
    ),
];

#[tokio::test]
async fn every_ordinary_write_is_served() {
    let tollgate = start().await;
    for rows in [&ISSUES[..], &PULLS, &DOCUMENTS] {
        serve(&tollgate, rows).await;
    }
}

#[tokio::test]
async fn objects_are_made_and_comments_changed_and_taken_away() {
    let tollgate = start().await;
    let post = |path: &str, body: serde_json::Value| tollgate.ask("POST", path).json(&body);
    let blob = post("/repos/acme/widgets/git/blobs", json!({"content": "x"})).send().await.json();
    let entry = json!({"path": "merge", "mode": "100644", "type": "blob", "sha": blob["sha"]});
    let tree = post("/repos/acme/widgets/git/trees", json!({"tree": [entry]})).send().await;
    assert_eq!(tree.verdict(), "201", "{}", tree.text());
    let commit = json!({"message": "Merge branch 'main'", "tree": tree.json()["sha"], "parents": []});
    let commit = post("/repos/acme/widgets/git/commits", commit).send().await;
    assert_eq!(commit.verdict(), "201", "{}", commit.text());
    let large = json!({"title": "Large", "body": "merge ".repeat(10_000)});
    assert_eq!(post("/repos/acme/widgets/issues", large).send().await.verdict(), "201");
    let comment = post("/repos/acme/widgets/issues/1/comments", json!({"body": "x"})).send().await.json();
    let path = format!("/repos/acme/widgets/issues/comments/{}", comment["id"]);
    assert_eq!(tollgate.get(&path).await.verdict(), "200");
    assert_eq!(tollgate.ask("PATCH", &path).json(&json!({"body": "merge"})).send().await.verdict(), "200");
    assert_eq!(tollgate.ask("DELETE", &path).send().await.verdict(), "204");
    tollgate.assert_clean();
}
