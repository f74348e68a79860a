//! What an agent sees of its budget, and what the stand-in sees of all budgets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use github_sim::{Fault, FaultKind, LimitForm, PrimaryLimits, SimConfig};
use serde_json::{Value, json};

use crate::support::{Setup, Tollgate, UNCACHED, agent, eventually, roomy};

/// Two agents, weights 1 and 3, before an installation of 5,000 points an hour.
fn pair() -> Setup {
    let agents = vec![
        agent("light", &["repositories: [acme/*]", "require_approval: [merge]"]),
        agent("heavy", &["repositories: [acme/*]", "require_approval: [merge]", "weight: 3"]),
    ];
    Setup { sim: SimConfig::default(), cache: UNCACHED, ..Setup::with(agents) }
}

fn figures(answer: &crate::support::Answer) -> [i64; 4] {
    ["limit", "used", "remaining", "reset"]
        .map(|name| answer.header(&format!("x-ratelimit-{name}")).parse().unwrap_or(-1))
}

fn now() -> i64 {
    use tollgate::clock::Clock;
    tollgate::clock::SystemClock.now_seconds()
}

#[tokio::test]
async fn an_agent_sees_its_own_part_and_github_s_figures_beside_it() {
    let tollgate = pair().start().await;
    let first = tollgate.get("/repos/acme/widgets").await;
    let [limit, used, remaining, reset] = figures(&first);
    assert_eq!((used, limit), (1, used + remaining));
    assert!((4_900..5_000).contains(&remaining), "alone, all is its part: {remaining}");
    assert!((3_500..=3_601).contains(&(reset - now())), "{}", reset - now());
    assert_eq!(first.header("x-ratelimit-resource"), "core");
    assert_eq!(first.header("x-tollgate-upstream-remaining"), "4999");
    let heavy = tollgate.ask("GET", "/repos/acme/widgets").by(1).send().await;
    let [_, used, remaining, _] = figures(&heavy);
    assert_eq!(used, 1);
    assert!((3_600..3_750).contains(&remaining), "three quarters of what is left: {remaining}");
    let light = tollgate.get("/repos/acme/widgets").await;
    let [limit, used, remaining, _] = figures(&light);
    assert_eq!((used, limit), (2, used + remaining));
    assert!((1_200..1_250).contains(&remaining), "a quarter: {remaining}");
}

#[tokio::test]
async fn rate_limit_tells_the_agents_view_and_costs_nothing() {
    let tollgate = pair().start().await;
    let before = tollgate.get("/rate_limit").await;
    assert_eq!(before.verdict(), "200");
    let core = before.json()["resources"]["core"].clone();
    assert!(core["remaining"].as_i64().unwrap() > 0);
    assert_eq!(
        figures(&before)[..3],
        ["limit", "used", "remaining"].map(|name| core[name].as_i64().unwrap())
    );
    assert_eq!(before.header("x-ratelimit-resource"), "core");
    assert!(!before.headers.contains_key("x-tollgate-upstream-limit"), "GitHub has told nothing yet");
    tollgate.get("/repos/acme/widgets").await;
    let arrived = tollgate.arrived().len();
    for path in ["/rate_limit", "/api/v3/rate_limit"] {
        let answer = tollgate.get(path).await;
        let core = &answer.json()["resources"]["core"];
        assert_eq!((answer.verdict().as_str(), core["used"].as_i64()), ("200", Some(1)));
        let sum = core["used"].as_i64().unwrap() + core["remaining"].as_i64().unwrap();
        assert_eq!(core["limit"].as_i64(), Some(sum));
        assert!(core["reset"].as_i64().unwrap() > now() + 3_000);
        assert_eq!(answer.json()["rate"], *core);
        let ours = ["limit", "remaining"].map(|name| core[name].as_i64().unwrap());
        let number = |name: &str| answer.header(name).parse::<i64>().unwrap();
        assert_eq!([number("x-ratelimit-limit"), number("x-ratelimit-remaining")], ours);
        let upstream = ["limit", "remaining"].map(|name| number(&format!("x-tollgate-upstream-{name}")));
        assert_eq!(upstream, [5_000, 4_999], "GitHub's own, for the installation");
        for resource in ["graphql", "search", "code_search"] {
            assert!(answer.json()["resources"][resource]["limit"].as_i64().unwrap() > 0, "{resource}");
        }
    }
    assert_eq!(tollgate.arrived().len(), arrived);
}

