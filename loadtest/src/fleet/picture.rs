//! One picture for a first look: clients alone and tollgate, side by side on the same scales.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::Report;
use super::contestant::Contestant;
use super::figures::Figures;
use super::page::COLOURS;
use super::plots::Plot;
use super::svg::{Frame, grouped};
use super::table::seconds;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 470.0;
const MARGIN: f64 = 24.0;
/// Between the two sides, with room for the names of an axis.
const GAP: f64 = 64.0;
const BEFORE: f64 = 34.0;
const FIRST_TOP: f64 = 132.0;
const PLOT_HEIGHT: f64 = 76.0;
const PLOT_EVERY: f64 = 116.0;
const STYLE: &str = "\
    .title { font-size: 19px; font-weight: 650; } .sum { font-size: 13px; fill: var(--muted) !important; }
    .bad { fill: var(--primary) !important; font-weight: 650; } .good { fill: var(--good) !important; font-weight: 650; }
    .name { font-size: 12px; font-weight: 600; } .head { font-size: 13px; fill: var(--muted) !important; }
    .paper { fill: var(--surface); stroke: var(--rule); }";

/// The picture as SVG.
///
/// # Errors
/// When one of the two was not run.
pub(crate) fn picture(report: &Report) -> anyhow::Result<String> {
    let of = |contestant| report.contestants.iter().find(|figures| figures.contestant == contestant);
    let alone = of(Contestant::Alone).context("the picture needs `alone`")?;
    let ours = of(Contestant::Tollgate).context("the picture needs `tollgate`")?;
    let plots = [
        ("quota left, points", Plot::Remaining { limit: report.measures.limit }),
        ("refusals by GitHub, in 2 s", Plot::refusals(&[alone, ours])),
        ("waits of humans among them (hollow: never answered)", Plot::Waits),
    ];
    let (right, bottom) = (WIDTH - 1.0, HEIGHT - 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\"><title>The same fleet without and with tollgate</title>\
         <style>{COLOURS}{STYLE}</style>\
         <rect class=\"paper\" x=\".5\" y=\".5\" width=\"{right}\" height=\"{bottom}\" rx=\"8\"/>"
    );
    let measures = &report.measures;
    let _ = write!(
        svg,
        "<text class=\"head\" x=\"{MARGIN}\" y=\"34\">{} agents ask for twice what one GitHub App installation \
         may; an hour of GitHub’s is {} s here</text>",
        measures.agents, measures.window_s
    );
    let width = (WIDTH - 2.0 * MARGIN - BEFORE - GAP) / 2.0;
    for (place, figures) in [alone, ours].into_iter().enumerate() {
        let left = MARGIN + BEFORE + place as f64 * (width + GAP);
        svg += &heading(left - BEFORE, figures);
        for (row, (name, plot)) in plots.iter().enumerate() {
            let top = FIRST_TOP + row as f64 * PLOT_EVERY;
            let _ = write!(svg, "<text class=\"name\" x=\"{left:.1}\" y=\"{:.1}\">{name}</text>", top - 10.0);
            let seconds = measures.duration_ms() as f64 / 1000.0;
            let frame = Frame { left, top, width, height: PLOT_HEIGHT, seconds, scale: plot.scale() };
            svg += &plot.draw(&frame, figures, measures.window_s, row + 1 == plots.len());
        }
    }
    Ok(svg + "</svg>\n")
}

fn heading(left: f64, figures: &Figures) -> String {
    let title = match figures.contestant {
        Contestant::Alone => "Clients that back off as GitHub asks",
        _ => "The same clients through tollgate",
    };
    let refused = figures.refused();
    let class = if refused == 0 { "good" } else { "bad" };
    format!(
        "<text class=\"title\" x=\"{left:.1}\" y=\"68\">{title}</text><text class=\"sum\" x=\"{left:.1}\" y=\"90\">\
         <tspan class=\"{class}\">{} refusals</tspan> · a human waits {} s, 1 in 100 over {} s</text>",
        grouped(refused),
        seconds(figures.waits.p50_s),
        seconds(figures.waits.p99_s)
    )
}
