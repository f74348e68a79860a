//! Paths in every spelling mean the same before and after forwarding.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::policy::lenient::unescaped;

const SEGMENTS: &[&str] = &[
    "repos",
    "repositories",
    "api",
    "v3",
    "uploads",
    "graphql",
    "a",
    "main",
    "%6Dain",
    "a%2Fb",
    "%252e%252E",
    "%25252e.",
    "..",
    ".",
    "...",
    "%2e",
    "..;x",
    "a;b",
    ";",
    "",
    "%5C",
    "%255c..",
    "a%20b",
    "100%25",
    "%C3%A9",
    "é",
    "a@b:c",
    "%40",
    "+",
    "%",
    "%FF",
    "%00",
    "%2500",
    "%E2%80%AE",
    "a|b",
    "[x]",
    "\"",
    "<",
    "x..%252fy",
    "contents",
    "git",
    "matching-refs",
    "x%2F",
];

const PAIRS: &[&str] = &[
    "a=b",
    "q=x+y%2B",
    "labels[]=x",
    "e=é",
    "_method=GET",
    "_method=PUT",
    "a=1;_METHOD[]=PUT",
    "x=%",
    "=",
    "a|b=%7c",
];

fn texts(target: &Target) -> Vec<&str> {
    target.segments().iter().map(Segment::text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_forwarded_reads_as_what_was_judged(
        segments in vec(prop_oneof![9 => select(SEGMENTS).prop_map(str::to_owned), 1 => "[ -~]{0,5}"], 1..7),
        pairs in vec(select(PAIRS), 0..3),
    ) {
        let query = (!pairs.is_empty()).then(|| pairs.join("&"));
        let path = format!("/{}", segments.join("/"));
        let Ok(target) = Target::parse(&path, query.as_deref()) else { return Ok(()) };
        let forwarded = target.path();
        prop_assert!(forwarded.bytes().all(|byte| byte.is_ascii_graphic()), "{}", forwarded);
        let decoded = unescaped(forwarded).replace('\\', "/");
        prop_assert!(!decoded.split('/').any(|part| matches!(part, "." | "..")), "{}", forwarded);
        // A prefix below a prefix would be removed in turn; no operation has such a path.
        prop_assume!(!matches!(texts(&target).first(), Some(&("api" | "graphql"))) && !target.is_graphql());
        let again = Target::parse(forwarded, target.query()).unwrap();
        prop_assert_eq!((again.path(), again.query(), texts(&again)), (forwarded, target.query(), texts(&target)));
        let canonical = target.canonical(None, None);
        let (path, query) = canonical.split_once('?').map_or((&*canonical, None), |(path, query)| (path, Some(query)));
        let again = Target::parse(path, query).unwrap();
        prop_assert_eq!((texts(&again), again.query()), (texts(&target), target.query()));
        prop_assert_eq!(again.canonical(None, None), canonical);
    }
}
