//! The most forgiving reader of a request, which reports the worst meaning it could find: the strict readers are
//! measured against it.
//!
//! It shares no code with them. Where two readings are possible it takes both; it leaves alone what can only be read in
//! one way, so every difference is a finding. The fuzz targets include this file, so it depends only on `serde_json`.

use serde_json::Value;

/// The worst effect that a request could be read as having.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Danger {
    Nothing,
    /// Approves a pull request, or dismisses a review that did not.
    Approval,
    /// Moves `main` or a tag, commits onto `main`, or changes where a pull request lands.
    Ref,
    /// Changes the rules that guard a branch.
    Protection,
    Merge,
}

/// The worst of all readings. Assumes that the default branch is `main` and nothing else is guarded.
pub(crate) fn danger(method: &str, path: &str, query: &str, body: &[u8]) -> Danger {
    let params = Params::read(query, body);
    let overridden = params.like("_method").filter(|(key, _)| key.contains('_'));
    let overridden = overridden.flat_map(|(_, value)| value.texts());
    let methods: Vec<String> = std::iter::once(method)
        .chain(overridden)
        .map(|method| folded(method).trim().to_uppercase())
        .collect();
    let mut worst = Danger::Nothing;
    for segments in readings(path) {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        for method in methods.iter().filter(|method| !["GET", "HEAD"].contains(&method.as_str())) {
            worst = worst.max(of_write(method, &segments, &params));
        }
    }
    worst
}

fn of_write(method: &str, segments: &[&str], params: &Params) -> Danger {
    let (["repos", _, _, rest @ ..] | ["repositories", _, rest @ ..]) = segments else {
        return Danger::Nothing;
    };
    let met = |is_met: bool, danger: Danger| if is_met { danger } else { Danger::Nothing };
    match (method, rest) {
        ("POST", ["merges" | "merge-upstream"]) => Danger::Merge,
        ("PUT", ["pulls", _, "merge" | "merge-async"]) => Danger::Merge,
        ("POST", ["pulls", _, "reviews"] | ["pulls", _, "reviews", _, "events"])
        | ("PUT", ["pulls", _, "reviews", _, "dismissals"]) => {
            met(rest.last() == Some(&"dismissals") || params.approve(), Danger::Approval)
        }
        ("PATCH", ["pulls", _]) => met(params.like("base").next().is_some(), Danger::Ref),
        ("POST", ["git", "refs"]) => met(params.name_guarded("ref", false, is_guarded_ref), Danger::Ref),
        ("PATCH" | "DELETE", ["git", "refs", name @ ..]) => met(is_guarded_ref(&name.join("/")), Danger::Ref),
        ("PUT" | "DELETE", ["contents", ..]) => {
            met(params.name_guarded("branch", method == "DELETE", is_guarded), Danger::Ref)
        }
        ("POST", ["code-scanning", "alerts", _, "autofix", "commits"]) => {
            met(params.name_guarded("target_ref", false, is_guarded), Danger::Ref)
        }
        ("POST", ["branches", _, "rename"]) => Danger::Ref,
        (_, ["branches", _, "protection", ..] | ["rulesets", ..] | ["tags", "protection", ..]) => {
            Danger::Protection
        }
        _ => Danger::Nothing,
    }
}

/// Parameters by their unmodified keys, those of the body first.
struct Params {
    of_body: Vec<(String, Loose)>,
    of_query: Vec<(String, Loose)>,
}

impl Params {
    fn read(query: &str, body: &[u8]) -> Params {
        let text = String::from_utf8_lossy(body).replace(['\0', '\u{feff}', '\u{fffd}'], "");
        let mut of_body = Vec::new();
        for document in documents(&text) {
            collect(document, &mut of_body);
        }
        if !text.trim_start().starts_with(['{', '[']) {
            of_body.extend(form(&text));
        }
        Params { of_body, of_query: form(query) }
    }

