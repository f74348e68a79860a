//! A look at the beginning of an answer's body, which may hold a refusal for a limit.

use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::Answer;
use crate::proxy::body::{ResponseBody, full};

/// Refusals are short. A longer body is none, and streams on.
const PEEKED_BYTES_MAX: usize = 64 * 1024;
/// Refusals come in one piece. The caller of anything slower should have its head by now.
const PEEKED_WITHIN: Duration = Duration::from_secs(5);
const UNPACKED_BYTES_MAX: u64 = 256 * 1024;

/// A body of which the beginning was read.
struct Peeked {
    /// All its bytes, if it was short.
    whole: Option<Bytes>,
    body: ResponseBody,
}

/// Reads the beginning of a body; none if the body broke off there.
async fn peek(mut body: ResponseBody) -> Option<Peeked> {
    let until = Instant::now() + PEEKED_WITHIN;
    let mut seen = BytesMut::new();
    while seen.len() <= PEEKED_BYTES_MAX {
        match timeout_at(until, body.frame()).await {
            Ok(None) => {
                let whole = seen.freeze();
                return Some(Peeked { whole: Some(whole.clone()), body: full(whole) });
            }
            Ok(Some(Ok(frame))) => seen.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Ok(Some(Err(_))) => return None,
            Err(_) => break,
        }
    }
    let first = stream::iter((!seen.is_empty()).then(|| Ok(seen.freeze())));
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

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    /// A caller that waits for the head would give up on a mutation that was carried out.
    #[tokio::test(start_paused = true)]
    async fn what_trickles_is_passed_on_unread() {
        let chunks = |gap| {
            stream::unfold(0_u8, move |n| async move {
                tokio::time::sleep(gap).await;
                (n < 10).then(|| (Ok(Frame::data(Bytes::from(vec![b'0' + n]))), n + 1))
            })
        };
        for (gap, is_whole) in [(Duration::from_millis(100), true), (Duration::from_secs(1), false)] {
            let began = Instant::now();
            let peeked = peek(BodyExt::boxed_unsync(StreamBody::new(chunks(gap)))).await.unwrap();
            assert!(began.elapsed() <= PEEKED_WITHIN);
            assert_eq!(peeked.whole.is_some(), is_whole);
            assert_eq!(peeked.body.collect().await.unwrap().to_bytes(), "0123456789");
        }
        let never = Full::new(Bytes::new()).map_err(|never| match never {});
        assert_eq!(peek(never.boxed_unsync()).await.unwrap().whole, Some(Bytes::new()));
    }
}
