//! Strict reader for the JSON that decides: whatever two parsers could read differently is refused.
//!
//! Accepts one UTF-8 document without a byte order mark, with no duplicate key in any object (compared after
//! decoding escapes), nothing after the value, and bounded depth.
//!
//! An accepted body is forwarded byte for byte, except for a member that [`with`] puts in.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use thiserror::Error;

/// Deepest nesting accepted.
const DEPTH_MAX: usize = 64;
/// Most values accepted: each takes about a hundred bytes of memory, however short it is.
const VALUES_MAX: usize = 20_000;
/// Longest member in bytes, except the one that holds a file.
const MEMBER_BYTES_MAX: usize = 1024 * 1024;
/// Most members at the top level of an object that is read member by member; no GitHub operation has as many.
const MEMBERS_MAX: usize = 256;

/// Why a body is refused; the text says where the problem is.
#[derive(Debug, Error)]
#[error("the body is not one plain JSON object: {0}")]
pub struct JsonError(String);

/// Reads one JSON object strictly.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let text = text(body)?;
    match whole(text, Strict { depth: 0, values: &Cell::new(0) })? {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError("the top is not an object".to_owned()))
        }
    }
}

/// Like [`object`], except that the string under the top-level key `long` may be long: a file's content is
/// checked but not copied, so judging a body takes no more memory than the body itself.
///
/// If that member is not a string, it is read like any other.
pub fn object_without(body: &[u8], long: &str) -> Result<Map<String, Value>, JsonError> {
    let values = Cell::new(0);
    let mut object = Map::new();
    for (key, raw) in members(body)? {
        if key == long && raw.get().starts_with('"') {
            continue;
        }
        if raw.get().len() > MEMBER_BYTES_MAX {
            return Err(JsonError(format!(
                "the member {:?} is longer than {MEMBER_BYTES_MAX} bytes",
                shown(&key)
            )));
        }
        object.insert(key, whole(raw.get(), Strict { depth: 1, values: &values })?);
    }
    Ok(object)
}

/// The body with one member set: replaces the key's value, or else adds the member at the front. Every other byte
/// stays as it is. An empty body counts as an empty object.
///
/// # Errors
/// When the body is not one object with unique keys.
pub fn with(body: &[u8], key: &str, value: &Value) -> Result<Bytes, JsonError> {
    if body.is_empty() {
        return Ok(Bytes::from(format!("{{{}:{value}}}", Value::from(key))));
    }
    let members = members(body)?;
    let (place, new) = match members.iter().find(|(known, _)| known == key) {
        Some((_, raw)) => (span(body, raw), value.to_string()),
        None => {
            let open = body.iter().position(|byte| *byte == b'{').expect("an object begins with a brace") + 1;
            let comma = if members.is_empty() { "" } else { "," };
            (open..open, format!("{}:{value}{comma}", Value::from(key)))
        }
    };
    let mut changed = Vec::with_capacity(body.len() - place.len() + new.len());
    changed.extend_from_slice(&body[..place.start]);
    changed.extend_from_slice(new.as_bytes());
    changed.extend_from_slice(&body[place.end..]);
    Ok(changed.into())
}

/// Whether a lenient reader could take `key` for `known`, ignoring case, blanks, separators, brackets or
/// non-ASCII letters: `Branch`, ` branch`, `branch[]`, `targetRef`.
pub fn looks_like(key: &str, known: &str) -> bool {
    let letters = |text: &str| -> String {
        // Some readers stop at NUL.
        let text = text.split('\0').next().unwrap_or_default();
        text.chars().flat_map(char::to_lowercase).filter(char::is_ascii_alphanumeric).collect()
    };
    key != known && letters(key) == letters(known)
}

/// A key of the object that looks like a deciding one but isn't.
pub fn look_alike<'a>(object: &'a Map<String, Value>, deciding: &[&str]) -> Option<&'a str> {
    let mut keys = object.keys();
    keys.find(|key| deciding.iter().any(|known| looks_like(key, known))).map(String::as_str)
}

/// A key, cut to 100 characters for a message.
pub fn shown(key: &str) -> String {
    key.chars().take(100).collect()
}

/// Checks that a body is one object whose top-level keys are unique; their values are not examined.
pub fn is_object(body: &[u8]) -> Result<(), JsonError> {
    members(body).map(drop)
}

fn text(body: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(body).map_err(|_| JsonError("it is not UTF-8".to_owned()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError("it begins with a byte order mark".to_owned()));
    }
    Ok(text)
}

/// Reads one value with nothing after it.
fn whole<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(|error| JsonError(error.to_string()))?;
    deserializer.end().map_err(|error| JsonError(error.to_string()))?;
    Ok(value)
}

/// The members of an object, with their values as written.
fn members(body: &[u8]) -> Result<Vec<(String, &RawValue)>, JsonError> {
    whole(text(body)?, Members)
}

/// The byte range of a value in the body that it was read from.
fn span(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + raw.get().len()
}

