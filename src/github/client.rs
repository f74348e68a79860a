//! The pooled HTTP client to GitHub.
//!
//! HTTP/1.1 on purpose: at most some ninety calls of an installation are in flight, and one lost
//! HTTP/2 connection would leave all of them in doubt at once. The client never repeats a request by
//! itself, since every attempt is charged; see [`crate::proxy`] for the attempts made knowingly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::config::Upstream;

/// How long an unused connection stays in the pool; below the minute after which GitHub's close.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// Unused connections kept for a host.
const POOL_IDLE_MAX: usize = 128;

/// Read ahead of a slow caller on a connection; also the longest head of an answer.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way to GitHub.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Sends requests as they are; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Arc<Client<HttpsConnector<HttpConnector>, RequestBody>>,
}

/// Why the client could not be made.
#[derive(Debug, Error)]
#[error("{path}: {why}")]
pub struct CaError {
    /// Of the configuration.
    path: &'static str,
    why: String,
}

impl HttpClient {
    /// To GitHub.
    ///
    /// # Errors
    /// As [`HttpClient::with`].
    pub fn try_new(upstream: &Upstream) -> Result<HttpClient, CaError> {
        HttpClient::with("upstream.ca_file", upstream.ca_pem.as_deref(), upstream.connect_timeout)
    }

    /// To somebody else, trusting the public authorities and those that the configuration names at `path`.
    ///
    /// # Errors
    /// When these can't be used.
    pub fn with(
        path: &'static str,
        ca_pem: Option<&[u8]>,
        connect_timeout: Duration,
    ) -> Result<HttpClient, CaError> {
        let fail = |why: &dyn std::fmt::Display| CaError { path, why: why.to_string() };
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = ca_pem {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| fail(&error))?;
                roots.add(certificate).map_err(|error| fail(&error))?;
            }
        }
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .http1_max_buf_size(READ_AHEAD_BYTES_MAX)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_MAX)
            .build(connector);
        Ok(HttpClient { inner: Arc::new(inner) })
    }

    /// Sends one request, once.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Error> {
        self.inner.request(request).await
    }
}

/// Whether a failed call certainly never reached GitHub.
pub fn was_unsent(error: &Error) -> bool {
    error.is_connect() || hyper_cause(error).is_some_and(hyper::Error::is_canceled)
}

fn hyper_cause(error: &Error) -> Option<&hyper::Error> {
    std::error::Error::source(error)?.downcast_ref::<hyper::Error>()
}
