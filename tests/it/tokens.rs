//! The tokens that reach GitHub open what the agent may use and nothing else, whoever holds them.

use github_sim::Sim;
use serde_json::{Value, json};

use crate::support::tap::Tap;
use crate::support::{Setup, Tollgate, agent, straight};

/// A tollgate whose calls go through a tap.
async fn tapped(agents: Vec<crate::support::TestAgent>) -> (Tollgate, Tap, Sim) {
    let sim = Sim::start(crate::support::roomy()).await.unwrap();
    let (tap, address) = Tap::start(sim.api_url()).await;
    let setup = Setup { api_url: Some(address), ..Setup::with(agents) };
    (setup.start().await, tap, sim)
}

#[tokio::test]
async fn a_token_opens_what_its_agent_has_and_nothing_else() {
    let agents = vec![agent("worker", &["repositories: [acme/widgets]", "require_approval: [merge]"])];
    let (tollgate, tap, sim) = tapped(agents).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let issue = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&json!({"title": "x"})).send().await;
    assert_eq!(issue.verdict(), "201");
    let tokens = tap.tokens();
    assert_eq!(tokens.len(), 2, "one that reads and one that writes");
    for token in &tokens {
        for path in [
            "/repos/acme/gadgets",
            "/repos/acme/secret-plans",
            "/repos/other/tool",
            "/repos/solo/notes",
            "/repositories/2003",
        ] {
            assert_eq!(straight(&sim, token, "GET", path, &Value::Null).await.0, 404, "{path}");
        }
        let (status, seen) = straight(&sim, token, "GET", "/installation/repositories", &Value::Null).await;
        assert_eq!((status, &seen["total_count"]), (200, &json!(1)));
        let settings =
            straight(&sim, token, "PATCH", "/repos/acme/widgets", &json!({"archived": true})).await;
        assert_eq!(settings.0, 403, "administration: {}", settings.1);
        let workflow = json!({"message": "m", "content": "eA==", "branch": "feature/x"});
        let path = "/repos/acme/widgets/contents/.github/workflows/x.yml";
        assert_eq!(straight(&sim, token, "PUT", path, &workflow).await.0, 403, "workflows");
    }
    // A read token can't write anything.
    for (method, path, body) in [
        ("POST", "/repos/acme/widgets/issues", json!({"title": "x"})),
        ("PUT", "/repos/acme/widgets/pulls/76/merge", json!({})),
        (
            "PUT",
            "/repos/acme/widgets/contents/x",
            json!({"message": "m", "content": "eA==", "branch": "feature/x"}),
        ),
        ("DELETE", "/repos/acme/widgets/git/refs/heads/feature/x", Value::Null),
    ] {
        assert_eq!(straight(&sim, &tokens[0], method, path, &body).await.0, 403, "{method} {path}");
    }
    assert!(sim.books().merges.is_empty());
}

#[tokio::test]
async fn agents_with_the_same_rights_share_their_tokens() {
    let agents = vec![
        agent("a", &["repositories: [acme/widgets, acme/gadgets]"]),
        agent("b", &["repositories: [acme/gadgets, ACME/widgets]"]),
        agent("c", &["repositories: [acme/widgets]"]),
    ];
    let (tollgate, tap, _sim) = tapped(agents).await;
    for who in [0, 1, 0, 1] {
        tollgate.ask("GET", "/repos/acme/widgets").by(who).send().await;
    }
    assert_eq!(tap.tokens().len(), 1);
    tollgate.ask("GET", "/repos/acme/widgets").by(2).send().await;
    assert_eq!(tap.tokens().len(), 2);
}
