//! The thread that writes: lines in order, all that wait in one batch, with one sync for those that need it.
//!
//! The file is reopened when another file is at its path, so it may be rotated by renaming or truncating. After a
//! line that was cut short (a full disk) the next one starts on a new line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};

use super::AuditUnavailable;

/// Most lines written in one batch.
const BATCH_MAX: usize = 256;

/// A job for the thread.
#[derive(Debug)]
pub(super) enum Job {
    Line(String),
    /// To be written and synced; then the sender is told the outcome.
    Sure(String, oneshot::Sender<Result<(), AuditUnavailable>>),
    /// The sender is told once every earlier job is done.
    Flush(oneshot::Sender<()>),
}

/// Where lines are written.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        /// Whether the last write was cut short.
        is_torn: bool,
    },
}

pub(super) fn run(mut target: Target, mut jobs: mpsc::Receiver<Job>, lost: &IntCounter) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut was_failing = false;
    while jobs.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let (mut text, mut lines, mut is_sure) = (String::new(), 0, false);
        for job in &batch {
            if let Job::Line(line) | Job::Sure(line, _) = job {
                text.push_str(line);
                text.push('\n');
                lines += 1;
            }
            is_sure |= matches!(job, Job::Sure(..));
        }
        let written = if lines == 0 { Ok(()) } else { target.write(text.as_bytes(), is_sure) };
        if let Err(error) = &written {
            lost.inc_by(lines);
            if !was_failing {
                tracing::error!(%error, "the audit log can't be written: approved calls are refused until it can");
            }
        } else if was_failing && lines > 0 {
            tracing::warn!("the audit log is written again");
        }
        was_failing = written.is_err() || (was_failing && lines == 0);
        let outcome = written.map_err(|_| AuditUnavailable);
        for job in batch.drain(..) {
            match job {
                Job::Line(_) => {}
                // A receiver that gave up waiting is gone; ignore that.
                Job::Sure(_, tell) => drop(tell.send(outcome)),
                Job::Flush(tell) => drop(tell.send(())),
            }
        }
    }
}

impl Target {
    pub(super) fn open(path: &Path) -> io::Result<Target> {
        let file = append_to(path)?;
        // The previous process may have been killed in the middle of a line.
        let is_torn = !is_whole(path, file.metadata()?.len());
        Ok(Target::File { path: path.to_owned(), file, is_torn })
    }

    fn write(&mut self, text: &[u8], is_sure: bool) -> io::Result<()> {
        match self {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Target::File { path, file, is_torn } => {
                if !is_at(file, path) {
                    *file = append_to(path)?;
                    *is_torn = false;
                }
                if *is_torn {
                    file.write_all(b"\n")?;
                }
                *is_torn = true;
                file.write_all(text)?;
                *is_torn = false;
                if is_sure { sync(file) } else { Ok(()) }
            }
        }
    }
}

/// Readable only by its owner: the log says who does what.
fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let is_new = !path.exists();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if is_new && let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        // Syncing the directory makes the new file's name durable.
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

/// Whether a file of this length ends with a line break; a file that can't be read counts as not.
fn is_whole(path: &Path, length: u64) -> bool {
    let Some(last) = length.checked_sub(1) else { return true };
    let mut byte = [0];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut byte, last));
    read.is_ok() && byte == *b"\n"
}

/// Whether the file at `path` is still the one that is open.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

/// Syncs the file. Pipes and devices can't be synced; what was written to them has been handed over.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}
