//! One kept answer from GitHub: its headers without those of the single exchange, its body as received (perhaps
//! compressed), and the validators for asking GitHub again.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use headers::{HeaderMapExt, Vary};
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK, RETRY_AFTER, SET_COOKIE,
};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::etag::{self, Proofs};
use super::key::Key;
use super::owned;
use crate::github::tokens::Token;

/// Longest plain body that is kept, in bytes; bounds how far a tightly compressed body is unpacked.
pub const PLAIN_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest plain body, in bytes, whose tag is predicted: it has to be unpacked and hashed before the call is sent.
const FORETOLD_BYTES_MAX: usize = 1024 * 1024;
/// `Last-Modified` counts whole seconds: content that changed in the last two could change again without it showing.
const SETTLED_SECONDS: u64 = 2;
/// Estimated memory of one header besides its value, in bytes.
const HEADER_BYTES: usize = 72;
/// Estimated memory of an entry besides headers and body, in bytes.
const ENTRY_BYTES: usize = 400;
/// Base addresses for which a rewritten body of an entry is kept. Clients choose the name by which they call
/// tollgate, so beyond these a body is rewritten for each request.
const ADDRESSES_MAX: usize = 4;

/// Headers whose values share one allocation: those of an answer are slices of its connection's buffer.
type Head = Vec<(HeaderName, HeaderValue)>;

/// A kept answer.
#[derive(Debug)]
pub struct Entry {
    /// As in the last answer that had them.
    head: ArcSwap<Head>,
    body: Bytes,
    /// Length of the unpacked body in bytes.
    plain_bytes: usize,
    /// Our own entity tag.
    tag: HeaderValue,
    validators: Mutex<Validators>,
    written_for: Mutex<Vec<Box<str>>>,
    /// When GitHub was last asked and confirmed the entry, epoch milliseconds.
    checked_ms: AtomicI64,
    /// A last page that is exactly full. GitHub may answer 304 for it although there is a next page by now.
    is_full_last_page: bool,
    /// Shows work that GitHub has not finished and whose end no event reports.
    is_pending: bool,
}

/// What GitHub knows the entry by.
#[derive(Debug, Clone)]
struct Validators {
    etag: Option<HeaderValue>,
    /// Id of the token for which GitHub gave `etag`.
    token: u64,
    last_modified: Option<HeaderValue>,
}

/// How GitHub is asked whether an entry is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validator {
    /// By the tag that GitHub gave this token.
    Etag,
    /// By the tag that we predict GitHub would give this token.
    Foretold,
    LastModified,
    /// Unconditionally: the answer comes in full.
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

/// The request that an answer belongs to.
#[derive(Debug)]
pub struct Origin<'a> {
    pub key: &'a Key,
    pub token: &'a Token,
    /// When GitHub was asked, epoch milliseconds.
    pub asked_ms: i64,
    /// Page size, as requested.
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

/// Whether `no-store` appears anywhere: a misspelt directive must not be read as permission.
fn forbids_keeping(control: &HeaderValue) -> bool {
    let control = control.as_bytes().to_ascii_lowercase();
    memchr::memmem::find(&control, b"no-store").is_some()
}

fn is_gzip(coding: &HeaderValue) -> bool {
    coding.as_bytes().eq_ignore_ascii_case(b"gzip")
}

/// Whether the entry's value of a header counts, whatever a 304 says.
pub fn describes_body(name: &HeaderName) -> bool {
    [ETAG, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, LAST_MODIFIED].contains(name)
}

/// Whether a header describes the exchange rather than the content.
fn is_of_exchange(name: &HeaderName) -> bool {
    let is_named = [ETAG, CONTENT_LENGTH, AGE, RETRY_AFTER].contains(name);
    is_named || name.as_str().starts_with("x-ratelimit-") || name == "x-github-request-id"
}

