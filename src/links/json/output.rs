//! The output for one chunk: long stretches as slices of the chunk, short ones gathered.
//!
//! A list of issues has a link to change every hundred bytes or so. Passed on as a slice, each
//! stretch would be an HTTP chunk or frame of its own, which costs more than copying it.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Stretches shorter than this are copied when something beside them changes.
const COPIED_MAX: usize = 4096;

pub(super) struct Output<'a> {
    out: &'a mut VecDeque<Bytes>,
    gathered: BytesMut,
}

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut VecDeque<Bytes>) -> Output<'a> {
        Output { out, gathered: BytesMut::new() }
    }

    /// Passes on a stretch of `chunk` as it came.
    pub(super) fn pass(&mut self, chunk: &Bytes, stretch: Range<usize>) {
        let is_alone = stretch.len() == chunk.len() && self.gathered.is_empty();
        if stretch.is_empty() {
            return;
        }
        if is_alone || stretch.len() > COPIED_MAX {
            self.flush();
            self.out.push_back(chunk.slice(stretch));
        } else {
            if self.gathered.is_empty() {
                self.gathered.reserve(chunk.len() - stretch.start);
            }
            self.gathered.extend_from_slice(&chunk[stretch]);
        }
    }

    /// Adds what takes the place of a base.
    pub(super) fn insert(&mut self, text: &[u8]) {
        self.gathered.extend_from_slice(text);
    }

    pub(super) fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.out.push_back(self.gathered.split().freeze());
        }
    }
}