    /// Every parameter that some reader would take for `name`.
    fn like(&self, name: &str) -> impl Iterator<Item = &(String, Loose)> {
        let letters = |text: &str| -> String {
            let text = text.split('\0').next().unwrap_or_default();
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        };
        let wanted = letters(name);
        self.of_body.iter().chain(&self.of_query).filter(move |(key, _)| letters(key) == wanted)
    }

    /// Whether the branch they name is guarded in some reading, or no branch is named.
    fn name_guarded(&self, name: &str, or_in_query: bool, is_guarded: fn(&str) -> bool) -> bool {
        let is_text = |(key, value): &&(String, Loose)| {
            key == name && matches!(value, Loose::Text(text) if !text.is_empty())
        };
        let of_query = if or_in_query { self.of_query.as_slice() } else { &[] };
        let is_named = self.of_body.iter().chain(of_query).any(|given| is_text(&given));
        !is_named
            || self.like(name).any(|(_, value)| match value {
                Loose::Text(text) => is_guarded(text),
                Loose::Word(_) | Loose::Many(_) => true,
            })
    }

    fn approve(&self) -> bool {
        let approves = |text: &str| {
            let letters: String = folded(text).chars().filter(char::is_ascii_alphabetic).collect();
            letters.starts_with("approve") || letters.starts_with("dismiss")
        };
        self.like("event").any(|(_, value)| value.texts().into_iter().any(approves))
    }
}

/// The members of an object, or of each object in a list.
fn collect(document: Loose, into: &mut Vec<(String, Loose)>) {
    if let Loose::Many(entries) = document {
        for (key, value) in entries {
            match key {
                Some(key) => into.push((key, value)),
                None => collect(value, into),
            }
        }
    }
}

/// Reads `a=1&b=2` with `;` as a separator too, as older servers do, and also without.
fn form(text: &str) -> Vec<(String, Loose)> {
    let pairs = text.split('&').chain(text.split(['&', ';'])).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| unescaped(&text.replace('+', " "));
            (decode(key), Loose::Text(decode(value)))
        })
        .collect()
}

/// Decodes percent escapes until there are none.
pub(crate) fn unescaped(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    loop {
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes.get(at + 1..at + 3).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|two| std::str::from_utf8(two).ok());
            match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| bytes[at] == b'%') {
                Some(byte) => {
                    decoded.push(byte);
                    at += 3;
                }
                None => {
                    decoded.push(bytes[at]);
                    at += 1;
                }
            }
        }
        if decoded.len() == bytes.len() {
            return String::from_utf8_lossy(&decoded).into_owned();
        }
        bytes = decoded;
    }
}

/// Folds letters to the plainest form: no escapes, no case, no full width, no invisible letters.
fn folded(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{ad}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2060}'
        | '\u{3164}'
        | '\u{feff}' => None,
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
        'ᵐ' | 'ᴹ' | 'ₘ' | '\u{1f13c}' => Some('m'),
        'ᵃ' | 'ᴬ' | 'ₐ' | 'ª' | '\u{1f130}' => Some('a'),
        'ⁱ' | 'ᴵ' | 'ᵢ' | '\u{1f138}' => Some('i'),
        'ⁿ' | 'ᴺ' | 'ₙ' | '\u{1f13d}' => Some('n'),
        c => Some(c),
    };
    unescaped(text).chars().filter_map(plain).flat_map(char::to_lowercase).collect()
}

