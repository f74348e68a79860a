//! Compressed and unusual answers: upstream answers in a form of their own.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Setup, Tollgate};

/// An upstream that answers every request with the same bytes and closes; and a tollgate in front of it.
async fn before(answer: Vec<u8>) -> (Tollgate, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).await.is_ok_and(|read| read > 0) {
                request.push(byte[0]);
            }
            let _ = seen.send(String::from_utf8_lossy(&request).into_owned());
            let _ = socket.write_all(&answer).await;
            let _ = socket.shutdown().await;
        }
    });
    let mut setup = Setup::worker();
    setup.personal_token = true;
    setup.api_url = Some(format!("http://{address}"));
    setup.upstream = "  link_bases: [https://api.github.com]\n".to_owned();
    (setup.start().await, requests)
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const JSON: &str = "content-type: application/json\r\ncontent-encoding: gzip\r\n";

/// The caller's connection stays open, whatever protocol GitHub's side speaks.
#[tokio::test]
async fn an_answer_by_http_1_0_keeps_the_caller_s_connection() {
    let old = String::from_utf8(answer("content-type: application/json\r\n", b"{}")).unwrap();
    let (tollgate, _requests) = before(old.replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()).await;
    let two = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "")
        + &tollgate.head("GET /repos/acme/widgets HTTP/1.1", "Connection: close\r\n");
    let answers = tollgate.raw(two.as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
}

#[tokio::test]
async fn packed_json_is_unpacked_and_rewritten() {
    let text = format!(
        r#"{{"url":"https://api.github.com/x","body":"{}"}}"#,
        "https://api.github.com/y ".repeat(5_000)
    );
    let (tollgate, mut requests) = before(answer(JSON, &packed(&text))).await;
    for accepts in ["gzip, deflate", "identity"] {
        let answer =
            tollgate.ask("GET", "/repos/acme/widgets").header("accept-encoding", accepts).send().await;
        assert_eq!(answer.verdict(), "200");
        let expected = text.replacen("https://api.github.com", &tollgate.base, 1);
        assert!(answer.text() == expected, "{accepts}");
        assert!(
            !answer.headers.contains_key("content-encoding")
                && !answer.headers.contains_key("content-length")
        );
        // Reads are requested compressed whatever the caller accepts, since others may share the answer.
        assert!(requests.recv().await.unwrap().contains("accept-encoding: gzip"));
    }
}

#[tokio::test]
async fn packed_files_pass_as_they_are_to_who_takes_them() {
    let body = packed("a raw file");
    let (tollgate, _requests) =
        before(answer("content-type: text/plain\r\ncontent-encoding: gzip\r\n", &body)).await;
    let as_is =
        tollgate.ask("GET", "/repos/acme/widgets/contents/x").header("accept-encoding", "gzip").send().await;
    assert_eq!((as_is.header("content-encoding"), as_is.body.as_ref()), ("gzip", body.as_slice()));
    let plain = tollgate.get("/repos/acme/widgets/contents/x").await;
    assert_eq!((plain.header("content-encoding"), plain.text().as_str()), ("", "a raw file"));
}

#[tokio::test]
async fn an_answer_without_a_body_may_say_how_one_is_packed() {
    let bytes = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\n";
    let (tollgate, _requests) = before(bytes.to_vec()).await;
    let head = tollgate.ask("HEAD", "/repos/acme/widgets").header("accept-encoding", "gzip").send().await;
    assert_eq!((head.verdict().as_str(), head.body.len()), ("200", 0));
    let (tollgate, _requests) = before(answer(JSON, b"")).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let two = [packed("[1,"), packed("2]")].concat();
    let (tollgate, _requests) = before(answer(JSON, &two)).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.text(), "[1,2]");
    let (tollgate, _requests) =
        before(answer(&format!("{JSON}content-encoding: gzip\r\n"), &packed("[]"))).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "502 upstream_unreachable");
}

#[tokio::test]
async fn a_broken_packing_never_looks_whole() {
    let whole = packed(&format!(r#"{{"url":"{}"}}"#, "x".repeat(100_000)));
    for body in [&whole[..whole.len() / 2], &whole[..whole.len() - 4], b"no gzip at all"] {
        let (tollgate, _requests) = before(answer(JSON, body)).await;
        let request = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "Accept-Encoding: gzip\r\n");
        let answer = tollgate.raw(request.as_bytes()).await;
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    }
    let (tollgate, _requests) =
        before(answer("content-type: application/json\r\ncontent-encoding: br\r\n", b"x")).await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "502 upstream_unreachable");
}

#[tokio::test]
async fn answers_that_are_none_are_a_502() {
    for bytes in [
        &b"garbage\r\n\r\n"[..],
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"",
    ] {
        let (tollgate, _requests) = before(bytes.to_vec()).await;
        assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "502 upstream_unreachable");
    }
}

#[tokio::test]
async fn headers_of_the_hop_and_cookies_stay_here() {
    let fields = "content-type: text/plain\r\nset-cookie: a=b\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\n\
                  strict-transport-security: max-age=1\r\nx-kept: 2\r\nx-tollgate-error: forged\r\n";
    let (tollgate, _requests) = before(answer(fields, b"text")).await;
    let answer = tollgate.get("/repos/acme/widgets").await;
    for name in ["set-cookie", "x-hop", "keep-alive", "strict-transport-security", "x-tollgate-error"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    assert_eq!((answer.header("x-kept"), answer.text().as_str()), ("2", "text"));
}
