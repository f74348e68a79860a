//! One answer of GitHub's as it is kept: its head without what concerned one exchange, its body as it
//! came, packed or not, and what it can be asked for anew with.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use headers::{HeaderMapExt, Vary};
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK, RETRY_AFTER, SET_COOKIE,
};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::etag::{self, Proofs};
use super::key::Key;
use super::owned;
use crate::github::tokens::Token;

/// Longest plain body that is kept: what is packed tightly is not unpacked without end.
pub const PLAIN_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest plain body whose tag is foretold: it has to be unpacked and hashed before the call goes up.
const FORETOLD_BYTES_MAX: usize = 1024 * 1024;
/// `Last-Modified` counts whole seconds: what changed within the last two could change again unseen.
const SETTLED_SECONDS: u64 = 2;
/// What one header takes beside its value.
const HEADER_BYTES: usize = 72;
const ENTRY_BYTES: usize = 400;
/// Addresses for which an entry is kept as it is written for those who come by them. Clients choose what they call
/// tollgate, so others are only served.
const ADDRESSES_MAX: usize = 4;

/// A kept answer.
#[derive(Debug)]
pub struct Entry {
    /// Values lie in one allocation: those of an answer are parts of its connection's buffer.
    head: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Bytes of the body unpacked.
    plain_bytes: usize,
    /// Our own tag.
    tag: HeaderValue,
    validators: Mutex<Validators>,
    written_for: Mutex<Vec<Box<str>>>,
    /// When GitHub was last asked and said that it is so, epoch milliseconds.
    checked_ms: AtomicI64,
    /// A list that is exactly full and the last one. GitHub may answer 304 for it although a next page
    /// has come to be.
    is_full_last_page: bool,
    /// It shows work GitHub has not ended yet, whose end no event tells.
    is_pending: bool,
}

/// What GitHub knows the entry by.
#[derive(Debug, Clone)]
struct Validators {
    etag: Option<HeaderValue>,
    /// Which token `etag` was given to.
    token: u64,
    last_modified: Option<HeaderValue>,
}

/// How GitHub is asked whether something is still so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validator {
    /// By the tag it gave to this token.
    Etag,
    /// By the tag it would give to this token.
    Foretold,
    LastModified,
    /// Not at all: the answer comes whole.
    Plain,
}

impl Validator {
    pub fn as_str(self) -> &'static str {
        match self {
            Validator::Etag => "etag",
            Validator::Foretold => "predicted",
            Validator::LastModified => "last_modified",
            Validator::Plain => "plain",
        }
    }
}

/// A condition for GitHub.
#[derive(Debug, Clone)]
pub struct Condition {
    pub by: Validator,
    pub header: Option<(HeaderName, HeaderValue)>,
}

/// What an answer belongs to and came by.
#[derive(Debug)]
pub struct Origin<'a> {
    pub key: &'a Key,
    pub token: &'a Token,
    /// When GitHub was asked, epoch milliseconds.
    pub asked_ms: i64,
    /// Entries of a page as asked for.
    pub per_page: usize,
}

/// Whether an answer with this head may be kept.
pub fn may_be_kept(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_private_to_one = headers.contains_key(SET_COOKIE) || headers.contains_key(CONTENT_RANGE);
    let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    let is_any = headers.typed_get::<Vary>().is_some_and(|vary| vary.is_any());
    let codings: Vec<&HeaderValue> = headers.get_all(CONTENT_ENCODING).iter().collect();
    let is_readable = codings.is_empty() || (codings.len() == 1 && is_gzip(codings[0]));
    status == StatusCode::OK
        && has_validator
        && is_readable
        && !is_private_to_one
        && !is_any
        && !headers.get_all(CACHE_CONTROL).iter().any(forbids_keeping)
}

/// Whether it has `no-store` anywhere: a directive that is misspelt is not taken for leave.
fn forbids_keeping(control: &HeaderValue) -> bool {
    let control = control.as_bytes().to_ascii_lowercase();
    memchr::memmem::find(&control, b"no-store").is_some()
}

fn is_gzip(coding: &HeaderValue) -> bool {
    coding.as_bytes().eq_ignore_ascii_case(b"gzip")
}

/// Whether a header concerns the exchange and not what was asked for.
fn is_of_exchange(name: &HeaderName) -> bool {
    let is_named = [ETAG, CONTENT_LENGTH, AGE, RETRY_AFTER].contains(name);
    is_named || name.as_str().starts_with("x-ratelimit-") || name == "x-github-request-id"
}

