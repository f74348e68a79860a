use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;

const FIRST: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"first","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A source whose reads a test controls and counts.
struct Fixture {
    source: Arc<Source>,
    answer: Arc<Mutex<Result<Bytes, String>>>,
    count: Arc<AtomicUsize>,
}

impl Fixture {
    fn start(answer: Result<&'static str, &str>) -> Fixture {
        let answer = Arc::new(Mutex::new(answer.map(Bytes::from).map_err(str::to_owned)));
        let count = Arc::new(AtomicUsize::new(0));
        let (said, counted) = (Arc::clone(&answer), Arc::clone(&count));
        let fetch = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let said = Arc::clone(&said);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                said.lock().clone()
            }
            .boxed()
        };
        let source = Source::new("i", FETCH_EVERY, Box::new(fetch), Arc::new(Metrics::new()));
        let source = Arc::new(source);
        let tended = Arc::clone(&source);
        tokio::spawn(async move { tended.tend().await });
        Fixture { source, answer, count }
    }

    fn say(&self, answer: Result<&'static str, &str>) {
        *self.answer.lock() = answer.map(Bytes::from).map_err(str::to_owned);
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn keys(&self) -> Option<usize> {
        self.source.keys().map(|keys| keys.len())
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_first_waits_for_the_first_reading() {
    let fixture = Fixture::start(Ok(FIRST));
    assert_eq!(fixture.keys(), None);
    assert!(fixture.source.look_again().await);
    assert_eq!((fixture.keys(), fixture.count()), (Some(1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_one_reading_in_ten_seconds() {
    let fixture = Fixture::start(Ok(FIRST));
    pass(1).await;
    let flood = || async {
        futures_util::future::join_all((0..500).map(|_| fixture.source.look_again())).await;
    };
    flood().await;
    assert_eq!(fixture.count(), 2, "many at once share one");
    flood().await;
    assert!(!fixture.source.look_again().await, "it was read just now");
    assert_eq!(fixture.count(), 2);
    for _ in 0..20 {
        pass(1).await;
        flood().await;
    }
    assert_eq!(fixture.count(), 4, "and once each ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_gone_within_a_minute() {
    let fixture = Fixture::start(Ok(FIRST));
    pass(1).await;
    let before = fixture.source.keys().unwrap();
    pass(61).await;
    assert!(Arc::ptr_eq(&before, &fixture.source.keys().unwrap()), "the same keys prove the same");
    fixture.say(Ok(r#"{"keys":[]}"#));
    pass(61).await;
    assert_eq!(fixture.keys(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_keeps_its_keys_and_is_asked_less_and_less() {
    let fixture = Fixture::start(Ok(FIRST));
    pass(1).await;
    for why in [Err("refused"), Ok("no keys"), Ok("[]")] {
        fixture.say(why);
        pass(120).await;
        assert_eq!(fixture.keys(), Some(1), "{why:?}");
    }
    let before = fixture.count();
    pass(600).await;
    assert!((10..=20).contains(&(fixture.count() - before)), "{}", fixture.count() - before);
    fixture.say(Ok(r#"{"keys":[]}"#));
    pass(61).await;
    assert_eq!(fixture.keys(), Some(0), "and back within the usual period");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_was_never_there_is_found_when_it_comes() {
    let fixture = Fixture::start(Err("refused"));
    pass(1).await;
    assert!(fixture.source.look_again().await);
    assert_eq!(fixture.keys(), None);
    fixture.say(Ok(FIRST));
    pass(5).await;
    assert_eq!(fixture.keys(), Some(1));
}
