//! What is told near the end of a window, and to callers that hardly wait.

use super::bookings::{Crowd, agents};
use super::*;

/// Tells of each refusal, until something else comes.
fn told(bench: &mut Bench, who: &Who, calls: usize, patience_ms: i64) -> Vec<i64> {
    let mut told = Vec::new();
    for _ in 0..calls {
        match bench.admit(who, false, "core", patience_ms) {
            Outcome::Refused { retry_after, .. } => told.push(retry_after),
            Outcome::Granted { .. } => bench.answer(0, None, true),
            Outcome::Wait { .. } => {}
            outcome => panic!("{outcome:?}"),
        }
    }
    told
}

/// A pool of which `used` points are used, in a window that ends in `ends_in_ms`; two agents have been seen.
fn spent(limit: i64, used: i64, ends_in_ms: i64, agents: &[Who]) -> Bench {
    let mut bench = Bench::new(limit);
    bench.windows.insert(text("core"), (START + ends_in_ms, used));
    for who in agents {
        if let Outcome::Granted { .. } = bench.admit(who, false, "core", 0) {
            bench.answer(0, None, true);
        }
    }
    bench
}

#[test]
fn nobody_is_sent_away_far_beyond_a_spent_window() {
    let [one, other, _] = [("a", 1), ("b", 20), ("c", 20)].map(|(name, weight)| Who::plain(name, weight));
    let mut bench = spent(5_000, 5_000, 25_000, &[one, other]);
    for who in [&one, &other] {
        let Outcome::Wait { hint_ms, step_ms, .. } = bench.admit(who, false, "core", 60_000) else {
            panic!("{} is held until the window ends", who.name)
        };
        let mut told = told(&mut bench, who, 1, 4_000);
        for place in 1..4 {
            let (share, wait_ms) = (who.share(), hint_ms + step_ms * place);
            let book = Book {
                share,
                resource: text("core"),
                wait_ms,
                step_ms,
                reason: Reason::Turn(GateKind::Pool),
            };
            let Outcome::Refused { retry_after, .. } = bench.apply(Command::Book(book)).outcome else {
                panic!()
            };
            told.push(retry_after);
        }
        // In the next window a turn of the light agent comes every 15 s, one of the heavy one in less than a second.
        let most = if who.weight == 1 { 26 + 3 * 16 } else { 26 + 4 };
        assert!(told.iter().all(|seconds| (26..=most).contains(seconds)), "{}: {told:?}", who.name);
    }
}

/// Windows of a minute, as those of searches: a time that is told is mostly one of the next window, and nobody waits
/// until then.
#[test]
fn times_of_the_next_window_are_kept_too() {
    for limit in [10, 30] {
        for (agents, callers, patience_ms) in [
            (&agents()[..1], 1, 0),
            (&agents()[..1], 3, 4_000),
            (&agents()[..], 1, 4_000),
            (&agents()[..], 3, 0),
        ] {
            let mut bench = Bench::new(limit);
            bench.window_ms = 60_000;
            let mut crowd = Crowd::new(bench, agents, callers, false, "search");
            crowd.callers.iter_mut().for_each(|caller| caller.patience_ms = patience_ms);
            crowd.run(START + 120_000);
            crowd.forget();
            crowd.run(START + 120_000 + 20 * 60_000);
            let came: Vec<_> = agents.iter().map(|who| (who.weight, crowd.came(who.name))).collect();
            let (all, in_vain) =
                came.iter().fold((0, 0), |sum, (_, came)| (sum.0 + came.served, sum.1 + came.in_vain));
            // A point is kept back, and a window lasts a second longer.
            assert!(all >= 20 * (limit - 1) * 17 / 20, "{all} of {}: {came:?}", 20 * (limit - 1));
            // A new call of the same agent may take the time that another caller was told.
            assert!(in_vain <= if callers == 1 { all / 50 } else { all / 8 }, "{in_vain} of {all}: {came:?}");
            let weights: i64 = agents.iter().map(|who| who.weight).sum();
            for (weight, came) in &came {
                let fair = all * weight / weights;
                assert!((came.served - fair).abs() <= 2 + fair / 4, "{fair} were fair: {came:?}");
            }
        }
    }
}

/// Its times in the next window would be held for it.
#[test]
fn who_may_have_none_holds_no_turn_of_the_next_window() {
    let closed = Who { ceiling: Some(0), ..Who::plain("closed", 10) };
    let [one, ..] = agents();
    let mut bench = Bench::new(10);
    bench.window_ms = 60_000;
    bench.windows.insert(text("search"), (START + 40_000, 9));
    bench.admit(&one, false, "search", 0);
    bench.answer(0, None, true);
    for _ in 0..8 {
        bench.admit(&closed, false, "search", 0);
    }
    let told = bench.admit(&one, false, "search", 0);
    assert!(matches!(told, Outcome::Refused { retry_after: 39..=42, .. }), "{told:?}");
}

