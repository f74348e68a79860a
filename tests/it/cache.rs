//! Unchanged reads cost nothing: kept for all with the same rights, across token rotation, and never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use github_sim::{Fault, FaultKind};
use http::StatusCode;
use serde_json::json;
use tollgate::app::App;
use tollgate::clock::SystemClock;
use tollgate::config;
use tollgate::proxy::listener::Bounds;

use crate::support::{Answer, Setup, Tollgate, agent, eventually};

mod hostile;
mod rights;

const ISSUE: &str = "/repos/acme/widgets/issues/1";
const FRESH: &str = "cache: { fresh_for: 60s }\n";
const STALE: &str = "cache: { stale_if_error: 60s }\n";

fn cache(answer: &Answer) -> &str {
    answer.header("x-tollgate-cache")
}

/// What GitHub charged the installation.
fn charged(tollgate: &Tollgate) -> u64 {
    tollgate.sim.books().used.get("installation:1001/core").copied().unwrap_or_default()
}

async fn metric(tollgate: &Tollgate, line: &str) -> u64 {
    let metrics = tollgate.metrics().await;
    let value = metrics.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_default()
}

/// Otherwise it would be held in memory whole for each slow reader.
#[tokio::test]
async fn what_is_long_and_was_there_before_streams_with_its_links_changed() {
    let tollgate = Setup::worker().start().await;
    let text = "x".repeat(900_000);
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "main", "long.txt", &text)).unwrap();
    let path = "/repos/acme/widgets/contents/long.txt";
    let first = tollgate.get(path).await;
    assert_eq!((first.verdict().as_str(), cache(&first)), ("200", "miss"));
    assert!(first.text().contains(&format!("{}{path}", tollgate.base)) && first.text().len() > 1024 * 1024);
    // It is stored after the answer was sent.
    let mut again = tollgate.get(path).await;
    for _ in 0..20 {
        if cache(&again) == "revalidated" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        again = tollgate.get(path).await;
    }
    assert_eq!((again.verdict().as_str(), cache(&again)), ("200", "revalidated"));
    assert_eq!(again.text(), first.text());
    assert!(!again.headers.contains_key("content-length"), "it is whole");
}

/// Without its condition, the rest of one representation would be appended to the beginning of another.
#[tokio::test]
async fn a_range_goes_up_only_without_a_condition_of_its_own() {
    let tollgate = Setup::worker().start().await;
    let ask = || tollgate.ask("GET", ISSUE).header("range", "bytes=5-");
    assert_eq!(ask().send().await.verdict(), "200");
    assert_eq!(ask().header("if-range", "\"old\"").send().await.verdict(), "200");
    let arrived = tollgate.arrived();
    let ranges: Vec<bool> = arrived
        .iter()
        .filter(|one| one.target == ISSUE)
        .map(|one| one.headers.contains_key("range"))
        .collect();
    assert_eq!(ranges, [true, false]);
    assert!(arrived.iter().all(|one| !one.headers.contains_key("if-range")));
}

fn edit(tollgate: &Tollgate, number: u64, title: &str) {
    assert!(tollgate.sim.edit(|world| world.edit_issue("acme/widgets", number, title)));
}

#[tokio::test]
async fn an_unchanged_read_is_free_and_the_same_to_the_byte() {
    let tollgate = Setup::worker().start().await;
    let first = tollgate.get(ISSUE).await;
    let second = tollgate.get(ISSUE).await;
    assert_eq!((cache(&first), cache(&second)), ("miss", "revalidated"));
    assert_eq!(first.body, second.body);
    // What belongs to the exchange, and how the body is encoded.
    let differs = [
        "content-length",
        "date",
        "transfer-encoding",
        "x-github-request-id",
        "x-request-id",
        "x-tollgate-cache",
        "x-tollgate-wait-ms",
    ];
    for name in first.headers.keys().chain(second.headers.keys()) {
        if !differs.contains(&name.as_str()) {
            assert_eq!(first.headers.get(name), second.headers.get(name), "{name}");
        }
    }
    assert_eq!(charged(&tollgate), 1);
    assert_eq!(second.header("x-ratelimit-used"), "1");
    edit(&tollgate, 1, "changed");
    let third = tollgate.get(ISSUE).await;
    assert_eq!((cache(&third), third.json()["title"].as_str()), ("changed", Some("changed")));
    assert_ne!(third.header("etag"), first.header("etag"));
    assert_eq!(metric(&tollgate, "tollgate_quota_saved_total{by=\"revalidated\"}").await, 1);
    assert!(metric(&tollgate, "tollgate_cache_bytes").await > 500);
    tollgate.assert_clean();
}

