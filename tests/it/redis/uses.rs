//! Approvals used while Redis does not answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tollgate::budget::store::StoreAway;
use tollgate::clock::{Clock, SystemClock};
use tollgate::spent::{RedisSpent, Spent, SpentStore, Use};

use super::{becomes, start};
use crate::support::redis::RedisServer;

/// Redis recorded the use and its answer was lost: the approval was used up by a call that was never sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_redis_did_not_confirm_is_the_next_requests() {
    let server = RedisServer::start(&[]).await;
    let client = Arc::new(start(server.settings()).await.unwrap());
    let spent = RedisSpent::begin(Arc::clone(&client), Arc::new(SystemClock)).await;
    let other_replica = RedisSpent::begin(Arc::clone(&client), Arc::new(SystemClock)).await;
    let now = SystemClock.now_seconds();
    let request = |approval: &str, request_id: &str| Use {
        approval: approval.to_owned(),
        issued_at: now + 1,
        expires_at: now + 600,
        request_id: request_id.to_owned(),
    };
    assert_eq!(spent.spend(&request("another", "r0")).await, Ok(Spent::Fresh), "the script is loaded");
    server.pause();
    // Its caller hangs up before the answer is given up.
    let left = request("left", "r1");
    let _ = timeout(Duration::from_millis(80), spent.spend(&left)).await;
    assert_eq!(spent.spend(&request("approval", "r1")).await, Err(StoreAway));
    server.resume();
    becomes(&client, true).await;
    assert_eq!(spent.spend(&request("left", "r2")).await, Ok(Spent::Fresh));
    assert_eq!(spent.spend(&request("left", "r3")).await, Ok(Spent::Again));
    assert_eq!(server.ask(&["GET", "tollgate:1:{approvals}:used:approval"]), "r1");
    assert_eq!(other_replica.spend(&request("approval", "r2")).await, Ok(Spent::Again));
    assert_eq!(spent.spend(&request("approval", "r3")).await, Ok(Spent::Fresh));
    for id in ["r1", "r4"] {
        assert_eq!(spent.spend(&request("approval", id)).await, Ok(Spent::Again), "{id}");
    }
}
