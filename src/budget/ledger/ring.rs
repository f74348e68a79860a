//! A count over a sliding time, kept in slots: never less than what really fell into that time.

use serde::{Serialize, Serializer};

/// Counts of the last slots. There is one slot more than the time needs, so that the oldest still
/// counts whole while only a part of it is inside the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    slot_ms: i64,
    /// Each slot's number since time 0 (-1 for none) and its count, at index `number mod length`.
    slots: Vec<(i64, i64)>,
}

impl Ring {
    /// Sixty seconds.
    pub fn minute() -> Ring {
        Ring::new(5_000, 13)
    }

    /// An hour.
    pub fn hour() -> Ring {
        Ring::new(150_000, 25)
    }

    fn new(slot_ms: i64, length: usize) -> Ring {
        Ring { slot_ms, slots: vec![(-1, 0); length] }
    }

    fn length(&self) -> i64 {
        i64::try_from(self.slots.len()).unwrap_or(i64::MAX)
    }

    fn slot(&mut self, number: i64) -> &mut (i64, i64) {
        let place = usize::try_from(number.rem_euclid(self.length())).unwrap_or_default();
        &mut self.slots[place]
    }

    pub fn add(&mut self, at: i64, count: i64) {
        let number = at.div_euclid(self.slot_ms);
        self.add_to_slot(number, count);
    }

    fn add_to_slot(&mut self, number: i64, count: i64) {
        let slot = self.slot(number);
        if slot.0 < number {
            *slot = (number, count);
        } else if slot.0 == number {
            slot.1 = (slot.1 + count).max(0);
        }
    }

    /// Takes back what was counted at `at`, if it still counts.
    pub fn take_back(&mut self, at: i64, count: i64) {
        let number = at.div_euclid(self.slot_ms);
        if self.slot(number).0 == number {
            self.add_to_slot(number, -count);
        }
    }

    pub fn sum(&self, now: i64) -> i64 {
        let oldest = now.div_euclid(self.slot_ms) - self.length();
        self.slots.iter().filter(|slot| slot.0 > oldest).map(|slot| slot.1).sum()
    }

    /// Milliseconds until at most `allowed` are counted; the ring's whole time if that never happens.
    pub fn wait_for(&self, now: i64, allowed: i64) -> i64 {
        let current = now.div_euclid(self.slot_ms);
        let mut sum = self.sum(now);
        for number in current - self.length() + 1..=current {
            let leaves_at = (number + self.length()) * self.slot_ms;
            let place = usize::try_from(number.rem_euclid(self.length())).unwrap_or_default();
            if self.slots[place].0 == number {
                sum -= self.slots[place].1;
            }
            if sum <= allowed {
                return (leaves_at - now).max(1);
            }
        }
        self.length() * self.slot_ms
    }

    /// Only the slots from the time `at` on.
    pub fn since(&self, at: i64) -> Ring {
        let first = at.div_euclid(self.slot_ms);
        let kept = |slot: &(i64, i64)| if slot.0 >= first { *slot } else { (-1, 0) };
        Ring { slot_ms: self.slot_ms, slots: self.slots.iter().map(kept).collect() }
    }

    /// Whether nothing counts any more.
    pub fn is_over(&self, now: i64) -> bool {
        self.sum(now) == 0
    }

    /// Adds the counts of another ring with the same slots.
    pub fn merge(&mut self, other: &Ring) {
        for (number, count) in other.slots.iter().filter(|slot| slot.1 > 0) {
            self.add_to_slot(*number, *count);
        }
    }
}

impl Serialize for Ring {
    /// Writes the number and count of each slot that counts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.slots.iter().filter(|slot| slot.1 > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn never_counts_less_than_the_sliding_minute(
            steps in proptest::collection::vec((0_i64..9_000, 1_i64..6), 1..200),
        ) {
            let mut ring = Ring::minute();
            let (mut now, mut log) = (1_700_000_000_123, Vec::new());
            for (step, count) in steps {
                now += step;
                ring.add(now, count);
                log.push((now, count));
                let exact: i64 = log.iter().filter(|(at, _)| *at > now - 60_000).map(|(_, n)| n).sum();
                let wide: i64 = log.iter().filter(|(at, _)| *at > now - 65_000).map(|(_, n)| n).sum();
                let sum = ring.sum(now);
                proptest::prop_assert!(exact <= sum && sum <= wide, "{exact} {sum} {wide}");
                let wait = ring.wait_for(now, sum / 2);
                proptest::prop_assert!(ring.sum(now + wait) <= sum / 2);
            }
        }
    }

    #[test]
    fn takes_back_and_merges() {
        let (mut ring, mut other) = (Ring::minute(), Ring::minute());
        ring.add(10_000, 5);
        ring.take_back(10_000, 5);
        assert!(ring.is_over(10_000));
        ring.take_back(10_000, 5);
        assert_eq!(ring.sum(10_000), 0);
        other.add(12_000, 3);
        ring.add(3_000, 1);
        ring.merge(&other);
        assert_eq!((ring.sum(12_000), ring.sum(70_000), ring.sum(80_000)), (4, 3, 0));
    }
}
