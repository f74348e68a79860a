//! Where log lines go: gathered for a moment, then written together.
//!
//! A call of the system for each line would cost a busy proxy more than making the line. What is a warning
//! or worse is written at once, and all before it; so is what has gathered when there is much of it, so a
//! reader that stands still holds up the writers, as it would without this.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The longest a line waits.
const GATHERED_FOR: Duration = Duration::from_millis(20);
/// Bytes that wait at most.
const GATHERED_MAX: usize = 256 * 1024;

/// Takes lines.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    gathered: Mutex<Vec<u8>>,
    has_some: Condvar,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Starts the thread that writes.
    pub(super) fn to(sink: impl Write + Send + 'static) -> io::Result<Lines> {
        let shared =
            Shared { gathered: Mutex::default(), has_some: Condvar::new(), sink: Mutex::new(Box::new(sink)) };
        let lines = Lines(Arc::new(shared));
        let writer = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_forever())?;
        Ok(lines)
    }

    fn write_forever(&self) {
        loop {
            let some = self.0.has_some.wait_while(lock(&self.0.gathered), |gathered| gathered.is_empty());
            drop(some);
            thread::sleep(GATHERED_FOR);
            self.flush();
        }
    }

    /// Writes what has gathered. A log that can't be written is nobody's to tell of.
    pub(super) fn flush(&self) {
        // In this order, so that lines stay in theirs.
        let mut sink = lock(&self.0.sink);
        let gathered = std::mem::take(&mut *lock(&self.0.gathered));
        let _ = sink.write_all(&gathered).and_then(|()| sink.flush());
    }

    fn add(&self, bytes: &[u8]) -> usize {
        let mut gathered = lock(&self.0.gathered);
        if gathered.is_empty() {
            self.0.has_some.notify_one();
        }
        gathered.extend_from_slice(bytes);
        gathered.len()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, is_urgent: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        Line { lines: self, is_urgent: *metadata.level() <= Level::WARN }
    }
}

/// One line as it is made.
#[derive(Debug)]
pub(super) struct Line<'a> {
    lines: &'a Lines,
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lines.add(bytes) > GATHERED_MAX {
            self.lines.flush();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.is_urgent {
            self.lines.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// What was written, and how often.
    #[derive(Clone, Default)]
    struct Sink(Arc<(Mutex<Vec<u8>>, AtomicUsize)>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0.0).extend_from_slice(bytes);
            self.0.1.fetch_add(1, Ordering::SeqCst);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(lock(&self.0.0).clone()).unwrap()
        }
    }

    #[test]
    fn lines_are_written_together_in_their_order_and_soon() {
        let sink = Sink::default();
        let lines = Lines::to(sink.clone()).unwrap();
        for number in 0..100 {
            writeln!(lines.make_writer(), "{number}").unwrap();
        }
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        for _ in 0..500 {
            if sink.text() == expected {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(sink.text(), expected);
        assert!(sink.0.1.load(Ordering::SeqCst) < 50, "not one by one");
    }

    #[test]
    fn what_is_urgent_is_written_at_once_and_all_before_it() {
        let sink = Sink::default();
        let lines = Lines::to(sink.clone()).unwrap();
        writeln!(lines.make_writer(), "one").unwrap();
        writeln!(Line { lines: &lines, is_urgent: true }, "two").unwrap();
        assert_eq!(sink.text(), "one\ntwo\n");
    }

    #[test]
    fn no_more_gathers_than_is_allowed() {
        let lines = Lines::to(Sink::default()).unwrap();
        for _ in 0..100 {
            lines.make_writer().write_all(&[b'x'; 64 * 1024]).unwrap();
            assert!(lock(&lines.0.gathered).len() <= GATHERED_MAX);
        }
    }
}
