//! The ledger's promises, asserted after every step of random operations at random times.

mod bookings;
mod fairness;
mod refusals;
mod shared;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::command::*;
use super::Ledger;
use super::units::{CREDIT, Micro};

const CAPS: Caps = Caps {
    headroom: 0,
    concurrent: 90,
    route: 810,
    graphql: 1800,
    all: 2700,
    content_minute: 72,
    content_hour: 470,
};
const START: i64 = 1_700_000_000_000;

fn text(name: &str) -> Arc<str> {
    Arc::from(name)
}

/// A ledger at work, with the books an outside observer would keep of it.
struct Bench {
    ledger: Ledger,
    /// The same ledger in Redis, if the replies are to be compared.
    shared: Option<shared::SharedLedger>,
    now: i64,
    numbers: u64,
    last_reply: Option<LastReply>,
    /// Reported with the next step.
    ended: Vec<LeaseId>,
    /// Calls granted and not yet settled.
    open: Vec<Granted>,
    /// Every grant: when, route, secondary points, whether it creates content.
    log: Vec<(i64, Arc<str>, i64, bool)>,
    /// GitHub's window of each resource: its end and the points used.
    windows: HashMap<Arc<str>, (i64, i64)>,
    virtual_times: HashMap<String, Micro>,
    limit: i64,
    window_ms: i64,
}

#[derive(Clone)]
struct Granted {
    admit: Admit,
    at: i64,
    cost: i64,
}

impl Bench {
    fn new(limit: i64) -> Bench {
        Bench {
            ledger: Ledger::new(0),
            shared: None,
            now: START,
            numbers: 0,
            last_reply: None,
            ended: Vec::new(),
            open: Vec::new(),
            log: Vec::new(),
            windows: HashMap::new(),
            virtual_times: HashMap::new(),
            limit,
            window_ms: 3_600_000,
        }
    }

    fn apply(&mut self, command: Command) -> Reply {
        let stamp = Stamp {
            replica: self.numbers % 3,
            last_reply: self.last_reply,
            caps: CAPS,
            ended: std::mem::take(&mut self.ended),
        };
        let call = Call { stamp, command };
        let reply = self.ledger.apply(&call, self.now);
        if let Some(shared) = &mut self.shared {
            shared.apply(call, self.now, reply.clone());
        }
        reply
    }

    fn lease(&mut self) -> LeaseId {
        self.numbers += 1;
        LeaseId { replica: self.numbers % 2, number: self.numbers }
    }

    fn admit(&mut self, agent: &Who, is_write: bool, resource: &str, patience_ms: i64) -> Outcome {
        let is_graphql = resource == "graphql";
        let group = if is_write { "w" } else { "r" };
        let route = if is_graphql { "POST /graphql" } else { agent.route };
        let admit = Admit {
            lease: self.lease(),
            share: agent.share(),
            place: Place {
                resource: text(resource),
                head: text(&format!("{}/{resource}/{group}/1", agent.name)),
                route: text(route),
            },
            left_route: None,
            is_write,
            is_graphql,
            price: (!is_graphql).then_some(1),
            points: if is_write { 5 } else { 1 },
            creates_content: is_write,
            repository: is_write.then(|| text("acme/widgets")),
            is_interactive: agent.is_interactive,
            patience_ms,
            random: i64::try_from(self.numbers * 37 % 1000).unwrap(),
            is_observing: false,
        };
        let cool = self.ledger.cooldown.until;
        let reply = self.apply(Command::Admit(admit.clone().into()));
        if let Outcome::Granted { .. } = reply.outcome {
            assert!(self.now >= cool, "granted in a cooldown");
            self.log.push((self.now, text(route), admit.points, is_write));
            let cost = if is_graphql { 1 + i64::try_from(self.numbers % 7).unwrap() } else { 1 };
            self.open.push(Granted { admit, at: self.now, cost });
            let pool = &self.ledger.pools[resource];
            let excess: i64 = self.open.iter().map(|granted| (granted.cost - 1).max(0)).sum();
            let counted = pool.used.max(pool.own) + pool.in_flight;
            let allowed = pool.limit + if is_graphql { excess } else { 0 };
            assert!(!pool.is_known || counted <= allowed, "{counted} of {allowed}");
        }
        reply.outcome
    }

    /// GitHub answers one of the calls in flight.
    fn answer(&mut self, index: usize, refused: Option<UpstreamRefusal>, with_figures: bool) {
        if self.open.is_empty() {
            return;
        }
        let granted = self.open.swap_remove(index % self.open.len());
        let resource = Arc::clone(&granted.admit.place.resource);
        let window = self.windows.entry(Arc::clone(&resource)).or_insert((0, 0));
        if window.0 <= self.now {
            *window = (self.now + self.window_ms, 0);
        }
        let cost = if refused.is_some() { 0 } else { granted.cost };
        window.1 += cost;
        let figures = Figures {
            resource: Arc::clone(&resource),
            limit: self.limit,
            used: window.1,
            reset_in_ms: (window.0 - self.now) / 1000 * 1000,
        };
        let settle = Settle {
            lease: granted.admit.lease,
            share: granted.admit.share.clone(),
            resource,
            route: Arc::clone(&granted.admit.place.route),
            cost: Some(cost),
            figures: with_figures.then_some(figures),
            is_success: true,
            elapsed_ms: self.now - granted.at,
            refused,
            has_ended: !self.numbers.is_multiple_of(5),
        };
        self.apply(Command::Settle(settle.into()));
    }

