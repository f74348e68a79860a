//! GraphQL: node ids, what they name, and what is reached from there.

use serde_json::{Value, json};

use crate::client::{call, config, start};

async fn data(sim: &github_sim::Sim, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    call(sim, "POST", "/graphql").token(&sim.mint("acme")).json(&body).send().await.json()
}

async fn rest(sim: &github_sim::Sim, method: &str, path: &str, body: Value) -> Value {
    let path = format!("/repos/acme/widgets{path}");
    call(sim, method, &path).token(&sim.mint("acme")).json(&body).send().await.json()
}

#[tokio::test]
async fn every_kind_of_node_is_found_by_the_id_that_rest_tells() {
    let sim = start(config()).await;
    let comment = rest(&sim, "POST", "/issues/5/comments", json!({"body": "c"})).await;
    let review = rest(&sim, "POST", "/pulls/76/reviews", json!({"event": "APPROVE"})).await;
    let remark = rest(&sim, "POST", "/pulls/76/comments", json!({"body": "r"})).await;
    let label = rest(&sim, "GET", "/labels/bug", json!({})).await;
    let branch = rest(&sim, "GET", "/git/ref/heads/feature/x", json!({})).await;
    let commit = rest(&sim, "GET", "/commits/main", json!({})).await;
    let release = rest(&sim, "POST", "/releases", json!({"tag_name": "v9"})).await;
    let deployment = rest(&sim, "POST", "/deployments", json!({"ref": "main"})).await;
    let run = json!({"name": "ci", "head_sha": commit["sha"], "conclusion": "success"});
    let run = rest(&sim, "POST", "/check-runs", run).await;
    let pull = rest(&sim, "GET", "/pulls/76", json!({})).await;
    let issue = rest(&sim, "GET", "/issues/5", json!({})).await;
    let tag = rest(&sim, "GET", "/tags", json!({})).await[0].clone();
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id
        ... on RepositoryNode { repository { nameWithOwner } }
        ... on Ref { repository { nameWithOwner } } ... on Commit { repository { nameWithOwner } }
        ... on Label { repository { nameWithOwner } } ... on Release { repository { nameWithOwner } }
        ... on Deployment { repository { nameWithOwner } } ... on CheckRun { repository { nameWithOwner } }
        ... on PullRequestReviewComment { repository { nameWithOwner } } } }";
    let kinds = [
        (&issue, "Issue"),
        (&pull, "PullRequest"),
        (&comment, "IssueComment"),
        (&review, "PullRequestReview"),
        (&remark, "PullRequestReviewComment"),
        (&label, "Label"),
        (&branch, "Ref"),
        (&tag, "Ref"),
        (&commit, "Commit"),
        (&release, "Release"),
        (&deployment, "Deployment"),
        (&run, "CheckRun"),
    ];
    let ids: Vec<&Value> = kinds.iter().map(|(object, _)| &object["node_id"]).collect();
    let answer = data(&sim, query, json!({"ids": ids})).await;
    assert!(answer["errors"].is_null(), "{answer}");
    for ((object, kind), node) in kinds.iter().zip(answer["data"]["nodes"].as_array().unwrap()) {
        let expected = json!({
            "__typename": kind,
            "id": object["node_id"],
            "repository": {"nameWithOwner": "acme/widgets"},
        });
        assert_eq!(*node, expected);
    }
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Actor { login } } }";
    let accounts = ["O_kgDO501", "U_kgDO9001", "BOT_kgDO9100", "R_kgDO2001"];
    let answer = data(&sim, query, json!({"ids": accounts})).await["data"]["nodes"].clone();
    let told: Vec<&Value> = answer.as_array().unwrap().iter().map(|node| &node["__typename"]).collect();
    assert_eq!(told, ["Organization", "User", "Bot", "Repository"]);
    assert_eq!(answer[1]["login"], "sim-user");
}

#[tokio::test]
async fn each_unseen_id_is_null_and_an_error() {
    let sim = start(config()).await;
    // Another owner's, a pull request as an issue, and what is no id.
    let ids =
        ["R_kgDO2101", "I_kwDO200100005", "I_kwDO200100076", "REF_kwDO2001", "C_é", "x", "PR_kwDO210100001"];
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let answer = data(&sim, query, json!({"ids": ids})).await;
    let nodes = answer["data"]["nodes"].as_array().unwrap();
    let seen: Vec<bool> = nodes.iter().map(|node| !node.is_null()).collect();
    assert_eq!(seen, [false, true, false, false, false, false, false]);
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 6);
    let expected = json!({
        "type": "NOT_FOUND",
        "path": ["nodes", 0],
        "message": "Could not resolve to a node with the global id of 'R_kgDO2101'",
    });
    assert_eq!(errors[0], expected);
    assert_eq!(errors[5]["path"], json!(["nodes", 6]));
    // A public repository of somebody else is seen.
    let answer = data(&sim, query, json!({"ids": ["R_kgDO2301"]})).await;
    assert_eq!(answer["data"]["nodes"][0]["id"], "R_kgDO2301");
}

