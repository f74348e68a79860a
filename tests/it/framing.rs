//! Anything that is not plain HTTP gets a clear refusal, and none of it reaches GitHub.

use std::time::Duration;

use tollgate::proxy::listener::{Bounds, Patience};

use crate::support::{Setup, Tollgate};

async fn refused(tollgate: &Tollgate, request: &str, status: &str, code: &str) {
    let answer = tollgate.raw(request.as_bytes()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}\n{answer}");
    assert!(answer.contains(&format!("x-tollgate-error: {code}\r\n")), "{request:?}\n{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["tollgate"]["code"], code);
}

#[tokio::test]
async fn smuggling_attempts_end_the_connection() {
    let tollgate = Setup::worker().start().await;
    let hidden = "GET /repos/acme/gadgets HTTP/1.1\r\nHost: x\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Host: y\r\n",
        "X: a\r\n folded\r\n",
        "X: a\rb\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
    ] {
        let request =
            format!("{}0\r\n\r\n{hidden}", tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", fields));
        refused(&tollgate, &request, "400", "bad_request").await;
    }
    assert!(tollgate.arrived().is_empty());
}

#[tokio::test]
async fn request_lines_of_other_protocols_and_forms_are_refused() {
    let tollgate = Setup::worker().start().await;
    for line in [
        "CONNECT api.github.com:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET /meta HTTP/2.0",
        "GET /meta",
        "get /meta HTTP/1.1",
        "GET /meta#x HTTP/1.1",
        "GET  /meta HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        refused(&tollgate, &tollgate.head(line, ""), "400", "bad_request").await;
    }
    for line in [
        "TRACE /meta HTTP/1.1",
        "OPTIONS /meta HTTP/1.1",
        "GET http://evil.example/meta HTTP/1.1",
        "GET https://api.github.com/meta HTTP/1.1",
    ] {
        let answer = tollgate.raw(tollgate.head(line, "Connection: close\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_request"), "{line}: {answer}");
    }
    for line in [
        "GET http://api.github.localhost/meta HTTP/1.1".to_owned(),
        format!("GET {}/meta HTTP/1.1", tollgate.base),
    ] {
        let answer = tollgate.raw(tollgate.head(&line, "Connection: close\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_gets_no_links() {
    let tollgate = Setup::worker().start().await;
    for host in ["", "a/b", "user@a", "a:b:c", "a b", "a>b", "\u{e9}", ":80", "a#b", "a,b"] {
        let request = format!(
            "GET /repos/acme/widgets HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: token {}\r\n\r\n",
            tollgate.key(0)
        );
        let answer = tollgate.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("bad_request"), "{host:?}: {answer}");
    }
    assert!(tollgate.arrived().is_empty());
}

#[tokio::test]
async fn bounds_of_the_head_have_codes_of_their_own() {
    let tollgate = Setup::worker().start().await;
    let long = "a".repeat(9_000);
    refused(&tollgate, &tollgate.head(&format!("GET /{long} HTTP/1.1"), ""), "414", "uri_too_long").await;
    let many: String = (0..101).map(|i| format!("X-{i}: y\r\n")).collect();
    refused(&tollgate, &tollgate.head("GET /meta HTTP/1.1", &many), "431", "headers_too_large").await;
    let big = format!("X: {}\r\n", "v".repeat(33 * 1024));
    refused(&tollgate, &tollgate.head("GET /meta HTTP/1.1", &big), "431", "headers_too_large").await;
    // Endless headers are not read to the end.
    let endless = format!("GET /meta HTTP/1.1\r\nHost: x\r\nX: {}", "v".repeat(200 * 1024));
    refused(&tollgate, &endless, "431", "headers_too_large").await;
    assert!(tollgate.arrived().is_empty());
}

#[tokio::test]
async fn bodies_have_a_bound_whether_announced_or_not() {
    let mut setup = Setup::worker();
    setup.server = "  max_body: 1KiB\n  max_upload: 4KiB\n".to_owned();
    let tollgate = setup.start().await;
    let announced = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", "Content-Length: 2048\r\n");
    let answer = tollgate.raw(announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    assert!(tollgate.arrived().is_empty());
    let chunked = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    let chunks = format!("{chunked}400\r\n{0}\r\n400\r\n{0}\r\n0\r\n\r\n", "x".repeat(1024));
    let answer = tollgate.raw(chunks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    assert!(tollgate.arrived().iter().all(|request| request.status != Some(201)));
    let packed = tollgate
        .ask("POST", "/repos/acme/widgets/issues")
        .header("content-encoding", "gzip")
        .body("x")
        .send()
        .await;
    assert_eq!(packed.verdict(), "400 bad_request");
}

/// Its client reads only after writing; cut off earlier, it took the refusal for a broken connection.
#[tokio::test]
async fn who_is_refused_may_send_his_body_to_its_end() {
    let tollgate = Setup::worker().start().await;
    let length = 24 * 1024 * 1024;
    let head = format!(
        "POST /api/uploads/repos/acme/widgets/releases/1/assets?name=x HTTP/1.1\r\nHost: x\r\n\
         Authorization: token tg_nobody_0\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + length, b'x');
    let answer = tollgate.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn a_body_cut_short_never_becomes_a_request() {
    let tollgate = Setup::worker().start().await;
    use tokio::io::AsyncWriteExt;
    for path in ["/repos/acme/widgets/issues", "/repos/acme/widgets/pulls/76/reviews", "/graphql"] {
        let head = tollgate.head(
            &format!("POST {path} HTTP/1.1"),
            "Content-Type: application/json\r\nContent-Length: 100\r\n",
        );
        let mut socket =
            tokio::net::TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
        socket.write_all(format!("{head}{{\"title\":").as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        drop(socket);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(tollgate.arrived().is_empty());
    assert_eq!(tollgate.get("/meta").await.verdict(), "200");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let tollgate = Setup::worker().start().await;
    let first = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", "Content-Length: 13\r\n");
    let second = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "Connection: close\r\n");
    let answer = tollgate.raw(format!("{first}{{\"title\":\"x\"}}{second}").as_bytes()).await;
    let statuses: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["201", "200"], "{answer}");
    assert_eq!(tollgate.arrived_lines(), ["POST /repos/acme/widgets/issues", "GET /repos/acme/widgets"]);
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let mut setup = Setup::worker();
    setup.bounds = Bounds {
        patience: Patience {
            head: Duration::from_millis(200),
            idle: Duration::from_millis(400),
            write: Duration::from_millis(300),
        },
        ..Bounds::default()
    };
    let tollgate = setup.start().await;
    for start in ["GET /meta HT", ""] {
        let answer = tokio::time::timeout(Duration::from_secs(2), tollgate.raw(start.as_bytes())).await;
        assert_eq!(answer.as_deref(), Ok(""), "{start:?}");
    }
}

/// Such a client, gh with `GH_HOST` for one, waited for ten seconds and learned nothing.
#[tokio::test]
async fn a_tls_handshake_is_refused_at_once() {
    let tollgate = Setup::worker().start().await;
    // The beginning of a ClientHello, whose rest has not arrived.
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let answer = tokio::time::timeout(Duration::from_secs(5), tollgate.raw(&hello)).await;
    let answer = answer.expect("before the patience with a head is over");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("begins a TLS handshake"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_bound_are_turned_away() {
    let mut setup = Setup::worker();
    setup.bounds = Bounds { connections_per_address: 2, ..Bounds::default() };
    let tollgate = setup.start().await;
    let address = tollgate.base.trim_start_matches("http://").to_owned();
    let first = tokio::net::TcpStream::connect(&address).await.unwrap();
    let _second = tokio::net::TcpStream::connect(&address).await.unwrap();
    let answer = tollgate.raw(tollgate.head("GET /meta HTTP/1.1", "").as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("x-tollgate-error: overloaded"),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    drop(first);
    let mut served = false;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer =
            tollgate.raw(tollgate.head("GET /meta HTTP/1.1", "Connection: close\r\n").as_bytes()).await;
        served |= answer.starts_with("HTTP/1.1 200 ");
        if served {
            break;
        }
    }
    assert!(served, "a freed place is given again");
}
