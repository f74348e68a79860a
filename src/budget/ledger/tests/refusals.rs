//! What follows when GitHub refuses: the silence, the trial after it, and what is learned.

use super::*;

#[test]
fn after_a_refusal_one_call_finds_out() {
    let mut bench = Bench::new(5_000);
    let (a, b) = (Who::plain("a", 1), Who::plain("b", 1));
    bench.admit(&a, false, "core", 0);
    bench.answer(0, None, true);
    assert!(matches!(bench.admit(&a, false, "core", 0), Outcome::Granted { .. }));
    let refusal = UpstreamRefusal { is_primary: false, retry_after_ms: Some(30_000) };
    bench.answer(0, Some(refusal), true);
    let told = bench.admit(&b, false, "core", 4_000);
    assert!(matches!(told, Outcome::Refused { retry_after: 31..=33, reason: Reason::Cooldown }), "{told:?}");
    bench.now += 31_000;
    assert!(matches!(bench.admit(&b, true, "core", 0), Outcome::Refused { reason: Reason::Trial, .. }));
    assert!(matches!(bench.admit(&b, false, "core", 0), Outcome::Granted { .. }));
    assert!(matches!(bench.admit(&a, false, "core", 0), Outcome::Refused { reason: Reason::Trial, .. }));
    bench.now += 10_000;
    assert!(matches!(bench.admit(&a, false, "core", 0), Outcome::Granted { .. }), "the first was lost");
    bench.answer(1, None, true);
    // It starts slowly.
    bench.now += 2_000;
    let told = bench.admit(&b, false, "core", 0);
    assert!(matches!(told, Outcome::Granted { .. }), "{told:?}");
}

/// Two agents send `calls` calls each, which take as long as given; then GitHub refuses. Whether
/// the first agent has to sit out.
fn sits_out(calls: usize, first_ms: i64, other_ms: i64) -> bool {
    let mut bench = Bench::new(5_000);
    let (first, other) = (Who::plain("first", 1), Who::plain("other", 1));
    bench.admit(&other, false, "core", 0);
    bench.answer(0, None, true);
    for (who, took_ms) in [(&first, first_ms), (&other, other_ms)] {
        for _ in 0..calls {
            assert!(matches!(bench.admit(who, false, "core", 0), Outcome::Granted { .. }));
        }
        bench.now += took_ms;
        (0..calls).for_each(|_| bench.answer(0, None, true));
    }
    assert!(matches!(bench.admit(&other, false, "core", 0), Outcome::Granted { .. }));
    bench.answer(0, Some(UpstreamRefusal { is_primary: false, retry_after_ms: Some(1_000) }), true);
    bench.now += 3_000;
    matches!(bench.admit(&first, false, "core", 0), Outcome::Refused { reason: Reason::Box, .. })
}

/// An agent whose few calls happened to be slow is not what a limit on CPU time is meant for.
#[test]
fn only_who_took_much_time_is_suspected() {
    assert!(!sits_out(3, 600, 100), "three calls of six");
    assert!(!sits_out(5, 1_500, 100), "seven seconds");
    assert!(sits_out(5, 4_000, 100), "twenty seconds");
    assert!(!sits_out(5, 4_000, 3_000), "everybody's calls take long");
}

/// GitHub refuses after `calls` calls, 300 ms apart. How many of 200 are granted in the minute
/// after the silence.
fn sent_after_a_refusal(calls: i64) -> usize {
    let mut bench = Bench::new(15_000);
    let who = Who::plain("a", 1);
    for call in 0..=calls {
        assert!(matches!(bench.admit(&who, false, "core", 60_000), Outcome::Granted { .. }), "{call}");
        let refusal = UpstreamRefusal { is_primary: false, retry_after_ms: Some(1_000) };
        bench.answer(0, (call == calls).then_some(refusal), true);
        bench.now += 300;
    }
    bench.now += 62_000;
    let mut sent = 0;
    for _ in 0..200 {
        if let Outcome::Granted { .. } = bench.admit(&who, false, "core", 0) {
            sent += 1;
            bench.answer(0, None, true);
        }
        bench.now += 300;
    }
    sent
}

#[test]
fn a_refusal_of_next_to_nothing_teaches_no_pace() {
    assert!(sent_after_a_refusal(5) >= 190, "{}", sent_after_a_refusal(5));
    let learned = sent_after_a_refusal(100);
    assert!((70..=86).contains(&learned), "85 % of a hundred: {learned}");
}

/// Each doubled the pause, as if it had been a trial.
#[test]
fn who_was_sent_before_the_silence_is_no_trial() {
    let mut bench = Bench::new(5_000);
    let who = Who::plain("a", 1);
    bench.admit(&who, false, "core", 0);
    bench.answer(0, None, true);
    for _ in 0..3 {
        assert!(matches!(bench.admit(&who, false, "core", 0), Outcome::Granted { .. }));
    }
    let refusal = UpstreamRefusal { is_primary: false, retry_after_ms: Some(10_000) };
    for _ in 0..3 {
        bench.answer(0, Some(refusal), true);
        bench.now += 6_500;
    }
    // The last of them was refused 6.5 s ago.
    let told = bench.admit(&who, false, "core", 0);
    assert!(matches!(told, Outcome::Refused { retry_after: 5 | 6, reason: Reason::Cooldown }), "{told:?}");
    bench.now += 4_500;
    assert!(matches!(bench.admit(&who, false, "core", 0), Outcome::Granted { .. }));
    bench.answer(0, Some(refusal), true);
    let told = bench.admit(&who, false, "core", 0);
    assert!(matches!(told, Outcome::Refused { retry_after: 21 | 22, .. }), "a trial that failed: {told:?}");
}

/// The first trial was taken for a call of before, since the second had been let go meanwhile.
#[test]
fn a_trial_that_github_refuses_slowly_has_failed() {
    let mut bench = Bench::new(5_000);
    let who = Who::plain("a", 1);
    bench.admit(&who, false, "core", 0);
    bench.answer(0, None, true);
    bench.admit(&who, false, "core", 0);
    let refusal = UpstreamRefusal { is_primary: false, retry_after_ms: Some(10_000) };
    bench.answer(0, Some(refusal), true);
    bench.now += 11_000;
    assert!(matches!(bench.admit(&who, false, "core", 0), Outcome::Granted { .. }));
    bench.now += 10_500;
    assert!(matches!(bench.admit(&who, false, "core", 0), Outcome::Granted { .. }), "the first may be lost");
    bench.now += 500;
    bench.answer(0, Some(refusal), true);
    let told = bench.admit(&who, false, "core", 0);
    assert!(matches!(told, Outcome::Refused { retry_after: 21 | 22, .. }), "{told:?}");
}

/// A replica refuses by what the head of a queue was told; it named a time within the silence, and the share as the reason.
#[test]
fn who_is_booked_during_a_silence_is_told_of_it() {
    let mut bench = Bench::new(5_000);
    let who = Who::plain("a", 1);
    let book = |bench: &mut Bench| {
        let (share, resource) = (who.share(), text("core"));
        let book = Book { share, resource, wait_ms: 3_000, step_ms: 0, reason: Reason::Content };
        bench.apply(Command::Book(book)).outcome
    };
    assert_eq!(book(&mut bench), Outcome::Refused { retry_after: 3, reason: Reason::Content });
    bench.admit(&who, false, "core", 0);
    bench.answer(0, Some(UpstreamRefusal { is_primary: false, retry_after_ms: Some(10_000) }), true);
    assert_eq!(book(&mut bench), Outcome::Refused { retry_after: 11, reason: Reason::Cooldown });
}
