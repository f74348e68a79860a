//! Requests in every spelling, checked against a reader that finds the worst meaning of each.

use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::policy::lenient::{Danger, danger};
use crate::policy::routes;

/// Method, path and deciding key of operations that land code, move refs or open a gate, and of similar ones.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("PUT", "pulls/1/merge", "branch"),
    ("PUT", "pulls/1/merge-async", "branch"),
    ("POST", "merges", "branch"),
    ("POST", "merge-upstream", "branch"),
    ("PUT", "contents/docs/x", "branch"),
    ("DELETE", "contents/x", "branch"),
    ("POST", "git/refs", "ref"),
    ("PATCH", "git/refs/BRANCH", "ref"),
    ("DELETE", "git/refs/BRANCH", "ref"),
    ("PATCH", "pulls/1", "base"),
    ("POST", "pulls", "draft"),
    ("POST", "pulls/1/reviews", "event"),
    ("POST", "pulls/1/reviews/2/events", "event"),
    ("PUT", "pulls/1/reviews/2/dismissals", "event"),
    ("PUT", "branches/BRANCH/protection", "branch"),
    ("POST", "branches/BRANCH/rename", "branch"),
    ("PUT", "rulesets/1", "branch"),
    ("POST", "code-scanning/alerts/1/autofix/commits", "target_ref"),
    ("POST", "issues", "branch"),
    ("PATCH", "labels/BRANCH", "branch"),
    ("GET", "pulls/1/merge", "branch"),
    ("GET", "git/ref/BRANCH", "branch"),
];

const ROOTS: &[&str] = &["/repos/a/b/", "/repositories/7/", "/api/v3/repos/a/b/", "/api/uploads/repos/a/b/"];
const ODD_ROOTS: &[&str] =
    &["/REPOS/a/b/", "/repos/a/b//", "/api/v3/api/v3/repos/a/b/", "/repos/a/b/x/../", "/repos/a/b;x/"];

const BRANCHES: &[&str] = &[
    "work",
    "feature/x",
    "main",
    "refs/heads/work",
    "refs/heads/main",
    "heads/work",
    "heads/feature/x",
    "heads/main",
    "HEAD",
    "tags/v1",
    "refs/tags/v1",
    "origin/main",
    "0123456789abcdef0123456789abcdef01234567",
    "",
];

const KEYS: &[&str] = &["branch", "ref", "base", "event", "target_ref", "content", "_method"];
const EVENTS: &[&str] = &["COMMENT", "REQUEST_CHANGES", "PENDING", "APPROVE", "approve", "DISMISS", ""];
const OTHERS: &[&str] = &["null", "true", "7", "[]", "[\"main\"]", "{\"name\":\"main\"}", "{\"APPROVE\":1}"];

