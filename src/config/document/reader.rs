//! serde's view of a [`Node`]: knows the path of what it reads, words errors for people and never
//! repeats a value in them, since it might be a secret.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Kind, Node, push_index, push_key};

static NULL: Node = Node { line: 0, kind: Kind::Null };

/// What takes the place of a value that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// As if it were not there.
    LeftOut,
    /// An empty section, so that the elements behind it in a list keep their numbers.
    Emptied,
}

/// What one reading of the document knows and finds.
pub(super) struct Reading<'a> {
    flaws: &'a BTreeMap<String, Flaw>,
    unknown_keys: RefCell<Vec<(String, u32, String)>>,
    meant_keys: RefCell<Vec<String>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(flaws: &'a BTreeMap<String, Flaw>) -> Reading<'a> {
        Reading { flaws, unknown_keys: RefCell::default(), meant_keys: RefCell::default() }
    }

    /// Path, line and message of each key no type has.
    pub(super) fn take_unknown_keys(&self) -> Vec<(String, u32, String)> {
        self.unknown_keys.take()
    }

    /// Paths of the keys they were probably meant to be.
    pub(super) fn take_meant_keys(&self) -> Vec<String> {
        self.meant_keys.take()
    }
}

/// A value at its path.
pub(super) struct Reader<'a> {
    node: &'a Node,
    path: String,
    reading: &'a Reading<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, path: String, reading: &'a Reading<'a>) -> Reader<'a> {
        Reader { node, path, reading }
    }

    fn flaw(&self) -> Option<Flaw> {
        self.reading.flaws.get(&self.path).copied()
    }

    fn key(&self, key: &str, node: &'a Node) -> Reader<'a> {
        let mut path = self.path.clone();
        push_key(&mut path, key);
        Reader { node, path, reading: self.reading }
    }

    /// Keeps of a section what has a value that can be read.
    fn entries(
        &self,
        map: &'a [(String, u32, Node)],
        known: Option<&'static [&'static str]>,
    ) -> Vec<(&'a str, Reader<'a>)> {
        let mut entries = Vec::new();
        for (key, line, value) in map {
            let reader = self.key(key, value);
            if let Some(known) = known
                && !known.contains(&key.as_str())
            {
                self.report_unknown_key(key, *line, reader.path, known);
            } else if !matches!(value.kind, Kind::Null) && reader.flaw() != Some(Flaw::LeftOut) {
                entries.push((key.as_str(), reader));
            }
        }
        entries
    }

    fn report_unknown_key(&self, key: &str, line: u32, path: String, known: &[&str]) {
        let of_secret: Vec<&&str> = known
            .iter()
            .filter(|name| [format!("{key}_file"), format!("{key}_env")].contains(&(**name).to_owned()))
            .collect();
        let message = if let [first, rest @ ..] = of_secret.as_slice() {
            let others: String = rest.iter().map(|name| format!(" or `{name}`")).collect();
            self.reading.meant_keys.borrow_mut().push(self.key(first, self.node).path);
            format!(
                "unknown key; a secret is not written in this file: name its place with `{first}`{others}"
            )
        } else if let Some(meant) = nearest(key, known) {
            let meant_path = self.key(meant, self.node).path;
            self.reading.meant_keys.borrow_mut().push(meant_path);
            format!("unknown key, did you mean `{meant}`?")
        } else {
            format!("unknown key; known here: {}", known.join(", "))
        };
        self.reading.unknown_keys.borrow_mut().push((path, line, message));
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.node.kind {
            Kind::Null => Unexpected::Other("nothing"),
            Kind::Bool(value) => Unexpected::Bool(*value),
            Kind::Unsigned(value) => Unexpected::Unsigned(*value),
            Kind::Negative(value) => Unexpected::Signed(*value),
            Kind::Float(value) => Unexpected::Float(*value),
            Kind::Text(text) => Unexpected::Str(text),
            Kind::List(_) => Unexpected::Seq,
            Kind::Map(_) => Unexpected::Map,
        }
    }

    fn visit_map<'de, V: Visitor<'de>>(
        self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Map(map) => {
                let entries = self.entries(map, known).into_iter();
                visitor.visit_map(Entries { entries, value: None })
            }
            Kind::Null => visitor.visit_map(Entries { entries: Vec::new().into_iter(), value: None }),
            _ => {
                let message = format!("expected a section of keys, found {}", found(&self.unexpected()));
                Err(ReadError { message, at: None, flaw: Flaw::Emptied })
            }
        }
    }
}

