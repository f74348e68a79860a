use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};

use super::body::RewrittenBody;
use super::{LinkBase, LinkMap};

fn bases(bases: &[(&str, bool)]) -> Arc<[LinkBase]> {
    bases.iter().map(|&(base, uploads)| LinkBase::new(base.into(), uploads)).collect()
}

/// The public API, with an uploads host, for a client at `http://tollgate.test:8080`.
pub(super) fn public_map(prefix: &'static str) -> LinkMap {
    let bases = bases(&[("https://uploads.github.com", true), ("https://api.github.com", false)]);
    LinkMap::new(bases, "http://tollgate.test:8080", prefix, "/api/uploads")
}

/// A GHES host, whose bases have paths.
fn ghes_map() -> LinkMap {
    let bases = bases(&[
        ("https://ghes.test/api/uploads", true),
        ("https://api.github.com", false),
        ("http://[::1]:9000/api/v3", false),
        ("https://ghes.test/api/v3", false),
        ("HTTP://plain.test:80", false),
    ]);
    LinkMap::new(bases, "http://tollgate.test:8080", "/api/v3", "/api/uploads")
}

#[test]
fn keeps_prefix_and_what_follows_the_base() {
    let map = public_map("/api/v3");
    for (url, expected) in [
        ("https://api.github.com", "http://tollgate.test:8080/api/v3"),
        ("https://api.github.com/", "http://tollgate.test:8080/api/v3/"),
        ("https://api.github.com/repos/a/b?x=1#y", "http://tollgate.test:8080/api/v3/repos/a/b?x=1#y"),
        ("https://api.github.com?x", "http://tollgate.test:8080/api/v3?x"),
        ("https://api.github.com#x", "http://tollgate.test:8080/api/v3#x"),
        ("https://api.github.com{?x}", "http://tollgate.test:8080/api/v3{?x}"),
        ("https://api.github.com/issues{/number}", "http://tollgate.test:8080/api/v3/issues{/number}"),
        ("HTTPS://API.GitHub.com/Zen", "http://tollgate.test:8080/api/v3/Zen"),
        ("https://api.github.com:443/zen", "http://tollgate.test:8080/api/v3/zen"),
        ("https://api.github.com:443", "http://tollgate.test:8080/api/v3"),
        ("https://api.github.com/graphql", "http://tollgate.test:8080/api/v3/graphql"),
        ("https://api.github.com/é", "http://tollgate.test:8080/api/v3/é"),
        ("https://uploads.github.com/x{?name,label}", "http://tollgate.test:8080/api/uploads/x{?name,label}"),
    ] {
        assert_eq!(map.rewrite(url).as_deref(), Some(expected), "{url}");
    }
    assert_eq!(
        public_map("").rewrite("https://api.github.com/zen").unwrap(),
        "http://tollgate.test:8080/zen"
    );
}

#[test]
fn leaves_other_hosts_alone() {
    let map = public_map("");
    for url in [
        "",
        "https",
        "https://api.github.co",
        "https://api.github.com.evil.com/",
        "https://api.github.com@evil.com/",
        "https://api.github.com:x@evil.com/",
        "https://api.github.com:443@evil.com/",
        "https://api.github.com:8443/",
        "https://api.github.com:4430/",
        "https://api.github.com:44",
        "https://api.github.com:",
        "https://api.github.com:0443/",
        "https://api.github.com:443:443/",
        "https://api.github.com:443.evil.com/",
        "https://api.github.com\\@evil.com/",
        "https://api.github.comx",
        "https://api.github.com./",
        "https://api.github.com%2f",
        "https://api.github.com\u{ff0f}x",
        "https://api.github.com /",
        "http://api.github.com/",
        "https:///api.github.com/",
        "https://user@api.github.com/",
        " https://api.github.com/",
        "see https://api.github.com/",
        "/repos/a/b",
        "https://codeload.github.com/a/b/zip",
        "https://github.com/a/b",
    ] {
        assert_eq!(map.rewrite(url), None, "{url}");
    }
}