impl Entry {
    /// From an answer that may be kept, and all of its body. Notes whether GitHub's tag was as foretold.
    ///
    /// None when the body can't be unpacked, or is too long so.
    pub fn new(headers: &HeaderMap, body: Bytes, origin: &Origin<'_>, proofs: &Proofs) -> Option<Entry> {
        let plain = plain_of(&body, headers.contains_key(CONTENT_ENCODING))?;
        let token = origin.token;
        let etag = headers.get(ETAG).map(owned);
        let content_type = media_type(headers);
        if let Some(etag) = etag.as_ref().filter(|_| origin.key.has_one_accept()) {
            let foretold = etag::foretold(origin.key.accept(), &token.authorization(), &plain);
            proofs.note(&content_type, etag::holds(etag, &foretold));
        }
        let last_modified = headers.get(LAST_MODIFIED).filter(|_| is_settled(headers)).map(owned);
        let lacks_next = !headers.get_all(LINK).iter().any(|link| {
            link.to_str().is_ok_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))
        });
        let is_json = content_type.ends_with("json");
        Some(Entry {
            head: compact(headers),
            tag: etag::own(&plain, !lacks_next),
            written_for: Mutex::default(),
            validators: Mutex::new(Validators { etag, token: token.id(), last_modified }),
            checked_ms: AtomicI64::new(origin.asked_ms),
            is_full_last_page: is_json && lacks_next && holds_list_of(&plain, origin.per_page),
            is_pending: is_json && shows_pending(&plain),
            plain_bytes: plain.len(),
            body,
        })
    }

    /// How GitHub is asked for it anew with this token.
    pub fn condition(&self, key: &Key, token: &Token, proofs: &Proofs) -> Condition {
        let plain = Condition { by: Validator::Plain, header: None };
        if self.is_full_last_page {
            return plain;
        }
        let known = self.validators().clone();
        if let Some(etag) = known.etag.as_ref().filter(|_| known.token == token.id()) {
            return Condition { by: Validator::Etag, header: Some((IF_NONE_MATCH, etag.clone())) };
        }
        if known.etag.is_some()
            && key.has_one_accept()
            && self.plain_bytes <= FORETOLD_BYTES_MAX
            && proofs.hold(&self.media_type())
            && let Some(body) = self.plain()
        {
            let etag = etag::foretold(key.accept(), &token.authorization(), &body);
            let etag = HeaderValue::try_from(format!("W/\"{etag}\"")).expect("hex is fit for a header");
            return Condition { by: Validator::Foretold, header: Some((IF_NONE_MATCH, etag)) };
        }
        match known.last_modified {
            Some(time) => Condition { by: Validator::LastModified, header: Some((IF_MODIFIED_SINCE, time)) },
            None => plain,
        }
    }

    /// GitHub said that it is still so, when it was asked at this time with this token.
    pub fn confirm(&self, answer: &HeaderMap, sent: &Condition, token: &Token, asked_ms: i64) {
        let mut known = self.validators();
        let named = match &sent.header {
            Some((name, value)) if *name == IF_NONE_MATCH => Some(value),
            _ => None,
        };
        // What was asked by is certainly its tag; what the answer says is believed where nothing was named.
        if let Some(etag) = named.or_else(|| answer.get(ETAG)) {
            known.etag = Some(owned(etag));
            known.token = token.id();
        }
        drop(known);
        self.checked_ms.fetch_max(asked_ms, Ordering::Relaxed);
    }

    /// When GitHub last said that it is so, epoch milliseconds.
    pub fn checked_ms(&self) -> i64 {
        self.checked_ms.load(Ordering::Relaxed)
    }

    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Our own tag.
    pub fn tag(&self) -> &HeaderValue {
        &self.tag
    }

    /// GitHub's tag, as last heard.
    pub fn github_tag(&self) -> Option<HeaderValue> {
        self.validators().etag.clone()
    }

    /// Status, head and body as GitHub sent them, under our own tag.
    pub fn answer(&self) -> Response<Bytes> {
        let mut answer = Response::new(self.body.clone());
        let headers = answer.headers_mut();
        headers.reserve(self.head.len() + 4);
        for (name, value) in &self.head {
            headers.append(name.clone(), value.clone());
        }
        headers.insert(ETAG, self.tag.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        answer
    }

    /// Bytes of the body unpacked.
    pub fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// Whether it is kept as written for this address, too; it remembers the first few.
    pub fn is_written_for(&self, address: &str) -> bool {
        let mut known = self.written_for.lock().expect("nothing panics while it holds this lock");
        let is_known = known.iter().any(|known| **known == *address);
        if !is_known && known.len() < ADDRESSES_MAX {
            known.push(address.into());
            return true;
        }
        is_known
    }

    /// The body unpacked; none when it can't be.
    pub fn plain(&self) -> Option<Bytes> {
        plain_of(&self.body, self.is_packed())
    }

    /// Bytes it takes.
    pub fn size(&self) -> usize {
        let head = self.head.iter().map(|(_, value)| value.len() + HEADER_BYTES);
        ENTRY_BYTES + head.sum::<usize>() + self.body.len()
    }

    fn is_packed(&self) -> bool {
        self.head.iter().any(|(name, _)| name == CONTENT_ENCODING)
    }

    fn media_type(&self) -> String {
        let value = self.head.iter().find(|(name, _)| name == CONTENT_TYPE);
        essence(value.map(|(_, value)| value))
    }

    fn validators(&self) -> std::sync::MutexGuard<'_, Validators> {
        self.validators.lock().expect("nothing panics while it holds this lock")
    }
}

