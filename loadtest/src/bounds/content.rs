//! Content to send, made as it goes, and a digest of what was sent or received.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rand::Rng;
use sha2::{Digest, Sha256};

/// Made at a time. The first bytes of each block are its number, so that no two are alike.
const BLOCK_BYTES: usize = 64 * 1024;

/// How much it was, and its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digested {
    pub(crate) bytes: u64,
    sha256: [u8; 32],
}

/// Counts and hashes what passes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    bytes: u64,
    hash: Sha256,
}

impl Meter {
    pub(crate) fn take(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.hash.update(data);
    }

    pub(crate) fn digested(&self) -> Digested {
        Digested { bytes: self.bytes, sha256: self.hash.clone().finalize().into() }
    }
}

/// A body of so many bytes; others can see how far it has come.
#[derive(Debug)]
pub(crate) struct Content {
    block: Vec<u8>,
    number: u64,
    left: u64,
    sent: Arc<Mutex<Meter>>,
}

impl Content {
    /// The body, and what of it has been sent.
    pub(crate) fn new(bytes: u64) -> (Content, Arc<Mutex<Meter>>) {
        let mut block = vec![0; BLOCK_BYTES];
        rand::rng().fill_bytes(&mut block);
        let sent = Arc::default();
        (Content { block, number: 0, left: bytes, sent: Arc::clone(&sent) }, sent)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let number = self.number.to_be_bytes();
        self.block[..number.len()].copy_from_slice(&number);
        self.number += 1;
        let length = usize::try_from(self.left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        self.left -= length as u64;
        let mut data = BytesMut::with_capacity(length);
        data.extend_from_slice(&self.block[..length]);
        self.sent.lock().expect("nothing panics while it holds this lock").take(&data);
        Poll::Ready(Some(Ok(Frame::data(data.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads a body to its end and throws it away.
pub(crate) async fn sink(mut body: Incoming) -> Result<Digested, hyper::Error> {
    let mut meter = Meter::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            meter.take(&data);
        }
    }
    Ok(meter.digested())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(content: Content) -> Bytes {
        content.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn content_has_its_length_and_its_digest() {
        let (content, sent) = Content::new(3 * BLOCK_BYTES as u64 + 5);
        assert_eq!(content.size_hint().exact(), Some(3 * BLOCK_BYTES as u64 + 5));
        let whole = collect(content).await;
        let mut received = Meter::default();
        whole.chunks(1_000).for_each(|chunk| received.take(chunk));
        assert_eq!(received.digested(), sent.lock().unwrap().digested());
        assert_eq!(received.digested().bytes, whole.len() as u64);
    }

    #[tokio::test]
    async fn a_block_in_another_ones_place_shows() {
        let whole = collect(Content::new(2 * BLOCK_BYTES as u64).0).await;
        let (first, second) = whole.split_at(BLOCK_BYTES);
        let digest = |blocks: [&[u8]; 2]| {
            let mut meter = Meter::default();
            blocks.iter().for_each(|block| meter.take(block));
            meter.digested()
        };
        assert_ne!(digest([first, second]), digest([second, first]));
        assert_ne!(digest([first, second]), digest([first, first]));
    }
}
