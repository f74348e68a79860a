//! Finds the branch that an operation changes, wherever the request names it.
//!
//! The branch is named in the path, in the JSON body, in the query, or nowhere, which means the default branch.
//! Only a plainly spelled name counts as a branch's: a name that another reader could take for a different branch
//! counts as guarded, and a request that names its branch twice is refused.

use serde_json::{Map, Value};
use thiserror::Error;

use super::json::{look_alike, looks_like, shown};
use super::routes::decimal;
use super::target::Target;

/// Path endings that some servers read as a response format: to them `main.json` is `main`.
const FORMATS: [&str; 5] = [".json", ".xml", ".html", ".diff", ".patch"];

/// GitHub takes no longer names.
const NAME_BYTES_MAX: usize = 255;

/// Where an operation names its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path parameter, as `heads/NAME`.
    Path(&'static str),
    /// A full ref in the body, as `refs/heads/NAME`.
    Ref(&'static str),
    /// A name in the body; if absent, the default branch.
    Body(&'static str),
    /// A name in the body or in the query; if absent, the default branch.
    BodyOrQuery(&'static str),
    /// Not named: the head of the pull request in the path.
    Head,
    /// A member of a mutation's input.
    Input(&'static str),
}

/// The branch a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBranch {
    Default,
    Named(String),
    /// The head of a pull request.
    HeadOfPull(u64),
    /// A tag, another kind of ref, or a spelling that not all readers understand alike.
    Guarded,
}

impl NamedBranch {
    /// In words, for a log. No branch has a blank in its name.
    pub fn shown(&self) -> String {
        match self {
            NamedBranch::Default => "the default branch".to_owned(),
            NamedBranch::Named(name) if name.len() <= NAME_BYTES_MAX => name.clone(),
            NamedBranch::Named(_) => "a name too long for a branch".to_owned(),
            NamedBranch::HeadOfPull(number) => format!("the head of pull request {number}"),
            NamedBranch::Guarded => "a tag or an unclear name".to_owned(),
        }
    }
}

/// Two readers could find different branches in the request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BranchError {
    #[error("the key {0:?} of the body looks like `{1}`, which decides; leave it out")]
    LookAlike(String, &'static str),
    #[error("`{0}` stands both in the body and in the query; leave it out of one")]
    Twice(&'static str),
    #[error("the parameter {0:?} of the query can be read in more than one way")]
    Query(String),
}

/// Finds the branch. `param` returns the path's parameters, decoded.
///
/// # Errors
/// When the request is ambiguous.
pub fn named<'a>(
    place: Place,
    param: impl Fn(&str) -> Option<&'a str>,
    target: &Target,
    body: &Map<String, Value>,
) -> Result<NamedBranch, BranchError> {
    match place {
        Place::Path(name) => {
            // No member of the body may seem to contradict the path.
            if let Some(found) = body.keys().find(|key| *key == name || looks_like(key, name)) {
                return Err(BranchError::LookAlike(shown(found), name));
            }
            let text = param(name).unwrap_or_default();
            let ends_in_format = FORMATS.iter().any(|ending| text.to_ascii_lowercase().ends_with(ending));
            Ok(if ends_in_format { NamedBranch::Guarded } else { of_ref(text, "heads/") })
        }
        Place::Ref(key) => {
            check_keys(body, key)?;
            Ok(body
                .get(key)
                .and_then(Value::as_str)
                .map_or(NamedBranch::Guarded, |text| of_ref(text, "refs/heads/")))
        }
        Place::Body(key) => {
            check_keys(body, key)?;
            Ok(body.get(key).map_or(NamedBranch::Default, of_value))
        }
        Place::BodyOrQuery(key) => {
            check_keys(body, key)?;
            let in_query = of_query(target, key)?;
            match (body.get(key), in_query) {
                (Some(_), Some(_)) => Err(BranchError::Twice(key)),
                (Some(value), None) => Ok(of_value(value)),
                (None, Some(text)) => Ok(of_name(&text)),
                (None, None) => Ok(NamedBranch::Default),
            }
        }
        // A mutation's input is not a REST body.
        Place::Input(_) => Ok(NamedBranch::Guarded),
        Place::Head => {
            Ok(param("pull_number").and_then(decimal).map_or(NamedBranch::Guarded, NamedBranch::HeadOfPull))
        }
    }
}

/// A branch given by name, as in a mutation.
pub fn of_branch_name(text: &str) -> NamedBranch {
    of_name(text)
}

/// A branch given by its full ref.
pub fn of_full_ref(text: &str) -> NamedBranch {
    of_ref(text, "refs/heads/")
}

fn check_keys(body: &Map<String, Value>, key: &'static str) -> Result<(), BranchError> {
    match look_alike(body, &[key]) {
        Some(found) => Err(BranchError::LookAlike(shown(found), key)),
        None => Ok(()),
    }
}

/// The only value of a query parameter. `;` separates parameters for some readers.
fn of_query(target: &Target, key: &'static str) -> Result<Option<String>, BranchError> {
    let ambiguous = |name: &str| Err(BranchError::Query(shown(name)));
    if target.query().is_some_and(|query| query.contains(';')) {
        return ambiguous(";");
    }
    // A name that still holds an escape (`%2562ranch`) is a different name to a reader that decodes twice.
    if let Some(name) = target.query_names().iter().find(|name| looks_like(name, key) || holds_escape(name)) {
        return ambiguous(name);
    }
    let mut values = target.query_values(key);
    match values.len() {
        0 | 1 => Ok(values.pop()),
        _ => ambiguous(key),
    }
}

/// `null` and an empty string count as absent.
fn of_value(value: &Value) -> NamedBranch {
    match value {
        Value::Null => NamedBranch::Default,
        Value::String(text) => of_name(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => NamedBranch::Guarded,
    }
}

/// A branch's name, plain or as a full ref.
fn of_name(text: &str) -> NamedBranch {
    match text {
        "" => NamedBranch::Default,
        text => of_plain(text.strip_prefix("refs/heads/").unwrap_or(text)),
    }
}

fn of_ref(text: &str, prefix: &str) -> NamedBranch {
    text.strip_prefix(prefix).map_or(NamedBranch::Guarded, of_plain)
}

fn of_plain(name: &str) -> NamedBranch {
    if is_plain(name) { NamedBranch::Named(name.to_owned()) } else { NamedBranch::Guarded }
}

/// Whether every reader takes this name for the same branch: Git allows it (`git check-ref-format`), and it can't
/// also be another namespace, a commit id or a symbolic ref.
fn is_plain(name: &str) -> bool {
    let is_sound = |c: char| match c {
        '~' | '^' | ':' | '?' | '*' | '[' | '\\' | ';' => false,
        c => c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric() && !is_folded(c)),
    };
    let is_sound_part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.to_ascii_lowercase().ends_with(".lock")
    };
    let first = name.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let is_id = matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() <= 255
        && name.chars().all(is_sound)
        && name.split('/').all(is_sound_part)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && !matches!(first.as_str(), "refs" | "heads" | "tags" | "remotes" | "origin" | "head" | "@")
        && !is_id
        && !holds_escape(name)
}

/// Whether a decoded text would decode again.
fn holds_escape(text: &str) -> bool {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).any(is_escape)
}

/// Full-width, superscript, boxed and similar letters, which some readers fold into plain ones (NFKC), and
/// invisible letters, which some drop.
fn is_folded(c: char) -> bool {
    matches!(c,
        '\u{aa}' | '\u{b2}'..='\u{be}' | '\u{132}'..='\u{133}' | '\u{13f}'..='\u{140}' | '\u{149}' | '\u{17f}'
        | '\u{1c4}'..='\u{1cc}' | '\u{1f1}'..='\u{1f3}' | '\u{2b0}'..='\u{2b8}' | '\u{2e0}'..='\u{2e4}'
        | '\u{115f}'..='\u{1160}' | '\u{1d2c}'..='\u{1d6a}' | '\u{1d9b}'..='\u{1dbf}' | '\u{2070}'..='\u{24ff}'
        | '\u{2c7c}'..='\u{2c7d}' | '\u{3164}' | '\u{3200}'..='\u{33ff}' | '\u{a7f2}'..='\u{a7f4}'
        | '\u{fb00}'..='\u{fb06}' | '\u{ff00}'..='\u{ffef}' | '\u{107a5}' | '\u{1d400}'..='\u{1d7ff}'
        | '\u{1f100}'..='\u{1f1ff}' | '\u{1fbf0}'..='\u{1fbf9}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::json;

    fn find(place: Place, path: &str, query: Option<&str>, body: &str) -> Result<NamedBranch, BranchError> {
        let target = Target::parse("/x", query).unwrap();
        named(place, |_| Some(path), &target, &json::object(body.as_bytes()).unwrap())
    }

    fn branch(name: &str) -> NamedBranch {
        NamedBranch::Named(name.to_owned())
    }

    #[test]
    fn is_found_in_the_body() {
        let place = Place::Body("branch");
        for (body, expected) in [
            (r#"{"branch":"work"}"#, branch("work")),
            (r#"{"branch":"feature/x-1.2_ü"}"#, branch("feature/x-1.2_ü")),
            (r#"{"branch":"refs/heads/work"}"#, branch("work")),
            (r#"{"branch":"100%done"}"#, branch("100%done")),
            ("{}", NamedBranch::Default),
            (r#"{"branch":null}"#, NamedBranch::Default),
            (r#"{"branch":""}"#, NamedBranch::Default),
            (r#"{"message":"branch"}"#, NamedBranch::Default),
            (r#"{"branch":["work"]}"#, NamedBranch::Guarded),
            (r#"{"branch":{"name":"work"}}"#, NamedBranch::Guarded),
            (r#"{"branch":7}"#, NamedBranch::Guarded),
            (r#"{"branch":"refs/heads/heads/main"}"#, NamedBranch::Guarded),
        ] {
            assert_eq!(find(place, "", None, body).unwrap(), expected, "{body}");
        }
        for body in [r#"{"branch":"a","Branch":"b"}"#, r#"{" branch":"b"}"#, r#"{"branch[]":"b"}"#] {
            assert!(find(place, "", None, body).is_err(), "{body}");
        }
    }

    #[test]
    fn is_found_in_body_or_query_but_not_in_both() {
        let place = Place::BodyOrQuery("branch");
        for (query, body, expected) in [
            (Some("message=x&branch=work"), "{}", branch("work")),
            (Some("branch=feature%2Fx"), "{}", branch("feature/x")),
            (Some("message=x"), r#"{"branch":"work"}"#, branch("work")),
            (Some("branch="), "{}", NamedBranch::Default),
            (None, "{}", NamedBranch::Default),
        ] {
            assert_eq!(find(place, "", query, body).unwrap(), expected, "{query:?} {body}");
        }
        for (query, body) in [
            ("branch=work", r#"{"branch":"work"}"#),
            ("branch=work", r#"{"branch":null}"#),
            ("branch=a&branch=b", "{}"),
            ("branch=a&branch%5B%5D=b", "{}"),
            ("Branch=a", "{}"),
            ("message=x;branch=b", "{}"),
            ("branch=work&%2562ranch=main", "{}"),
        ] {
            assert!(find(place, "", Some(query), body).is_err(), "{query} {body}");
        }
    }

    #[test]
    fn is_found_in_refs() {
        for (text, expected) in [
            ("heads/work", branch("work")),
            ("heads/feature/x", branch("feature/x")),
            ("tags/v1", NamedBranch::Guarded),
            ("heads/", NamedBranch::Guarded),
            ("heads", NamedBranch::Guarded),
            ("refs/heads/work", NamedBranch::Guarded),
            ("Heads/work", NamedBranch::Guarded),
            ("notes/x", NamedBranch::Guarded),
            ("heads/v1.2", branch("v1.2")),
            // Found by generating requests.
            ("heads/main.json", NamedBranch::Guarded),
            ("heads/main.PATCH", NamedBranch::Guarded),
        ] {
            assert_eq!(find(Place::Path("ref"), text, None, "{}").unwrap(), expected, "{text}");
        }
        for (body, expected) in [
            (r#"{"ref":"refs/heads/work"}"#, branch("work")),
            (r#"{"ref":"refs/tags/v1"}"#, NamedBranch::Guarded),
            (r#"{"ref":"heads/work"}"#, NamedBranch::Guarded),
            (r#"{"ref":"refs/heads/refs/heads/main"}"#, NamedBranch::Guarded),
            (r#"{"ref":null}"#, NamedBranch::Guarded),
            ("{}", NamedBranch::Guarded),
        ] {
            assert_eq!(find(Place::Ref("ref"), "", None, body).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn odd_names_are_nobodys_plain_branch() {
        for name in [
            " main",
            "main ",
            "main\t",
            "main\u{0}",
            "main\u{a0}",
            "main\u{200b}",
            "HEAD",
            "head",
            "@",
            "@/x",
            "a@{1}",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.LOCK",
            "a.",
            "heads/main",
            "Refs/heads/main",
            "tags/v1",
            "remotes/origin/main",
            "origin/main",
            "0123456789abcdef0123456789abcdef01234567",
            "ｍａｉｎ",
            // Found by generating requests: each of these folds to `main`, or looks like it.
            "ᵐᵃⁱⁿ",
            "\u{1f13c}\u{1f130}\u{1f138}\u{1f13d}",
            "ma\u{3164}in",
            "main\u{115f}",
            "%6Dain",
            "main;x",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
        for name in [
            "a",
            "feature/x",
            "user@host",
            "v1.2",
            "a@b",
            "release-1",
            "headsup/x",
            "deadbeef",
            "straße/ünï",
            "作業",
        ] {
            assert!(is_plain(name), "{name:?}");
        }
    }
}
