//! Targets with one meaning, and those that could have two.

use super::*;

mod properties;

fn forwarded(path: &str) -> Result<String, TargetError> {
    Target::parse(path, None).map(|target| target.path().to_owned())
}

#[test]
fn forwards_the_same_meaning() {
    for (came, goes) in [
        ("/", "/"),
        ("/repos/acme/tool", "/repos/acme/tool"),
        ("/repos/acme/tool/compare/a...b", "/repos/acme/tool/compare/a...b"),
        ("/repos/acme/tool/branches/100%25done", "/repos/acme/tool/branches/100%25done"),
        ("/repos/acme/tool/git/refs/heads%2Fx", "/repos/acme/tool/git/refs/heads%2Fx"),
        ("/repos/acme/tool/git/refs/heads%2fx", "/repos/acme/tool/git/refs/heads%2Fx"),
        ("/repos/acme/tool/contents/a%3Bb", "/repos/acme/tool/contents/a%3Bb"),
        ("/repos/acme/tool/contents/a;b", "/repos/acme/tool/contents/a;b"),
        ("/repos/acme/tool/contents/a%20b", "/repos/acme/tool/contents/a%20b"),
        ("/repos/acme/tool/contents/%6Dain", "/repos/acme/tool/contents/main"),
        ("/repos/acme/tool/contents/%C3%A9", "/repos/acme/tool/contents/%C3%A9"),
        ("/repos/acme/tool/contents/...", "/repos/acme/tool/contents/..."),
        ("/repos/acme/tool/contents/", "/repos/acme/tool/contents"),
        ("/api/v3/repositories/1/contents/docs/", "/repositories/1/contents/docs"),
        ("/repos/acme/tool/tarball/", "/repos/acme/tool/tarball"),
        ("/repos/acme/tool/git/matching-refs/", "/repos/acme/tool/git/matching-refs/"),
        ("/repos/acme/tool/git/matching-refs/heads/", "/repos/acme/tool/git/matching-refs/heads/"),
        ("/repos/acme/tool/git/matching-refs/heads%2F", "/repos/acme/tool/git/matching-refs/heads/"),
        ("/api/v3/repos/acme/tool", "/repos/acme/tool"),
        ("/api/v3", "/"),
        ("/api/v3/", "/"),
        ("/api/uploads/repos/acme/tool", "/repos/acme/tool"),
        ("/api/v3/api/uploads/repos/acme/tool", "/repos/acme/tool"),
        ("/graphql", "/"),
    ] {
        assert_eq!(forwarded(came).as_deref(), Ok(goes), "{came}");
    }
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    for (path, why) in [
        ("repos", TargetError::NoSlash),
        ("//repos", TargetError::EmptySegment),
        ("/repos//tool", TargetError::EmptySegment),
        ("/repos/acme/tool/", TargetError::EmptySegment),
        ("/graphql/", TargetError::EmptySegment),
        ("/graphql%2F", TargetError::EmptySegment),
        ("/repos/acme/tool%2F", TargetError::EmptySegment),
        ("/repos/acme/tool/pulls/1/merge/", TargetError::EmptySegment),
        ("/repos/acme/tool/git/refs/heads%2F", TargetError::EmptySegment),
        ("/repos/acme/tool/contents//", TargetError::EmptySegment),
        ("/repos/acme/tool/contents/%2F", TargetError::EmptySegment),
        ("/repos/acme/tool/contents/../", TargetError::DotSegment),
        ("/repos/./tool", TargetError::DotSegment),
        ("/repos/../tool", TargetError::DotSegment),
        ("/repos/%2e%2e/tool", TargetError::DotSegment),
        ("/repos/.%2E/tool", TargetError::DotSegment),
        ("/repos/..;x/tool", TargetError::DotSegment),
        ("/repos/..%3Bx/tool", TargetError::DotSegment),
        ("/repos/a/b/git/refs/heads%2F..%2Fmain", TargetError::DotSegment),
        ("/repos/a/b/git/refs/heads%2F%2Fmain", TargetError::EmptySegment),
        // For a reader that folds full-width characters these lead out of the folder.
        ("/repos/a/b/contents/．．/pulls/1/merge", TargetError::DotSegment),
        ("/repos/a/b/contents/x／..／..／pulls", TargetError::DotSegment),
        ("/repos/a/b/contents/‥；x/y", TargetError::DotSegment),
        ("/repos/a\\b", TargetError::Backslash),
        ("/repos/a%5Cb", TargetError::Backslash),
        ("/repos/a%00b", TargetError::Control),
        ("/repos/a%0Ab", TargetError::Control),
        ("/repos/a%7Fb", TargetError::Control),
        ("/repos/a%", TargetError::Escape),
        ("/repos/a%2", TargetError::Escape),
        ("/repos/a%zz", TargetError::Escape),
        ("/repos/a%FF", TargetError::Encoding),
        ("/repos/a%C0%AF", TargetError::Encoding),
    ] {
        assert_eq!(forwarded(path), Err(why), "{path}");
    }
}

