//! A run in which something breaks: the pace meanwhile, and the shares afterwards.

use super::fault::{backing, lasts_s, strike};
use super::journal::Span;
use super::steady::{Course, USED_MIN};
use super::verdict::Verdict;
use super::world::{WINDOW_S, weights};
use super::{Case, Options};

/// The pace before is taken from here on, after the first calls found out how things stand.
const BEFORE_FROM_MS: i64 = 5_000;
/// A fault is over so long before the first window ends that the next one is undisturbed.
const OVER_BEFORE_END_S: i64 = 30;
/// Everything is well so long after a fault.
const WELL_AFTER_MS: i64 = 30_000;
/// What is looked at from then on.
const SPAN_MS: i64 = 30_000;
/// Parts of the pace before: while it lasts, and afterwards.
const PACE_MEANWHILE_MIN: f64 = 0.4;
const PACE_AFTER_MIN: f64 = 0.9;
/// A replica that died without a word may be alive and on its own: for two minutes an eighth of the rate
/// (a half of its part, of four with the one started again) is kept for it.
const PACE_AFTER_DEATH_MIN: f64 = 0.85;
const USED_AFTER_DEATH_MIN: f64 = 0.95;
const SPAN_ERROR_MAX: f64 = 0.10;
/// A window may open a little before everything must be well, and counts all the same.
const SLACK_MS: i64 = 3_000;

pub(super) async fn run(case: Case, options: &Options, verdict: &mut Verdict) -> anyhow::Result<()> {
    let (mut course, opened_ms) = Course::start(options, case.name(), backing(case)).await?;
    let strikes_ms = opened_ms + (WINDOW_S - OVER_BEFORE_END_S - lasts_s(case)) * 1000;
    course.until(strikes_ms, "before").await;
    let struck_ms = course.now_ms();
    let struck = strike(case, &mut course, verdict).await;
    let over_ms = course.now_ms();
    struck?;
    let meanwhile = Span::new(struck_ms, over_ms.max(struck_ms + lasts_s(case) * 1000));
    let after = Span::new(meanwhile.to_ms + WELL_AFTER_MS, meanwhile.to_ms + WELL_AFTER_MS + SPAN_MS);
    course.until(meanwhile.to_ms, "recovers").await;
    verdict.note(format!("just after: {}", course.world.pools().await?.join("; ")));
    course.until(after.from_ms, "recovers").await;
    course.until(after.from_ms + SPAN_MS / 3, "after").await;
    verdict.note(format!("40 s after: {}", course.world.pools().await?.join("; ")));
    course.until(after.to_ms + 1_000, "after").await;

    let is_whole = |window: &&Span| window.from_ms >= after.from_ms - SLACK_MS;
    let window = course.journal.windows(WINDOW_S).iter().find(is_whole).copied();
    // A window that only began meanwhile would take a minute more.
    let window = window.filter(|window| window.to_ms <= after.from_ms + (WINDOW_S + 5) * 1000);
    if let Some(window) = window {
        course.until(window.to_ms + 1_000, "after").await;
    }

    let (pace_min, used_min) = match case {
        Case::Kill => (PACE_AFTER_DEATH_MIN, USED_AFTER_DEATH_MIN),
        _ => (PACE_AFTER_MIN, USED_MIN),
    };
    course.judge(verdict);
    let before = course.journal.pace(Span::new(opened_ms + BEFORE_FROM_MS, struck_ms));
    verdict.figure("calls a second before", before);
    let part = |span: Span| course.journal.pace(span) / before;
    verdict.at_least("pace meanwhile", part(meanwhile), PACE_MEANWHILE_MIN);
    verdict.figure("pace in the 30 s after", part(Span::new(meanwhile.to_ms, after.from_ms)));
    verdict.at_least("pace from then on", part(after), pace_min);
    let (error, agent) = course.journal.share_error(after, &weights());
    verdict.at_most(format!("share error in 30 s (agent {agent})"), error, SPAN_ERROR_MAX);
    match window {
        Some(window) => course.judge_window(window, "next window", used_min, verdict),
        None => verdict.note("no whole window fits".to_owned()),
    }
    Ok(())
}
