//! Writes log lines on a thread of their own, so that a stuck log reader delays no request.
//!
//! One system call per line would mean one per request, so the lines of a moment are written together.
//! `tracing-appender` does nearly the same, but reports a failed shutdown on standard output, which belongs
//! to the audit log, and does not count lines it could not write.

use std::io::{self, Write};
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; beyond that, lines are lost.
const WAITING_MAX: usize = 8_192;
/// Stop collecting and write once this many bytes are buffered.
const WRITE_BYTES: usize = 64 * 1024;
/// Longest time to wait for more lines to write together.
const MOMENT: Duration = Duration::from_millis(10);
/// How long shutdown waits for the remaining lines to be written.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines of this process's log that were lost because nobody read them or they could not be written.
pub fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Message {
    Line(Vec<u8>),
    /// The last message; the thread drops the sender once everything is written.
    End(SyncSender<()>),
}

/// Accepts log lines, one per `write` call.
#[derive(Debug, Clone)]
pub(super) struct Lines(SyncSender<Message>);

/// Dropping it writes the lines that still wait.
#[derive(Debug)]
#[must_use]
pub struct Writing(SyncSender<Message>);

/// Starts the thread that writes.
///
/// # Errors
/// When the thread can't be started.
pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<(Lines, Writing)> {
    let (sender, waiting) = sync_channel(WAITING_MAX);
    thread::Builder::new().name("log".to_owned()).spawn(move || run(&waiting, to))?;
    Ok((Lines(sender.clone()), Writing(sender)))
}

fn run(waiting: &Receiver<Message>, mut to: impl Write) {
    let mut bytes = Vec::with_capacity(WRITE_BYTES);
    while let Ok(first) = waiting.recv() {
        let (mut lines, mut end) = (0, None);
        for message in iter::once(first).chain(waiting.try_iter()) {
            match message {
                Message::Line(line) => {
                    bytes.extend_from_slice(&line);
                    lines += 1;
                }
                Message::End(ended) => end = Some(ended),
            }
            if bytes.len() >= WRITE_BYTES || end.is_some() {
                break;
            }
        }
        if to.write_all(&bytes).is_err() {
            LOST.fetch_add(lines, Ordering::Relaxed);
        }
        if end.is_some() {
            return;
        }
        if bytes.len() < WRITE_BYTES {
            thread::sleep(MOMENT);
        }
        bytes.clear();
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Message::Line(line.to_vec())).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let (ended, is_written) = sync_channel(1);
        // A full queue means nobody reads, so there is nothing to wait for.
        if self.0.try_send(Message::End(ended)).is_ok() {
            let _ = is_written.recv_timeout(ENDS_WITHIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Records each `write` call's bytes; fails once `room` bytes are used.
    #[derive(Clone)]
    struct Disk {
        written: Arc<Mutex<Vec<Vec<u8>>>>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock();
            if written.iter().map(Vec::len).sum::<usize>() + bytes.len() > self.room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_together_and_those_that_can_t_be_are_counted() {
        let disk = Disk { written: Arc::default(), room: 40_000 };
        let before = lines_lost();
        let (mut lines, writing) = start(disk.clone()).unwrap();
        let all: Vec<String> = (0..1_000).map(|number| format!("line {number}\n")).collect();
        all.iter().for_each(|line| lines.write_all(line.as_bytes()).unwrap());
        drop(writing);
        let written = disk.written.lock().clone();
        assert_eq!(String::from_utf8(written.concat()).unwrap(), all.concat());
        assert!(written.len() < 100, "{} writes", written.len());
        assert_eq!(lines_lost(), before);

        let (mut lines, writing) = start(Disk { room: 0, ..disk }).unwrap();
        all.iter().take(30).for_each(|line| lines.write_all(line.as_bytes()).unwrap());
        drop(writing);
        assert_eq!(lines_lost() - before, 30);
    }
}