#[tokio::test]
async fn the_cache_turned_off_has_no_part_in_anything() {
    let tollgate = Setup { cache: crate::support::UNCACHED, ..Setup::worker() }.start().await;
    for _ in 0..2 {
        assert_eq!(cache(&tollgate.get(ISSUE).await), "bypass");
    }
    assert_eq!(charged(&tollgate), 2);
}

#[tokio::test]
async fn a_new_token_empties_nothing() {
    let mut setup = Setup::worker();
    setup.sim.token_lifetime_seconds = 4;
    let tollgate = setup.start().await;
    let paths: Vec<String> =
        (1..=25).map(|page| format!("/repos/acme/widgets/issues?per_page=1&page={page}")).collect();
    for path in &paths {
        assert_eq!(cache(&tollgate.get(path).await), "miss", "{path}");
    }
    let issue = tollgate.get(ISSUE).await;
    assert_eq!(cache(&issue), "miss");
    let spent = charged(&tollgate);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(2_300)).await;
        // The old token serves while the new one is minted.
        tollgate.get("/repos/acme/widgets/labels").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for path in paths.iter().map(String::as_str).chain([ISSUE]) {
            let answer = tollgate.get(path).await;
            // A full page without a next one is asked for unconditionally, whatever the token.
            let is_last = !answer.header("link").contains("next") && path != ISSUE;
            assert_eq!(cache(&answer), if is_last { "changed" } else { "revalidated" }, "{path}");
        }
    }
    let foretold =
        metric(&tollgate, "tollgate_cache_validators_total{by=\"predicted\",result=\"unchanged\"}").await;
    assert!(foretold >= 20, "{foretold}");
    assert!(charged(&tollgate) - spent <= 60, "{} of {}", charged(&tollgate), spent);
    tollgate.assert_clean();
}