/// Reads the top level of an object and leaves the values unparsed.
struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            if members.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("the key {:?} stands twice", shown(&key))));
            }
            if members.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format_args!("it holds more than {MEMBERS_MAX} members")));
            }
            members.push((key, entries.next_value()?));
        }
        Ok(members)
    }
}

/// Builds a [`Value`], refusing duplicate keys and deep nesting, which serde_json's own deserializer does not.
struct Strict<'a> {
    depth: usize,
    /// Values read so far.
    values: &'a Cell<usize>,
}

impl<'a> Strict<'a> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Strict<'a>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("it is nested deeper than {DEPTH_MAX}")));
        }
        self.values.set(self.values.get() + 1);
        if self.values.get() > VALUES_MAX {
            return Err(E::custom(format_args!("it holds more than {VALUES_MAX} values")));
        }
        Ok(Strict { depth: self.depth + 1, values: self.values })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {:?} stands twice", shown(&key))));
            }
            let value = entries.next_value_seed(self.deeper()?)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod properties;

    #[test]
    fn reads_what_has_one_meaning() {
        let read = object(br#" {"event":"COMMENT","n":[1,-2,0.5,null,true,{"a":"\u0062"}]} "#).unwrap();
        assert_eq!(
            Value::Object(read),
            serde_json::json!({"event":"COMMENT","n":[1,-2,0.5,null,true,{"a":"b"}]})
        );
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(70), "}".repeat(70));
        let many = format!("{{\"a\":[{}0]}}", "0,".repeat(VALUES_MAX));
        for body in [
            many.as_bytes(),
            &br#"{"event":"COMMENT","event":"APPROVE"}"#[..],
            br#"{"event":"COMMENT","\u0065vent":"APPROVE"}"#,
            br#"{"a":{"b":1,"b":2}}"#,
            br#"{"a":1} {"a":2}"#,
            br#"{"a":1}x"#,
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":1,}"#,
            br#"{'a':1}"#,
            br#"{"a":1 /* x */}"#,
            br#"{"a":NaN}"#,
            br#"[{"a":1}]"#,
            b"",
            b"null",
            deep.as_bytes(),
        ] {
            assert!(object(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_long_text_is_looked_over_and_not_kept() {
        let body = format!(r#"{{"branch":"work","content":"{}\n","n":1}}"#, "A".repeat(1 << 20));
        let read = object_without(body.as_bytes(), "content").unwrap();
        assert_eq!(Value::Object(read), serde_json::json!({"branch": "work", "n": 1}));
        let structured = object_without(br#"{"content":{"a":1}}"#, "content").unwrap();
        assert_eq!(Value::Object(structured), serde_json::json!({"content": {"a": 1}}));
        let many: Vec<String> = (0..300).map(|n| format!("\"k{n}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        for body in [
            many.as_bytes(),
            br#"{"content":"a","content":"b"}"#,
            br#"{"content":"a","\u0063ontent":"b"}"#,
            br#"{"content":{"a":1,"a":2}}"#,
            br#"{"branch":"a","branch":"b","content":"c"}"#,
            br#"{"content":"a"} x"#,
            b"{\"content\":\"a\x01\"}",
            b"\xef\xbb\xbf{}",
            br#"["content"]"#,
            b"",
        ] {
            assert!(object_without(body, "content").is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_member_is_set_and_all_else_stays() {
        let sha = Value::from("abc");
        for (body, expected) in [
            (r#"{"sha" : null, "x":1}"#, r#"{"sha" : "abc", "x":1}"#),
            (r#"{"x":{"sha":1},"sha":"old"}"#, r#"{"x":{"sha":1},"sha":"abc"}"#),
            (r#"{"\u0073ha":"old"}"#, r#"{"\u0073ha":"abc"}"#),
            (r#" { "x":"a\nb" } "#, r#" {"sha":"abc", "x":"a\nb" } "#),
            ("{}", r#"{"sha":"abc"}"#),
            (" { } ", r#" {"sha":"abc" } "#),
            ("", r#"{"sha":"abc"}"#),
        ] {
            assert_eq!(with(body.as_bytes(), "sha", &sha).unwrap(), expected, "{body}");
        }
        for body in [r#"{"sha":1,"sha":2}"#, "[]", "null", "x", r#"{"a":1} 2"#] {
            assert!(with(body.as_bytes(), "sha", &sha).is_err(), "{body}");
        }
    }

    #[test]
    fn keys_that_look_like_others_are_seen() {
        for key in [
            "Branch",
            " branch",
            "branch\u{0}",
            "branch[]",
            "BRANCH",
            "\u{feff}branch",
            "\u{3164}branch",
            "branch\u{0}x",
        ] {
            assert!(looks_like(key, "branch"), "{key:?}");
        }
        assert!(looks_like("targetRef", "target_ref") && looks_like("target-ref", "target_ref"));
        assert!(!looks_like("branch", "branch") && !looks_like("branches", "branch"));
        let object = object(br#"{"branch":"a","Base":"b"}"#).unwrap();
        assert_eq!(look_alike(&object, &["branch", "base"]), Some("Base"));
        assert_eq!(look_alike(&object, &["branch"]), None);
    }
}
