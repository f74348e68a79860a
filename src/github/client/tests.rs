//! Which connection a request uses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::connection::{Connection, Origin};
use super::*;

/// Answers `/N` with N bytes, and `/close` before closing the connection; counts its connections.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Accepts up to `most` connections; of the others, `backlog` may queue.
    fn start(most: usize, backlog: u32) -> Server {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(backlog).unwrap();
        let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(accept(listener, most, Arc::clone(&accepted)));
        Server { address, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn request(&self, path: &str) -> Request<RequestBody> {
        get(&format!("http://{}{path}", self.address))
    }
}

/// By the words of the library that connects: another version may choose others.
#[tokio::test]
async fn who_gets_no_tls_is_told_what_to_change() {
    let plain = Server::start(1, 1);
    let client = HttpClient::with("x", None, Duration::from_secs(5)).unwrap();
    let error = client.send(get(&format!("https://{}/1", plain.address))).await.unwrap_err();
    let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    for (causes, expected) in [
        (crate::error::with_causes(&error), "write http:// in `upstream.api_url`"),
        (unknown.to_string(), "name that in `upstream.ca_file`"),
        ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))".to_owned(), "of an authority"),
    ] {
        assert!(hint(&causes).contains(expected), "{causes}");
    }
    assert_eq!(hint("no connection: Connection refused (os error 111)"), "");
}

fn get(uri: &str) -> Request<RequestBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().uri(uri).body(body).unwrap()
}

