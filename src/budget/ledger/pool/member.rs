//! An agent in a pool.

/// What one agent is to a pool, as of one of its windows.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::budget::ledger) struct Member {
    pub(super) window: i64,
    pub(super) weight: i64,
    pub(super) forget_at: Option<i64>,
    /// Points in the window.
    pub(super) spent: i64,
    /// When its guarantee, its ceiling and its bookings are paid up to, epoch milliseconds.
    pub(in crate::budget::ledger) guaranteed_to: i64,
    pub(in crate::budget::ledger) ceiling_to: i64,
    pub(in crate::budget::ledger) booked_to: i64,
    /// Average cost of its calls, thousandths of a point; 0: none seen.
    pub(in crate::budget::ledger) average: i64,
    /// Calls in flight that were let through when nobody knew what such calls cost.
    pub(in crate::budget::ledger) unpriced: i64,
}

impl Member {
    /// Whether there is more to know of it, in a window that began then, than that it was here.
    pub(super) fn is_present(&self, began: i64) -> bool {
        let is_dear = self.average > 1000 || self.unpriced > 0;
        self.forget_at.is_some() || is_dear || self.booked_to.max(self.ceiling_to) > began
    }

    /// As it stands in a window. What a scarce window made of its guarantee ended with that window.
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
