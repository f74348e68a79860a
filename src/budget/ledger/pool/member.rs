//! An agent in a pool.

/// What a pool knows of one agent, as of one of the pool's windows.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::budget::ledger) struct Member {
    pub(super) window: i64,
    pub(super) weight: i64,
    pub(super) forget_at: Option<i64>,
    /// Points spent in the window.
    pub(super) spent: i64,
    /// Until when its guarantee, its ceiling and its bookings are paid, in epoch milliseconds.
    pub(in crate::budget::ledger) guaranteed_to: i64,
    pub(in crate::budget::ledger) ceiling_to: i64,
    pub(in crate::budget::ledger) booked_to: i64,
    /// The average cost of its calls, in thousandths of a point; 0 if none was seen.
    pub(in crate::budget::ledger) average: i64,
    /// One of its calls was held or refused since one was let through at once.
    pub(super) wants: bool,
    /// Calls in flight that were admitted when nobody knew what such calls cost.
    pub(in crate::budget::ledger) unpriced: i64,
}

impl Member {
    /// Whether it still matters in a window that began at `began`.
    pub(super) fn is_present(&self, began: i64) -> bool {
        let is_dear = self.average > 1000 || self.unpriced > 0;
        self.forget_at.is_some() || is_dear || self.booked_to.max(self.ceiling_to) > began
    }

    /// The member as of a window. Whatever a scarce window did to its guarantee ends with that window.
    pub(super) fn enter(self, window: i64, began: i64) -> Member {
        if self.window == window {
            self
        } else if self.is_present(began) {
            Member { window, spent: 0, guaranteed_to: self.guaranteed_to.min(began), ..self }
        } else {
            Member { window, ..Member::default() }
        }
    }
}