#[tokio::test]
async fn when_github_makes_its_tags_otherwise_nothing_wrong_is_served() {
    let mut setup = Setup::worker();
    setup.sim.token_lifetime_seconds = 4;
    let tollgate = setup.start().await;
    let path = |number: u64| format!("/repos/acme/widgets/issues/{number}");
    for number in 1..=25 {
        assert_eq!(tollgate.get(&path(number)).await.verdict(), "200");
    }
    tollgate.sim.faults().add(Fault::new(FaultKind::EtagRule { salt: "new".to_owned() }));
    edit(&tollgate, 3, "after the change of the rule");
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        tollgate.get("/repos/acme/widgets/labels").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        for number in 1..=25 {
            let answer = tollgate.get(&path(number)).await;
            assert_eq!((answer.verdict().as_str(), answer.json()["number"].as_u64()), ("200", Some(number)));
            if number == 3 {
                assert_eq!(answer.json()["title"], "after the change of the rule", "round {round}");
            }
        }
    }
    let by_time =
        metric(&tollgate, "tollgate_cache_validators_total{by=\"last_modified\",result=\"unchanged\"}").await;
    assert!(by_time >= 20, "it falls back by itself: {by_time}");
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_client_s_condition_is_answered_whoever_knows_the_answer() {
    let mut tollgate = Setup::worker().start().await;
    let first = tollgate.get(ISSUE).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\"tg-"), "{tag}");
    let known = tollgate.ask("GET", ISSUE).header("if-none-match", &tag).send().await;
    assert_eq!(
        (known.status, known.body.len(), known.header("etag")),
        (StatusCode::NOT_MODIFIED, 0, tag.as_str())
    );
    assert_eq!((known.header("content-type"), known.header("content-length")), ("", ""));
    // Under another prefix the body differs, but the tag does not.
    let prefixed = tollgate.ask("GET", &format!("/api/v3{ISSUE}")).header("if-none-match", &tag).send().await;
    assert_eq!(prefixed.status, StatusCode::NOT_MODIFIED);
    let since =
        tollgate.ask("GET", ISSUE).header("if-modified-since", first.header("last-modified")).send().await;
    assert_eq!(since.status, StatusCode::NOT_MODIFIED);
    for other in ["\"x\"", "W/\"tg-00000000000000000000000000000000\""] {
        let answer = tollgate.ask("GET", ISSUE).header("if-none-match", other).send().await;
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &first.body), "{other}");
    }
    assert_eq!(charged(&tollgate), 1);
    // A replica that has nothing cached yet.
    let (config, _) = config::from_file(&tollgate.files.path().join("tollgate.yaml")).unwrap();
    let app = App::start_with(config, Arc::new(SystemClock), Bounds::default()).await.unwrap();
    tollgate.base = format!("http://{}", app.address().unwrap());
    tokio::spawn(app.run());
    let elsewhere = tollgate.ask("GET", ISSUE).header("if-none-match", &tag).send().await;
    assert_eq!(
        (elsewhere.status, elsewhere.body.len(), cache(&elsewhere)),
        (StatusCode::NOT_MODIFIED, 0, "miss")
    );
    edit(&tollgate, 1, "changed");
    let changed = tollgate.ask("GET", ISSUE).header("if-none-match", &tag).send().await;
    assert_eq!((changed.status, cache(&changed)), (StatusCode::OK, "changed"));
}

