//! An upstream that refuses, dawdles, breaks off or sends irrelevant answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use github_sim::{Fault, FaultKind, Sim};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{FRESH, ISSUE, STALE, cache, charged, edit, metric, slow};
use crate::support::{Setup, Tollgate, agent, roomy, straight};

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, body: None, headers: BTreeMap::new(), takes_effect: false }
}

fn once() -> String {
    "retry: { max_attempts: 1 }\n".to_owned()
}

#[tokio::test]
async fn a_refused_credential_is_no_failure_to_bridge() {
    let tollgate = Setup { cache: STALE, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get(ISSUE).await.verdict(), "200");
    // The App was removed: its tokens no longer work, and no new ones can be minted.
    tollgate.sim.faults().add(Fault::new(status(401)).on("GET", ISSUE));
    tollgate.sim.faults().add(Fault::new(FaultKind::MintFails { status: 403 }));
    for _ in 0..2 {
        let answer = tollgate.get(ISSUE).await;
        assert_eq!((answer.verdict().as_str(), cache(&answer)), ("502 upstream_unreachable", "bypass"));
    }
}

#[tokio::test]
async fn who_insists_on_github_s_word_gets_nothing_older() {
    let tollgate = Setup { cache: STALE, further: once(), ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get(ISSUE).await.verdict(), "200");
    tollgate.sim.faults().add(Fault::new(status(502)).on("GET", ISSUE));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "stale");
    let insists = tollgate.ask("GET", ISSUE).header("cache-control", "no-cache").send().await;
    assert_eq!(insists.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_failure_of_github_s_empties_nothing() {
    let tollgate = Setup { further: once(), ..Setup::worker() }.start().await;
    tollgate.get(ISSUE).await;
    tollgate.sim.faults().add(Fault::new(status(502)).on("GET", ISSUE).times(1));
    let failed = tollgate.get(ISSUE).await;
    assert_eq!((failed.status, cache(&failed)), (StatusCode::BAD_GATEWAY, "miss"));
    let changed = "tollgate_cache_validators_total{by=\"etag\",result=\"changed\"}";
    assert_eq!(metric(&tollgate, changed).await, 0, "a failure is no change");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated");
    assert_eq!(charged(&tollgate), 1);
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_confirms_nothing() {
    let tollgate = Setup::worker().start().await;
    let all = tollgate.get("/repos/acme/widgets/labels?per_page=100").await.json().as_array().unwrap().len();
    // A full last page is requested unconditionally.
    let path = format!("/repos/acme/widgets/labels?per_page={all}");
    tollgate.get(&path).await;
    tollgate.sim.faults().add(Fault::new(status(304)).on("GET", "per_page").times(1));
    let odd = tollgate.get(&path).await;
    assert_ne!(cache(&odd), "revalidated");
    assert_eq!(odd.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn nobody_waits_for_somebody_whose_second_attempt_is_held() {
    let agents = vec![
        agent("poor", &["repositories: [acme/*]", "ceiling: 240"]),
        agent("rich", &["repositories: [acme/*]"]),
    ];
    let tollgate = Setup::with(agents).start().await;
    tollgate.ask("GET", "/repos/acme/widgets").by(0).send().await;
    tollgate.sim.faults().add(slow(400).times(1));
    tollgate.sim.faults().add(Fault::new(status(502)).on("GET", ISSUE).times(1));
    let poor = tollgate.ask("GET", ISSUE).by(0).header("prefer", "wait=20").send();
    let started = Instant::now();
    let rich = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let answer = tollgate.ask("GET", ISSUE).by(1).send().await;
        (answer, started.elapsed())
    };
    let (poor, (rich, took)) = futures_util::future::join(poor, rich).await;
    assert_eq!((rich.verdict().as_str(), cache(&rich)), ("200", "miss"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(started.elapsed() > Duration::from_secs(8), "the other was held");
    assert_eq!(poor.verdict(), "200");
}

#[tokio::test]
async fn nobody_waits_for_a_body_that_trickles() {
    let trickles = |nth: usize| match nth {
        0 => (0..8).map(|_| (1_000, chunked("1,"))).chain([(0, chunked("1]") + END)]).collect(),
        _ => vec![(0, chunked("1,1,1,1,1,1,1,1,1]") + END)],
    };
    let tollgate =
        before(FRESH, "/issues/1", "Transfer-Encoding: chunked\r\n", &chunked("["), trickles).await;
    let started = Instant::now();
    let other = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (tollgate.get(ISSUE).await, started.elapsed())
    };
    let (slow, (other, took)) = futures_util::future::join(tollgate.get(ISSUE), other).await;
    assert!(started.elapsed() > Duration::from_secs(7), "{:?}", started.elapsed());
    assert!((4..7).contains(&took.as_secs()), "{took:?}");
    assert_eq!((slow.verdict(), slow.body), (other.verdict(), other.body));
    // The one that arrived later was requested earlier, and does not replace the newer one.
    let kept = tollgate.get(ISSUE).await;
    assert_eq!((cache(&kept), kept.header("x-nth")), ("hit", "1"));
}

#[tokio::test]
async fn many_bodies_of_unknown_length_are_all_kept() {
    let late = |_| vec![(1_500, chunked("1]") + END)];
    let tollgate = before(FRESH, "/issues/", "Transfer-Encoding: chunked\r\n", &chunked("["), late).await;
    let paths: Vec<String> = ["acme/widgets", "other/tool"]
        .iter()
        .flat_map(|name| (1..=50).map(move |n| format!("/repos/{name}/issues/{n}")))
        .collect();
    let all = futures_util::future::join_all(paths.iter().map(|path| tollgate.get(path))).await;
    for (path, first) in paths.iter().zip(all) {
        assert_eq!(
            (cache(&first), cache(&tollgate.get(path).await)),
            ("miss", "hit"),
            "{path} {}",
            first.verdict()
        );
    }
}

#[tokio::test]
async fn what_a_narrowed_token_shows_is_kept_for_such_tokens() {
    let agents = vec![
        agent("wide", &["repositories: [acme/widgets, acme/not-there]"]),
        agent("narrow", &["repositories: [acme/widgets]"]),
    ];
    let tollgate = Setup { cache: FRESH, ..Setup::with(agents) }.start().await;
    let wide = tollgate.ask("GET", ISSUE).by(0).send().await;
    assert_eq!((wide.verdict().as_str(), cache(&wide)), ("200", "miss"));
    // The same token, so the same answer.
    assert_eq!(cache(&tollgate.ask("GET", ISSUE).by(1).send().await), "hit");
    // Its own token may work again by now, so it has to be tried.
    assert_eq!(cache(&tollgate.ask("GET", ISSUE).by(0).send().await), "revalidated");
}

async fn node(tollgate: &Tollgate, path: &str) -> String {
    let token = format!("Bearer {}", tollgate.sim.mint("acme"));
    straight(&tollgate.sim, &token, "GET", path, &Value::Null).await.1["node_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_write_makes_all_it_touches_be_asked_for_and_nothing_else() {
    let tollgate = Setup { cache: FRESH, ..Setup::worker() }.start().await;
    let others = "/repos/acme/gadgets/issues/1";
    for path in [ISSUE, others] {
        assert_eq!(tollgate.get(path).await.verdict(), "200");
        assert_eq!(cache(&tollgate.get(path).await), "hit");
    }
    // The stand-in does not support this, but a real server could have carried it out.
    tollgate.ask("POST", "/markdown").json(&json!({"text": "*x*"})).send().await;
    assert!(tollgate.arrived_lines().contains(&"POST /markdown".to_owned()));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "hit");
    let (one, other) = (node(&tollgate, ISSUE).await, node(&tollgate, others).await);
    let comment =
        |id: &str| format!("addComment(input: {{subjectId: \"{id}\", body: \"x\"}}) {{ clientMutationId }}");
    let query = format!("mutation {{ a: {} b: {} }}", comment(&one), comment(&other));
    let sent = tollgate.ask("POST", "/graphql").json(&json!({ "query": query })).send().await;
    assert_eq!(sent.verdict(), "200", "{}", sent.text());
    for path in [ISSUE, others] {
        assert_eq!(cache(&tollgate.get(path).await), "changed", "{path}");
    }
}

const END: &str = "0\r\n\r\n";

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

type Pieces = Vec<(u64, String)>;

/// A tollgate whose reads of this path are answered by a fake upstream, each on a connection that closes
/// afterwards; the pieces of the `nth` answer come this many milliseconds apart.
async fn before(
    cache: &'static str,
    path: &'static str,
    framing: &'static str,
    begin: &str,
    pieces: impl Fn(usize) -> Pieces + Send + Sync + 'static,
) -> Tollgate {
    let sim = Sim::start(roomy()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let upstream = sim.api_url().trim_start_matches("http://").to_owned();
    let (begin, pieces) = (begin.to_owned(), Arc::new((pieces, AtomicUsize::new(0))));
    tokio::spawn(async move {
        let _sim = sim;
        while let Ok((mut socket, _)) = listener.accept().await {
            let (upstream, begin, pieces) = (upstream.clone(), begin.clone(), Arc::clone(&pieces));
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or_default() == 0 {
                        return;
                    }
                }
                let text = String::from_utf8_lossy(&request);
                if !text.contains(path) {
                    let request = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                    let mut other = TcpStream::connect(upstream).await.unwrap();
                    other.write_all(request.as_bytes()).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut socket, &mut other).await;
                    return;
                }
                let nth = pieces.1.fetch_add(1, Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"x\"\r\nX-Nth: {nth}\r\n{framing}\
                     Connection: close\r\n\r\n{begin}"
                );
                let _ = socket.write_all(head.as_bytes()).await;
                for (pause, piece) in (pieces.0)(nth) {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let _ = socket.write_all(piece.as_bytes()).await;
                }
            });
        }
    });
    let agents = vec![agent("worker", &["repositories: [acme/*, other/*]"])];
    Setup { api_url: Some(address), cache, ..Setup::with(agents) }.start().await
}

#[tokio::test]
async fn a_body_without_an_end_of_its_own_is_not_kept() {
    for (framing, kept) in [("", "miss"), ("Content-Length: 9\r\n", "hit")] {
        let tollgate = before(FRESH, "/issues/1", framing, "{\"cut\":1}", |_| Vec::new()).await;
        let first = tollgate.get(ISSUE).await;
        assert_eq!((first.verdict().as_str(), first.text().as_str()), ("200", "{\"cut\":1}"));
        assert_eq!(cache(&tollgate.get(ISSUE).await), kept, "{framing:?}");
    }
}

#[tokio::test]
async fn a_tag_that_was_named_stays_the_entry_s() {
    let tollgate = Setup::worker().start().await;
    tollgate.get(ISSUE).await;
    let other = BTreeMap::from([("etag".to_owned(), "\"another\"".to_owned())]);
    tollgate.sim.faults().add(Fault::new(FaultKind::SetHeaders { headers: other }).on("GET", ISSUE).times(1));
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "revalidated");
    edit(&tollgate, 1, "changed");
    assert_eq!(cache(&tollgate.get(ISSUE).await), "changed");
}