    fn check(&mut self) {
        let reserved = |resource: &str| -> i64 {
            let of = |lease: &&super::lease::Lease| &*lease.resource == resource;
            self.ledger.leases.iter().filter(of).map(super::lease::Lease::reserved).sum()
        };
        for (resource, pool) in &self.ledger.pools {
            assert_eq!(pool.in_flight, reserved(resource), "in flight at {resource}");
            assert!(pool.gate.tok >= -pool.debt().max(50 * 1_000_000), "debt of {resource}");
        }
        assert!(self.ledger.leases.count() <= CAPS.concurrent);
        let routes = self.ledger.routes.values().map(|route| &route.gate);
        let pools = self.ledger.pools.values().map(|pool| &pool.gate);
        let gates = routes.chain(pools).chain([&self.ledger.installation, &self.ledger.content]);
        assert!(gates.into_iter().all(super::gate::Gate::is_consistent));
        self.check_rings();
        let gates = self.ledger.pools.iter().map(|(name, pool)| (name.to_string(), pool.gate.v));
        let gates = gates.chain([
            ("installation".to_owned(), self.ledger.installation.v),
            ("content".to_owned(), self.ledger.content.v),
        ]);
        for (name, v) in gates {
            let before = self.virtual_times.insert(name.clone(), v).unwrap_or(Micro::MIN);
            assert!(v >= before, "virtual time of {name} fell from {before} to {v}");
        }
    }

    /// Checks that no cap is exceeded in any sliding minute or hour.
    fn check_rings(&self) {
        let since = |span: i64| self.log.iter().filter(move |(at, ..)| *at > self.now - span);
        let mut routes: HashMap<&str, i64> = HashMap::new();
        for (_, route, points, _) in since(60_000) {
            *routes.entry(route).or_default() += points;
        }
        for (route, points) in &routes {
            let cap = if route.contains("graphql") { CAPS.graphql } else { CAPS.route };
            assert!(*points <= cap, "{points} points a minute on {route}");
        }
        assert!(routes.values().sum::<i64>() <= CAPS.all);
        let content = |span| since(span).filter(|(.., content)| *content).count();
        assert!(content(60_000) <= 72 && content(3_600_000) <= 470);
    }
}

/// An agent of the tests.
#[derive(Clone, Copy)]
struct Who {
    name: &'static str,
    weight: i64,
    guarantee: i64,
    ceiling: Option<i64>,
    is_interactive: bool,
    route: &'static str,
}

impl Who {
    const fn plain(name: &'static str, weight: i64) -> Who {
        Who { name, weight, guarantee: 0, ceiling: None, is_interactive: false, route: "GET /repos" }
    }

    fn share(&self) -> Share {
        Share {
            agent: text(self.name),
            weight: self.weight,
            guarantee: self.guarantee,
            ceiling: self.ceiling,
            guarantees: 600,
        }
    }
}

const AGENTS: [Who; 5] = [
    Who::plain("one", 1),
    Who::plain("four", 4),
    Who { guarantee: 600, ..Who::plain("sure", 1) },
    Who { ceiling: Some(300), ..Who::plain("held", 8) },
    Who { is_interactive: true, route: "GET /user", ..Who::plain("human", 2) },
];

