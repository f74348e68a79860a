//! What a head and a chunked body must look like before hyper sees a byte of them.
//!
//! RFC 9112 leaves room for two parsers to disagree about where a message ends, and request
//! smuggling lives in that room. Everything in it is refused (RFC 9112 §§2.2, 3, 5, 6): a bare CR
//! or LF, folded lines, a space before a colon, NUL, anything but exactly one `Host`, both
//! `Content-Length` and `Transfer-Encoding`, either of them twice, any transfer coding but
//! `chunked`, chunk extensions. This module only refuses; hyper remains the parser.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::error::ProxyError;
use crate::policy::target::TARGET_BYTES_MAX;

/// The longest head accepted, in bytes; a longer one gets a 431.
pub(in crate::proxy) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most header fields accepted; more get a 431.
pub(in crate::proxy) const FIELDS_MAX: usize = 100;
/// The longest request line, in bytes: target, method and version.
const REQUEST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 64;
/// The longest chunk-size line and the longest trailer section, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 20;
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// The first byte that a TLS client sends: a record of type `handshake` (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// How the body of a checked head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Length(u64),
    Chunked,
}

/// The empty line that ends a head.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// The position after the empty line that ends the head, if it has arrived.
///
/// The first `searched` bytes were looked at before and hold no end.
pub(super) fn head_end(buffer: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    EMPTY_LINE.find(&buffer[from..]).map(|at| from + at + 4)
}

/// Refuses a head that is too long already, though not all of it has arrived, or that is none.
pub(super) fn check_growth(buffer: &[u8]) -> Result<(), ProxyError> {
    // Its caller would wait for the rest of the handshake, and learn nothing.
    if buffer.first() == Some(&TLS_HANDSHAKE) {
        return Err(bad("it begins a TLS handshake, and plain HTTP is spoken here; use http://"));
    }
    if buffer.len() > REQUEST_LINE_BYTES_MAX && !buffer[..REQUEST_LINE_BYTES_MAX].contains(&b'\n') {
        return Err(ProxyError::UriTooLong);
    }
    if buffer.len() > HEAD_BYTES_MAX { Err(ProxyError::HeadersTooLarge) } else { Ok(()) }
}

/// Checks a whole head, empty line included.
pub(super) fn check_head(head: &[u8]) -> Result<BodyFraming, ProxyError> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or(ProxyError::Internal)?;
    let mut lines = Lines { rest: Some(text) };
    let is_http_11 = check_request_line(lines.next().ok_or_else(|| bad("there is no request line"))??)?;
    if head.len() > HEAD_BYTES_MAX {
        return Err(ProxyError::HeadersTooLarge);
    }
    let (mut fields, mut hosts) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = check_field(line?)?;
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(ProxyError::HeadersTooLarge);
        }
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(read_length(value)?).is_some() {
                return Err(bad("Content-Length came more than once"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") || !is_http_11 {
                return Err(bad("the only transfer coding taken is one `chunked`, over HTTP/1.1"));
            }
            chunked = true;
        }
    }
    if hosts != 1 {
        return Err(bad("there must be exactly one Host"));
    }
    match (chunked, length) {
        (true, Some(_)) => Err(bad("there are both Content-Length and Transfer-Encoding")),
        (true, None) => Ok(BodyFraming::Chunked),
        (false, length) => Ok(BodyFraming::Length(length.unwrap_or(0))),
    }
}

/// Lines that end in CR LF and hold neither otherwise.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], ProxyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let line = match memchr::memchr(b'\n', rest) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                rest[..end].strip_suffix(b"\r")
            }
            None => Some(rest),
        };
        let clean = line.filter(|line| memchr::memchr2(b'\r', 0, line).is_none());
        Some(clean.ok_or_else(|| bad("a line holds a bare CR or LF, or NUL")))
    }
}

/// Checks `METHOD SP target SP HTTP/1.x`; returns whether it is HTTP/1.1.
fn check_request_line(line: &[u8]) -> Result<bool, ProxyError> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next()) else {
        return Err(bad("the request line is not `METHOD target HTTP/1.1`"));
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(ProxyError::UriTooLong);
    }
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(bad("the method is not one of the API's"));
    }
    let is_plain = target.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    // `*` asks about the server itself, and `host:port` asks for a tunnel: neither is served. A
    // fragment never belongs in a request.
    let is_form =
        target.first() == Some(&b'/') || target.starts_with(b"http://") || target.starts_with(b"https://");
    // Refuses here, in our shape, what hyper's parser would refuse.
    if !is_plain || !is_form || target.contains(&b'#') || http::Uri::try_from(target).is_err() {
        return Err(bad("the request target is not a path or an absolute URL"));
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(bad("the protocol is not HTTP/1.1")),
    }
}

