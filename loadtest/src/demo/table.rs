//! The picture: one snapshot as the live table or as a plain line. Pure text, no terminal.

use std::fmt::{Display, Write as _};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, LineStyle, Table, TableStyle, Width,
};
use crossterm::style::Stylize as _;

use super::snapshot::{AgentRow, GithubSide, IncidentRow, Snapshot, Window};

/// Title, width and whether it is a number. Fixed widths, so that nothing jumps.
const COLUMNS: [(&str, u16, bool); 10] = [
    ("agent", 10, false),
    ("weight", 6, true),
    ("fair %", 6, true),
    ("share %", 7, true),
    ("doing", DOING_MIN, false),
    ("served", 6, true),
    ("waits", 5, true),
    ("held s", 6, true),
    ("later", 5, true),
    ("denied", 6, true),
];
/// What the titles mean.
const LEGEND: &str = "share: of the last 6 s; waits: held by tollgate now; held: median; \
                      later: sent away with a retry-after, and obeyed it";

/// The column that takes what the others leave.
const DOING: usize = 4;
const DOING_MIN: u16 = 13;
const DOING_MAX: u16 = 43;
/// All columns and their gaps with [`DOING_MIN`].
const WIDTH_MIN: u16 = 80;
/// Where the text beside a title begins.
const INDENT: u16 = 11;

/// What one does that sleeps.
const ASLEEP: &str = "asleep";

/// A rule below the titles, nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// Colours, where there may be any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    pub(crate) is_on: bool,
}

impl Paint {
    fn with<T: Display, S: Display>(self, text: T, style: impl FnOnce(String) -> S) -> String {
        if self.is_on { style(text.to_string()).to_string() } else { text.to_string() }
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.with(text, |text| text.bold())
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.with(text, |text| text.dark_grey())
    }

    pub(crate) fn accent(self, text: impl Display) -> String {
        self.with(text, |text| text.cyan())
    }

    fn refusal(self, text: impl Display) -> String {
        self.with(text, |text| text.yellow())
    }

    /// A count that must be 0.
    fn zero(self, count: u64) -> String {
        self.with(count, |text| if count == 0 { text.green().bold() } else { text.red().bold() })
    }
}

/// The live table, for a terminal of that many columns.
pub(crate) fn frame(snapshot: &Snapshot, width: u16, paint: Paint) -> String {
    let mut frame = String::new();
    let (requests, rate) = totals(&snapshot.agents);
    let running = format!("{} s", snapshot.elapsed.as_secs());
    let head = format!(
        "{running:>6}   {requests} requests   {rate:.1} a second   {} failed",
        failed(&snapshot.agents)
    );
    let _ = writeln!(frame, " {}{}", paint.bold(head), paint.dim("   Ctrl-C ends it"));
    let _ = writeln!(frame, "{}", agents(&snapshot.agents, width, paint));
    for text in wrapped(LEGEND, width.saturating_sub(1)) {
        let _ = writeln!(frame, " {}", paint.dim(text));
    }
    frame.push('\n');
    let mut section = |label: &str, texts: Vec<String>| {
        for (row, text) in texts.iter().enumerate() {
            let _ = writeln!(frame, " {}  {text}", title(if row == 0 { label } else { "" }, paint));
        }
    };
    let room = width.saturating_sub(INDENT);
    section("shares", wrapped(&sharing(&snapshot.agents), room));
    let denied = snapshot.agents.iter().filter(|row| !row.refused.is_empty());
    let denied = denied.flat_map(|row| wrapped(&refusals(row), room));
    section("denied", denied.map(|text| paint.refusal(text)).collect());
    section("pool", snapshot.github.core.map_or_else(Vec::new, |core| wrapped(&pool(core), room)));
    section("GitHub", github(&snapshot.github, paint));
    if snapshot.by_hand > 0 {
        section("by hand", vec![format!("{} requests with your key", snapshot.by_hand)]);
    }
    let lately = snapshot.incidents.iter().rev();
    section("lately", lately.map(|row| incident(row, width, paint)).collect());
    frame
}

fn title(text: &str, paint: Paint) -> String {
    paint.bold(format!("{text:<8}"))
}

