//! Figures formatted for people.

/// `12 345`, with narrow spaces.
pub(crate) fn count(value: impl Into<i128>) -> String {
    let value = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "−".to_owned() } else { String::new() };
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `2 d 3 h`, `5 min 10 s`, `7 s`: the two largest units.
pub(crate) fn span(seconds: impl TryInto<u64>) -> String {
    let seconds = seconds.try_into().unwrap_or_default();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, 0) => format!("{m} min"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, 0, _) => format!("{h} h"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, 0, ..) => format!("{d} d"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// `0`, `40 ms`, `1.2 s`, `75 s`.
pub(crate) fn millis(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        1..1_000 => format!("{millis} ms"),
        1_000..10_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => span(millis / 1000),
    }
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{}.{} MiB", bytes / 1_048_576, bytes % 1_048_576 * 10 / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_right() {
        assert_eq!(
            [0, 999, 1_000, -1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "−1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            [0, 59, 60, 61, 3_600, 3_725, 90_000, 86_400].map(|s: i64| span(s)),
            ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 2 min", "1 d 1 h", "1 d"]
        );
        assert_eq!(span(-1_i64), "0 s");
        assert_eq!([0, 40, 1_290, 75_000].map(millis), ["0", "40 ms", "1.2 s", "1 min 15 s"]);
        assert_eq!([12, 2_048, 1_572_864].map(bytes), ["12 B", "2 KiB", "1.5 MiB"]);
    }
}
