//! GraphQL: views, connections, variables and costs.

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
            issues(first: $n, states: [CLOSED]) { totalCount nodes { number title } pageInfo {
                endCursor hasNextPage } }
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
    let query = "{ repository(owner: \"acme\", name: \"widgets\") { issues { totalCount nodes { id } } } }";
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
    let query = "{ repositoryOwner(login: \"other\") { repositories(first: 9) { totalCount } }
        organization(login: \"foreign\") { repositories(first: 9) { nodes { name } } }
        viewer { repositories(first: 9) { totalCount } } }";
    let answer = ask(&sim, query, json!({})).await.json();
    let none = json!({"repositories": {"totalCount": 0}});
    assert_eq!(answer["data"]["repositoryOwner"], none);
    assert_eq!(answer["data"]["organization"]["repositories"]["nodes"], json!([{"name": "lib"}]));
    assert_eq!(answer["data"]["viewer"]["repositories"]["totalCount"], 4);
    let query = "query($id: ID!) { node(id: $id) { ... on Issue { number } } }";
    let answer = ask(&sim, query, json!({"id": "I_kwDO200100005"})).await.json();
    assert_eq!(answer["data"]["node"]["number"], 5);
}

#[tokio::test]
async fn counts_need_no_page() {
    let sim = start(config()).await;
    let query = "{ repository(owner: \"acme\", name: \"widgets\") { issues(states: OPEN) { totalCount } } }";
    let answer = ask(&sim, query, json!({})).await.json();
    assert_eq!(answer, json!({"data": {"repository": {"issues": {"totalCount": 68}}}}));
}

#[tokio::test]
async fn variables_are_those_of_the_chosen_operation() {
    let sim = start(config()).await;
    let query = "query A($n: Int = 3) { repository(owner: \"acme\", name: \"widgets\") {
            issues(first: $n, orderBy: {field: CREATED_AT, direction: DESC}) { nodes { number } } }
            rateLimit { cost nodeCount } }
        query B($n: Int = 400) { viewer { a(first: $n) { x } } }";
    let body =
        |name: &str, variables: Value| json!({"query": query, "operationName": name, "variables": variables});
    let token = sim.mint("acme");
    let send = |body: Value| call(&sim, "POST", "/graphql").token(&token).json(&body).send();
    let data = send(body("A", json!({}))).await.json()["data"].clone();
    let numbers = json!([{"number": 75}, {"number": 74}, {"number": 73}]);
    assert_eq!(data["repository"]["issues"]["nodes"], numbers);
    assert_eq!(data["rateLimit"], json!({"cost": 1, "nodeCount": 3}), "a default counts as well");
    let data = send(body("A", json!({"n": 2}))).await.json()["data"].clone();
    assert_eq!(data["rateLimit"]["nodeCount"], 2);
    let refused = send(body("A", json!({"n": "2"}))).await.json();
    let message = "Variable $n of type Int was provided invalid value";
    assert_eq!(refused, json!({"errors": [{"message": message}]}));
    let nameless = send(json!({"query": query})).await.json();
    assert!(nameless["data"].is_null() && nameless["errors"].is_array());
}

#[tokio::test]
async fn directives_leave_out_and_repeated_fields_are_one() {
    let sim = start(config()).await;
    let query =
        "query($yes: Boolean!, $no: Boolean = false) { repository(owner: \"acme\", name: \"gadgets\") {
        name @include(if: $no)
        id @skip(if: $yes)
        owner { login }
        ...more @include(if: $yes)
        ... @skip(if: $no) { isPrivate }
        ... on Issue { number }
    } }
    fragment more on Repository { owner { id ... on Organization { databaseId } ... on User { name } } }";
    let answer = ask(&sim, query, json!({"yes": true})).await.json();
    let owner = json!({"login": "acme", "id": "O_kgDO501", "databaseId": 501});
    assert_eq!(answer["data"]["repository"], json!({"owner": owner, "isPrivate": true}));
    let cycle = "{ viewer { ...a } } fragment a on User { ...a }";
    assert!(ask(&sim, cycle, json!({})).await.json()["errors"].is_array());
    let bare = ask(&sim, "{ viewer }", json!({})).await.json();
    assert!(bare["errors"][0]["message"].as_str().unwrap().starts_with("Field must have selections"));
}

#[tokio::test]
async fn filters_orders_and_searches() {
    let sim = start(config()).await;
    sim.edit(|world| world.add_tag("acme/widgets", "v2"));
    let query = "{ repository(owner: \"acme\", name: \"old-name\") { nameWithOwner }
        r: repository(owner: \"acme\", name: \"widgets\") {
            tags: refs(refPrefix: \"refs/tags/\", first: 9) { nodes { name prefix } }
            heads: refs(refPrefix: \"refs/heads/\", first: 9, query: \"rel\") { nodes { name } }
            bugs: issues(first: 1, filterBy: {labels: [\"bug\"], states: [CLOSED]}) { totalCount nodes
                { number } }
            mine: issues(first: 1, filterBy: {assignee: \"sim-user\"}) { totalCount }
            pullRequests(headRefName: \"release\", first: 1, states: OPEN) { nodes { number baseRefName } }
        }
        search(query: \"repo:acme/widgets is:pr is:open author:sim-user\", type: ISSUE, first: 1) {
            issueCount nodes { ... on PullRequest { number } } pageInfo { hasNextPage } }
        hidden: search(query: \"repo:other/tool is:issue\", type: ISSUE, first: 1) { issueCount }
    }";
    let answer = ask(&sim, query, json!({})).await.json();
    assert!(answer["errors"].is_null(), "{answer}");
    let data = &answer["data"];
    assert_eq!(data["repository"]["nameWithOwner"], "acme/new-name");
    let tags = data["r"]["tags"]["nodes"].as_array().unwrap();
    assert_eq!((tags.len(), &tags[2]), (3, &json!({"name": "v2", "prefix": "refs/tags/"})));
    assert_eq!(data["r"]["heads"]["nodes"], json!([{"name": "release"}]));
    assert_eq!(data["r"]["bugs"], json!({"totalCount": 2, "nodes": [{"number": 30}]}));
    assert_eq!(data["r"]["mine"]["totalCount"], 0);
    assert_eq!(data["r"]["pullRequests"]["nodes"], json!([{"number": 77, "baseRefName": "main"}]));
    let found = json!({"issueCount": 2, "nodes": [{"number": 76}], "pageInfo": {"hasNextPage": true}});
    assert_eq!(data["search"], found);
    assert_eq!(data["hidden"]["issueCount"], 0);
}
