//! Agents with repositories of several owners, whom different installations of the App serve.

use github_sim::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::support::{Answer, Setup, Tollgate, agent};

/// The first issue of each repository.
const OF_ACME: &str = "I_kwDO200100001";
const OF_OTHER: &str = "I_kwDO210100001";

fn setup() -> Setup {
    Setup::with(vec![
        agent("both", &["repositories: [\"acme/*\", other/tool]"]),
        agent("all", &["repositories: [\"*\"]"]),
    ])
}

async fn query(tollgate: &Tollgate, by: usize, query: &str, variables: &Value) -> Answer {
    tollgate
        .ask("POST", "/graphql")
        .by(by)
        .json(&json!({ "query": query, "variables": variables }))
        .send()
        .await
}

/// They were read with the first owner's token, for whom the others' do not exist.
#[tokio::test]
async fn a_node_is_read_where_it_lies() {
    let tollgate = setup().start().await;
    for by in [0, 1] {
        for id in [OF_ACME, OF_OTHER] {
            for read in
                ["query($id: ID!) { node(id: $id) { id } }", "query($id: ID!) { nodes(ids: [$id]) { id } }"]
            {
                let answer = query(&tollgate, by, read, &json!({ "id": id })).await;
                assert_eq!(answer.verdict(), "200", "{by}: {}", answer.text());
                assert!(answer.text().contains(id), "{by}: {}", answer.text());
            }
        }
    }
}

/// GitHub answered or did the part that one installation can see, and nobody was told of the rest.
#[tokio::test]
async fn what_no_single_installation_serves_is_refused_whole() {
    let tollgate = setup().start().await;
    let add = |id| format!("addComment(input: {{subjectId: \"{id}\", body: \"x\"}}) {{ clientMutationId }}");
    let documents = [
        format!("mutation {{ a: {} b: {} }}", add(OF_ACME), add(OF_OTHER)),
        "{ a: repository(owner: \"acme\", name: \"widgets\") { id } b: repository(owner: \"other\", name: \"tool\") { id } }"
            .to_owned(),
        "{ search(type: ISSUE, query: \"repo:acme/widgets repo:other/tool\", first: 9) { issueCount } }".to_owned(),
        format!("{{ repository(owner: \"acme\", name: \"widgets\") {{ id }} node(id: \"{OF_OTHER}\") {{ id }} }}"),
    ];
    for by in [0, 1] {
        for document in &documents {
            let answer = query(&tollgate, by, document, &json!({})).await;
            assert_eq!(answer.verdict(), "400 bad_request", "{by} {document}: {}", answer.text());
            assert!(answer.text().contains("for each owner"), "{}", answer.text());
        }
        let search = "/search/issues?q=repo:acme/widgets+repo:other/tool";
        assert_eq!(tollgate.ask("GET", search).by(by).send().await.verdict(), "400 bad_request");
    }
    let commented = |issue: &str| format!("/repos/{issue}/comments");
    for issue in ["acme/widgets/issues/1", "other/tool/issues/1"] {
        let comments = tollgate.ask("GET", &commented(issue)).by(1).send().await;
        assert_eq!(comments.verdict(), "200");
        assert!(!comments.text().contains("\"x\""), "{}", comments.text());
    }
    // Accounts may be read beside anything.
    let beside =
        "{ organization(login: \"acme\") { id } repository(owner: \"other\", name: \"tool\") { name } }";
    let answer = query(&tollgate, 0, beside, &json!({})).await;
    assert_eq!(answer.json()["data"]["repository"]["name"], "tool", "{}", answer.text());
}

#[tokio::test]
async fn a_personal_token_serves_all_owners_at_once() {
    let mut setup = Setup { personal_token: true, ..setup() };
    setup.sim.personal_tokens = vec!["ghp_one".to_owned()];
    let tollgate = setup.start().await;
    let search = "/search/issues?q=repo:acme/widgets+repo:other/tool";
    let answer = tollgate.ask("GET", search).send().await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
}

/// They got `404 no_installation`, although the other installation could tell as well.
#[tokio::test]
async fn what_is_for_everyone_goes_by_any_installation_when_the_first_is_suspended() {
    let mut setup = setup();
    setup.agents.push(agent("named", &["repositories: [\"acme/*\", other/tool]", "installation: acme"]));
    let tollgate = setup.start().await;
    assert!(tollgate.sim.edit(|world| world.suspend("acme", true)));
    for path in ["/meta", "/users/acme", "/repos/other/tool"] {
        assert_eq!(tollgate.get(path).await.verdict(), "200", "{path}");
    }
    let answer = query(&tollgate, 0, "{ rateLimit { limit } }", &json!({})).await;
    assert_eq!(answer.verdict(), "200", "{}", answer.text());
    for path in ["/meta", "/repos/acme/widgets"] {
        let by_named = tollgate.ask("GET", path).by(2).send().await;
        assert_eq!(by_named.verdict(), "404 no_installation", "{path}");
        assert!(by_named.text().contains("suspended"), "{}", by_named.text());
    }
}

/// Each id was asked for at every installation in turn, and the first one's spent quota refused the others' pages.
#[tokio::test]
async fn a_further_page_needs_no_look_up() {
    let tollgate = setup().start().await;
    let page = tollgate.get("/repos/other/tool/issues?per_page=1").await;
    let link = page.header("link").to_owned();
    let next = link.split(['<', '>']).nth(1).unwrap().strip_prefix(&tollgate.base).unwrap().to_owned();
    assert!(next.starts_with("/repositories/2101/issues?"), "{link}");
    let page = tollgate.get(&next).await;
    assert_eq!(page.verdict(), "200", "{}", page.text());
    let arrived = tollgate.arrived();
    assert!(arrived.iter().all(|request| request.target != "/repositories/2101"), "{arrived:?}");
}

#[tokio::test]
async fn an_installation_that_cannot_be_asked_holds_up_no_other() {
    let tollgate = setup().start().await;
    let forbid = |path: &str| {
        let body = Some(json!({"message": "Resource protected by organization SAML enforcement."}));
        let refused =
            FaultKind::Status { status: 403, body, headers: Default::default(), takes_effect: false };
        tollgate.sim.faults().add(Fault::new(refused).on("GET", path).times(1))
    };
    // The first installation that is asked does not say whether it has it; the second does.
    let fault = forbid("/repositories/2101");
    assert_eq!(tollgate.get("/repositories/2101/labels").await.verdict(), "200");
    assert_eq!(tollgate.sim.faults().fired(fault), 1);
    // Nobody has this one, as far as is known.
    forbid("/repositories/999999");
    assert_eq!(tollgate.get("/repositories/999999/labels").await.verdict(), "502 upstream_unreachable");
    assert_eq!(tollgate.get("/repositories/999999/labels").await.verdict(), "403 repository_forbidden");
}
