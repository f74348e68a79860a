//! GitHub's answer becomes an entry: short ones are read whole first, longer ones pass on to the caller
//! while they are kept. What breaks off, or grows past a bound, is not kept.

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

/// Bodies up to this length are read whole before the caller gets any of it.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;
/// And for so long at most: the caller, and all who wait for the same, get what came and the rest as it comes.
const WHOLE_WITHIN: Duration = Duration::from_secs(5);
/// Room for a body whose length nobody said; it grows with the body.
const UNANNOUNCED_BYTES: u64 = 32 * 1024;
/// From here on an entry is made on a thread of its own.
const LONG_BYTES: u64 = 128 * 1024;

/// What became of an answer.
pub(super) enum Kept {
    Whole {
        entry: Arc<Entry>,
        /// The answer's, of which the entry keeps only a part.
        head: HeaderMap,
    },
    /// Not for others, or not yet.
    Passing(Answer),
}

/// All it takes to make an entry once the body is there.
struct Recipe {
    cache: Arc<Cache>,
    key: Key,
    head: HeaderMap,
    token: Arc<Token>,
    asked_ms: i64,
    per_page: usize,
}

impl Recipe {
    /// Makes the entry, away from the requests if it is long; none when its body can't be read.
    async fn make(self, body: Bytes) -> Option<Arc<Entry>> {
        let is_packed = self.head.contains_key(CONTENT_ENCODING);
        // What is unpacked takes room as what arrives does.
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
    /// More than was asked for.
    Longer(Bytes, ResponseBody),
    Broken,
}

impl Proxy {
    /// Keeps an answer, if it may be kept.
    ///
    /// # Errors
    /// When it broke off before the caller got any of it.
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
            // It says nothing of what is kept.
            return Ok(Kept::Passing(answer));
        }
        let may_be_kept = may_be_kept(answer.status(), answer.headers())
            && has_an_end(&answer)
            && announced.is_none_or(|length| length <= body_max);
        let reserved = announced.unwrap_or(UNANNOUNCED_BYTES.min(whole_max));
        let room = self.cache.room(reserved).filter(|_| may_be_kept);
        let Some(room) = room else {
            // What was there is no longer, or not for this token.
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

/// Whether a body that is cut short can be told from one that has ended: over HTTP/1 without a length and
/// without chunks it ends where the connection does (RFC 9112 §6.3).
fn has_an_end(answer: &Answer) -> bool {
    let has = |name| answer.headers().contains_key(name);
    answer.version() > Version::HTTP_11 || has(CONTENT_LENGTH) || has(TRANSFER_ENCODING)
}

/// Room for what has come of a body.
struct Rooms {
    taken: Vec<OwnedSemaphorePermit>,
    /// Bytes that they are for.
    reserved: u64,
}

impl Rooms {
    /// Room for so many bytes in all; false when there is none.
    fn grow(&mut self, length: u64, cache: &Cache) -> bool {
        if length <= self.reserved {
            return true;
        }
        // As much again, and no more than a piece at once.
        let more = (length - self.reserved).max(self.reserved.min(WHOLE_BYTES_MAX));
        let Some(room) = cache.room(more) else { return false };
        self.taken.push(room);
        self.reserved += more;
        true
    }
}

/// Reads a body up to a length, a time, and the room there is; what it holds is no larger than the body.
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

/// A body that is kept once all of it has passed.
struct Keeping {
    begun: Option<Bytes>,
    rest: ResponseBody,
    /// None: it was too long, or is done.
    kept: Option<Arriving>,
    /// Bytes to come, if that was announced.
    left: Option<u64>,
    body_max: u64,
}

/// What has passed so far.
struct Arriving {
    body: Vec<u8>,
    recipe: Recipe,
    rooms: Rooms,
}

impl Arriving {
    /// Takes a piece; false when there is no room for it.
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
