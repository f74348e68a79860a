//! Conditions read from bodies, and that a lenient reader can't find anything stronger.

use super::*;
use crate::policy::routes;

mod properties;

fn judged(method: &str, path: &str, body: &str) -> Result<Judged, Ambiguous> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let target = Target::parse(path, query).unwrap();
    let route = routes::find(&method.parse().unwrap(), &target).unwrap();
    judge(&route, &target, body.as_bytes())
}

#[test]
fn conditions_are_read_from_the_body() {
    for (method, path, body, expected) in [
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"COMMENT","body":"APPROVE"}"#, Class::Write),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"body":"x"}"#, Class::Write),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"REQUEST_CHANGES"}"#, Class::Write),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"APPROVE"}"#, Class::Review),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"approve"}"#, Class::Review),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":["APPROVE"]}"#, Class::Review),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"\u0065vent":"APPROVE"}"#, Class::Review),
        ("POST", "/repos/a/b/pulls/1/reviews/2/events", r#"{"event":"APPROVE"}"#, Class::Review),
        ("PATCH", "/repos/a/b/pulls/1", r#"{"title":"base"}"#, Class::Write),
        ("PATCH", "/repos/a/b/pulls/1", r#"{"base":"main"}"#, Class::RefWrite),
        ("POST", "/repos/a/b/pulls", r#"{"head":"x","base":"main"}"#, Class::Write),
        ("PUT", "/repos/a/b/pulls/1/merge", "", Class::Merge),
        ("PUT", "/repos/a/b/pulls/1/merge?x=y", "{}", Class::Merge),
    ] {
        let read = judged(method, path, body).unwrap();
        assert_eq!((read.class, read.branch), (expected, None), "{method} {path} {body}");
    }
}

#[test]
fn branches_are_found_where_they_stand() {
    let named = |name: &str| NamedBranch::Named(name.to_owned());
    for (method, path, body, expected) in [
        ("PUT", "/repos/a/b/contents/x", "{}", NamedBranch::Default),
        ("PUT", "/repos/a/b/contents/x", "", NamedBranch::Default),
        ("PUT", "/repos/a/b/contents/x", r#"{"content":"AA==","branch":"w"}"#, named("w")),
        ("DELETE", "/repos/a/b/contents/x?branch=w&sha=1", "", named("w")),
        ("DELETE", "/repos/a/b/contents/x", r#"{"branch":"w"}"#, named("w")),
        ("DELETE", "/repos/a/b/contents/x", "", NamedBranch::Default),
        ("POST", "/repos/a/b/git/refs", r#"{"ref":"refs/heads/w","sha":"1"}"#, named("w")),
        ("POST", "/repos/a/b/git/refs", r#"{"ref":"refs/tags/w","sha":"1"}"#, NamedBranch::Guarded),
        ("PATCH", "/repos/a/b/git/refs/heads/w/x", r#"{"sha":"1"}"#, named("w/x")),
        ("PATCH", "/repositories/7/git/refs/heads%2Fw", r#"{"sha":"1"}"#, named("w")),
        ("DELETE", "/repos/a/b/git/refs/tags/v1", "", NamedBranch::Guarded),
        ("PUT", "/repos/a/b/pulls/1/update-branch", "{}", NamedBranch::HeadOfPull(1)),
        ("POST", "/repos/a/b/code-scanning/alerts/1/autofix/commits", r#"{"target_ref":"w"}"#, named("w")),
    ] {
        let read = judged(method, path, body).unwrap();
        assert_eq!((read.class, read.branch), (Class::RefWrite, Some(expected)), "{method} {path} {body}");
    }
}

#[test]
fn what_has_two_readings_is_refused() {
    for (method, path, body) in [
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"COMMENT","event":"APPROVE"}"#),
        ("POST", "/repos/a/b/pulls/1/reviews", r#"{"event":"COMMENT","Event":"APPROVE"}"#),
        ("POST", "/repos/a/b/pulls/1/reviews", "[]"),
        ("POST", "/repos/a/b/pulls/1/reviews", "x"),
        ("POST", "/repos/a/b/pulls/1/reviews?event=APPROVE", "{}"),
        ("PATCH", "/repos/a/b/pulls/1?base=main", "{}"),
        ("PATCH", "/repos/a/b/pulls/1", r#"{"Base":"main"}"#),
        ("POST", "/repos/a/b/pulls?draft=false", "{}"),
        ("POST", "/repos/a/b/pulls", r#"{"draft":true,"Draft":false}"#),
        ("PUT", "/repos/a/b/contents/x?branch=w", "{}"),
        ("PUT", "/repos/a/b/contents/x", r#"{"branch":"w","branch":"main"}"#),
        ("PUT", "/repos/a/b/contents/x", "\u{feff}{}"),
        ("DELETE", "/repos/a/b/contents/x?branch=w", r#"{"branch":"w"}"#),
        ("POST", "/repos/a/b/git/refs", r#"{"ref":"refs/heads/w","REF":"refs/heads/main"}"#),
        ("PUT", "/repos/a/b/pulls/1/merge", r#"{"sha":"1","SHA":"2"}"#),
        ("PUT", "/repos/a/b/pulls/1/merge", "null"),
        ("PUT", "/repos/a/b/pulls/01/merge", "{}"),
        ("PUT", "/repos/a/b/pulls/+1/merge", "{}"),
        ("PUT", "/repos/a/b/pulls/1abc/merge", "{}"),
    ] {
        assert!(judged(method, path, body).is_err(), "{method} {path} {body}");
    }
}
