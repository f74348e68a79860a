//! The table as a whole, and the readings that matter.

use super::*;

fn route(method: &str, path: &str) -> Result<Route, RouteError> {
    let target = Target::parse(path, None)?;
    find(&method.parse().unwrap(), &target)
}

fn named(full_name: &str) -> Scope {
    Scope::Repository(RepositoryName::parse(full_name).unwrap())
}

#[test]
fn every_published_operation_is_found_at_its_own_path() {
    let mut count = 0;
    for (method, operation) in rest_operations(TABLE) {
        let path: Vec<String> = operation
            .template
            .split('/')
            .map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some("basehead") => "a...b".to_owned(),
                Some(name) => format!("{}7", name.replace('_', "-")),
                None => segment.to_owned(),
            })
            .collect();
        let found =
            route(method.as_str(), &path.join("/")).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert_eq!((found.operation.id, found.operation.template), (operation.id, operation.template));
        count += 1;
    }
    assert!(count > 1200, "only {count} operations");
}

#[test]
fn every_operation_has_a_class_and_a_condition_we_know() {
    let classes = ["read", "write", "ref-write", "merge", "review", "protection", "admin", "token"];
    let conditions = ["", "approves", "names-base", "creates-pull", "ends-draft"];
    for line in TABLE.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns.len(), 9, "{line}");
        assert!(classes.contains(&columns[4]), "{line}");
        assert!(conditions.contains(&columns[5]) || columns[5].starts_with("branch"), "{line}");
    }
}

#[test]
fn every_operation_github_publishes_has_a_row() {
    let published = include_str!("../data/published.tsv");
    let name = |line: &str| line.split('\t').take(4).collect::<Vec<_>>().join(" ");
    let classed: std::collections::HashSet<String> = TABLE.lines().skip(1).map(name).collect();
    assert_eq!(classed.len(), TABLE.lines().count() - 1, "no operation stands twice");
    let missing: Vec<String> =
        published.lines().skip(1).map(name).filter(|row| !classed.contains(row)).collect();
    assert!(missing.is_empty(), "without a class: {missing:?}");
    assert!(published.lines().count() > 1_400);
}

#[test]
fn every_condition_of_a_rest_operation_is_understood() {
    for line in TABLE.lines().skip(1).filter(|line| line.starts_with("rest")) {
        let condition = line.split('\t').nth(5).unwrap();
        assert_eq!(condition_named(condition) == Condition::Always, condition.is_empty(), "{line}");
    }
}

#[test]
fn classes_of_what_lands_code_hold() {
    for (method, path, class) in [
        ("PUT", "/repos/a/b/pulls/1/merge", Class::Merge),
        ("PUT", "/repos/a/b/pulls/1/merge-async", Class::Merge),
        ("POST", "/repos/a/b/merges", Class::Merge),
        ("POST", "/repos/a/b/merge-upstream", Class::Merge),
        ("PUT", "/repositories/7/pulls/1/merge", Class::Merge),
        ("PUT", "/repos/a/b/pulls/1/%6Derge", Class::Merge),
        ("PATCH", "/repos/a/b/git/refs/heads/main", Class::RefWrite),
        ("PATCH", "/repos/a/b/git/refs/heads%2Fmain", Class::RefWrite),
        ("PUT", "/repos/a/b/contents/a/b/c.txt", Class::RefWrite),
        ("POST", "/repos/a/b/pulls/1/reviews", Class::Review),
        ("POST", "/repos/a/b/statuses/abc", Class::Review),
        ("PUT", "/repos/a/b/branches/main/protection", Class::Protection),
        ("DELETE", "/repos/a/b", Class::Admin),
        ("POST", "/repos/a/b/issues", Class::Write),
        ("POST", "/app/installations/1/access_tokens", Class::Token),
        ("DELETE", "/installation/token", Class::Token),
        ("GET", "/app", Class::Token),
        ("GET", "/repos/a/b/pulls/1/merge", Class::Read),
        ("HEAD", "/repos/a/b", Class::Read),
    ] {
        assert_eq!(route(method, path).unwrap().operation.class, class, "{method} {path}");
    }
}

