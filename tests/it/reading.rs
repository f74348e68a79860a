//! An agent reads what GitHub said, with links that lead back to tollgate.

use serde_json::json;

use crate::support::Setup;

#[tokio::test]
async fn a_repository_reads_as_from_github_but_for_its_links() {
    let tollgate = Setup::worker().start().await;
    let answer = tollgate.get("/repos/acme/widgets").await;
    assert_eq!(answer.verdict(), "200");
    let repository = answer.json();
    assert_eq!(repository["full_name"], "acme/widgets");
    assert_eq!(repository["url"], format!("{}/repos/acme/widgets", tollgate.base));
    assert_eq!(repository["issues_url"], format!("{}/repos/acme/widgets/issues{{/number}}", tollgate.base));
    assert_eq!(repository["html_url"], "https://github.com/acme/widgets");
    assert_eq!(answer.header("x-tollgate-agent"), "worker");
    assert_eq!(answer.header("x-tollgate-cache"), "miss");
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert!(answer.header("x-tollgate-wait-ms").parse::<u64>().unwrap() < 1_000);
    tollgate.assert_clean();
}

#[tokio::test]
async fn every_page_is_reached_by_following_links_under_the_prefix_used() {
    let tollgate = Setup::worker().start().await;
    for prefix in ["", "/api/v3"] {
        let (mut path, mut issues, mut pages) =
            (format!("{prefix}/repos/acme/widgets/issues?state=all"), 0, 0);
        loop {
            let answer = tollgate.get(&path).await;
            assert_eq!(answer.verdict(), "200", "{path}");
            issues += answer.json().as_array().unwrap().len();
            pages += 1;
            let link = answer.header("link").to_owned();
            let next = link.split(',').find(|part| part.contains("rel=\"next\"")).and_then(|part| {
                let url = part.trim().strip_prefix('<')?.split('>').next()?;
                Some(url.to_owned())
            });
            let Some(next) = next else { break };
            let expected = format!("{}{prefix}/repositories/", tollgate.base);
            assert!(next.starts_with(&expected), "{next} does not begin with {expected}");
            path = next.strip_prefix(&tollgate.base).unwrap().to_owned();
        }
        assert!(pages >= 3 && issues >= 75, "{pages} pages, {issues} issues");
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn paths_arrive_meaning_what_they_meant() {
    let tollgate = Setup::worker().start().await;
    for (asked, arrives) in [
        ("/repos/acme/widgets/compare/main...release", "/repos/acme/widgets/compare/main...release"),
        ("/repos/acme/widgets/branches/100%25done", "/repos/acme/widgets/branches/100%25done"),
        (
            "/repos/acme/widgets/git/ref/heads%2Ffeature%2fx",
            "/repos/acme/widgets/git/ref/heads%2Ffeature%2Fx",
        ),
        ("/repos/acme/widgets/contents/docs/a%3Bb.txt", "/repos/acme/widgets/contents/docs/a%3Bb.txt"),
        (
            "/repos/acme/widgets/contents/src/lib.rs?ref=main",
            "/repos/acme/widgets/contents/src/lib.rs?ref=main",
        ),
        ("/repos/acme/widgets/conten%74s/README.md", "/repos/acme/widgets/contents/README.md"),
        (
            "/api/v3/repos/acme/widgets/issues?per_page=1&labels=a%2Cb",
            "/repos/acme/widgets/issues?per_page=1&labels=a%2Cb",
        ),
    ] {
        let before = tollgate.arrived().len();
        let answer = tollgate.get(asked).await;
        assert_eq!(answer.verdict(), "200", "{asked}: {}", answer.text());
        assert_eq!(tollgate.arrived_lines()[before], format!("GET {arrives}"));
    }
}

#[tokio::test]
async fn ambiguous_paths_go_nowhere() {
    let tollgate = Setup::worker().start().await;
    for path in [
        "/repos/acme/../other/tool",
        "/repos/acme/%2e%2e/tool",
        "/repos/acme/widgets/..;x/tool",
        "/repos/acme//widgets",
        "/repos/acme/widgets/",
        "/repos/acme/widgets%2Fissues",
        "/repos/acme/widgets/issues/1%2Fcomments",
        "/repos/acme/widgets/branches/a%252Fb",
        "/repos/acme/widgets%5Cx",
        "/repos/acme/widgets/issues?access_token=x",
        "/repos/acme/widgets/issues?_method=PUT",
    ] {
        let answer = tollgate
            .raw(tollgate.head(&format!("GET {path} HTTP/1.1"), "Connection: close\r\n").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(answer.contains("x-tollgate-error: bad_request"), "{path}: {answer}");
    }
    assert_eq!(tollgate.arrived_lines(), Vec::<String>::new());
}

#[tokio::test]
async fn redirects_are_passed_on_and_never_followed() {
    let tollgate = Setup::worker().start().await;
    let answer = tollgate.get("/api/v3/repos/acme/old-name/issues?page=1").await;
    assert_eq!(answer.verdict(), "301");
    let location = answer.header("location");
    assert!(location.starts_with(&format!("{}/api/v3/repositories/", tollgate.base)), "{location}");
    assert_eq!(answer.json()["url"], location);
    assert_eq!(tollgate.arrived().len(), 1);
    let followed = tollgate.get(location.strip_prefix(&tollgate.base).unwrap()).await;
    assert_eq!(followed.verdict(), "200");
    let moved =
        tollgate.ask("PATCH", "/repos/acme/old-name/issues/1").json(&json!({"title": "x"})).send().await;
    assert_eq!(moved.verdict(), "307");
    let archive = tollgate.get("/repos/acme/widgets/tarball/main").await;
    assert_eq!(archive.verdict(), "302");
    assert!(
        archive.header("location").starts_with(&tollgate.sim.storage_url()),
        "{}",
        archive.header("location")
    );
}

#[tokio::test]
async fn raw_content_and_text_that_mentions_links_are_untouched() {
    let tollgate = Setup::worker().start().await;
    let mention = format!("{}/repos/acme/widgets is a link in text", tollgate.sim.api_url());
    let created = tollgate
        .ask("POST", "/repos/acme/widgets/issues")
        .json(&json!({ "title": mention, "body": mention }))
        .send()
        .await;
    assert_eq!(created.verdict(), "201");
    assert_eq!(created.json()["body"], mention);
    assert!(created.header("location").starts_with(&tollgate.base), "{}", created.header("location"));
    let path = "/repos/acme/widgets/contents/README.md";
    let raw = tollgate.ask("GET", path).header("accept", "application/vnd.github.raw+json").send().await;
    assert!(raw.header("content-type").contains("raw"), "{}", raw.header("content-type"));
    assert_eq!(raw.header("content-length").parse::<usize>().unwrap(), raw.body.len());
}

#[tokio::test]
async fn conditional_requests_round_trip() {
    let tollgate = Setup::worker().start().await;
    let first = tollgate.get("/repos/acme/widgets").await;
    let etag = first.header("etag").to_owned();
    assert!(!etag.is_empty());
    let again = tollgate.ask("GET", "/repos/acme/widgets").header("if-none-match", &etag).send().await;
    assert_eq!((again.verdict().as_str(), again.body.len()), ("304", 0));
    let head = tollgate.ask("HEAD", "/repos/acme/widgets").send().await;
    assert_eq!((head.verdict().as_str(), head.body.len()), ("200", 0));
}

#[tokio::test]
async fn only_named_headers_go_up() {
    let tollgate = Setup::worker().start().await;
    let answer = tollgate
        .ask("GET", "/repos/acme/widgets")
        .header("cookie", "a=b")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-merge-approval", "yes")
        .header("x-custom", "y")
        .header("connection", "authorization, x-custom")
        .header("x-github-api-version", "2026-03-10")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .send()
        .await;
    assert_eq!(answer.verdict(), "200");
    let arrived = tollgate.arrived().pop().unwrap();
    let names: Vec<&str> = arrived.headers.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["accept-encoding", "authorization", "host", "traceparent", "user-agent", "x-github-api-version"]
    );
    assert_eq!(arrived.headers["x-github-api-version"], "2026-03-10");
    assert!(arrived.credential.starts_with("installation:"), "{}", arrived.credential);
}

#[tokio::test]
async fn links_name_the_public_url_when_there_is_one() {
    let mut setup = Setup::worker();
    setup.server = "  public_url: https://github.proxy.example:8443\n".to_owned();
    let tollgate = setup.start().await;
    let repository = tollgate.get("/repos/acme/widgets").await.json();
    assert_eq!(repository["url"], "https://github.proxy.example:8443/repos/acme/widgets");
}

#[tokio::test]
async fn forwarded_headers_are_believed_from_trusted_addresses_alone() {
    for (trusted, expected) in
        [("", "http://127.0.0.1"), ("  trusted_proxies: [127.0.0.0/8]\n", "https://edge.example")]
    {
        let mut setup = Setup::worker();
        setup.server = trusted.to_owned();
        let tollgate = setup.start().await;
        let answer = tollgate
            .ask("GET", "/repos/acme/widgets")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "edge.example")
            .send()
            .await;
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(expected), "{trusted:?}: {url}");
    }
}

#[tokio::test]
async fn uploads_go_to_the_uploads_host() {
    let tollgate = Setup::worker().start().await;
    let release =
        tollgate.ask("POST", "/repos/acme/widgets/releases").json(&json!({"tag_name": "v9"})).send().await;
    assert_eq!(release.verdict(), "201", "{}", release.text());
    let upload = release.json()["upload_url"].as_str().unwrap().split('{').next().unwrap().to_owned();
    assert!(
        upload.starts_with(&format!("{}/api/uploads/repos/acme/widgets/releases/", tollgate.base)),
        "{upload}"
    );
    let path = format!("{}?name=a.bin", upload.strip_prefix(&tollgate.base).unwrap());
    let content = vec![7_u8; 3_000_000];
    let asset = tollgate
        .ask("POST", &path)
        .header("content-type", "application/octet-stream")
        .body(content)
        .send()
        .await;
    assert_eq!(asset.verdict(), "201", "{}", asset.text());
    assert_eq!(asset.json()["size"], 3_000_000);
    assert_eq!(tollgate.arrived().pop().unwrap().listener, "uploads");
}
