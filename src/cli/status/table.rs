//! The snapshot as plain tables. Pure text, no terminal.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};

use crate::admin::words::{bytes, count, millis, span};
use crate::status::{AgentStatus, PoolStatus, RefusalStatus, Status};

/// Rows of each kind; `--json` has them all.
const ROWS_MAX: usize = 30;
const REFUSALS_MAX: usize = 8;
const ROUTES_MAX: usize = 8;
/// Cells of a bar, and on a terminal of fewer columns than `WIDE`.
const BAR: usize = 20;
const BAR_NARROW: usize = 10;
const WIDE: u16 = 100;
const REASON_CHARS: usize = 60;

/// A rule below the titles, nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

pub(super) fn frame(status: &Status, width: u16) -> String {
    let mut text = head(status);
    part(&mut text, "POOLS", &pools(status, width), status.pools.len(), ROWS_MAX);
    part(&mut text, "AGENTS", &agents(status, width), status.agents.len(), ROWS_MAX);
    part(&mut text, "WHO BURNS MOST", &routes(status, width), status.routes.len(), ROUTES_MAX);
    let latest = &status.refusals;
    part(
        &mut text,
        "LAST REFUSALS",
        &refusals(latest, status.now_epoch_ms, width),
        latest.len(),
        REFUSALS_MAX,
    );
    part(&mut text, "TOKENS", &tokens(status, width), status.tokens.len(), ROWS_MAX);
    for hint in &status.hints {
        let _ = writeln!(text, "hint to {} agent(s): {}", hint.agents.len(), hint.text);
    }
    text
}

fn head(status: &Status) -> String {
    let hits: u64 = status.limit_hits.values().sum();
    let saved: u64 = status.cache.saved.values().sum();
    let waiting: usize = status.agents.iter().map(|agent| agent.waiting).sum();
    let mut text = format!(
        "tollgate {} · up {} · store {} {} · {} replica(s){}\n\
         GitHub's rate refusals {} · waiting {} · cache saved {} points, keeps {}\n",
        status.version,
        span(status.uptime_seconds),
        status.store.kind,
        if status.store.is_up { "up" } else { "AWAY" },
        status.store.replicas,
        if status.is_draining { " · DRAINING" } else { "" },
        count(hits),
        waiting,
        count(saved),
        bytes(status.cache.bytes),
    );
    if !status.approvals.is_empty() {
        let results: Vec<String> =
            status.approvals.iter().map(|(result, number)| format!("{result} {number}")).collect();
        let _ = writeln!(text, "approvals: {}", results.join(", "));
    }
    if !status.observing.is_empty() {
        let _ = writeln!(text, "OBSERVE MODE: {}", status.observing.join(", "));
    }
    for problem in &status.config.problems {
        let _ = writeln!(text, "CONFIGURATION FILE NOT IN FORCE: {problem}");
    }
    if !status.config.needs_start.is_empty() {
        let _ = writeln!(text, "TAKES EFFECT AT A START: {}", status.config.needs_start.join(", "));
    }
    text
}

fn part(text: &mut String, title: &str, table: &Table, rows: usize, most: usize) {
    if rows == 0 {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if rows > most {
        let _ = writeln!(text, "… and {} more (--json has all)", rows - most);
    }
}

/// Columns that end with `#` hold figures.
fn table(width: u16, titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).force_no_tty().set_width(width);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(titles.iter().map(|title| Cell::new(title.trim_end_matches('#'))));
    table.add_rows(rows);
    for (column, title) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, 2));
        if title.ends_with('#') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn pools(status: &Status, width: u16) -> Table {
    let titles = ["pool", "", "used#", "limit#", "in flight#", "at reset#", "resets in#"];
    let bar_len = if width < WIDE { BAR_NARROW } else { BAR };
    let rows = status.pools.iter().take(ROWS_MAX).map(|pool| {
        let forecast = match pool.forecast {
            Some(forecast) => match forecast.full_in_seconds {
                Some(seconds) => format!("spent in {}", span(seconds)),
                None => format!("≈ {}", count(forecast.used_at_reset)),
            },
            None => "–".to_owned(),
        };
        let when = match pool.cooldown_seconds {
            0 => span(pool.reset_in_seconds),
            hold => format!("{}, HOLD {}", span(pool.reset_in_seconds), span(hold)),
        };
        vec![
            format!("{} {}", pool.installation, pool.resource),
            bar(pool, bar_len),
            count(pool.used),
            count(pool.limit),
            count(pool.in_flight),
            forecast,
            when,
        ]
    });
    table(width, &titles, rows)
}