#[test]
fn writes_in_no_list_are_refused() {
    for (method, path) in [
        ("POST", "/repos/a/b/pulls/1/merge"),
        ("PATCH", "/repos/a/b/pulls/1/merge"),
        ("PUT", "/repos/a/b/pulls/1/MERGE"),
        ("PUT", "/REPOS/a/b/pulls/1/merge"),
        ("PUT", "/repositories/07/pulls/1/merge"),
        ("POST", "/repos/a/b/unheard-of"),
        ("OPTIONS", "/repos/a/b"),
        ("GET", "/unheard-of"),
        ("GET", "/repos/a/b/Compare/x...y"),
        ("GET", "/repos/a/b/compare;x/x...y"),
        ("GET", "/repos/a/b/installation.json"),
        ("GET", "/repositories/x/y"),
    ] {
        assert_eq!(route(method, path).unwrap_err(), RouteError::Unknown, "{method} {path}");
    }
}

#[test]
fn scopes_say_what_is_reached() {
    for (path, scope) in [
        ("/repos/Acme/Tool", named("acme/tool")),
        ("/repos/acme/tool/new-thing/1", named("acme/tool")),
        ("/repositories/7", Scope::RepositoryId(7)),
        ("/repositories/7/issues", Scope::RepositoryId(7)),
        ("/repositories/7/new-thing", Scope::RepositoryId(7)),
        ("/organizations/9/repos", Scope::OrganizationId(9)),
        ("/orgs/Acme/repos", Scope::Fleet(Some("acme".to_owned()))),
        ("/user/repos", Scope::Fleet(None)),
        ("/networks/a/b/events", Scope::Fleet(None)),
        ("/user", Scope::Everyone),
        ("/users/octocat", Scope::Everyone),
        ("/users/octocat/repos", Scope::Fleet(Some("octocat".to_owned()))),
        ("/", Scope::Everyone),
        ("/search/issues", Scope::Search),
        ("/installation/repositories", Scope::InstallationRepositories),
    ] {
        assert_eq!(route("GET", path).unwrap().scope, scope, "{path}");
    }
}

/// Clients send such paths when they leave a name out.
#[test]
fn a_slash_at_the_end_is_a_read_s() {
    for (path, id) in [
        ("/repos/acme/tool/contents/", "unlisted"),
        ("/repos/acme/tool/contents/docs/", "repos/get-content"),
        ("/repos/acme/tool/git/matching-refs/heads/", "git/list-matching-refs"),
        ("/repositories/7/zipball/", "unlisted"),
    ] {
        assert_eq!(route("GET", path).unwrap().operation.id, id, "{path}");
        assert_eq!(route("HEAD", path).unwrap().operation.id, id, "{path}");
        for method in ["PUT", "POST", "DELETE"] {
            let refused = route(method, path).unwrap_err();
            assert_eq!(refused, RouteError::Target(TargetError::EmptySegment), "{method} {path}");
        }
    }
}

#[test]
fn escaped_slashes_stand_only_in_names() {
    for (path, outcome) in [
        ("/repos/a/b/git/ref/heads%2Fx", Ok(())),
        ("/repos/a/b/branches/feature%2Fx", Ok(())),
        ("/repos/a/b/labels/a%2Fb", Ok(())),
        ("/repos/a/b/contents/a%2Fb", Ok(())),
        ("/repos/a/b/compare/a%2Fb...c", Ok(())),
        ("/repos/a/b/contents/a%252Fb", Ok(())),
        ("/repos/a/b/issues/1%2F2", Err(TargetError::EscapedSlash)),
        // Found by fuzzing: with PUT, the second one would update a review, or dismiss it.
        ("/repos/a/b/pulls/1／merge", Err(TargetError::EscapedSlash)),
        ("/repos/a/b/pulls/1/reviews/2／dismissals", Err(TargetError::EscapedSlash)),
        ("/repos/a/b/contents/2／3", Ok(())),
        ("/repos/a%2Fb/c", Err(TargetError::EscapedSlash)),
        ("/repos/a/b%2Fc", Err(TargetError::EscapedSlash)),
        ("/repos/a/b/new/a%2Fthing", Err(TargetError::EscapedSlash)),
        ("/repos/a/b/branches/a%252Fb", Err(TargetError::DoubleEscape)),
        ("/repos/a/b/branches/100%25done", Ok(())),
    ] {
        let found = route("GET", path).map(|_| ()).map_err(|error| match error {
            RouteError::Target(error) => error,
            RouteError::Name(_) | RouteError::Unknown => panic!("{path}: {error}"),
        });
        assert_eq!(found, outcome, "{path}");
    }
}

#[test]
fn parameters_are_decoded_once() {
    let found = route("GET", "/repos/a/b/git/ref/heads%2F100%25done").unwrap();
    assert_eq!(found.param("ref"), Some("heads/100%done"));
    assert!(matches!(route("GET", "/repos/a;x/b").unwrap_err(), RouteError::Name(_)));
}
