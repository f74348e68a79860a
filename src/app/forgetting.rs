//! When what is counted of agents that are gone may be dropped, however often the configuration changes.
//!
//! A turn is two minutes after the reload that called for it. Reloads meanwhile do not put it off, or a file
//! that changes every minute would keep all names there ever were; whom they removed is dropped at the next
//! turn, four minutes later at the most.

use std::time::Duration;

use tokio::time::Instant;

/// What they had under way has ended by then, and been read.
const AFTER: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Forgetting<Agents> {
    /// When, and who was there when it was called for: they are kept until the next turn at least.
    turn: Option<(Instant, Agents)>,
    is_again: bool,
}

impl<Agents> Forgetting<Agents> {
    pub(super) fn new() -> Self {
        Self { turn: None, is_again: false }
    }

    /// There was a reload, since which these are there.
    pub(super) fn call_for(&mut self, now: Instant, agents: Agents) {
        match &self.turn {
            Some(_) => self.is_again = true,
            None => self.turn = Some((now + AFTER, agents)),
        }
    }

    /// At a turn: whom to keep beside those who are there now, and the next turn, if there was a reload meanwhile.
    pub(super) fn take_turn(&mut self, now: Instant, agents: impl FnOnce() -> Agents) -> Option<Agents> {
        let (_, kept) = self.turn.take_if(|(at, _)| *at <= now)?;
        if std::mem::take(&mut self.is_again) {
            self.turn = Some((now + AFTER, agents()));
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_without_end_put_nothing_off() {
        let (start, mut forgetting) = (Instant::now(), Forgetting::new());
        let mut turns = Vec::new();
        for second in (0..600).step_by(20) {
            let now = start + Duration::from_secs(second);
            forgetting.call_for(now, second);
            if let Some(kept) = forgetting.take_turn(now, || second) {
                turns.push((second, kept));
            }
        }
        // Who was removed at 20 s was there at 0 s: kept at the first turn, dropped at the second.
        assert_eq!(turns, [(120, 0), (240, 120), (360, 240), (480, 360)]);
    }

    #[test]
    fn one_reload_has_one_turn() {
        let (start, mut forgetting) = (Instant::now(), Forgetting::new());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(forgetting.take_turn(at(0), || 0), None);
        forgetting.call_for(at(0), 0);
        assert_eq!(forgetting.take_turn(at(119), || 1), None);
        assert_eq!(forgetting.take_turn(at(120), || 1), Some(0));
        assert_eq!(forgetting.take_turn(at(900), || 1), None);
    }
}