/// The headers that are kept, their values in one allocation.
fn compact(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let kept = || headers.iter().filter(|(name, _)| !is_of_exchange(name));
    let all: Bytes = kept().flat_map(|(_, value)| value.as_bytes()).copied().collect::<Vec<u8>>().into();
    let mut at = 0;
    let values = kept().map(|(name, value)| {
        let part = all.slice(at..at + value.len());
        at += value.len();
        (name.clone(), HeaderValue::from_maybe_shared(part).expect("it was one before"))
    });
    values.collect()
}

/// The body unpacked; none when it can't be, or is too long so.
fn plain_of(body: &Bytes, packed: bool) -> Option<Bytes> {
    if !packed {
        return Some(body.clone());
    }
    let length = announced(body).filter(|length| *length <= PLAIN_BYTES_MAX)?;
    let mut text = Vec::with_capacity(usize::try_from(length).ok()?);
    let mut decoder = MultiGzDecoder::new(&body[..]).take(length + 1);
    decoder.read_to_end(&mut text).ok()?;
    (text.len() as u64 == length).then(|| text.into())
}

/// How long packed text says it is unpacked, in its last four bytes (RFC 1952 §2.3.1).
pub fn announced(packed: &[u8]) -> Option<u64> {
    let (_, last) = packed.split_last_chunk::<4>()?;
    Some(u32::from_le_bytes(*last).into())
}

fn media_type(headers: &HeaderMap) -> String {
    essence(headers.get(CONTENT_TYPE))
}

fn essence(content_type: Option<&HeaderValue>) -> String {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether what changed last did so long enough before the answer.
fn is_settled(headers: &HeaderMap) -> bool {
    let time = |name: &HeaderName| {
        let text = headers.get(name)?.to_str().ok()?;
        httpdate::parse_http_date(text).ok()
    };
    let (Some(modified), Some(date)) = (time(&LAST_MODIFIED), time(&DATE)) else { return false };
    date.duration_since(modified).is_ok_and(|age| age.as_secs() >= SETTLED_SECONDS)
}

/// `mergeable` is computed behind the answer, and no event says when it is.
fn shows_pending(plain: &[u8]) -> bool {
    let text = String::from_utf8_lossy(plain);
    ["\"mergeable\":null", "\"mergeable\": null"].into_iter().any(|sign| text.contains(sign))
}

/// A member of an object, as far as it is of interest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    List(Vec<IgnoredAny>),
    Other(IgnoredAny),
}

/// Whether it is a list of exactly `count`, or holds one beside its `total_count`.
fn holds_list_of(plain: &[u8], count: usize) -> bool {
    if let Ok(list) = serde_json::from_slice::<Vec<IgnoredAny>>(plain) {
        return list.len() == count;
    }
    if !String::from_utf8_lossy(plain).contains("\"total_count\"") {
        return false;
    }
    let members: Result<HashMap<String, Member>, _> = serde_json::from_slice(plain);
    members.is_ok_and(|members| {
        members.values().any(|member| matches!(member, Member::List(list) if list.len() == count))
    })
}

#[cfg(test)]
mod tests;