/// A ref's name without what some reader drops: text after NUL or `;`, blanks, dot segments.
fn plain_ref(name: &str) -> String {
    let name = folded(name).replace('\\', "/");
    let cut = name.split(['\0', ';']).next().unwrap_or_default();
    let parts = resolved(cut.split('/').map(|part| part.trim_matches(is_blank)));
    let parts = if parts.first() == Some(&"refs") { &parts[1..] } else { &parts[..] };
    parts.join("/")
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn resolved<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    for part in parts {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    kept
}

/// Whether a branch, by short or full name, is guarded.
fn is_guarded(name: &str) -> bool {
    let name = plain_ref(name);
    let mut plain = name.as_str();
    for prefix in ["remotes/", "origin/", "heads/"] {
        plain = plain.strip_prefix(prefix).unwrap_or(plain);
    }
    let plain = plain.split(['^', '~']).next().unwrap_or_default();
    let plain = plain.split("@{").next().unwrap_or_default();
    let is_commit = matches!(plain.len(), 40 | 64) && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    ["", "main", "head", "@"].contains(&plain) || name.starts_with("tags/") || is_commit
}

/// Whether a full ref, with or without `refs/`, is guarded; any ref that is not a branch is.
fn is_guarded_ref(name: &str) -> bool {
    !plain_ref(name).starts_with("heads/") || is_guarded(name)
}

/// All segments that the path could mean, in lower case and without the API's prefixes: with an escaped slash
/// read as a separator, and not.
fn readings(path: &str) -> Vec<Vec<String>> {
    let whole = folded(path).replace('\\', "/");
    let cut = whole.split(['?', '\0']).next().unwrap_or_default();
    let apart: Vec<String> = path.split('/').map(folded).collect();
    let read = |segments: Vec<&str>| -> Vec<String> {
        let bare = |segment: &&str| segment.split(';').next().unwrap_or_default().len();
        let bare = segments.iter().map(|segment| segment[..bare(segment)].trim_matches(is_blank));
        let mut kept = resolved(bare);
        while let [api, version, ..] = kept[..]
            && api == "api"
            && ["v3", "uploads"].contains(&version)
        {
            kept.drain(..2);
        }
        if let Some(last) = kept.last_mut() {
            let formats = [".json", ".xml", ".html", ".diff", ".patch"];
            *last = formats.iter().find_map(|ending| last.strip_suffix(ending)).unwrap_or(last);
            *last = last.trim_end_matches('.');
        }
        kept.into_iter().map(str::to_owned).collect()
    };
    let apart: Vec<&str> = apart.iter().map(String::as_str).collect();
    vec![read(whole.split('/').collect()), read(cut.split('/').collect()), read(apart)]
}

/// JSON reduced to three types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Loose {
    Text(String),
    /// Numbers, `true`, `null` and bare words.
    Word(String),
    /// A list or an object; duplicate keys are kept.
    Many(Vec<(Option<String>, Loose)>),
}

impl Loose {
    /// Every string within, including keys: `{"event":{"APPROVE":1}}` approves for some readers.
    fn texts(&self) -> Vec<&str> {
        match self {
            Loose::Text(text) | Loose::Word(text) => vec![text],
            Loose::Many(entries) => entries
                .iter()
                .flat_map(|(key, value)| key.as_deref().into_iter().chain(value.texts()))
                .collect(),
        }
    }

    /// Whether this equals what a strict reader produced, with nothing duplicated or left out.
    pub(crate) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Loose::Text(text), Value::String(other)) => text == other,
            (Loose::Word(word), Value::Null) => word == "null",
            (Loose::Word(word), Value::Bool(other)) => *word == other.to_string(),
            (Loose::Word(word), Value::Number(number)) => {
                let (Ok(one), Some(other)) = (word.parse::<f64>(), number.as_f64()) else { return false };
                (one - other).abs() <= one.abs() * 1e-12
            }
            (Loose::Many(entries), Value::Array(items)) => {
                let pairs = || entries.iter().zip(items);
                entries.len() == items.len()
                    && pairs().all(|((key, one), other)| key.is_none() && one.is(other))
            }
            (Loose::Many(entries), Value::Object(object)) => {
                let known = |key: &Option<String>| object.get(key.as_deref()?);
                entries.len() == object.len()
                    && entries.iter().all(|(key, one)| known(key).is_some_and(|other| one.is(other)))
            }
            _ => false,
        }
    }
}

