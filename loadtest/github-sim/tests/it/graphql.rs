//! GraphQL: views, connections, costs, and mutations that are only noted.

use serde_json::{Value, json};

use crate::client::{Answer, call, config, start};

async fn ask(sim: &github_sim::Sim, query: &str, variables: Value) -> Answer {
    let body = json!({"query": query, "variables": variables});
    call(sim, "POST", "/graphql").token(&sim.mint("acme")).json(&body).send().await
}

#[tokio::test]
async fn answers_selections_with_variables_and_fragments() {
    let sim = start(config()).await;
    let query = "query($o: String!, $n: Int = 2) {
        viewer { login }
        repository(owner: $o, name: \"widgets\") {
            ...short
            defaultBranchRef { name }
            issues(first: $n, states: [CLOSED]) { totalCount nodes { number title } pageInfo { endCursor hasNextPage } }
            pull: pullRequest(number: 76) { headRefName __typename }
        }
        rateLimit { cost remaining limit used }
    }
    fragment short on Repository { nameWithOwner id }";
    let data = ask(&sim, query, json!({"o": "acme"})).await.json()["data"].clone();
    assert_eq!(data["viewer"]["login"], "github-sim[bot]");
    let repository = &data["repository"];
    assert_eq!(repository["nameWithOwner"], "acme/widgets");
    assert_eq!(repository["id"], "R_kgDO2001");
    assert_eq!(repository["defaultBranchRef"]["name"], "main");
    assert_eq!(repository["issues"]["totalCount"], 7);
    assert_eq!(repository["issues"]["nodes"][1], json!({"number": 20, "title": "Issue number 20"}));
    assert_eq!(repository["issues"]["pageInfo"], json!({"endCursor": "2", "hasNextPage": true}));
    assert_eq!(repository["pull"], json!({"headRefName": "feature/x", "__typename": "PullRequest"}));
    assert_eq!(data["rateLimit"], json!({"cost": 1, "remaining": 4999, "limit": 5000, "used": 1}));
}

#[tokio::test]
async fn charges_by_connections_and_limits_nodes() {
    let sim = start(config()).await;
    // The documented example: 1 + 100 + 5,000 requests are 51 points.
    let query = "{ viewer { repositories(first: 100) { nodes { issues(first: 50) { nodes {
        labels(first: 60) { nodes { name } } } } } } } }";
    let answer = ask(&sim, query, json!({})).await;
    assert_eq!(answer.header("x-ratelimit-used"), "51");
    let query = "{ viewer { a(first: 100) { b(first: 100) { c(first: 100) { x } } } } }";
    let answer = ask(&sim, query, json!({})).await;
    assert_eq!(answer.json()["errors"][0]["type"], "MAX_NODE_LIMIT_EXCEEDED");
    let query = "{ repository(owner: \"acme\", name: \"widgets\") { issues { totalCount } } }";
    let answer = ask(&sim, query, json!({})).await;
    assert_eq!(answer.json()["errors"][0]["type"], "MISSING_PAGINATION_BOUNDARIES");
}

#[tokio::test]
async fn hides_what_the_token_does_not_see() {
    let sim = start(config()).await;
    let query = "{ repository(owner: \"other\", name: \"tool\") { name } node(id: \"R_kgDO2101\") { id } }";
    let answer = ask(&sim, query, json!({})).await.json();
    assert_eq!(answer["data"], json!({"repository": null, "node": null}));
    assert_eq!(answer["errors"][0]["type"], "NOT_FOUND");
    let query = "query($id: ID!) { node(id: $id) { ... on Issue { number } } }";
    let answer = ask(&sim, query, json!({"id": "I_kwDO200100005"})).await.json();
    assert_eq!(answer["data"]["node"]["number"], 5);
}

#[tokio::test]
async fn mutations_are_noted() {
    let sim = start(config()).await;
    let query = "mutation($i: X!) { m: mergePullRequest(input: $i) { clientMutationId } addStar { x } }";
    let answer = ask(&sim, query, json!({"i": {"pullRequestId": "PR_kwDO200100076"}})).await;
    assert_eq!(answer.json()["data"]["m"], json!({"clientMutationId": null}));
    let books = sim.books();
    assert_eq!(books.mutations, ["mergePullRequest", "addStar"]);
    assert_eq!((books.writes, books.peak_points_per_minute["installation:1001 POST /graphql"]), (1, 5));
    ask(&sim, "{ viewer { login } }", json!({})).await;
    assert_eq!(sim.books().writes, 1, "a query is no write");
    assert_eq!(ask(&sim, "{ broken", json!({})).await.json()["errors"].as_array().unwrap().len(), 1);
}
