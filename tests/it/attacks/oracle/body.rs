//! A body as the most forgiving of parsers would read it: every value that any of them could see.
//!
//! Tolerates byte order marks, UTF-16's NULs, comments, single quotes, trailing commas, a second document and
//! duplicate keys, and drops nothing.

use github_sim::RecordedRequest;

use super::spelling::unescaped;

/// A value without type distinctions that don't matter here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Loose {
    Text(String),
    /// Numbers, `true`, `null` and bare words.
    Word(String),
    List(Vec<Loose>),
    Map(Vec<(String, Loose)>),
}

impl Loose {
    /// Every string within, at any depth.
    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Loose::Text(text) => vec![text.clone()],
            Loose::Word(_) => Vec::new(),
            Loose::List(items) => items.iter().flat_map(Loose::texts).collect(),
            Loose::Map(entries) => entries.iter().flat_map(|(_, value)| value.texts()).collect(),
        }
    }
}

/// One parameter: its exact key and its value.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) value: Loose,
    pub(super) in_query: bool,
}

/// All parameters of a request, wherever they are.
#[derive(Debug, Default)]
pub(super) struct Params {
    pub(super) given: Vec<Given>,
    /// Whether there was a body that can't be read here.
    pub(super) is_opaque: bool,
    /// The body as text, byte order mark and NULs taken out.
    pub(super) text: String,
}

impl Params {
    pub(super) fn read(request: &RecordedRequest, query: &str) -> Params {
        let mut params = Params {
            is_opaque: request.body.is_none() && request.body_bytes > 0,
            text: request.body.as_deref().unwrap_or_default().replace(['\0', '\u{feff}', '\u{fffd}'], ""),
            ..Params::default()
        };
        for document in documents(&params.text) {
            params.add(document);
        }
        let is_form = !params.text.trim_start().starts_with(['{', '[']);
        if is_form {
            params.add_form(&params.text.clone(), false);
        }
        params.add_form(query, true);
        params
    }

    fn add(&mut self, document: Loose) {
        match document {
            Loose::Map(entries) => {
                let given = entries.into_iter().map(|(key, value)| Given { key, value, in_query: false });
                self.given.extend(given);
            }
            Loose::List(items) => items.into_iter().for_each(|item| self.add(item)),
            Loose::Text(_) | Loose::Word(_) => {}
        }
    }

    /// Reads `a=1&b=2` with `;` as a separator too, as older servers do, and also without.
    fn add_form(&mut self, text: &str, in_query: bool) {
        for pair in text.split('&').chain(text.split(['&', ';'])).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| unescaped(&text.replace('+', " "));
            self.given.push(Given { key: decode(key), value: Loose::Text(decode(value)), in_query });
        }
    }

    /// Every parameter that some reader would take for `name`.
    pub(super) fn like<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Given> {
        self.given.iter().filter(move |given| plain_key(&given.key) == name)
    }

    /// Whether there is one with exactly this name and a non-empty string.
    pub(super) fn has_text(&self, name: &str, or_in_query: bool) -> bool {
        self.given.iter().any(|given| {
            given.key == name
                && (or_in_query || !given.in_query)
                && matches!(&given.value, Loose::Text(text) if !text.trim().is_empty())
        })
    }

    /// All strings in all readings of a parameter.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.like(name).flat_map(|given| given.value.texts()).collect()
    }
}

/// A key as a sloppy reader compares it: without case, blanks and brackets, and cut at NUL.
fn plain_key(key: &str) -> String {
    let cut = key.split('\0').next().unwrap_or_default();
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    cut.chars().filter(kept).collect::<String>().to_lowercase()
}

/// Every JSON document in the text, one after the other.
pub(super) fn documents(text: &str) -> Vec<Loose> {
    let mut reader = Reader { rest: text.chars().collect(), at: 0 };
    let mut found = Vec::new();
    while reader.at < reader.rest.len() {
        let before = reader.at;
        if let Some(value) = reader.value(0) {
            found.push(value);
        }
        // Skips what starts no value.
        reader.at = reader.at.max(before + 1);
    }
    found
}

struct Reader {
    rest: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&mut self) -> Option<char> {
        loop {
            let here: String = self.rest[self.at..].iter().take(2).collect();
            match here.as_str() {
                "/*" => self.skip_past("*/"),
                "//" => self.skip_past("\n"),
                _ if here.starts_with(|c: char| c.is_whitespace() || c.is_control()) => self.at += 1,
                _ => return here.chars().next(),
            }
        }
    }

    fn skip_past(&mut self, end: &str) {
        let end: Vec<char> = end.chars().collect();
        while self.at < self.rest.len() && !self.rest[self.at..].starts_with(&end) {
            self.at += 1;
        }
        self.at = (self.at + end.len()).min(self.rest.len());
    }

    fn value(&mut self, depth: usize) -> Option<Loose> {
        if depth > 100 {
            return None;
        }
        match self.peek()? {
            quote @ ('"' | '\'') => Some(Loose::Text(self.text(quote))),
            '{' => Some(self.map(depth)),
            '[' => Some(self.list(depth)),
            ',' | ':' | '}' | ']' => None,
            _ => Some(Loose::Word(self.word())),
        }
    }

    fn text(&mut self, quote: char) -> String {
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        while let Some(&c) = self.rest.get(self.at) {
            self.at += 1;
            match c {
                _ if c == quote => break,
                '\\' => self.escape(&mut units),
                _ => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            }
        }
        String::from_utf16_lossy(&units)
    }

    fn escape(&mut self, units: &mut Vec<u16>) {
        let Some(&c) = self.rest.get(self.at) else { return };
        self.at += 1;
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'u' => {
                let digits: String = self.rest[self.at..].iter().take(4).collect();
                if let Ok(unit) = u16::from_str_radix(&digits, 16) {
                    units.push(unit);
                    self.at += 4;
                }
                return;
            }
            other => other,
        };
        units.extend(plain.encode_utf16(&mut [0; 2]).iter());
    }

    fn word(&mut self) -> String {
        let start = self.at;
        let ends = |c: &char| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '"');
        while self.rest.get(self.at).is_some_and(|c| !ends(c)) {
            self.at += 1;
        }
        self.rest[start..self.at].iter().collect()
    }

    fn list(&mut self, depth: usize) -> Loose {
        self.at += 1;
        let mut items = Vec::new();
        while let Some(c) = self.peek() {
            if c == ']' {
                self.at += 1;
                break;
            }
            match self.value(depth + 1) {
                Some(item) => items.push(item),
                None => self.at += 1,
            }
        }
        Loose::List(items)
    }

    fn map(&mut self, depth: usize) -> Loose {
        self.at += 1;
        let mut entries = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '}' => {
                    self.at += 1;
                    break;
                }
                ',' | ':' | ']' => self.at += 1,
                _ => {
                    let Some(Loose::Text(key) | Loose::Word(key)) = self.value(depth + 1) else { continue };
                    if self.peek() == Some(':') {
                        self.at += 1;
                    }
                    let value = self.value(depth + 1).unwrap_or(Loose::Word(String::new()));
                    entries.push((key, value));
                }
            }
        }
        Loose::Map(entries)
    }
}