#[test]
fn compares_a_base_path_with_case_and_whole() {
    let map = ghes_map();
    for (url, expected) in [
        ("https://ghes.test/api/v3/zen", Some("http://tollgate.test:8080/api/v3/zen")),
        ("https://GHES.test:443/api/v3", Some("http://tollgate.test:8080/api/v3")),
        ("https://ghes.test/api/uploads/x", Some("http://tollgate.test:8080/api/uploads/x")),
        ("https://ghes.test/api/v3?x", Some("http://tollgate.test:8080/api/v3?x")),
        ("http://[::1]:9000/api/v3/zen", Some("http://tollgate.test:8080/api/v3/zen")),
        ("http://plain.test/zen", Some("http://tollgate.test:8080/api/v3/zen")),
        ("http://plain.test:80/zen", Some("http://tollgate.test:8080/api/v3/zen")),
        ("https://ghes.test/API/v3/zen", None),
        ("https://ghes.test/api/v30", None),
        ("https://ghes.test/api/", None),
        ("https://ghes.test/", None),
        ("https://ghes.test:/api/v3/", None),
        ("https://ghes.test:80/api/v3/", None),
        ("http://[::1]:9000:80/api/v3/zen", None),
        ("http://[::1]/api/v3/zen", None),
        ("http://plain.test:443/zen", None),
    ] {
        assert_eq!(map.rewrite(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn takes_any_text_for_a_base() {
    for base in ["", "/", "://", "https://", "https:///", "https://[", "x", "https://]:443", "é://é/é"] {
        let map = LinkMap::new(bases(&[(base, false)]), "http://t", "", "");
        for url in ["", "/", "https://", "x/y", "é://é/é/é"] {
            map.rewrite(url);
        }
    }
}

#[test]
fn rewrites_a_location_to_the_api_only() {
    let map = public_map("/api/v3");
    let rewritten = |value: &'static [u8]| map.rewrite_location(&HeaderValue::from_bytes(value).unwrap());
    let expected = HeaderValue::from_static("http://tollgate.test:8080/api/v3/repositories/1");
    assert_eq!(rewritten(b"https://api.github.com/repositories/1"), Some(expected));
    let opaque = HeaderValue::from_bytes(b"http://tollgate.test:8080/api/v3/\xff").unwrap();
    assert_eq!(rewritten(b"https://api.github.com/\xff"), Some(opaque));
    assert_eq!(rewritten(b"https://codeload.github.com/a/b/legacy.zip/main"), None);
    assert_eq!(rewritten(b"/repositories/1"), None);
}

#[test]
fn changes_only_the_targets_of_a_link_header() {
    let map = public_map("/api/v3");
    // `@` stands for the base.
    for template in [
        r#"<@/repositories/1/issues?page=2>; rel="next", <@/repositories/1/issues?page=9>; rel="last""#,
        r#"<@/a>;rel=next,<https://other.test/?u=https://api.github.com/>; rel=last"#,
        r#"<https://other.test/>; rel="x", <@/b>;	rel = prev ; title*=UTF-8''a%20b"#,
        r#"<@/a>; title="a, <https://api.github.com/no>; \"b\\"; rel=next , <@/b>"#,
        r#"<@/a>; anchor="https://api.github.com/x"; rel="next"; crossorigin"#,
        r#" , ,<@?page=2>; rel="next";,"#,
        r#"<@>"#,
    ] {
        let value = HeaderValue::from_str(&template.replace('@', "https://API.github.com")).unwrap();
        let expected = template.replace('@', "http://tollgate.test:8080/api/v3");
        let expected = HeaderValue::from_str(&expected).unwrap();
        assert_eq!(map.rewrite_link_header(&value), Some(expected), "{template}");
    }
}

#[test]
fn leaves_a_malformed_link_header_alone() {
    let map = public_map("");
    for value in [
        "",
        "https://api.github.com/a; rel=next",
        "<https://api.github.com/a",
        "<https://api.github.com/a>; title=\"open",
        "<https://api.github.com/a>; title=\"open\\",
        "<https://api.github.com/a>; title=\"open\\\"",
        "<https://api.github.com/a> rel=next",
        "<https://api.github.com/a>; rel=next, rel=last",
        "<https://api.github.com/a>; rel=next <https://api.github.com/b>",
        "<https://api.github.com/a>; rel=next, <https://api.github.com/<b>",
        "<https://api.github.com/a>; rel=next>",
        "<https://api.github.com/a b>; rel=next",
        "<https://other.test/>; rel=next",
    ] {
        assert_eq!(map.rewrite_link_header(&HeaderValue::from_str(value).unwrap()), None, "{value}");
    }
}

/// A body of these frames. Panics if it is polled after its end.
struct Frames(Option<VecDeque<Result<Frame<Bytes>, &'static str>>>);

impl Frames {
    fn new(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Frames {
        Frames(Some(frames.into_iter().collect()))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let frame = self.0.as_mut().expect("polled after the end").pop_front();
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(VecDeque::is_empty)
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.into_data().expect("trailers"))),
        Poll::Pending => panic!("never pending"),
    }
}

#[test]
fn streams_a_body_without_its_trailers() {
    let inner = Frames::new([
        data(r#"{"url": "https://api"#),
        data(""),
        data(r#".github.com/zen"}"#),
        Ok(Frame::trailers(HeaderMap::new())),
    ]);
    let mut body = RewrittenBody::new(inner, public_map(""));
    assert_eq!(body.size_hint().exact(), None);
    let mut seen = Vec::new();
    while let Some(data) = next(&mut body) {
        seen.extend_from_slice(&data.unwrap());
    }
    assert_eq!(seen, br#"{"url": "http://tollgate.test:8080/zen"}"#);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(next(&mut body), None, "and again, without asking the inner body");
}

#[test]
fn ends_only_when_nothing_is_held() {
    let mut body = RewrittenBody::new(Frames::new([data(r#"{"url":"https://api"#)]), public_map(""));
    assert_eq!(next(&mut body), Some(Ok(Bytes::from_static(br#"{"url":""#))));
    assert!(!body.is_end_stream(), "the inner body is at its end, but bytes are held");
    assert_eq!(next(&mut body), Some(Ok(Bytes::from_static(b"https://api"))));
    assert!(body.is_end_stream());
    assert_eq!(next(&mut body), None);
}

#[test]
fn an_empty_body_is_over_from_the_start() {
    let body = RewrittenBody::new(Frames::new([]), public_map(""));
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
}

/// What is written of it waits for its reader.
#[test]
fn a_long_piece_is_written_bit_by_bit() {
    let member = r#"{"url":"https://api.github.com/x"},"#;
    let text = format!("[{}0]", member.repeat(10_000));
    let mut body =
        RewrittenBody::new(Frames::new([Ok(Frame::data(Bytes::from(text.clone())))]), public_map(""));
    let mut written = Vec::new();
    while let Some(Ok(frame)) = next(&mut body) {
        assert!(frame.len() <= 128 * 1024, "{}", frame.len());
        written.extend_from_slice(&frame);
    }
    let expected = text.replace("https://api.github.com", "http://tollgate.test:8080");
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[test]
fn passes_an_error_on_and_ends() {
    let inner = Frames::new([data(r#"{"url":"https://"#), Err("reset"), data("x")]);
    let mut body = RewrittenBody::new(inner, public_map(""));
    assert_eq!(next(&mut body), Some(Ok(Bytes::from_static(br#"{"url":""#))));
    assert_eq!(next(&mut body), Some(Err("reset")));
    assert!(body.is_end_stream());
    assert_eq!(next(&mut body), None);
}
