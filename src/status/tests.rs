use super::*;

pub(crate) fn snapshot(used: i64, in_flight: i64, reset: i64) -> Snapshot {
    Snapshot {
        resource: "core".into(),
        limit: 5_000,
        used,
        own: 0,
        in_flight,
        reset,
        window_ms: 3_600_000,
        window_number: 1,
        outside: 0,
        rate: 0,
        learned: 0,
        cool: 0,
        replicas: 1,
        leases: 0,
        is_known: true,
    }
}

#[test]
fn a_forecast_goes_on_at_the_pace_of_the_window_so_far() {
    let hour = 3_600_000;
    for (used, in_flight, left_ms, at_reset, full_in) in [
        // A tenth in a quarter of the hour: four tenths at its end.
        (500, 0, hour * 3 / 4, 2_000, None),
        (490, 10, hour * 3 / 4, 2_000, None),
        // Half in a quarter of the hour: full after another quarter.
        (2_500, 0, hour * 3 / 4, 5_000, Some(900)),
        (5_000, 0, hour / 2, 5_000, Some(0)),
        (0, 0, hour / 2, 0, None),
    ] {
        let pool = PoolStatus::new("bot/acme", &snapshot(used, in_flight, left_ms), 0);
        let expected = Forecast { used_at_reset: at_reset, full_in_seconds: full_in };
        assert_eq!(pool.forecast, Some(expected), "{used} {in_flight} {left_ms}");
    }
    // One minute of an hour is too little for a forecast.
    assert_eq!(PoolStatus::new("bot/acme", &snapshot(100, 0, hour * 59 / 60), 0).forecast, None);
}

#[test]
fn a_window_that_is_over_has_nothing_used() {
    let pool = PoolStatus::new("bot/acme", &snapshot(4_000, 0, 1_000), 1_000);
    assert_eq!((pool.used, pool.reset_in_seconds, pool.forecast), (0, 0, None));
}

#[test]
fn absurd_figures_do_not_overflow() {
    let mut pool = snapshot(i64::from(u32::MAX), 1, 3_000_000);
    pool.limit = 0;
    pool.outside = i64::MAX;
    assert!(PoolStatus::new("x", &pool, 0).fullness() > 0);
}
