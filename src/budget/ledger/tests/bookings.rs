//! Callers that are refused and come back when they were told, where turns are far apart.

use std::collections::BTreeMap;

use super::*;

/// A caller of an agent's: when it asks next, and whether that is a time it was told.
pub(super) struct Caller {
    pub(super) who: Who,
    /// What its calls are counted under.
    label: &'static str,
    at: i64,
    is_told: bool,
    pub(super) patience_ms: i64,
    /// How much later it comes than it was told; its way here takes some time.
    late_ms: i64,
}

/// What came of the calls of an agent.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Came {
    pub(super) served: i64,
    /// Refused at the very time it had been told.
    pub(super) in_vain: i64,
}

pub(super) struct Crowd {
    pub(super) bench: Bench,
    pub(super) callers: Vec<Caller>,
    is_write: bool,
    resource: &'static str,
    came: BTreeMap<&'static str, Came>,
    /// The longest that anyone was told to stay away.
    longest_s: i64,
}

impl Crowd {
    pub(super) fn new(
        mut bench: Bench,
        agents: &[Who],
        callers: usize,
        is_write: bool,
        resource: &'static str,
    ) -> Crowd {
        // A first call finds out how things stand.
        bench.admit(&agents[0], false, resource, 60_000);
        bench.answer(0, None, true);
        let callers = (0..callers).flat_map(|number| {
            let late = i64::try_from(number).unwrap() * 130;
            agents.iter().map(move |who| Caller {
                who: *who,
                label: who.name,
                at: START + 200 + late,
                is_told: false,
                patience_ms: 4_000,
                late_ms: 50,
            })
        });
        Crowd { bench, callers: callers.collect(), is_write, resource, came: BTreeMap::new(), longest_s: 0 }
    }

    /// Lets all ask in the order of their times; each asks again as soon as it has an answer.
    pub(super) fn run(&mut self, until: i64) {
        while let Some(next) = (0..self.callers.len()).min_by_key(|place| self.callers[*place].at) {
            let Caller { who, label, at, is_told, patience_ms, late_ms } = self.callers[next];
            if at >= until {
                return;
            }
            self.bench.now = self.bench.now.max(at);
            let now = self.bench.now;
            let outcome = self.bench.admit(&who, self.is_write, self.resource, patience_ms);
            let came = self.came.entry(label).or_default();
            let (at, is_told) = match outcome {
                Outcome::Granted { .. } => {
                    came.served += 1;
                    self.bench.answer(0, None, true);
                    (now + 150, false)
                }
                Outcome::Wait { hint_ms, .. } => (now + hint_ms, is_told),
                Outcome::Refused { retry_after, .. } => {
                    came.in_vain += i64::from(is_told);
                    self.longest_s = self.longest_s.max(retry_after);
                    (now + retry_after * 1000 + late_ms, true)
                }
                Outcome::Done | Outcome::Settled { .. } => unreachable!(),
            };
            self.callers[next] = Caller { who, label, at, is_told, patience_ms, late_ms };
            self.bench.check();
        }
    }

    pub(super) fn add(&mut self, who: Who, label: &'static str, at: i64, patience_ms: i64) {
        self.callers.push(Caller { who, label, at, is_told: false, patience_ms, late_ms: 50 });
    }

    /// From now on, the agent's callers come so much later than they are told.
    fn delay(&mut self, agent: &str, late_ms: i64) {
        self.callers
            .iter_mut()
            .filter(|caller| caller.who.name == agent)
            .for_each(|caller| caller.late_ms = late_ms);
    }

    pub(super) fn forget(&mut self) {
        self.came.clear();
        self.longest_s = 0;
    }

    pub(super) fn came(&self, name: &str) -> Came {
        self.came.get(name).copied().unwrap_or_default()
    }
}

pub(super) fn agents() -> [Who; 3] {
    [("a", 1), ("b", 3), ("c", 2)].map(|(name, weight)| Who::plain(name, weight))
}