#[tokio::test]
async fn a_condition_that_holds_an_agent_s_key_stays_here() {
    let tollgate = Setup::worker().start().await;
    let tag = format!("\"{}\"", tollgate.key(0));
    for (name, path) in [("if-none-match", ISSUE), ("if-modified-since", "/repos/acme/widgets/labels")] {
        assert_eq!(tollgate.ask("GET", path).header(name, &tag).send().await.status, StatusCode::OK);
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_full_last_page_never_hides_the_next() {
    let tollgate = Setup::worker().start().await;
    let all = tollgate.get("/repos/acme/widgets/labels?per_page=100").await.json().as_array().unwrap().len();
    let path = format!("/repos/acme/widgets/labels?per_page={all}");
    assert!(!tollgate.get(&path).await.header("link").contains("next"));
    let made = tollgate
        .ask("POST", "/repos/acme/widgets/labels")
        .json(&json!({"name": "zzz-last", "color": "ffffff"}));
    assert_eq!(made.send().await.verdict(), "201");
    let again = tollgate.get(&path).await;
    assert!(again.header("link").contains("rel=\"next\""), "{}", again.header("link"));
}

async fn at_once(tollgate: &Tollgate, count: usize) -> Vec<Answer> {
    futures_util::future::join_all((0..count).map(|_| tollgate.get(ISSUE))).await
}

fn slow(ms: u64) -> Fault {
    Fault::new(FaultKind::SlowFirstByte { ms }).on("GET", "/repos/acme/widgets/issues")
}

#[tokio::test]
async fn identical_reads_in_flight_are_one() {
    let tollgate = Setup::worker().start().await;
    tollgate.get("/repos/acme/widgets").await;
    let before = tollgate.arrived().len();
    tollgate.sim.faults().add(slow(400));
    let answers = at_once(&tollgate, 20).await;
    assert!(answers.iter().all(|answer| answer.verdict() == "200" && answer.body == answers[0].body));
    let mut results: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &answers {
        *results.entry(cache(answer)).or_default() += 1;
    }
    assert_eq!(results, BTreeMap::from([("coalesced", 19), ("miss", 1)]));
    assert_eq!(tollgate.arrived().len() - before, 1);
    assert_eq!(charged(&tollgate), 2);
    assert_eq!(metric(&tollgate, "tollgate_quota_saved_total{by=\"coalesced\"}").await, 19);
}

#[tokio::test]
async fn who_insists_on_github_s_word_shares_no_earlier_question() {
    let tollgate = Setup::worker().start().await;
    tollgate.get("/repos/acme/widgets").await;
    tollgate.sim.faults().add(slow(300));
    let insists = tollgate.ask("GET", ISSUE).header("cache-control", "no-cache").send();
    let (first, second) = futures_util::future::join(tollgate.get(ISSUE), insists).await;
    assert_eq!((first.verdict().as_str(), second.verdict().as_str()), ("200", "200"));
    assert!([&first, &second].iter().all(|answer| cache(answer) != "coalesced"));
    assert_eq!(tollgate.arrived().len(), 3);
}

#[tokio::test]
async fn who_asks_for_others_may_hang_up_or_fail() {
    let tollgate = Setup::worker().start().await;
    tollgate.get("/repos/acme/widgets").await;
    tollgate.sim.faults().add(slow(500));
    let request = tollgate.head(&format!("GET {ISSUE} HTTP/1.1"), "");
    let gone = tokio::time::timeout(Duration::from_millis(150), tollgate.raw(request.as_bytes()));
    let (gone, answers) = futures_util::future::join(gone, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        at_once(&tollgate, 5).await
    })
    .await;
    assert!(gone.is_err());
    assert!(answers.iter().all(|answer| answer.verdict() == "200"));
    assert!(tollgate.arrived().len() <= 4, "{:?}", tollgate.arrived_lines());

    tollgate.sim.faults().clear();
    edit(&tollgate, 1, "changed");
    let missing =
        FaultKind::Status { status: 404, body: None, headers: BTreeMap::new(), takes_effect: false };
    tollgate.sim.faults().add(slow(300));
    tollgate.sim.faults().add(Fault::new(missing).on("GET", ISSUE).times(1));
    let answers = at_once(&tollgate, 5).await;
    let served = answers.iter().filter(|answer| answer.verdict() == "200").count();
    assert_eq!(served, 4, "one had a 404 of GitHub's, the others were asked for anew");
}

#[tokio::test]
async fn what_is_fresh_is_served_until_something_is_written() {
    let tollgate = Setup { cache: FRESH, ..Setup::worker() }.start().await;
    let first = tollgate.get(ISSUE).await;
    let arrived = tollgate.arrived().len();
    let hit = tollgate.get(ISSUE).await;
    assert_eq!((cache(&hit), hit.body == first.body), ("hit", true));
    assert_eq!((hit.header("x-ratelimit-used"), hit.header("age")), ("1", "0"));
    assert_eq!((hit.header("x-ratelimit-resource"), hit.header("x-github-request-id")), ("core", ""));
    assert_eq!(tollgate.arrived().len(), arrived);
    for _ in 0..8 {
        assert_eq!(tollgate.get(ISSUE).await.header("x-tollgate-hint"), "", "it costs nothing");
    }
    let forced = tollgate.ask("GET", ISSUE).header("cache-control", "no-cache").send().await;
    assert_eq!(cache(&forced), "revalidated");
    let never = tollgate.ask("GET", ISSUE).header("cache-control", "no-store").send().await;
    assert_eq!(cache(&never), "bypass");
    edit(&tollgate, 2, "elsewhere");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "hit");
    let comment = tollgate.ask("POST", &format!("{ISSUE}/comments")).json(&json!({"body": "hello"}));
    assert_eq!(comment.send().await.verdict(), "201");
    let after = tollgate.get(ISSUE).await;
    assert_eq!(
        (cache(&after), after.json()["comments"].as_u64()),
        ("changed", Some(first.json()["comments"].as_u64().unwrap() + 1))
    );
    // GitHub may lag behind a write, so for some seconds it is asked each time.
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated");
}

