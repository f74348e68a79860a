//! The stand-in's books, read as they grow: who was served when.

use github_sim::Sim;

/// Agents ask for this, each with its number behind it.
pub(super) const TARGET: &str = "/repos/acme/widgets?agent=";

/// A call that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at_ms: i64,
    agent: usize,
}

/// A span of the stand-in's time, epoch milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

impl Span {
    pub(super) fn new(from_ms: i64, to_ms: i64) -> Span {
        Span { from_ms, to_ms }
    }

    fn has(self, at_ms: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&at_ms)
    }

    #[allow(clippy::cast_precision_loss, reason = "spans are minutes")]
    fn seconds(self) -> f64 {
        (self.to_ms - self.from_ms) as f64 / 1000.0
    }
}

/// Every call of an agent that the stand-in served, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    seen: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// Reads on. A call that has no status yet ends it: it and what follows are read the next time.
    pub(super) fn read(&mut self, sim: &Sim) {
        // One that was cut off never has a status.
        let given_up_ms = sim.clock().now_epoch_ms() - 5_000;
        for record in sim.requests_since(self.seen) {
            if record.status.is_none() && record.at_epoch_ms > given_up_ms {
                return;
            }
            self.seen = record.seq;
            let agent = record.target.strip_prefix(TARGET).and_then(|agent| agent.parse().ok());
            if let (Some(200), Some(agent)) = (record.status, agent) {
                self.entries.push(Entry { at_ms: record.at_epoch_ms, agent });
            }
        }
    }

    /// GitHub's windows: each begins with the first call that is charged after the last one's end.
    pub(super) fn windows(&self, seconds: i64) -> Vec<Span> {
        let mut windows: Vec<Span> = Vec::new();
        for entry in &self.entries {
            if windows.last().is_none_or(|last| entry.at_ms >= last.to_ms) {
                let from_ms = entry.at_ms.div_euclid(1000) * 1000;
                windows.push(Span::new(from_ms, from_ms + seconds * 1000));
            }
        }
        windows
    }

    pub(super) fn served(&self, span: Span) -> usize {
        self.entries.iter().filter(|entry| span.has(entry.at_ms)).count()
    }

    /// Calls a second.
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    pub(super) fn pace(&self, span: Span) -> f64 {
        self.served(span) as f64 / span.seconds()
    }

    /// The largest part by which an agent's share differs from that of its weight, and whose it is.
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    pub(super) fn share_error(&self, span: Span, weights: &[u64]) -> (f64, usize) {
        let mut counts = vec![0_u64; weights.len()];
        for entry in self.entries.iter().filter(|entry| span.has(entry.at_ms)) {
            counts[entry.agent] += 1;
        }
        let part = counts.iter().sum::<u64>() as f64 / weights.iter().sum::<u64>() as f64;
        let error = |(agent, (&count, &weight)): (usize, (&u64, &u64))| {
            let error = (count as f64 / (part * weight as f64) - 1.0).abs();
            // Nobody was served: nothing was shared.
            (if error.is_nan() { 1.0 } else { error }, agent)
        };
        let errors = counts.iter().zip(weights).enumerate().map(error);
        errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(entries: &[(i64, usize)]) -> Journal {
        let entries = entries.iter().map(|&(at_ms, agent)| Entry { at_ms, agent }).collect();
        Journal { seen: 0, entries }
    }

    #[test]
    fn a_window_opens_with_its_first_call() {
        let journal = journal(&[(1_500, 0), (10_999, 0), (11_000, 0), (50_100, 0)]);
        assert_eq!(
            journal.windows(10),
            [Span::new(1_000, 11_000), Span::new(11_000, 21_000), Span::new(50_000, 60_000)]
        );
    }

    #[test]
    fn shares_are_by_weight() {
        let journal = journal(&[(1, 0), (2, 1), (3, 1), (4, 1), (99, 0)]);
        let span = Span::new(0, 10);
        assert_eq!(journal.share_error(span, &[1, 3]).0, 0.0);
        assert_eq!(journal.share_error(span, &[1, 1]).0, 0.5);
        assert_eq!(journal.share_error(Span::new(20, 30), &[1, 1]).0, 1.0);
        assert_eq!((journal.served(span), journal.pace(span)), (4, 400.0));
    }
}
