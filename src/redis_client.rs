//! The Redis that all replicas share: one connection managed by tollgate, with its own timeouts.
//!
//! A call makes at most two attempts of 100 ms each, with up to 100 ms between them for a new connection, and none
//! while there is no connection or the circuit is open: nobody waits for a store that is away. All calls share one
//! connection, which a single task creates and maintains; a server is used only after it was checked.

mod check;

mod circuit;

mod fault;

mod keeper;

mod link;

mod settings;

mod subscription;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Script, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

pub use check::{RedisServer, RedisStartError};
pub use settings::{RedisAddress, RedisPlace, RedisSettings};
pub use subscription::Subscription;

use crate::budget::store::StoreAway;
use crate::metrics::Metrics;
use check::Trouble;
use circuit::{Circuit, Pass};
use fault::Fault;
use link::Link;

/// Longest time from writing a command to its reply.
const ATTEMPT_MAX: Duration = Duration::from_millis(100);

/// How often the log repeats a failure of one kind.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

/// A Redis connection that re-establishes itself.
pub struct RedisClient {
    core: Arc<Core>,
    _keeper: AbortOnDropHandle<()>,
}

/// State shared by the calls and the keeper task.
struct Core {
    settings: RedisSettings,
    metrics: Arc<Metrics>,
    /// The current connection, if any.
    link: watch::Sender<Option<Numbered>>,
    /// Wakes the keeper when the connection is lost.
    lost: Notify,
    circuit: Mutex<Circuit>,
    /// When each kind of failure was last logged; indexed by kind.
    logged: Mutex<[Option<Instant>; 4]>,
}

/// A connection and its number, so that a failure of an old connection is not attributed to the new one.
#[derive(Clone)]
struct Numbered {
    number: u64,
    link: Link,
}

/// The metric label of an operation, and since when it has been wanted.
pub type Wanted = (&'static str, Instant);

/// A script and its keys.
type Scripted<'a> = (&'a Script, &'a [String]);

impl RedisClient {
    /// Connects, within 3 s. If the server is away, keeps trying in the background; until it is back, calls fail.
    ///
    /// # Errors
    /// When something has to be changed before Redis can be used.
    pub async fn start(
        settings: RedisSettings,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<RedisClient>, RedisStartError> {
        crate::app::install_crypto();
        for kind in Fault::KINDS {
            metrics.store_errors.with_label_values(&[kind]);
        }
        let core = Arc::new(Core {
            settings,
            metrics,
            link: watch::Sender::new(None),
            lost: Notify::new(),
            circuit: Mutex::new(Circuit::new()),
            logged: Mutex::default(),
        });
        let mut said = keeper::Said::default();
        match link::connect(&core.settings).await {
            Ok((link, servers)) => keeper::take_up(&core, &mut said, link, &servers),
            Err(Trouble::Wrong(error)) => return Err(error),
            Err(Trouble::Away(why)) => said.away(&why),
        }
        let exported = Arc::downgrade(&core);
        core.metrics.before_render(move || {
            if let Some(core) = exported.upgrade() {
                core.metrics.store_up.with_label_values::<&str>(&[]).set(i64::from(core.is_up()));
            }
        });
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper::keep(Arc::clone(&core), said)));
        Ok(Arc::new(RedisClient { core, _keeper: keeper }))
    }

    /// Whether calls are let through: Redis is connected, checked and answering.
    pub fn is_up(&self) -> bool {
        self.core.is_up()
    }

    /// Runs a script; `op` is its metric label.
    ///
    /// # Errors
    /// When Redis can't be reached, does not answer in time, or answers with an error. The operation may have
    /// been carried out nevertheless.
    pub async fn script(
        &self,
        op: &'static str,
        script: &Script,
        keys: &[String],
        args: &[&str],
    ) -> Result<Value, StoreAway> {
        self.script_for(&[(op, Instant::now())], script, keys, args).await
    }

    /// Runs a script that carries out several operations at once.
    ///
    /// # Errors
    /// As for [`RedisClient::script`].
    pub async fn script_for(
        &self,
        wanted: &[Wanted],
        script: &Script,
        keys: &[String],
        args: &[impl AsRef<[u8]>],
    ) -> Result<Value, StoreAway> {
        let all = || keys.iter().map(String::as_bytes).chain(args.iter().map(AsRef::as_ref));
        let bytes: usize = all().map(<[u8]>::len).sum();
        let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), bytes + 64);
        command.arg("EVALSHA").arg(script.get_hash()).arg(keys.len());
        for argument in all() {
            command.arg(argument);
        }
        self.core.call(wanted, &command, Some((script, keys))).await
    }

    /// Runs one command; `op` is its metric label.
    ///
    /// # Errors
    /// As for [`RedisClient::script`].
    pub async fn command(&self, op: &'static str, command: &Cmd) -> Result<Value, StoreAway> {
        self.core.call(&[(op, Instant::now())], command, None).await
    }
}

/// Connects once and describes the servers: for `tollgate check --online`.
///
/// # Errors
/// A description of the problem for people.
pub async fn inspect(settings: &RedisSettings) -> Result<Vec<RedisServer>, String> {
    crate::app::install_crypto();
    match link::connect(settings).await {
        Ok((_, servers)) => Ok(servers),
        Err(Trouble::Wrong(error)) => Err(error.to_string()),
        Err(Trouble::Away(why)) => Err(format!("budget.redis: can't be reached: {why}")),
    }
}

