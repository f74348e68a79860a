//! Compressed answers: requested if the caller accepts them, unpacked if their links must change.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use futures_util::TryStreamExt;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE};
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, BodyExt, StreamBody};
use tokio_util::io::{ReaderStream, StreamReader};

use super::body::ResponseBody;
use super::settle::Answer;
use crate::error::ProxyError;
use crate::github::client::BoxError;

/// Unpacked bytes passed on at a time; beside the decoder's window, nothing else is held.
const CHUNK_BYTES: usize = 16 * 1024;

/// Whether the caller accepts gzip (RFC 9110 §12.5.3). Not with `Range`: a range of compressed
/// bytes is a different one.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(',')).map(taken);
    let (mut gzip, mut any) = (None, None);
    for (name, is_taken) in &mut codings {
        match name.as_str() {
            "gzip" | "x-gzip" => gzip = Some(is_taken),
            "*" => any = Some(is_taken),
            _ => {}
        }
    }
    !headers.contains_key(RANGE) && gzip.or(any).unwrap_or(false)
}

/// A coding's name in lower case, and whether its weight is above 0.
fn taken(coding: &str) -> (String, bool) {
    let coding = coding.to_ascii_lowercase();
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let refused =
        parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty()));
    (name, !refused)
}

/// The answer with its body unpacked.
///
/// # Errors
/// If it is compressed in a way nobody asked for.
pub(super) fn unpack(answer: Answer) -> Result<Answer, ProxyError> {
    let (mut head, body) = answer.into_parts();
    let codings: Vec<Vec<u8>> = head
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|one| one.as_bytes().to_ascii_lowercase())
        .collect();
    head.headers.remove(CONTENT_ENCODING);
    match codings.as_slice() {
        [] => return Ok(Answer::from_parts(head, body)),
        [coding] if coding == b"identity" => return Ok(Answer::from_parts(head, body)),
        [coding] if coding == b"gzip" || coding == b"x-gzip" => {}
        _ => {
            return Err(ProxyError::UpstreamUnreachable("it packed its answer in a way that can't be read"));
        }
    }
    head.headers.remove(CONTENT_LENGTH);
    // The answer to HEAD, a 204 or a 304 says how a body would be compressed, but has none.
    if body.is_end_stream() {
        return Ok(Answer::from_parts(head, body));
    }
    Ok(Answer::from_parts(head, decoded(body)))
}

/// Unpacks a body as it streams. One that breaks off, or is no gzip, ends in an error.
fn decoded(body: ResponseBody) -> ResponseBody {
    let packed = StreamReader::new(BodyDataStream::new(body).map_err(io::Error::other));
    let mut decoder = GzipDecoder::new(packed);
    decoder.multiple_members(true);
    let plain = ReaderStream::with_capacity(decoder, CHUNK_BYTES);
    StreamBody::new(plain.map_ok(Frame::data).map_err(|error| -> BoxError { Box::new(error) })).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_caller_takes() {
        for (value, accepted) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("gzip;Q=0", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(is_accepted(&headers), accepted, "{value:?}");
            headers.insert(RANGE, "bytes=0-1".parse().unwrap());
            assert!(!is_accepted(&headers));
        }
    }
}
