use futures_util::FutureExt;

use super::*;

fn key(resource: &str) -> QueueKey {
    QueueKey {
        installation: "bot/acme".into(),
        resource: resource.into(),
        agent: "a".into(),
        is_write: false,
    }
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_is_woken_when_more_is_known() {
    let (queues, began) = (Queues::default(), Instant::now());
    let deadline = began + Duration::from_secs(60);
    let mut waiting: Vec<Ticket<'_>> =
        ["core", "search"].map(|resource| queues.join(key(resource), &route(), false)).into();
    for ticket in &mut waiting {
        assert_eq!(ticket.turn(deadline).await, Turn::Ask);
        ticket.hold(Told { ask_at: Some(began + Duration::from_secs(10)), ..Told::default() });
    }
    queues.ask_again("bot/acme", Some("core"));
    assert_eq!((waiting[0].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::ZERO));
    assert_eq!((waiting[1].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::from_secs(10)));
    waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
}

fn route() -> Arc<str> {
    "GET /user".into()
}

fn many(queues: &Queues, count: usize) -> Vec<Ticket<'_>> {
    (0..count).map(|_| queues.join(key("core"), &route(), false)).collect()
}

/// How many of them may ask now.
fn asking(waiting: &mut [Ticket<'_>], deadline: Instant) -> usize {
    let asks = |ticket: &mut Ticket<'_>| ticket.turn(deadline).now_or_never() == Some(Turn::Ask);
    waiting.iter_mut().map(asks).filter(|asks| *asks).count()
}

fn told_at(ask_at: Instant) -> Told {
    Told { ask_at: Some(ask_at), ..Told::default() }
}

#[tokio::test(start_paused = true)]
async fn ever_more_ask_together_while_all_are_let_through() {
    let queues = Queues::default();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut waiting = many(&queues, 60);
    assert_eq!(asking(&mut waiting, deadline), ASKING_FIRST);
    let mut granted = 0;
    for more in [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1] {
        waiting[granted].granted();
        granted += 1;
        assert_eq!(asking(&mut waiting[granted..], deadline), more, "after {granted}");
    }
    // One that hangs up while it asks makes room, too, and wakes the next.
    let (gone, rest) = waiting[granted..].split_at_mut(1);
    let mut next = rest.get_mut(ASKING_MAX - 1).unwrap().turn(deadline).boxed();
    assert!((&mut next).now_or_never().is_none());
    gone[0].leave(false);
    assert_eq!(next.await, Turn::Ask);
    waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
    assert!(queues.by_key.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn those_on_other_routes_ask_one_after_the_other() {
    let queues = Queues::default();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut waiting = many(&queues, 2);
    waiting.push(queues.join(key("core"), &"GET /users".into(), false));
    assert_eq!(asking(&mut waiting, deadline), 2);
    waiting[0].granted();
    assert_eq!(asking(&mut waiting[2..], deadline), 0);
    waiting[1].granted();
    assert_eq!(asking(&mut waiting[2..], deadline), 1);
    waiting[2].granted();
}

#[tokio::test(start_paused = true)]
async fn as_soon_as_one_is_told_to_wait_only_the_head_asks() {
    let (queues, began) = (Queues::default(), Instant::now());
    let deadline = began + Duration::from_secs(60);
    let soon = Told { route: Some(route()), ..told_at(began + Duration::from_secs(2)) };
    let mut waiting = many(&queues, 20);
    assert_eq!(asking(&mut waiting, deadline), ASKING_FIRST);
    // Whichever is told first or last, the earliest time counts, and the place is not forgotten.
    waiting[2].hold(told_at(began + Duration::from_secs(9)));
    waiting[1].hold(soon);
    waiting[3].hold(told_at(began + Duration::from_secs(7)));
    waiting[0].granted();
    assert_eq!(asking(&mut waiting[1..], deadline), 0);
    assert_eq!((waiting[1].turn(deadline).await, began.elapsed()), (Turn::Ask, Duration::from_secs(2)));
    assert_eq!(waiting[1].told().route, Some(route()));
    assert_eq!(asking(&mut waiting[2..], deadline), 0);
    // The head hangs up: the next one takes over its place, and asks alone. One call was granted
    // since one was told to wait; after the second, two ask.
    waiting[1].leave(false);
    assert_eq!(waiting[2].told().route, Some(route()));
    assert_eq!(asking(&mut waiting[2..], deadline), 1);
    waiting[2].granted();
    assert_eq!(asking(&mut waiting[3..], deadline), 2);
    waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
}

#[tokio::test(start_paused = true)]
async fn an_urgent_call_asks_though_another_was_told_to_wait_and_nobody_with_it() {
    let (queues, began) = (Queues::default(), Instant::now());
    let deadline = began + Duration::from_secs(60);
    let mut patient = many(&queues, 3);
    assert_eq!(asking(&mut patient, deadline), 3);
    patient[0].hold(told_at(deadline));
    patient[1].hold(told_at(deadline));
    let mut urgent = queues.join(key("core"), &route(), true);
    assert!(urgent.turn(deadline).now_or_never().is_none(), "one of this queue is asking");
    patient[2].hold(told_at(deadline));
    assert_eq!(urgent.turn(deadline).now_or_never(), Some(Turn::Ask));
    assert_eq!(asking(&mut patient, deadline), 0);
    let soon = began + Duration::from_secs(3);
    urgent.hold(told_at(soon));
    assert_eq!(asking(&mut patient, deadline), 0);
    assert_eq!((urgent.turn(deadline).await, Instant::now()), (Turn::Ask, soon));
    urgent.granted();
    assert_eq!(asking(&mut patient, deadline), 1, "it may go where the one before it went");
    patient.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
}

#[tokio::test(start_paused = true)]
async fn thousands_are_woken_one_after_the_other() {
    let (queues, began) = (Queues::default(), Instant::now());
    let deadline = began + Duration::from_secs(60);
    let agents = (0..2_000).map(|agent| QueueKey { agent: agent.to_string().into(), ..key("core") });
    let mut waiting: Vec<Ticket<'_>> = agents.map(|key| queues.join(key, &route(), false)).collect();
    for ticket in &mut waiting {
        assert_eq!(ticket.turn(deadline).await, Turn::Ask);
        ticket.hold(Told { ask_at: Some(deadline), ..Told::default() });
    }
    queues.ask_again("bot/acme", None);
    let turns = waiting.iter_mut().map(|ticket| async {
        ticket.turn(deadline).await;
        began.elapsed()
    });
    let mut asked = futures_util::future::join_all(turns).await;
    asked.sort_unstable();
    assert!(asked[1_999] <= Duration::from_millis(1_001), "{:?}", asked[1_999]);
    let most_at_once = asked.chunk_by(|one, other| one == other).map(<[Duration]>::len).max();
    assert!(most_at_once <= Some(TOGETHER + 3), "{most_at_once:?}");
    waiting.iter_mut().for_each(|ticket| drop(ticket.leave(true)));
}
