//! An agent reaches only its own repositories, however it spells them.

use serde_json::json;

use crate::support::{Setup, agent};

#[tokio::test]
async fn other_repositories_are_refused_before_anything_is_sent() {
    let agents = vec![agent("worker", &["repositories: [acme/widgets, other/tool]"])];
    let tollgate = Setup::with(agents).start().await;
    for path in [
        "/repos/acme/gadgets",
        "/repos/acme/widgets2/issues",
        "/repos/foreign/lib",
        "/api/v3/repos/acme/secret-plans/contents/README.md",
        "/repos/acme/gadgets/anything/new",
        "/orgs/acme/repos",
        "/user/repos",
        "/notifications",
        "/users/solo/repos",
        "/search/issues?q=bug",
        "/search/code?q=x+repo:acme/gadgets",
        "/search/users?q=solo",
        "/repos/acme/widgets/compare/solo:notes:main...main",
        "/repos/acme/widgets/compare/acme:main...acme:feature",
        "/organizations/1/repos",
        "/repos/acme/widgets/code-scanning/codeql/variant-analyses/1/repos/acme/secret-plans",
    ] {
        assert_eq!(tollgate.get(path).await.verdict(), "403 repository_forbidden", "{path}");
    }
    for (method, path) in [
        ("GET", "/new/thing"),
        ("POST", "/repos/acme/widgets/new-thing"),
        ("GET", "/app"),
        ("GET", "/repositories/x"),
    ] {
        assert_eq!(tollgate.ask(method, path).send().await.verdict(), "403 operation_forbidden", "{path}");
    }
    assert_eq!(tollgate.arrived_lines(), Vec::<String>::new());
    let metrics = tollgate.metrics().await;
    assert!(
        metrics.contains("tollgate_denied_total{agent=\"worker\",code=\"repository_forbidden\"} 16"),
        "{metrics}"
    );
}

