//! Units and constants of the ledger.
//!
//! Time is whole milliseconds, points are whole, and what moves in fractions of a point counts
//! [`U`] to the point; rates are micro-points a second. Every value stays below 2^53, so that an
//! engine that knows only double-precision numbers computes the same bits.

/// A millionth of a point.
pub(super) type Micro = i64;

/// One point.
pub(super) const U: Micro = 1_000_000;

/// How far behind the others an agent that was away may start: what it may catch up. One call of its own
/// in any case, for a queue that is empty between two dear calls was not away.
pub(super) const CREDIT: Micro = 4 * U;
/// What the head of a queue needs in the bucket at most; the rest of a dear call becomes debt.
pub(super) const FRONT: Micro = 5 * U;
/// Fair units of a secondary point: the ratio of 15,000 points an hour to 900 a minute.
pub(super) const KAPPA: Micro = U / 4;
/// A reservation that is not renewed is gone after this.
pub(super) const LEASE_MS: i64 = 30_000;
/// A window is over only this long after GitHub said it would be.
pub(super) const GUARD_MS: i64 = 1_000;
/// Resets that differ by less are the same one: GitHub speaks in whole seconds.
pub(super) const MATCH_MS: i64 = 5_000;
/// In place of a limit there is none of; sums with it stay exact.
pub(super) const UNLIMITED: i64 = 1 << 52;
/// Longest life of a place in a queue that nobody asks for again.
pub(super) const PLACE_MS: i64 = 61_000;
/// An agent counts among those seen for so long.
pub(super) const SEEN_MS: i64 = 60_000;
/// Debt of a gate other than a pool's.
pub(super) const DEBT: Micro = 40 * U;
/// Housekeeping done at most by one call, of each kind.
pub(super) const EVICTIONS: usize = 16;
/// Sixty seconds and a margin: a bucket that empties at this rate stays under the ring of a minute.
pub(super) const MINUTE_AND_MARGIN_S: i64 = 68;
/// Limits above are taken as this: no installation has more, and sums and products stay exact.
pub(super) const LIMIT_MAX: i64 = 1_000_000;
/// What a pool is taken to have where GitHub tells nothing: limits may be off on an Enterprise server.
pub(super) const LIMIT_UNTOLD: i64 = 5_000;
/// GitHub's longest window.
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const MINUTE_MS: i64 = 60_000;
/// Writes that need not wait for one another in a new ledger, less those of the minute before it.
pub(super) const FIRST_WRITES: Micro = 10 * U;
/// A route nobody calls for so long is forgotten.
pub(super) const ROUTE_IDLE_MS: i64 = 2 * HOUR_MS;

/// Rounds a quotient of non-negative numbers up.
pub(super) fn div_ceil(value: i64, by: i64) -> i64 {
    (value + by - 1).div_euclid(by)
}