async fn accept(listener: TcpListener, most: usize, accepted: Arc<AtomicUsize>) {
    for _ in 0..most {
        let (stream, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
    std::future::pending::<()>().await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::builder().header("x-host", &request.headers()["host"]);
    if request.uri() == "/close" {
        response = response.header("connection", "close");
    }
    let length = request.uri().path().trim_start_matches('/').parse().unwrap_or(0);
    Ok(response.body(Full::from(vec![b'x'; length])).unwrap())
}

fn client() -> HttpClient {
    HttpClient::with("test", None, Duration::from_secs(60)).unwrap()
}

/// Waits until a connection is back in the pool.
async fn one_comes_back(client: &HttpClient) {
    let comes_back = async {
        while client.pool.unused() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), comes_back).await.expect("it never came back");
}

async fn length(answer: Response<AnswerBody>) -> usize {
    answer.into_body().collect().await.unwrap().to_bytes().len()
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let (server, client) = (Server::start(9, 9), client());
    for _ in 0..5 {
        for path in ["/0", "/2000", "/300000"] {
            let answer = client.send(server.request(path)).await.unwrap();
            assert_eq!(answer.headers()["x-host"], server.address.to_string());
            assert_eq!(format!("/{}", length(answer).await), path);
        }
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each() {
    let (server, client) = (Server::start(9, 9), client());
    for _ in 0..3 {
        let answers = join_all((0..4).map(|_| client.send(server.request("/2000")))).await;
        let lengths = join_all(answers.into_iter().map(|answer| length(answer.unwrap()))).await;
        assert_eq!(lengths, [2000; 4]);
    }
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn what_the_server_closes_is_not_used_again() {
    let (server, client) = (Server::start(9, 9), client());
    for _ in 0..3 {
        assert_eq!(length(client.send(server.request("/close")).await.unwrap()).await, 0);
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn a_body_given_up_closes_its_connection_unless_the_rest_is_there() {
    let (server, client) = (Server::start(9, 9), client());
    drop(client.send(server.request("/2000")).await.unwrap());
    one_comes_back(&client).await;
    drop(client.send(server.request("/50000000")).await.unwrap());
    assert_eq!((server.accepted(), client.pool.unused()), (1, 0));
    drop(client.send(server.request("/1")).await.unwrap());
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn what_was_not_used_for_long_is_not_used_again() {
    let (server, client) = (Server::start(9, 9), client());
    for accepted in [1, 2] {
        assert_eq!(length(client.send(server.request("/1")).await.unwrap()).await, 1);
        assert_eq!(server.accepted(), accepted);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(46)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn who_waits_for_a_new_connection_takes_one_that_comes_back() {
    let (server, client) = (Server::start(1, 1), client());
    let first = client.send(server.request("/300000")).await.unwrap();
    // Until nobody is accepted any more, not even to queue.
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_secs(1), TcpStream::connect(server.address)).await {
        waiting.push(stream.unwrap());
    }
    let second = tokio::spawn({
        let (client, request) = (client.clone(), server.request("/7"));
        async move { length(client.send(request).await.unwrap()).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!second.is_finished());
    assert_eq!(length(first).await, 300_000);
    assert_eq!(second.await.unwrap(), 7);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_came_too_late_serves_the_next_request() {
    let (server, client) = (Server::start(9, 9), client());
    let origin = Origin::of(server.request("/").uri()).unwrap();
    client.pool.put_when_open(Connection::open(client.pool.connector.clone(), origin));
    one_comes_back(&client).await;
    assert_eq!(length(client.send(server.request("/7")).await.unwrap()).await, 7);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_leads_where_it_was_opened_to() {
    let (one, other, client) = (Server::start(9, 9), Server::start(9, 9), client());
    for server in [&one, &other, &one, &other] {
        let answer = client.send(server.request("/7")).await.unwrap();
        assert_eq!(answer.headers()["x-host"], server.address.to_string());
        assert_eq!(length(answer).await, 7);
    }
    assert_eq!((one.accepted(), other.accepted()), (1, 1));
}

#[tokio::test]
async fn unused_connections_are_bounded() {
    let (server, client) = (Server::start(200, 200), client());
    let answers = join_all((0..150).map(|_| client.send(server.request("/1")))).await;
    join_all(answers.into_iter().map(|answer| length(answer.unwrap()))).await;
    assert_eq!((server.accepted(), client.pool.unused()), (150, 128));
}

/// A server that writes `said` to each connection once a request has arrived.
async fn scripted(said: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(said).await.unwrap();
            if !said.is_empty() {
                open.push(stream);
            }
        }
    });
    (format!("http://{address}/"), accepted)
}

#[tokio::test]
async fn nothing_of_one_answer_comes_with_another() {
    let (uri, accepted) = scripted(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
    )
    .await;
    let client = client();
    for count in [1, 2, 3] {
        assert_eq!(length(client.send(get(&uri)).await.unwrap()).await, 1);
        assert_eq!(accepted.load(Ordering::SeqCst), count);
    }
}

#[tokio::test]
async fn a_request_given_up_takes_its_connection_along() {
    let (uri, accepted) = scripted(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let client = client();
    for count in [1, 2] {
        let answer = client.send(get(&uri)).await.unwrap();
        assert!(timeout(Duration::from_millis(20), length(answer)).await.is_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((accepted.load(Ordering::SeqCst), client.pool.unused()), (count, 0));
    }
    let (uri, _) = scripted(b"HTTP/1.1 200 O").await;
    assert!(timeout(Duration::from_millis(20), client.send(get(&uri))).await.is_err());
    assert_eq!(client.pool.unused(), 0);
}

#[tokio::test]
async fn what_a_server_read_may_have_been_done() {
    let (uri, _) = scripted(b"").await;
    let error = client().send(get(&uri)).await.unwrap_err();
    assert!(matches!(error, SendError::Broke(_)) && !error.was_unsent(), "{error:?}");
}

#[tokio::test]
async fn without_a_server_nothing_was_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client().send(get(&format!("http://{nobody}/1"))).await.unwrap_err();
    assert!(matches!(error, SendError::Connect(_)) && error.was_unsent(), "{error:?}");
    assert!(matches!(client().send(get("/1")).await, Err(SendError::Address)));
}

/// It accepts the connection and says nothing; it was waited for as for an answer.
#[tokio::test]
async fn a_server_that_hangs_in_the_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://{}/1", listener.local_addr().unwrap());
    crate::app::install_crypto();
    let client = HttpClient::with("test", None, Duration::from_millis(100)).unwrap();
    let error = timeout(Duration::from_secs(30), client.send(get(&uri))).await.expect("it is given up");
    let error = error.unwrap_err();
    assert!(matches!(error, SendError::Connect(_)) && error.was_unsent(), "{error:?}");
}

/// RFC 9112 section 6.3: the transfer coding overrides the length, which would cut the body where it is passed on.
#[tokio::test]
async fn a_length_beside_chunks_does_not_count() {
    let (uri, _) = scripted(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n",
    )
    .await;
    let answer = client().send(get(&uri)).await.unwrap();
    assert!(!answer.headers().contains_key("content-length"));
    assert_eq!(length(answer).await, 6);
}