#[tokio::test]
async fn spelling_does_not_matter_within_its_repositories() {
    let agents = vec![agent("worker", &["repositories: [Acme/Widgets]"])];
    let tollgate = Setup::with(agents).start().await;
    for path in
        ["/repos/acme/widgets", "/repos/ACME/WIDGETS", "/repos/acme/widgets/issues", "/meta", "/rate_limit"]
    {
        assert_eq!(tollgate.get(path).await.verdict(), "200", "{path}");
    }
    for path in ["/search/issues?q=is:open+repo:acme/widgets", "/search/code?q=lib+repo:ACME/widgets"] {
        assert_eq!(tollgate.get(path).await.verdict(), "200", "{path}");
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn numeric_ids_are_judged_by_the_name_behind_them() {
    let agents =
        vec![agent("named", &["repositories: [acme/widgets]"]), agent("owner", &["repositories: [acme/*]"])];
    let tollgate = Setup::with(agents).start().await;
    let id = |name: &str| {
        let name = name.to_owned();
        let tollgate = &tollgate;
        async move {
            tollgate.ask("GET", &format!("/repos/acme/{name}")).by(1).send().await.json()["id"]
                .as_u64()
                .unwrap()
        }
    };
    let (widgets, gadgets) = (id("widgets").await, id("gadgets").await);
    let before = tollgate.arrived().len();
    assert_eq!(tollgate.get(&format!("/repositories/{widgets}/issues")).await.verdict(), "200");
    assert_eq!(
        tollgate.arrived_lines()[before..],
        [format!("GET /repositories/{widgets}"), format!("GET /repositories/{widgets}/issues")]
    );
    // The look-up is remembered.
    assert_eq!(tollgate.get(&format!("/repositories/{widgets}/labels")).await.verdict(), "200");
    assert_eq!(tollgate.arrived().len(), before + 3);
    let outside = tollgate.get(&format!("/repositories/{gadgets}/issues")).await;
    assert_eq!(outside.verdict(), "403 repository_forbidden");
    let absent = tollgate.get("/repositories/999999999/issues").await;
    assert_eq!(absent.verdict(), "403 repository_forbidden");
    assert_eq!(outside.json()["message"], absent.json()["message"]);
    let merge =
        tollgate.ask("PUT", &format!("/repositories/{widgets}/pulls/76/merge")).json(&json!({})).send().await;
    assert_eq!(merge.verdict(), "403 approval_required");
    assert_eq!(merge.json()["tollgate"]["approval"]["repo"], "acme/widgets");
    assert!(tollgate.sim.books().merges.is_empty());
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_renamed_repository_is_judged_by_its_new_name() {
    let agents = vec![
        agent("old", &["repositories: [acme/old-name, acme/widgets]"]),
        agent("owner", &["repositories: [acme/*]"]),
    ];
    let tollgate = Setup::with(agents).start().await;
    let moved = tollgate.ask("GET", "/repos/acme/old-name").by(1).send().await;
    assert_eq!(moved.verdict(), "301", "{}", moved.text());
    let target = moved.header("location").strip_prefix(&tollgate.base).unwrap().to_owned();
    assert_eq!(tollgate.ask("GET", &target).by(1).send().await.verdict(), "200");
    // An agent that was only given the old name has to be given the new one.
    assert_eq!(tollgate.get(&target).await.verdict(), "403 repository_forbidden");
    let by_name = tollgate.get("/repos/acme/old-name").await;
    assert_eq!(by_name.verdict(), "404 no_installation");
    assert!(by_name.text().contains("renamed"), "{}", by_name.text());
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn agents_with_everything_may_span_repositories() {
    let tollgate =
        Setup::with(vec![agent("fleet", &["repositories: [\"*\"]", "installation: acme"])]).start().await;
    for path in [
        "/orgs/acme/repos",
        "/repos/other/tool",
        "/repos/solo/notes",
        "/search/issues?q=bug",
        "/installation/repositories",
    ] {
        let answer = tollgate.get(path).await;
        assert_eq!(answer.verdict(), "200", "{path}: {}", answer.text());
    }
    let organization = tollgate.get("/orgs/acme").await.json()["id"].as_u64().unwrap();
    assert_eq!(tollgate.get(&format!("/organizations/{organization}/repos")).await.verdict(), "200");
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_call_that_names_nothing_needs_one_installation() {
    let tollgate = Setup::with(vec![agent("fleet", &["repositories: [\"*\"]"])]).start().await;
    let answer = tollgate.get("/user/repos").await;
    assert_eq!(answer.verdict(), "404 no_installation");
    assert!(answer.text().contains("`installation` of agent fleet"), "{}", answer.text());
    assert_eq!(tollgate.get("/meta").await.verdict(), "200");
    let foreign = tollgate.get("/repos/foreign/lib").await;
    assert_eq!(foreign.verdict(), "404 no_installation");
}

#[tokio::test]
async fn tokens_are_cut_to_the_repositories_named() {
    let agents =
        vec![agent("named", &["repositories: [acme/widgets]"]), agent("owner", &["repositories: [acme/*]"])];
    let tollgate = Setup::with(agents).start().await;
    let query = |name: &str| json!({ "query": format!("query {{ repository(owner: \"acme\", name: \"{name}\") {{ nameWithOwner }} }}") });
    let own = tollgate.ask("POST", "/graphql").json(&query("widgets")).send().await;
    assert_eq!(own.json()["data"]["repository"]["nameWithOwner"], "acme/widgets", "{}", own.text());
    let other = tollgate.ask("POST", "/graphql").json(&query("gadgets")).send().await;
    assert!(other.json()["data"]["repository"].is_null(), "{}", other.text());
    let all = tollgate.ask("POST", "/graphql").by(1).json(&query("gadgets")).send().await;
    assert_eq!(all.json()["data"]["repository"]["nameWithOwner"], "acme/gadgets");
    let listed = tollgate.get("/installation/repositories").await.json();
    let names: Vec<&str> = listed["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["full_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["acme/widgets"]);
    assert_eq!(listed["total_count"], 1);
}

#[tokio::test]
async fn a_repository_the_app_does_not_have_spoils_nothing_for_the_others() {
    let tollgate =
        Setup::with(vec![agent("worker", &["repositories: [acme/widgets, acme/not-there]"])]).start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!(tollgate.get("/repos/acme/not-there").await.verdict(), "404 no_installation");
}

#[tokio::test]
async fn a_personal_token_serves_where_no_app_does_but_never_unconfined() {
    let mut setup = Setup::with(vec![
        agent("worker", &["repositories: [acme/widgets]"]),
        agent("fleet", &["repositories: [\"*\"]"]),
    ]);
    setup.personal_token = true;
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let query = json!({ "query": "{ viewer { login } }" });
    assert_eq!(
        tollgate.ask("POST", "/graphql").json(&query).send().await.verdict(),
        "403 operation_forbidden"
    );
    assert_eq!(tollgate.ask("POST", "/graphql").by(1).json(&query).send().await.verdict(), "200");
    assert!(tollgate.arrived().iter().all(|request| request.credential == "pat"));
}
