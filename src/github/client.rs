//! The pooled HTTP client to GitHub.
//!
//! HTTP/1.1 on purpose: at most about ninety calls of an installation are in flight, and losing one HTTP/2
//! connection would leave the outcome of all of them unknown at once. The client never repeats a request by
//! itself, since every attempt is charged; see [`crate::proxy`] for deliberate retries.

mod body;
mod connection;
mod pool;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use crate::config::Upstream;
pub use body::AnswerBody;
use pool::Pool;
use resolver::Resolver;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request to GitHub.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Sends requests unchanged; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pool: Arc<Pool>,
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("its address is not absolute")]
    Address,
    #[error("no connection")]
    Connect(#[source] BoxError),
    #[error("the connection broke before an answer")]
    Broke(#[source] hyper::Error),
}

impl SendError {
    /// Whether the request certainly never reached GitHub.
    pub fn was_unsent(&self) -> bool {
        match self {
            SendError::Address | SendError::Connect(_) => true,
            SendError::Broke(error) => error.is_canceled(),
        }
    }
}

/// What to change when there is no TLS with GitHub, by what rustls says (`with_causes`); empty if that is not why.
pub(crate) fn hint(causes: &str) -> &'static str {
    let says = |words: &str| causes.contains(words);
    if says("CaUsedAsEndEntity") {
        ". The server shows the certificate of an authority: let that sign one for the server, and name the authority's \
         in `upstream.ca_file`"
    } else if says("invalid peer certificate: UnknownIssuer") {
        ". If an authority of your own signed the certificate, name that in `upstream.ca_file`"
    } else if says("corrupt message of type InvalidContentType") {
        ". What answers there speaks no TLS: if that is meant, write http:// in `upstream.api_url`"
    } else {
        ""
    }
}

/// Why the client could not be created.
#[derive(Debug, Error)]
#[error("{path}: {why}")]
pub struct CaError {
    /// Path of the setting in the configuration.
    path: &'static str,
    why: String,
}

impl HttpClient {
    /// A client for GitHub.
    ///
    /// # Errors
    /// As for [`HttpClient::with`].
    pub fn try_new(upstream: &Upstream) -> Result<HttpClient, CaError> {
        HttpClient::with("upstream.ca_file", upstream.ca_pem.as_deref(), upstream.connect_timeout)
    }

    /// A client for another server; trusts the public certificate authorities and those in `ca_pem`. Errors name
    /// the setting at `path`.
    ///
    /// # Errors
    /// When the authorities in `ca_pem` can't be used.
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
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(GaiResolver::new(), connect_timeout));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(HttpClient { pool: Arc::new(Pool::new(connector, connect_timeout)) })
    }

    /// Sends one request, once; its URI must be absolute.
    ///
    /// # Errors
    /// When no connection can be made, or it breaks before the head of the answer.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<AnswerBody>, SendError> {
        let mut connection = self.pool.connection(request.uri()).await?;
        let mut answer = connection.send(request).await.map_err(SendError::Broke)?;
        // Its framing was the transfer coding's; passed on, the length would cut the body (RFC 9112 §6.3).
        if answer.headers().contains_key(TRANSFER_ENCODING) {
            answer.headers_mut().remove(CONTENT_LENGTH);
        }
        Ok(answer.map(|body| AnswerBody::new(body, connection, &self.pool)))
    }
}

#[cfg(test)]
mod tests;
