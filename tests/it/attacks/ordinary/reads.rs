//! Reads.

use super::{Row, serve, start};

const DIFF: &[(&str, &str)] = &[("accept", "application/vnd.github.diff")];
const RAW: &[(&str, &str)] = &[("accept", "application/vnd.github.raw+json")];

const PUBLIC: [Row; 12] = [
    ("GET", "/", &[], "", 200),
    ("GET", "/api/v3", &[], "", 200),
    ("GET", "/api/v3/", &[], "", 200),
    ("GET", "/meta", &[], "", 200),
    ("GET", "/zen", &[], "", 200),
    ("GET", "/octocat", &[], "", 200),
    ("GET", "/versions", &[], "", 200),
    ("GET", "/emojis", &[], "", 200),
    ("GET", "/rate_limit", &[], "", 200),
    ("GET", "/api/v3/rate_limit", &[], "", 200),
    ("GET", "/users/acme", &[], "", 200),
    ("GET", "/installation/repositories", &[], "", 200),
];

const ISSUES: [Row; 14] = [
    ("GET", "/repos/acme/widgets", &[], "", 200),
    ("GET", "/api/v3/repos/acme/widgets", &[], "", 200),
    ("GET", "/repos/ACME/Widgets", &[], "", 200),
    ("HEAD", "/repos/acme/widgets", &[], "", 200),
    ("GET", "/repos/acme/gadgets/issues", &[], "", 200),
    ("GET", "/repos/acme/widgets/issues?state=all&per_page=5&page=2", &[], "", 200),
    ("GET", "/repos/acme/widgets/issues?labels=bug%2Cgood%20first%20issue", &[], "", 200),
    ("GET", "/repositories/2001/issues?page=2", &[], "", 200),
    ("GET", "/repos/acme/widgets/issues/1", &[], "", 200),
    ("GET", "/repos/acme/widgets/issues/1/comments", &[], "", 200),
    ("GET", "/repos/acme/widgets/issues/3/labels", &[], "", 200),
    ("GET", "/repos/acme/widgets/labels", &[], "", 200),
    ("GET", "/repos/acme/widgets/labels/bug", &[], "", 200),
    ("GET", "/repos/acme/widgets/labels/no%20such%2Flabel", &[], "", 404),
];

const PULLS: [Row; 11] = [
    ("GET", "/repos/acme/widgets/pulls?state=open&head=acme:feature/x&base=main", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76", DIFF, "", 200),
    ("GET", "/repos/acme/widgets/pulls/76/files", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76/commits", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76/merge", &[], "", 404),
    ("HEAD", "/repos/acme/widgets/pulls/76/merge", &[], "", 404),
    ("GET", "/repos/acme/widgets/pulls/76/reviews", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76/comments", &[], "", 200),
    ("GET", "/repos/acme/widgets/pulls/76/requested_reviewers", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits/release/pulls", &[], "", 200),
];

const FILES: [Row; 17] = [
    ("GET", "/repos/acme/widgets/contents", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/README.md", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/README.md", RAW, "", 200),
    ("GET", "/repos/acme/widgets/contents/README.md?ref=feature/x", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/README.md?ref=feature%2Fx", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/src/deep/inner.rs", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/src%2Flib.rs", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/docs/a;b.txt", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/docs/a%3Bb.txt", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/docs/100%25.txt", &[], "", 404),
    ("GET", "/repos/acme/widgets/contents/docs/%C3%A9t%C3%A9%20%F0%9F%8C%9E.txt", &[], "", 404),
    ("GET", "/repos/acme/widgets/contents/.github/workflows/ci.yml", &[], "", 200),
    ("GET", "/repos/acme/widgets/contents/pulls/76/merge", &[], "", 404),
    ("GET", "/repos/acme/widgets/readme", &[], "", 200),
    ("GET", "/repos/acme/widgets/tarball/main", &[], "", 302),
    ("GET", "/repos/acme/widgets/zipball/feature/x", &[], "", 302),
    ("GET", "/repos/acme/widgets/zipball", &[], "", 302),
];

const CODE: [Row; 25] = [
    ("GET", "/repos/acme/widgets/branches?per_page=100", &[], "", 200),
    ("GET", "/repos/acme/widgets/branches/main", &[], "", 200),
    ("GET", "/repos/acme/widgets/branches/feature%2Fx", &[], "", 200),
    ("GET", "/repos/acme/widgets/branches/100%25done", &[], "", 200),
    ("GET", "/repos/acme/widgets/branches/no%2Fsuch%20branch", &[], "", 404),
    ("GET", "/repos/acme/widgets/branches/main/protection", &[], "", 200),
    ("GET", "/repos/acme/widgets/rules/branches/feature%2Fx", &[], "", 200),
    ("GET", "/repos/acme/widgets/git/refs", &[], "", 200),
    ("GET", "/repos/acme/widgets/git/ref/heads%2Fmain", &[], "", 200),
    ("GET", "/repos/acme/widgets/git/ref/heads/feature/x", &[], "", 200),
    ("GET", "/repos/acme/widgets/git/matching-refs/heads/feat", &[], "", 200),
    ("GET", "/repos/acme/widgets/git/trees/main?recursive=1", &[], "", 200),
    ("GET", "/repos/acme/widgets/tags", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits?sha=feature/x&path=README.md", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits/main", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits/feature%2Fx", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits/main/status", &[], "", 200),
    ("GET", "/repos/acme/widgets/commits/main/check-runs", &[], "", 200),
    ("GET", "/repos/acme/widgets/compare/main...release", &[], "", 200),
    ("GET", "/repos/acme/widgets/compare/main...feature%2Fx", &[], "", 200),
    ("GET", "/repos/acme/widgets/compare/v1.0.0...feature/x", &[], "", 200),
    ("GET", "/repos/acme/widgets/languages", &[], "", 200),
    ("GET", "/repos/acme/widgets/deployments", &[], "", 200),
    ("GET", "/repos/acme/widgets/releases", &[], "", 200),
    ("GET", "/repos/acme/widgets/some-new-thing", &[], "", 404),
];

const SEARCHES: [Row; 8] = [
    ("GET", "/search/issues?q=bug+repo:acme/widgets", &[], "", 200),
    ("GET", "/search/issues?q=repo%3Aacme%2Fwidgets%20is%3Aopen%20merge", &[], "", 200),
    (
        "GET",
        "/search/issues?q=repo:acme/widgets+repo:acme/gadgets+state:open&sort=updated&order=desc",
        &[],
        "",
        200,
    ),
    ("GET", "/search/issues?q=repo:acme/widgets+%22number+1%22", &[], "", 200),
    ("GET", "/search/issues?q=repo:acme/widgets+-label:bug", &[], "", 200),
    ("GET", "/search/code?q=widget+repo:acme/widgets+path:src", &[], "", 200),
    ("GET", "/search/commits?q=repo:acme/widgets+change", &[], "", 200),
    ("GET", "/search/repositories?q=repo:acme/widgets", &[], "", 200),
];

#[tokio::test]
async fn every_read_is_served() {
    let tollgate = start().await;
    for rows in [&PUBLIC[..], &ISSUES, &PULLS, &FILES, &CODE, &SEARCHES] {
        serve(&tollgate, rows).await;
    }
}
