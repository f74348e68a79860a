//! The four plots of a contestant, each in a frame it is given, on scales that all contestants share.

use super::figures::{Figures, Series};
use super::plan::Class;
use super::svg::{Frame, Scale, nice};

/// Seconds in a bar of refusals, and in a point of the shares.
const BAR_S: usize = 2;
const SHARE_S: usize = 5;
/// Fewer answers than this in a point say nothing of shares.
const ANSWERS_MIN: u64 = 15;
/// What waits are drawn between, seconds; half a minute of a minute's window is half an hour of GitHub's.
const WAIT_MIN_S: f64 = 0.1;
const WAIT_MAX_S: f64 = 100.0;

/// What is drawn, and on which scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plot {
    Remaining {
        limit: u64,
    },
    /// Refusals in a bar, at the most.
    Refusals {
        max: f64,
    },
    Shares,
    Waits,
}

impl Plot {
    /// A scale that fits all.
    pub(crate) fn refusals(all: &[&Figures]) -> Plot {
        let bars = all.iter().flat_map(|figures| bars(&figures.series)).map(|(_, [one, other])| one + other);
        Plot::Refusals { max: nice(bars.max().unwrap_or(0).max(10) as f64) }
    }

    pub(crate) fn scale(self) -> Scale {
        match self {
            Plot::Remaining { limit } => Scale::Linear { max: limit as f64 },
            Plot::Refusals { max } => Scale::Linear { max },
            Plot::Shares => Scale::Linear { max: 1.0 },
            Plot::Waits => Scale::Log { min: WAIT_MIN_S, max: WAIT_MAX_S },
        }
    }

    /// The plot with its axes.
    pub(crate) fn draw(self, frame: &Frame, figures: &Figures, window_s: u64, has_times: bool) -> String {
        let series = &figures.series;
        let (ticks, shapes) = match self {
            Plot::Remaining { limit } => {
                (vec![(0.0, "0".to_owned()), tick(limit as f64)], remaining(frame, series))
            }
            Plot::Refusals { max } => (vec![(0.0, "0".to_owned()), tick(max)], refusals(frame, series)),
            Plot::Shares => {
                let parts = [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")];
                (parts.map(|(value, name)| (value, name.to_owned())).to_vec(), shares(frame, figures))
            }
            Plot::Waits => {
                let times = [(0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"), (60.0, "60 s")];
                (times.map(|(value, name)| (value, name.to_owned())).to_vec(), waits(frame, series))
            }
        };
        let ticks: Vec<(f64, &str)> = ticks.iter().map(|(value, name)| (*value, name.as_str())).collect();
        format!("{}{shapes}", frame.axes(&ticks, window_s, has_times))
    }
}

fn tick(value: f64) -> (f64, String) {
    let name = if value >= 1000.0 && value % 100.0 == 0.0 {
        format!("{}k", value / 1000.0)
    } else {
        format!("{value}")
    };
    (value, name)
}

fn remaining(frame: &Frame, series: &Series) -> String {
    let values: Vec<f64> = series.remaining.iter().map(|left| *left as f64).collect();
    frame.area("left", &values)
}

/// Sums of some seconds, with the first of them.
fn bars(series: &Series) -> impl Iterator<Item = (usize, [u64; 2])> {
    let sum = |bins: &[[u64; 2]]| bins.iter().fold([0, 0], |sum, bin| [sum[0] + bin[0], sum[1] + bin[1]]);
    series.refusals.chunks(BAR_S).enumerate().map(move |(place, bins)| (place * BAR_S, sum(bins)))
}

fn refusals(frame: &Frame, series: &Series) -> String {
    let mut shapes = String::new();
    for (second, [primary, secondary]) in bars(series) {
        let (from, to) = (second as f64, (second + BAR_S) as f64);
        let (low, high) = (primary as f64, (primary + secondary) as f64);
        shapes += &frame.bar("primary", from, to, 0.0, low);
        shapes += &frame.bar("secondary", from, to, low, high);
    }
    if shapes.is_empty() { frame.says("none") } else { shapes }
}

fn shares(frame: &Frame, figures: &Figures) -> String {
    let mut shapes = String::new();
    for (place, class) in Class::READERS.iter().enumerate() {
        shapes += &frame.level(class.name(), figures.fairness.fair_parts.get(place).copied().unwrap_or(0.0));
        let points: Vec<(f64, Option<f64>)> = figures
            .series
            .readers
            .chunks(SHARE_S)
            .enumerate()
            .map(|(chunk, bins)| {
                let all: u64 = bins.iter().flatten().sum();
                let own: u64 = bins.iter().map(|bin| bin[place]).sum();
                let middle = (chunk * SHARE_S) as f64 + SHARE_S as f64 / 2.0;
                (middle, (all >= ANSWERS_MIN).then(|| own as f64 / all as f64))
            })
            .collect();
        shapes += &frame.line(class.name(), &points);
    }
    shapes
}

fn waits(frame: &Frame, series: &Series) -> String {
    let dots = series.waits.iter().map(|(due_s, wait_s, is_served)| {
        frame.dot(if *is_served { "served" } else { "unserved" }, *due_s, *wait_s)
    });
    dots.collect()
}
