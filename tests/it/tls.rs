//! HTTPS: both protocols, the same strictness, and certificates that are replaced or expire.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use github_sim::{Fault, FaultKind};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tollgate::clock::{Clock, SystemClock};
use tollgate::tls::{TlsError, TlsFiles};

use crate::support::{Setup, Tollgate, UNCACHED, eventually};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Writes a fresh certificate for `localhost` that expires in `days`; returns it.
fn write_certificate(files: &std::path::Path, days: i64) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let now = SystemClock.now_seconds();
    let at = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let date = |seconds: i64| {
        let day = at(seconds);
        rcgen::date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    params.not_before = date(now - 400 * 86_400);
    params.not_after = date(now + days * 86_400);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(files.join("tls.pem"), certificate.pem()).unwrap();
    std::fs::write(files.join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

async fn start() -> (Tollgate, TempDir, CertificateDer<'static>) {
    let files = TempDir::new().unwrap();
    let certificate = write_certificate(files.path(), 30);
    let mut setup = Setup { cache: UNCACHED, ..Setup::worker() };
    let path = files.path().display();
    setup.server = format!("  tls: {{ cert_file: {path}/tls.pem, key_file: {path}/tls.key }}\n");
    (setup.start().await, files, certificate)
}

/// A TLS connection that trusts one certificate and speaks one protocol.
async fn connect(
    tollgate: &Tollgate,
    certificate: &CertificateDer<'static>,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let socket = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn json(response: Response<Incoming>) -> serde_json::Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// A sender of HTTP/2 requests.
async fn http2<B>(
    tollgate: &Tollgate,
    certificate: &CertificateDer<'static>,
) -> hyper::client::conn::http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let stream = connect(tollgate, certificate, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn ask(tollgate: &Tollgate, path: &str) -> http::request::Builder {
    let port = tollgate.base.rsplit(':').next().unwrap();
    let key = format!("token {}", tollgate.key(0));
    Request::get(format!("https://localhost:{port}{path}")).header("authorization", key)
}

#[tokio::test]
async fn both_protocols_are_served_and_links_are_https() {
    let (tollgate, _files, certificate) = start().await;
    let port = tollgate.base.rsplit(':').next().unwrap();
    let expected = format!("https://localhost:{port}/api/v3/repos/acme/widgets");
    let mut sender = http2(&tollgate, &certificate).await;
    let request = ask(&tollgate, "/api/v3/repos/acme/widgets").body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    assert_eq!(json(response).await["url"], expected);
    let stream = connect(&tollgate, &certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/api/v3/repos/acme/widgets")
        .header("host", format!("localhost:{port}"))
        .header("authorization", format!("token {}", tollgate.key(0)));
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_11));
    assert_eq!(json(response).await["url"], expected);
    tollgate.assert_clean();
}

/// Whoever has to shut an agent out must not need a new certificate for it.
#[tokio::test]
async fn an_expired_certificate_holds_up_no_other_change() {
    let (tollgate, files, certificate) = start().await;
    write_certificate(files.path(), -2);
    tollgate.reload("repositories:", "disabled: true\n    repositories:", "ok").await;
    let mut sender = http2(&tollgate, &certificate).await;
    let request = ask(&tollgate, "/repos/acme/widgets").body(Empty::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 403, "it is disabled");
    let read = tollgate::config::from_file(&tollgate.files.path().join("tollgate.yaml"));
    let problems = read.unwrap_err().to_string();
    assert!(
        problems.starts_with("server.tls, line 4: the certificate in") && problems.contains("ended"),
        "{problems}"
    );
}

#[tokio::test]
async fn http2_is_as_strict_as_http1() {
    let (tollgate, _files, certificate) = start().await;
    let mut sender = http2(&tollgate, &certificate).await;
    let long = "a".repeat(9_000);
    let big = "v".repeat(33 * 1024);
    let mut many = ask(&tollgate, "/meta");
    for index in 0..101 {
        many = many.header(format!("x-{index}"), "y");
    }
    let cases = [
        (ask(&tollgate, &format!("/{long}")), 414, "uri_too_long"),
        (many, 431, "headers_too_large"),
        (ask(&tollgate, "/meta").header("x", &big), 431, "headers_too_large"),
        (ask(&tollgate, "/meta").header("host", "elsewhere.example"), 400, "bad_request"),
        (ask(&tollgate, "/repos/acme/../other"), 400, "bad_request"),
        (ask(&tollgate, "/repos/other/tool"), 403, "repository_forbidden"),
        (ask(&tollgate, "/meta").method("OPTIONS"), 400, "bad_request"),
    ];
    for (request, status, code) in cases {
        let response = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-tollgate-error"]),
            (status, &code.parse().unwrap())
        );
        assert_eq!(json(response).await["tollgate"]["code"], code);
    }
    assert!(tollgate.arrived().is_empty());
}

/// Some callers read nothing before they have sent everything: a refusal that took away their window never reached them.
#[tokio::test]
async fn a_body_that_is_refused_can_be_sent_to_its_end() {
    const PART: usize = 16 * 1024;
    let (tollgate, _files, certificate) = start().await;
    let mut sender = http2(&tollgate, &certificate).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let parts = std::iter::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; PART])))
    });
    let body = StreamBody::new(futures_util::stream::iter(parts.take(60)));
    let request = ask(&tollgate, "/repos/other/tool/issues").method("POST").body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(json(response).await["tollgate"]["code"], "repository_forbidden");
    eventually("all of the body is taken", || taken.load(Ordering::Relaxed) == 60).await;
    assert!(tollgate.arrived().is_empty());
}

