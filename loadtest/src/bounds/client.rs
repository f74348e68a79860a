//! One connection to tollgate, with HTTP/1.1 on it.

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::process::Target;

/// A connection; it is closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection<B> {
    sender: SendRequest<B>,
    running: JoinHandle<()>,
    host: String,
    key: String,
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    /// Carries the agent's key.
    pub(crate) async fn open(target: &Target) -> anyhow::Result<Connection<B>> {
        let socket = TcpStream::connect(target.address).await.context("no connection to tollgate")?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        let running = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            running,
            host: target.address.to_string(),
            key: target.key.expose().to_owned(),
        })
    }

    /// Carries another key.
    pub(crate) fn set_key(&mut self, key: String) {
        self.key = key;
    }

    pub(crate) async fn send(
        &mut self,
        request: http::request::Builder,
        body: B,
    ) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await?;
        let bearer = format!("Bearer {}", self.key);
        let request = request.header(HOST, &self.host).header(AUTHORIZATION, bearer).body(body)?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A GET, and its whole answer.
pub(crate) async fn get(connection: &mut Connection<Empty<Bytes>>, path: &str) -> anyhow::Result<StatusCode> {
    let response = connection.send(Request::get(path), Empty::new()).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}
