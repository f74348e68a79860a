use super::super::contestant::Course;
use super::super::github::Entry;
use super::super::judge;
use super::super::plan::tests::measures;
use super::*;

/// A run in which tollgate did all that it promises: every window is used up, and readers get their parts.
pub(crate) fn perfect(plan: &Plan) -> Course {
    let measures = plan.measures;
    let mut entries = Vec::new();
    for window in 0..measures.windows {
        for (resource, limit) in [("core", measures.limit), ("graphql", measures.graphql_limit())] {
            for point in 0..limit {
                let at_ms = (window * measures.window_s * 1000) + point * 1000 * measures.window_s / limit;
                entries.push(Entry {
                    at_ms: i64::try_from(at_ms).unwrap(),
                    resource: Some(resource.to_owned()),
                    points: 1,
                    window_ends_at: i64::try_from((window + 1) * measures.window_s).unwrap(),
                    refused_for: None,
                });
            }
        }
    }
    Course { contestant: Contestant::Tollgate, entries, outcomes: answers(plan), notes: Vec::new() }
}

/// Each reader is answered three times in each judged window for each unit of its weight, humans at once.
fn answers(plan: &Plan) -> Vec<Outcome> {
    let mut left: Vec<u64> =
        plan.agents.iter().map(|agent| 3 * (plan.measures.windows - 1) * agent.class.weight()).collect();
    let mut outcomes = Vec::new();
    for request in plan.requests.iter().filter(|request| judged_ms(&plan.measures).contains(&request.due_ms))
    {
        let class = plan.class(request);
        let is_served = !class.is_hungry() || left[request.agent] > 0;
        left[request.agent] = left[request.agent].saturating_sub(1);
        let done_ms = request.due_ms;
        outcomes.push(Outcome { id: request.id, done_ms, is_served, attempts: 1, status: 200 });
    }
    outcomes
}

pub(crate) fn plan() -> Plan {
    Plan::new(measures())
}

fn failures(figures: &Figures) -> Vec<String> {
    judge::failures(figures, &measures())
}

fn figures(plan: &Plan, course: &Course) -> Figures {
    Figures::new(plan, course, 3)
}

#[test]
fn what_is_perfect_passes() {
    let plan = plan();
    let figures = figures(&plan, &perfect(&plan));
    assert_eq!(failures(&figures), Vec::<String>::new());
    assert_eq!((figures.core_used, figures.graphql_used, figures.refused()), (1.0, 1.0, 0));
    assert!(figures.fairness.error_max < 1e-9, "{:?}", figures.fairness);
    assert_eq!(figures.series.remaining[0], 600 - 30);
    assert_eq!(figures.windows.iter().filter(|window| window.is_judged).count(), 4);
}

#[test]
fn one_refusal_is_found() {
    let plan = plan();
    let mut course = perfect(&plan);
    course.entries.push(Entry {
        at_ms: 5_000,
        resource: None,
        points: 0,
        window_ends_at: 0,
        refused_for: Some("concurrency".to_owned()),
    });
    let figures = figures(&plan, &course);
    assert_eq!(figures.refusals, BTreeMap::from([("concurrency".to_owned(), 1)]));
    assert_eq!(figures.series.refusals[5], [0, 1]);
    assert!(failures(&figures)[0].contains("GitHub refused 1"));
}

#[test]
fn a_window_that_is_not_used_up_is_found_and_the_first_is_not_judged() {
    let plan = plan();
    for (window, is_found) in [(1, false), (2, true), (3, true)] {
        let mut course = perfect(&plan);
        let mut spared = 0;
        course.entries.retain(|entry| {
            let is_spared = spared < 30
                && entry.resource.as_deref() == Some("core")
                && entry.window_ends_at == 20 * window;
            spared += u32::from(is_spared);
            !is_spared
        });
        let failures = failures(&figures(&plan, &course));
        assert_eq!(!failures.is_empty(), is_found, "window {window}: {failures:?}");
    }
}

#[test]
fn a_run_without_a_second_window_is_no_success() {
    let plan = plan();
    let mut course = perfect(&plan);
    course.entries.retain(|entry| entry.window_ends_at == 20);
    assert_eq!(failures(&figures(&plan, &course)).len(), 2);
}

#[test]
fn an_agent_and_a_class_that_get_less_are_found() {
    let plan = plan();
    let mut course = perfect(&plan);
    let victim = plan.agents.iter().position(|agent| agent.class == Class::Heavy).unwrap();
    for outcome in &mut course.outcomes {
        outcome.is_served &= plan.requests[outcome.id].agent != victim;
    }
    let found = figures(&plan, &course);
    assert_eq!((found.fairness.error_max, &found.fairness.agent), (1.0, &plan.agents[victim].name));
    for outcome in &mut course.outcomes {
        outcome.is_served &= plan.class(&plan.requests[outcome.id]) != Class::Middle;
    }
    let found = figures(&plan, &course);
    assert!(failures(&found).iter().any(|failure| failure.contains("class")), "{found:?}");
}

#[test]
fn a_human_who_is_not_answered_waits_to_the_end() {
    let plan = plan();
    let mut course = perfect(&plan);
    let human = plan.requests.iter().find(|request| {
        plan.class(request) == Class::Human && judged_ms(&plan.measures).contains(&request.due_ms)
    });
    let human = human.unwrap();
    course.outcomes.retain(|outcome| outcome.id != human.id);
    let waits = figures(&plan, &course).waits;
    let expected = (plan.measures.duration_ms() - human.due_ms) as f64 / 1000.0;
    // What was due in the first window is not answered in this run either.
    assert!(waits.unserved >= 1 && waits.max_s >= expected * 0.99, "{waits:?}");
}

#[test]
fn what_others_do_is_not_judged() {
    let plan = plan();
    let mut course = perfect(&plan);
    course.contestant = Contestant::Alone;
    course.entries.clear();
    assert!(failures(&figures(&plan, &course)).is_empty());
}
