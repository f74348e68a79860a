//! The single task that makes the connection and replaces it when it is lost.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};

use super::check::{RedisServer, RedisStartError, Trouble};
use super::link::{self, Link};
use super::{Core, REPEAT_LOG_AFTER};

/// How often an unused connection is tested; servers and load balancers close idle ones.
const PING_EVERY: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When something was last logged, so that a flapping store does not fill the log.
#[derive(Default)]
pub(super) struct Said {
    away: Option<Instant>,
    wrong: Option<Instant>,
    connected: Option<Instant>,
}

fn is_due(said: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let is_due = said.is_none_or(|said| now >= said + REPEAT_LOG_AFTER);
    if is_due {
        *said = Some(now);
    }
    is_due
}

impl Said {
    pub(super) fn away(&mut self, why: &str) {
        if is_due(&mut self.away) {
            tracing::warn!(
                why,
                "Redis can't be reached, and is tried again; is it running, and is `budget.redis` right?"
            );
        }
    }

    fn wrong(&mut self, error: &RedisStartError) {
        if is_due(&mut self.wrong) {
            tracing::error!(%error, "Redis is there but is not used");
        }
    }

    fn connected(&mut self, servers: &[RedisServer]) {
        if is_due(&mut self.connected) {
            let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
            let version = servers.first().map_or("", |server| server.version.as_str());
            tracing::info!(addresses = addresses.join(", "), version, "Redis is connected");
        }
    }
}

/// Installs a new connection.
pub(super) fn take_up(core: &Core, said: &mut Said, link: Link, servers: &[RedisServer]) {
    said.connected(servers);
    core.set_link(link);
}

/// Runs until dropped.
pub(super) async fn keep(core: Arc<Core>, mut said: Said) {
    loop {
        if core.link().is_none() {
            connect(&core, &mut said).await;
        }
        watch(&core).await;
    }
}

/// Tries until it succeeds: at once, then less and less often, with jitter.
async fn connect(core: &Core, said: &mut Said) {
    let mut pause = PAUSE_MIN;
    loop {
        match link::connect(&core.settings).await {
            Ok((link, servers)) => return take_up(core, said, link, &servers),
            Err(Trouble::Away(why)) => said.away(&why),
            Err(Trouble::Wrong(error)) => {
                said.wrong(&error);
                pause = PAUSE_MAX;
            }
        }
        let part = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(part)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// Waits until the connection is lost.
async fn watch(core: &Core) {
    while core.link().is_some() {
        if timeout(PING_EVERY, core.lost.notified()).await.is_err() && is_quiet(core) {
            // Goes through the circuit like any call. `TIME` because scripts use it too, so an ACL must allow it;
            // in a cluster it only reaches one node.
            let _ = core.call(&[("ping", Instant::now())], &redis::cmd("TIME"), None).await;
        }
    }
}

/// An open circuit is left to the calls as long as there are any; they say more about the store than this ping.
fn is_quiet(core: &Core) -> bool {
    let circuit = core.circuit();
    circuit.is_closed() || circuit.is_neglected(Instant::now(), PING_EVERY)
}
