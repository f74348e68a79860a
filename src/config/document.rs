//! A YAML document with the line of every value, read into types without stopping at the first error.
//!
//! serde stops at the first value it can't take. So a document is read as often as it has such
//! values: each failure is recorded with its path, the value is left out, and the next reading
//! finds what stood behind it. The number of readings is bounded, and so is the file.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Spanned, UserMessageFormatter};

use self::reader::{Flaw, Reader};
use super::problem::{Problem, Problems};
use crate::secret;

/// More problems of type than this are not looked for: the file is then of some other kind.
const TYPE_PROBLEMS_MAX: usize = 100;

/// Bounds on what a document may hold; a fleet's file has some thousand nodes.
const NODES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 24;

/// One value and the line it stands at.
#[derive(Debug, Clone)]
struct Node {
    line: u32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Key, its line, its value.
    Map(Vec<(String, u32, Node)>),
}

#[derive(Debug, Default)]
pub(super) struct Document {
    root: Option<Node>,
    /// Line of every path, and whether a value is there.
    places: BTreeMap<String, (u32, bool)>,
    /// Paths with a problem already, so that nothing more is said about them.
    flawed: BTreeSet<String>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, Problem> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: NODES_MAX * 2,
                max_nodes: NODES_MAX,
                max_depth: DEPTH_MAX,
                flow_nesting_limit: DEPTH_MAX,
                max_aliases: 1_000,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: NODES_MAX,
            },
            // `off`, `no` and the like are words here; an enum of the file has `off` in it.
            strict_booleans: true,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            // A snippet would show lines that may hold a secret somebody typed into the file.
            with_snippet: false,
        };
        let root: Node =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| yaml_problem(&error))?;
        let mut places = BTreeMap::new();
        note_places(&root, &mut String::new(), &mut places);
        Ok(Document { root: Some(root), places, flawed: BTreeSet::new() })
    }

    /// Reads the whole document; what can't be read is reported and left at its default.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self, problems: &mut Problems) -> T {
        let Some(root) = self.root.take() else { return T::default() };
        let mut flaws = BTreeMap::new();
        for _ in 0..TYPE_PROBLEMS_MAX {
            let reading = reader::Reading::new(&flaws);
            let outcome = T::deserialize(Reader::new(&root, String::new(), &reading));
            for (path, line, message) in reading.take_unknown_keys() {
                problems.push(Problem::error(path, Some(line), message));
            }
            self.flawed.extend(reading.take_meant_keys());
            let error = match outcome {
                Ok(value) => return value,
                Err(error) => error,
            };
            let (path, flaw, message) = error.into_parts();
            let line = self.line(&path).or(path.is_empty().then_some(root.line));
            problems.push(Problem::error(path.as_str(), line, message));
            self.flawed.insert(path.clone());
            // A second error at one place: the default can't stand in for it, so leave out what is around.
            let known = flaws.insert(path.clone(), flaw);
            if known.is_some() {
                let Some(parent) = parent(&path) else { return T::default() };
                self.flawed.insert(parent.to_owned());
                flaws.insert(parent.to_owned(), Flaw::LeftOut);
            }
            if path.is_empty() {
                return T::default();
            }
        }
        problems.push(Problem::error(
            "",
            None,
            format!("more than {TYPE_PROBLEMS_MAX} problems; the rest is not shown"),
        ));
        self.flawed.insert(String::new());
        T::default()
    }

    /// The line of a path, or of what it would stand in.
    pub(super) fn line(&self, path: &str) -> Option<u32> {
        let mut path = path;
        loop {
            if let Some((line, _)) = self.places.get(path) {
                return Some(*line);
            }
            path = parent(path)?;
        }
    }

    /// Whether the file has a value there, be it right or wrong.
    pub(super) fn is_said(&self, path: &str) -> bool {
        self.flawed.contains(path) || self.places.get(path).is_some_and(|(_, said)| *said)
    }

    /// Whether the value there, or what it stands in, was reported already.
    pub(super) fn is_flawed(&self, path: &str) -> bool {
        let mut path = path;
        loop {
            if self.flawed.contains(path) {
                return true;
            }
            match parent(path) {
                Some(parent) => path = parent,
                None => return false,
            }
        }
    }

    /// Whether something within the value there was reported and left out.
    pub(super) fn is_flawed_within(&self, path: &str) -> bool {
        let within =
            |flawed: &String| flawed.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.flawed.iter().any(within)
    }

    /// The path of a list's element by its place among those that could be read.
    pub(super) fn element(&self, list: &str, index: usize) -> String {
        let number =
            |path: &String| path.strip_prefix(list)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        let mut left_out: Vec<usize> = self.flawed.iter().filter_map(number).collect();
        left_out.sort_unstable();
        let index =
            left_out.iter().fold(index, |index, left_out| if *left_out <= index { index + 1 } else { index });
        format!("{list}[{index}]")
    }
}