/// The known key a typo was meant to be.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = key.to_ascii_lowercase().replace('-', "_");
    let scored = known.iter().map(|name| (strsim::normalized_damerau_levenshtein(&lower, name), *name));
    scored.filter(|(score, _)| *score >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Unsigned(value) => visitor.visit_u64(*value),
            Kind::Negative(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(elements) => {
                visitor.visit_seq(Elements { rest: elements.iter().enumerate(), list: &self })
            }
            Kind::Map(_) => self.visit_map(None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.visit_map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.kind {
            Kind::Text(text) => {
                let text: StrDeserializer<'_, ReadError> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a word")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Entries<'a, I> {
    entries: I,
    value: Option<Reader<'a>>,
}

impl<'a, 'de, I: Iterator<Item = (&'a str, Reader<'a>)>> MapAccess<'de> for Entries<'a, I> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, reader)) = self.entries.next() else { return Ok(None) };
        self.value = Some(reader);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let reader = self.value.take().expect("serde asks for a value after its key");
        read_at(reader, seed)
    }
}

struct Elements<'a, I> {
    rest: I,
    list: &'a Reader<'a>,
}

impl<'a, 'de, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Elements<'a, I> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        for (index, node) in self.rest.by_ref() {
            let mut path = self.list.path.clone();
            push_index(&mut path, index);
            let reader = Reader { node, path, reading: self.list.reading };
            if reader.flaw() != Some(Flaw::LeftOut) {
                return read_at(reader, seed).map(Some);
            }
        }
        Ok(None)
    }
}

/// Reads one value; an error that has no place yet happened here.
fn read_at<'de, S: DeserializeSeed<'de>>(mut reader: Reader<'_>, seed: S) -> Result<S::Value, ReadError> {
    let path = reader.path.clone();
    if reader.flaw() == Some(Flaw::Emptied) {
        reader.node = &NULL;
    }
    seed.deserialize(reader).map_err(|error| error.or_at(path))
}

/// Why a value could not be read, and where.
#[derive(Debug)]
pub(super) struct ReadError {
    message: String,
    at: Option<String>,
    flaw: Flaw,
}

impl ReadError {
    fn or_at(mut self, path: String) -> ReadError {
        self.at.get_or_insert(path);
        self
    }

    pub(super) fn into_parts(self) -> (String, Flaw, String) {
        (self.at.unwrap_or_default(), self.flaw, self.message)
    }
}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> ReadError {
        ReadError { message: message.to_string(), at: None, flaw: Flaw::LeftOut }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ReadError {
        let expected = expected.to_string();
        let expected = wanted(&expected);
        let meant = match unexpected {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) if expected == "text" => {
                Some("a number; put it in quotes")
            }
            Unexpected::Str(text) => mistake(text, expected),
            _ => None,
        };
        let found = meant.map_or_else(|| found(&unexpected), str::to_owned);
        ReadError::custom(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ReadError {
        ReadError::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> ReadError {
        let is_word = variant.len() <= 20
            && variant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let found = if is_word { format!("`{variant}`") } else { "some other text".to_owned() };
        // The class `token` is known, so that whoever opens it is told that it never is.
        let offered: Vec<&str> = expected.iter().copied().filter(|name| *name != "token").collect();
        ReadError::custom(format!("expected one of {}, found {found}", offered.join(", ")))
    }
}

/// What a value is, without the value where that could be a secret.
fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(_) => "some other text".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a section of keys".to_owned(),
        other => other.to_string(),
    }
}

/// Text in the place of something else, where it is known what was meant.
fn mistake(text: &str, expected: &str) -> Option<&'static str> {
    let is_whole = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match expected {
        "true or false" if text == "true" || text == "false" => Some("text; write it without quotes"),
        "a list" if text == "*" => Some("a star; write [\"*\"]"),
        "a list" => Some("some other text; a list of one is written [ONE]"),
        _ if !expected.contains("whole number") => None,
        _ if is_whole => Some("text; write it without quotes"),
        // Such as Iv23li0123456789abcd in `app_id`.
        _ if text.starts_with("Iv") && text.len() >= 16 => {
            Some("what looks like a client id, which stands under `client_id`")
        }
        _ => None,
    }
}

/// What serde's own types call themselves, for people.
fn wanted(expected: &str) -> &str {
    match expected {
        "a string" => "text",
        "a boolean" => "true or false",
        "u8" | "u16" => "a small whole number, 0 or more",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, 0 or more",
        "a sequence" => "a list",
        "a map" => "a section of keys",
        other => other,
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}
