//! The listener's certificate: reads it, checks it, and reloads it when its files change.
//!
//! A new pair of files takes effect with the next handshake; open connections keep the old one. A pair that does
//! not match, or has expired, changes nothing but the log.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::metrics::Metrics;
use crate::secret;

/// How often the files are read. A mounted secret is swapped by a symbolic link, which a watch on the file itself
/// does not see, so tollgate polls.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Paths of the certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM, the server's own certificate first.
    pub cert_file: PathBuf,
    /// Why a certificate and key can't be used.
    pub key_file: PathBuf,
}

/// Why a pair can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsError {
    #[error("{0}")]
    Unreadable(String),
    #[error("`{0}` holds no certificate (PEM)")]
    NoCertificate(String),
    #[error("`{0}` holds no private key (PEM)")]
    NoKey(String),
    #[error("`{0}` holds a certificate that can't be read")]
    Damaged(String),
    #[error("the certificate in `{file}` ended at {end}")]
    Ended { file: String, end: String },
    #[error("certificate and key do not belong together")]
    Mismatch,
}

/// A pair that can be served, and its validity in epoch seconds.
struct Sound {
    key: CertifiedKey,
    from: i64,
    to: i64,
}

/// A pair as read, kept to detect a change.
#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    /// Reads the pair and checks that it can be served at `now_seconds`.
    pub fn check(&self, now_seconds: i64) -> Result<(), TlsError> {
        self.certified(&self.read()?, now_seconds).map(drop)
    }

    fn read(&self) -> Result<Pair, TlsError> {
        let read = |path: &PathBuf| secret::read_bytes(path).map_err(TlsError::Unreadable);
        Ok(Pair { certificate: read(&self.cert_file)?, key: read(&self.key_file)? })
    }

    fn certified(&self, pair: &Pair, now_seconds: i64) -> Result<Sound, TlsError> {
        let (cert_file, key_file) =
            (self.cert_file.display().to_string(), self.key_file.display().to_string());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Damaged(cert_file.clone()))?;
        let own = chain.first().ok_or_else(|| TlsError::NoCertificate(cert_file.clone()))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| TlsError::Damaged(cert_file.clone()))?;
        let (start, end) = (parsed.validity().not_before, parsed.validity().not_after);
        if end.timestamp() <= now_seconds {
            return Err(TlsError::Ended { file: cert_file, end: end.to_string() });
        }
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| TlsError::NoKey(key_file.clone()))?;
        let provider = crypto::aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
            _ => TlsError::NoKey(key_file),
        })?;
        Ok(Sound { key, from: start.timestamp(), to: end.timestamp() })
    }
}

/// Serves the newest valid pair.
pub struct Certificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificate {
    pub fn try_new(
        files: TlsFiles,
        now_seconds: i64,
        metrics: Arc<Metrics>,
    ) -> Result<Certificate, TlsError> {
        let sound = files.certified(&files.read()?, now_seconds)?;
        export(&metrics, &sound);
        Ok(Certificate { files, current: ArcSwap::from_pointee(sound.key), metrics })
    }

    /// The configuration of a listener that serves this certificate, over HTTP/2 or HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reloads changed files; runs until dropped.
    pub async fn watch(self: Arc<Self>, clock: Arc<dyn crate::clock::Clock>) {
        let mut seen = self.files.read().ok();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Ok(pair) = self.files.read() else { continue };
            if seen.as_ref() == Some(&pair) {
                continue;
            }
            match self.files.certified(&pair, clock.now_seconds()) {
                Ok(sound) => {
                    export(&self.metrics, &sound);
                    self.current.store(Arc::new(sound.key));
                    tracing::info!("the listener's certificate was renewed");
                }
                // The two files may be replaced one after the other; the next read then sees both.
                Err(error) => tracing::warn!(%error, "the new certificate is not used; the old one stays"),
            }
            seen = Some(pair);
        }
    }
}

fn export(metrics: &Metrics, sound: &Sound) {
    metrics.certificate_start.with_label_values::<&str>(&[]).set(sound.from);
    metrics.certificate_expiry.with_label_values::<&str>(&[]).set(sound.to);
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}
