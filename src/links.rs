//! Rewrites links in GitHub's answers so that they lead through the proxy.
//!
//! GitHub writes absolute URLs into `Location`, `Link` and most JSON objects, and clients follow
//! them verbatim, with the credential. So each must name the address the client dialed, and carry
//! the path prefix of its request: several clients assert both. A [`LinkMap`] knows the addresses
//! of one request; [`json`] and [`body`] apply it to bodies as they stream by.
//!
//! A URL is rewritten only if a base is followed by the end of the URL or by `/`, `?`, `#` or `{`
//! (a URI template). Anything else names another host or is text, and stays as it is.

pub mod body;
pub mod json;

mod base;
mod header;

#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use base::{Letters, Plain, Probe, Seams};

/// A base of GitHub's addresses, and which of ours takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkBase {
    /// Such as `https://api.github.com`, without a trailing slash.
    pub base: String,
    /// An uploads base becomes `/api/uploads`, any other the prefix the request used.
    pub uploads: bool,
    seams: Seams,
}

impl LinkBase {
    pub fn new(base: String, uploads: bool) -> LinkBase {
        LinkBase { seams: Seams::of(&base), base, uploads }
    }
}

/// GitHub's bases, and what takes their place in the answer to one request.
#[derive(Debug, Clone)]
pub struct LinkMap {
    bases: Arc<[LinkBase]>,
    origin: String,
    api: Target,
    uploads: Target,
}

/// What takes a base's place: the origin and a prefix, written when the first link is found.
#[derive(Debug, Clone)]
struct Target {
    prefix: &'static str,
    written: OnceCell<Written>,
}

#[derive(Debug, Clone)]
struct Written {
    plain: String,
    /// The same text as the inside of a JSON string.
    json: Bytes,
}

/// A URL that begins with a base.
struct Found<'a> {
    /// How many bytes the base takes, as written.
    len: usize,
    target: &'a Written,
}

impl LinkMap {
    /// The map for a client that dialed `origin` (`http://host:port`) and put `prefix` (`""`,
    /// `"/api/v3"`) before its path. The first base that fits is taken, so longer bases must come first.
    pub fn new(
        bases: Arc<[LinkBase]>,
        origin: &str,
        prefix: &'static str,
        uploads_prefix: &'static str,
    ) -> LinkMap {
        let target = |prefix| Target { prefix, written: OnceCell::new() };
        LinkMap { bases, origin: origin.to_owned(), api: target(prefix), uploads: target(uploads_prefix) }
    }

    /// The URL at the proxy that answers for `url`; none if `url` isn't one of GitHub's API.
    pub fn rewrite(&self, url: &str) -> Option<String> {
        let found = self.find_plain(url.as_bytes())?;
        Some(format!("{}{}", found.target.plain, &url[found.len..]))
    }

    /// The rewritten `Location`; none if it doesn't lead to GitHub's API.
    pub fn rewrite_location(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let url = value.as_bytes();
        let found = self.find_plain(url)?;
        HeaderValue::from_bytes(&[found.target.plain.as_bytes(), &url[found.len..]].concat()).ok()
    }

    /// `Link` with those targets changed that lead to GitHub's API. None if no target does, or if
    /// the value isn't valid by RFC 8288.
    pub fn rewrite_link_header(&self, value: &HeaderValue) -> Option<HeaderValue> {
        header::rewrite_link(self, value)
    }

    fn find_plain(&self, url: &[u8]) -> Option<Found<'_>> {
        match self.probe(|| Plain::new(url)) {
            Probe::Yes(found) => Some(found),
            Probe::No | Probe::More => None,
        }
    }

    /// Whether a URL begins with one of the bases. `letters` gives its letters from the start.
    fn probe<L: Letters>(&self, letters: impl Fn() -> L) -> Probe<Found<'_>> {
        for base in self.bases.iter() {
            match base.seams.probe(&base.base, letters()) {
                Probe::No => {}
                Probe::More => return Probe::More,
                Probe::Yes(len) => {
                    let target = if base.uploads { &self.uploads } else { &self.api };
                    return Probe::Yes(Found { len, target: target.written(&self.origin) });
                }
            }
        }
        Probe::No
    }

    /// How many letters of a URL decide whether it begins with one of the bases.
    fn letters_max(&self) -> usize {
        self.bases.iter().map(|base| base.base.len() + base::PORT_LEN_MAX + 1).max().unwrap_or(1)
    }
}

impl Target {
    fn written(&self, origin: &str) -> &Written {
        self.written.get_or_init(|| {
            let plain = [origin, self.prefix].concat();
            let quoted = serde_json::to_vec(&plain).expect("a string is always JSON");
            let json = Bytes::from(quoted).slice(1..);
            Written { json: json.slice(..json.len() - 1), plain }
        })
    }
}