#[test]
fn knows_every_spelling_of_graphql() {
    for (path, prefix) in
        [("/graphql", Prefix::Root), ("/api/graphql", Prefix::V3), ("/api/v3/graphql", Prefix::V3)]
    {
        let target = Target::parse(path, None).unwrap();
        assert!(target.is_graphql() && target.prefix() == prefix, "{path}");
    }
    for path in ["/graphql/x", "/api/graphql/x", "/repos/graphql", "/GraphQL"] {
        assert!(!Target::parse(path, None).unwrap().is_graphql(), "{path}");
    }
}

#[test]
fn keeps_the_query_and_refuses_tricks_in_it() {
    let target = Target::parse("/x", Some("q=a+b%2Bc&q=d&labels[]=x")).unwrap();
    assert_eq!(target.query(), Some("q=a+b%2Bc&q=d&labels%5B%5D=x"));
    assert_eq!(target.query_values("q"), ["a b+c", "d"]);
    for (query, why) in [
        ("_method=PUT", TargetError::MethodOverride),
        // Nested too deep to be worth decoding.
        ("%252525252541=1", TargetError::MethodOverride),
        ("%5Fmethod=PUT", TargetError::MethodOverride),
        // Found by generating requests.
        ("%255Fmethod=PUT", TargetError::MethodOverride),
        ("access_token=x", TargetError::QueryCredential),
        ("a=%0", TargetError::Escape),
    ] {
        assert_eq!(Target::parse("/x", Some(query)), Err(why), "{query}");
    }
}

#[test]
fn sees_an_escape_within_an_escape() {
    let target = Target::parse("/a%252Fb/100%25done", None).unwrap();
    assert!(target.segments()[0].has_double_escape());
    assert!(!target.segments()[1].has_double_escape());
}

proptest::proptest! {
    #[test]
    fn forwarding_is_stable_and_never_panics(path in "/[ -~]{0,60}") {
        if let Ok(target) = Target::parse(&path, None) {
            let again = Target::parse(target.path(), None).unwrap();
            proptest::prop_assert_eq!(again.path(), target.path());
            for segment in target.segments() {
                proptest::prop_assert!(segment.text() != ".." && segment.text() != ".");
            }
        }
    }
}

#[test]
fn has_one_canonical_form_for_approvals() {
    let repository = RepositoryName::parse("acme/widgets").unwrap();
    for (path, query, expected) in [
        ("/repos/ACME/Widgets/pulls/76/merge", None, "/repos/acme/widgets/pulls/76/merge"),
        ("/api/v3/repositories/2001/pulls/76/%6Derge", None, "/repos/acme/widgets/pulls/76/merge"),
        ("/repos/acme/widgets/git/refs/heads%2fx", None, "/repos/acme/widgets/git/refs/heads%2Fx"),
        ("/repos/acme/widgets/contents/a%40b/%c3%bc+1", None, "/repos/acme/widgets/contents/a@b/%C3%BC+1"),
        (
            "/repos/acme/widgets/contents/x",
            Some("branch=a|b&m=%7e"),
            "/repos/acme/widgets/contents/x?branch=a|b&m=%7e",
        ),
        ("/repos/acme/widgets", Some(""), "/repos/acme/widgets"),
        ("/agents/repos/acme/Widgets/tasks", None, "/agents/repos/acme/widgets/tasks"),
    ] {
        let target = Target::parse(path, query).unwrap();
        assert_eq!(target.canonical(Some(&repository), None), expected, "{path}");
    }
    let organization = Target::parse("/organizations/501/repos", None).unwrap();
    assert_eq!(organization.canonical(None, Some("acme")), "/orgs/acme/repos");
    assert_eq!(Target::parse("/", None).unwrap().canonical(None, None), "/");
}