/// All requests so far, and their rate.
fn totals(rows: &[AgentRow]) -> (u64, f64) {
    (rows.iter().map(|row| row.requests).sum(), rows.iter().map(|row| row.rate).sum())
}

fn failed(rows: &[AgentRow]) -> u64 {
    rows.iter().map(|row| row.failed).sum()
}

fn agents(rows: &[AgentRow], width: u16, paint: Paint) -> Table {
    let doing = (DOING_MIN + width.saturating_sub(WIDTH_MIN)).min(DOING_MAX);
    let mut columns = COLUMNS;
    columns[DOING].1 = doing;
    let mut table = Table::new();
    table.load_style(STYLE);
    if paint.is_on {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.map(|(title, ..)| Cell::new(title).add_attribute(Attribute::Bold)));
    table.add_rows(rows.iter().map(|row| cells(row, doing)));
    for (column, (_, width, is_number)) in table.column_iter_mut().zip(columns) {
        column.set_padding((1, 0));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + 1)));
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cells(row: &AgentRow, doing: u16) -> [Cell; 10] {
    let coloured = |count: u64, color: Color| {
        let cell = Cell::new(count);
        if count == 0 { cell } else { cell.fg(color) }
    };
    let tenths = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let does =
        if row.is_asleep { Cell::new(ASLEEP).fg(Color::Magenta) } else { Cell::new(cut(&row.doing, doing)) };
    [
        Cell::new(cut(&row.name, COLUMNS[0].1)).fg(Color::Cyan),
        Cell::new(row.weight),
        Cell::new(tenths(row.fair)),
        // One that does not share has nothing it could be compared with.
        Cell::new(tenths(row.share)).add_attribute(Attribute::Bold),
        does,
        coloured(row.served, Color::Green),
        Cell::new(row.waiting),
        Cell::new(tenths(row.held.map(|held| held.as_secs_f64()))),
        coloured(row.later, Color::Yellow),
        coloured(row.refused_total() + row.failed, Color::Yellow),
    ]
}

/// Whose share is lent, in words.
fn sharing(rows: &[AgentRow]) -> String {
    let lends = |row: &&AgentRow| row.is_asleep && row.fair.is_some();
    let asleep: Vec<&str> = rows.iter().filter(lends).map(|row| row.name.as_str()).collect();
    if asleep.is_empty() {
        return "everybody is awake and wants more than there is: shares go to the weights".to_owned();
    }
    let lent: f64 = rows.iter().filter(lends).filter_map(|row| row.fair).sum();
    format!("{} asleep: {lent:.1}\u{a0}% are lent to the others, by weight", asleep.join(", "))
}

/// So much of a text as fits; with an ellipsis if that is not all.
fn cut(text: &str, width: u16) -> String {
    let width = usize::from(width);
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// Codes and how often, the most frequent first.
fn refusals(row: &AgentRow) -> String {
    let mut codes: Vec<(&String, &u64)> = row.refused.iter().collect();
    codes.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), *code));
    let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{code}\u{a0}{count}")).collect();
    format!("{}: {}", row.name, codes.join(", "))
}

/// Lines of at most so many characters, broken at spaces; what stands around U+00A0 stays together.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= usize::from(width) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

fn github(side: &GithubSide, paint: Paint) -> Vec<String> {
    let GithubSide { arrived, minted, .. } = side;
    let refused = paint.zero(side.refusals);
    let counts = format!("{arrived} calls arrived, {minted} tokens minted, refused by GitHub {refused}");
    let must_not = format!(
        "limit hits {}   leaked credentials {}   merges {} {}",
        paint.zero(side.limit_hits),
        paint.zero(side.keys_leaked + side.tokens_leaked),
        paint.zero(side.merges),
        paint.dim(format!("({} tried)", side.merges_tried)),
    );
    vec![counts, must_not]
}

fn pool(core: Window) -> String {
    let Window { limit, used, rate, resets_in } = core;
    format!("{used} of {limit} points used, new ones in {resets_in:.0} s; {rate:.1} a second are given out")
}

