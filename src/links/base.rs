//! Compares the beginning of a URL with one base, letter by letter.
//!
//! Letter by letter, because in a JSON body letters may be escaped and some may not be there yet:
//! [`Probe::More`] says that what has come so far fits, and that the next letters decide.

/// The longest default port with its colon.
pub(super) const PORT_LEN_MAX: usize = ":443".len();

/// What the letters of a URL say about a base.
pub(super) enum Probe<T> {
    No,
    /// The letters end before it is decided.
    More,
    Yes(T),
}

/// One letter of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Letter {
    Byte(u8),
    /// A character no base has.
    Other,
    /// The URL ends here.
    End,
    /// The letters read so far end here, perhaps within an escape.
    More,
}

/// The letters of a URL.
pub(super) trait Letters {
    fn next(&mut self) -> Letter;

    /// Takes `text` at once, in any case, if it comes next. No letter of `text` may be one that
    /// JSON escapes. None if each letter has to be looked at: they may be escaped, or not all there yet.
    fn skip(&mut self, text: &[u8]) -> Option<bool>;

    /// How many bytes, as written, the letters so far took.
    fn at(&self) -> usize;
}

/// A whole URL without escapes.
pub(super) struct Plain<'a> {
    url: &'a [u8],
    at: usize,
}

impl<'a> Plain<'a> {
    pub(super) fn new(url: &'a [u8]) -> Plain<'a> {
        Plain { url, at: 0 }
    }
}

impl Letters for Plain<'_> {
    fn next(&mut self) -> Letter {
        let Some(&byte) = self.url.get(self.at) else { return Letter::End };
        self.at += 1;
        Letter::Byte(byte)
    }

    fn skip(&mut self, text: &[u8]) -> Option<bool> {
        let is_here = self.url[self.at..].get(..text.len())?.eq_ignore_ascii_case(text);
        self.at += if is_here { text.len() } else { 0 };
        Some(is_here)
    }

    fn at(&self) -> usize {
        self.at
    }
}

/// Where the parts of a base meet: `https://api.github.com` | `:443` | `/path` | `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seams {
    /// End of the host and of a non-default port; compared case-insensitively.
    host_end: usize,
    /// The host has no letter that JSON escapes. One that has is no valid host, but harmless.
    is_host_plain: bool,
    /// The default port, which a URL may spell out; empty if the base names another port.
    port: &'static str,
    /// The path, which is case-sensitive.
    path_start: usize,
    path_end: usize,
}

impl Seams {
    pub(super) fn of(base: &str) -> Seams {
        let (scheme, host_start) = base.split_once("://").map_or(("", 0), |(s, _)| (s, s.len() + 3));
        let path_end = base.trim_end_matches('/').len().max(host_start);
        let path_start = base[host_start..path_end].find('/').map_or(path_end, |n| host_start + n);
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let host = base[..path_start].strip_suffix(default_port).unwrap_or(&base[..path_start]);
        let after_brackets = &host[host.rfind(']').unwrap_or(host_start).min(host.len())..];
        let port = if after_brackets.contains(':') { "" } else { default_port };
        let is_host_plain = !host.contains(['"', '\\']);
        Seams { host_end: host.len(), is_host_plain, port, path_start, path_end }
    }

    /// Whether the URL begins with `base`, and if so, how many of its bytes that takes.
    pub(super) fn probe(&self, base: &str, mut letters: impl Letters) -> Probe<usize> {
        let base = base.as_bytes();
        let host = &base[..self.host_end];
        let host_left: &[u8] = match self.is_host_plain.then(|| letters.skip(host)).flatten() {
            Some(true) => b"",
            Some(false) => return Probe::No,
            None => host,
        };
        for expected in host_left {
            match letters.next() {
                Letter::Byte(byte) if byte.eq_ignore_ascii_case(expected) => {}
                Letter::More => return Probe::More,
                Letter::Byte(_) | Letter::Other | Letter::End => return Probe::No,
            }
        }
        let mut len = letters.at();
        let mut letter = letters.next();
        let port: &[u8] = if letter == Letter::Byte(b':') { self.port.as_bytes() } else { b"" };
        for expected in port.iter().chain(&base[self.path_start..self.path_end]) {
            match letter {
                Letter::Byte(byte) if byte == *expected => {}
                Letter::More => return Probe::More,
                Letter::Byte(_) | Letter::Other | Letter::End => return Probe::No,
            }
            len = letters.at();
            letter = letters.next();
        }
        match letter {
            Letter::End | Letter::Byte(b'/' | b'?' | b'#' | b'{') => Probe::Yes(len),
            Letter::More => Probe::More,
            Letter::Byte(_) | Letter::Other => Probe::No,
        }
    }
}
