//! What it costs to find the links in an answer and turn them, by the byte.
//!
//! `cargo bench --bench links`

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tollgate::links::json::JsonRewriter;
use tollgate::links::{LinkBase, LinkMap};

/// An issue with the keys that GitHub's has, and links below `base`.
fn issue(number: u32, base: &str) -> Value {
    let url = format!("{base}/repos/acme/widgets/issues/{number}");
    let mut user =
        json!({"login": "worker", "id": 7, "node_id": "U_kgDOA", "type": "User", "site_admin": false});
    for name in ["url", "followers_url", "gists_url", "starred_url", "repos_url", "events_url", "avatar_url"]
    {
        user[name] = json!(format!("{base}/users/worker/{name}"));
    }
    json!({
        "url": url,
        "repository_url": format!("{base}/repos/acme/widgets"),
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "html_url": format!("https://github.com/acme/widgets/issues/{number}"),
        "id": 1_000_000 + number,
        "number": number,
        "title": "The widget turns the wrong way",
        "user": user,
        "labels": [{"id": 1, "url": format!("{base}/repos/acme/widgets/labels/bug"), "name": "bug", "color": "d73a4a"}],
        "state": "open",
        "locked": false,
        "assignee": null,
        "comments": 4,
        "created_at": "2026-01-05T09:00:00Z",
        "body": "It turns left where the manual says right.\r\n\r\n".repeat(12),
    })
}

fn links(c: &mut Criterion) {
    let bases: Arc<[LinkBase]> = [LinkBase::new("https://api.github.com".to_owned(), false)].into();
    let map = LinkMap::new(bases, "http://127.0.0.1:8080", "", "/api/uploads");
    let page = |base| json!((0..100).map(|number| issue(number, base)).collect::<Vec<_>>()).to_string();
    let bodies = [
        ("an issue", issue(1, "https://api.github.com").to_string()),
        ("a page of 100 issues", page("https://api.github.com")),
        ("a page of 100 issues, nothing to turn", page("https://github.com")),
    ];
    let mut group = c.benchmark_group("links");
    for (name, body) in bodies {
        let body = Bytes::from(body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| JsonRewriter::rewrite(body.clone(), map.clone())));
    }
    group.finish();
}

criterion_group!(benches, links);
criterion_main!(benches);