/// By id, a repository may be renamed without tollgate's knowledge, and a comparison shows what happens in a fork.
#[tokio::test]
async fn what_may_show_another_repository_is_asked_for_after_any_write() {
    let tollgate = Setup { cache: FRESH, ..Setup::worker() }.start().await;
    let by_id = "/repositories/2001/issues/1";
    let compared = "/repos/acme/widgets/compare/main...acme:main";
    for path in [ISSUE, by_id, compared] {
        assert_eq!(tollgate.get(path).await.verdict(), "200", "{path}");
        assert_eq!(cache(&tollgate.get(path).await), "hit", "{path}");
    }
    let elsewhere = tollgate.ask("POST", "/repos/acme/gadgets/issues").json(&json!({"title": "hello"}));
    assert_eq!(elsewhere.send().await.verdict(), "201");
    for (path, expected) in [(ISSUE, "hit"), (by_id, "revalidated"), (compared, "revalidated")] {
        assert_eq!(cache(&tollgate.get(path).await), expected, "{path}");
    }
    // And a write by id may be one to a repository of any name.
    let comment = tollgate.ask("POST", &format!("{by_id}/comments")).json(&json!({"body": "hello"}));
    assert_eq!(comment.send().await.verdict(), "201");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "changed");
    assert_eq!(cache(&tollgate.get("/repos/acme/gadgets/issues/1").await), "miss");
}

#[tokio::test]
async fn what_is_known_is_served_while_github_fails_if_that_is_wanted() {
    let tollgate =
        Setup { cache: STALE, further: "retry: { max_attempts: 1 }\n".to_owned(), ..Setup::worker() }
            .start()
            .await;
    let first = tollgate.get(ISSUE).await;
    let broken = FaultKind::Status { status: 502, body: None, headers: BTreeMap::new(), takes_effect: false };
    for kind in [broken, FaultKind::ResetBeforeAnswer { takes_effect: false }] {
        tollgate.sim.faults().add(Fault::new(kind).on("GET", "/repos"));
        let stale = tollgate.get(ISSUE).await;
        assert_eq!(
            (stale.verdict().as_str(), cache(&stale), stale.body == first.body),
            ("200", "stale", true)
        );
        let unknown = tollgate.get("/repos/acme/widgets/issues/2").await;
        assert!(unknown.status.is_server_error(), "{}", unknown.verdict());
        tollgate.sim.faults().clear();
    }
    // It is known to have changed.
    let comment = tollgate.ask("POST", &format!("{ISSUE}/comments")).json(&json!({"body": "hello"}));
    assert_eq!(comment.send().await.verdict(), "201");
    tollgate
        .sim
        .faults()
        .add(Fault::new(FaultKind::ResetBeforeAnswer { takes_effect: false }).on("GET", "/repos"));
    assert!(tollgate.get(ISSUE).await.status.is_server_error());
}

