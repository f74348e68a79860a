//! Lines written aside, by a thread of their own: whoever does not read the log holds up no request.
//!
//! A system call a line would be one for each request, so those of a moment are written at once.

use std::io::{self, BufWriter, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait; those beyond are lost, and counted.
const WAITING_MAX: usize = 8_192;
/// Bytes written at once.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a line waits at most for others to be written with.
const MOMENT: Duration = Duration::from_millis(10);

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// What lines are handed to, and what writes those that wait when it is dropped, for a second at most.
pub(super) fn write(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let (lines, writing) = NonBlockingBuilder::default()
        .thread_name("log")
        .buffered_lines_limit(WAITING_MAX)
        .lossy(true)
        .finish(Gathered(BufWriter::with_capacity(WRITE_BYTES, to)));
    let _ = LOST.set(lines.error_counter());
    (lines, writing)
}

/// Lines of this process' log that were lost because nobody read it.
pub fn lines_lost() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Flushed when no line waits; the next are let gather.
struct Gathered<W: Write>(BufWriter<W>);

impl<W: Write> Write for Gathered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(MOMENT);
        flushed
    }
}
