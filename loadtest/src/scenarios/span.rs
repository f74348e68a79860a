//! Times of the format: seconds in the file, whole milliseconds in the runner.

use std::time::Duration;

use serde::Deserialize;

/// A length of time, or a time since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Span {
    ms: u64,
}

impl Span {
    pub(super) const fn of_ms(ms: u64) -> Span {
        Span { ms }
    }

    pub(super) fn ms(self) -> u64 {
        self.ms
    }

    pub(super) fn seconds(self) -> f64 {
        seconds(self.ms)
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

impl TryFrom<f64> for Span {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Span, String> {
        let span = Duration::try_from_secs_f64(seconds + 0.000_5).ok();
        let ms = span.and_then(|span| u64::try_from(span.as_millis()).ok());
        // Ten years: what is longer is a mistake, and would not add up.
        ms.filter(|ms| seconds >= 0.0 && *ms < 315_360_000_000)
            .map(Span::of_ms)
            .ok_or_else(|| format!("{seconds} is no time in seconds"))
    }
}

/// How far a clock jumps, forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Shift {
    pub(super) ms: i64,
}

impl TryFrom<f64> for Shift {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Shift, String> {
        let size = Span::try_from(seconds.abs())?;
        let ms = i64::try_from(size.ms()).map_err(|error| error.to_string())?;
        Ok(Shift { ms: if seconds < 0.0 { -ms } else { ms } })
    }
}

pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_the_nearest_millisecond() {
        for (seconds, ms) in [(0.0, 0), (1.799_999_999_999_999_8, 1800), (0.05, 50), (3600.0, 3_600_000)] {
            assert_eq!(Span::try_from(seconds).map(Span::ms), Ok(ms));
        }
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert!(Span::try_from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shift::try_from(-600.5).map(|shift| shift.ms), Ok(-600_500));
    }
}
