//! GraphQL reads that lead to what is not the agent's.

use super::mutations::Ids;
use super::run::Run;

const ROWS: [(&str, &str); 75] = [
    (
        r#"{ repository(owner: "acme", name: "widgets") { ref(qualifiedName: "main") { compare(headRef: "solo:main") { aheadBy } } } }"#,
        "",
    ),
    (
        "query($h: String = \"foreign:lib:main\") { repository(owner: \"acme\", name: \"widgets\") { defaultBranchRef { compare(headRef: $h) { aheadBy } } } }",
        "",
    ),
    (
        r#"mutation { addSubIssue(input: {issueId: "<issue>", subIssueUrl: "https://github.com/other/tool/issues/1"}) { clientMutationId } }"#,
        "",
    ),
    (r#"{ repository(owner: "acme", name: "secret-plans") { id } }"#, ""),
    (r#"{ repository(owner: "acme", name: "secret\u002dplans") { id } }"#, ""),
    (r#"{ repository(owner: "acme", name: """secret-plans""") { id } }"#, ""),
    (r#"{ widgets: repository(owner: "acme", name: "secret-plans") { id } }"#, ""),
    (r#"{ repository(name: "tool", owner: "other") { id } }"#, ""),
    (r#"{ repository(owner: "acme", name: "old-name") { id } }"#, ""),
    (
        r#"{ repository(owner: "acme", name: "widgets", followRenames: true) { id } other: repository(owner: "foreign", name: "lib") { id } }"#,
        "",
    ),
    (r#"{ repository(owner: "acme", name: "widgets/../secret-plans") { id } }"#, ""),
    (r#"{ repository(owner: "acme/secret-plans", name: "widgets") { id } }"#, ""),
    ("query($n: String!) { repository(owner: \"acme\", name: $n) { id } }", r#"{"n": "secret-plans"}"#),
    ("query($n: String = \"secret-plans\") { repository(owner: \"acme\", name: $n) { id } }", ""),
    (
        "query($n: String = \"widgets\") { repository(owner: \"acme\", name: $n) { id } }",
        r#"{"n": "secret-plans"}"#,
    ),
    (
        "query($o: String = \"other\", $n: String = \"tool\") { a: repository(owner: $o, name: $n) { id } }",
        "",
    ),
    (r#"{ ...F } fragment F on Query { repository(owner: "acme", name: "secret-plans") { id } }"#, ""),
    (
        r#"{ ...F } fragment F on Query { ...G } fragment G on Query { ... { repository(owner: "acme", name: "secret-plans") { id } } }"#,
        "",
    ),
    (r#"{ ... on Query { repository(owner: "acme", name: "secret-plans") { id } } }"#, ""),
    (r#"{ ... @include(if: true) { repository(owner: "acme", name: "secret-plans") { id } } }"#, ""),
    (
        r#"query($s: Boolean = false) { repository(owner: "acme", name: "secret-plans") @skip(if: $s) { id } }"#,
        "",
    ),
    (r#"{ relay { repository(owner: "acme", name: "secret-plans") { id } } }"#, ""),
    (
        r#"{ relay { relay { ...F } } } fragment F on Query { repository(owner: "acme", name: "secret-plans") { id } }"#,
        "",
    ),
    (
        r#"query A { viewer { login } } query B { repository(owner: "acme", name: "secret-plans") { id } }"#,
        "",
    ),
    (
        r#"{ viewer { login } } fragment F on Query { repository(owner: "acme", name: "secret-plans") { id } }"#,
        "",
    ),
    ("{ viewer { repositories(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { login: repositories(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { ...F } } fragment F on User { repositories(first: 9) { nodes { nameWithOwner } } }", ""),
    ("{ viewer { ... on RepositoryOwner { repositories(first: 9) { nodes { nameWithOwner } } } } }", ""),
    ("{ viewer { ... on SomethingNew { repositories(first: 9) { nodes { nameWithOwner } } } } }", ""),
    (r#"{ viewer { repository(name: "secret-plans") { id } } }"#, ""),
    ("{ viewer { repositoriesContributedTo(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { starredRepositories(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { watching(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { topRepositories(first: 9) { nodes { nameWithOwner } } } }", ""),
    ("{ viewer { issues(first: 9) { nodes { title } } } }", ""),
    ("{ viewer { pullRequests(first: 9) { nodes { title } } } }", ""),
    (
        "{ viewer { organizations(first: 9) { nodes { repositories(first: 9) { nodes { nameWithOwner } } } } } }",
        "",
    ),
    (r#"{ organization(login: "acme") { repositories(first: 9) { nodes { nameWithOwner } } } }"#, ""),
    (r#"{ organization(login: "acme") { repository(name: "secret-plans") { id } } }"#, ""),
    (r#"{ organization(login: "acme") { membersWithRole(first: 9) { nodes { login } } } }"#, ""),
    (
        r#"{ organization(login: "acme") { teams(first: 9) { nodes { members(first: 9) { nodes { login } } } } } }"#,
        "",
    ),
    (
        r#"{ organization(login: "acme") { projectsV2(first: 9) { nodes { items(first: 9) { totalCount } } } } }"#,
        "",
    ),
    (r#"{ organization(login: "acme") { newerThanTheTable(first: 9) { totalCount } } }"#, ""),
    (
        r#"{ repository(owner: "acme", name: "widgets") { owner { ... on Organization { ipAllowListEntries(first: 9) { totalCount } } } } }"#,
        "",
    ),
    (r#"{ user(login: "solo") { organizations(first: 9) { nodes { login } } } }"#, ""),
    (r#"{ user(login: "solo") { repositories(first: 9) { nodes { nameWithOwner } } } }"#, ""),
    (r#"{ repositoryOwner(login: "acme") { repositories(first: 9) { nodes { nameWithOwner } } } }"#, ""),
    (r#"{ repositoryOwner(login: "acme") { repository(name: "secret-plans") { id } } }"#, ""),
    (
        r#"{ repositoryOwner(login: "acme") { ... on Organization { repositories(first: 9) { nodes { nameWithOwner } } } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { owner { repositories(first: 9) { nodes { nameWithOwner } } } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { owner { ... on Organization { r: repositories(first: 9) { nodes { nameWithOwner } } } } } }"#,
        "",
    ),
    (
        r#"{ repository(owner: "acme", name: "widgets") { issue(number: 1) { author { ... on User { repositories(first: 9) { nodes { nameWithOwner } } } } } } }"#,
        "",
    ),
    (r#"{ enterprise(slug: "acme") { id } }"#, ""),
    (r#"{ search(query: "repo:acme/secret-plans", type: ISSUE, first: 9) { issueCount } }"#, ""),
    (r#"{ search(query: "is:open", type: ISSUE, first: 9) { issueCount } }"#, ""),
    (r#"{ search(query: "repo:acme/widgets repo:other/tool", type: ISSUE, first: 9) { issueCount } }"#, ""),
    (r#"{ search(query: "repo:acme/widgets OR is:open", type: ISSUE, first: 9) { issueCount } }"#, ""),
    ("query($q: String = \"org:acme\") { search(query: $q, type: ISSUE, first: 9) { issueCount } }", ""),
    (
        "query($q: String = \"repo:acme/widgets\") { search(query: $q, type: ISSUE, first: 9) { issueCount } }",
        r#"{"q": "repo:acme/secret-plans"}"#,
    ),
    (r#"{ resource(url: "https://github.com/acme/secret-plans") { url } }"#, ""),
    (r#"{ resource(url: "https://github.com/acme/widgets/../secret-plans") { url } }"#, ""),
    (r#"{ resource(url: "https://github.com/acme/widgets/%2e%2e/secret-plans/issues/1") { url } }"#, ""),
    (r#"{ resource(url: "https://github.com\\other\\tool/acme/widgets") { url } }"#, ""),
    (r#"{ resource(url: "//github.com/acme/secret-plans") { url } }"#, ""),
    (r#"{ resource(url: "/acme/secret-plans") { url } }"#, ""),
    ("query($u: URI!) { resource(url: $u) { url } }", r#"{"u": "https://github.com/other/tool/issues/1"}"#),
    (r#"{ node(id: "<plans>") { id } }"#, ""),
    ("query($i: ID!) { node(id: $i) { ... on Issue { title } } }", r#"{"i": "<tool-issue>"}"#),
    (r#"{ nodes(ids: ["<issue>", "<lib-issue>"]) { ... on Issue { title } } }"#, ""),
    (
        "query($i: [ID!]!) { nodes(ids: $i) { ... on Issue { title } } }",
        r#"{"i": ["<issue>", "<tool-issue>"]}"#,
    ),
    ("query($a: ID = \"<tool-issue>\") { nodes(ids: [\"<issue>\", $a]) { ... on Issue { title } } }", ""),
    (r#"{ nodes(ids: "<tool-issue>") { ... on Issue { title } } }"#, ""),
    (r#"{ relay { node(id: "<plans-main>") { id } } }"#, ""),
    (
        r#"mutation { addComment(input: {subjectId: "<issue>", body: "x"}) { subject { repository { owner { repositories(first: 9) { nodes { nameWithOwner } } } } } } }"#,
        "",
    ),
];

/// Documents that ask for a credential, or for nothing at all.
const CREDENTIALS: [&str; 6] = [
    r#"{ repository(owner: "acme", name: "widgets") { tempCloneToken } }"#,
    r#"{ repository(owner: "acme", name: "widgets") { name: tempCloneToken } }"#,
    r#"{ repository(owner: "acme", name: "widgets") { ...F } } fragment F on Repository { t: tempCloneToken }"#,
    r#"{ node(id: "<widgets>") { ... on Repository { tempCloneToken } } }"#,
    r#"mutation { createIssue(input: {repositoryId: "<widgets>", title: "x"}) { issue { repository { tempCloneToken } } } }"#,
    r#"{ node(id: "I_nothing") { id } }"#,
];

#[tokio::test]
async fn no_walk_leads_out_of_the_agents_repositories() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    let mut served = Vec::new();
    for (document, variables) in ROWS.into_iter().chain(CREDENTIALS.map(|document| (document, ""))) {
        let bytes = run.request("POST /graphql", "", ids.body(document, variables));
        let answer = run.attack(document, &bytes).await;
        if !answer.starts_with("HTTP/1.1 4") {
            served.push(format!("{document} {variables}"));
        }
    }
    assert!(served.is_empty(), "{} were served:\n{}", served.len(), served.join("\n"));
    run.finish(ROWS.len() + CREDENTIALS.len()).await;
}

/// The proxy's own query reveals whose an id is; an agent that sends it is judged like any other.
#[tokio::test]
async fn the_proxys_own_question_is_nobody_elses() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    let first = r#"{ node(id: "<tool-issue>") { id } }"#;
    run.deliver(&[&run.request("POST /graphql", "", ids.body(first, ""))]).await;
    let asked = run.arrivals().into_iter().find_map(|request| request.body).unwrap();
    assert!(asked.contains(&ids.fill("<tool-issue>")), "{asked}");
    let answer = run.attack("the same question", &run.request("POST /graphql", "", &asked)).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    run.finish(1).await;
}
