//! A look at the beginning of an answer's body, where a refusal for a limit may stand.

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use tokio::io::AsyncReadExt;

use super::Answer;
use crate::proxy::body::{ResponseBody, full};

/// Refusals are short; what is longer is none, and goes on as it comes.
const PEEKED_BYTES_MAX: usize = 64 * 1024;
const UNPACKED_BYTES_MAX: u64 = 256 * 1024;

/// The beginning of a body, and the body.
struct Peeked {
    /// All of it, if it was short.
    whole: Option<Bytes>,
    body: ResponseBody,
}

/// Reads a body's beginning; none when it broke off there.
async fn peek(mut body: ResponseBody) -> Option<Peeked> {
    let mut seen = BytesMut::new();
    while seen.len() <= PEEKED_BYTES_MAX {
        match body.frame().await {
            None => {
                let whole = seen.freeze();
                return Some(Peeked { whole: Some(whole.clone()), body: full(whole) });
            }
            Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return None,
        }
    }
    let first = stream::once(std::future::ready(Ok(seen.freeze())));
    let rest = first.chain(BodyDataStream::new(body)).map(|chunk| chunk.map(Frame::data));
    Some(Peeked { whole: None, body: BodyExt::boxed_unsync(StreamBody::new(rest)) })
}

/// An answer's text, where it is short, and the answer with all of it still to come; none when it broke off.
pub(super) async fn text(answer: Answer) -> Option<(Answer, Option<Bytes>)> {
    let (head, body) = answer.into_parts();
    let peeked = peek(body).await?;
    let text = match peeked.whole {
        Some(whole) => plain(whole, &head.headers).await,
        None => None,
    };
    Some((Answer::from_parts(head, peeked.body), text))
}

/// The text of a body that was seen whole.
async fn plain(bytes: Bytes, headers: &HeaderMap) -> Option<Bytes> {
    match headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => Some(bytes),
        Some(b"gzip" | b"x-gzip") => {
            let mut text = Vec::new();
            GzipDecoder::new(&bytes[..]).take(UNPACKED_BYTES_MAX).read_to_end(&mut text).await.ok()?;
            Some(text.into())
        }
        Some(_) => None,
    }
}

/// Whether nothing more of a body is to come that could take long.
pub(super) fn is_as_good_as_ended(body: &ResponseBody) -> bool {
    const ON_THE_WIRE: u64 = 16 * 1024;
    body.is_end_stream() || body.size_hint().exact().is_some_and(|length| length <= ON_THE_WIRE)
}
