use std::collections::BTreeSet;

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use redis::{Arg, Cmd, Value};

use super::*;

/// One set, stored as Redis would.
#[derive(Debug, Default)]
struct FakeRedis {
    members: Mutex<BTreeSet<String>>,
    is_away: AtomicBool,
    /// Runs a command and then does not answer.
    is_mute: AtomicBool,
    /// The next answer takes long to arrive.
    is_slow: AtomicBool,
}

impl FakeRedis {
    fn lock(&self) -> parking_lot::MutexGuard<'_, BTreeSet<String>> {
        self.members.lock()
    }

    fn go(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn run(&self, command: &Cmd) -> Value {
        let words: Vec<String> = command
            .args_iter()
            .map(|word| match word {
                Arg::Simple(word) => String::from_utf8(word.to_vec()).unwrap(),
                _ => panic!("no command here has a cursor"),
            })
            .collect();
        assert_eq!(words[1], "tollgate:1:disabled");
        let mut members = self.lock();
        let changed = match words[0].as_str() {
            "SMEMBERS" => {
                let member = |member: &String| Value::BulkString(member.clone().into_bytes());
                return Value::Array(members.iter().map(member).collect());
            }
            "SADD" => words[2..].iter().filter(|word| members.insert((*word).clone())).count(),
            "SREM" => words[2..].iter().filter(|word| members.remove(*word)).count(),
            other => panic!("{other}"),
        };
        Value::Int(changed.try_into().unwrap())
    }
}

impl Commands for FakeRedis {
    fn command<'a>(&'a self, _: &'static str, command: &'a Cmd) -> BoxFuture<'a, Result<Value, StoreAway>> {
        async move {
            tokio::task::yield_now().await;
            if self.is_away.load(Ordering::SeqCst) {
                return Err(StoreAway);
            }
            let answer = self.run(command);
            if self.is_slow.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if self.is_mute.load(Ordering::SeqCst) { Err(StoreAway) } else { Ok(answer) }
        }
        .boxed()
    }
}

fn fake() -> Arc<FakeRedis> {
    Arc::new(FakeRedis::default())
}

async fn replica(redis: &Arc<FakeRedis>) -> DisabledAgents {
    DisabledAgents::in_redis(Arc::clone(redis) as Arc<dyn Commands>).await
}

#[tokio::test]
async fn in_process_a_restart_forgets() {
    let disabled = DisabledAgents::in_process();
    for _ in 0..2 {
        disabled.set("a", true).await.unwrap();
        assert!(disabled.contains("a") && !disabled.contains("b"));
    }
    disabled.tend().await;
    disabled.set("a", false).await.unwrap();
    assert!(!disabled.contains("a"));
}

#[tokio::test]
async fn one_replica_switches_and_a_new_one_knows_it_from_the_start() {
    let redis = fake();
    let first = replica(&redis).await;
    first.set("a", true).await.unwrap();
    assert!(first.contains("a"));
    let second = replica(&redis).await;
    assert!(second.contains("a"));
    second.set("a", false).await.unwrap();
    assert!(!second.contains("a") && first.contains("a"));
    first.poll().await;
    assert!(!first.contains("a"));
}

#[tokio::test(start_paused = true)]
async fn all_follow_within_a_second() {
    let redis = fake();
    let (first, second) = (replica(&redis).await, Arc::new(replica(&redis).await));
    let tending = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.tend().await }
    });
    for is_disabled in [true, false, true] {
        first.set("a", is_disabled).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(second.contains("a"), is_disabled);
    }
    tending.abort();
}

#[tokio::test]
async fn while_redis_is_away_the_last_known_state_stays_and_nothing_changes() {
    let redis = fake();
    let disabled = replica(&redis).await;
    disabled.set("a", true).await.unwrap();
    redis.go(true);
    disabled.poll().await;
    assert_eq!(disabled.set("a", false).await, Err(StoreAway));
    assert_eq!(disabled.set("b", true).await, Err(StoreAway));
    assert!(disabled.contains("a") && !disabled.contains("b"));
    redis.go(false);
    disabled.poll().await;
    assert!(disabled.contains("a") && !disabled.contains("b"));
    redis.go(true);
    assert!(!replica(&redis).await.contains("a"), "nothing is known to who starts without Redis");
}

#[tokio::test]
async fn what_redis_did_without_an_answer_comes_with_the_next_poll() {
    let redis = fake();
    let disabled = replica(&redis).await;
    disabled.set("a", true).await.unwrap();
    redis.is_mute.store(true, Ordering::SeqCst);
    assert_eq!(disabled.set("a", false).await, Err(StoreAway));
    redis.is_mute.store(false, Ordering::SeqCst);
    redis.run(redis::cmd("SREM").arg("tollgate:1:disabled").arg("a"));
    assert!(disabled.contains("a"));
    disabled.poll().await;
    assert!(!disabled.contains("a"));
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_told_again() {
    let redis = fake();
    let (first, second) = (replica(&redis).await, replica(&redis).await);
    first.set("a", true).await.unwrap();
    second.poll().await;
    redis.lock().clear();
    second.poll().await;
    assert!(second.contains("a") && redis.lock().contains("a"));
    // A change finds the set lost before a poll does.
    redis.lock().clear();
    first.set("b", true).await.unwrap();
    second.poll().await;
    for replica in [&first, &second, &replica(&redis).await] {
        assert!(replica.contains("a") && replica.contains("b"));
    }
    // An empty set is not a lost one.
    first.set("a", false).await.unwrap();
    first.set("b", false).await.unwrap();
    second.poll().await;
    assert!(!second.contains("a") && !second.contains("b"));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_began_before_a_change_does_not_undo_it() {
    let redis = fake();
    let disabled = replica(&redis).await;
    redis.lock().extend(["*", "b"].map(str::to_owned));
    redis.is_slow.store(true, Ordering::SeqCst);
    tokio::join!(disabled.poll(), async {
        while redis.is_slow.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        disabled.set("a", true).await.unwrap();
    });
    assert!(disabled.contains("a") && disabled.contains("b"));
}

#[tokio::test]
async fn members_that_are_no_names_are_not_taken() {
    let redis = fake();
    redis.lock().extend(["*", "a", "", "a b", "ä"].map(str::to_owned));
    let disabled = replica(&redis).await;
    assert_eq!(**disabled.names.load(), Names::from(["a".to_owned()]));
}
