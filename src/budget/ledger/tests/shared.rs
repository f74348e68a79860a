//! The same steps at the same times against a real Redis: the replies must be the same to the bit.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Process, Stdio};

use proptest::prelude::*;

use super::super::super::command::*;
use super::super::super::redis_store::{Frame, Part, Request, Scripts, read, replies};
use super::{AGENTS, Bench, START, Step, Who, step, text};

/// A Redis for this test alone, on a socket in a directory of its own.
struct Server {
    process: Child,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let mut process = Process::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is needed; scripts/test installs it");
        let log = BufReader::new(process.stdout.take().unwrap());
        let ready = log.lines().map_while(Result::ok).any(|line| line.contains("eady to accept"));
        assert!(ready, "redis-server did not start");
        Server { process, directory }
    }

    fn connect(&self) -> redis::Connection {
        let socket = self.directory.path().join("s");
        redis::Client::open(format!("unix://{}", socket.display())).unwrap().get_connection().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// One installation's ledger in Redis, and the replies it has to give.
pub(super) struct SharedLedger {
    connection: redis::Connection,
    scripts: Scripts,
    installation: String,
    pause_ms: i64,
    /// Steps of the same time that are asked together, with the embedded ledger's replies, and how many at most.
    waiting: Vec<(Call, Reply)>,
    waiting_max: usize,
    now: i64,
}

impl SharedLedger {
    fn new(server: &Server, name: &str, pause_ms: i64, waiting_max: usize) -> SharedLedger {
        let installation = format!("bot/{name}");
        SharedLedger {
            connection: server.connect(),
            scripts: Scripts::default(),
            installation,
            pause_ms,
            waiting: Vec::new(),
            waiting_max,
            now: 0,
        }
    }

    pub(super) fn apply(&mut self, call: Call, now: i64, reply: Reply) {
        let is_alone = self.scripts.alone(&call.command).is_some();
        if is_alone || now != self.now {
            self.ask();
        }
        self.now = now;
        self.waiting.push((call, reply));
        if is_alone || self.waiting.len() >= self.waiting_max {
            self.ask();
        }
    }

    fn invoke(&mut self, calls: &[Call], now: i64) -> redis::RedisResult<redis::Value> {
        let frame = Frame { pause_ms: self.pause_ms, now_ms: Some(now) };
        let request = Request::new(&self.installation, calls.iter().map(Part::new).collect(), frame);
        let mut invocation = self.scripts.of(&calls[0].command).arg(request.arguments);
        invocation.key(request.keys).invoke(&mut self.connection)
    }

    /// Asks for all waiting steps, and compares the replies.
    fn ask(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        let calls: Vec<Call> = waiting.iter().map(|(call, _)| call.clone()).collect();
        let value = self.invoke(&calls, self.now).unwrap();
        for ((call, reply), value) in waiting.iter().zip(replies(value, waiting.len()).unwrap()) {
            assert_eq!(&read(&value, &call.command).unwrap(), reply, "{call:?} at {}", self.now);
        }
    }
}

/// What the other steps don't do: clocks that jump, answers of other resources, odd windows, ends
/// reported later, handovers with everything in them.
#[derive(Debug, Clone)]
enum Wild {
    Usual(Step),
    Jump {
        ms: i64,
    },
    Stamped {
        elapsed_ms: i64,
    },
    Ended {
        index: usize,
    },
    Figures {
        resource: usize,
        limit: i64,
        used: i64,
        reset_in_ms: i64,
        is_refused: bool,
    },
    Unpriced {
        index: usize,
        used: i64,
    },
    /// Several calls at once, answered at once.
    Burst {
        agent: usize,
        calls: usize,
        is_write: bool,
        with_figures: bool,
    },
    Refused {
        index: usize,
        retry_after_ms: Option<i64>,
    },
    Adopt {
        points: i64,
        reset_in_ms: i64,
        cool_in_ms: i64,
    },
    /// GitHub names another end of the window from now on.
    Drift {
        resource: usize,
        ms: i64,
    },
    Observing {
        agent: usize,
    },
    Leave,
}

const RESOURCES: [&str; 4] = ["core", "graphql", "search", "code_search"];

fn wild() -> impl Strategy<Value = Wild> {
    prop_oneof![
        40 => step().prop_map(Wild::Usual),
        1 => (-700_000_i64..700_000).prop_map(|ms| Wild::Jump { ms }),
        2 => (0_i64..40_000).prop_map(|elapsed_ms| Wild::Stamped { elapsed_ms }),
        2 => any::<usize>().prop_map(|index| Wild::Ended { index }),
        3 => (0..4_usize, 1_i64..2_000_000, 0_i64..2_000_000, -100_000_i64..4_000_000, any::<bool>())
            .prop_map(|(resource, limit, used, reset_in_ms, is_refused)| {
                Wild::Figures { resource, limit, used, reset_in_ms, is_refused }
            }),
        2 => (any::<usize>(), 0_i64..6_000).prop_map(|(index, used)| Wild::Unpriced { index, used }),
        1 => (0..AGENTS.len(), 1..80_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.7)).prop_map(
            |(agent, calls, is_write, with_figures)| Wild::Burst { agent, calls, is_write, with_figures }
        ),
        1 => (any::<usize>(), prop::option::of(1_000_i64..90_000))
            .prop_map(|(index, retry_after_ms)| Wild::Refused { index, retry_after_ms }),
        1 => (0_i64..50, -10_000_i64..4_000_000, 0_i64..100_000)
            .prop_map(|(points, reset_in_ms, cool_in_ms)| Wild::Adopt { points, reset_in_ms, cool_in_ms }),
        2 => (0..4_usize, -6_000_i64..6_000).prop_map(|(resource, ms)| Wild::Drift { resource, ms }),
        1 => (0..AGENTS.len()).prop_map(|agent| Wild::Observing { agent }),
        1 => Just(Wild::Leave),
    ]
}