#[tokio::test]
async fn nothing_but_a_whole_answer_is_kept() {
    let tollgate =
        Setup { further: "retry: { max_attempts: 1 }\n".to_owned(), ..Setup::worker() }.start().await;
    // From here on the token is known to work, so a 404 is no reason to wait for it.
    tollgate.get("/repos/acme/widgets").await;
    let status =
        |status: u16| FaultKind::Status { status, body: None, headers: BTreeMap::new(), takes_effect: false };
    let cookie =
        FaultKind::SetHeaders { headers: BTreeMap::from([("set-cookie".to_owned(), "a=b".to_owned())]) };
    for kind in
        [status(404), status(500), status(403), cookie, FaultKind::TruncatedBody, FaultKind::ResetMidBody]
    {
        tollgate.sim.faults().add(Fault::new(kind.clone()).on("GET", ISSUE).times(1));
        tollgate.get(ISSUE).await;
        tollgate.sim.faults().clear();
        let after = tollgate.get(ISSUE).await;
        assert_eq!((after.verdict().as_str(), cache(&after)), ("200", "miss"), "{kind:?}");
        assert_eq!(after.json()["number"], 1);
        // Forgets it for the next round.
        tollgate.sim.faults().add(Fault::new(status(404)).on("GET", ISSUE).times(1));
        assert_eq!(tollgate.get(ISSUE).await.verdict(), "404");
        tollgate.sim.faults().clear();
    }
    for (method, header) in [("HEAD", ""), ("GET", "bytes=0-9")] {
        let answer = match header {
            "" => tollgate.ask(method, ISSUE).send().await,
            range => tollgate.ask(method, ISSUE).header("range", range).send().await,
        };
        assert_eq!(cache(&answer), "bypass");
    }
    // Our tag for the entry is none of GitHub's.
    let tag = tollgate.get(ISSUE).await.header("etag").to_owned();
    let head = tollgate.ask("HEAD", ISSUE).header("if-none-match", &tag).send().await;
    assert_eq!((head.verdict().as_str(), cache(&head)), ("200", "bypass"));
    let sent = tollgate.sim.requests().into_iter().rfind(|request| request.method == "HEAD").unwrap();
    assert!(!format!("{sent:?}").contains("tg-"), "{sent:?}");
    let after = tollgate.get(ISSUE).await;
    assert_eq!((cache(&after), after.json()["number"].as_u64()), ("revalidated", Some(1)));
}

#[tokio::test]
async fn an_entry_serves_every_coding_and_every_prefix() {
    let plain = Setup { cache: crate::support::UNCACHED, ..Setup::worker() }.start().await;
    let tollgate = Setup { cache: FRESH, ..Setup::worker() }.start().await;
    let mut asked = Vec::new();
    for path in [ISSUE, "/repos/acme/widgets/issues?per_page=2", "/repos/acme/widgets/readme"] {
        for prefix in ["", "/api/v3"] {
            for media in ["application/vnd.github+json", "application/vnd.github.raw+json"] {
                asked.push((format!("{prefix}{path}"), media));
            }
        }
    }
    let ask = async |tollgate: &Tollgate, path: &str, media: &str, coding: &str| {
        tollgate.ask("GET", path).header("accept", media).header("accept-encoding", coding).send().await
    };
    for (path, media) in &asked {
        for coding in ["identity", "gzip", "gzip", "identity"] {
            let direct = ask(&plain, path, media, coding).await;
            let kept = ask(&tollgate, path, media, coding).await;
            let expected = direct.text().replace(&plain.base, &tollgate.base);
            let expected = expected.replace(&plain.sim.api_url(), &tollgate.sim.api_url());
            assert_eq!(kept.text(), expected, "{path} {coding} {media}");
            for name in ["content-type", "content-encoding", "link", "last-modified", "vary"] {
                let direct = direct.header(name).replace(&plain.base, &tollgate.base);
                assert_eq!(kept.header(name), direct, "{name} of {path} {coding} {media}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bound() {
    let cache = "cache: { max_size: 256KiB }\n";
    let tollgate = Setup { cache, ..Setup::worker() }.start().await;
    for page in 1..=300 {
        let answer = tollgate.get(&format!("/repos/acme/widgets/issues?per_page=2&page={page}")).await;
        assert_eq!(answer.verdict(), "200");
    }
    let bytes = metric(&tollgate, "tollgate_cache_bytes").await;
    assert!((64 * 1024..=270_000).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn who_waits_for_the_budget_holds_up_nobody() {
    let agents = vec![
        agent("poor", &["repositories: [acme/*]", "ceiling: 0"]),
        agent("rich", &["repositories: [acme/*]"]),
    ];
    let tollgate = Setup::with(agents).start().await;
    let poor = tollgate.ask("GET", ISSUE).by(0).header("prefer", "wait=5");
    let rich = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tollgate.ask("GET", ISSUE).by(1).send().await
    };
    let (poor, rich) = futures_util::future::join(poor.send(), rich).await;
    assert_eq!((rich.verdict().as_str(), poor.verdict().as_str()), ("200", "403 budget_exhausted"));
    eventually("the flight is over", || tollgate.arrived().len() == 1).await;
}
