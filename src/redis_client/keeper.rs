//! The one task that makes the connection, and makes it anew when it is lost.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};

use super::check::{RedisServer, RedisStartError, Trouble};
use super::link::{self, Link};
use super::{Core, REPEAT_LOG_AFTER};

/// How often a connection nobody uses is tried; servers and balancers between close idle ones.
const PING_EVERY: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When something was last written to the log, so that a store that comes and goes does not fill it.
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

/// Takes up a new connection.
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

/// Tries until it succeeds, first at once, then ever more seldom, with jitter.
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

/// Until the connection is lost.
async fn watch(core: &Core) {
    while core.link().is_some() {
        if timeout(PING_EVERY, core.lost.notified()).await.is_err() && is_quiet(core) {
            // Through the circuit as any call. Scripts ask for the time, too, so that an ACL must allow
            // it; and of a cluster only one node is asked.
            let _ = core.call(&[("ping", Instant::now())], &redis::cmd("TIME"), None).await;
        }
    }
}

/// An open circuit is left to the calls, which tell more than this one, as long as there are any.
fn is_quiet(core: &Core) -> bool {
    let circuit = core.circuit();
    circuit.is_closed() || circuit.is_neglected(Instant::now(), PING_EVERY)
}