impl Bench {
    fn take_wild(&mut self, wild: &Wild) {
        match wild {
            Wild::Usual(step) => self.take(step),
            Wild::Jump { ms } => self.now += ms,
            Wild::Drift { resource, ms } => {
                if let Some(window) = self.windows.get_mut(RESOURCES[*resource]) {
                    window.0 += ms;
                }
            }
            Wild::Stamped { elapsed_ms } => {
                let at = self.now - elapsed_ms;
                self.last_reply = Some(LastReply { at, elapsed_ms: *elapsed_ms });
                self.apply(Command::Heartbeat(Known::default()));
                self.last_reply = None;
            }
            Wild::Ended { index } => {
                let id = u64::try_from(index % 64).unwrap();
                self.ended.push(LeaseId { replica: id % 2, number: id });
            }
            Wild::Figures { resource, limit, used, reset_in_ms, is_refused } => {
                let figures = Figures {
                    resource: text(RESOURCES[*resource]),
                    limit: *limit,
                    used: *used,
                    reset_in_ms: *reset_in_ms,
                };
                let refused = UpstreamRefusal { is_primary: true, retry_after_ms: None };
                self.settle_with(
                    usize::try_from(self.numbers).unwrap(),
                    Some(figures),
                    is_refused.then_some(refused),
                    None,
                );
            }
            Wild::Unpriced { index, used } => {
                let figures =
                    Figures { resource: text("graphql"), limit: 5_000, used: *used, reset_in_ms: 1_000_000 };
                self.settle_with(*index, Some(figures), None, None);
            }
            Wild::Burst { agent, calls, is_write, with_figures } => {
                for call in 0..*calls {
                    self.admit(&AGENTS[*agent], *is_write, "core", 0);
                    self.now += 30;
                    if call % 3 > 0 {
                        self.answer(call, None, *with_figures);
                    }
                }
            }
            Wild::Refused { index, retry_after_ms } => {
                let refused = UpstreamRefusal { is_primary: false, retry_after_ms: *retry_after_ms };
                self.settle_with(*index, None, Some(refused), None);
            }
            Wild::Adopt { points, reset_in_ms, cool_in_ms } => {
                self.adopt_everything(*points, *reset_in_ms, *cool_in_ms);
            }
            Wild::Observing { agent } => self.observe_only(&AGENTS[*agent]),
            Wild::Leave => {
                self.apply(Command::Leave(Known { resources: vec![text("core")] }));
            }
        }
    }

