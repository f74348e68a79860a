//! Log lines as JSON, one object each.
//!
//! Every request logs a line, so this writes bytes once and in place; with `tracing-subscriber`'s JSON format
//! a line took a tenth of a request's total time.

use std::fmt;
use std::io::Write;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

/// Initial capacity; nearly every line is shorter.
const LINE_BYTES: usize = 512;

/// Writes a line for each event: `timestamp`, `level`, the event's fields with its `message`, `target`.
pub(super) struct JsonLines<W> {
    /// Makes a writer for each line; each line is one `write` call.
    writer: W,
}

impl<W> JsonLines<W> {
    pub(super) fn to(writer: W) -> JsonLines<W> {
        JsonLines { writer }
    }
}

impl<S: Subscriber, W: for<'a> MakeWriter<'a> + 'static> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // The writer counts lost lines.
        let _ = self.writer.make_writer().write_all(&line(event));
    }
}

fn line(event: &Event<'_>) -> Vec<u8> {
    // For events from the `log` crate, the fields say which module logged them.
    let normalized = event.normalized_metadata();
    let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
    let mut line = Line(Vec::with_capacity(LINE_BYTES));
    line.member("timestamp", &Shown(format_args!("{:.6}", Timestamp::now())));
    line.member("level", metadata.level().as_str());
    event.record(&mut line);
    line.member("target", metadata.target());
    line.0.extend_from_slice(b"}\n");
    line.0
}

/// A JSON object that is not closed yet.
struct Line(Vec<u8>);

impl Line {
    /// `name` needs no escapes: it is one of ours or an identifier.
    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        serde_json::to_writer(&mut self.0, value).expect("text and numbers can be written to memory");
    }

    fn field(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        if !field.name().starts_with("log.") {
            self.member(field.name(), value);
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &Shown(format_args!("{value:?}")));
    }
}

/// Serializes format arguments as a string.
struct Shown<'a>(fmt::Arguments<'a>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Memory;

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            WRITTEN.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_object_whatever_is_in_it() {
        let subscriber = tracing_subscriber::registry().with(JsonLines::to(|| Memory));
        tracing::subscriber::with_default(subscriber, || {
            let absent: Option<&str> = None;
            let error = io::Error::other("a \"quote\"\nand a line");
            tracing::warn!(n = -1, of = 2_u64, part = 0.5, on = true, absent, text = "\u{1}é\\", %error, "two\nlines");
            tracing::info!(target: "other", nothing = f64::NAN, "");
        });
        let written = String::from_utf8(WRITTEN.lock().clone()).unwrap();
        let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let timestamp = lines[0]["timestamp"].as_str().unwrap();
        assert_eq!((timestamp.len(), &timestamp[26..]), ("2026-01-01T00:00:00.000000Z".len(), "Z"));
        assert!(timestamp.parse::<Timestamp>().is_ok(), "{timestamp}");
        let expected = json!({
            "timestamp": timestamp, "level": "WARN", "message": "two\nlines", "n": -1, "of": 2, "part": 0.5,
            "on": true, "text": "\u{1}é\\", "error": "a \"quote\"\nand a line",
            "target": "tollgate::telemetry::json_lines::tests",
        });
        assert_eq!(lines[0], expected);
        assert_eq!(
            (&lines[1]["target"], &lines[1]["nothing"], lines.len()),
            (&json!("other"), &json!(null), 2)
        );
    }
}
