//! ETags, pages, media types and the members that clients rely on.

use github_sim::SimConfig;

use crate::client::{call, config, start};

#[tokio::test]
async fn etags_are_the_tokens_own_and_304_is_free() {
    let sim = start(config()).await;
    let (first, second) = (sim.mint("acme"), sim.mint("acme"));
    let path = "/repos/acme/widgets/issues/1";
    let plain = call(&sim, "GET", path).token(&first).send().await;
    let etag = plain.header("etag").to_owned();
    assert!(etag.starts_with("W/\"") && etag.len() == 68, "{etag}");
    let known = |token: &str| call(&sim, "GET", path).token(token).header("if-none-match", &etag);
    let unchanged = known(&first).send().await;
    assert_eq!(unchanged.status, 304);
    assert!(unchanged.body.is_empty());
    assert_eq!(unchanged.header("etag"), etag);
    assert_eq!(unchanged.header("x-ratelimit-used"), "1", "free");
    assert_eq!(known(&second).send().await.status, 200, "another token, another ETag");
    let accept = "application/vnd.github+json";
    assert_eq!(known(&first).header("accept", accept).send().await.status, 200);
    let since = plain.header("last-modified");
    let again = call(&sim, "GET", path).token(&second).header("if-modified-since", since);
    assert_eq!(again.send().await.status, 304, "the date survives a new token");
    assert!(sim.edit(|world| world.edit_issue("acme/widgets", 1, "Another title")));
    assert_eq!(known(&first).send().await.status, 200);
    let books = sim.books();
    assert_eq!(books.not_modified, 2);
    assert_eq!(books.used["installation:1001/core"], 4);
}

#[tokio::test]
async fn the_etag_is_made_of_three_headers_and_the_body() {
    use sha2::{Digest as _, Sha256};

    let sim = start(config()).await;
    let token = sim.mint("acme");
    let answer = call(&sim, "GET", "/repos/acme/widgets").token(&token).header("accept", "a/b");
    let answer = answer.send().await;
    let mut hashed = format!("a/b:Bearer {token}:").into_bytes();
    hashed.extend_from_slice(&answer.body);
    let hex: String = Sha256::digest(&hashed).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer.header("etag"), format!("W/\"{hex}\""));
}

#[tokio::test]
async fn pages_link_to_repository_ids() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let base = format!("{}/repositories/2001/issues", sim.api_url());
    let url = |page: u32, rel: &str| format!("<{base}?per_page=30&page={page}>; rel=\"{rel}\"");
    for (page, length, link) in [
        (1, 30, vec![url(2, "next"), url(3, "last")]),
        (2, 30, vec![url(1, "prev"), url(3, "next"), url(3, "last"), url(1, "first")]),
        (3, 10, vec![url(2, "prev"), url(1, "first")]),
    ] {
        let path = format!("/repos/acme/widgets/issues?per_page=30&page={page}");
        let answer = call(&sim, "GET", &path).token(&token).send().await;
        assert_eq!(answer.json().as_array().unwrap().len(), length, "page {page}");
        assert_eq!(answer.header("link"), link.join(", "), "page {page}");
    }
    let all = call(&sim, "GET", "/repos/acme/widgets/issues?state=all&per_page=100");
    let all = all.token(&token).send().await;
    assert_eq!((all.json().as_array().unwrap().len(), all.header("link")), (77, ""));
    let orgs = call(&sim, "GET", "/orgs/acme/repos?per_page=3").token(&token).send().await;
    assert!(orgs.header("link").contains("/organizations/501/repos?per_page=3&page=2"));
    let installed = call(&sim, "GET", "/installation/repositories?per_page=1");
    let installed = installed.token(&token).send().await;
    assert_eq!(installed.json()["total_count"], 4);
    assert!(installed.header("link").contains("/installation/repositories?per_page=1&page=2"));
}

#[tokio::test]
async fn links_can_look_like_the_real_ones() {
    let sim = start(SimConfig {
        link_base: Some("https://api.github.com".to_owned()),
        uploads_link_base: Some("https://uploads.github.com".to_owned()),
        ..config()
    })
    .await;
    let token = sim.mint("acme");
    let read = call(&sim, "GET", "/repos/acme/widgets").token(&token).send().await.json();
    assert_eq!(read["url"], "https://api.github.com/repos/acme/widgets");
    assert_eq!(read["issues_url"], "https://api.github.com/repos/acme/widgets/issues{/number}");
    assert_eq!(read["html_url"], "https://github.com/acme/widgets");
    let list = call(&sim, "GET", "/repos/acme/widgets/issues").token(&token).send().await;
    assert!(list.header("link").starts_with("<https://api.github.com/repositories/2001/issues"));
    let moved = call(&sim, "GET", "/repos/acme/old-name").token(&token).send().await;
    assert_eq!(moved.header("location"), "https://api.github.com/repositories/2004");
}

#[tokio::test]
async fn media_types_change_the_body() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let raw = "application/vnd.github.raw+json";
    let diff = "application/vnd.github.diff";
    for (path, accept, kind, beginning) in [
        ("/contents/README.md", raw, "application/vnd.github.raw+json; charset=utf-8", "# widgets"),
        ("/readme", raw, "application/vnd.github.raw+json; charset=utf-8", "# widgets"),
        ("/commits/main", diff, "application/vnd.github.diff; charset=utf-8", "diff --git"),
        ("/pulls/76", diff, "application/vnd.github.diff; charset=utf-8", "diff --git"),
        ("/compare/main...release", diff, "application/vnd.github.diff; charset=utf-8", "diff"),
        ("/contents/docs/a;b.txt", raw, "application/vnd.github.raw+json; charset=utf-8", "a semi"),
    ] {
        let path = format!("/repos/acme/widgets{path}");
        let answer = call(&sim, "GET", &path).token(&token).header("accept", accept).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert!(answer.body.starts_with(beginning.as_bytes()), "{path}: {answer:?}");
    }
    let path = "/repos/acme/widgets/contents/README.md";
    let answer = call(&sim, "GET", path).token(&token).send().await;
    assert_eq!(answer.json()["encoding"], "base64");
    assert!(answer.json()["content"].as_str().unwrap().ends_with('\n'));
    let curl = to_curl(&sim, &token).await;
    assert!(curl.starts_with(b"{\n"), "some user agents get pretty bodies");
}

async fn to_curl(sim: &github_sim::Sim, token: &str) -> bytes::Bytes {
    let request = call(sim, "GET", "/repos/acme/widgets").without_user_agent();
    request.header("user-agent", "curl/8").token(token).send().await.body
}

#[tokio::test]
async fn records_what_arrived_byte_for_byte() {
    let sim = start(config()).await;
    let token = sim.mint("acme");
    let path = "/repos/acme/widgets/branches/100%25done?x=%2F;b&&y";
    let answer = call(&sim, "GET", path).token(&token).header("x-seen", "1").text("body").send().await;
    assert_eq!(answer.status, 200);
    let recorded = &sim.requests()[0];
    assert_eq!(recorded.target, path);
    assert_eq!(recorded.method, "GET");
    assert_eq!(recorded.headers["x-seen"], "1");
    assert_eq!((recorded.body.as_deref(), recorded.body_bytes), (Some("body"), 4));
    assert_eq!(recorded.status, Some(200));
    assert_eq!(recorded.route.as_deref(), Some("GET /repos/{owner}/{repo}/branches/{branch}"));
    assert!(sim.requests_since(recorded.seq).is_empty());
}