    /// Makes calls of an agent until one waits with places.
    fn until_waiting(&mut self, who: &Who) {
        for call in 0..400 {
            let outcome = self.admit(who, false, "core", 60_000);
            if matches!(outcome, Outcome::Wait { has_place: true, .. }) {
                return;
            }
            self.now += 20;
            self.answer(call, None, true);
        }
        panic!("nobody waits");
    }

    fn observe_only(&mut self, who: &Who) {
        let admit = Admit {
            lease: self.lease(),
            share: who.share(),
            place: Place {
                resource: text("search"),
                head: text(&format!("{}/search/r/1", who.name)),
                route: text("GET /search/issues"),
            },
            left_route: Some(text(who.route)),
            is_write: false,
            is_graphql: false,
            price: Some(1),
            points: 1,
            creates_content: false,
            repository: None,
            is_interactive: false,
            patience_ms: 0,
            random: 500,
            is_observing: true,
        };
        self.apply(Command::Admit(admit.into()));
    }

    fn settle_with(
        &mut self,
        index: usize,
        figures: Option<Figures>,
        refused: Option<UpstreamRefusal>,
        cost: Option<i64>,
    ) {
        if self.open.is_empty() {
            return;
        }
        let granted = self.open.swap_remove(index % self.open.len());
        let settle = Settle {
            lease: granted.admit.lease,
            share: granted.admit.share.clone(),
            resource: std::sync::Arc::clone(&granted.admit.place.resource),
            route: std::sync::Arc::clone(&granted.admit.place.route),
            cost,
            figures,
            is_success: index.is_multiple_of(2),
            elapsed_ms: i64::try_from(index % 100_000).unwrap(),
            refused,
            has_ended: index.is_multiple_of(3),
        };
        self.apply(Command::Settle(settle.into()));
    }

    fn adopt_everything(&mut self, points: i64, reset_in_ms: i64, cool_in_ms: i64) {
        let resources = self.ledger.pools.keys();
        let mut pools: Vec<Snapshot> =
            resources.filter_map(|name| self.ledger.snapshot(name, self.now)).collect();
        for pool in &mut pools {
            (pool.used, pool.reset) = (pool.used + points, self.now + reset_in_ms);
        }
        let leases = self.open.iter().take(3).map(|granted| HandedLease {
            lease: LeaseId { replica: 9, ..granted.admit.lease },
            share: granted.admit.share.clone(),
            resource: std::sync::Arc::clone(&granted.admit.place.resource),
            route: std::sync::Arc::clone(&granted.admit.place.route),
            price: points,
            points: granted.admit.points,
            creates_content: granted.admit.creates_content,
            is_settled: points % 2 == 0,
            at: granted.at,
        });
        let spent = ["one", "four"].map(|agent| Spent {
            resource: text("core"),
            reset: self.now + reset_in_ms,
            agent: text(agent),
            points,
        });
        let handover = Handover {
            leases: leases.collect(),
            sent: self.ledger.sent(),
            pools,
            spent: spent.to_vec(),
            cool: self.now + cool_in_ms,
        };
        self.apply(Command::Adopt(Box::new(handover)));
    }
}

