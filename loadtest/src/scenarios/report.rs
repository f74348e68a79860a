//! A row for each scenario, what failed below it, and everything as JSON.

use std::io::Write;

use serde::Serialize;

use super::Store;
use super::figures::Figures;
use super::gate::Policy;

/// One scenario and how it went.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) about: String,
    /// Not judged: another policy than tollgate's.
    pub(super) passed: Option<bool>,
    pub(super) failures: Vec<String>,
    /// All that the store was asked, by whomever.
    pub(super) store_steps: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// All of a run.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    pub(super) seed: u64,
    pub(super) policy: Policy,
    pub(super) store: Store,
    pub(super) scenarios: &'a [Outcome],
}

pub(super) fn heading(out: &mut impl Write) -> anyhow::Result<()> {
    let line = line(&Row {
        id: "scenario",
        cells: [
            "utilised", "limited", "60 s p95", "whole", "Jain", "wait p50", "p99", "refused", "left", "calls",
        ]
        .map(str::to_owned),
        verdict: "",
    });
    Ok(writeln!(out, "{line}")?)
}

pub(super) fn row(out: &mut impl Write, outcome: &Outcome) -> anyhow::Result<()> {
    let figures = &outcome.figures;
    let cells = [
        maybe(figures.utilisation, 3),
        figures.upstream_refusals.to_string(),
        maybe(figures.window_error_60s_p95, 3),
        format!("{:.3}", figures.whole_error),
        format!("{:.4}", figures.jain),
        format!("{:.2}", figures.wait_p50_s),
        format!("{:.2}", figures.wait_p99_s),
        format!("{:.2}", figures.refusals_per_served),
        figures.left_at_reset.map_or_else(|| "-".to_owned(), |left| left.to_string()),
        maybe(figures.store_calls_per_request, 2),
    ];
    let verdict = match outcome.passed {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "",
    };
    writeln!(out, "{}", line(&Row { id: &outcome.id, cells, verdict }))?;
    for failure in &outcome.failures {
        writeln!(out, "    {failure}")?;
    }
    Ok(out.flush()?)
}

struct Row<'a> {
    id: &'a str,
    cells: [String; 10],
    verdict: &'a str,
}

fn line(row: &Row<'_>) -> String {
    let mut line = format!("{:<38}", row.id);
    for cell in &row.cells {
        line.push_str(&format!("{cell:>9}"));
    }
    format!("{line}  {}", row.verdict).trim_end().to_owned()
}

fn maybe(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        heading(&mut out).unwrap();
        let heading = String::from_utf8(out).unwrap();
        let cells = ["1.000"; 10].map(str::to_owned);
        let row = line(&Row { id: "c01", cells, verdict: "pass" });
        assert_eq!(row.len(), heading.trim_end().len() + "  pass".len());
        assert_eq!(maybe(None, 2), "-");
    }
}
