//! What it costs to know what a request does: from its method, its target and its body.
//!
//! `cargo bench --bench classify`

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use serde_json::json;
use tollgate::policy::graphql::reads::Reads;
use tollgate::policy::graphql::{Request, mutations, reads};
use tollgate::policy::judge;
use tollgate::policy::repositories::RepositorySet;
use tollgate::policy::routes;
use tollgate::policy::target::Target;

/// Method, path, query, body: what agents send most, and what decides.
const REQUESTS: [(&str, &str, &str, Option<&str>, &str); 6] = [
    ("read a file", "GET", "/repos/acme/widgets/contents/src/proxy/guard.rs", Some("ref=feature%2Fx"), ""),
    ("list issues", "GET", "/repos/acme/widgets/issues", Some("state=open&per_page=100&page=2"), ""),
    ("comment", "POST", "/api/v3/repos/acme/widgets/issues/76/comments", None, r#"{"body":"LGTM"}"#),
    (
        "move a branch",
        "PATCH",
        "/repos/acme/widgets/git/refs/heads/feature%2Fx",
        None,
        r#"{"sha":"1","force":true}"#,
    ),
    ("merge", "PUT", "/repositories/2001/pulls/76/merge", None, r#"{"merge_method":"squash"}"#),
    ("refused", "PUT", "/repos/acme/widgets/pulls/76/Merge", None, "{}"),
];

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("classify");
    for (name, method, path, query, body) in REQUESTS {
        let method: Method = method.parse().expect("the table holds methods");
        group.bench_function(name, |b| {
            b.iter(|| {
                let target = Target::parse(path, query).ok()?;
                let route = routes::find(&method, &target).ok()?;
                judge::judge(&route, &target, body.as_bytes()).ok()
            });
        });
    }
    group.finish();
}

/// A document of some 2 KiB, as `gh pr view` sends it, and the worst that fits into 1 MiB.
fn documents() -> [(&'static str, Vec<u8>); 7] {
    let fields = "nodes { id number title body state createdAt author { login } \
         labels(first: 20) { nodes { id name color } } comments(first: 100) { nodes { id author { login } body } \
         pageInfo { hasNextPage endCursor } } reviews(last: 50) { nodes { id state author { login } } } }";
    let page = |alias: &str| format!("{alias}: pullRequests(first: 30, states: OPEN) {{ {fields} }} ");
    let query = format!(
        "query View($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{ {} }} }}",
        ["a", "b", "c", "d", "e", "f"].map(page).concat()
    );
    let request = |query: &str| {
        json!({"query": query, "variables": {"owner": "acme", "name": "widgets"}}).to_string().into_bytes()
    };
    let merge = "mutation M($input: MergePullRequestInput!) { mergePullRequest(input: $input) { pullRequest { merged } } }";
    let merge = json!({"query": merge, "variables": {"input": {"pullRequestId": "PR_kwDOA"}}}).to_string();
    let wide =
        format!("{{ repository(owner: \"acme\", name: \"widgets\") {{ {} }} }}", "id ".repeat(340_000));
    let comment = format!("# {}\n{{ viewer {{ login }} }}", "x".repeat(1_000_000));
    let mut bomb = String::from("query { ...F0 }");
    for level in 0..20_000 {
        let next = (level + 1) % 20_000;
        bomb.push_str(&format!(" fragment F{level} on Query {{ a{{...F{next}}} b{{...F{next}}} }}"));
    }
    bomb.truncate(1_000_000);
    // As much as is taken: tokens, fields with fragments in place, variables.
    let fields = "viewer { login } ".repeat(50);
    let spread = format!("query {{ {} }} fragment F on Query {{ {fields} }}", "...F ".repeat(180));
    let put_in = format!("query($v: X) {{ {} }}", "a(b: $v) { c } ".repeat(1_500));
    let put_in = json!({"query": put_in, "variables": {"v": "x".repeat(1_200)}}).to_string().into_bytes();
    [
        ("query of 2 KiB", request(&query)),
        ("merge mutation", merge.into_bytes()),
        ("hostile: wide", request(&wide)),
        ("hostile: comment", request(&comment)),
        ("hostile: fragments", request(&bomb)),
        ("most fields", request(&spread)),
        ("most variables", put_in),
    ]
}

fn graphql(c: &mut Criterion) {
    let set = RepositorySet::new(vec!["acme/widgets".parse().expect("a pattern")]);
    let mut group = c.benchmark_group("graphql");
    for (name, body) in documents() {
        eprintln!("{name}: {} bytes", body.len());
        group.bench_function(name, |b| {
            b.iter(|| -> Option<(Reads, u64)> {
                let request = Request::read(&body).ok()?;
                let points = request.price().ok()?.points();
                mutations::judge(&request).ok()?;
                Some((reads::judge(&request, &set).ok()?, points))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, classify, graphql);
criterion_main!(benches);
