//! What a case showed, against what it may show: a row of a table, and JSON.

use std::fmt;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table as Grid, presets};
use serde::Serialize;

/// What a figure may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure; without a bound it is for people to read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) bound: Option<Bound>,
}

impl Figure {
    fn holds(&self) -> bool {
        match self.bound {
            Some(Bound::AtMost(most)) => self.value <= most,
            Some(Bound::AtLeast(least)) => self.value >= least,
            None => true,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, plain(self.value))?;
        match self.bound {
            Some(Bound::AtMost(most)) => write!(f, " (<= {})", plain(most)),
            Some(Bound::AtLeast(least)) => write!(f, " (>= {})", plain(least)),
            None => Ok(()),
        }
    }
}

/// Three digits that say something.
fn plain(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// How a case ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    case: &'static str,
    took_s: f64,
    figures: Vec<Figure>,
    /// What went wrong beyond figures.
    failures: Vec<String>,
    /// What the replicas complained about, and else what people may want to know.
    notes: Vec<String>,
}

impl Verdict {
    pub(super) fn new(case: &'static str) -> Verdict {
        Verdict { case, took_s: 0.0, figures: Vec::new(), failures: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push(Figure { name: name.into(), value, bound: None });
    }

    pub(super) fn at_most(&mut self, name: impl Into<String>, value: f64, most: f64) {
        self.figures.push(Figure { name: name.into(), value, bound: Some(Bound::AtMost(most)) });
    }

    pub(super) fn at_least(&mut self, name: impl Into<String>, value: f64, least: f64) {
        self.figures.push(Figure { name: name.into(), value, bound: Some(Bound::AtLeast(least)) });
    }

    pub(super) fn broken(&mut self, why: String) {
        self.failures.push(why);
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn took(&mut self, took: Duration) {
        self.took_s = took.as_secs_f64();
    }

    pub(super) fn holds(&self) -> bool {
        self.failures.is_empty() && !self.figures.is_empty() && self.figures.iter().all(Figure::holds)
    }

    fn word(&self) -> &'static str {
        if self.holds() { "pass" } else { "FAIL" }
    }

    /// All of it for the progress.
    pub(super) fn line(&self) -> String {
        let mut text = format!("-- {} {} after {:.0} s", self.case, self.word(), self.took_s);
        for note in &self.notes {
            text.push_str(&format!("\n   note: {note}"));
        }
        for figure in &self.figures {
            let mark = if figure.holds() { "  " } else { "! " };
            text.push_str(&format!("\n {mark}{figure}"));
        }
        for failure in &self.failures {
            text.push_str(&format!("\n ! {failure}"));
        }
        text
    }
}

/// A row for each case.
pub(super) struct Table<'a>(pub(super) &'a [Verdict]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut grid = Grid::new();
        grid.load_style(presets::ASCII_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        grid.set_width(140).set_header(["case", "holds", "s", "figures (bounds)"]);
        for verdict in self.0 {
            let mark = |figure: &Figure| if figure.holds() { "" } else { "FAIL: " };
            let figures = verdict.figures.iter().map(|figure| format!("{}{figure}", mark(figure)));
            let failures = verdict.failures.iter().map(|failure| format!("FAIL: {failure}"));
            let all: Vec<String> = failures.chain(figures).collect();
            grid.add_row([
                verdict.case.to_owned(),
                verdict.word().to_owned(),
                format!("{:.0}", verdict.took_s),
                all.join(" · "),
            ]);
        }
        write!(f, "{grid}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_without_figures_shows_nothing() {
        let mut verdict = Verdict::new("x");
        assert!(!verdict.holds());
        verdict.at_most("error", 0.02, 0.03);
        verdict.at_least("used", 0.98, 0.98);
        assert!(verdict.holds());
        verdict.at_most("refused", 1.0, 0.0);
        assert!(!verdict.holds());
        assert!(Table(&[verdict]).to_string().contains("FAIL: refused 1 (<= 0)"));
    }
}
