//! Each step as its script at a real Redis, in virtual time.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};

use anyhow::Context as _;
use tollgate::budget::command::{Call, Reply};
use tollgate::budget::redis_store::{Frame, Part, Request, Scripts, read, replies};
use tollgate::budget::store::PAUSE_AT_BIRTH_MS;

use super::redis_server::Server;

/// One run's ledgers at Redis.
pub(super) struct Scripted {
    connection: Mutex<redis::Connection>,
    scripts: Scripts,
    /// Given to ledgers that are made from now on.
    pause_at_birth_ms: AtomicI64,
}

impl Scripted {
    /// Nothing is there, as at the start of a run.
    pub(super) fn new(server: &Server) -> anyhow::Result<Scripted> {
        let scripted = Scripted {
            connection: Mutex::new(server.connect()?),
            scripts: Scripts::default(),
            pause_at_birth_ms: AtomicI64::new(0),
        };
        scripted.flush()?;
        Ok(scripted)
    }

    pub(super) fn step(&self, installation: &str, call: &Call, now_ms: i64) -> anyhow::Result<Reply> {
        let frame = Frame { pause_ms: self.pause_at_birth_ms.load(Ordering::SeqCst), now_ms: Some(now_ms) };
        let request = Request::new(installation, vec![Part::new(call)], frame);
        let name = call.command.name();
        let mut invocation = self.scripts.of(&call.command).arg(request.arguments);
        invocation.key(request.keys);
        let value = invocation.invoke(&mut self.connection()).with_context(|| format!("script {name}"))?;
        let values = replies(value, 1).with_context(|| format!("script {name}"))?;
        read(&values[0], &call.command).with_context(|| format!("script {name}: {values:?}"))
    }

    /// Loses everything.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        self.pause_at_birth_ms.store(PAUSE_AT_BIRTH_MS, Ordering::SeqCst);
        self.flush()
    }

    /// Calls in flight of one replica: their fields begin with its id.
    pub(super) fn leases_of(&self, installation: &str, replica: u64) -> anyhow::Result<usize> {
        let key = format!("tollgate:1:{{{installation}}}:l");
        let fields: Vec<String> = redis::cmd("HKEYS").arg(key).query(&mut self.connection())?;
        let own = format!("lease:{replica:016x}-");
        Ok(fields.iter().filter(|field| field.starts_with(&own)).count())
    }

    fn flush(&self) -> anyhow::Result<()> {
        redis::cmd("FLUSHALL").exec(&mut self.connection()).context("FLUSHALL")
    }

    fn connection(&self) -> MutexGuard<'_, redis::Connection> {
        self.connection.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").field("pause_at_birth_ms", &self.pause_at_birth_ms).finish_non_exhaustive()
    }
}
