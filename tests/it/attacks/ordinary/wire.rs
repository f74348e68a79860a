//! Ordinary requests in the less ordinary forms of HTTP.

use super::start;
use crate::support::Tollgate;

/// The statuses of all answers on one connection.
async fn statuses(tollgate: &Tollgate, bytes: &str) -> Vec<String> {
    let answer = tollgate.raw(bytes.as_bytes()).await;
    let lines = answer.split("\r\n").filter(|line| line.starts_with("HTTP/1."));
    lines.map(|line| line[9..12].to_owned()).collect()
}

#[tokio::test]
async fn every_form_of_http_that_clients_use_is_served() {
    let tollgate = start().await;
    let head = |line: &str, fields: &str| tollgate.head(line, &format!("Connection: close\r\n{fields}"));
    let own = tollgate.base.clone();
    for (bytes, status) in [
        (head("GET /repos/acme/widgets HTTP/1.0", ""), "200"),
        (
            head("POST /repos/acme/widgets/issues HTTP/1.0", "Content-Length: 13\r\n") + r#"{"title":"x"}"#,
            "201",
        ),
        (head(&format!("GET {own}/repos/acme/widgets HTTP/1.1"), ""), "200"),
        (head("GET http://api.github.localhost/repos/acme/widgets HTTP/1.1", ""), "200"),
        (head("GET /repos/acme/widgets HTTP/1.1", "Range: bytes=0-9\r\n"), "200"),
        (head("GET /repos/acme/widgets HTTP/1.1", "X-HTTP-Method-Override: GET\r\n"), "200"),
        (head("GET /repos/acme/widgets/issues?_method=GET HTTP/1.1", ""), "200"),
        (head("GET /repos/acme/widgets HTTP/1.1", "TE: trailers\r\nConnection: TE\r\n"), "200"),
        (
            head(
                "GET /repos/acme/widgets HTTP/1.1",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            ),
            "200",
        ),
        (
            head(
                "GET /repos/acme/widgets HTTP/1.1",
                "X-Merge-Approval: yes\r\nCookie: a=b\r\nX-Forwarded-For: 10.0.0.1\r\n",
            ),
            "200",
        ),
        (
            head("POST /repos/acme/widgets/issues HTTP/1.1", "Transfer-Encoding: chunked\r\n")
                + "d\r\n{\"title\":\"x\"}\r\n0\r\nX: y\r\n\r\n",
            "201",
        ),
        (
            head("POST /repos/acme/widgets/issues HTTP/1.1", "Transfer-Encoding: Chunked\r\n")
                + "1\r\n{\r\nc\r\n\"title\":\"x\"}\r\n0\r\n\r\n",
            "201",
        ),
    ] {
        let before = tollgate.arrived().len();
        let got = statuses(&tollgate, &bytes).await;
        assert_eq!(got.last().map(String::as_str), Some(status), "{bytes}\n{got:?}");
        assert!(tollgate.arrived().len() > before, "{bytes}");
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn pipelines_are_answered_whole() {
    let tollgate = start().await;
    let read = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    let write = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", "Content-Length: 13\r\n")
        + r#"{"title":"x"}"#;
    let last = tollgate.head("GET /repos/acme/gadgets HTTP/1.1", "Connection: close\r\n");
    let got = statuses(&tollgate, &format!("{read}{write}{read}{write}{last}")).await;
    assert_eq!(got, ["200", "201", "200", "201", "200"]);
    assert_eq!(tollgate.arrived().len(), 5);
    tollgate.assert_clean();
}

#[tokio::test]
async fn unchanged_reads_are_told_so() {
    let tollgate = start().await;
    for path in [
        "/repos/acme/widgets",
        "/repos/acme/widgets/issues?per_page=3",
        "/repos/acme/widgets/contents/README.md",
    ] {
        let first = tollgate.get(path).await;
        assert_eq!(first.verdict(), "200");
        let again = tollgate.ask("GET", path).header("if-none-match", first.header("etag")).send().await;
        assert_eq!(again.verdict(), "304", "{path}");
    }
    let pull = tollgate.get("/repos/acme/widgets/pulls/76").await;
    let since = pull.header("last-modified").to_owned();
    let again =
        tollgate.ask("GET", "/repos/acme/widgets/pulls/76").header("if-modified-since", &since).send().await;
    assert_eq!(again.verdict(), "304");
}
