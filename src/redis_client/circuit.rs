//! Whether calls are let through: a state machine that reads no clock and does no I/O.
//!
//! A call whose attempts all failed opens the circuit. While it is open calls are refused, except for one after a
//! pause, the probe: its success closes the circuit, its failure restarts the pause. A circuit that opens soon after it
//! closed pauses longer, so that a store too slow for its load does not get the full load back every second.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// A circuit that has been closed for this long pauses only briefly the next time.
const SOUND_AFTER: Duration = Duration::from_secs(10);

/// How long an abandoned probe (its caller went away) blocks the next one; longer than one attempt takes.
const PROBE_MAX: Duration = Duration::from_millis(250);

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Through,
    /// The only call let through, to see whether the store is back.
    Probe,
    Refused,
}

#[derive(Debug)]
pub(super) struct Circuit {
    /// When the next probe may go; `None` while the circuit is closed.
    probe_at: Option<Instant>,
    /// The pause of the current or the last opening.
    pause: Duration,
    closed_at: Option<Instant>,
}

impl Circuit {
    pub(super) fn new() -> Circuit {
        Circuit { probe_at: None, pause: PAUSE_MIN, closed_at: None }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.probe_at.is_none()
    }

    /// Whether a probe has been possible for `long` without any call being made.
    pub(super) fn is_neglected(&self, now: Instant, long: Duration) -> bool {
        self.probe_at.is_some_and(|at| at + long <= now)
    }

    /// Asked before each call; the caller must report the outcome.
    pub(super) fn admit(&mut self, now: Instant) -> Pass {
        match self.probe_at {
            None => Pass::Through,
            Some(at) if at <= now => {
                self.probe_at = Some(now + PROBE_MAX);
                Pass::Probe
            }
            Some(_) => Pass::Refused,
        }
    }

    /// The store answered. Only a probe's success closes the circuit: other calls began before it opened.
    pub(super) fn succeeded(&mut self, pass: Pass, now: Instant) {
        if pass == Pass::Probe && self.probe_at.take().is_some() {
            self.closed_at = Some(now);
        }
    }

    /// The store did not answer. Returns whether this opened the circuit.
    pub(super) fn failed(&mut self, pass: Pass, now: Instant) -> bool {
        match (pass, self.is_closed()) {
            (Pass::Probe, false) => {
                self.probe_at = Some(now + self.pause);
                false
            }
            (Pass::Through, true) | (Pass::Probe, true) => {
                let is_soon = self.closed_at.is_some_and(|closed| now < closed + SOUND_AFTER);
                self.pause = if is_soon { (2 * self.pause).min(PAUSE_MAX) } else { PAUSE_MIN };
                self.probe_at = Some(now + self.pause);
                true
            }
            (Pass::Through, false) | (Pass::Refused, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn failed(circuit: &mut Circuit, pass: Pass) -> bool {
        circuit.failed(pass, Instant::now())
    }

    fn admitted(circuit: &mut Circuit) -> Pass {
        circuit.admit(Instant::now())
    }

    /// The pause before the next probe, in milliseconds.
    async fn pause_ms(circuit: &mut Circuit) -> u64 {
        let mut passed = 0;
        loop {
            match admitted(circuit) {
                Pass::Probe => return passed,
                pass => assert_eq!(pass, Pass::Refused),
            }
            advance(Duration::from_millis(100)).await;
            passed += 100;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lets_one_probe_through_a_second_after_a_failure() {
        let mut circuit = Circuit::new();
        assert_eq!(admitted(&mut circuit), Pass::Through);
        assert!(failed(&mut circuit, Pass::Through));
        assert!(!failed(&mut circuit, Pass::Through), "others that fail meanwhile change nothing");
        assert_eq!(pause_ms(&mut circuit).await, 1_000);
        assert_eq!(admitted(&mut circuit), Pass::Refused, "one at a time");
        assert!(!failed(&mut circuit, Pass::Probe));
        assert_eq!(pause_ms(&mut circuit).await, 1_000, "a probe that fails pauses no longer");
        circuit.succeeded(Pass::Probe, Instant::now());
        assert!(circuit.is_closed());
        assert_eq!(admitted(&mut circuit), Pass::Through);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_longer_while_it_flaps() {
        let mut circuit = Circuit::new();
        failed(&mut circuit, Pass::Through);
        for expected in [1_000, 2_000, 4_000, 8_000, 8_000] {
            assert_eq!(pause_ms(&mut circuit).await, expected);
            circuit.succeeded(Pass::Probe, Instant::now());
            advance(Duration::from_millis(9_900)).await;
            assert!(failed(&mut circuit, Pass::Through));
        }
        assert_eq!(pause_ms(&mut circuit).await, 8_000);
        circuit.succeeded(Pass::Probe, Instant::now());
        advance(Duration::from_secs(10)).await;
        failed(&mut circuit, Pass::Through);
        assert_eq!(pause_ms(&mut circuit).await, 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_probe_blocks_nobody() {
        let mut circuit = Circuit::new();
        failed(&mut circuit, Pass::Through);
        assert_eq!(pause_ms(&mut circuit).await, 1_000);
        assert_eq!(pause_ms(&mut circuit).await, 300);
        assert!(!circuit.is_neglected(Instant::now(), PAUSE_MIN));
        advance(PAUSE_MIN + PROBE_MAX).await;
        assert!(circuit.is_neglected(Instant::now(), PAUSE_MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_success_does_not_close() {
        let mut circuit = Circuit::new();
        failed(&mut circuit, Pass::Through);
        circuit.succeeded(Pass::Through, Instant::now());
        assert!(!circuit.is_closed());
    }
}
