//! How long a call may be held and how urgent it is, as its headers say: `Prefer: wait=SECONDS`
//! (RFC 7240) and `Priority: u=0…7` (RFC 9218).
//!
//! Both are wishes, so nothing in them is an error: what can't be parsed is ignored.

use std::time::Duration;

use http::HeaderMap;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use crate::budget::Wait;

const PREFER: &str = "prefer";
const PRIORITY: &str = "priority";
/// The least urgent value that still goes first; the default is 3.
const INTERACTIVE_MAX: i64 = 2;

/// `default` is how long a call is held that states no wait, `limit` the longest it may ask for.
pub(super) fn wait_of(headers: &HeaderMap, default: Duration, limit: Duration) -> Wait {
    let patience = wait(headers).unwrap_or(default).min(limit);
    Wait { patience, is_interactive: is_interactive(headers) }
}

/// The first `wait`; if that one can't be parsed, no later one counts.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let mut preferences = headers
        .get_all(PREFER)
        .iter()
        .flat_map(|value| split(value.as_bytes(), b','))
        .filter_map(|preference| split(preference, b';').next());
    let value = preferences.find_map(|preference| {
        let mut parts = preference.splitn(2, |byte| *byte == b'=');
        let is_wait = parts.next()?.trim_ascii().eq_ignore_ascii_case(b"wait");
        is_wait.then(|| parts.next().unwrap_or_default().trim_ascii())
    })?;
    let digits = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds))
}

/// The parts between separators outside quoted strings.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        !is_quoted && *byte == separator
    })
}

/// Several headers form one dictionary (RFC 9651).
fn is_interactive(headers: &HeaderMap) -> bool {
    let values: Vec<&[u8]> = headers.get_all(PRIORITY).iter().map(|value| value.as_bytes()).collect();
    let Ok(dictionary) = Parser::new(&values.join(&b","[..])).parse::<Dictionary>() else { return false };
    match dictionary.get("u") {
        Some(ListEntry::Item(Item { bare_item: BareItem::Integer(urgency), .. })) => {
            (0..=INTERACTIVE_MAX).contains(&i64::from(*urgency))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: Duration = Duration::from_secs(4);
    const LIMIT: Duration = Duration::from_secs(60);

    fn wait_of_values(name: &'static str, values: &[&[u8]]) -> Wait {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        wait_of(&headers, DEFAULT, LIMIT)
    }

    #[test]
    fn waits_as_long_as_preferred() {
        for (values, seconds) in [
            (&[][..], 4),
            (&["wait=10"][..], 10),
            (&["wait=0"], 0),
            (&["wait=60"], 60),
            (&["wait=61"], 60),
            (&["wait=99999999999999999999999"], 60),
            (&["WAIT=10"], 10),
            (&["wait = 10"], 10),
            (&["wait=\"10\""], 10),
            (&["respond-async, wait=10"], 10),
            (&["respond-async,wait=10,handling=lenient"], 10),
            (&["wait=10; foo=bar"], 10),
            (&["foo; wait=9, wait=10"], 10),
            (&["foo=\"a, wait=9\", wait=10"], 10),
            (&["foo=\"\\\", wait=9\", wait=10"], 10),
            (&["foo=\"\\\\\", wait=10"], 10),
            (&["foo", "wait=10"], 10),
            (&["wait=10", "wait=20"], 10),
            (&["wait=10, wait=20"], 10),
            (&[", ,wait=10,"], 10),
            (&["wait"], 4),
            (&["wait="], 4),
            (&["wait=\"\""], 4),
            (&["wait=soon"], 4),
            (&["wait=soon, wait=10"], 4),
            (&["wait=-1"], 4),
            (&["wait=+1"], 4),
            (&["wait=1.5"], 4),
            (&["wait=10s"], 4),
            (&["wait=\"10"], 4),
            (&["foo=\"unclosed, wait=10"], 4),
            (&["waiting=10"], 4),
            (&["\u{fc}, wait=10"], 10),
        ] {
            let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let wait = wait_of_values(PREFER, &bytes);
            assert_eq!((wait.patience.as_secs(), wait.is_interactive), (seconds, false), "{values:?}");
        }
    }

    #[test]
    fn urgent_calls_are_interactive() {
        for (values, is_interactive) in [
            (&[][..], false),
            (&["u=0"][..], true),
            (&["u=2"], true),
            (&["u=3"], false),
            (&["u=7"], false),
            (&["i, u=1"], true),
            (&["u=1;x=y, i"], true),
            (&["u=5, u=1"], true),
            (&["i", "u=1"], true),
            (&["u=1", "u=5"], false),
            (&["u=-1"], false),
            (&["u=8"], false),
            (&["u=1.0"], false),
            (&["u=\"1\""], false),
            (&["u=(1)"], false),
            (&["u"], false),
            (&["U=1"], false),
            (&["u = 1"], false),
            (&["u=1, ?"], false),
            (&["u=99999999999999999999"], false),
            (&["\u{fc}"], false),
        ] {
            let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let wait = wait_of_values(PRIORITY, &bytes);
            assert_eq!((wait.patience, wait.is_interactive), (DEFAULT, is_interactive), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic_nor_pass_the_limit(
            values in proptest::collection::vec(
                prop_oneof!["[wait=u0-9\",;\\\\ ]{0,20}", "[\\x20-\\x7e]{0,40}"], 0..4
            ),
        ) {
            let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            prop_assert!(wait_of_values(PREFER, &bytes).patience <= LIMIT);
            wait_of_values(PRIORITY, &bytes);
        }
    }
}
