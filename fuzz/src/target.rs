//! What is forwarded means what was judged: it reads again as itself, and nothing in it leads elsewhere.
//!
//! Input: a request target.

use http::Method;
use tollgate::policy::repositories::RepositoryName;
use tollgate::policy::routes::{self, RouteError};
use tollgate::policy::target::Target;

use crate::lenient::unescaped;

/// # Panics
/// When two readings of a target differ.
pub fn check(data: &[u8]) {
    let Ok(asked) = std::str::from_utf8(data) else { return };
    let (path, query) = asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
    let Ok(target) = Target::parse(path, query) else { return };
    let forwarded = target.path();
    let sent = target.query().unwrap_or_default();
    assert!(forwarded.starts_with('/') && format!("{forwarded}{sent}").bytes().all(|b| b.is_ascii_graphic()));
    assert!(!forwarded.contains(['?', '#', '\\']) && !sent.contains('#'));
    let last = forwarded.strip_suffix('/').filter(|_| target.is_open());
    check_parts(last.unwrap_or(forwarded));
    assert_eq!(decoded_pairs(sent), decoded_pairs(query.unwrap_or_default()), "the query means another");
    if target.is_graphql() {
        assert_eq!(forwarded, "/");
        return;
    }
    // Below a prefix that is taken off, the prefix is a path like any other, and no operation has it.
    if forwarded == "/api" || forwarded.starts_with("/api/") || forwarded == "/graphql" {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let found = routes::find(&method, &target).map(|route| route.operation.id);
            assert_eq!(found.err(), Some(RouteError::Unknown), "{method} {forwarded}");
        }
        return;
    }
    check_same(&target, forwarded);
    check_canonical(&target);
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let _ = routes::find(&method, &target);
    }
}

fn check_same(target: &Target, forwarded: &str) {
    let again = Target::parse(forwarded, target.query());
    let again = again.unwrap_or_else(|error| panic!("{forwarded} is refused: {error}"));
    assert_eq!(again.path(), forwarded);
    assert_eq!(again.query(), target.query(), "{forwarded}");
    assert_eq!(texts(&again), texts(target), "{forwarded}");
    assert!(!again.is_graphql());
}

fn texts(target: &Target) -> Vec<&str> {
    target.segments().iter().map(|segment| segment.text()).collect()
}

/// However often it is decoded, no part is empty or leads elsewhere.
fn check_parts(forwarded: &str) {
    let mut text = forwarded.to_owned();
    loop {
        for part in text.replace('\\', "/").split('/').skip(1) {
            let bare = part.split(';').next().unwrap_or_default();
            assert!(bare != "." && bare != ".." && (!part.is_empty() || text == "/"), "{forwarded}: {text}");
        }
        let once = decoded_once(&text);
        if once == text {
            break;
        }
        text = once;
    }
    let all = unescaped(forwarded);
    assert!(!all.split(['/', '\\']).any(|part| part == ".."), "{forwarded}: {all}");
}

/// What an approval is bound to has one spelling, with the repository by name or not.
fn check_canonical(target: &Target) {
    for repository in [None, RepositoryName::parse("acme/widgets")] {
        let canonical = target.canonical(repository.as_ref(), None);
        let (path, query) = match canonical.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (canonical.as_str(), None),
        };
        let again = Target::parse(path, query).unwrap_or_else(|error| panic!("{canonical}: {error}"));
        assert_eq!(again.canonical(repository.as_ref(), None), canonical);
        assert_eq!(again.query(), target.query(), "{canonical}");
        if repository.is_none() {
            assert_eq!(texts(&again), texts(target), "{canonical}");
        }
    }
}

fn decoded_once(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn decoded_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded_once(&key.replace('+', " ")), decoded_once(&value.replace('+', " ")))
        })
        .collect()
}