impl Entry {
    /// Builds an entry from a complete answer that may be kept. Notes whether GitHub's tag was predicted correctly.
    ///
    /// `None` when the body can't be unpacked, or is too long unpacked.
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
        let lacks_next = !names_next(headers.get_all(LINK).iter());
        let is_json = content_type.ends_with("json");
        Some(Entry {
            head: ArcSwap::from_pointee(compact(headers.iter())),
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

    /// The condition with which to ask GitHub for the entry again with this token.
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

    /// GitHub confirmed the entry when asked at `asked_ms` (epoch milliseconds) with this token. What the answer says of
    /// anything but the body holds from now on (RFC 9111 §4.3.4).
    pub fn confirm(&self, answer: &HeaderMap, sent: &Condition, token: &Token, asked_ms: i64) {
        let mut known = self.validators();
        let named = match &sent.header {
            Some((name, value)) if *name == IF_NONE_MATCH => Some(value),
            _ => None,
        };
        // The tag sent is certainly right for this token; the answer's own tag counts only if none was sent.
        if let Some(etag) = named.or_else(|| answer.get(ETAG)) {
            known.etag = Some(owned(etag));
            known.token = token.id();
        }
        if self.checked_ms.fetch_max(asked_ms, Ordering::Relaxed) <= asked_ms {
            let before = self.head.load();
            let links = before.iter().filter(|(name, _)| name == LINK).map(|(_, value)| value);
            // Our tag, and whether the last page is full, were made for these.
            let keeps_links = names_next(links) != names_next(answer.get_all(LINK).iter());
            let is_said = |name: &HeaderName| !(describes_body(name) || keeps_links && name == LINK);
            let said = answer.iter().filter(|(name, _)| is_said(name));
            let unsaid = before.iter().map(|(name, value)| (name, value));
            let unsaid = unsaid.filter(|(name, _)| !is_said(name) || !answer.contains_key(*name));
            self.head.store(Arc::new(compact(unsaid.chain(said))));
        }
        drop(known);
    }

    /// When GitHub last confirmed the entry, epoch milliseconds.
    pub fn checked_ms(&self) -> i64 {
        self.checked_ms.load(Ordering::Relaxed)
    }

    pub fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Our own entity tag.
    pub fn tag(&self) -> &HeaderValue {
        &self.tag
    }

    /// GitHub's tag, as last heard.
    pub fn github_tag(&self) -> Option<HeaderValue> {
        self.validators().etag.clone()
    }

    /// Status, headers and body as GitHub sent them, but with our own tag.
    pub fn answer(&self) -> Response<Bytes> {
        let mut answer = Response::new(self.body.clone());
        let headers = answer.headers_mut();
        let head = self.head.load();
        headers.reserve(head.len() + 4);
        for (name, value) in head.iter() {
            headers.append(name.clone(), value.clone());
        }
        headers.insert(ETAG, self.tag.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        answer
    }

    /// Length of the unpacked body in bytes.
    pub fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// Whether a rewritten body is kept for this base address; the first `ADDRESSES_MAX` addresses are
    /// remembered.
    pub fn is_written_for(&self, address: &str) -> bool {
        let mut known = self.written_for.lock();
        let is_known = known.iter().any(|known| **known == *address);
        if !is_known && known.len() < ADDRESSES_MAX {
            known.push(address.into());
            return true;
        }
        is_known
    }

    /// The unpacked body; `None` when it can't be unpacked.
    pub fn plain(&self) -> Option<Bytes> {
        plain_of(&self.body, self.is_packed())
    }

    /// Memory it takes, in bytes.
    pub fn size(&self) -> usize {
        let head = self.head.load();
        let headers = head.iter().map(|(_, value)| value.len() + HEADER_BYTES);
        ENTRY_BYTES + headers.sum::<usize>() + self.body.len()
    }

    fn is_packed(&self) -> bool {
        self.head.load().iter().any(|(name, _)| name == CONTENT_ENCODING)
    }

    fn media_type(&self) -> String {
        let head = self.head.load();
        let value = head.iter().find(|(name, _)| name == CONTENT_TYPE);
        essence(value.map(|(_, value)| value))
    }

    fn validators(&self) -> parking_lot::MutexGuard<'_, Validators> {
        self.validators.lock()
    }
}

/// Whether there is a next page.
fn names_next<'a>(mut links: impl Iterator<Item = &'a HeaderValue>) -> bool {
    links.any(|link| {
        link.to_str().is_ok_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))
    })
}

/// The headers to keep, with their values in one allocation.
fn compact<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Head {
    let kept: Vec<_> = headers.filter(|(name, _)| !is_of_exchange(name)).collect();
    let all: Bytes = kept.iter().flat_map(|(_, value)| value.as_bytes()).copied().collect::<Vec<u8>>().into();
    let mut at = 0;
    let values = kept.into_iter().map(|(name, value)| {
        let part = all.slice(at..at + value.len());
        at += value.len();
        (name.clone(), HeaderValue::from_maybe_shared(part).expect("it was one before"))
    });
    values.collect()
}

/// The unpacked body; `None` when it can't be unpacked or would be too long.
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

/// The unpacked length that gzip data declares in its last four bytes (RFC 1952 §2.3.1).
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

/// Whether the last change was long enough before the answer for `Last-Modified` to be reliable.
fn is_settled(headers: &HeaderMap) -> bool {
    let time = |name: &HeaderName| {
        let text = headers.get(name)?.to_str().ok()?;
        httpdate::parse_http_date(text).ok()
    };
    let (Some(modified), Some(date)) = (time(&LAST_MODIFIED), time(&DATE)) else { return false };
    date.duration_since(modified).is_ok_and(|age| age.as_secs() >= SETTLED_SECONDS)
}

/// GitHub computes `mergeable` after it has answered, and no event reports when it is done.
fn shows_pending(plain: &[u8]) -> bool {
    let text = String::from_utf8_lossy(plain);
    ["\"mergeable\":null", "\"mergeable\": null"].into_iter().any(|sign| text.contains(sign))
}

/// An object's member; only lists matter.
#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    List(Vec<IgnoredAny>),
    Other(IgnoredAny),
}

/// Whether the body is a list of exactly `count`, or an object with such a list beside its `total_count`.
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
