//! An issuer of identity tokens on this machine, with its own keys and a URL that serves a key set.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate::clock::{Clock, SystemClock};

/// The `iss` of its tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// One ES256 key pair.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) private: EncodingKey,
    pub(crate) public: Value,
}

impl SigningKey {
    pub(crate) fn new(id: &str) -> SigningKey {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let public = Jwk::from_decoding_key(&DecodingKey::from_ec_der(pair.public_key_raw()), None).unwrap();
        let mut public = serde_json::to_value(public).unwrap();
        (public["kid"], public["use"]) = (json!(id), json!("sig"));
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        SigningKey { id: id.to_owned(), private, public }
    }

    /// A token as Kubernetes projects it, with a test's changes; null removes a claim.
    pub(crate) fn token(&self, change: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        (header.typ, header.kid) = (None, Some(self.id.clone()));
        self.token_with(&header, change)
    }

    pub(crate) fn token_with(&self, header: &Header, change: &Value) -> String {
        jsonwebtoken::encode(header, &claims(change), &self.private).unwrap()
    }
}

pub(crate) fn claims(change: &Value) -> Value {
    let now = SystemClock.now_seconds();
    let mut claims = json!({
        "iss": ISSUER, "aud": ["tollgate"], "sub": "system:serviceaccount:agents:reviewer-1",
        "iat": now, "nbf": now, "exp": now + 3600, "jti": format!("{:032x}", rand::random::<u128>()),
        "kubernetes.io": { "namespace": "agents", "pod": { "name": "reviewer-1" } },
    });
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub(crate) fn key_set(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| &key.public).collect::<Vec<_>>() }).to_string()
}

/// Serves a key set, and counts the requests for it.
#[derive(Clone, Default)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    body: Arc<Mutex<String>>,
    is_away: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    pub(crate) async fn start(keys: &[&SigningKey]) -> Endpoint {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/openid/v1/jwks", socket.local_addr().unwrap());
        let endpoint = Endpoint { url, ..Endpoint::default() };
        endpoint.publish(keys);
        let shared = endpoint.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = socket.accept().await {
                let endpoint = shared.clone();
                if endpoint.is_away() {
                    endpoint.asked.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let service = service_fn(move |_request| {
                    endpoint.asked.fetch_add(1, Ordering::SeqCst);
                    let body = Bytes::from(endpoint.body.lock().unwrap().clone());
                    let is_away = endpoint.is_away();
                    async move {
                        let mut answer = Response::new(Full::new(body));
                        if is_away {
                            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                        }
                        Ok::<_, Infallible>(answer)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        endpoint
    }

    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        *self.body.lock().unwrap() = key_set(keys);
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn is_away(&self) -> bool {
        self.is_away.load(Ordering::SeqCst)
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