/// Served by weight, all of the turns, and nobody in vain.
fn check(crowd: &Crowd, agents: &[Who], turns: i64) {
    let all: i64 = crowd.came.values().map(|came| came.served).sum();
    assert!((turns * 9 / 10..=turns * 11 / 10 + 3).contains(&all), "{turns} turns: {:?}", crowd.came);
    let weights: i64 = agents.iter().map(|who| who.weight).sum();
    for who in agents {
        let came = crowd.came(who.name);
        let fair = all * who.weight / weights;
        assert!((came.served - fair).abs() <= 2 + fair / 8, "{} of {fair}: {:?}", who.name, crowd.came);
        // Several callers of one agent share its times: one that asks for the first time may take another's.
        let own = if crowd.callers.len() > agents.len() { came.served / 20 } else { 0 };
        assert!(came.in_vain <= own, "{} was told when it would be served: {:?}", who.name, crowd.came);
    }
}

/// Its time has lapsed, and all turns until the next one are others' by then.
#[test]
fn who_comes_late_is_served_before_others_have_their_times() {
    let agents = ["a", "b", "c", "d", "late"].map(|name| Who::plain(name, 1));
    for patience_ms in [0, 4_000] {
        let mut crowd = Crowd::new(Bench::new(3_600), &agents, 1, false, "core");
        crowd.callers.iter_mut().for_each(|caller| caller.patience_ms = patience_ms);
        crowd.delay("late", 8_000);
        crowd.run(START + 300_000);
        crowd.forget();
        crowd.run(START + 1_200_000);
        let (late, other) = (crowd.came("late"), crowd.came("a"));
        // One in some fourteen seconds, since it is told five and comes eight later.
        assert!(late.served >= 60, "{late:?}, others {other:?}");
        assert!(late.in_vain + other.in_vain <= 3, "{late:?}, others {other:?}");
    }
}

#[test]
fn who_comes_when_it_was_told_is_served() {
    for callers in [1, 3] {
        // Writes: one in ten seconds once the first ones are through.
        let mut crowd = Crowd::new(Bench::new(15_000), &agents(), callers, true, "core");
        crowd.run(START + 300_000);
        crowd.forget();
        crowd.run(START + 1_500_000);
        check(&crowd, &agents(), 120);
    }
}

/// Only a few of its times are kept, and the same ones were named to all others again and again.
#[test]
fn many_callers_of_an_agent_alone_have_a_time_each() {
    let mut crowd = Crowd::new(Bench::new(15_000), &[Who::plain("a", 1)], 12, true, "core");
    crowd.run(START + 300_000);
    crowd.forget();
    crowd.run(START + 2_700_000);
    let came = crowd.came("a");
    assert!((235..=245).contains(&came.served) && came.in_vain <= 2, "{came:?}");
    assert!(crowd.longest_s <= 130, "told to stay away for {} s", crowd.longest_s);
}

/// Every turn that was left over counted as the agent's, so the times named lay further and further ahead.
#[test]
fn many_callers_of_several_agents_are_not_sent_away_for_longer_and_longer() {
    let mut crowd = Crowd::new(Bench::new(15_000), &agents(), 6, true, "core");
    crowd.run(START + 900_000);
    crowd.forget();
    crowd.run(START + 6_300_000);
    // The first of them has a turn a minute, so its six callers need six minutes.
    assert!(crowd.longest_s <= 720, "told to stay away for {} s", crowd.longest_s);
    let all: i64 = ["a", "b", "c"].map(|name| crowd.came(name).served).iter().sum();
    assert!((530..=550).contains(&all), "{:?}", crowd.came);
    for who in agents() {
        let (came, fair) = (crowd.came(who.name), all * who.weight / 6);
        assert!((came.served - fair).abs() <= fair / 8, "{} of {fair}: {:?}", who.name, crowd.came);
        assert!(came.in_vain <= 4 + came.served / 10, "{}: {:?}", who.name, crowd.came);
    }
}