fn bar(pool: &PoolStatus, len: usize) -> String {
    let number = |points: i64| usize::try_from(points.max(0)).unwrap_or(usize::MAX);
    let cells = |points| (number(points).saturating_mul(len) / number(pool.limit.max(1))).min(len);
    let used = cells(pool.used);
    let ahead = cells(pool.forecast.map_or(0, |forecast| forecast.used_at_reset)).saturating_sub(used);
    format!("{}{}{}", "█".repeat(used), "▒".repeat(ahead), "·".repeat(len - used - ahead))
}

fn agents(status: &Status, width: u16) -> Table {
    let titles = [
        "agent",
        "",
        "weight#",
        "share#",
        "spent in window#",
        "in all#",
        "waiting#",
        "longest#",
        "mean wait#",
    ];
    let rows = status.agents.iter().take(ROWS_MAX).map(|agent: &AgentStatus| {
        let state = match agent {
            _ if agent.is_disabled_in_file => "off:file",
            _ if agent.is_disabled => "off",
            _ => "",
        };
        vec![
            agent.name.clone(),
            state.to_owned(),
            agent.weight.to_string(),
            agent.share_ratio.map_or("idle".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0)),
            count(agent.spent_in_windows),
            count(agent.spent),
            agent.waiting.to_string(),
            millis(agent.longest_wait_ms),
            millis(agent.mean_wait_ms),
        ]
    });
    table(width, &titles, rows)
}

fn routes(status: &Status, width: u16) -> Table {
    let rows = status.routes.iter().take(ROUTES_MAX);
    table(
        width,
        &["agent", "route", "points#"],
        rows.map(|row| vec![row.agent.clone(), row.route.clone(), count(row.points)]),
    )
}

fn refusals(refusals: &[RefusalStatus], now_epoch_ms: i64, width: u16) -> Table {
    let rows = refusals.iter().take(REFUSALS_MAX).map(|refusal| {
        vec![
            format!("{} ago", span((now_epoch_ms - refusal.at_epoch_ms) / 1000)),
            refusal.agent.clone().unwrap_or_else(|| "–".to_owned()),
            format!("{} ×{}", refusal.code, refusal.count),
            format!("{} {}", refusal.method, refusal.path),
            cut(&refusal.reason),
        ]
    });
    let mut table = table(width, &["when#", "agent", "code", "request", "why"], rows);
    // A code is looked for as it is in docs/errors.md, so it stands on one line.
    if let Some(code) = table.column_mut(2) {
        code.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// The reason's beginning; all of it is in `--json` and in the audit log.
fn cut(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARS) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

fn tokens(status: &Status, width: u16) -> Table {
    let rows = status.tokens.iter().take(ROWS_MAX).map(|row| {
        vec![
            row.installation.clone(),
            row.access.clone(),
            count(row.count),
            span(row.oldest_age_seconds),
            span(row.first_expiry_in_seconds),
            if row.is_failing { "FAILING" } else { "fine" }.to_owned(),
        ]
    });
    table(width, &["installation", "access", "tokens#", "oldest#", "first ends in#", "renewal"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::snapshot;

    #[test]
    fn a_code_stands_on_one_line_however_narrow_the_terminal_is() {
        let refusal = RefusalStatus {
            at_epoch_ms: 0,
            agent: Some("an-agent-with-a-long-name".to_owned()),
            code: "operation_forbidden".to_owned(),
            method: "DELETE".to_owned(),
            operation: "repos/delete".to_owned(),
            path: "/repos/acme/a-repository-with-a-long-name".to_owned(),
            reason: "Operations of class admin are not open to agent reviewer".to_owned(),
            count: 12,
        };
        let text = refusals(&[refusal], 60_000, 60).to_string();
        assert!(text.contains("operation_forbidden ×12"), "{text}");
    }

    #[test]
    fn a_bar_is_as_long_whatever_is_in_it() {
        for used in [-5, 0, 2_500, 5_000, 90_000] {
            let pool = PoolStatus::new("bot/acme", &snapshot(used, 0, 1_800_000), 0);
            for len in [BAR, BAR_NARROW] {
                assert_eq!(bar(&pool, len).chars().count(), len, "{used}");
            }
        }
        let half = PoolStatus::new("bot/acme", &snapshot(1_250, 0, 1_800_000), 0);
        assert_eq!(bar(&half, BAR), "█████▒▒▒▒▒··········");
        assert_eq!(bar(&half, BAR_NARROW), "██▒▒▒·····");
    }
}
