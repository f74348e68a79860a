//! Values written with their unit: `30s`, `256MiB`, `10%`. A bare number is refused, because a
//! reader can't tell seconds from milliseconds in it, nor can we.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::{Designator, SpanParser, SpanPrinter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time such as `500ms`, `30s` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

/// A number of bytes such as `100MiB`; `0` needs no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// A part of a whole such as `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(pub u8);

/// Largest first, so that a size prints in the largest unit that divides it.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

impl Period {
    pub const fn from_secs(secs: u64) -> Period {
        Period(Duration::from_secs(secs))
    }

    pub const fn from_millis(millis: u64) -> Period {
        Period(Duration::from_millis(millis))
    }
}

/// Reads a unit's text form; `zero` says whether a plain `0` is one, too.
trait Unit: Sized + Copy {
    const EXPECTED: &'static str;
    const PATTERN: &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn zero() -> Option<Self> {
        None
    }
}

impl Unit for Period {
    const EXPECTED: &'static str = "a duration with its unit, such as 500ms, 30s or 1h";
    const PATTERN: &'static str = r"^ *[0-9]+(\.[0-9]+)? ?[A-Za-zµ]+( ?[0-9]+(\.[0-9]+)? ?[A-Za-zµ]+)* *$";

    fn parse(text: &str) -> Option<Period> {
        SpanParser::new().parse_unsigned_duration(text).ok().map(Period)
    }
}

impl Unit for Size {
    const EXPECTED: &'static str = "a size with its unit, such as 512KiB, 100MiB or 2GiB (or 0)";
    const PATTERN: &'static str = "^(0|[0-9]+ *([kKmMgGtT][iI]?[bB]|B))$";

    fn parse(text: &str) -> Option<Size> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let factor = match unit.trim_start() {
            "" if number == 0 => 1,
            "B" => 1,
            unit => SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
        };
        number.checked_mul(factor).map(Size)
    }

    fn zero() -> Option<Size> {
        Some(Size(0))
    }
}

impl Unit for Percent {
    const EXPECTED: &'static str = "a percentage such as 10%";
    const PATTERN: &'static str = "^[0-9]{1,3} *%$";

    fn parse(text: &str) -> Option<Percent> {
        let number = text.strip_suffix('%')?.trim_end();
        number.parse().ok().filter(|percent| *percent <= 100).map(Percent)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = SpanPrinter::new().designator(Designator::Compact);
        f.write_str(&printer.unsigned_duration_to_string(&self.0))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None if self.0 == 0 => f.write_str("0"),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

struct UnitVisitor<T>(std::marker::PhantomData<T>);

impl<T: Unit> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let zero = if number == 0 { T::zero() } else { None };
        zero.ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }
}

macro_rules! written_with_unit {
    ($unit:ty, $name:literal) => {
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(UnitVisitor(std::marker::PhantomData))
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let text = json_schema!({ "type": "string", "pattern": <$unit as Unit>::PATTERN });
                match <$unit as Unit>::zero() {
                    None => text,
                    Some(_) => json_schema!({ "anyOf": [text, { "const": 0 }] }),
                }
            }
        }
    };
}

written_with_unit!(Period, "Period");
written_with_unit!(Size, "Size");
written_with_unit!(Percent, "Percent");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_units() {
        for (text, bytes, printed) in [
            ("0", Some(0), "0"),
            ("0B", Some(0), "0"),
            ("256MiB", Some(256 << 20), "256MiB"),
            ("100 mib", Some(100 << 20), "100MiB"),
            ("2GiB", Some(2 << 30), "2GiB"),
            ("5MB", Some(5_000_000), "5MB"),
            ("1500B", Some(1500), "1500B"),
            ("100", None, ""),
            ("MiB", None, ""),
            ("-1MiB", None, ""),
            ("1.5GiB", None, ""),
            ("99999999999TiB", None, ""),
        ] {
            let size = Size::parse(text);
            assert_eq!(size.map(|size| size.0), bytes, "{text}");
            assert_eq!(size.map(|size| size.to_string()).unwrap_or_default(), printed, "{text}");
        }
        for (text, millis, printed) in [
            ("4s", Some(4000), "4s"),
            ("1h", Some(3_600_000), "1h"),
            ("500ms", Some(500), "500ms"),
            ("1m 30s", Some(90_000), "1m 30s"),
            ("0s", Some(0), "0s"),
            ("4", None, ""),
            ("", None, ""),
            ("-4s", None, ""),
            ("soon", None, ""),
        ] {
            let period = Period::parse(text);
            assert_eq!(period.map(|period| period.0.as_millis()), millis, "{text}");
            assert_eq!(period.map(|period| period.to_string()).unwrap_or_default(), printed, "{text}");
        }
        for (text, percent) in
            [("0%", Some(0)), ("10%", Some(10)), ("101%", None), ("10", None), ("%", None), ("-1%", None)]
        {
            assert_eq!(Percent::parse(text).map(|percent| percent.0), percent, "{text}");
        }
    }
}