/// They died at once, and the next one was to wait for all of them.
#[test]
fn callers_that_died_before_their_first_time_are_not_waited_for() {
    let mut crowd = Crowd::new(Bench::new(15_000), &[Who::plain("a", 1)], 0, true, "core");
    let alone = Who::plain("a", 1);
    let mut refused = 0;
    while refused < 100 {
        match crowd.bench.admit(&alone, true, "core", 0) {
            Outcome::Granted { .. } => crowd.bench.answer(0, None, true),
            Outcome::Refused { reason: Reason::Turn(GateKind::Content), .. } => refused += 1,
            _ => crowd.bench.now += 1_000,
        }
    }
    let silence = crowd.bench.now + 60_000;
    for late in 0..3 {
        crowd.add(alone, "new", silence + late, 4_000);
    }
    crowd.run(silence + 600_000);
    assert!(crowd.came("new").served >= 60, "{:?}", crowd.came("new"));
    assert!(crowd.longest_s <= 100, "told to stay away for {} s", crowd.longest_s);
}

/// They would have come for a quarter of an hour.
#[test]
fn callers_that_do_not_come_back_send_nobody_away_for_long() {
    let mut crowd = Crowd::new(Bench::new(15_000), &[Who::plain("a", 1)], 100, true, "core");
    crowd.run(START + 300_000);
    assert!(crowd.longest_s >= 900, "told to stay away for {} s", crowd.longest_s);
    crowd.callers.clear();
    crowd.forget();
    // Their turns are left over, which tells that they may be gone.
    for late in 0..8 {
        crowd.add(Who::plain("a", 1), "new", START + 360_000 + late, 4_000);
    }
    crowd.run(START + 960_000);
    assert!(crowd.came("new").served >= 55, "{:?}", crowd.came("new"));
    assert!(crowd.longest_s <= 120, "told to stay away for {} s", crowd.longest_s);
}

#[test]
fn so_is_who_is_told_a_time_at_a_scarce_pool() {
    for callers in [1, 3] {
        // 360 points an hour: one in ten seconds.
        let mut crowd = Crowd::new(Bench::new(360), &agents(), callers, false, "core");
        crowd.run(START + 600_000);
        crowd.forget();
        crowd.run(START + 2_400_000);
        check(&crowd, &agents(), 180);
    }
}

/// At the pace of a window that is nearly spent, its turn would come long after the next window has begun.
#[test]
fn who_waits_for_a_scarce_pool_asks_again_when_its_window_ends() {
    let mut bench = Bench::new(300);
    let [one, other, _] = agents();
    bench.admit(&one, false, "core", 0);
    // Users outside took nearly everything.
    bench.windows.insert(text("core"), (START + 20_000, 285));
    bench.answer(0, None, true);
    let mut held = Vec::new();
    for who in [&one, &other].into_iter().cycle().take(40) {
        match bench.admit(who, false, "core", 60_000) {
            Outcome::Granted { .. } => bench.answer(0, None, true),
            Outcome::Wait { hint_ms, .. } => held.push(hint_ms),
            outcome => panic!("{outcome:?}"),
        }
    }
    assert!(!held.is_empty() && held.iter().all(|hint_ms| *hint_ms <= 22_000), "{held:?}");
}

#[test]
fn who_waits_is_not_passed_by_those_who_come_back() {
    let patient = Who::plain("p", 2);
    let everyone: Vec<Who> = agents().into_iter().chain([patient]).collect();
    let mut crowd = Crowd::new(Bench::new(15_000), &everyone, 1, true, "core");
    let waits = crowd.callers.iter_mut().filter(|caller| caller.who.name == patient.name);
    waits.for_each(|caller| caller.patience_ms = 120_000);
    crowd.run(START + 300_000);
    crowd.forget();
    crowd.run(START + 1_500_000);
    check(&crowd, &everyone, 120);
}

