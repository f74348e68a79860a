//! Makes a cache entry of GitHub's answer. Short answers are read whole first; longer ones are
//! passed on to the caller while they are kept. An answer that breaks off or grows past a bound is not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::read::{Asked, Read};
use crate::cache::Cache;
use crate::cache::entry::{Entry, Origin, announced, may_be_kept};
use crate::cache::key::Key;
use crate::error::ProxyError;
use crate::github::client::BoxError;
use crate::github::tokens::Token;
use crate::proxy::Proxy;
use crate::proxy::body::{ResponseBody, full};
use crate::proxy::context::Context;
use crate::proxy::settle::Answer;

/// Bodies up to this many bytes are read whole before the caller gets any of it.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// But for no longer than this: then the caller, and all who wait for the same answer, get what has
/// come so far, and the rest as it comes.
const WHOLE_WITHIN: Duration = Duration::from_secs(5);
/// First room for a body of unannounced length, in bytes; it grows with the body.
const UNANNOUNCED_BYTES: u64 = 32 * 1024;
/// Entries longer than this, in bytes, are made on a blocking thread.
const LONG_BYTES: u64 = 128 * 1024;

/// What became of an answer.
pub(super) enum Kept {
    Whole {
        entry: Arc<Entry>,
        /// The answer's headers, of which the entry keeps only a part.
        head: HeaderMap,
    },
    /// Not kept for others, or not yet.
    Passing(Answer),
}

/// All it takes to make an entry once the body has arrived.
struct Recipe {
    cache: Arc<Cache>,
    key: Key,
    head: HeaderMap,
    token: Arc<Token>,
    asked_ms: i64,
    per_page: usize,
}

impl Recipe {
    /// Makes the entry, on a blocking thread if it is long; none if the body can't be read.
    async fn make(self, body: Bytes) -> Option<Arc<Entry>> {
        let is_packed = self.head.contains_key(CONTENT_ENCODING);
        // The unpacked body takes room just as the arriving one does.
        let (plain, room) = match is_packed {
            true => {
                let plain = announced(&body)?;
                (plain, Some(self.cache.room(plain)?))
            }
            false => (body.len() as u64, None),
        };
        let is_long = plain > LONG_BYTES;
        let make = move || {
            let _room = room;
            let Recipe { cache, key, head, token, asked_ms, per_page } = self;
            let origin = Origin { key: &key, token: &token, asked_ms, per_page };
            let entry = Arc::new(Entry::new(&head, body, &origin, &cache.proofs)?);
            cache.insert(&key, &entry);
            Some(entry)
        };
        match is_long {
            true => tokio::task::spawn_blocking(make).await.ok().flatten(),
            false => make(),
        }
    }
}

/// The beginning of a body.
enum Begun {
    Whole(Bytes),
    /// More than the limit, or not all within the time.
    Longer(Bytes, ResponseBody),
    Broken,
}

impl Proxy {
    /// Keeps an answer if it may be kept.
    ///
    /// # Errors
    /// If it broke off before the caller got any of it.
    pub(super) async fn keep(
        &self,
        read: &Read,
        asked: &Asked,
        answer: Answer,
        ctx: &mut Context,
    ) -> Result<Kept, ProxyError> {
        let body_max = self.cache.body_max();
        let whole_max = WHOLE_BYTES_MAX.min(body_max);
        let announced = answer.body().size_hint().exact();
        if answer.status().is_server_error() {
            // Says nothing about the entry there is.
            return Ok(Kept::Passing(answer));
        }
        let may_be_kept = may_be_kept(answer.status(), answer.headers())
            && has_an_end(&answer)
            && announced.is_none_or(|length| length <= body_max);
        let reserved = announced.unwrap_or(UNANNOUNCED_BYTES.min(whole_max));
        let room = self.cache.room(reserved).filter(|_| may_be_kept);
        let Some(room) = room else {
            // This answer supersedes the entry, and can't take its place.
            self.cache.remove(&read.key);
            return Ok(Kept::Passing(answer));
        };
        let mut rooms = Rooms { taken: vec![room], reserved };
        let (head, body) = answer.into_parts();
        let recipe = Recipe {
            cache: Arc::clone(&self.cache),
            key: read.key.clone(),
            head: head.headers.clone(),
            token: Arc::clone(&asked.token),
            asked_ms: asked.at_ms,
            per_page: read.per_page,
        };
        let begun = match announced {
            Some(length) if length > whole_max => Begun::Longer(Bytes::new(), body),
            announced => {
                let since = Instant::now();
                let until = since + WHOLE_WITHIN;
                let begun = begin(body, announced, whole_max, until, &self.cache, &mut rooms).await;
                ctx.upstream += since.elapsed();
                begun
            }
        };
        match begun {
            Begun::Whole(body) => Ok(match recipe.make(body.clone()).await {
                Some(entry) => Kept::Whole { entry, head: head.headers },
                None => Kept::Passing(Response::from_parts(head, full(body))),
            }),
            Begun::Longer(begun, rest) => {
                let keeping = Keeping {
                    begun: Some(begun).filter(|begun| !begun.is_empty()),
                    rest,
                    kept: Some(Arriving { body: Vec::new(), recipe, rooms }),
                    left: announced,
                    body_max,
                };
                Ok(Kept::Passing(Response::from_parts(head, keeping.boxed_unsync())))
            }
            Begun::Broken => Err(ProxyError::UpstreamUnreachable("its answer was cut short")),
        }
    }
}

