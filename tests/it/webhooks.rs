//! What GitHub's webhook reports, over a real listener; and what other replicas then know.

mod reads;
mod replicas;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use github_sim::{Fault, FaultKind};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tollgate::cache::changes::{Area, Reach};

use crate::support::{Setup, Tollgate, eventually};
use told::{Told, delivery, push, sign, status_line};

const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;

#[tokio::test]
async fn a_signed_delivery_marks_what_it_tells_and_once() {
    let told = Told::start().await;
    assert_eq!(told.last(Area::Code), 0);
    let answer = told.send(&push("1")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    eventually("the mark", || told.last(Area::Code) > 0).await;
    assert!(told.last(Area::Pulls) > 0);
    assert_eq!((told.last(Area::Issues), told.last(Area::Releases)), (0, 0));
    let at = told.last(Area::Code);
    eventually("the end of its work", || told.feed.is_delivered("1")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(told.send(&push("1")).await.status, StatusCode::ACCEPTED);
    told.counts("push", "duplicate", 1).await;
    told.counts("push", "accepted", 1).await;
    assert_eq!(told.last(Area::Code), at, "a replay marks nothing");
    assert_eq!(told.send(&push("2")).await.status, StatusCode::ACCEPTED);
    eventually("the next mark", || told.last(Area::Code) > at).await;
}

#[tokio::test]
async fn what_is_not_signed_marks_nothing() {
    let told = Told::start().await;
    let signature = "x-hub-signature-256";
    let other = sign(b"another body");
    let good = push("1").headers.last().unwrap().1.clone();
    for value in [None, Some("sha256="), Some("sha1=abc"), Some(&*other), Some(&good[7..])] {
        let answer = told.send(&push("1").with(signature, value)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value:?}");
        assert!(!answer.text().contains(&good[7..]), "{}", answer.text());
    }
    let mut twice = push("1");
    twice.headers.push((signature, other.clone()));
    assert_eq!(told.send(&twice).await.status, StatusCode::UNAUTHORIZED);
    told.counts("push", "forged", 6).await;
    for name in ["x-github-event", "x-github-delivery"] {
        let long = "x".repeat(65);
        for value in [None, Some(""), Some("a b"), Some("../x"), Some(&*long)] {
            let answer = told.send(&push("1").with(name, value)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} {value:?}");
        }
    }
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let head = push("1").head(method, "content-length: 0\r\n");
        assert_eq!(told.raw(head.as_bytes()).await, "HTTP/1.1 405 Method Not Allowed", "{method}");
    }
    assert_eq!(told.last(Area::Code), 0);
    assert!(!told.feed.is_delivered("1"));
    assert_eq!(told.send(&push("1")).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_has_its_bound_and_its_time() {
    let told = Told::start().await;
    let declared = format!("content-length: {}\r\n", BODY_BYTES_MAX + 1);
    let head = push("1").head("POST", &declared);
    assert_eq!(told.raw(head.as_bytes()).await, "HTTP/1.1 413 Payload Too Large");
    // With undeclared length it is refused at the limit; the client may still be writing then.
    let mut socket = TcpStream::connect(told.address).await.unwrap();
    let head = push("1").head("POST", "transfer-encoding: chunked\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = [&b"100000\r\n"[..], &vec![b'x'; 0x10_0000], b"\r\n"].concat();
    for _ in 0..30 {
        if socket.write_all(&chunk).await.is_err() {
            break;
        }
    }
    told.counts("push", "too_large", 2).await;
    // The largest body that is accepted.
    let blank = " ".repeat(BODY_BYTES_MAX - push("2").body.len());
    let large = delivery("push", "2", [push("2").body, blank.into_bytes()].concat());
    assert_eq!(told.send(&large).await.status, StatusCode::ACCEPTED);
    eventually("the mark", || told.last(Area::Code) > 0).await;
    // A body that stops halfway.
    let head = push("3").head("POST", "content-length: 100\r\n");
    let answer = told.raw(format!("{head}{{").as_bytes()).await;
    assert_eq!(answer, "HTTP/1.1 408 Request Timeout");
    told.counts("push", "failed", 1).await;
    assert!(told.tollgate.metrics().await.contains("tollgate_webhook_queue 0\n"));
}

#[tokio::test]
async fn what_finds_no_room_is_shed_and_marks_everything() {
    let told = Told::start().await;
    let head = push("1").head("POST", &format!("content-length: {BODY_BYTES_MAX}\r\n"));
    let most = [head.as_bytes(), &vec![b' '; BODY_BYTES_MAX - 1]].concat();
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(told.address).await.unwrap();
        socket.write_all(&most).await.unwrap();
        stuck.push(socket);
    }
    let answer = told.send(&delivery("push", "2", vec![b' '; BODY_BYTES_MAX])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    told.counts("push", "shed", 1).await;
    eventually("the mark", || told.last(Area::Issues) > 0).await;
    assert_eq!(told.send(&push("3")).await.status, StatusCode::ACCEPTED, "a small one finds room");
    // Tollgate does not wait for those that hold the room.
    for mut socket in stuck {
        assert_eq!(status_line(&mut socket).await, "HTTP/1.1 408 Request Timeout");
    }
    let large = delivery("push", "4", [push("4").body, vec![b' '; 20 << 20]].concat());
    assert_eq!(told.send(&large).await.status, StatusCode::ACCEPTED);
}

/// Whoever lacks the secret can fill the room for long bodies, but not make everything count as changed.
#[tokio::test]
async fn what_nobody_signed_is_not_shed() {
    let told = Told::start().await;
    let long =
        delivery("push", "1", vec![b' '; BODY_BYTES_MAX]).with("x-hub-signature-256", Some(&sign(b"other")));
    let answers = futures_util::future::join_all((0..4).map(|_| told.send(&long))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED));
    told.counts("push", "forged", 4).await;
    assert_eq!(told.count("push", "shed").await, 0);
    assert_eq!(told.last(Area::Issues), 0);
}

#[tokio::test]
async fn who_connects_and_says_nothing_keeps_nobody_out() {
    let told = Told::start().await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(told.address).await.unwrap());
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), told.send(&push("1"))).await;
    assert_eq!(answer.expect("it finds a place").status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_is_signed_and_garbled_may_be_anything() {
    let told = Told::start().await;
    assert_eq!(told.send(&delivery("push", "1", "{\"ref")).await.status, StatusCode::ACCEPTED);
    told.counts("push", "garbled", 1).await;
    eventually("the mark", || told.last(Area::Issues) > 0).await;
    assert!(!told.feed.is_delivered("1"), "sent again, it is worked again");
}

#[tokio::test]
async fn a_form_is_taken_too() {
    let told = Told::start().await;
    let json = String::from_utf8(push("1").body).unwrap();
    let body: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = delivery("push", "1", format!("payload={body}"))
        .with("content-type", Some("application/x-www-form-urlencoded"));
    assert_eq!(told.send(&form).await.status, StatusCode::ACCEPTED);
    eventually("the mark", || told.last(Area::Code) > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_worked_or_shed_while_reads_go_on() {
    const CONNECTIONS: usize = 16;
    const EACH: usize = 500;
    let told = Told::start().await;
    assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let started = now_ms();
    let mut senders = told.flood(CONNECTIONS, EACH);
    let mut slowest = 0;
    let mut reads = 0;
    while !senders.is_empty() && senders.try_join_next().is_none() {
        let before = now_ms();
        assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200");
        slowest = slowest.max(now_ms() - before);
        reads += 1;
    }
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    let took = now_ms() - started;
    eprintln!(
        "{} deliveries in {took} ms; {reads} reads meanwhile, the slowest took {slowest} ms",
        CONNECTIONS * EACH
    );
    assert!(took < 30_000, "{took} ms");
    assert!(slowest < 2_500, "{slowest} ms");
    let mut settled = 0;
    for _ in 0..500 {
        settled = told.count("push", "accepted").await + told.count("push", "shed").await;
        if settled == u64::try_from(CONNECTIONS * EACH).unwrap() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(settled, u64::try_from(CONNECTIONS * EACH).unwrap(), "each is counted once");
}

fn now_ms() -> u64 {
    use tollgate::clock::{Clock, SystemClock};
    u64::try_from(SystemClock.now_ms()).unwrap()
}

/// How many tokens the App requested.
fn minted(tollgate: &Tollgate) -> usize {
    let is_mint = |target: &str| target.ends_with("/access_tokens");
    tollgate.sim.requests().iter().filter(|request| is_mint(&request.target)).count()
}

#[tokio::test]
async fn an_installation_that_ends_takes_its_tokens_with_it() {
    let told = Told::start().await;
    for _ in 0..2 {
        assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    }
    assert_eq!(minted(&told.tollgate), 1);
    let mut expected = 1;
    for (event, action, account) in [
        ("installation", "deleted", "Acme"),
        ("installation", "suspend", "acme"),
        ("installation_repositories", "removed", "acme"),
    ] {
        let payload: Value =
            json!({"action": action, "installation": {"id": 1, "account": {"login": account}}});
        let id = format!("{event}-{action}");
        let sent = told.send(&delivery(event, &id, payload.to_string())).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED);
        eventually("its work", || told.feed.is_delivered(&id)).await;
        assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200");
        expected += 1;
        assert_eq!(minted(&told.tollgate), expected, "{event} {action}");
    }
    let payload = json!({"action": "deleted", "installation": {"id": 2, "account": {"login": "other"}}});
    told.send(&delivery("installation", "x", payload.to_string())).await;
    eventually("its work", || told.feed.is_delivered("x")).await;
    assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    assert_eq!(minted(&told.tollgate), expected, "another account's end is no concern of it");
    // And once GitHub no longer knows the installation, neither does tollgate.
    let none =
        || FaultKind::Status { status: 404, body: None, headers: BTreeMap::new(), takes_effect: false };
    for kind in ["orgs", "users"] {
        told.tollgate.sim.faults().add(Fault::new(none()).on("GET", &format!("/{kind}/acme/installation")));
    }
    assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "200", "it is not asked yet");
    let payload = json!({"action": "deleted", "installation": {"id": 1, "account": {"login": "acme"}}});
    told.send(&delivery("installation", "y", payload.to_string())).await;
    eventually("its work", || told.feed.is_delivered("y")).await;
    assert_eq!(told.tollgate.get("/repos/acme/widgets").await.verdict(), "404 no_installation");
    told.tollgate.assert_clean();
}

#[tokio::test]
async fn what_the_app_is_subscribed_to_is_asked_and_what_comes_is_believed() {
    let mut setup = Setup { further: told::section(), ..Setup::worker() };
    setup.sim.events = ["push", "pull_request", "issues", "label"].map(str::to_owned).to_vec();
    let told = Told::of(setup).await;
    let covers =
        |area| told.changes.covers(&Reach { repository: Some("acme/widgets".to_owned()), area: Some(area) });
    eventually("what the App is subscribed to", || covers(Area::Code)).await;
    assert!(!covers(Area::Pulls) && !covers(Area::Checks) && !covers(Area::Issues));
    let payload = json!({"action": "created", "repository": {"full_name": "acme/widgets"}}).to_string();
    let of_one = delivery("issue_comment", "1", payload.clone())
        .with("x-github-hook-installation-target-type", Some("repository"));
    told.send(&of_one).await;
    eventually("its work", || told.feed.is_delivered("1")).await;
    assert!(!covers(Area::Issues), "a webhook of one repository says nothing of others");
    told.send(&delivery("issue_comment", "2", payload)).await;
    eventually("its work", || told.feed.is_delivered("2")).await;
    assert!(covers(Area::Issues));
}

#[tokio::test]
async fn what_was_received_is_told_before_the_end() {
    let told = Told::start().await;
    for number in 0..50 {
        assert_eq!(told.send(&push(&number.to_string())).await.status, StatusCode::ACCEPTED);
    }
    told.tollgate.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), told.tollgate.running).await.unwrap().unwrap().unwrap();
    assert!((0..50).all(|number| told.feed.is_delivered(&number.to_string())));
    assert!(TcpStream::connect(told.address).await.is_err());
}