fn incident(row: &IncidentRow, width: u16, paint: Paint) -> String {
    let at = format!("{:>6.1} s", row.at.as_secs_f64());
    // Time, agent and the gaps take 22 columns; the longest code, 20.
    let left = width.saturating_sub(INDENT + 22);
    let what_width = left.saturating_sub(20).clamp(10, 34);
    let what = cut(&row.what, what_width);
    let why = paint.refusal(cut(&row.why, left.saturating_sub(what_width).max(10)));
    let what_width = usize::from(what_width);
    format!("{}  {:<10} {what:<what_width$} {why}", paint.dim(at), cut(&row.agent, 10))
}

/// One line, for logs.
pub(crate) fn line(snapshot: &Snapshot) -> String {
    let rows = &snapshot.agents;
    let (requests, _) = totals(rows);
    let total = |count: fn(&AgentRow) -> u64| -> u64 { rows.iter().map(count).sum() };
    let side = &snapshot.github;
    let pool = side.core.map_or_else(String::new, |core| {
        let Window { limit, used, rate, resets_in } = core;
        format!(" | pool {used} of {limit}, new in {resets_in:.0} s, {rate:.1}/s")
    });
    format!(
        "{:>4} s  shares/fair %: {} | {requests} requests: {} ok, {} later, {} denied, {} failed{pool} | GitHub: \
         {} refusals, {} limit hits, {} leaks, {} of {} merges",
        snapshot.elapsed.as_secs(),
        shares(rows),
        total(|row| row.served),
        total(|row| row.later),
        total(AgentRow::refused_total),
        total(|row| row.failed),
        side.refusals,
        side.limit_hits,
        side.keys_leaked + side.tokens_leaked,
        side.merges,
        side.merges_tried,
    )
}