#[tokio::test]
async fn me_tells_more() {
    let tollgate = pair().start().await;
    for _ in 0..3 {
        tollgate.ask("GET", "/repos/acme/widgets/issues").by(1).send().await;
    }
    let answer = tollgate.ask("GET", "/tollgate/me").by(1).send().await;
    let me = answer.json();
    assert_eq!((answer.verdict().as_str(), &me["agent"], &me["weight"]), ("200", &json!("heavy"), &json!(3)));
    let pool = &me["pools"][0];
    assert_eq!((&pool["resource"], &pool["used"]), (&json!("core"), &json!(3)));
    assert_eq!(pool["share_ratio"], json!(1.0));
    let route = &me["spent_by_route"][0];
    assert_eq!(*route, json!({ "route": "GET /repos/{owner}/{repo}/issues", "points": 3 }));
    assert_eq!(me["may"]["repositories"], json!(["acme/*"]));
    assert_eq!(tollgate.ask("GET", "/tollgate/me").anonymous().send().await.verdict(), "401 unauthenticated");
    assert_eq!(tollgate.ask("POST", "/tollgate/me").send().await.status.as_u16(), 403);
}

#[tokio::test]
async fn an_unchanged_read_is_given_back() {
    let tollgate = pair().start().await;
    let first = tollgate.get("/repos/acme/widgets").await;
    for _ in 0..3 {
        let again = tollgate
            .ask("GET", "/repos/acme/widgets")
            .header("if-none-match", first.header("etag"))
            .send()
            .await;
        assert_eq!((again.verdict().as_str(), figures(&again)[1]), ("304", 1));
    }
}

#[tokio::test]
async fn graphql_is_charged_what_it_cost() {
    let tollgate = pair().start().await;
    for (query, spent) in [
        ("{ viewer { login } }", 1),
        (
            "{ rateLimit { cost } repository(owner: \"acme\", name: \"widgets\") { issues(first: 100) { nodes { comments(first: 100) { totalCount } } } } }",
            0,
        ),
        ("{ viewer { login } }", 0),
    ] {
        let before = tollgate.sim.books().used.get("installation:1001/graphql").copied().unwrap_or_default();
        let answer = tollgate.ask("POST", "/graphql").json(&json!({ "query": query })).send().await;
        assert_eq!(answer.verdict(), "200", "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-resource"), "graphql");
        let after = tollgate.sim.books().used["installation:1001/graphql"];
        assert!(after > before && (spent == 0 || after == spent));
        assert_eq!(figures(&answer)[1], i64::try_from(after).unwrap(), "{query}");
    }
}

/// With 30 `search` points a minute, searches until they are used up.
async fn spend_search(tollgate: &Tollgate, prefer: &str) -> crate::support::Answer {
    for _ in 0..60 {
        let answer =
            tollgate.ask("GET", "/search/issues?q=repo:acme/widgets").header("prefer", prefer).send().await;
        if answer.verdict() != "200" {
            return answer;
        }
    }
    panic!("sixty searches in a minute were let through");
}