/// A caller that does not come back costs the others a few seconds, not its turn.
#[test]
fn a_time_nobody_comes_for_is_given_up() {
    let mut crowd = Crowd::new(Bench::new(15_000), &agents(), 1, true, "core");
    crowd.run(START + 300_000);
    crowd.callers.retain(|caller| caller.who.name != "b");
    crowd.run(START + 360_000);
    crowd.forget();
    crowd.run(START + 1_560_000);
    check(&crowd, &[agents()[0], agents()[2]], 120);
}

/// Whoever sends many calls at once is told times for all, but takes no more than a few turns from the others.
#[test]
fn a_burst_of_one_agent_does_not_take_all_turns() {
    let mut crowd = Crowd::new(Bench::new(15_000), &agents(), 0, true, "core");
    let [burst, other, _] = agents();
    // The first ones are through.
    let turn = Reason::Turn(GateKind::Content);
    loop {
        match crowd.bench.admit(&burst, true, "core", 0) {
            Outcome::Granted { .. } => crowd.bench.answer(0, None, true),
            Outcome::Refused { reason, .. } if reason == turn => break,
            _ => {}
        }
        crowd.bench.now += 1_000;
    }
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..100 {
        match crowd.bench.admit(&burst, true, "core", 0) {
            Outcome::Refused { retry_after, .. } => told.insert(retry_after),
            outcome => panic!("{outcome:?}"),
        };
    }
    assert!(
        told.len() >= 95 && told.iter().all(|seconds| *seconds <= 3_600),
        "one after the other: {told:?}"
    );
    match crowd.bench.admit(&other, true, "core", 0) {
        Outcome::Refused { retry_after, .. } => assert!(retry_after <= 101, "{retry_after}"),
        outcome => panic!("{outcome:?}"),
    }
}

/// Each of its refusals moves its next time on, until it is too early to be kept.
#[test]
fn who_asks_all_the_time_keeps_its_part() {
    let mut crowd = Crowd::new(Bench::new(15_000), &agents(), 4, true, "core");
    let poller = Who::plain("poller", 2);
    crowd.run(START + 300_000);
    crowd.forget();
    let mut served = 0;
    for second in 0..6_000 {
        crowd.run(START + 300_000 + second * 1_000);
        if let Outcome::Granted { .. } = crowd.bench.admit(&poller, true, "core", 0) {
            served += 1;
            crowd.bench.answer(0, None, true);
        }
    }
    // A quarter of one in ten seconds would be its part, if it came when it was told. The others are not held up for it.
    assert!((30..=200).contains(&served), "{served} of 150: {:?}", crowd.came);
}

/// A dear call goes into debt: no time is kept for it, nor do the times of cheap ones lie around it.
#[test]
fn dear_calls_send_nobody_away_for_long() {
    let mut bench = Bench::new(5_000);
    let [dear, cheap, _] = agents();
    bench.admit(&cheap, false, "graphql", 60_000);
    bench.answer(0, None, true);
    let refused = |bench: &mut Bench, who: &Who, price: i64| {
        bench.now += 10;
        let share = who.share();
        let admit = Admit {
            lease: bench.lease(),
            share,
            place: Place {
                resource: text("graphql"),
                head: text(&format!("{}/graphql/r/1", who.name)),
                route: text("POST /graphql"),
            },
            left_route: None,
            is_write: false,
            is_graphql: true,
            price: Some(price),
            points: 1,
            creates_content: false,
            repository: None,
            is_interactive: false,
            patience_ms: 0,
            random: 0,
            is_observing: false,
        };
        match bench.apply(Command::Admit(admit.into())).outcome {
            Outcome::Refused { retry_after, .. } => Some(retry_after),
            _ => None,
        }
    };
    for _ in 0..12 {
        refused(&mut bench, &dear, 601);
    }
    for _ in 0..3 {
        let told = refused(&mut bench, &cheap, 4).unwrap_or_default();
        assert!(told <= 90, "{told}");
    }
    // Nor are dear ones sent away because of the times of cheap ones.
    let told = refused(&mut bench, &dear, 601).unwrap_or_default();
    assert!(told <= 120, "a minute behind the estimate: {told}");
}
