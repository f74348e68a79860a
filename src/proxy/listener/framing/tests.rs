//! Heads and bodies, plain and crooked.

use super::*;

fn check(head: &str) -> Result<BodyFraming, &'static str> {
    check_head(head.as_bytes()).map_err(|error| error.code())
}

#[test]
fn plain_heads_pass() {
    for (fields, framing) in [
        ("Host: x\r\n", BodyFraming::Length(0)),
        ("host:x\r\nContent-Length: 5\r\n", BodyFraming::Length(5)),
        ("Host: x\r\nTransfer-Encoding: Chunked\r\n", BodyFraming::Chunked),
        ("Host: x\r\nX-Note: caf\u{e9}\ttab\r\nX-Empty:\r\n", BodyFraming::Length(0)),
    ] {
        assert_eq!(check(&format!("POST /x?y HTTP/1.1\r\n{fields}\r\n")), Ok(framing), "{fields}");
    }
}

#[test]
fn whatever_two_parsers_could_frame_differently_is_refused() {
    for fields in [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        "Host: x\r\nContent-Length: 5, 5\r\n",
        "Host: x\r\nContent-Length: +5\r\n",
        "Host: x\r\nContent-Length: 0x5\r\n",
        "Host: x\r\nContent-Length: -1\r\n",
        "Host: x\r\nContent-Length: 99999999999999999999\r\n",
        "Host: x\r\nContent-Length:\r\n",
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nTransfer-Encoding: identity\r\n",
        "Host: x\r\nTransfer-Encoding: xchunked\r\n",
        "Host: x\r\nTransfer-Encoding : chunked\r\n",
        "Host: x\r\n Transfer-Encoding: chunked\r\n",
        "Host: x\r\nX: a\r\n b\r\n",
        "Host: x\r\nX: a\rb\r\n",
        "Host: x\r\nX: a\nY: b\r\n",
        "Host: x\r\nX: a\0b\r\n",
        "Host: x\r\nX\r\n",
        "Host: x\r\n: x\r\n",
        "Host: x\r\nX\u{e9}: x\r\n",
    ] {
        assert_eq!(check(&format!("POST / HTTP/1.1\r\n{fields}\r\n")), Err("bad_request"), "{fields:?}");
    }
    for line in [
        "GET / HTTP/1.1 ",
        "GET  / HTTP/1.1",
        "GET /",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "get / HTTP/1.1",
        "G@T / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT x:443 HTTP/1.1",
        "GET ftp://x/ HTTP/1.1",
        "GET /x#y HTTP/1.1",
        "GET /<x> HTTP/1.1",
        "GET /x` HTTP/1.1",
        "GET http://[/x HTTP/1.1",
        "GET /\tx HTTP/1.1",
        "",
    ] {
        assert_eq!(check(&format!("{line}\r\nHost: x\r\n\r\n")), Err("bad_request"), "{line:?}");
    }
    assert_eq!(check("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), Err("bad_request"));
}

#[test]
fn bounds_have_their_own_codes() {
    let target = "a".repeat(TARGET_BYTES_MAX);
    assert_eq!(check(&format!("GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n")), Err("uri_too_long"));
    let fields = "X: y\r\n".repeat(FIELDS_MAX);
    assert_eq!(check(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n")), Err("headers_too_large"));
    let value = "v".repeat(HEAD_BYTES_MAX);
    assert_eq!(check(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {value}\r\n\r\n")), Err("headers_too_large"));
    assert!(check_growth(&vec![b'a'; REQUEST_LINE_BYTES_MAX]).is_ok());
    assert_eq!(check_growth(&vec![b'a'; REQUEST_LINE_BYTES_MAX + 1]).unwrap_err().code(), "uri_too_long");
}

/// How much of `bytes` is body when fed in pieces of `step`, and whether the body has ended.
fn body_length(framing: BodyFraming, bytes: &[u8], step: usize) -> Result<(usize, bool), &'static str> {
    let mut tracker = BodyTracker::new(framing);
    let mut taken = 0;
    for piece in bytes.chunks(step) {
        let now = tracker.take(piece).map_err(|error| error.code())?;
        taken += now;
        if now < piece.len() {
            break;
        }
    }
    Ok((taken, tracker.has_ended()))
}

#[test]
fn the_end_of_a_body_is_found_however_it_is_cut() {
    let next = "GET / HTTP/1.1";
    for (framing, body) in [
        (BodyFraming::Length(5), "hello"),
        (BodyFraming::Length(0), ""),
        (BodyFraming::Chunked, "5\r\nhello\r\n0\r\n\r\n"),
        (BodyFraming::Chunked, "00A\r\n0123456789\r\n1\r\nx\r\n0\r\nX: y\r\nZ: w\r\n\r\n"),
        (BodyFraming::Chunked, "0\r\n\r\n"),
    ] {
        for step in 1..=40 {
            let bytes = format!("{body}{next}");
            assert_eq!(
                body_length(framing, bytes.as_bytes(), step),
                Ok((body.len(), true)),
                "{body:?} by {step}"
            );
        }
    }
}

#[test]
fn crooked_chunks_are_refused() {
    for body in [
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
    ] {
        assert_eq!(body_length(BodyFraming::Chunked, body.as_bytes(), 1), Err("bad_request"), "{body:?}");
    }
}
