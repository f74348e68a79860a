//! The letters of JSON strings: escapes, even if a chunk ends within one, and the kinds of keys.

use memchr::memchr2;

use crate::links::base::{Letter, Letters};

/// The most bytes one letter takes: `\u0068`.
pub(super) const LETTER_LEN_MAX: usize = 6;

/// What an escape stands for.
#[derive(Clone, Copy)]
pub(super) enum Escaped {
    Letter(Letter),
    /// It is not complete yet.
    More,
    Bad,
}

/// Reads the escape at the beginning of `text`, which is a backslash; also returns the bytes it takes.
fn unescape(text: &[u8]) -> (usize, Escaped) {
    let Some(kind) = text.get(1) else { return (1, Escaped::More) };
    let byte = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 12,
        b'r' => b'\r',
        b'u' => return unescape_hex(&text[2..text.len().min(LETTER_LEN_MAX)]),
        _ => return (2, Escaped::Bad),
    };
    (2, Escaped::Letter(Letter::Byte(byte)))
}

/// Reads the digits after `\u`, of which some may not be there yet.
fn unescape_hex(digits: &[u8]) -> (usize, Escaped) {
    let mut code = 0;
    for digit in digits {
        let Some(digit) = char::from(*digit).to_digit(16) else {
            return (2 + digits.len(), Escaped::Bad);
        };
        code = code * 16 + digit;
    }
    let escaped = match u8::try_from(code) {
        _ if digits.len() < 4 => Escaped::More,
        Ok(byte) if byte.is_ascii() => Escaped::Letter(Letter::Byte(byte)),
        _ => Escaped::Letter(Letter::Other),
    };
    (2 + digits.len(), escaped)
}

/// An escape that the last chunk ended in.
#[derive(Debug, Default)]
pub(super) struct PartialEscape {
    bytes: [u8; LETTER_LEN_MAX],
    len: usize,
}

impl PartialEscape {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads `text`, which continues the escape so far; also returns the bytes taken from `text`.
    pub(super) fn read(&mut self, text: &[u8]) -> (usize, Escaped) {
        let before = self.len;
        let taken = text.len().min(LETTER_LEN_MAX - before);
        self.bytes[before..before + taken].copy_from_slice(&text[..taken]);
        let (len, escaped) = unescape(&self.bytes[..before + taken]);
        self.len = if matches!(escaped, Escaped::More) { len } else { 0 };
        (len - before, escaped)
    }
}

/// What a key says about the strings under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// `url`, `*_url` or `*_urls`.
    Url,
    Href,
    Links,
    /// `temp_clone_token`.
    Credential,
    Other,
}

impl Key {
    pub(super) fn of(text: &[u8]) -> Key {
        match text {
            b"url" | [.., b'_', b'u', b'r', b'l'] | [.., b'_', b'u', b'r', b'l', b's'] => Key::Url,
            b"href" => Key::Href,
            b"_links" => Key::Links,
            b"temp_clone_token" => Key::Credential,
            _ => Key::Other,
        }
    }
}

/// The last letters of a key, as many as it takes to tell its kind; keys may be longer than a chunk.
#[derive(Debug, Default)]
pub(super) struct KeyEnd {
    bytes: [u8; KeyEnd::LEN],
    /// Length of the whole key so far.
    len: usize,
}

impl KeyEnd {
    const LEN: usize = "temp_clone_token".len();

    /// Adds letters that aren't escaped.
    pub(super) fn push(&mut self, run: &[u8]) {
        let end = &run[run.len().saturating_sub(KeyEnd::LEN)..];
        self.bytes.copy_within(end.len().., 0);
        self.bytes[KeyEnd::LEN - end.len()..].copy_from_slice(end);
        self.len = self.len.saturating_add(run.len());
    }

    pub(super) fn push_letter(&mut self, letter: Letter) {
        let byte = if let Letter::Byte(byte) = letter { byte } else { u8::MAX };
        self.push(&[byte]);
    }

    /// Ends the key, of which `run` is the rest; returns its kind.
    pub(super) fn end(&mut self, run: &[u8]) -> Key {
        if self.len == 0 {
            return Key::of(run);
        }
        self.push(run);
        let end = std::mem::take(self);
        match Key::of(&end.bytes[KeyEnd::LEN - end.len.min(KeyEnd::LEN)..]) {
            Key::Credential if end.len > KeyEnd::LEN => Key::Other,
            key => key,
        }
    }
}

/// The bytes from the end of a key to the next key, if the value between them is complete here and
/// has nothing to change and no escapes. Most values are like that, and it is quicker to skip them
/// at once than token by token.
pub(super) fn plain_member(key: Key, behind: &[u8]) -> Option<usize> {
    if key != Key::Other {
        return None;
    }
    let value = behind.strip_prefix(b":")?;
    let len = match value.first()? {
        b'"' => match memchr2(b'"', b'\\', &value[1..])? {
            len if value[1 + len] == b'"' => len + 2,
            _ => return None,
        },
        b'-' | b'0'..=b'9' => value.iter().position(|byte| !is_in_number(*byte))?,
        b'n' if value.starts_with(b"null") => 4,
        b't' if value.starts_with(b"true") => 4,
        b'f' if value.starts_with(b"false") => 5,
        _ => return None,
    };
    value[len..].starts_with(b",\"").then_some(1 + len + 2)
}

/// Whether this byte may continue a number. Which bytes make a valid number isn't checked.
pub(super) fn is_in_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

/// The letters of a string, after its opening quote.
pub(super) struct StringLetters<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> StringLetters<'a> {
    pub(super) fn new(text: &'a [u8]) -> StringLetters<'a> {
        StringLetters { text, at: 0 }
    }
}

impl Letters for StringLetters<'_> {
    fn next(&mut self) -> Letter {
        let Some(&byte) = self.text.get(self.at) else { return Letter::More };
        match byte {
            b'"' => Letter::End,
            b'\\' => {
                let (len, escaped) = unescape(&self.text[self.at..]);
                self.at += len;
                match escaped {
                    Escaped::Letter(letter) => letter,
                    Escaped::More => Letter::More,
                    Escaped::Bad => Letter::Other,
                }
            }
            _ => {
                self.at += 1;
                Letter::Byte(byte)
            }
        }
    }

    fn skip(&mut self, text: &[u8]) -> Option<bool> {
        let next = self.text[self.at..].get(..text.len())?;
        let is_here = next.eq_ignore_ascii_case(text);
        if !is_here && next.contains(&b'\\') {
            return None;
        }
        self.at += if is_here { text.len() } else { 0 };
        Some(is_here)
    }

    fn at(&self) -> usize {
        self.at
    }
}
