//! What the replicas say of their store, and what the kernel says of them.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// Ticks of the kernel's accounting in a second; Linux has it so on every machine.
const TICKS_PER_SECOND: f64 = 100.0;
const FAMILY: &str = "tollgate_store_duration_seconds";

/// Readings of some replicas together, which only grow while these live.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    /// Calls to the store by what they were.
    pub(super) calls: BTreeMap<String, f64>,
    /// Calls by the upper bounds of their durations, cumulative. The bounds are text, for order by number.
    buckets: BTreeMap<u64, f64>,
    pub(super) upstream: f64,
    pub(super) cpu_s: f64,
}

impl Reading {
    /// Takes in one replica's `/metrics`.
    pub(super) fn add(&mut self, text: &str) {
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if let Some(labels) = series.strip_prefix(FAMILY).and_then(|rest| rest.strip_prefix("_count")) {
                *self.calls.entry(label(labels, "op").to_owned()).or_default() += value;
            } else if let Some(labels) = series.strip_prefix(FAMILY).and_then(|s| s.strip_prefix("_bucket")) {
                let bound = label(labels, "le").parse::<f64>().unwrap_or(f64::INFINITY);
                *self.buckets.entry(bound.to_bits()).or_default() += value;
            } else if series.starts_with("tollgate_upstream_requests_total{") {
                self.upstream += value;
            }
        }
    }

    /// What came since an earlier reading of the same replicas.
    pub(super) fn since(&self, earlier: &Reading) -> Reading {
        let less = |name: &String, value: &f64| value - earlier.calls.get(name).unwrap_or(&0.0);
        let fewer = |bound: &u64, value: &f64| value - earlier.buckets.get(bound).unwrap_or(&0.0);
        Reading {
            calls: self.calls.iter().map(|(name, value)| (name.clone(), less(name, value))).collect(),
            buckets: self.buckets.iter().map(|(bound, value)| (*bound, fewer(bound, value))).collect(),
            upstream: self.upstream - earlier.upstream,
            cpu_s: self.cpu_s - earlier.cpu_s,
        }
    }

    pub(super) fn calls_total(&self) -> f64 {
        self.calls.values().sum()
    }

    /// Of these kinds.
    pub(super) fn calls_of(&self, ops: &[&str]) -> f64 {
        ops.iter().filter_map(|op| self.calls.get(*op)).sum()
    }

    /// Half of the calls took at most this many seconds; interpolated within a bucket.
    pub(super) fn median_s(&self) -> f64 {
        let half = self.buckets.values().copied().fold(0.0, f64::max) / 2.0;
        let (mut below, mut counted) = (0.0, 0.0);
        // Bits of positive floats are ordered as these are.
        for (bound, count) in self.buckets.iter().map(|(bits, count)| (f64::from_bits(*bits), *count)) {
            if count >= half && count > counted {
                return below + (bound - below) * (half - counted) / (count - counted);
            }
            (below, counted) = (bound, count);
        }
        0.0
    }
}

/// What a family of the pools says of `core`.
pub(super) fn core_pool<'a>(text: &'a str, family: &str) -> Option<&'a str> {
    let mut samples = text.lines().filter_map(|line| line.strip_prefix(family)?.rsplit_once(' '));
    samples.find(|(labels, _)| label(labels, "resource") == "core").map(|(_, value)| value)
}

/// A label's value; the values asked for here hold neither quotes nor commas.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let labels = labels.trim_matches(['{', '}']).split(',');
    let mut values = labels.filter_map(|label| label.split_once('=')).filter(|(found, _)| *found == name);
    values.next().map_or("", |(_, value)| value.trim_matches('"'))
}

/// Processor time of a process since it began, seconds.
pub(super) fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu(&stat).with_context(|| format!("/proc/{pid}/stat has another form: {stat}"))
}

fn parse_cpu(stat: &str) -> Option<f64> {
    // The name of the program is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_prometheus_reads() {
        let text = "tollgate_store_duration_seconds_bucket{op=\"admit\",le=\"0.001\"} 6\n\
                    tollgate_store_duration_seconds_bucket{op=\"admit\",le=\"0.0005\"} 2\n\
                    tollgate_store_duration_seconds_bucket{op=\"admit\",le=\"+Inf\"} 8\n\
                    tollgate_store_duration_seconds_count{op=\"admit\"} 8\n\
                    tollgate_upstream_requests_total{installation=\"a/b\",resource=\"core\",status=\"200\"} 3\n";
        let mut reading = Reading::default();
        reading.add(text);
        let half = reading.clone();
        reading.add(text);
        assert_eq!(
            (reading.calls_total(), reading.calls_of(&["admit"]), reading.upstream),
            (16.0, 16.0, 6.0)
        );
        assert!((reading.median_s() - 0.000_75).abs() < 1e-9, "{}", reading.median_s());
        assert_eq!(reading.since(&half), half);
        assert_eq!(Reading::default().median_s(), 0.0);
        let pools = "pool{installation=\"a/b\",resource=\"search\"} 1\npool{installation=\"a/b\",resource=\"core\"} 2\n";
        assert_eq!((core_pool(pools, "pool"), core_pool(pools, "other")), (Some("2"), None));
    }

    #[test]
    fn reads_processor_time() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 5 0 100 1 2";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_cpu("7 (a) S 1"), None);
        assert!(cpu_s(std::process::id()).unwrap() >= 0.0);
    }
}