#[tokio::test]
async fn pull_requests_tell_what_guards_ask() {
    let sim = start(config()).await;
    let head = rest(&sim, "GET", "/pulls/76", json!({})).await["head"]["sha"].clone();
    rest(&sim, "POST", &format!("/statuses/{}", head.as_str().unwrap()), json!({"state": "success"})).await;
    let query = "{ node(id: \"PR_kwDO200100076\") { ... on PullRequest {
        number headRefOid headRefName baseRefName isDraft state mergeStateStatus stack { id }
        autoMergeRequest { enabledAt }
        headRef { name prefix target { oid } branchProtectionRule { id } associatedPullRequests(first:
            2) { totalCount } }
        baseRef { branchProtectionRule { pattern } }
        headRepository { nameWithOwner } changedFiles additions
        files(first: 5) { nodes { path changeType } }
        commits(last: 1) { nodes { commit { oid statusCheckRollup { state contexts(first: 9) {
            totalCount } } } } }
    } } }";
    let pull = data(&sim, query, json!({})).await["data"]["node"].clone();
    let expected = json!({
        "number": 76, "headRefOid": head, "headRefName": "feature/x", "baseRefName": "main",
        "isDraft": false, "state": "OPEN", "mergeStateStatus": "CLEAN", "stack": null,
        "autoMergeRequest": null,
        "headRef": {
            "name": "feature/x", "prefix": "refs/heads/", "target": {"oid": head},
            "branchProtectionRule": null, "associatedPullRequests": {"totalCount": 1},
        },
        "baseRef": {"branchProtectionRule": {"pattern": "main"}},
        "headRepository": {"nameWithOwner": "acme/widgets"}, "changedFiles": 1, "additions": 1,
        "files": {"nodes": [{"path": "work-0.txt", "changeType": "ADDED"}]},
        "commits": {"nodes": [{"commit": {
            "oid": head, "statusCheckRollup": {"state": "SUCCESS", "contexts": {"totalCount": 1}},
        }}]},
    });
    assert_eq!(pull, expected);
    sim.edit(|world| world.delete_branch("acme/widgets", "feature/x"));
    let query =
        "{ node(id: \"PR_kwDO200100076\") { ... on PullRequest { headRef { id } state headRefOid } } }";
    let pull = data(&sim, query, json!({})).await["data"]["node"].clone();
    assert_eq!(pull, json!({"headRef": null, "state": "CLOSED", "headRefOid": head}));
}

#[tokio::test]
async fn repositories_answer_by_name_and_number() {
    let sim = start(config()).await;
    rest(&sim, "POST", "/releases", json!({"tag_name": "v9"})).await;
    let query = "{ repository(owner: \"acme\", name: \"widgets\") {
        ref(qualifiedName: \"refs/heads/main\") { name target { oid ... on Commit { messageHeadline
            history(first: 1) { totalCount } } } }
        short: ref(qualifiedName: \"release\") { id }
        none: ref(qualifiedName: \"refs/heads/none\") { id }
        issueOrPullRequest(number: 76) { __typename ... on Issue { id } ... on PullRequest { number } }
        label(name: \"bug\") { id name color }
        noLabel: label(name: \"none\") { id }
        object(expression: \"HEAD\") { oid __typename }
        file: object(expression: \"main:README.md\") { ... on Blob { text } }
        latestRelease { tagName isLatest }
        mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed autoMergeAllowed viewerPermission
        assignableUsers(first: 1) { nodes { login } }
        milestones(first: 1) { totalCount }
        pullRequest(number: 5) { id }
    } repositoryOwner(login: \"acme\") { __typename login } user(login: \"acme\") { login }
        organization(login: \"acme\") { id } }";
    let answer = data(&sim, query, json!({})).await;
    let repository = &answer["data"]["repository"];
    let tip = sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let target = json!({"oid": tip, "messageHeadline": "Add a change log", "history": {"totalCount": 2}});
    assert_eq!(repository["ref"], json!({"name": "main", "target": target}));
    assert!(repository["short"]["id"].as_str().unwrap().starts_with("REF_kwDO2001"));
    assert!(repository["none"].is_null() && repository["noLabel"].is_null());
    assert_eq!(repository["issueOrPullRequest"], json!({"__typename": "PullRequest", "number": 76}));
    assert_eq!(repository["label"]["color"], "d73a4a");
    assert_eq!(repository["object"], json!({"oid": tip, "__typename": "Commit"}));
    assert_eq!(repository["file"]["text"], "# widgets\n\nWidgets for everybody.\n");
    assert_eq!(repository["latestRelease"], json!({"tagName": "v9", "isLatest": true}));
    assert_eq!(
        (&repository["mergeCommitAllowed"], &repository["viewerPermission"]),
        (&json!(true), &json!("WRITE"))
    );
    assert_eq!(repository["assignableUsers"]["nodes"][0]["login"], "sim-user");
    assert_eq!(answer["data"]["repositoryOwner"], json!({"__typename": "Organization", "login": "acme"}));
    assert_eq!(answer["data"]["organization"]["id"], "O_kgDO501");
    let errors: Vec<&Value> =
        answer["errors"].as_array().unwrap().iter().map(|error| &error["message"]).collect();
    let expected = [
        "Could not resolve to a PullRequest with the number of 5.",
        "Could not resolve to a User with the login of 'acme'.",
    ];
    assert_eq!(errors, expected);
}

#[tokio::test]
async fn takes_absolute_targets_as_a_proxy_does() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let sim = start(config()).await;
    let address = sim.api_url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = r#"{"query": "{ viewer { login } }"}"#;
    let request = format!(
        "POST http://api.github.localhost/graphql HTTP/1.1\r\nhost: api.github.localhost\r\nuser-agent: t\r\n\
         authorization: token {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        sim.mint("acme"),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(r#"{"data":{"viewer":{"login":"github-sim[bot]"}}}"#), "{answer}");
    assert_eq!(sim.requests()[0].target, "/graphql");
}
