//! Rows: what was measured, what it may be, and whether it holds.

use std::cmp::Ordering;
use std::fmt;
use std::io::Write;
use std::time::Duration;

/// A figure with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    Bytes(u64),
    Time(Duration),
    Count(u64),
}

impl Figure {
    pub(crate) fn mib(mib: u64) -> Figure {
        Figure::Bytes(mib * MIB)
    }
}

/// Bytes in a mebibyte.
pub(crate) const MIB: u64 = 1024 * 1024;

impl PartialOrd for Figure {
    /// Figures of different units have no order, so no bound of another unit is ever kept.
    fn partial_cmp(&self, other: &Figure) -> Option<Ordering> {
        match (self, other) {
            (Figure::Bytes(a), Figure::Bytes(b)) | (Figure::Count(a), Figure::Count(b)) => a.partial_cmp(b),
            (Figure::Time(a), Figure::Time(b)) => a.partial_cmp(b),
            _ => None,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Figure::Bytes(bytes) => {
                let tenths = bytes * 10 / MIB;
                write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
            }
            Figure::Time(time) => write!(f, "{:.3} s", time.as_secs_f64()),
            Figure::Count(count) => write!(f, "{count}"),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    passed: u32,
    failed: u32,
}

impl Summary {
    pub(crate) fn holds(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

/// Prints rows and counts them.
#[derive(Debug)]
pub(crate) struct Report<W> {
    out: W,
    part: &'static str,
    summary: Summary,
}

impl<W: Write> Report<W> {
    pub(crate) fn new(out: W) -> Report<W> {
        Report { out, part: "", summary: Summary { passed: 0, failed: 0 } }
    }

    pub(crate) fn heading(&mut self) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{}", line("part", "what", "figure", "bound", ""))?)
    }

    /// The rows that follow are this part's.
    pub(crate) fn begin(&mut self, part: &'static str) {
        self.part = part;
    }

    pub(crate) fn below(&mut self, what: &str, figure: Figure, bound: Figure) -> anyhow::Result<()> {
        self.row(what, &figure.to_string(), &format!("< {bound}"), figure < bound)
    }

    pub(crate) fn at_most(&mut self, what: &str, figure: Figure, bound: Figure) -> anyhow::Result<()> {
        self.row(what, &figure.to_string(), &format!("<= {bound}"), figure <= bound)
    }

    /// That the load was what it is said to be.
    pub(crate) fn at_least(&mut self, what: &str, figure: Figure, bound: Figure) -> anyhow::Result<()> {
        self.row(what, &figure.to_string(), &format!(">= {bound}"), figure >= bound)
    }

    /// All of so many, and some at all.
    pub(crate) fn all(&mut self, what: &str, good: u64, of: u64) -> anyhow::Result<()> {
        self.row(what, &format!("{good} of {of}"), "all", good == of && of > 0)
    }

    /// Something went wrong that has no figure, or a word on one that has.
    pub(crate) fn note(&mut self, note: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{:13}{note}", "")?)
    }

    /// The part could not be brought to its end.
    pub(crate) fn broken(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.row("broke off", "-", "-", false)?;
        self.note(&format!("{error:#}"))
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<Summary> {
        let Summary { passed, failed } = self.summary;
        writeln!(self.out, "{passed} passed, {failed} failed")?;
        Ok(self.summary)
    }

    fn row(&mut self, what: &str, figure: &str, bound: &str, holds: bool) -> anyhow::Result<()> {
        let (verdict, count) = match holds {
            true => ("pass", &mut self.summary.passed),
            false => ("FAIL", &mut self.summary.failed),
        };
        *count += 1;
        writeln!(self.out, "{}", line(self.part, what, figure, bound, verdict))?;
        Ok(self.out.flush()?)
    }
}

fn line(part: &str, what: &str, figure: &str, bound: &str, verdict: &str) -> String {
    format!("{part:<13}{what:<48}{figure:>18}  {bound:<13}{verdict}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_with_their_unit() {
        assert_eq!(Figure::Bytes(64 * MIB - 1).to_string(), "63.9 MiB");
        assert_eq!(Figure::mib(150).to_string(), "150.0 MiB");
        assert_eq!(Figure::Time(Duration::from_millis(2_500)).to_string(), "2.500 s");
        assert_eq!(Figure::Count(5_000).to_string(), "5000");
    }

    #[test]
    fn no_bound_of_another_unit_is_kept() {
        assert!(Figure::Bytes(1) < Figure::Bytes(2));
        let (few, many) = (Figure::Count(1), Figure::Bytes(2));
        assert_eq!(few.partial_cmp(&many), None);
    }

    #[test]
    fn counts_what_holds_and_what_does_not() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        report.begin("idle");
        report.below("memory", Figure::mib(1), Figure::mib(1)).unwrap();
        report.at_most("memory", Figure::mib(1), Figure::mib(1)).unwrap();
        report.at_least("load", Figure::Count(1), Figure::Count(2)).unwrap();
        report.all("requests", 3, 3).unwrap();
        report.all("requests", 0, 0).unwrap();
        report.broken(&anyhow::anyhow!("no socket")).unwrap();
        let summary = report.finish().unwrap();
        assert_eq!(summary, Summary { passed: 2, failed: 4 });
        assert!(!summary.holds() && !Summary { passed: 0, failed: 0 }.holds());
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("2 passed, 4 failed\n") && text.contains("no socket"), "{text}");
    }
}
