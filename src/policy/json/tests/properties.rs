//! Documents in every spelling, checked against serde_json and against a reader that accepts anything.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::policy::lenient::documents;

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"sha\"",
    "\"\\u0073ha\"",
    "\"content\"",
    "'a'",
    "a",
    "null",
    "true",
    "-1",
    "0.5e3",
    "1e999",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\\"\"",
    " ",
    "\n",
    "\u{feff}",
    "/**/",
    "//",
    "\u{0}",
];

fn document() -> impl Strategy<Value = String> {
    let leaf =
        select(
            &[
                "null",
                "true",
                "-0",
                "12345678901234567890",
                "1E-7",
                "\"\"",
                "\"x\\n\\u0041\"",
                "\"\\\\\\\"é\"",
            ][..],
        )
        .prop_map(str::to_owned);
    let key = || select(&["sha", "content", "\\u0063ontent", "x", "", "é", "a\\\"b", "draft"][..]);
    let blank = || select(&["", " ", "\r\n\t"][..]);
    let value = leaf.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            vec((key(), blank(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, blank, value)| format!("\"{key}\"{blank}:{blank}{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    let mangled = (value.clone(), any::<Index>(), select(PIECES)).prop_map(|(text, at, piece)| {
        let at = text.floor_char_boundary(at.index(text.len() + 1));
        format!("{}{piece}{}", &text[..at], &text[at..])
    });
    prop_oneof![3 => value, 2 => mangled, 1 => vec(select(PIECES), 0..12).prop_map(|pieces| pieces.concat())]
}

fn raw_members(body: &[u8]) -> BTreeMap<String, String> {
    let body = if body.is_empty() { b"{}" } else { body };
    let raw: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).unwrap();
    raw.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_has_one_reading(body in document()) {
        let Ok(read) = object(body.as_bytes()) else { return Ok(()) };
        let usual: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(usual.as_object(), Some(&read));
        let lenient = documents(&body);
        prop_assert!(lenient.len() == 1 && lenient[0].is(&usual), "{:?}", lenient);
        let mut rest = object_without(body.as_bytes(), "content").unwrap();
        if let Some(content @ Value::String(_)) = read.get("content") {
            prop_assert_eq!(rest.insert("content".to_owned(), content.clone()), None);
        }
        prop_assert_eq!(rest, read);
    }

    #[test]
    fn one_member_is_set_and_the_others_are_as_they_were(body in document(), key in select(&["sha", "draft", "a\"b"][..])) {
        let value = Value::from("new \"\\\u{1}");
        let changed = with(body.as_bytes(), key, &value);
        prop_assert!(changed.is_ok() || object(body.as_bytes()).is_err());
        let Ok(changed) = changed else { return Ok(()) };
        let (mut before, mut after) = (raw_members(body.as_bytes()), raw_members(&changed));
        prop_assert_eq!(after.remove(key), Some(value.to_string()));
        before.remove(key);
        prop_assert_eq!(before, after);
    }
}