#[tokio::test]
async fn who_is_over_budget_is_told_when_and_served_then() {
    let tollgate = pair().start().await;
    let refused = spend_search(&tollgate, "wait=0").await;
    assert_eq!(refused.verdict(), "403 budget_exhausted");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("API rate limit exceeded for agent light."), "{message}");
    let [limit, used, remaining, reset] = figures(&refused);
    let seconds: i64 = refused.header("retry-after").parse().unwrap();
    assert_eq!((remaining, limit), (0, used));
    assert!((1..=60).contains(&seconds) && (reset - now() - seconds).abs() <= 1, "{seconds} {reset}");
    assert_eq!(refused.header("x-ratelimit-resource"), "search");
    // It does not affect another pool.
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
    assert_eq!(tollgate.get("/search/issues?q=repo:acme/widgets").await.verdict(), "200");
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_call_waits_as_long_as_it_says() {
    let tollgate = Setup { further: "budget: { max_wait: 0s, max_wait_limit: 6s }\n".to_owned(), ..pair() }
        .start()
        .await;
    let refused = spend_search(&tollgate, "wait=0").await;
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!(seconds <= 5, "{seconds}");
    let asked = Instant::now();
    let held = tollgate
        .ask("GET", "/search/issues?q=repo:acme/widgets")
        .header("prefer", "respond-async, wait=60")
        .send()
        .await;
    assert_eq!(held.verdict(), "200");
    let waited: u64 = held.header("x-tollgate-wait-ms").parse().unwrap();
    assert!(waited > 200 && Duration::from_millis(waited) <= asked.elapsed(), "{waited}");
    // Without a preference, and at the limit: refused at once, not after the wait.
    for prefer in ["", "wait=600"] {
        for _ in 0..12 {
            let asked = Instant::now();
            let request = tollgate.ask("GET", "/search/issues?q=repo:acme/widgets");
            let answer = request.header("prefer", prefer).send();
            let Ok(answer) = tokio::time::timeout(Duration::from_millis(1500), answer).await else {
                continue;
            };
            if answer.verdict() != "200" {
                assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
            }
        }
    }
    tollgate.assert_clean();
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue() {
    let tollgate = pair().start().await;
    spend_search(&tollgate, "wait=0").await;
    let waiting = |metrics: &str| metrics.contains("tollgate_waiting{agent=\"light\"} 1");
    let request = tollgate.head("GET /search/issues?q=repo:acme/widgets HTTP/1.1", "Prefer: wait=60\r\n");
    let hung_up = async {
        let mut socket =
            tokio::net::TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
        let mut seen = false;
        for _ in 0..20 {
            seen |= waiting(&tollgate.metrics().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen
    };
    assert!(hung_up.await, "it waited");
    let mut metrics = String::new();
    for _ in 0..100 {
        metrics = tollgate.metrics().await;
        if !waiting(&metrics) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!waiting(&metrics), "{metrics}");
}

#[tokio::test]
async fn every_form_of_a_refusal_of_githubs_holds_the_installation() {
    let rest = [LimitForm::Secondary403, LimitForm::Secondary429, LimitForm::ContentCreation403];
    let graphql = [LimitForm::GraphqlSecondary];
    let secondary = rest.into_iter().map(|form| (form, false)).chain(graphql.map(|form| (form, true)));
    for (form, is_graphql) in secondary {
        let tollgate = pair().start().await;
        refuse(&tollgate, form, is_graphql, Some(30)).await;
        let other = tollgate.ask("GET", "/repos/acme/gadgets").by(1).send().await;
        assert_eq!(other.verdict(), "403 upstream_limited", "{form:?}");
        let seconds: u64 = other.header("retry-after").parse().unwrap();
        assert!((28..=63).contains(&seconds), "{form:?}: {seconds}");
        let message = other.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("You have exceeded a secondary rate limit"), "{message}");
    }
    for (form, is_graphql) in [
        (LimitForm::Primary403, false),
        (LimitForm::Primary429, false),
        (LimitForm::GraphqlRateLimited, true),
        (LimitForm::GraphqlRateLimit, true),
    ] {
        let tollgate = pair().start().await;
        refuse(&tollgate, form, is_graphql, None).await;
        // One pool is spent, the other is not.
        let (rest, query) = both(&tollgate).await;
        let (spent, free) = if is_graphql { (query, rest) } else { (rest, query) };
        assert_eq!((spent.as_str(), free.as_str()), ("403 budget_exhausted", "200"), "{form:?}");
    }
}

/// GitHub says that everything is spent for an hour, but to come back in a second: one call finds out.
#[tokio::test]
async fn a_refusal_with_a_retry_after_does_not_hold_to_the_window_s_end() {
    let tollgate = pair().start().await;
    assert_eq!(both(&tollgate).await, ("200".to_owned(), "200".to_owned()));
    let lie = FaultKind::Limit { form: LimitForm::Primary403, retry_after: Some(1) };
    let lie = tollgate.sim.faults().add(Fault::new(lie).on("GET", "/repos/acme").times(1));
    let at_once = tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=0").send().await;
    assert_eq!((at_once.verdict().as_str(), tollgate.sim.faults().fired(lie)), ("403 upstream_limited", 1));
    let other = tollgate.ask("GET", "/repos/acme/gadgets").by(1).header("prefer", "wait=0").send().await;
    assert_eq!(other.verdict(), "403 upstream_limited", "until then nobody is let through");
    let later = tollgate.ask("GET", "/repos/acme/gadgets").by(1).header("prefer", "wait=20").send().await;
    assert_eq!(later.verdict(), "200", "{}", later.text());
    let metrics = tollgate.metrics().await;
    assert!(
        metrics
            .contains("tollgate_figures_ignored_total{installation=\"bot/acme\",reason=\"contradicted\"} 1")
    );
}

/// No limit of GitHub's holds a call that waits for the pool's first answer: clients would report one.
#[tokio::test]
async fn a_call_that_waits_for_the_first_figures_is_told_of_its_budget() {
    let tollgate = pair().start().await;
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 3_000 }).on("GET", "/repos/acme/gadgets");
    let slow = tollgate.sim.faults().add(slow);
    let (first, second) = tokio::join!(tollgate.get("/repos/acme/gadgets"), async {
        eventually("the first call", || tollgate.sim.faults().fired(slow) == 1).await;
        tollgate.ask("GET", "/repos/acme/widgets").by(1).header("prefer", "wait=0").send().await
    });
    assert_eq!(first.verdict(), "200", "{}", first.text());
    assert_eq!(second.verdict(), "403 budget_exhausted", "{}", second.text());
    assert_eq!((second.header("retry-after"), second.header("x-ratelimit-remaining")), ("1", "0"));
}