/// Whether a truncated body can be told from a complete one: over HTTP/1, without a length and
/// without chunks, a body ends where its connection does (RFC 9112 §6.3).
fn has_an_end(answer: &Answer) -> bool {
    let coding = answer.headers().get_all(TRANSFER_ENCODING).iter().next_back();
    let last = coding.and_then(|coding| coding.to_str().ok()?.rsplit(',').next().map(str::trim));
    let is_chunked = last.is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
    answer.version() > Version::HTTP_11 || answer.headers().contains_key(CONTENT_LENGTH) || is_chunked
}

/// Room in the cache for the part of a body that has arrived.
struct Rooms {
    taken: Vec<OwnedSemaphorePermit>,
    /// How many bytes the room is for.
    reserved: u64,
}

impl Rooms {
    /// Takes room for `length` bytes in all; false if there is none.
    fn grow(&mut self, length: u64, cache: &Cache) -> bool {
        if length <= self.reserved {
            return true;
        }
        // Doubles, by at most `WHOLE_BYTES_MAX` at a time unless more than that has arrived.
        let more = (length - self.reserved).max(self.reserved.min(WHOLE_BYTES_MAX));
        let Some(room) = cache.room(more) else { return false };
        self.taken.push(room);
        self.reserved += more;
        true
    }
}

/// Reads a body up to a length, a time, and the room there is. Allocates no more than the body needs.
async fn begin(
    mut body: ResponseBody,
    announced: Option<u64>,
    limit: u64,
    until: Instant,
    cache: &Cache,
    rooms: &mut Rooms,
) -> Begun {
    let mut begun = Vec::with_capacity(usize::try_from(announced.unwrap_or_default()).unwrap_or_default());
    loop {
        let Ok(frame) = timeout_at(until, body.frame()).await else {
            return Begun::Longer(begun.into(), body);
        };
        match frame {
            None => return Begun::Whole(begun.into_boxed_slice().into()),
            Some(Err(_)) => return Begun::Broken,
            Some(Ok(frame)) => begun.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
        if begun.len() as u64 > limit || !rooms.grow(begun.len() as u64, cache) {
            return Begun::Longer(begun.into(), body);
        }
    }
}

/// A body that is kept once all of it has been passed on.
struct Keeping {
    begun: Option<Bytes>,
    rest: ResponseBody,
    /// None if it was too long, or has been kept.
    kept: Option<Arriving>,
    /// The bytes still to come, if the length was announced.
    left: Option<u64>,
    body_max: u64,
}

/// What has been passed on so far.
struct Arriving {
    body: Vec<u8>,
    recipe: Recipe,
    rooms: Rooms,
}

impl Arriving {
    /// Adds a piece; false if there is no room for it.
    fn take(&mut self, piece: &[u8], body_max: u64) -> bool {
        let length = (self.body.len() + piece.len()) as u64;
        if length > body_max || !self.rooms.grow(length, &self.recipe.cache) {
            return false;
        }
        self.body.extend_from_slice(piece);
        true
    }
}

impl Keeping {
    fn passed(&mut self, piece: &Bytes) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(piece.len() as u64);
        }
        let is_kept = self.kept.as_mut().is_some_and(|kept| kept.take(piece, self.body_max));
        if !is_kept {
            self.kept = None;
        } else if self.left == Some(0) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(Arriving { body, recipe, rooms, .. }) = self.kept.take() {
            tokio::spawn(async move {
                recipe.make(body.into_boxed_slice().into()).await;
                drop(rooms);
            });
        }
    }
}

impl Body for Keeping {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(begun) = self.begun.take() {
            self.passed(&begun);
            return Poll::Ready(Some(Ok(Frame::data(begun))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.rest).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.passed(piece);
                }
            }
            Some(Err(_)) => self.kept = None,
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