/// `agents[1].weight` → `agents[1]` → `agents` → the document itself, the empty path.
fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    Some(path.rfind(['.', '[']).map_or("", |end| &path[..end]))
}

fn note_places(node: &Node, path: &mut String, places: &mut BTreeMap<String, (u32, bool)>) {
    let length = path.len();
    match &node.kind {
        Kind::Map(entries) => {
            for (key, line, value) in entries {
                push_key(path, key);
                places.insert(path.clone(), (*line, !matches!(value.kind, Kind::Null)));
                note_places(value, path, places);
                path.truncate(length);
            }
        }
        Kind::List(elements) => {
            for (index, element) in elements.iter().enumerate() {
                push_index(path, index);
                places.insert(path.clone(), (element.line, true));
                note_places(element, path, places);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// The path of a key in a section.
pub(super) fn key_path(section: &str, key: &str) -> String {
    let mut path = section.to_owned();
    push_key(&mut path, key);
    path
}

/// Appends a key as messages show it: short and without characters that steer a terminal; nothing of it
/// if it looks like a secret, as one does that was typed into braces.
fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let key = if secret::looks_like_secret(key) { "…" } else { key };
    path.extend(key.chars().take(40).map(|c| if c.is_control() { '?' } else { c }));
    if key.chars().count() > 40 {
        path.push('…');
    }
}

fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

fn yaml_problem(error: &serde_saphyr::Error) -> Problem {
    let line =
        error.location().and_then(|location| u32::try_from(location.line()).ok()).filter(|line| *line > 0);
    let text = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    // The place is told by our own prefix.
    let text = text.split(" at line ").next().unwrap_or(&text);
    let text = without_secret(text.lines().next().unwrap_or("cannot be read"));
    if ["budget", "limit", "too large"].iter().any(|word| text.contains(word)) {
        return Problem::error("", line, "holds more, or more deeply nested, than a configuration does");
    }
    let hint = if ["alias", "anchor", "unknown value"].iter().any(|word| text.contains(word)) {
        "; a star that is meant as such stands in quotes: \"*\""
    } else {
        ""
    };
    Problem::error("", line, format!("not valid YAML: {text}{hint}"))
}

/// Up to the key or name that a message repeats, if that looks like a secret.
fn without_secret(text: &str) -> &str {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    match text.split(|c| !is_of_word(c)).any(secret::looks_like_secret) {
        true => text.split_once(':').map_or("something that looks like a secret", |(what, _)| what),
        false => text,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Node { line: line_of(&spanned), kind: spanned.value })
    }
}

fn line_of<T>(spanned: &Spanned<T>) -> u32 {
    u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(u64::try_from(value).map_or(Kind::Negative(value), Kind::Unsigned))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Kind::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            let line = line_of(&key);
            entries.push((key.value, line, value));
        }
        Ok(Kind::Map(entries))
    }
}
