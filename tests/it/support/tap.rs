//! A listener between tollgate and the stand-in that records credentials, which the stand-in never keeps.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// What passed through.
#[derive(Clone, Default)]
pub(crate) struct Tap {
    /// Method, path and the `Authorization` that was sent.
    seen: Arc<Mutex<Vec<(String, String, String)>>>,
}

impl Tap {
    /// Listens, and forwards everything to `upstream`; also returns its own address.
    pub(crate) async fn start(upstream: String) -> (Tap, String) {
        let (tap, socket) = (Tap::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = format!("http://{}", socket.local_addr().unwrap());
        let shared = tap.clone();
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        tokio::spawn(async move {
            while let Ok((socket, _)) = socket.accept().await {
                let (tap, client, upstream) = (shared.clone(), client.clone(), upstream.clone());
                let service = service_fn(move |request| {
                    let (tap, client, upstream) = (tap.clone(), client.clone(), upstream.clone());
                    async move { Ok::<_, Infallible>(tap.pass(&client, &upstream, request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        (tap, address)
    }

    async fn pass(
        &self,
        client: &Client<HttpConnector, Full<Bytes>>,
        upstream: &str,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().unwrap().as_str().to_owned();
        let credential =
            head.headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
        self.seen.lock().unwrap().push((head.method.to_string(), target.clone(), credential));
        head.uri = format!("{upstream}{target}").parse().unwrap();
        let body = body.collect().await.unwrap().to_bytes();
        let (head, body) =
            client.request(Request::from_parts(head, Full::new(body))).await.unwrap().into_parts();
        Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
    }

    /// The installation tokens that passed through, each once, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> = Vec::new();
        for (_, _, credential) in self.seen.lock().unwrap().iter() {
            if credential.contains("ghs_") && !tokens.contains(credential) {
                tokens.push(credential.clone());
            }
        }
        tokens
    }
}
