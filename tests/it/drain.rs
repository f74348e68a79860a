//! On SIGTERM the binary stops accepting connections, finishes what runs, and exits with 0.

use std::io::Write;
use std::time::Duration;

use github_sim::{Fault, FaultKind};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{Setup, Tollgate, UNCACHED, agent, eventually};

#[tokio::test]
async fn requests_in_flight_are_finished_and_new_connections_are_not_taken() {
    let tollgate = Setup { cache: UNCACHED, ..Setup::worker() }.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow =
        tollgate.sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: 700 }).on("GET", "/repos/acme"));
    let address = tollgate.base.trim_start_matches("http://").to_owned();
    let head = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    let (answer, ()) = tokio::join!(tollgate.raw(head.as_bytes()), async {
        eventually("the slow call", || tollgate.sim.faults().fired(slow) == 1).await;
        tollgate.stop.cancel();
        let mut refused = false;
        for _ in 0..50 {
            refused = TcpStream::connect(&address).await.is_err();
            if refused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(refused, "a new connection is still taken");
    });
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), tollgate.running).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn readiness_fails_while_health_holds() {
    let tollgate = Setup::worker().start().await;
    let slow =
        tollgate.sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: 500 }).on("GET", "/repos/acme"));
    let head = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "");
    let admin = tollgate.admin.clone();
    let probe = |path: &'static str| {
        let url = format!("{admin}{path}");
        async move {
            let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Empty<bytes::Bytes>>();
            client.get(url.parse().unwrap()).await.unwrap().status().as_u16()
        }
    };
    assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 200));
    let ((), _) = tokio::join!(
        async {
            eventually("the slow call", || tollgate.sim.faults().fired(slow) == 1).await;
            tollgate.stop.cancel();
            assert_eq!((probe("/livez").await, probe("/readyz").await), (200, 503));
        },
        tollgate.raw(head.as_bytes())
    );
}

/// Asks as a client that waits up to a minute, and stops tollgate meanwhile; returns the answer, and how many
/// calls GitHub has had.
async fn ask_and_stop(tollgate: Tollgate) -> (String, usize) {
    let head = tollgate.head("GET /repos/acme/widgets HTTP/1.1", "Prefer: wait=60\r\n");
    let (answer, ()) = tokio::join!(tollgate.raw(head.as_bytes()), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tollgate.stop.cancel();
    });
    let arrived = tollgate.arrived().len();
    tokio::time::timeout(Duration::from_secs(5), tollgate.running).await.expect("it ends").unwrap().unwrap();
    (answer, arrived)
}

/// Otherwise nobody would know what became of it.
#[tokio::test]
async fn a_write_whose_caller_is_gone_is_carried_to_its_end() {
    let mut setup = Setup { cache: UNCACHED, audit_log: "audit.log", ..Setup::worker() };
    setup.server = "  drain_timeout: 10s\n".to_owned();
    let tollgate = setup.start().await;
    assert_eq!(tollgate.get("/repos/acme/widgets").await.verdict(), "200");
    let slow = Fault::new(FaultKind::SlowFirstByte { ms: 1_500 });
    let slow = tollgate.sim.faults().add(slow.on("POST", "/repos/acme/widgets/issues"));
    let issue = serde_json::json!({"title": "x"});
    let asked = tollgate.ask("POST", "/repos/acme/widgets/issues").json(&issue).send();
    tokio::select! {
        _ = asked => panic!("it is slow"),
        () = eventually("the slow call", || tollgate.sim.faults().fired(slow) == 1) => {}
    }
    tollgate.stop.cancel();
    tokio::time::timeout(Duration::from_secs(9), tollgate.running).await.expect("it ends").unwrap().unwrap();
    let log = std::fs::read_to_string(tollgate.files.path().join("audit.log")).unwrap();
    assert!(log.contains("\"upstream_status\":201") && !log.contains("\"failure\""), "{log}");
}

/// Otherwise it would be cut silently, and its client would not know whether GitHub had the request.
#[tokio::test]
async fn who_still_waits_at_the_end_is_told_so() {
    let mut setup = Setup::with(vec![agent("slow", &["repositories: [acme/*]", "ceiling: 60"])]);
    (setup.cache, setup.server) = (UNCACHED, "  drain_timeout: 2s\n".to_owned());
    let tollgate = setup.start().await;
    let mut last = String::new();
    for _ in 0..10 {
        last = tollgate.get("/repos/acme/widgets").await.verdict();
    }
    assert_eq!(last, "403 budget_exhausted");
    let sent = tollgate.arrived().len();
    let (answer, arrived) = ask_and_stop(tollgate).await;
    assert_eq!(arrived, sent);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for header in ["x-tollgate-error: draining", "retry-after: 1", "connection: close"] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
}

/// It is not given GitHub's 404 either, which may only mean that GitHub does not know the young token yet.
#[tokio::test]
async fn so_is_who_waits_to_ask_again() {
    let mut setup = Setup::worker();
    (setup.cache, setup.server) = (UNCACHED, "  drain_timeout: 1s\n".to_owned());
    setup.personal_token = false;
    let tollgate = setup.start().await;
    let unknown = FaultKind::Status {
        status: 404,
        body: None,
        headers: std::collections::BTreeMap::new(),
        takes_effect: false,
    };
    tollgate.sim.faults().add(Fault::new(unknown).on("GET", "/repos/acme"));
    let (answer, _) = ask_and_stop(tollgate).await;
    assert!(answer.contains("x-tollgate-error: draining"), "{answer}");
}

/// They were reset, also if a request had been sent.
#[tokio::test]
async fn connections_that_the_kernel_has_taken_are_served() {
    let tollgate = Setup::worker().start().await;
    let address = tollgate.base.trim_start_matches("http://");
    let head = tollgate.head("GET /rate_limit HTTP/1.1", "");
    // Nothing is awaited, so the listener, in the same thread, learns of all this at once.
    let connect = |_| {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let sockets: Vec<_> = (0..20).map(connect).collect();
    tollgate.stop.cancel();
    for socket in sockets {
        let mut answer = String::new();
        let read = TcpStream::from_std(socket).unwrap().read_to_string(&mut answer).await;
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 200 "), "{read:?} {answer}");
    }
    tokio::time::timeout(Duration::from_secs(5), tollgate.running).await.expect("it ends").unwrap().unwrap();
}
