//! One connection to GitHub, or to another server.

use std::future::poll_fn;
use std::mem;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use tower::Service;

use super::resolver::Resolver;
use super::{BoxError, RequestBody};

pub(super) type Connector = HttpsConnector<HttpConnector<Resolver<GaiResolver>>>;

/// Bytes read ahead of a slow caller on a connection; also the longest head of an answer.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;

/// Where a connection leads: scheme and authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// The origin of an absolute URI; `None` for any other.
    pub(super) fn of(uri: &Uri) -> Option<Origin> {
        Some(Origin { scheme: uri.scheme()?.clone(), authority: uri.authority()?.clone() })
    }

    fn root(&self) -> Result<Uri, http::Error> {
        let origin = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        origin.path_and_query("/").build()
    }

    /// The value of `Host`: without a default port (RFC 9110 §4.2, §7.2).
    fn host(&self) -> Result<HeaderValue, BoxError> {
        let default = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match self.authority.port_u16() {
            Some(port) if port != default => format!("{}:{port}", self.authority.host()),
            _ => self.authority.host().to_owned(),
        };
        Ok(HeaderValue::try_from(host)?)
    }
}

/// A connection, which takes one request at a time. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    origin: Origin,
    host: HeaderValue,
    sender: SendRequest<RequestBody>,
}

impl Connection {
    pub(super) async fn open(mut connector: Connector, origin: Origin) -> Result<Connection, BoxError> {
        let (root, host) = (origin.root()?, origin.host()?);
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        let stream = connector.call(root).await?;
        let mut http = http1::Builder::new();
        let (sender, connection) = http.max_buf_size(READ_AHEAD_BYTES_MAX).handshake(stream).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to GitHub ended early");
            }
        });
        Ok(Connection { origin, host, sender })
    }

    pub(super) fn leads_to(&self, origin: &Origin) -> bool {
        self.origin == *origin
    }

    /// Whether another request may be sent now, as far as the server has let us know.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until another request may be sent; `false` if the connection is closed.
    pub(super) async fn becomes_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends `request`, whose URI may be absolute, and waits for the head of the answer.
    pub(super) fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, hyper::Error>> + use<> {
        let target = mem::take(request.uri_mut()).into_parts().path_and_query;
        *request.uri_mut() = target.map_or_else(Uri::default, Uri::from);
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.send_request(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_a_port_only_where_it_is_not_the_scheme_s() {
        for (address, host) in [
            ("https://api.github.com/x", "api.github.com"),
            ("https://api.github.com:443", "api.github.com"),
            ("https://api.github.com:80", "api.github.com:80"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("https://who:ever@ghes.test:8443/api/v3", "ghes.test:8443"),
        ] {
            let origin = Origin::of(&address.parse().unwrap()).unwrap();
            assert_eq!(origin.host().unwrap(), host, "{address}");
        }
        assert_eq!(Origin::of(&Uri::from_static("/x")), None);
    }
}