async fn both(tollgate: &Tollgate) -> (String, String) {
    let rest = tollgate.get("/repos/acme/widgets").await.verdict();
    let query = json!({ "query": "{ viewer { login } }" });
    (rest, tollgate.ask("POST", "/graphql").json(&query).send().await.verdict())
}

async fn refuse(tollgate: &Tollgate, form: LimitForm, is_graphql: bool, retry_after: Option<u64>) {
    assert_eq!(both(tollgate).await, ("200".to_owned(), "200".to_owned()));
    let (method, path) = if is_graphql { ("POST", "/graphql") } else { ("GET", "/repos/acme") };
    let fault = Fault::new(FaultKind::Limit { form, retry_after }).on(method, path).times(1);
    tollgate.sim.faults().add(fault);
    let query = json!({ "query": "{ viewer { login } }" });
    let answer = match is_graphql {
        true => tollgate.ask("POST", "/graphql").json(&query).send().await,
        false => tollgate.get("/repos/acme/widgets").await,
    };
    assert_eq!(answer.status.as_u16(), 403, "{form:?}: {}", answer.text());
    if is_graphql {
        assert_eq!(answer.json()["errors"][0]["type"], "RATE_LIMITED");
    }
}

#[tokio::test]
async fn figures_that_are_garbled_or_missing_are_counted_and_open_nothing() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    let headers = ["x-ratelimit-limit", "x-ratelimit-used"].map(|name| (name.to_owned(), "much".to_owned()));
    let garbled = FaultKind::SetHeaders { headers: headers.into_iter().collect() };
    tollgate.sim.faults().add(Fault::new(garbled).on("GET", "/repos/acme"));
    let mut served = 0;
    for _ in 0..150 {
        let answer = tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=0").send().await;
        served += i32::from(answer.verdict() == "200");
    }
    assert!((3..=110).contains(&served), "{served} of 150 at once, of a pool nobody knows");
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_figures_ignored_total{installation=\"bot/acme\",reason=\"garbled\"}"));
}

#[tokio::test]
async fn observing_lets_everything_through_and_says_what_it_would_have_held() {
    let setup = Setup { further: "budget: { mode: observe }\n".to_owned(), ..pair() };
    let limits = PrimaryLimits { search: 1_000, ..PrimaryLimits::default() };
    let tollgate = Setup { sim: SimConfig { limits, ..SimConfig::default() }, ..setup }.start().await;
    for _ in 0..60 {
        let answer = tollgate.get("/search/issues?q=repo:acme/widgets").await;
        let waited: u64 = answer.header("x-tollgate-wait-ms").parse().unwrap();
        assert!(answer.verdict() == "200" && waited < 400, "{} after {waited} ms", answer.verdict());
    }
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_observed_total{agent=\"light\","), "{metrics}");
    let form = LimitForm::Secondary403;
    let fault =
        Fault::new(FaultKind::Limit { form, retry_after: Some(60) }).on("GET", "/repos/acme").times(1);
    tollgate.sim.faults().add(fault);
    let limited = tollgate.get("/repos/acme/widgets").await;
    assert_eq!((limited.verdict().as_str(), limited.header("retry-after")), ("403", "60"));
    // Clients know a primary limit by GitHub's own figures.
    let form = LimitForm::Primary403;
    let fault = Fault::new(FaultKind::Limit { form, retry_after: None }).on("GET", "/repos/acme").times(1);
    tollgate.sim.faults().add(fault);
    let spent = tollgate.get("/repos/acme/widgets").await;
    assert_eq!((spent.verdict().as_str(), spent.header("x-ratelimit-remaining")), ("403", "0"));
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
}