/// Of an agent under its share: the turns until then were all promised to callers of the others.
#[test]
fn an_urgent_call_does_not_wait_for_the_times_of_others() {
    let human = Who { is_interactive: true, ..Who::plain("human", 1) };
    let mut bench = Bench::new(30);
    bench.window_ms = 60_000;
    let mut crowd = Crowd::new(bench, &agents(), 4, false, "search");
    crowd.run(START + 120_000);
    crowd.forget();
    for minute in 0..20 {
        crowd.run(START + 120_000 + minute * 60_000 + 30_000);
        let told = crowd.bench.admit(&human, false, "search", 4_000);
        assert!(matches!(told, Outcome::Granted { .. }), "{minute}: {told:?}");
        crowd.bench.answer(0, None, true);
    }
    let (served, in_vain) = agents()
        .iter()
        .map(|who| crowd.came(who.name))
        .fold((0, 0), |sum, came| (sum.0 + came.served, sum.1 + came.in_vain));
    assert!(in_vain <= served / 20, "{in_vain} of {served}");
}

/// Whoever asks with no patience is refused at each moment that is not its agent's turn, and others of the same agent
/// wait in the order meanwhile.
#[test]
fn who_hardly_waits_is_served_beside_those_who_wait() {
    let [one, other, _] = agents();
    let mut crowd = Crowd::new(Bench::new(5_000), &[one, other], 2, false, "core");
    crowd.add(one, "hasty", START + 300, 0);
    crowd.run(START + 300_000);
    crowd.forget();
    crowd.run(START + 900_000);
    assert!(crowd.came("hasty").served >= 40, "{:?} {:?}", crowd.came("hasty"), crowd.came("a"));
}

#[test]
fn a_guarantee_holds_for_who_comes_when_it_was_told() {
    let sure = Who { guarantee: 2_500, ..Who::plain("sure", 1) };
    let rival = Who::plain("rival", 10);
    let mut bench = Bench::new(30);
    bench.window_ms = 60_000;
    let mut crowd = Crowd::new(bench, &[sure, rival], 1, false, "search");
    crowd.callers[0].patience_ms = 0;
    for late in [10, 20, 30, 40] {
        crowd.add(rival, "rival", START + late, 4_000);
    }
    crowd.run(START + 120_000);
    crowd.forget();
    crowd.run(START + 120_000 + 20 * 60_000);
    let (sure, rival) = (crowd.came("sure"), crowd.came("rival"));
    // Fifteen a minute are its own, one in four seconds. It comes whole seconds later, and by its weight it had less
    // than five.
    assert!(sure.served >= 20 * 7, "{sure:?} {rival:?}");
}

/// A ceiling is in points an hour, so it has to be known how long a window is.
#[test]
fn a_window_seen_in_its_last_minute_is_an_hour_long() {
    let held = Who { ceiling: Some(600), ..Who::plain("held", 1) };
    let mut bench = Bench::new(5_000);
    bench.windows.insert(text("graphql"), (START + 28_000, 10));
    let mut served = 0;
    for _ in 0..60 {
        if let Outcome::Granted { .. } = bench.admit(&held, false, "graphql", 0) {
            served += 1;
            bench.answer(0, None, true);
        }
        bench.now += 1_000;
    }
    assert!(served <= 14, "{served}");
}

/// It was told the window's end, when its ceiling still held it.
#[test]
fn a_time_that_follows_from_a_ceiling_may_lie_in_the_next_window() {
    let held = Who { ceiling: Some(60), ..Who::plain("held", 1) };
    let mut bench = Bench::new(5_000);
    bench.windows.insert(text("core"), (START + 28_000, 10));
    assert!(matches!(bench.admit(&held, false, "core", 0), Outcome::Granted { .. }));
    bench.answer(0, None, true);
    let told = bench.admit(&held, false, "core", 0);
    assert!(matches!(told, Outcome::Refused { retry_after: 45..=47, reason: Reason::Ceiling }), "{told:?}");
}

/// A gate that applies from half full would apply to everybody for as long as it kept a time.
#[test]
fn only_pools_keep_the_times_of_those_who_hardly_wait() {
    let mut bench = Bench::new(1_000_000);
    let [one, ..] = agents();
    bench.admit(&one, false, "core", 0);
    bench.answer(0, None, true);
    let mut refused = 0;
    while refused < 3 {
        match bench.admit(&one, false, "core", 0) {
            Outcome::Granted { .. } => bench.answer(0, None, true),
            Outcome::Refused { reason: Reason::Turn(GateKind::Installation), .. } => refused += 1,
            Outcome::Refused { reason: Reason::Turn(_), .. } => {}
            outcome => panic!("{outcome:?}"),
        }
        bench.now += 10;
    }
    assert!(!bench.ledger.installation.holds_somebody());
}
