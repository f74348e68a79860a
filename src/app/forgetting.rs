//! Decides when the figures of removed agents may be dropped, however often the configuration changes.
//!
//! A turn comes two minutes after the reload that called for it. Reloads in between do not postpone it, or a file
//! that changes every minute would keep every name there ever was. Agents that they removed are dropped at the
//! next turn, at most four minutes later.

use std::time::Duration;

use tokio::time::Instant;

/// By then an agent's requests in flight have ended and its figures have been scraped.
const AFTER: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Forgetting<Agents> {
    /// When the turn is due, and the agents there were when it was called for: they are kept at least until the
    /// next turn.
    turn: Option<(Instant, Agents)>,
    is_again: bool,
}

impl<Agents> Forgetting<Agents> {
    pub(super) fn new() -> Self {
        Self { turn: None, is_again: false }
    }

    /// Notes a reload, after which `agents` are configured.
    pub(super) fn call_for(&mut self, now: Instant, agents: Agents) {
        match &self.turn {
            Some(_) => self.is_again = true,
            None => self.turn = Some((now + AFTER, agents)),
        }
    }

    /// At a turn: whom to keep besides the current agents. Schedules the next turn if there was a reload in between.
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
        // An agent removed at 20 s was there at 0 s: kept at the first turn, dropped at the second.
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
