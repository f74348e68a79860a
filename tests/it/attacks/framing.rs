//! A second request hidden where one parser sees a body and another sees the next message.

use super::run::{MERGE, Run};

/// The smuggled request: a merge with the agent's key, which must not be forwarded either.
fn hidden(run: &Run) -> String {
    format!(
        "PUT {MERGE} HTTP/1.1\r\nHost: x\r\nAuthorization: token {}\r\nContent-Length: 2\r\n\r\n{{}}",
        run.tollgate.key(0)
    )
}

/// Header fields that leave the end of the body in doubt.
const DOUBTS: [(&str, &str); 40] = [
    ("a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
    ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
    ("two lengths", "Content-Length: 4\r\nContent-Length: 900\r\n"),
    ("two lengths that agree", "Content-Length: 4\r\nContent-Length: 4\r\n"),
    ("a list of lengths", "Content-Length: 4, 4\r\n"),
    ("a list of different lengths", "Content-Length: 4, 900\r\n"),
    ("a length with a plus", "Content-Length: +4\r\n"),
    ("a negative length", "Content-Length: -4\r\n"),
    ("a length in hex", "Content-Length: 0x4\r\n"),
    ("a length with a fraction", "Content-Length: 4.0\r\n"),
    ("a length with a blank within", "Content-Length: 4 4\r\n"),
    ("an empty length", "Content-Length:\r\n"),
    ("an endless length", "Content-Length: 99999999999999999999999\r\n"),
    ("a length with an underscore", "Content_Length: 900\r\nContent-Length: 4\r\n"),
    ("a length with a blank before its colon", "Content-Length : 900\r\nContent-Length: 4\r\n"),
    ("identity after chunked", "Transfer-Encoding: chunked, identity\r\n"),
    ("identity before chunked", "Transfer-Encoding: identity, chunked\r\n"),
    ("gzip before chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("nearly chunked", "Transfer-Encoding: xchunked\r\n"),
    ("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("chunked after a vertical tab", "Transfer-Encoding:\u{b}chunked\r\n"),
    ("chunked before a vertical tab", "Transfer-Encoding: chunked\u{b}\r\n"),
    ("chunked after NUL", "Transfer-Encoding: \0chunked\r\n"),
    ("chunked with a blank before the colon", "Transfer-Encoding : chunked\r\n"),
    ("chunked with a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
    ("chunked on a folded line", "Transfer-Encoding:\r\n chunked\r\n"),
    ("chunked after a bare line feed", "X: a\nTransfer-Encoding: chunked\r\n"),
    ("chunked after a bare return", "X: a\rTransfer-Encoding: chunked\r\n"),
    ("chunked with an underscore", "Transfer_Encoding: chunked\r\nContent-Length: 4\r\n"),
    ("chunked below a blank", " Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
    (
        "chunked by Connection",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ),
    ("a length by Connection", "Connection: content-length\r\nContent-Length: 4\r\n"),
    ("a second Host", "Host: api.github.com\r\nContent-Length: 4\r\n"),
    ("a folded line", "X: a\r\n Content-Length: 900\r\nContent-Length: 4\r\n"),
    ("a line without a colon", "Content-Length 900\r\nContent-Length: 4\r\n"),
    ("an empty name", ": x\r\nContent-Length: 4\r\n"),
    ("NUL in a value", "X: a\0b\r\nContent-Length: 4\r\n"),
];

/// Chunks that some parsers count differently.
const CHUNKS: [(&str, &str); 15] = [
    ("an extension", "2;x=y\r\n{}\r\n0\r\n\r\n"),
    ("an extension with a line feed", "2;x\ny\r\n{}\r\n0\r\n\r\n"),
    ("an extension in quotes", "2;x=\"\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
    ("a negative size", "-2\r\n{}\r\n0\r\n\r\n"),
    ("a size with 0x", "0x2\r\n{}\r\n0\r\n\r\n"),
    ("a size with an underscore", "0_2\r\n{}\r\n0\r\n\r\n"),
    ("a size after a blank", " 2\r\n{}\r\n0\r\n\r\n"),
    ("a size before a blank", "2 \r\n{}\r\n0\r\n\r\n"),
    ("an empty size", "\r\n0\r\n\r\n"),
    ("bare line feeds", "2\n{}\n0\n\n"),
    ("bare returns", "2\r{}\r0\r\r"),
    ("a chunk longer than its size", "2\r\n{}xx0\r\n\r\n"),
    ("no end", "2\r\n{}\r\n0\r\n"),
    ("a trailer with a request in it", "2\r\n{}\r\n0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"),
];

#[tokio::test]
async fn no_doubt_about_lengths_hides_a_merge() {
    let mut run = Run::start("presence").await;
    let hidden = hidden(&run);
    for (name, fields) in DOUBTS {
        for path in ["POST /repos/acme/widgets/issues", "GET /repos/acme/widgets"] {
            let mut bytes = run.head(path, fields);
            bytes.extend(format!("0\r\n\r\n{hidden}").as_bytes());
            let bytes = String::from_utf8(bytes).unwrap().replacen("Connection: close\r\n", "", 1);
            run.attack(&format!("{name}, {path}"), bytes.as_bytes()).await;
        }
    }
    run.finish(2 * DOUBTS.len()).await;
}

#[tokio::test]
async fn no_chunk_hides_a_merge() {
    let mut run = Run::start("presence").await;
    let hidden = hidden(&run);
    for (name, chunks) in CHUNKS {
        let mut bytes = run.head("POST /repos/acme/widgets/git/blobs", "Transfer-Encoding: chunked\r\n");
        bytes.extend(format!("{chunks}{hidden}").as_bytes());
        run.attack(name, &bytes).await;
    }
    for version in
        ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1x", "http/1.1", "HTTP/1.1 HTTP/1.1"]
    {
        let head = run.head("POST /repos/acme/widgets/git/blobs", "Transfer-Encoding: chunked\r\n");
        let head = String::from_utf8(head).unwrap().replacen("HTTP/1.1", version, 1);
        run.attack(version, format!("{head}0\r\n\r\n{hidden}").as_bytes()).await;
    }
    run.finish(CHUNKS.len() + 7).await;
}

#[tokio::test]
async fn a_request_in_a_body_stays_a_body() {
    let mut run = Run::start("presence").await;
    let hidden = hidden(&run);
    let text = hidden.replace(run.tollgate.key(0), "nothing");
    for (name, line, fields) in [
        ("in the body of a GET", "GET /repos/acme/widgets", ""),
        ("in the body of a HEAD", "HEAD /repos/acme/widgets", ""),
        ("in the body of a DELETE", "DELETE /repos/acme/widgets/issues/1/lock", ""),
        ("in the body of a refused request", "PUT /repos/acme/widgets/collaborators/eve", ""),
        ("in the body of a request for no route", "POST /repos/acme/widgets/no-such-thing", ""),
        ("in the body of a foreign request", "POST /repos/acme/secret-plans/issues", ""),
        ("in the body of a gated request", "POST /repos/acme/widgets/statuses/abc", ""),
        ("after an expectation", "POST /repos/acme/widgets/issues", "Expect: 100-continue\r\n"),
        (
            "after an expectation that is refused",
            "PUT /repos/acme/widgets/collaborators/eve",
            "Expect: 100-continue\r\n",
        ),
        ("after an unknown expectation", "POST /repos/acme/widgets/issues", "Expect: 200-ok\r\n"),
        (
            "after two expectations",
            "POST /repos/acme/widgets/issues",
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        ),
        (
            "after an upgrade to h2c",
            "GET /repos/acme/widgets",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        ),
        (
            "after an upgrade to a web socket",
            "GET /repos/acme/widgets",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n",
        ),
        ("after an upgrade to TLS", "GET /repos/acme/widgets", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
        ("in a compressed body", "POST /repos/acme/widgets/issues", "Content-Encoding: gzip\r\n"),
    ] {
        let bytes = run.request(line, fields, &text);
        let bytes = String::from_utf8(bytes).unwrap().replacen("Connection: close\r\n", "", 1);
        run.attack(name, bytes.as_bytes()).await;
        // And with the body sent after the answer to the head, as a waiting client would.
        let (head, body) = bytes.split_at(bytes.find("\r\n\r\n").unwrap() + 4);
        run.attack_in_pieces(&format!("{name}, later"), &[head.as_bytes(), body.as_bytes()]).await;
    }
    run.finish(30).await;
}

#[tokio::test]
async fn what_follows_another_request_is_judged_like_the_first() {
    let mut run = Run::start("presence").await;
    let hidden = hidden(&run);
    let keep_alive = |line: &str, fields: &str| {
        String::from_utf8(run.head(line, fields)).unwrap().replacen("Connection: close\r\n", "", 1)
    };
    let read = keep_alive("GET /repos/acme/widgets", "");
    let refused = keep_alive("GET /repos/acme/secret-plans", "");
    let approved_elsewhere = keep_alive("GET /repos/acme/widgets", "X-Merge-Approval: yes\r\n");
    let rows: Vec<(&str, Vec<String>)> = vec![
        ("after a read", vec![format!("{read}{hidden}")]),
        ("after a refused request", vec![format!("{refused}{hidden}")]),
        ("after a request with an approval", vec![format!("{approved_elsewhere}{hidden}")]),
        ("many times", vec![hidden.repeat(8)]),
        ("after CR LF", vec![format!("\r\n\r\n{hidden}")]),
        ("after a line feed", vec![format!("\n{hidden}")]),
        ("after a blank line and a read", vec![format!("{read}\r\n{hidden}")]),
        ("after CONNECT", vec![keep_alive("CONNECT api.github.com:443", ""), hidden.clone()]),
        ("after CONNECT to this host", vec![keep_alive("CONNECT x", ""), hidden.clone()]),
        ("after TRACE", vec![keep_alive("TRACE /repos/acme/widgets", "Max-Forwards: 0\r\n"), hidden.clone()]),
        ("after OPTIONS", vec![keep_alive("OPTIONS *", ""), hidden.clone()]),
        ("after the preface of HTTP/2", vec![format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}")]),
        (
            "after the preface and frames",
            vec![
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
                "\0\0\0\u{4}\0\0\0\0\0".to_owned(),
                hidden.clone(),
            ],
        ),
        ("byte by byte", hidden.chars().map(String::from).collect()),
        ("with the method apart", vec![hidden[..2].to_owned(), hidden[2..].to_owned()]),
        ("with the path apart", vec![hidden[..12].to_owned(), hidden[12..].to_owned()]),
        ("without Host", vec![hidden.replacen("Host: x\r\n", "", 1)]),
        ("with an empty Host", vec![hidden.replacen("Host: x", "Host:", 1)]),
        ("with GitHub's Host", vec![hidden.replacen("Host: x", "Host: api.github.com", 1)]),
        ("with a path in Host", vec![hidden.replacen("Host: x", "Host: x/repos/acme/widgets", 1)]),
        ("without a version", vec![format!("PUT {MERGE}\r\n\r\n")]),
        ("with bare line feeds", vec![hidden.replace("\r\n", "\n")]),
        ("with bare returns", vec![hidden.replace("\r\n", "\r")]),
        ("with blanks in the line", vec![hidden.replacen("PUT ", "PUT  ", 1)]),
        ("with a tab in the line", vec![hidden.replacen("PUT ", "PUT\t", 1)]),
        ("with a blank at the start", vec![format!(" {hidden}")]),
        ("over HTTP/1.0", vec![hidden.replacen("HTTP/1.1", "HTTP/1.0", 1)]),
        (
            "over HTTP/1.0, kept alive",
            vec![format!(
                "{}{hidden}",
                read.replacen("HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n", 1)
            )],
        ),
    ];
    for (name, writes) in &rows {
        let writes: Vec<&[u8]> = writes.iter().map(String::as_bytes).collect();
        run.attack_in_pieces(name, &writes).await;
    }
    run.finish(rows.len()).await;
}