/// Places that nobody withdrew or evicted expire with the gate's sorted sets.
#[test]
fn a_head_whose_places_lapsed_asks_as_if_it_had_none() {
    let server = Server::start();
    let mut bench = Bench::new(1_000);
    bench.shared = Some(SharedLedger::new(&server, "lapsed", 0, 1));
    bench.until_waiting(&AGENTS[0]);
    let mut connection = server.connect();
    for kind in ["o", "e"] {
        let pattern = format!("tollgate:1:{{bot/lapsed}}:{kind}:*");
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
        assert!(!keys.is_empty());
        redis::cmd("DEL").arg(keys).exec(&mut connection).unwrap();
    }
    // The embedded ledger drops them by itself.
    bench.now += 700_000;
    // Others are waiting at the same gates now.
    bench.until_waiting(&AGENTS[1]);
    for _ in 0..3 {
        bench.admit(&AGENTS[0], false, "core", 60_000);
        bench.now += 1_000;
    }
}

/// A script that fails half-way has written to sorted sets, but not to hashes.
#[test]
fn what_a_script_that_failed_left_behind_lapses() {
    let server = Server::start();
    let mut bench = Bench::new(1_000);
    bench.shared = Some(SharedLedger::new(&server, "failed", 0, 1));
    bench.until_waiting(&AGENTS[0]);
    let mut connection = server.connect();
    let state = "tollgate:1:{bot/failed}:l";
    let broken = LeaseId { replica: 7, number: 7 };
    let field = format!("lease:{:016x}-{:016x}", broken.replica, broken.number);
    redis::cmd("HSET").arg(state).arg(&field).arg("rubbish").exec(&mut connection).unwrap();
    let shared = bench.shared.as_mut().unwrap();
    let admit = |lease| Admit {
        lease,
        share: AGENTS[0].share(),
        place: Place { resource: text("core"), head: text("one/core/r/7"), route: text(AGENTS[0].route) },
        left_route: None,
        is_write: false,
        is_graphql: false,
        price: Some(1),
        points: 1,
        creates_content: false,
        repository: None,
        is_interactive: false,
        patience_ms: 60_000,
        random: 0,
        is_observing: false,
    };
    let calls = [LeaseId { replica: 7, number: 8 }, broken].map(|lease| Call {
        stamp: Stamp { replica: 7, last_reply: None, caps: super::CAPS, ended: Vec::new() },
        command: Command::Admit(admit(lease).into()),
    });
    assert!(shared.invoke(&calls, bench.now).unwrap_err().to_string().contains("GARBLED"));
    let order = "tollgate:1:{bot/failed}:o:pool:core";
    let heads = |connection: &mut redis::Connection| -> Vec<String> {
        redis::cmd("ZRANGE").arg(order).arg(0).arg(-1).query(connection).unwrap()
    };
    assert!(heads(&mut connection).contains(&"one/core/r/7".to_owned()));
    redis::cmd("HDEL").arg(state).arg(field).exec(&mut connection).unwrap();
    bench.now += 61_000;
    bench.admit(&AGENTS[2], false, "core", 60_000);
    assert!(!heads(&mut connection).contains(&"one/core/r/7".to_owned()));
    bench.until_waiting(&AGENTS[1]);
}

/// The number of cases; a long proof asks for more.
fn cases(usual: u32) -> u32 {
    std::env::var("TOLLGATE_PROOF_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn redis_gives_the_same_replies_to_the_bit() {
    let server = Server::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: cases(24),
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec(wild(), 1..400);
    let together = prop_oneof![Just(1_usize), 2..64_usize];
    let limits = prop_oneof![Just(30_i64), Just(1_000), Just(15_000)];
    let case = std::sync::atomic::AtomicU64::new(0);
    runner
        .run(&(steps, limits, prop::bool::ANY, together), |(steps, limit, is_reborn, together)| {
            let number = case.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let pause_ms = if is_reborn { 2_000 } else { 0 };
            let mut bench = Bench::new(limit);
            bench.ledger = super::Ledger::new(pause_ms);
            bench.shared = Some(SharedLedger::new(&server, &number.to_string(), pause_ms, together));
            bench.now = START;
            for step in &steps {
                bench.take_wild(step);
            }
            bench.shared.iter_mut().for_each(SharedLedger::ask);
            Ok(())
        })
        .unwrap();
}
