//! Permissions per route, what a token sees, and where moved repositories went.

use github_sim::SimConfig;
use serde_json::json;

use crate::client::{call, config, minted, start};

#[tokio::test]
async fn each_route_wants_its_permission() {
    let sim = start(config()).await;
    let table = [
        ("GET", "/repos/acme/widgets", "metadata", "read"),
        ("GET", "/repos/acme/widgets/contents/README.md", "contents", "read"),
        ("PUT", "/repos/acme/widgets/contents/new.txt", "contents", "write"),
        ("GET", "/repos/acme/widgets/issues", "issues", "read"),
        ("POST", "/repos/acme/widgets/issues", "issues", "write"),
        ("GET", "/repos/acme/widgets/pulls", "pull_requests", "read"),
        ("POST", "/repos/acme/widgets/pulls", "pull_requests", "write"),
        ("PUT", "/repos/acme/widgets/pulls/76/merge", "contents", "write"),
        ("GET", "/repos/acme/widgets/commits/main/status", "statuses", "read"),
        ("POST", "/repos/acme/widgets/check-runs", "checks", "write"),
        ("POST", "/repos/acme/widgets/deployments", "deployments", "write"),
        ("PATCH", "/repos/acme/widgets", "administration", "write"),
        ("POST", "/repos/acme/widgets/actions/workflows/ci.yml/dispatches", "actions", "write"),
    ];
    let bare = minted(&sim, 1001, &json!({"permissions": {"metadata": "read"}})).await;
    for (method, path, permission, level) in table {
        let token = minted(&sim, 1001, &json!({"permissions": {permission: level}})).await;
        let answer = call(&sim, method, path).token(&token).json(&json!({})).send().await;
        assert_ne!(answer.status, 403, "{method} {path} with {permission}={level}");
        if permission == "metadata" {
            continue;
        }
        let answer = call(&sim, method, path).token(&bare).json(&json!({})).send().await;
        assert_eq!(answer.status, 403, "{method} {path} without {permission}");
        assert_eq!(answer.message(), "Resource not accessible by integration");
        let accepted = answer.header("x-accepted-github-permissions");
        assert!(accepted.contains(&format!("{permission}={level}")), "{path}: {accepted}");
    }
}

#[tokio::test]
async fn workflow_files_want_the_workflows_permission() {
    let sim = start(config()).await;
    let token = minted(&sim, 1001, &json!({"permissions": {"contents": "write"}})).await;
    let body = json!({"message": "m", "content": "eA=="});
    let path = "/repos/acme/widgets/contents/.github/workflows/new.yml";
    let answer = call(&sim, "PUT", path).token(&token).json(&body).send().await;
    assert_eq!(answer.status, 403);
    let tree = json!({"tree": [{"path": ".github/workflows/new.yml", "content": "x"}]});
    let path = "/repos/acme/widgets/git/trees";
    assert_eq!(call(&sim, "POST", path).token(&token).json(&tree).send().await.status, 403);
    assert_eq!(call(&sim, "POST", path).token(&sim.mint("acme")).json(&tree).send().await.status, 201);
}

#[tokio::test]
async fn a_token_sees_its_own_and_what_is_public() {
    let sim = start(config()).await;
    let acme = sim.mint("acme");
    let personal = SimConfig::default().personal_tokens[0].clone();
    let title = json!({"title": "t"});
    for (token, method, path, status) in [
        (&acme, "GET", "/repos/ACME/Widgets", 200),
        (&acme, "GET", "/repos/other/tool", 404),
        (&acme, "GET", "/repos/foreign/lib", 200),
        (&acme, "GET", "/repos/foreign/lib/contents/README.md", 200),
        (&acme, "POST", "/repos/foreign/lib/issues", 403),
        (&acme, "GET", "/repos/acme/widgets/hooks", 404),
        (&acme, "GET", "/repos/acme/widgets/", 404),
        (&acme, "POST", "/repos/acme/widgets/unknown", 404),
        (&acme, "GET", "/user", 403),
        (&acme, "GET", "/orgs/acme/repos", 200),
        (&personal, "GET", "/user", 200),
        (&personal, "GET", "/repos/other/tool", 200),
        (&personal, "POST", "/repos/other/tool/issues", 201),
        (&personal, "GET", "/installation/repositories", 403),
    ] {
        let answer = call(&sim, method, path).token(token).json(&title).send().await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    let books = sim.books();
    assert_eq!(books.by_route["unmatched"], 3);
    assert_eq!(books.by_credential["pat"], 4);
}

#[tokio::test]
async fn moved_repositories_redirect() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    for (method, status) in [("GET", 301), ("POST", 307), ("PATCH", 307), ("DELETE", 307)] {
        let path = "/repos/acme/old-name/issues?state=all";
        let answer = call(&sim, method, path).token(&token).send().await;
        assert_eq!(answer.status, status, "{method}");
        let target = format!("{}/repositories/2004/issues?state=all", sim.api_url());
        assert_eq!(answer.header("location"), target);
        assert_eq!(answer.message(), "Moved Permanently");
        assert_eq!(answer.json()["url"], target.as_str());
    }
    let answer = call(&sim, "GET", "/repositories/2004/issues").token(&token).send().await;
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    let path = "/repos/acme/old-name";
    let answer = call(&sim, "GET", path).token(&sim.mint("other")).send().await;
    assert_eq!(answer.status, 404, "a token that cannot see it learns nothing");
    assert!(sim.edit(|world| world.transfer("acme/gadgets", "other")));
    let answer = call(&sim, "GET", "/repos/acme/gadgets").token(&sim.mint("other")).send().await;
    assert_eq!(answer.status, 301);
}