/// A change to a text at some position.
#[derive(Debug, Clone)]
enum Oddity {
    Nothing,
    Upper,
    Before(&'static str),
    After(&'static str),
    /// One letter is written differently.
    Letter(Index, &'static str),
    Within(Index, &'static str),
}

impl Oddity {
    fn on(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let spelled = |at: usize, way: &str| match way {
            "wide" => char::from_u32(u32::from(chars[at]) + 0xfee0).unwrap_or('?').to_string(),
            "escape" => format!("%{:02x}", u32::from(chars[at])),
            "twice" => format!("%25{:02X}", u32::from(chars[at])),
            _ => chars[at].to_uppercase().collect(),
        };
        let rest = |from: usize| chars[from..].iter().collect::<String>();
        match self {
            Oddity::Before(piece) => format!("{piece}{text}"),
            Oddity::After(piece) => format!("{text}{piece}"),
            Oddity::Upper => text.to_uppercase(),
            Oddity::Letter(at, way)
                if text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.is_empty() =>
            {
                let at = at.index(chars.len());
                format!("{}{}{}", &text[..at], spelled(at, way), rest(at + 1))
            }
            Oddity::Within(at, piece) if !text.is_empty() => {
                let at = at.index(chars.len());
                format!("{}{piece}{}", chars[..at].iter().collect::<String>(), rest(at))
            }
            Oddity::Nothing | Oddity::Letter(..) | Oddity::Within(..) => text.to_owned(),
        }
    }
}

fn oddity() -> impl Strategy<Value = Oddity> {
    let around = || {
        select(
            &[
                " ",
                "\t",
                "\u{0}",
                "\u{0}x",
                "/",
                "//",
                "/.",
                "/..",
                "./",
                "../",
                ";x",
                "?x",
                "#x",
                "~1",
                "^0",
                "@{0}",
                ".json",
                "／",
                "．．/",
                ".",
                "\\",
                "[]",
                "%00",
                "%20",
                "%2F",
                "%2e%2e%2f",
                "\u{a0}",
                "\u{200b}",
                "\u{feff}",
            ][..],
        )
    };
    let within = select(&["\u{3164}", "\u{115f}", "\u{ad}", "\u{200d}", "\u{0}", "%", "/"][..]);
    prop_oneof![
        24 => Just(Oddity::Nothing),
        1 => Just(Oddity::Upper),
        2 => around().prop_map(Oddity::Before),
        2 => around().prop_map(Oddity::After),
        2 => (any::<Index>(), select(&["wide", "escape", "twice", "case"][..])).prop_map(|(at, way)| Oddity::Letter(at, way)),
        1 => (any::<Index>(), within).prop_map(|(at, piece)| Oddity::Within(at, piece)),
    ]
}

fn odd(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(texts), oddity()).prop_map(|(text, oddity)| oddity.on(text))
}

fn branch() -> impl Strategy<Value = String> {
    let modified = select(&["\u{1d50}\u{1d43}\u{2071}\u{207f}", "\u{1f13c}\u{1f130}\u{1f138}\u{1f13d}"][..]);
    prop_oneof![20 => odd(BRANCHES), 1 => modified.prop_map(str::to_owned), 2 => "[a-zA-Z0-9/.%@~ -]{0,9}"]
}

/// A member in JSON syntax, and in form syntax.
fn member(deciding: &'static str) -> impl Strategy<Value = (String, String)> {
    let text = prop_oneof![4 => branch(), 2 => odd(EVENTS)].prop_map(|text| Value::from(text).to_string());
    let value = prop_oneof![8 => text, 1 => select(OTHERS).prop_map(str::to_owned)];
    let key = prop_oneof![
        3 => oddity().prop_map(move |oddity| oddity.on(deciding)),
        2 => odd(KEYS),
    ];
    (key, any::<bool>(), value).prop_map(|(key, escaped, value)| {
        let first = key.chars().next().map_or(0, u32::from);
        let json = match escaped && (0x20..0x7f).contains(&first) {
            true => format!("\"\\u{first:04x}{}:{value}", &Value::from(&key[1..]).to_string()[1..]),
            false => format!("{}:{value}", Value::from(key.as_str())),
        };
        (json, format!("{key}={}", value.trim_matches('"')))
    })
}

fn body(deciding: &'static str) -> impl Strategy<Value = String> {
    let whole = select(&["", "\u{feff}", "{} ", "[", "// x\n", "'"][..]);
    let end = select(&["", " ", "{\"branch\":\"main\",\"event\":\"APPROVE\"}", ",", "\u{0}", "]"][..]);
    (vec(member(deciding), 0..4), 0..12u8, whole, end).prop_map(|(members, form, before, after)| {
        let json: Vec<&str> = members.iter().map(|(json, _)| json.as_str()).collect();
        let forms: Vec<&str> = members.iter().map(|(_, form)| form.as_str()).collect();
        match form {
            0 => forms.join("&"),
            1 => format!("{before}{{{}}}{after}", json.join(",")),
            2 => format!("{{{}}}", json.join(",")).replace('"', "'"),
            3 => String::new(),
            _ => format!("{{{}}}", json.join(",")),
        }
    })
}

fn query(deciding: &'static str) -> impl Strategy<Value = Option<String>> {
    let pair = member(deciding).prop_map(|(_, form)| form.replace([' ', '\t', '\u{0}'], "+"));
    prop_oneof![
        3 => Just(None),
        1 => vec(pair, 1..3).prop_map(|pairs| Some(pairs.join("&"))),
    ]
}

/// Method, path, and the deciding key.
fn operation() -> impl Strategy<Value = (String, String, &'static str)> {
    let root = prop_oneof![8 => select(ROOTS), 1 => select(ODD_ROOTS)];
    let method = prop_oneof![9 => Just(""), 1 => select(&["GET", "POST", "PUT", "PATCH", "DELETE"][..])];
    (select(OPERATIONS), root, method, branch(), any::<bool>(), oddity()).prop_map(
        |((method, path, deciding), root, other, branch, escaped, oddity)| {
            let escape = |c: char| match c {
                '/' if escaped => "%2F".to_owned(),
                '%' | '/' | '.'..='~' => c.to_string(),
                c => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
            };
            let branch: String = branch.chars().map(escape).collect();
            let method = if other.is_empty() { method } else { other };
            (method.to_owned(), format!("{root}{}", oddity.on(path).replace("BRANCH", &branch)), deciding)
        },
    )
}

/// The class of a request if `main` is the default branch and no other branch is guarded; `None` if it is refused.
fn class(method: &str, target: &Target, body: &str) -> Option<Class> {
    let method: Method = method.parse().unwrap();
    let route = routes::find(&method, target).ok()?;
    let judged = judge(&route, target, body.as_bytes()).ok()?;
    Some(match judged.branch {
        Some(NamedBranch::Named(branch)) if !branch.eq_ignore_ascii_case("main") => Class::Write,
        _ => judged.class,
    })
}

fn is_enough(class: Class, read: Danger) -> bool {
    match read {
        Danger::Nothing => true,
        Danger::Approval | Danger::Ref => !matches!(class, Class::Read | Class::Write),
        Danger::Protection => matches!(class, Class::Protection | Class::Admin | Class::Token),
        Danger::Merge => matches!(class, Class::Merge | Class::Protection | Class::Admin | Class::Token),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_judged_weaker_than_it_could_be_read(
        (method, path, query, body) in operation().prop_flat_map(|(method, path, deciding)| {
            (Just(method), Just(path), query(deciding), body(deciding))
        }),
    ) {
        let Ok(target) = Target::parse(&path, query.as_deref()) else { return Ok(()) };
        let body = if method == "GET" { "" } else { &body };
        if let Some(class) = class(&method, &target, body) {
            let read = danger(&method, target.path(), target.query().unwrap_or_default(), body.as_bytes());
            prop_assert!(is_enough(class, read), "judged {}, read as {:?}: {}", class, read, target.path());
        }
    }
}

/// The lenient reader notices danger at all, and does not report ordinary requests.
#[test]
fn the_lenient_reader_sees_what_is_dangerous() {
    let (contents, reviews) = ("/repos/a/b/contents/x", "/repos/a/b/pulls/1/reviews");
    for (method, path, body, expected) in [
        ("PUT", "/repos/a/b/PULLS/1/%256derge.json", "", Danger::Merge),
        ("POST", "/api/v3/repositories/7/x/../merges;y/", "", Danger::Merge),
        ("PUT", "/repos/a/b/branches/work/protection", "", Danger::Protection),
        ("PATCH", "/repos/a/b/git/refs/heads%2Fｍain", "", Danger::Ref),
        ("DELETE", "/repos/a/b/git/refs/tags/v1", "", Danger::Ref),
        ("PUT", contents, "{}", Danger::Ref),
        ("PUT", contents, r#"{"branch":"work","Branch":"main"}"#, Danger::Ref),
        ("PUT", contents, r#"{"branch":"work"} {'branch': 'refs/heads/main '}"#, Danger::Ref),
        ("PUT", contents, r#"{"branch":["work"]}"#, Danger::Ref),
        ("PUT", contents, r#"{"branch":"ma\u3164in"}"#, Danger::Ref),
        ("PATCH", "/repos/a/b/pulls/1", r#"{"base":null}"#, Danger::Ref),
        ("POST", reviews, r#"{"event":"COMMENT","event":{"x":" Approve"}}"#, Danger::Approval),
        ("POST", reviews, "event=APPROVE", Danger::Approval),
        ("POST", reviews, r#"{"event":"COMMENT","body":"APPROVE"}"#, Danger::Nothing),
        ("PUT", contents, r#"{"branch":"work","message":"main","x":{"branch":"main"}}"#, Danger::Nothing),
        ("PATCH", "/repos/a/b/git/refs/heads/work/main", r#"{"sha":"1"}"#, Danger::Nothing),
        ("GET", "/repos/a/b/pulls/1/merge", "", Danger::Nothing),
    ] {
        assert_eq!(danger(method, path, "", body.as_bytes()), expected, "{method} {path} {body}");
    }
    assert_eq!(danger("POST", "/repos/a/b/pulls/1/merge", "_method=put", b""), Danger::Merge);
    assert_eq!(danger("DELETE", contents, "branch=main", b"{}"), Danger::Ref);
    assert_eq!(danger("DELETE", contents, "branch=work", b""), Danger::Nothing);
}
