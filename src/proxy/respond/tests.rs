//! Which answers are rewritten.

use super::*;

#[test]
fn only_api_json_is_rewritten() {
    for (content_type, rewritten) in [
        ("application/json; charset=utf-8", true),
        ("application/vnd.github+json", true),
        ("application/vnd.github.v3+json", true),
        ("application/vnd.github.full+json", true),
        ("application/problem+json", true),
        ("application/vnd.github.raw+json; charset=utf-8", false),
        ("application/vnd.github.v3.raw+json", false),
        ("application/vnd.github.v3.diff", false),
        ("text/plain", false),
        ("application/zip", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(holds_links(&headers), rewritten, "{content_type}");
    }
}
