//! What every plot is made of: a frame with scales, and shapes in it. Colours are classes of a style sheet.

use std::fmt::Write as _;

/// How a value becomes a height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From 0.
    Linear { max: f64 },
    /// What is below `min` is drawn at it.
    Log { min: f64, max: f64 },
}

impl Scale {
    /// Part of the height, 0 to 1.
    fn part(self, value: f64) -> f64 {
        let part = match self {
            Scale::Linear { max } => value / max.max(f64::MIN_POSITIVE),
            Scale::Log { min, max } => (value.max(min) / min).ln() / (max / min).ln(),
        };
        part.clamp(0.0, 1.0)
    }
}

/// A place for one plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Seconds of the run.
    pub(crate) seconds: f64,
    pub(crate) scale: Scale,
}

impl Frame {
    pub(crate) fn x(&self, second: f64) -> f64 {
        self.left + self.width * (second / self.seconds).clamp(0.0, 1.0)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - self.scale.part(value))
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Lines at some values with their names, and a mark where each window would begin.
    pub(crate) fn axes(&self, ticks: &[(f64, &str)], window_s: u64, has_times: bool) -> String {
        let mut text = String::new();
        for (value, name) in ticks {
            let (y, right) = (self.y(*value), self.left + self.width);
            let _ = write!(
                text,
                r#"<path class="grid" d="M{:.1} {y:.1}H{right:.1}"/><text class="tick end" x="{:.1}" y="{:.1}">{name}</text>"#,
                self.left,
                self.left - 5.0,
                y + 3.0,
            );
        }
        let bottom = self.bottom();
        let mut second = 0;
        while second as f64 <= self.seconds {
            let x = self.x(second as f64);
            let _ = write!(text, r#"<path class="mark" d="M{x:.1} {bottom:.1}v4"/>"#);
            if has_times {
                let _ = write!(
                    text,
                    r#"<text class="tick mid" x="{x:.1}" y="{:.1}">{second} s</text>"#,
                    bottom + 14.0
                );
            }
            second += window_s.max(1);
        }
        text
    }

    /// A filled shape under steps of a second each.
    pub(crate) fn area(&self, class: &str, values: &[f64]) -> String {
        let mut path = format!("M{:.1} {:.1}", self.x(0.0), self.bottom());
        let mut line = String::new();
        for (second, value) in values.iter().enumerate() {
            let (x, y) = (self.x(second as f64), self.y(*value));
            let _ = write!(path, "L{x:.1} {y:.1}");
            let _ = write!(line, "{}{x:.1} {y:.1}", if second == 0 { 'M' } else { 'L' });
        }
        let end = self.x(values.len().saturating_sub(1) as f64);
        let _ = write!(path, "L{end:.1} {:.1}Z", self.bottom());
        format!(r#"<path class="{class} fill" d="{path}"/><path class="{class} line" d="{line}"/>"#)
    }

    /// A line through points; where there is none, it is broken.
    pub(crate) fn line(&self, class: &str, points: &[(f64, Option<f64>)]) -> String {
        let mut path = String::new();
        let mut is_drawing = false;
        for (second, value) in points {
            if let Some(value) = value {
                let (letter, x, y) = (if is_drawing { 'L' } else { 'M' }, self.x(*second), self.y(*value));
                let _ = write!(path, "{letter}{x:.1} {y:.1}");
            }
            is_drawing = value.is_some();
        }
        if path.is_empty() { path } else { format!(r#"<path class="{class} line" d="{path}"/>"#) }
    }

    pub(crate) fn level(&self, class: &str, value: f64) -> String {
        let y = self.y(value);
        format!(r#"<path class="{class} level" d="M{:.1} {y:.1}h{:.1}"/>"#, self.left, self.width)
    }

    /// A bar from one value up to another.
    pub(crate) fn bar(&self, class: &str, from_s: f64, to_s: f64, low: f64, high: f64) -> String {
        if high <= low {
            return String::new();
        }
        let (x, y) = (self.x(from_s), self.y(high));
        let (width, height) = ((self.x(to_s) - x - 0.4).max(0.6), (self.y(low) - y).max(1.0));
        format!(r#"<path class="{class} bar" d="M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z"/>"#)
    }

    pub(crate) fn dot(&self, class: &str, second: f64, value: f64) -> String {
        format!(r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="1.9"/>"#, self.x(second), self.y(value))
    }

    /// For what is not there.
    pub(crate) fn says(&self, text: &str) -> String {
        let (x, y) = (self.left + self.width / 2.0, self.top + self.height / 2.0 + 4.0);
        format!(r#"<text class="says mid" x="{x:.1}" y="{y:.1}">{text}</text>"#)
    }
}

/// A number of a nice size, not below the given one.
pub(crate) fn nice(value: f64) -> f64 {
    let size = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0]
        .map(|step| step * size)
        .into_iter()
        .find(|nice| *nice >= value)
        .unwrap_or(value)
}

/// Text as markup shows it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_their_frame() {
        let scale = Scale::Log { min: 0.1, max: 100.0 };
        let frame = Frame { left: 10.0, top: 5.0, width: 100.0, height: 30.0, seconds: 60.0, scale };
        assert_eq!((frame.y(0.0), frame.y(0.1), frame.y(100.0), frame.y(1e9)), (35.0, 35.0, 5.0, 5.0));
        assert!((frame.y(10.0_f64.powf(0.5)) - 20.0).abs() < 1e-9);
        assert_eq!((frame.x(0.0), frame.x(30.0), frame.x(90.0)), (10.0, 60.0, 110.0));
        let linear = Frame { scale: Scale::Linear { max: 0.0 }, ..frame };
        assert!(linear.y(0.0).is_finite());
    }

    #[test]
    fn lines_break_where_there_is_nothing() {
        let frame = Frame {
            left: 0.0,
            top: 0.0,
            width: 10.0,
            height: 10.0,
            seconds: 10.0,
            scale: Scale::Linear { max: 10.0 },
        };
        let points = [(0.0, Some(0.0)), (1.0, None), (2.0, Some(5.0)), (3.0, Some(10.0))];
        assert!(frame.line("a", &points).contains("M0.0 10.0M2.0 5.0L3.0 0.0"));
        assert_eq!(frame.line("a", &[(0.0, None)]), "");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1.0, 3.0, 40.0, 501.0].map(nice), [1.0, 1.0, 3.0, 40.0, 600.0]);
        assert_eq!(escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
