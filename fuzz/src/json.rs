//! A body that is taken has one reading, and `json::with` changes one member of it.
//!
//! Input: a body.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tollgate::policy::json;

use crate::lenient::documents;

/// # Panics
/// When two readers differ.
pub fn check(data: &[u8]) {
    let strict = json::object(data).ok();
    if let Some(object) = &strict {
        check_reading(data, object);
        for (key, value) in object {
            assert!(!json::looks_like(key, key) && json::look_alike(object, &[key]) != Some(key), "{value}");
        }
    }
    if let Ok(rest) = json::object_without(data, "content") {
        check_without(rest, strict.as_ref());
    }
    for key in ["sha", "content", "dr\"aft"] {
        check_with(data, key, strict.as_ref());
    }
}

fn check_reading(data: &[u8], object: &Map<String, Value>) {
    let usual: Value = serde_json::from_slice(data).expect("serde_json takes less than the strict reader");
    assert_eq!(usual.as_object(), Some(object));
    let lenient = documents(std::str::from_utf8(data).expect("it is UTF-8"));
    assert_eq!(lenient.len(), 1, "{lenient:?}");
    assert!(lenient[0].is(&usual), "{lenient:?} is not {usual}");
}

fn check_without(rest: Map<String, Value>, strict: Option<&Map<String, Value>>) {
    let mut whole = rest;
    let Some(strict) = strict else {
        // Only what is not looked into may be the reason that the whole is refused.
        assert!(!whole.contains_key("content"));
        return;
    };
    if let Some(content @ Value::String(_)) = strict.get("content") {
        assert!(whole.insert("content".to_owned(), content.clone()).is_none());
    }
    assert_eq!(whole, *strict);
}

fn check_with(data: &[u8], key: &str, strict: Option<&Map<String, Value>>) {
    let value = Value::from("0123 \"\\\u{1}");
    let Ok(changed) = json::with(data, key, &value) else {
        let is_small = strict.is_some_and(|object| object.len() <= 256);
        assert!(!is_small, "refused though it can be read");
        return;
    };
    let read = |bytes: &[u8]| -> BTreeMap<String, String> {
        let raw: BTreeMap<String, Box<RawValue>> = match bytes {
            [] => BTreeMap::new(),
            bytes => serde_json::from_slice(bytes).expect("what is changed can be read"),
        };
        raw.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
    };
    let (mut before, mut after) = (read(data), read(&changed));
    assert_eq!(after.remove(key), Some(value.to_string()));
    before.remove(key);
    assert_eq!(before, after);
    // Byte for byte: what differs is one piece, and it is no longer than the new member.
    let same = |(one, other): &(&u8, &u8)| one == other;
    let start = data.iter().zip(changed.iter()).take_while(same).count();
    let end = data.iter().rev().zip(changed.iter().rev()).take_while(same).count();
    let member = value.to_string().len() + Value::from(key).to_string().len() + 4;
    assert!(changed.len() - (start + end).min(changed.len()) <= member, "more than one member is changed");
    if let Some(strict) = strict
        && strict.len() < 256
    {
        let mut expected = strict.clone();
        expected.insert(key.to_owned(), value);
        assert_eq!(json::object(&changed).expect("it stays a plain object"), expected);
    }
}
