//! Which approvals were used: each opens one operation, across all replicas.
//!
//! A use is recorded before the call goes up, and a call whose use can't be recorded is refused.
//! Whatever remembers the uses may lose its memory – by a restart, or as a Redis that comes back
//! empty or falls back to its state of some seconds ago. So it knows since when it remembers, and
//! an approval issued before that is not accepted: nobody could tell whether it was used.

mod memory;

mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};

pub use memory::MemorySpent;
pub use redis::RedisSpent;

use crate::budget::store::StoreAway;
use crate::clock::Clock;
use crate::policy::approval::Approval;
use crate::secret::hex;

/// A lost memory is noticed within this time. Until then, new approvals may count as too old.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One use of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Identifies the approval: a hash of issuer and `jti`, so that text chosen by an issuer is never a key.
    pub approval: String,
    /// Epoch seconds.
    pub issued_at: i64,
    pub expires_at: i64,
    /// The request that uses it. If the same request asks again, it gets the same answer.
    pub request_id: String,
}

impl Use {
    pub fn new(approval: &Approval, request_id: &str) -> Use {
        let mut hash = Sha256::new();
        hash.update(&approval.issuer);
        hash.update([0]);
        hash.update(&approval.jti);
        Use {
            approval: hex(&hash.finalize()),
            issued_at: approval.issued_at,
            expires_at: approval.expires_at,
            request_id: request_id.to_owned(),
        }
    }
}

/// What is known about an approval that a call wants to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It was not used before, and now it is used by this request.
    Fresh,
    /// It was used before.
    Again,
    /// It was issued before the memory of uses began.
    Forgotten,
}

/// Remembers which approvals were used.
pub trait SpentStore: Send + Sync + fmt::Debug {
    /// Records a use, or says why not.
    ///
    /// # Errors
    /// If it can't be known whether the approval is fresh. The use may be recorded all the same.
    fn spend<'a>(&'a self, spend: &'a Use) -> BoxFuture<'a, Result<Spent, StoreAway>>;

    /// Whether it answers, as far as is known, so that no call waits only to be refused in the end.
    fn is_up(&self) -> bool;

    /// Checks whether the memory is still the same, so that a new one begins early.
    ///
    /// # Errors
    /// If the store can't be reached.
    fn look(&self) -> BoxFuture<'_, Result<(), StoreAway>>;
}

/// Looks every second; never returns.
pub async fn tend(store: Arc<dyn SpentStore>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The connection logs outages; uses are refused meanwhile.
        let _ = store.look().await;
    }
}

/// The first whole second after a time: `iat` is in whole seconds, and an approval with an earlier
/// one may be older than the memory.
fn first_second_after(now_ms: i64) -> i64 {
    now_ms.div_euclid(1000) + 1
}

async fn until_next_second(clock: &dyn Clock) {
    let now_ms = clock.now_ms();
    let left = first_second_after(now_ms) * 1000 - now_ms;
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
}
