//! The request target, read once: the decision and the forwarded request come from the same value.
//!
//! A proxy that judges one reading of a path and forwards another can be tricked. So the target is split into segments,
//! each decoded exactly once; anything that two readers could understand differently is refused; and the forwarded path
//! is rebuilt from the parse. Escapes are kept where RFC 3986 gives them meaning (§2.2: `%2F` in a branch name is no
//! separator) and normalized where it does not (§6.2.2: `%6D` is `m`, hex digits in upper case).

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::repositories::RepositoryName;

/// Longest request target accepted, in bytes; a longer one gets 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// No real file name or parameter has more levels of nested escapes.
const DECODINGS_MAX: usize = 4;

/// Which of the API's path prefixes the request used; links in the response keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// As on api.github.com.
    Root,
    /// `/api/v3`, as on GitHub Enterprise Server.
    V3,
    /// `/api/uploads`, as on GitHub Enterprise Server.
    Uploads,
}

impl Prefix {
    /// The path prefix of a rewritten link to the API.
    ///
    /// A client of `/api/uploads` uses GitHub Enterprise Server's form, whose API is below `/api/v3`.
    pub fn for_links(self) -> &'static str {
        match self {
            Prefix::Root => "",
            Prefix::V3 | Prefix::Uploads => "/api/v3",
        }
    }
}

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetError {
    #[error("the path holds an empty segment (`//` or a slash at its end)")]
    EmptySegment,
    #[error("the path holds a `.` or `..` segment")]
    DotSegment,
    #[error("the path holds a backslash")]
    Backslash,
    #[error("the path or query holds a control character or a space")]
    Control,
    #[error("the path or query holds an incomplete percent escape")]
    Escape,
    #[error("the path does not decode to UTF-8")]
    Encoding,
    #[error("the path does not begin with a slash")]
    NoSlash,
    #[error("an escaped slash (%2F) stands where GitHub has no ref, label or path")]
    EscapedSlash,
    #[error("an escape decodes to another escape")]
    DoubleEscape,
    #[error("credentials don't belong in the query")]
    QueryCredential,
    #[error("`_method` does not change the method here")]
    MethodOverride,
}

/// One segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Decoded once.
    text: String,
    /// As forwarded, with escapes in normal form; `None` if that equals the text.
    encoded: Option<String>,
}

