//! What it costs to know what a REST request does: from its method, its target and its body.
//!
//! `cargo bench --bench classify`

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use tollgate::policy::judge;
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

criterion_group!(benches, classify);
criterion_main!(benches);