#[tokio::test]
async fn many_requests_share_a_connection_and_resets_do_not_hurt_others() {
    let (tollgate, _files, certificate) = start().await;
    let sender = http2(&tollgate, &certificate).await;
    // Sent and abandoned at once.
    for _ in 0..50 {
        let mut sender = sender.clone();
        let request = ask(&tollgate, "/repos/acme/widgets").body(Empty::new()).unwrap();
        let _ =
            tokio::time::timeout(std::time::Duration::from_micros(10), sender.send_request(request)).await;
    }
    let other = http2(&tollgate, &certificate).await;
    let asks = (0..40).map(|_| {
        let (mut sender, request) =
            (other.clone(), ask(&tollgate, "/repos/acme/widgets").body(Empty::new()).unwrap());
        async move { sender.send_request(request).await.unwrap().status().as_u16() }
    });
    assert_eq!(futures_util::future::join_all(asks).await, vec![200; 40]);
}

#[tokio::test]
async fn of_an_answer_that_breaks_off_comes_the_head() {
    let (tollgate, _files, certificate) = start().await;
    let mut sender = http2(&tollgate, &certificate).await;
    for kind in [FaultKind::TruncatedBody, FaultKind::ResetMidBody] {
        tollgate.sim.faults().add(Fault::new(kind).on("GET", "/repos/acme/widgets/issues").times(1));
        let request = ask(&tollgate, "/repos/acme/widgets/issues").body(Empty::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_open_connections_go_on() {
    let (tollgate, files, old) = start().await;
    let mut open = http2(&tollgate, &old).await;
    let new = write_certificate(files.path(), 60);
    let mut taken_up = false;
    for _ in 0..100 {
        taken_up = connect(&tollgate, &new, b"h2").await.is_ok();
        if taken_up {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let metrics = tollgate.metrics().await;
    let at = |name: &str| -> i64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let start = at("tollgate_certificate_start_timestamp_seconds ");
    let life = at("tollgate_certificate_expiry_timestamp_seconds ") - start;
    assert!(life > 50 * 86_400, "that of the new one: {life} s");
    assert!(taken_up && connect(&tollgate, &old, b"h2").await.is_err());
    let request = ask(&tollgate, "/repos/acme/widgets").body(Empty::new()).unwrap();
    assert_eq!(open.send_request(request).await.unwrap().status(), 200);
    // A pair that does not match changes nothing.
    std::fs::write(files.path().join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert!(connect(&tollgate, &new, b"h2").await.is_ok());
}

#[test]
fn wrong_pairs_are_told_apart() {
    let files = TempDir::new().unwrap();
    let pair = TlsFiles { cert_file: files.path().join("tls.pem"), key_file: files.path().join("tls.key") };
    let now = SystemClock.now_seconds();
    assert!(matches!(pair.check(now), Err(TlsError::Unreadable(_))));
    write_certificate(files.path(), 30);
    assert_eq!(pair.check(now), Ok(()));
    assert!(matches!(pair.check(now + 40 * 86_400), Err(TlsError::Ended { .. })));
    std::fs::write(&pair.key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(pair.check(now), Err(TlsError::Mismatch));
    std::fs::write(&pair.key_file, "no key").unwrap();
    assert!(matches!(pair.check(now), Err(TlsError::NoKey(_))));
    std::fs::write(&pair.cert_file, "no certificate").unwrap();
    assert!(matches!(pair.check(now), Err(TlsError::NoCertificate(_))));
    std::fs::write(&pair.cert_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(matches!(pair.check(now), Err(TlsError::Damaged(_))));
}

#[tokio::test]
async fn plain_http_to_a_tls_port_gets_nothing() {
    let (tollgate, _files, _) = start().await;
    let answer = tollgate.raw(tollgate.head("GET /meta HTTP/1.1", "").as_bytes()).await;
    assert!(!answer.starts_with("HTTP/"), "{answer}");
}

/// It can't have sent a request yet.
#[tokio::test]
async fn a_connection_without_a_handshake_holds_up_no_end() {
    let (tollgate, _files, _) = start().await;
    let silent = TcpStream::connect(tollgate.base.trim_start_matches("http://")).await.unwrap();
    assert_eq!(tollgate.raw(b"").await, "", "the silent one was taken before");
    tollgate.stop.cancel();
    tokio::time::timeout(Duration::from_secs(6), tollgate.running).await.expect("it ends").unwrap().unwrap();
    drop(silent);
}