impl Core {
    fn is_up(&self) -> bool {
        self.link.borrow().is_some() && self.circuit().is_closed()
    }

    fn link(&self) -> Option<Numbered> {
        self.link.borrow().clone()
    }

    fn set_link(&self, link: Link) {
        static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.link.send_replace(Some(Numbered { number, link }));
    }

    /// Gives up the connection with this number, unless another has already replaced it.
    fn drop_link(&self, number: u64) {
        let is_dropped = self.link.send_if_modified(|link| {
            let is_it = link.as_ref().is_some_and(|link| link.number == number);
            if is_it {
                *link = None;
            }
            is_it
        });
        if is_dropped {
            self.lost.notify_one();
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock()
    }

    async fn call(
        &self,
        wanted: &[Wanted],
        command: &Cmd,
        script: Option<Scripted<'_>>,
    ) -> Result<Value, StoreAway> {
        let Some(link) = self.link() else { return Err(StoreAway) };
        let started = Instant::now();
        let pass = self.circuit().admit(started);
        let number = link.number;
        let outcome = match pass {
            Pass::Refused => return Err(StoreAway),
            Pass::Probe => self.attempt(link, command, script).await,
            Pass::Through => match self.attempt(link, command, script).await {
                Err(fault) if fault.is_away() => self.again(number, fault, command, script).await,
                other => other,
            },
        };
        let ended = Instant::now();
        for (op, since) in wanted {
            let histogram = self.metrics.store_duration.with_label_values(&[op]);
            histogram.observe((ended - *since).as_secs_f64());
        }
        let fault = match outcome {
            Ok(value) => {
                self.circuit().succeeded(pass, ended);
                return Ok(value);
            }
            Err(fault) => fault,
        };
        if fault.is_away() {
            let has_opened = self.circuit().failed(pass, ended);
            if self.is_suspect(&fault, pass, has_opened) {
                self.drop_link(number);
            }
        } else {
            self.circuit().succeeded(pass, ended);
        }
        Err(StoreAway)
    }

    /// Whether to reconnect. A connection may be silently dead, or lead to a hanging server while another one has
    /// taken over.
    fn is_suspect(&self, fault: &Fault, pass: Pass, has_opened: bool) -> bool {
        let is_alive = matches!(fault, Fault::Away { needs_reconnect: false, .. });
        // A cluster connection keeps asking a node that hangs. Probes don't reveal that, since they may go to
        // another node.
        !is_alive && (pass == Pass::Probe || (has_opened && self.is_cluster()))
    }

    fn is_cluster(&self) -> bool {
        matches!(self.settings.place, RedisPlace::Cluster { .. })
    }

    /// Makes the second attempt, on a new connection if the first was lost.
    async fn again(
        &self,
        number: u64,
        fault: Fault,
        command: &Cmd,
        script: Option<Scripted<'_>>,
    ) -> Result<Value, Fault> {
        let is_lost = match &fault {
            // A cluster connection consists of many, and repairs each by itself.
            Fault::Connection(_) => !self.is_cluster(),
            Fault::Away { needs_reconnect, .. } => *needs_reconnect && !self.is_cluster(),
            Fault::Timeout | Fault::Server(_) => false,
        };
        if is_lost {
            self.drop_link(number);
        }
        let mut links = self.link.subscribe();
        let link = timeout(ATTEMPT_MAX, links.wait_for(Option::is_some)).await;
        let link = link.ok().and_then(Result::ok).and_then(|link| link.clone());
        match link {
            Some(link) => self.attempt(link, command, script).await,
            None => Err(fault),
        }
    }

    async fn attempt(
        &self,
        mut link: Numbered,
        command: &Cmd,
        script: Option<Scripted<'_>>,
    ) -> Result<Value, Fault> {
        let work = async {
            let reply = link.link.req_packed_command(command).await.and_then(Value::extract_error);
            let (Err(error), Some((script, keys))) = (&reply, script) else { return reply };
            if error.kind() != ErrorKind::Server(ServerErrorKind::NoScript) {
                return reply;
            }
            script.load_async(&mut link.link.to_owner_of(keys)).await?;
            link.link.req_packed_command(command).await.and_then(Value::extract_error)
        };
        let outcome = match timeout(ATTEMPT_MAX, work).await {
            Ok(reply) => reply.map_err(|error| Fault::of(&error)),
            Err(_) => Err(Fault::Timeout),
        };
        let key = script.and_then(|(_, keys)| keys.first());
        outcome.inspect_err(|fault| self.count(fault, key.map(String::as_str)))
    }

    /// Counts a failed attempt, and logs it unless a failure of its kind was just logged.
    fn count(&self, fault: &Fault, key: Option<&str>) {
        self.metrics.store_errors.with_label_values(&[fault.kind()]).inc();
        let place = match fault {
            Fault::Timeout => 0,
            Fault::Connection(_) => 1,
            Fault::Away { .. } => 2,
            Fault::Server(_) => 3,
        };
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged[place].is_none_or(|last| now >= last + REPEAT_LOG_AFTER) {
            logged[place] = Some(now);
            drop(logged);
            fault.log(key);
        }
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("settings", &self.core.settings).finish_non_exhaustive()
    }
}