/// One random step.
#[derive(Debug, Clone)]
enum Step {
    Admit { agent: usize, is_write: bool, is_graphql: bool, patience_ms: i64 },
    Answer { index: usize, with_figures: bool },
    Refuse { index: usize, is_primary: bool, retry_after_ms: Option<i64> },
    Cancel { index: usize },
    Withdraw { agent: usize },
    Book { agent: usize, wait_ms: i64 },
    Renew,
    Heartbeat,
    Adopt,
    Pass { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let admit = (0..AGENTS.len(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), 0_i64..70_000)
        .prop_map(|(agent, is_write, is_graphql, patience_ms)| Step::Admit {
            agent,
            is_write: is_write && !is_graphql,
            is_graphql,
            patience_ms,
        });
    let answer = (any::<usize>(), prop::bool::weighted(0.9))
        .prop_map(|(index, with_figures)| Step::Answer { index, with_figures });
    let refuse = (any::<usize>(), any::<bool>(), prop::option::of(1_000_i64..90_000))
        .prop_map(|(index, is_primary, retry_after_ms)| Step::Refuse { index, is_primary, retry_after_ms });
    prop_oneof![
        40 => admit,
        30 => answer,
        1 => refuse,
        3 => any::<usize>().prop_map(|index| Step::Cancel { index }),
        2 => (0..AGENTS.len()).prop_map(|agent| Step::Withdraw { agent }),
        2 => (0..AGENTS.len(), 0_i64..100_000).prop_map(|(agent, wait_ms)| Step::Book { agent, wait_ms }),
        2 => Just(Step::Renew),
        2 => Just(Step::Heartbeat),
        1 => Just(Step::Adopt),
        25 => (0_i64..400).prop_map(|ms| Step::Pass { ms }),
        4 => (0_i64..40_000).prop_map(|ms| Step::Pass { ms }),
        1 => (0_i64..4_000_000).prop_map(|ms| Step::Pass { ms }),
    ]
}

impl Bench {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Admit { agent, is_write, is_graphql, patience_ms } => {
                let resource = if *is_graphql { "graphql" } else { "core" };
                self.admit(&AGENTS[*agent], *is_write, resource, *patience_ms);
            }
            Step::Answer { index, with_figures } => self.answer(*index, None, *with_figures),
            Step::Refuse { index, is_primary, retry_after_ms } => {
                let refusal = UpstreamRefusal { is_primary: *is_primary, retry_after_ms: *retry_after_ms };
                self.answer(*index, Some(refusal), true);
            }
            Step::Cancel { index } if !self.open.is_empty() => {
                let granted = self.open.swap_remove(index % self.open.len());
                let resource = Arc::clone(&granted.admit.place.resource);
                let route = Arc::clone(&granted.admit.place.route);
                let cancel = Cancel { lease: granted.admit.lease, resource, route: Arc::clone(&route) };
                self.apply(Command::Cancel(cancel));
                let is_it = |entry: &(i64, Arc<str>, i64, bool)| entry.0 == granted.at && entry.1 == route;
                if let Some(place) = self.log.iter().position(is_it) {
                    self.log.remove(place);
                }
            }
            Step::Cancel { .. } => {}
            Step::Withdraw { agent } => {
                let who = &AGENTS[*agent];
                let place = Place {
                    resource: text("core"),
                    head: text(&format!("{}/core/r/1", who.name)),
                    route: text(who.route),
                };
                self.apply(Command::Withdraw(place));
            }
            Step::Book { agent, wait_ms } => {
                let share = AGENTS[*agent].share();
                let book = Book {
                    share,
                    resource: text("core"),
                    wait_ms: *wait_ms,
                    step_ms: 700,
                    reason: match wait_ms % 3 {
                        0 => Reason::Turn(GateKind::Pool),
                        1 => Reason::Content,
                        _ => Reason::Exhausted,
                    },
                };
                self.apply(Command::Book(book));
            }
            Step::Renew => {
                let leases = self.open.iter().map(|granted| granted.admit.lease).collect();
                self.apply(Command::Renew(leases));
            }
            Step::Heartbeat => {
                self.apply(Command::Heartbeat(Known::default()));
            }
            Step::Adopt => {
                let resources = self.ledger.pools.keys();
                let pools = resources.filter_map(|name| self.ledger.snapshot(name, self.now)).collect();
                let handover = Handover { pools, ..Handover::default() };
                self.apply(Command::Adopt(Box::new(handover)));
            }
            Step::Pass { ms } => self.now += ms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn what_is_promised_holds_after_every_step(
        steps in prop::collection::vec(step(), 1..600),
        limit in prop_oneof![Just(30_i64), Just(1_000), Just(15_000)],
    ) {
        let mut bench = Bench::new(limit);
        for step in steps {
            bench.take(&step);
            bench.check();
        }
    }

    #[test]
    fn the_same_calls_at_the_same_times_have_the_same_replies(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (mut one, mut other) = (Bench::new(5_000), Bench::new(5_000));
        for step in steps {
            one.take(&step);
            other.take(&step);
        }
        for agent in &AGENTS {
            let look = || Command::Look(Look { share: agent.share(), resource: text("core") });
            prop_assert_eq!(one.apply(look()), other.apply(look()));
        }
    }

    #[test]
    fn nothing_leaves_fifty_three_bits(
        limit in any::<i64>(), used in any::<i64>(), reset_in_ms in 0_i64..86_400_000,
        cost in any::<i64>(), elapsed_ms in any::<i64>(),
    ) {
        let mut bench = Bench::new(5_000);
        bench.admit(&AGENTS[0], false, "graphql", 0);
        let Some(granted) = bench.open.pop() else { return Ok(()) };
        let figures = Figures { resource: text("graphql"), limit, used, reset_in_ms };
        let settle = Settle {
            lease: granted.admit.lease,
            share: granted.admit.share,
            resource: text("graphql"),
            route: text("POST /graphql"),
            cost: Some(cost),
            figures: Some(figures),
            is_success: true,
            elapsed_ms,
            refused: None,
            has_ended: true,
        };
        bench.apply(Command::Settle(settle.into()));
        bench.now += 30_000;
        bench.admit(&AGENTS[1], false, "graphql", 0);
        let pool = &bench.ledger.pools["graphql"];
        for value in [pool.gate.tok, pool.gate.v, pool.gate.rate, pool.own, pool.used] {
            prop_assert!(value.abs() < 1 << 53, "{value}");
        }
    }
}