/// What each had lately, and what is fair.
fn shares(rows: &[AgentRow]) -> String {
    let told = rows.iter().filter_map(|row| {
        let fair = row.fair?;
        let share = row.share.map_or("-".to_owned(), |share| format!("{share:.0}"));
        let asleep = if row.is_asleep { " (asleep)" } else { "" };
        Some(format!("{} {share}/{fair:.0}{asleep}", row.name))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The agents' table alone, as it stands at the end.
pub(crate) fn last(snapshot: &Snapshot, width: u16, paint: Paint) -> String {
    agents(&snapshot.agents, width, paint).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    const WIDTH: u16 = 100;
    const PLAIN: Paint = Paint { is_on: false };

    fn row() -> AgentRow {
        AgentRow {
            name: "rogue".to_owned(),
            weight: 1,
            doing: "merges pull request 76".to_owned(),
            requests: 1234,
            served: 0,
            refused: BTreeMap::from([("approval_required".to_owned(), 3), ("bad_request".to_owned(), 9)]),
            failed: 0,
            rate: 1.44,
            fair: None,
            share: None,
            is_asleep: false,
            waiting: 0,
            held: None,
            later: 0,
        }
    }

    fn sleeper() -> AgentRow {
        AgentRow {
            name: "sleeper".to_owned(),
            weight: 3,
            doing: "reads issue 7".to_owned(),
            requests: 110,
            served: 100,
            refused: BTreeMap::new(),
            fair: Some(16.66),
            share: Some(15.21),
            waiting: 8,
            held: Some(Duration::from_millis(1234)),
            later: 10,
            ..row()
        }
    }

    fn snapshot() -> Snapshot {
        let window = Window { used: 679.0, limit: 5000.0, rate: 45.04, resets_in: 41.6 };
        let github = GithubSide {
            arrived: 99,
            minted: 2,
            core: Some(window),
            merges_tried: 4,
            ..GithubSide::default()
        };
        let incident = IncidentRow {
            at: Duration::from_millis(1500),
            agent: "rogue".to_owned(),
            what: "merges pull request 76".to_owned(),
            why: "approval_required".to_owned(),
        };
        Snapshot {
            elapsed: Duration::from_secs(12),
            agents: vec![row()],
            github,
            by_hand: 0,
            incidents: vec![incident],
        }
    }

    #[test]
    fn a_frame_has_every_figure_and_no_line_too_long() {
        let frame = frame(&snapshot(), WIDTH, PLAIN);
        for figure in [
            "12 s   1234 requests   1.4 a second   0 failed",
            "rogue: bad_request 9, approval_required 3",
            "679 of 5000 points used, new ones in 42 s; 45.0 a second are given out",
            "99 calls arrived, 2 tokens minted, refused by GitHub 0",
            "everybody is awake",
            "limit hits 0   leaked credentials 0   merges 0 (4 tried)",
            "1.5 s  rogue      merges pull request 76             approval_required",
        ] {
            assert!(frame.contains(figure), "{figure}\n{frame}");
        }
        assert!(frame.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{frame}");
        assert!(!frame.contains("by hand") && !frame.contains('\u{1b}'), "{frame}");
        let cells = cells_of(&frame, "rogue");
        assert_eq!(
            cells,
            ["rogue", "1", "-", "-", "merges", "pull", "request", "76", "0", "0", "-", "0", "12"]
        );
    }

    fn cells_of<'a>(frame: &'a str, agent: &str) -> Vec<&'a str> {
        let line = frame.lines().find(|line| line.trim_start().starts_with(agent)).unwrap();
        line.split_whitespace().collect()
    }

    #[test]
    fn shares_stand_beside_what_is_fair_and_a_sleeper_lends_its_own() {
        let mut snapshot = Snapshot { agents: vec![sleeper()], ..snapshot() };
        let awake = frame(&snapshot, WIDTH, PLAIN);
        let cells = cells_of(&awake, "sleeper");
        assert_eq!(
            cells,
            ["sleeper", "3", "16.7", "15.2", "reads", "issue", "7", "100", "8", "1.2", "10", "0"]
        );
        assert!(line(&snapshot).contains("sleeper 15/17 |"), "{}", line(&snapshot));
        snapshot.agents[0].is_asleep = true;
        let asleep = frame(&snapshot, WIDTH, PLAIN);
        assert_eq!(cells_of(&asleep, "sleeper")[4], "asleep");
        assert!(asleep.contains("sleeper asleep: 16.7 % are lent to the others"), "{asleep}");
        assert!(line(&snapshot).contains("sleeper 15/17 (asleep)"), "{}", line(&snapshot));
    }

    #[test]
    fn the_columns_stay_where_they_are() {
        let mut busy = snapshot();
        busy.agents[0].doing = "something that takes very many words to be said".to_owned();
        busy.agents[0].name = "reviewer-with-a-name".to_owned();
        let (calm, busy) = (frame(&snapshot(), WIDTH, PLAIN), frame(&busy, WIDTH, PLAIN));
        assert_eq!(calm.lines().count(), busy.lines().count());
        let rule = |frame: &str| frame.lines().find(|line| line.contains('─')).map(str::to_owned);
        assert_eq!(rule(&calm), rule(&busy));
        assert!(busy.contains("reviewer-…") && busy.contains("something that takes very many w…"), "{busy}");
    }

    #[test]
    fn it_fits_the_terminal() {
        let mut failing = snapshot();
        failing.incidents[0].why = "GitHub answered 404 with a message that has no end in sight".to_owned();
        for width in [80, 90, 100, 110, 200] {
            for line in frame(&failing, width, PLAIN).lines() {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
            let table = last(&snapshot(), width, PLAIN);
            let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(
                widest <= usize::from(width) && widest >= usize::from(width.min(110)) - 1,
                "{width}: {widest}"
            );
        }
    }

    #[test]
    fn breaks_lines_between_codes() {
        assert_eq!(refusals(&row()).replace('\u{a0}', " "), "rogue: bad_request 9, approval_required 3");
        assert_eq!(wrapped(&refusals(&row()), 22), ["rogue: bad_request 9,", "approval_required 3"]);
        assert_eq!(wrapped("a", 0), ["a"]);
    }

    #[test]
    fn colours_are_only_where_they_may_be() {
        assert!(frame(&snapshot(), WIDTH, Paint { is_on: true }).contains("\u{1b}["));
        assert!(!line(&snapshot()).contains('\u{1b}'));
        assert!(line(&snapshot()).contains(
            "| 1234 requests: 0 ok, 0 later, 12 denied, 0 failed | pool 679 of 5000, new in 42 s, 45.0/s"
        ));
    }
}