/// Checks `name: value`; returns both, the value trimmed.
fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), ProxyError> {
    let colon = memchr::memchr(b':', line).ok_or_else(|| bad("a header line has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(bad("a header name holds a character that no name has, or a line is folded"));
    }
    // Without a way out in the middle, so that many bytes are looked at at once.
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    if value.iter().fold(false, |found, &byte| found | is_control(byte)) {
        return Err(bad("a header value holds a control character"));
    }
    Ok((name, value.trim_ascii()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^'..=b'`' | b'|' | b'~')
}

fn read_length(value: &[u8]) -> Result<u64, ProxyError> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| plain).and_then(|text| text.parse().ok());
    number.ok_or_else(|| bad("Content-Length is not a number"))
}

fn bad(why: &str) -> ProxyError {
    ProxyError::BadRequest(format!("The request is not plain HTTP: {why}."))
}

/// Follows a body to its end.
#[derive(Debug)]
pub(super) enum BodyTracker {
    Length(u64),
    /// Reading a chunk-size line.
    Size {
        line: Vec<u8>,
    },
    /// The bytes left of a chunk's data, and of the CR LF after it.
    Data {
        left: u64,
        line_end: u8,
    },
    /// The trailer section.
    Trailers {
        line: Vec<u8>,
        seen: usize,
    },
    Ended,
}

impl BodyTracker {
    pub(super) fn new(framing: BodyFraming) -> BodyTracker {
        match framing {
            BodyFraming::Length(0) => BodyTracker::Ended,
            BodyFraming::Length(length) => BodyTracker::Length(length),
            BodyFraming::Chunked => BodyTracker::Size { line: Vec::new() },
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, BodyTracker::Ended)
    }

    /// How many of these bytes belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, ProxyError> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            at += self.step(&bytes[at..])?;
        }
        Ok(at)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, ProxyError> {
        match self {
            BodyTracker::Length(left) => {
                let taken = clamp(*left, bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = BodyTracker::Ended;
                }
                Ok(taken)
            }
            BodyTracker::Size { line } => {
                let (taken, ended) = take_line(line, bytes, CHUNK_LINE_BYTES_MAX)?;
                if ended {
                    *self = match chunk_size(line)? {
                        0 => BodyTracker::Trailers { line: Vec::new(), seen: 0 },
                        size => BodyTracker::Data { left: size, line_end: 2 },
                    };
                }
                Ok(taken)
            }
            BodyTracker::Data { left: 0, line_end } => {
                let expected = if *line_end == 2 { b'\r' } else { b'\n' };
                if bytes[0] != expected {
                    return Err(bad("a chunk does not end where its size says"));
                }
                *line_end -= 1;
                if *line_end == 0 {
                    *self = BodyTracker::Size { line: Vec::new() };
                }
                Ok(1)
            }
            BodyTracker::Data { left, .. } => {
                let taken = clamp(*left, bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            BodyTracker::Trailers { line, seen } => {
                let (taken, ended) = take_line(line, bytes, TRAILER_BYTES_MAX)?;
                *seen += taken;
                if *seen > TRAILER_BYTES_MAX {
                    return Err(ProxyError::HeadersTooLarge);
                }
                if ended {
                    match line.strip_suffix(b"\r\n") {
                        Some(b"") => *self = BodyTracker::Ended,
                        Some(field) => {
                            check_field(field)?;
                            line.clear();
                        }
                        None => return Err(bad("a trailer holds a bare LF")),
                    }
                }
                Ok(taken)
            }
            BodyTracker::Ended => Ok(0),
        }
    }
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

/// Adds bytes to a line up to its LF; returns how many were taken and whether the line has ended.
fn take_line(line: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<(usize, bool), ProxyError> {
    let end = memchr::memchr(b'\n', bytes);
    let taken = end.map_or(bytes.len(), |end| end + 1);
    if line.len() + taken > limit {
        return Err(bad("a chunk's size line or a trailer is too long"));
    }
    line.extend_from_slice(&bytes[..taken]);
    Ok((taken, end.is_some()))
}

/// Reads hex digits and CR LF. Extensions are refused, since nobody here reads them.
fn chunk_size(line: &[u8]) -> Result<u64, ProxyError> {
    let digits = line.strip_suffix(b"\r\n").unwrap_or_default();
    let plain = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(digits)
        .ok()
        .filter(|_| plain)
        .and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| bad("a chunk's size is not a plain number"))
}

#[cfg(test)]
mod tests;
