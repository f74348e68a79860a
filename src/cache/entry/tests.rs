use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn key() -> Key {
    Key::new(("app/acme".into(), 1), None, "/x".to_owned(), &headers(&[("accept", "application/json")]))
}

const PLAIN: &[(&str, &str)] = &[
    ("etag", "\"given\""),
    ("content-type", "application/json; charset=utf-8"),
    ("last-modified", "Wed, 01 Jul 2026 10:00:00 GMT"),
    ("date", "Wed, 01 Jul 2026 11:00:00 GMT"),
    ("x-ratelimit-remaining", "7"),
    ("x-github-request-id", "AB:1"),
    ("link", "<https://api.github.com/x?page=1>; rel=\"prev\""),
];

fn entry(pairs: &[(&'static str, &str)], body: &[u8], token: &Token, per_page: usize) -> Entry {
    let key = key();
    let origin = Origin { key: &key, token, asked_ms: 1_000, per_page };
    Entry::new(&headers(pairs), Bytes::copy_from_slice(body), &origin, &Proofs::default()).unwrap()
}

#[test]
fn only_whole_answers_with_a_validator_are_kept() {
    assert!(may_be_kept(StatusCode::OK, &headers(PLAIN)));
    for status in [201, 204, 206, 301, 304, 403, 404, 500] {
        assert!(!may_be_kept(StatusCode::from_u16(status).unwrap(), &headers(PLAIN)), "{status}");
    }
    for further in [
        ("set-cookie", "a=b"),
        ("content-range", "bytes 0-1/2"),
        ("cache-control", "private, no-store"),
        ("cache-control", "NO-STORE"),
        ("cache-control", "max-age=abc, no-store"),
        ("cache-control", "no-store=x"),
        ("vary", "*"),
        ("content-encoding", "br"),
    ] {
        let mut pairs = PLAIN.to_vec();
        pairs.push(further);
        assert!(!may_be_kept(StatusCode::OK, &headers(&pairs)), "{further:?}");
    }
    assert!(!may_be_kept(StatusCode::OK, &headers(&[("content-type", "application/json")])));
    let packed = headers(&[("etag", "\"x\""), ("content-encoding", "gzip"), ("vary", "Accept")]);
    assert!(may_be_kept(StatusCode::OK, &packed));
}

#[test]
fn an_answer_is_github_s_under_our_own_tag_and_without_what_concerned_one_exchange() {
    let entry = entry(PLAIN, b"{}", &Token::for_tests("a"), 30);
    let answer = entry.answer();
    assert_eq!(answer.body().as_ref(), b"{}");
    assert_eq!(answer.headers()[ETAG], etag::own(b"{}", false));
    assert_eq!(answer.headers()[CONTENT_LENGTH], "2");
    assert_eq!(answer.headers()[LAST_MODIFIED], "Wed, 01 Jul 2026 10:00:00 GMT");
    for name in ["x-ratelimit-remaining", "x-github-request-id"] {
        assert!(!answer.headers().contains_key(name));
    }
}

/// RFC 9111 §4.3.4.
#[test]
fn what_a_304_says_holds_from_then_on() {
    let token = Token::for_tests("a");
    let entry = entry(PLAIN, b"{}", &token, 30);
    let asked = Condition { by: Validator::Plain, header: None };
    let noon = "Wed, 01 Jul 2026 12:00:00 GMT";
    let link = "<https://api.github.com/x?page=4>; rel=\"last\"";
    let said = [
        ("date", noon),
        ("link", link),
        ("deprecation", "@1"),
        ("content-type", "text/plain"),
        ("last-modified", noon),
        ("x-github-request-id", "AB:2"),
    ];
    entry.confirm(&headers(&said), &asked, &token, 5_000);
    entry.confirm(&headers(&[("date", "Wed, 01 Jul 2026 09:00:00 GMT")]), &asked, &token, 4_000);
    let answer = entry.answer();
    let value = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((value("date"), value("link"), value("deprecation")), (Some(noon), Some(link), Some("@1")));
    assert_eq!(value("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(value("last-modified"), Some("Wed, 01 Jul 2026 10:00:00 GMT"));
    assert_eq!(value("x-github-request-id"), None);
    // Its tag says that there is no next page.
    let next = headers(&[("link", "<https://api.github.com/x?page=2>; rel=\"next\"")]);
    entry.confirm(&next, &asked, &token, 6_000);
    assert_eq!(entry.answer().headers()[LINK], link);
}

#[test]
fn the_same_body_has_the_same_tag_packed_or_not() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"[1, 2]").unwrap();
    let mut pairs = PLAIN.to_vec();
    pairs.push(("content-encoding", "gzip"));
    let packed = entry(&pairs, &encoder.finish().unwrap(), &Token::for_tests("a"), 30);
    assert_eq!(packed.tag(), entry(PLAIN, b"[1, 2]", &Token::for_tests("b"), 30).tag());
    let (key, token) = (key(), Token::for_tests("a"));
    let origin = Origin { key: &key, token: &token, asked_ms: 0, per_page: 30 };
    let garbled = Entry::new(&headers(&pairs), Bytes::from_static(b"no gzip"), &origin, &Proofs::default());
    assert!(garbled.is_none());
}

#[test]
fn what_is_longer_than_it_says_is_not_unpacked() {
    let packed = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let two = [packed(b"[1]"), packed(b"2")].concat();
    let mut lying = packed(b"[1, 2]");
    *lying.last_mut().unwrap() = 1;
    for (body, is_unpacked) in
        [(packed(b"[1, 2]"), true), (two, false), (lying, false), (b"abc".to_vec(), false)]
    {
        assert_eq!(plain_of(&Bytes::from(body), true).is_some(), is_unpacked);
    }
    assert_eq!(announced(&packed(&[b' '; 70_000])), Some(70_000));
}

#[test]
fn an_entry_is_kept_as_written_for_a_few_addresses() {
    let entry = entry(PLAIN, b"{}", &Token::for_tests("a"), 30);
    let is_written = ["http://a", "http://b", "http://c", "http://d", "http://e", "http://a"]
        .map(|address| entry.is_written_for(address));
    assert_eq!(is_written, [true, true, true, true, false, true]);
}

#[test]
fn github_is_asked_by_what_the_token_allows() {
    let (one, other) = (Token::for_tests("one"), Token::for_tests("other"));
    let (key, proofs) = (key(), Proofs::default());
    let kept = entry(PLAIN, b"{}", &one, 30);
    let same = kept.condition(&key, &one, &proofs);
    assert_eq!((same.by, same.header.unwrap().1), (Validator::Etag, HeaderValue::from_static("\"given\"")));
    let unproven = kept.condition(&key, &other, &proofs);
    assert_eq!(unproven.by, Validator::LastModified);
    assert_eq!(unproven.header.unwrap().0, IF_MODIFIED_SINCE);
    for _ in 0..20 {
        proofs.note("application/json", true);
    }
    let foretold = kept.condition(&key, &other, &proofs);
    assert_eq!(foretold.by, Validator::Foretold);
    let tag = etag::foretold(key.accept(), &other.authorization(), b"{}");
    assert!(etag::holds(&foretold.header.as_ref().unwrap().1, &tag));
    // A tag that was confirmed is that token's tag from then on.
    kept.confirm(&HeaderMap::new(), &foretold, &other, 5_000);
    assert_eq!(kept.condition(&key, &other, &proofs).by, Validator::Etag);
    assert_eq!(kept.checked_ms(), 5_000);
    kept.confirm(&HeaderMap::new(), &foretold, &other, 4_000);
    assert_eq!(kept.checked_ms(), 5_000, "an earlier question says nothing of now");
}

#[test]
fn a_change_within_the_second_is_never_taken_for_none() {
    let mut pairs = PLAIN.to_vec();
    pairs[2].1 = "Wed, 01 Jul 2026 10:59:59 GMT";
    let kept = entry(&pairs, b"{}", &Token::for_tests("a"), 30);
    let condition = kept.condition(&key(), &Token::for_tests("b"), &Proofs::default());
    assert_eq!((condition.by, condition.header), (Validator::Plain, None));
}

#[test]
fn the_last_full_page_is_asked_for_plainly() {
    let token = Token::for_tests("a");
    let by = |pairs: &[(&'static str, &str)], body: &[u8], per_page| {
        entry(pairs, body, &token, per_page).condition(&key(), &token, &Proofs::default()).by
    };
    assert_eq!(by(PLAIN, b"[1,2]", 2), Validator::Plain);
    assert_eq!(by(PLAIN, b"{\"total_count\":2,\"items\":[1,{}]}", 2), Validator::Plain);
    assert_eq!(by(PLAIN, b"[1,2]", 3), Validator::Etag);
    assert_eq!(by(PLAIN, b"{\"labels\":[1,2]}", 2), Validator::Etag);
    let mut pairs = PLAIN.to_vec();
    pairs[6].1 = "<https://api.github.com/x?page=2>; rel=\"next\"";
    assert_eq!(by(&pairs, b"[1,2]", 2), Validator::Etag);
}

#[test]
fn work_github_has_not_ended_is_seen() {
    let token = Token::for_tests("a");
    assert!(entry(PLAIN, b"{\"mergeable\":null}", &token, 30).is_pending());
    assert!(!entry(PLAIN, b"{\"mergeable\":true}", &token, 30).is_pending());
}

#[test]
fn github_s_tags_prove_or_disprove_what_is_foretold() {
    let (key, token, proofs) = (key(), Token::for_tests("a"), Proofs::default());
    let keep = |etag: &str, proofs: &Proofs| {
        let mut pairs = PLAIN.to_vec();
        pairs[0].1 = etag;
        let origin = Origin { key: &key, token: &token, asked_ms: 0, per_page: 30 };
        Entry::new(&headers(&pairs), Bytes::from_static(b"{}"), &origin, proofs).unwrap();
    };
    let right = format!("W/\"{}\"", etag::foretold(key.accept(), &token.authorization(), b"{}"));
    (0..20).for_each(|_| keep(&right, &proofs));
    assert!(proofs.hold("application/json"));
    keep("W/\"of another rule\"", &proofs);
    assert!(!proofs.hold("application/json"));
}
