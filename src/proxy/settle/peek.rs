//! A look at the beginning of an answer's body, which may hold a refusal for a limit.

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

/// Refusals are short. A longer body is none, and streams on.
const PEEKED_BYTES_MAX: usize = 64 * 1024;
const UNPACKED_BYTES_MAX: u64 = 256 * 1024;

/// A body of which the beginning was read.
struct Peeked {
    /// All its bytes, if it was short.
    whole: Option<Bytes>,
    body: ResponseBody,
}

/// Reads the beginning of a body; none if the body broke off there.
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

/// The text of an answer, if it is short, and the answer with its body still whole; none if it broke off.
pub(super) async fn text(answer: Answer) -> Option<(Answer, Option<Bytes>)> {
    let (head, body) = answer.into_parts();
    let peeked = peek(body).await?;
    let text = match peeked.whole {
        Some(whole) => plain(whole, &head.headers).await,
        None => None,
    };
    Some((Answer::from_parts(head, peeked.body), text))
}

/// The uncompressed text of a body that was read whole.
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

/// Whether the rest of a body can't take long to arrive.
pub(super) fn is_as_good_as_ended(body: &ResponseBody) -> bool {
    const ON_THE_WIRE: u64 = 16 * 1024;
    body.is_end_stream() || body.size_hint().exact().is_some_and(|length| length <= ON_THE_WIRE)
}
