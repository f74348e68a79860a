//! Rewrites links in JSON, as a stream of bytes.
//!
//! What changes is the base at the beginning of a string under a key `url`, `*_url` or `*_urls`, or
//! under `href` below `_links`. A string under `temp_clone_token`, with which a private repository
//! can be cloned, becomes empty: no credential goes to an agent. Nothing is parsed into values:
//! every other byte comes out as it went in, mostly as slices of the input.
//!
//! The rewriter never fails. From where the input stops being JSON (or is nested too deep), the
//! rest passes through unread. It checks structure, not spelling: numbers, control characters and
//! UTF-8 in strings aren't checked, since nothing depends on them.
//!
//! Memory is bounded: one byte a level, the end of a key, and just enough of a string to tell
//! whether it begins with a base. So the output doesn't depend on how the input was cut.

mod output;
mod text;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::LinkMap;
use super::base::Probe;
use output::Output;
use text::{Escaped, Key, KeyEnd, PartialEscape, StringLetters};

/// Deeper nesting isn't read, which bounds the memory for a hostile body: a level takes a byte.
const LEVELS_MAX: usize = 4096;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Rewrites one body, chunk by chunk.
#[derive(Debug)]
pub struct JsonRewriter {
    map: LinkMap,
    state: State,
    levels: Vec<Level>,
    key: KeyEnd,
    escape: PartialEscape,
    /// The beginning of a string that may turn out to begin with a base.
    held: BytesMut,
    held_max: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum State {
    Between(Expect),
    Number,
    /// The rest of `true`, `false`, `null` or a byte order mark.
    Literal(&'static [u8]),
    Key,
    Text,
    /// At the first byte of a string that changes if it begins with a base.
    LinkStart,
    /// In the rest of a string that is not passed on.
    Hidden,
    /// Not JSON: all that follows passes through.
    Lost,
}

/// What may come between two tokens, apart from blanks.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

/// An open object or array.
#[derive(Debug, Clone, Copy)]
struct Level(u8);

impl Level {
    const OBJECT: u8 = 1;
    /// It is the value of a key `_links`, or below one.
    const BELOW_LINKS: u8 = 2;
    /// Its strings are under a link's key: all of an array's; an object's if its current key is one.
    const LINK: u8 = 4;
    /// The object's current key is `_links`.
    const LINKS_KEY: u8 = 8;
    /// The object's current key holds a credential.
    const CREDENTIAL: u8 = 16;

    fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

impl JsonRewriter {
    pub fn new(map: LinkMap) -> JsonRewriter {
        let held_max = map.letters_max() * text::LETTER_LEN_MAX;
        JsonRewriter {
            map,
            state: State::Between(Expect::Value),
            levels: Vec::new(),
            key: KeyEnd::default(),
            escape: PartialEscape::default(),
            held: BytesMut::new(),
            held_max,
        }
    }

    /// Rewrites the links of a whole body.
    pub fn rewrite(text: Bytes, map: LinkMap) -> Bytes {
        let mut out = VecDeque::new();
        let mut rewriter = JsonRewriter::new(map);
        rewriter.feed(text, &mut out);
        rewriter.finish(&mut out);
        let pieces: Vec<Bytes> = out.into();
        pieces.concat().into()
    }

    /// Takes the body's next bytes and appends to `out` what can be passed on.
    pub fn feed(&mut self, mut chunk: Bytes, out: &mut VecDeque<Bytes>) {
        let mut out = Output::new(out);
        // Held bytes are read again, together with as much of the chunk as it takes to decide.
        while self.is_holding() && !chunk.is_empty() {
            let settling = chunk.split_to(chunk.len().min(self.held_max - self.held.len()));
            let mut joined = self.held.split();
            joined.extend_from_slice(&settling);
            self.read(&joined.freeze(), &mut out);
        }
        self.read(&chunk, &mut out);
        out.flush();
    }

    /// The body has ended: appends to `out` what was held.
    pub fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        if self.is_holding() {
            out.push_back(self.held.split().freeze());
        }
    }

    /// Whether some of the bytes taken haven't been passed on yet.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn read(&mut self, chunk: &Bytes, out: &mut Output<'_>) {
        let mut copied = 0;
        let mut at = 0;
        while at < chunk.len() {
            at = match self.state {
                State::Between(expect) => self.between(expect, chunk, at),
                State::Key => self.key(chunk, at),
                State::Text => self.text(chunk, at),
                State::LinkStart => match self.map.probe(|| StringLetters::new(&chunk[at..])) {
                    Probe::More => {
                        out.pass(chunk, copied..at);
                        self.held.extend_from_slice(&chunk[at..]);
                        return;
                    }
                    Probe::No => {
                        self.state = State::Text;
                        at
                    }
                    Probe::Yes(found) => {
                        out.pass(chunk, copied..at);
                        out.insert(&found.target.json);
                        self.state = State::Text;
                        copied = at + found.len;
                        copied
                    }
                },
                State::Hidden => {
                    out.pass(chunk, copied..at);
                    let next = self.text(chunk, at);
                    // Its closing quote is passed on.
                    copied = if matches!(self.state, State::Hidden) { next } else { next - 1 };
                    next
                }
                State::Number => self.number(chunk, at),
                State::Literal(rest) => self.literal(rest, chunk[at], at),
                State::Lost => chunk.len(),
            };
        }
        out.pass(chunk, copied..chunk.len());
    }

    /// Reads what is between two tokens, and the first byte of the next one.
    fn between(&mut self, mut expect: Expect, chunk: &[u8], mut at: usize) -> usize {
        use Expect::{Colon, CommaOrEnd, Key, KeyOrEnd, Value, ValueOrEnd};
        while let Some(byte) = chunk.get(at) {
            at += 1;
            let next = match (expect, byte) {
                (_, b' ' | b'\n' | b'\r' | b'\t') => continue,
                (Key | KeyOrEnd, b'"') => State::Key,
                (Colon, b':') => State::Between(Value),
                (CommaOrEnd, b',') => State::Between(if self.is_in_object() { Key } else { Value }),
                (KeyOrEnd | CommaOrEnd, b'}') if self.is_in_object() => self.close(),
                (ValueOrEnd | CommaOrEnd, b']') if !self.is_in_object() => self.close(),
                (Value | ValueOrEnd, byte) => self.value(*byte),
                (Key | KeyOrEnd | Colon | CommaOrEnd, _) => State::Lost,
            };
            match next {
                State::Between(next) => expect = next,
                token => {
                    self.state = token;
                    return at;
                }
            }
        }
        self.state = State::Between(expect);
        at
    }

    fn is_in_object(&self) -> bool {
        self.levels.last().is_some_and(|level| level.is(Level::OBJECT))
    }

    /// The state for a value that begins with `byte`.
    fn value(&mut self, byte: u8) -> State {
        match byte {
            b'"' if self.levels.last().is_some_and(|level| level.is(Level::LINK)) => State::LinkStart,
            b'"' if self.levels.last().is_some_and(|level| level.is(Level::CREDENTIAL)) => State::Hidden,
            b'"' => State::Text,
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'-' | b'0'..=b'9' => State::Number,
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            _ if byte == BOM[0] && self.levels.is_empty() => State::Literal(&BOM[1..]),
            _ => State::Lost,
        }
    }

    fn open(&mut self, is_object: bool) -> State {
        if self.levels.len() == LEVELS_MAX {
            return State::Lost;
        }
        let outer = self.levels.last().copied().unwrap_or(Level(0));
        let mut level = Level(0);
        level.set(Level::OBJECT, is_object);
        level.set(Level::BELOW_LINKS, outer.is(Level::BELOW_LINKS | Level::LINKS_KEY));
        level.set(Level::LINK, outer.is(Level::LINK));
        self.levels.push(level);
        State::Between(if is_object { Expect::KeyOrEnd } else { Expect::ValueOrEnd })
    }

    fn close(&mut self) -> State {
        self.levels.pop();
        self.after_value()
    }

    /// Documents may follow each other, so another value may come after the outermost one.
    fn after_value(&self) -> State {
        State::Between(if self.levels.is_empty() { Expect::Value } else { Expect::CommaOrEnd })
    }

    fn number(&mut self, chunk: &[u8], at: usize) -> usize {
        match chunk[at..].iter().position(|byte| !text::is_in_number(*byte)) {
            Some(len) => {
                self.state = self.after_value();
                at + len
            }
            None => chunk.len(),
        }
    }

    fn literal(&mut self, rest: &'static [u8], byte: u8, at: usize) -> usize {
        self.state = match rest {
            [expected] if byte == *expected => self.after_value(),
            [expected, rest @ ..] if byte == *expected => State::Literal(rest),
            _ => State::Lost,
        };
        at + 1
    }

    fn key(&mut self, chunk: &[u8], mut at: usize) -> usize {
        if !self.escape.is_empty() {
            return self.escape(chunk, at);
        }
        loop {
            let rest = &chunk[at..];
            let len = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(len);
            match behind.first() {
                None => {
                    self.key.push(run);
                    return chunk.len();
                }
                Some(b'"') => {
                    let key = self.key.end(run);
                    if let Some(len) = text::plain_member(key, &behind[1..]) {
                        at = chunk.len() - behind.len() + 1 + len;
                        continue;
                    }
                    self.begin_value(key);
                    return at + len + 1;
                }
                Some(_) => {
                    self.key.push(run);
                    return self.escape(chunk, at + len);
                }
            }
        }
    }

    fn begin_value(&mut self, key: Key) {
        if let Some(level) = self.levels.last_mut() {
            let is_link = key == Key::Url || (key == Key::Href && level.is(Level::BELOW_LINKS));
            level.set(Level::LINK, is_link);
            level.set(Level::LINKS_KEY, key == Key::Links);
            level.set(Level::CREDENTIAL, key == Key::Credential);
        }
        self.state = State::Between(Expect::Colon);
    }

    fn text(&mut self, chunk: &[u8], at: usize) -> usize {
        if !self.escape.is_empty() {
            return self.escape(chunk, at);
        }
        let rest = &chunk[at..];
        match memchr2(b'"', b'\\', rest) {
            None => chunk.len(),
            Some(len) if rest[len] == b'"' => {
                self.state = self.after_value();
                at + len + 1
            }
            Some(len) => self.escape(chunk, at + len),
        }
    }

    /// Reads an escape in a key or a string, or the rest of one.
    fn escape(&mut self, chunk: &[u8], at: usize) -> usize {
        let (len, escaped) = self.escape.read(&chunk[at..]);
        match (escaped, self.state) {
            (Escaped::Letter(letter), State::Key) => self.key.push_letter(letter),
            (Escaped::Letter(_) | Escaped::More, _) => {}
            (Escaped::Bad, _) => self.state = State::Lost,
        }
        at + len
    }
}
