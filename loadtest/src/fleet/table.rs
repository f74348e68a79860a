//! The figures as a table for a terminal.

use comfy_table::presets::ASCII_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::figures::Figures;

/// A row for each contestant.
pub(crate) fn table(all: &[Figures]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "",
        "useful answers",
        "core used",
        "GraphQL used",
        "refused by GitHub",
        "share error\nagent / class",
        "a human waits, s\np50 / p99 / max",
        "unanswered",
    ]);
    for figures in all {
        let (fairness, waits) = (&figures.fairness, &figures.waits);
        table.add_row([
            figures.title.clone(),
            format!("{} of {}", figures.served, figures.due),
            percent(figures.core_used),
            percent(figures.graphql_used),
            refusals(figures),
            format!("{:.2} / {:.2}", fairness.error_max, fairness.class_error_max),
            format!("{} / {} / {}", seconds(waits.p50_s), seconds(waits.p99_s), seconds(waits.max_s)),
            format!("{} of {}", waits.unserved, waits.count),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

fn refusals(figures: &Figures) -> String {
    let primary = figures.refusals.get("primary").copied().unwrap_or(0);
    match figures.refused() {
        0 => "0".to_owned(),
        all => format!("{all} ({primary} primary)"),
    }
}
