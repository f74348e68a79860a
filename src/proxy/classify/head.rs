//! Checks of a request's head: its target, and headers that two readers could understand differently.

use http::header::{CONTENT_ENCODING, HOST, HeaderName};
use http::{HeaderMap, Method, Uri, Version, request};
use percent_encoding::percent_decode_str;

use super::bad;
use crate::error::ProxyError;
use crate::policy::target::{TARGET_BYTES_MAX, Target};
use crate::proxy::Proxy;
use crate::proxy::context::Peer;
use crate::proxy::listener::{FIELDS_MAX, HEAD_BYTES_MAX};
use crate::secret::holds_credential;

/// Headers that must not come twice: two readers could each take a different one.
static SINGLE: [HeaderName; 9] = [
    HeaderName::from_static("accept-language"),
    HeaderName::from_static("content-type"),
    HeaderName::from_static("content-encoding"),
    HeaderName::from_static("if-modified-since"),
    HeaderName::from_static("if-unmodified-since"),
    HeaderName::from_static("range"),
    HeaderName::from_static("user-agent"),
    HeaderName::from_static("x-github-api-version"),
    HeaderName::from_static("expect"),
];

/// Headers by which some servers let a POST stand for another method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];

impl Proxy {
    /// The target in origin form, or in absolute form when it names this listener (RFC 9112 §3.2).
    pub(super) fn read_target(&self, head: &request::Parts, peer: &Peer) -> Result<Target, ProxyError> {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        if !known.contains(&head.method) {
            return Err(bad("The API takes GET, HEAD, POST, PUT, PATCH and DELETE."));
        }
        let uri = &head.uri;
        if length_of(uri) > TARGET_BYTES_MAX {
            return Err(ProxyError::UriTooLong);
        }
        if head.version >= Version::HTTP_2 {
            check_http2(head)?;
        } else if !self.is_own_authority(uri, peer) {
            return Err(bad("The request names another host; only this proxy's own address is served."));
        }
        let target = Target::parse(uri.path(), uri.query())
            .map_err(|error| bad(&format!("The request is ambiguous: {error}.")))?;
        let query = target.query().map(|query| percent_decode_str(query).collect::<Vec<u8>>());
        if holds_credential(target.path().as_bytes()) || query.is_some_and(|query| holds_credential(&query)) {
            return Err(bad("Don't put a key in the URL; send it in the Authorization header."));
        }
        Ok(target)
    }

    fn is_own_authority(&self, uri: &Uri, peer: &Peer) -> bool {
        let Some(authority) = uri.authority() else {
            return true;
        };
        let named = authority.as_str().to_ascii_lowercase();
        let port = peer.local.port();
        let own = [
            peer.local.to_string(),
            format!("localhost:{port}"),
            "api.github.localhost".to_owned(),
            "api.github.localhost:80".to_owned(),
            format!("api.github.localhost:{port}"),
        ];
        let public = self.rules.server.public_url.as_deref().and_then(|url| url.split_once("://"));
        uri.scheme_str() == Some(if peer.is_tls { "https" } else { "http" })
            && (own.contains(&named) || public.is_some_and(|(_, host)| host.eq_ignore_ascii_case(&named)))
    }
}

/// The length of path and query, in bytes.
pub(super) fn length_of(uri: &Uri) -> usize {
    uri.path().len() + uri.query().map_or(0, str::len)
}

/// Checks for HTTP/2 the bounds and the single Host that `framing` checks for HTTP/1.1.
fn check_http2(head: &request::Parts) -> Result<(), ProxyError> {
    let size: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > HEAD_BYTES_MAX || head.headers.len() > FIELDS_MAX {
        return Err(ProxyError::HeadersTooLarge);
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let mut hosts: Vec<&[u8]> = head.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes).collect();
    hosts.extend(authority.map(str::as_bytes));
    match hosts.as_slice() {
        [_] => Ok(()),
        [host, authority] if host.eq_ignore_ascii_case(authority) => Ok(()),
        _ => Err(bad("There must be exactly one host: `:authority`, and the same in Host if that is sent.")),
    }
}

/// Refuses headers that must not come at all, or not twice.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), ProxyError> {
    // The usual case: each header came once.
    if headers.len() > headers.keys_len() {
        let repeated = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some());
        if let Some(name) = repeated {
            return Err(bad(&format!("The header {name} came more than once.")));
        }
    }
    let harmless = [b"GET".as_slice(), b"HEAD"];
    for (name, value) in headers {
        if METHOD_OVERRIDES.contains(&name.as_str())
            && !harmless.iter().any(|method| value.as_bytes().eq_ignore_ascii_case(method))
        {
            return Err(bad(&format!("The method can't be overridden by {name}.")));
        }
    }
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity" && !value.is_empty());
    if encoded {
        return Err(bad("A compressed request body is not taken; send it plain."));
    }
    Ok(())
}