impl Segment {
    fn parse(raw: &str) -> Result<Segment, TargetError> {
        if raw.bytes().all(is_unreserved) && !matches!(raw, "" | "." | "..") {
            // Nearly every segment: nothing in it has a second reading.
            return Ok(Segment { text: raw.to_owned(), encoded: None });
        }
        check_escapes(raw)?;
        let text = percent_decode_str(raw).decode_utf8().map_err(|_| TargetError::Encoding)?.into_owned();
        if text.chars().any(char::is_control) || raw.contains(' ') {
            return Err(TargetError::Control);
        }
        if text.contains('\\') {
            return Err(TargetError::Backslash);
        }
        check_parts(&text)?;
        // A file may be called `100%25.txt`, but a second decoding must not make the name leave its folder.
        let mut again = text.clone();
        for round in 0.. {
            if first_escape(again.as_bytes(), 0).is_none() {
                break;
            }
            if round == DECODINGS_MAX {
                return Err(TargetError::DoubleEscape);
            }
            again = percent_decode_str(&again).decode_utf8_lossy().into_owned();
            check_parts(&again.replace('\\', "/")).or(Err(TargetError::DoubleEscape))?;
        }
        Ok(Segment { encoded: Some(normal_form(raw, &text)), text })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn encoded(&self) -> &str {
        self.encoded.as_deref().unwrap_or(&self.text)
    }

    /// Whether the decoded text contains a slash, sent as `%2F`.
    pub fn has_escaped_slash(&self) -> bool {
        self.text.contains('/')
    }

    /// Whether the decoded text would decode again (`%252F`).
    pub fn has_double_escape(&self) -> bool {
        first_escape(self.text.as_bytes(), 0).is_some()
    }
}

/// No part between slashes may be empty or a dot segment, not even after folding full-width dots and slashes into
/// plain ones.
fn check_parts(text: &str) -> Result<(), TargetError> {
    if text.contains(['．', '／', '＼', '；', '‥', '․']) {
        let narrow = text.replace(['．', '․'], ".").replace('‥', "..").replace(['／', '＼'], "/");
        return check_parts(&narrow.replace('；', ";"));
    }
    for part in text.split('/') {
        // Some servers drop `;…` from a segment before they look for dot segments.
        match part.split(';').next() {
            Some("." | "..") => return Err(TargetError::DotSegment),
            Some("") if part.is_empty() => return Err(TargetError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// Position of the first `%XX` at or after `from`.
fn first_escape(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len().saturating_sub(2))
        .find(|&i| bytes[i] == b'%' && bytes[i + 1].is_ascii_hexdigit() && bytes[i + 2].is_ascii_hexdigit())
}

/// Checks that every `%` starts an escape of two hex digits.
fn check_escapes(raw: &str) -> Result<(), TargetError> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|&b| b == b'%') {
        if first_escape(bytes, at + offset) != Some(at + offset) {
            return Err(TargetError::Escape);
        }
        at += offset + 3;
    }
    Ok(())
}

/// Writes a segment in the normal form of RFC 3986 §6.2.2: unreserved characters plain; reserved ones plain or
/// escaped as received (the two may differ in meaning); everything else escaped.
fn normal_form(raw: &str, decoded: &str) -> String {
    let mut out = String::with_capacity(decoded.len() + 8);
    let bytes = raw.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (byte, escaped) = match bytes[at] {
            b'%' => (hex(bytes[at + 1]) << 4 | hex(bytes[at + 2]), true),
            byte => (byte, false),
        };
        at += if escaped { 3 } else { 1 };
        push_encoded(&mut out, byte, is_unreserved(byte) || (!escaped && is_reserved_in_segment(byte)));
    }
    out
}

fn push_encoded(out: &mut String, byte: u8, is_plain: bool) {
    if is_plain {
        out.push(char::from(byte));
    } else {
        write!(out, "%{byte:02X}").expect("writing to a String can't fail");
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `sub-delims`, `:` and `@`: allowed unescaped in a path segment.
fn is_reserved_in_segment(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// A request target with exactly one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    prefix: Prefix,
    segments: Vec<Segment>,
    /// As forwarded, without the prefix.
    path: String,
    /// As forwarded.
    query: Option<String>,
    /// As received, if that differs.
    sent_query: Option<String>,
    graphql: bool,
    /// The path ended in a slash, which is only allowed for some reads.
    is_open: bool,
}

impl Target {
    /// Parses path and query as received, and removes the API's prefixes.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Target, TargetError> {
        let rest = path.strip_prefix('/').ok_or(TargetError::NoSlash)?;
        // `/api/v3/` is the API's root, which may always end in a slash.
        let rest = if rest.eq("api/v3/") { "api/v3" } else { rest };
        let before_slash = before_slash(rest);
        let (rest, is_open) = (before_slash.unwrap_or(rest), before_slash.is_some());
        let mut segments = Vec::with_capacity(8);
        if !rest.is_empty() {
            for raw in rest.split('/') {
                segments.push(Segment::parse(raw)?);
            }
        }
        let (prefix, graphql) = take_prefix(&mut segments);
        let open_end = if is_open { open_end(&segments).ok_or(TargetError::EmptySegment)? } else { "" };
        let path = write_path(&segments) + open_end;
        let sent = query.filter(|query| !query.is_empty());
        let query = sent.map(read_query).transpose()?;
        let sent_query = sent.filter(|sent| query.as_deref() != Some(*sent)).map(str::to_owned);
        Ok(Target { prefix, path, segments, query, sent_query, graphql, is_open })
    }

    pub fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Whether this is one of GraphQL's paths.
    pub fn is_graphql(&self) -> bool {
        self.graphql
    }

    /// Whether the path ended in a slash, which is only allowed for some reads.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The segments after the prefix.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The path as forwarded, without the prefix.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path and query as forwarded.
    pub fn path_and_query(&self) -> String {
        match self.query() {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Path and query in the one form that an approval is bound to, however the request spelled them: no prefix,
    /// ids replaced by names, owner and repository in lower case, escapes only where RFC 3986 (§3.3) needs them,
    /// and the query as sent.
    pub fn canonical(&self, repository: Option<&RepositoryName>, organization: Option<&str>) -> String {
        if self.graphql {
            return "/graphql".to_owned();
        }
        let mut path = String::with_capacity(64);
        let texts: Vec<&str> = self.segments.iter().take(5).map(Segment::text).collect();
        let taken = match (texts.as_slice(), repository, organization) {
            (["repos", _, _, ..], Some(repository), _) => {
                let _ = write!(path, "/repos/{repository}");
                3
            }
            (["repositories", _, ..], Some(repository), _) => {
                let _ = write!(path, "/repos/{repository}");
                2
            }
            (["agents", "repos", _, _, ..], Some(repository), _) => {
                let _ = write!(path, "/agents/repos/{repository}");
                4
            }
            (["organizations", _, ..], _, Some(login)) => {
                let _ = write!(path, "/orgs/{login}");
                2
            }
            _ => 0,
        };
        for segment in &self.segments[taken..] {
            path.push('/');
            for byte in segment.text.bytes() {
                push_encoded(&mut path, byte, is_unreserved(byte) || is_reserved_in_segment(byte));
            }
        }
        if path.is_empty() || self.path.ends_with('/') {
            path.push('/');
        }
        if let Some(query) = self.sent_query.as_ref().or(self.query.as_ref()) {
            path.push('?');
            path.push_str(query);
        }
        path
    }

    /// The query as forwarded, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The names of the query's parameters, decoded, in order.
    pub fn query_names(&self) -> Vec<String> {
        pairs(self.query().unwrap_or_default()).map(|(name, _)| name).collect()
    }

    /// Every value of a query parameter, decoded, in order.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        pairs(self.query().unwrap_or_default())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value)
            .collect()
    }
}

/// A path without its single final slash, plain or escaped; `None` if it ends in no slash or in several.
fn before_slash(path: &str) -> Option<&str> {
    let before = ["/", "%2F", "%2f"].iter().find_map(|slash| path.strip_suffix(slash))?;
    Some(before).filter(|before| !before.is_empty() && !before.ends_with('/'))
}

/// What is forwarded for a path's final slash; `None` where no such slash is allowed. Clients that leave a name
/// out send such paths, as PyGithub does for a repository's root directory; before refs the slash is part of the
/// name prefix.
fn open_end(segments: &[Segment]) -> Option<&'static str> {
    let texts: Vec<&str> = segments.iter().take(5).map(Segment::text).collect();
    let (["repos", _, _, below @ ..] | ["repositories", _, below @ ..]) = texts.as_slice() else {
        return None;
    };
    match below {
        ["contents" | "tarball" | "zipball", ..] => Some(""),
        ["git", "matching-refs", ..] => Some("/"),
        _ => None,
    }
}

fn write_path(segments: &[Segment]) -> String {
    let mut path = String::with_capacity(segments.iter().map(|segment| segment.encoded().len() + 1).sum());
    for segment in segments {
        path.push('/');
        path.push_str(segment.encoded());
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Removes `api/v3`, `api/uploads`, `graphql` and their combinations from the front.
fn take_prefix(segments: &mut Vec<Segment>) -> (Prefix, bool) {
    if !segments.first().is_some_and(|first| matches!(first.text(), "api" | "graphql")) {
        return (Prefix::Root, false);
    }
    let texts: Vec<&str> = segments.iter().take(4).map(Segment::text).collect();
    let (prefix, graphql, taken) = match texts.as_slice() {
        ["api", "graphql"] if segments.len() == 2 => (Prefix::V3, true, 2),
        ["api", "v3", "graphql"] if segments.len() == 3 => (Prefix::V3, true, 3),
        ["graphql"] if segments.len() == 1 => (Prefix::Root, true, 1),
        // octocrab also puts its base path in front of an upload URL's path.
        ["api", "v3", "api", "uploads"] => (Prefix::Uploads, false, 4),
        ["api", "v3", ..] => (Prefix::V3, false, 2),
        ["api", "uploads", ..] => (Prefix::Uploads, false, 2),
        _ => (Prefix::Root, false, 0),
    };
    segments.drain(..taken);
    (prefix, graphql)
}

/// Checks the query and returns it in the form to forward.
///
/// Escapes characters that RFC 3986 does not allow plain but clients send (`[`, `|`, non-ASCII letters).
fn read_query(query: &str) -> Result<String, TargetError> {
    check_escapes(query)?;
    if query.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(TargetError::Control);
    }
    // Some readers also split parameters at `;`, and some take `_Method[]` for `_method`.
    for (key, value) in query.split(';').flat_map(pairs) {
        match key.as_str() {
            // GitHub once accepted these; a credential in a URL ends up in every log along the way.
            "access_token" | "client_secret" => return Err(TargetError::QueryCredential),
            key if is_method_override(key) && !matches!(value.as_str(), "GET" | "HEAD" | "get" | "head") => {
                return Err(TargetError::MethodOverride);
            }
            _ => {}
        }
    }
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        let is_plain =
            is_unreserved(byte) || is_reserved_in_segment(byte) || matches!(byte, b'/' | b'?' | b'%');
        push_encoded(&mut out, byte, is_plain);
    }
    Ok(out)
}

fn is_method_override(key: &str) -> bool {
    let mut key = key.to_owned();
    for round in 0.. {
        if first_escape(key.as_bytes(), 0).is_none() {
            break;
        }
        // Refused whatever it hides at this depth: each round has to read all of it again.
        if round == DECODINGS_MAX {
            return true;
        }
        key = percent_decode_str(&key).decode_utf8_lossy().into_owned();
    }
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    letters.eq_ignore_ascii_case("method") && key.contains('_')
}

/// The parameters of a query, form-decoded: `+` is a space.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decode(key), form_decode(value))
    })
}

fn form_decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