#[tokio::test]
async fn a_slot_is_held_until_the_body_has_ended() {
    let further = "budget: { secondary: { concurrent: 2 } }\n".to_owned();
    let tollgate = Setup { further, sim: roomy(), ..pair() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow = FaultKind::SlowFirstByte { ms: 3_000 };
    tollgate.sim.faults().add(Fault::new(slow).on("GET", "/repos/acme/gadgets"));
    let two = || async { tollgate.get("/repos/acme/gadgets").await.verdict() };
    let third = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=1").send().await
    };
    let (one, other, third) = tokio::join!(two(), two(), third);
    assert_eq!((one.as_str(), other.as_str()), ("200", "200"));
    assert_eq!(third.verdict(), "403 upstream_limited");
    assert!(tollgate.sim.books().in_flight_max <= 2);
    let metrics = tollgate.metrics().await;
    assert!(metrics.contains("tollgate_inflight{installation=\"bot/acme\"} 0"), "{metrics}");
}

/// Its queue refused it as if the agent's points were spent.
#[tokio::test]
async fn a_call_behind_one_that_a_secondary_limit_holds_is_told_so() {
    let further = "budget: { secondary: { concurrent: 1 } }\n".to_owned();
    let tollgate = Setup { further, sim: roomy(), ..pair() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow = FaultKind::SlowFirstByte { ms: 5_000 };
    tollgate.sim.faults().add(Fault::new(slow).on("GET", "/repos/acme/gadgets"));
    let ask = |after_ms: u64, wait: &'static str| {
        let request = tollgate.ask("GET", "/repos/acme/widgets").header("prefer", wait);
        async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            request.send().await.verdict()
        }
    };
    let (_, patient, hasty) =
        tokio::join!(tollgate.get("/repos/acme/gadgets"), ask(300, "wait=20"), ask(600, "wait=0"));
    assert_eq!((patient.as_str(), hasty.as_str()), ("200", "403 upstream_limited"));
}

#[tokio::test]
async fn pools_are_exported() {
    let tollgate = pair().start().await;
    tollgate.get("/repos/acme/widgets").await;
    let metrics = tollgate.metrics().await;
    for line in [
        "tollgate_pool_limit{installation=\"bot/acme\",resource=\"core\"} 5000",
        "tollgate_pool_used{installation=\"bot/acme\",resource=\"core\"} 1",
        "tollgate_pool_remaining{installation=\"bot/acme\",resource=\"core\"} 4999",
        "tollgate_agent_spent_total{agent=\"light\",installation=\"bot/acme\",resource=\"core\"} 1",
        "tollgate_agent_share_ratio{agent=\"light\",installation=\"bot/acme\",resource=\"core\"} 1",
        "tollgate_ledger_drift{installation=\"bot/acme\",resource=\"core\"} 0",
        "tollgate_cooldown_seconds{installation=\"bot/acme\"} 0",
        "tollgate_wait_seconds_count{reason=\"none\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn interactive_calls_go_before_the_agents_other_ones() {
    let tollgate = pair().start().await;
    spend_search(&tollgate, "wait=0").await;
    let ask = |priority: &'static str| {
        let request = tollgate.ask("GET", "/search/issues?q=repo:acme/widgets");
        let request = request.header("prefer", "wait=50").header("priority", priority);
        async move {
            let answer = request.send().await;
            (answer.verdict(), Instant::now())
        }
    };
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ask("u=1").await
    };
    let (first, second, third, urgent) = tokio::join!(ask("u=5"), ask("u=5"), ask("u=5"), late);
    assert_eq!([&first.0, &second.0, &third.0, &urgent.0], ["200"; 4]);
    let after = [first.1, second.1, third.1].iter().filter(|at| **at > urgent.1).count();
    assert!(after >= 2, "only {after} were served after it");
    tollgate.assert_clean();
    eventually("all is quiet", || true).await;
    let _: Value = tollgate.get("/rate_limit").await.json();
}

/// A slow sender had used up its wait before it first waited, and all of that counted as tollgate's own time.
#[tokio::test]
async fn a_slow_upload_is_no_waiting() {
    let worker = agent("worker", &["repositories: [acme/*]", "ceiling: 3600"]);
    let tollgate = Setup { cache: UNCACHED, ..Setup::with(vec![worker]) }.start().await;
    let body = json!({ "title": "slow" }).to_string();
    let fields = format!("Prefer: wait=2\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    let head = tollgate.head("POST /repos/acme/widgets/issues HTTP/1.1", &fields);
    let mut socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // The agent's other calls take all that it may have now; a second later it may have one more.
    let at_once = || tollgate.ask("GET", "/repos/acme/widgets").header("prefer", "wait=0").send();
    while at_once().await.verdict() == "200" {}
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let metrics = tollgate.metrics().await;
    let own = metrics.lines().find_map(|line| line.strip_prefix("tollgate_overhead_seconds_sum "));
    assert!(own.unwrap().parse::<f64>().unwrap() < 2.5, "{own:?}");
}
