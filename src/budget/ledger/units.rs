//! Units and constants of the ledger.
//!
//! Time is whole milliseconds and points are whole. Fractions of a point are counted in [`Micro`],
//! with [`U`] to the point; rates are micro-points a second. Every value stays below 2^53, so that
//! an engine with only double-precision numbers computes the same bits.

/// A millionth of a point.
pub(super) type Micro = i64;

/// One point.
pub(super) const U: Micro = 1_000_000;

/// How far behind the others an agent that was away may start, to catch up. One call of its own in
/// any case: a queue that is empty between two dear calls was not away.
pub(super) const CREDIT: Micro = 4 * U;
/// The most the head of a queue needs in the bucket; the rest of a dear call becomes debt.
pub(super) const FRONT: Micro = 5 * U;
/// Fair units of a secondary point: the ratio of 15,000 points an hour to 900 a minute.
pub(super) const KAPPA: Micro = U / 4;
/// A reservation that is not renewed for this long is gone.
pub(super) const LEASE_MS: i64 = 30_000;
/// A window counts as over only this long after GitHub said it would be.
pub(super) const GUARD_MS: i64 = 1_000;
/// Resets that differ by less are the same one: GitHub speaks in whole seconds.
pub(super) const MATCH_MS: i64 = 5_000;
/// Stands for "no limit"; sums with it stay exact.
pub(super) const UNLIMITED: i64 = 1 << 52;
/// The longest life of a place in a queue that is not asked for again.
pub(super) const PLACE_MS: i64 = 61_000;
/// How long an agent counts as seen.
pub(super) const SEEN_MS: i64 = 60_000;
/// How deep in debt a gate other than a pool's can get.
pub(super) const DEBT: Micro = 40 * U;
/// The most expired entries of each kind that one step removes.
pub(super) const EVICTIONS: usize = 16;
/// Sixty seconds and a margin: a bucket spent at this rate stays under a minute's ring.
pub(super) const MINUTE_AND_MARGIN_S: i64 = 68;
/// Higher limits count as this: no installation has more, and sums and products stay exact.
pub(super) const LIMIT_MAX: i64 = 1_000_000;
/// The limit assumed if GitHub names none: limits may be off on an Enterprise server.
pub(super) const LIMIT_UNTOLD: i64 = 5_000;
/// GitHub's longest window.
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const MINUTE_MS: i64 = 60_000;
/// Writes that need not wait for each other in a new ledger, less those of the minute before it.
pub(super) const FIRST_WRITES: Micro = 10 * U;
/// A route that nobody calls for this long is forgotten.
pub(super) const ROUTE_IDLE_MS: i64 = 2 * HOUR_MS;

/// Rounds a quotient of non-negative numbers up.
pub(super) fn div_ceil(value: i64, by: i64) -> i64 {
    (value + by - 1).div_euclid(by)
}
