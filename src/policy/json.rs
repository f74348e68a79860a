//! JSON that decides is read strictly: what two parsers could read differently is refused.
//!
//! One document, UTF-8 without a byte order mark, no key twice in an object (at any depth, after
//! escapes are decoded), nothing after the value, and a bounded depth.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use thiserror::Error;

/// Deepest nesting taken.
const DEPTH_MAX: usize = 64;
/// Most values taken: each costs some hundred bytes, however few it has in the text.
const VALUES_MAX: usize = 20_000;

/// Why a body is refused; the text says where.
#[derive(Debug, Error)]
#[error("the body is not one plain JSON object: {0}")]
pub struct JsonError(String);

/// Reads one JSON object strictly.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let text = std::str::from_utf8(body).map_err(|_| JsonError("it is not UTF-8".to_owned()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError("it begins with a byte order mark".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, values: &Cell::new(0) }
        .deserialize(&mut deserializer)
        .map_err(|error| JsonError(error.to_string()))?;
    deserializer.end().map_err(|error| JsonError(error.to_string()))?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError("the top is not an object".to_owned()))
        }
    }
}

/// Builds a [`Value`] but refuses duplicate keys and deep nesting, which serde_json's own does not.
struct Strict<'a> {
    depth: usize,
    /// How many values there are so far.
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
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
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
}