/// Every JSON document in a text, one after another, whatever stands between them.
pub(crate) fn documents(text: &str) -> Vec<Loose> {
    let mut reader = Reader { text: text.chars().collect(), at: 0 };
    let mut found = Vec::new();
    while reader.peek().is_some() {
        match reader.value(0) {
            Some(value) => found.push(value),
            None => reader.at += 1,
        }
    }
    found
}

/// Accepts comments, single quotes, bare words, stray separators and more for what they look like.
struct Reader {
    text: Vec<char>,
    at: usize,
}

impl Reader {
    /// The next significant character.
    fn peek(&mut self) -> Option<char> {
        loop {
            let c = *self.text.get(self.at)?;
            match (c, self.text.get(self.at + 1)) {
                ('/', Some('*')) => self.skip_past(&['*', '/']),
                ('/', Some('/')) => self.skip_past(&['\n']),
                (',', _) => self.at += 1,
                (c, _) if is_blank(c) => self.at += 1,
                _ => return Some(c),
            }
        }
    }

    fn skip_past(&mut self, end: &[char]) {
        while self.at < self.text.len() && !self.text[self.at..].starts_with(end) {
            self.at += 1;
        }
        self.at = (self.at + end.len()).min(self.text.len());
    }

    fn value(&mut self, depth: usize) -> Option<Loose> {
        match self.peek()? {
            quote @ ('"' | '\'') => Some(Loose::Text(self.quoted(quote))),
            '{' | '[' if depth < 100 => Some(self.many(depth)),
            '{' | '[' | '}' | ']' | ':' | '=' => None,
            _ => Some(Loose::Word(self.word())),
        }
    }

    fn many(&mut self, depth: usize) -> Loose {
        self.at += 1;
        let mut entries = Vec::new();
        while let Some(c) = self.peek() {
            if matches!(c, '}' | ']') {
                self.at += 1;
                break;
            }
            let Some(first) = self.value(depth + 1) else {
                self.at += 1;
                continue;
            };
            match (first, self.peek()) {
                (Loose::Text(key) | Loose::Word(key), Some(':' | '=')) => {
                    self.at += 1;
                    let value = self.value(depth + 1).unwrap_or(Loose::Word(String::new()));
                    entries.push((Some(key), value));
                }
                (value, _) => entries.push((None, value)),
            }
        }
        Loose::Many(entries)
    }

    fn quoted(&mut self, quote: char) -> String {
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        while let Some(&c) = self.text.get(self.at) {
            self.at += 1;
            let plain = match c {
                c if c == quote => break,
                '\\' => match self.escape() {
                    Ok(plain) => plain,
                    Err(unit) => {
                        units.push(unit);
                        continue;
                    }
                },
                c => c,
            };
            units.extend(plain.encode_utf16(&mut [0; 2]).iter());
        }
        String::from_utf16_lossy(&units)
    }

    /// What follows a backslash: a character, or one UTF-16 unit.
    fn escape(&mut self) -> Result<char, u16> {
        let c = self.text.get(self.at).copied().unwrap_or('\\');
        self.at += 1;
        let digits: String = self.text.iter().skip(self.at).take(4).collect();
        match (c, u16::from_str_radix(&digits, 16)) {
            ('u', Ok(unit)) => {
                self.at += 4;
                Err(unit)
            }
            ('n', _) => Ok('\n'),
            ('t', _) => Ok('\t'),
            ('r', _) => Ok('\r'),
            ('b', _) => Ok('\u{8}'),
            ('f', _) => Ok('\u{c}'),
            (c, _) => Ok(c),
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        let ends = |c: &char| is_blank(*c) || matches!(c, ',' | ':' | '=' | '{' | '}' | '[' | ']' | '"');
        while self.text.get(self.at).is_some_and(|c| !ends(c)) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }
}
