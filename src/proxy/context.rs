//! What is known about a request beside its content. The stages fill it in, and respond reads it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::header::{AsHeaderName, HOST};
use http::{HeaderMap, Method, Uri, request};
use tokio::time::Instant;

use crate::audit::{Change, Record};
use crate::budget::{View, Wait};
use crate::cache::CacheResult;
use crate::config::{Agent, Server};
use crate::github::tokens::Token;
use crate::identity::Rejection;
use crate::policy::Class;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Operation;
use crate::policy::target::Prefix;

/// The connection a request came in on.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: IpAddr,
    /// Our own address and port on this connection.
    pub local: std::net::SocketAddr,
    pub is_tls: bool,
}

/// How a caller proved to be an agent.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// The key's SHA-256.
    Key([u8; 32]),
    Identity {
        issuer: Arc<str>,
        subject: Arc<str>,
    },
}

/// Accompanies one request through the stages.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) request_id: String,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    /// Scheme, host and port the client dialed; links in the answer must begin with them.
    pub(crate) origin: Option<String>,
    pub(crate) prefix: Prefix,
    pub(crate) is_graphql: bool,
    pub(crate) agent: Option<Arc<Agent>>,
    /// The credential that proved who the agent is.
    pub(crate) credential: Option<Credential>,
    /// The subject of the agent's signed identity.
    pub(crate) subject: Option<Arc<str>>,
    /// Why its signed identity was rejected; for the log only.
    pub(crate) rejection: Option<Rejection>,
    pub(crate) operation: Option<&'static Operation>,
    pub(crate) class: Option<Class>,
    /// The path as it was judged, for the audit log.
    pub(crate) path: String,
    /// The repository it is about, once its name is known.
    pub(crate) repository: Option<RepositoryName>,
    /// The branches it writes to, for the audit log.
    pub(crate) branches: Vec<String>,
    /// What its GraphQL document changes, for the audit log.
    pub(crate) changes: Vec<Change>,
    /// Its line in the audit log, once it is known to be a write.
    pub(crate) record: Option<Arc<Record>>,
    /// What policy would have refused, while it only observes.
    pub(crate) observed: Option<&'static str>,
    /// The token that a read was sent with early, so that an approved call doesn't go up with a
    /// token that GitHub has not spread to all its servers yet.
    pub(crate) tried: Option<Arc<Token>>,
    /// All that must be done before an approved call goes up has been done.
    pub(crate) is_committed: bool,
    /// Why the last call to GitHub failed, if one did; for the log only.
    pub(crate) cause: Option<String>,
    /// Time spent reading the caller's body.
    pub(crate) uploading: Duration,
    /// Time spent waiting for GitHub.
    pub(crate) upstream: Duration,
    /// Until when the budget may hold the request's calls, all of them together.
    pub(crate) hold_until: Instant,
    pub(crate) is_interactive: bool,
    /// Time the request was held: by the budget, between attempts, and until its approval's `iat`.
    pub(crate) held: Duration,
    /// The agent's standing in the pool the answer was charged to.
    pub(crate) view: Option<View>,
    /// What the cache did, once the guard has let the request pass.
    pub(crate) cache: Option<CacheResult>,
}

impl Context {
    pub(crate) fn new(head: &request::Parts, peer: &Peer, server: &Server) -> Context {
        let started = Instant::now();
        Context {
            request_id: new_request_id(),
            started,
            method: head.method.clone(),
            origin: origin(&head.headers, &head.uri, peer, server),
            prefix: Prefix::Root,
            // Errors to a GraphQL client have GraphQL's shape, even if the path turns out to be invalid.
            is_graphql: head.uri.path().ends_with("/graphql"),
            agent: None,
            credential: None,
            subject: None,
            rejection: None,
            operation: None,
            class: None,
            path: String::new(),
            repository: None,
            branches: Vec::new(),
            changes: Vec::new(),
            record: None,
            observed: None,
            tried: None,
            is_committed: false,
            cause: None,
            uploading: Duration::ZERO,
            upstream: Duration::ZERO,
            hold_until: started,
            is_interactive: false,
            held: Duration::ZERO,
            view: None,
            cache: None,
        }
    }

    /// The base URL of links in the answer.
    pub(crate) fn address(&self) -> Option<String> {
        Some([self.origin.as_ref()?, self.prefix.for_links()].concat())
    }

    /// Sets how long the caller lets itself be held, counted from now.
    pub(crate) fn hold(&mut self, wait: Wait) {
        self.hold_until = Instant::now() + wait.patience;
        self.is_interactive = wait.is_interactive;
    }
}

/// 128 random bits in hex.
pub(crate) fn new_request_id() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 16]>())
}

/// The address the client dialed: `public_url`, or what a trusted proxy says, or scheme and Host.
///
/// Over HTTP/2, `:authority` takes the place of Host (RFC 9113 §8.3.1).
fn origin(headers: &HeaderMap, uri: &Uri, peer: &Peer, server: &Server) -> Option<String> {
    if let Some(url) = &server.public_url {
        return Some(url.clone());
    }
    let trusted = server.trusted_proxies.iter().any(|network| network.contains(&peer.address));
    let forwarded = |name: &str| match trusted {
        true => single(headers, name).filter(|value| !value.contains(',')),
        false => None,
    };
    let scheme = match forwarded("x-forwarded-proto") {
        Some("https") => "https",
        Some("http") => "http",
        _ if peer.is_tls => "https",
        _ => "http",
    };
    let dialled = uri.authority().map(http::uri::Authority::as_str).or_else(|| single(headers, &HOST));
    let host = forwarded("x-forwarded-host").or(dialled)?;
    is_authority(host).then(|| [scheme, "://", host].concat())
}

/// A header that came exactly once.
fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    values.next().is_none().then_some(value)
}

/// `host`, `host:port` or `[v6]:port`; no user, no path.
pub(crate) fn is_authority(text: &str) -> bool {
    let (is_host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => (address.parse::<Ipv6Addr>().is_ok(), port),
        Some(None) => return false,
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (host.bytes().all(plain) && host.bytes().any(|byte| byte != b'.'), port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.len() <= 255 && is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_nothing_else() {
        for (host, sound) in [
            ("proxy:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("[::1", false),
            ("[::1]8080", false),
            ("[host]", false),
            ("a[::1]", false),
            ("x:+80", false),
            ("api.github.localhost", true),
            ("", false),
            ("user@host", false),
            ("host/path", false),
            ("host:port:more", false),
            ("a b", false),
            (":8080", false),
            ("[]", false),
            (".", false),
            ("x:", false),
            ("x:99999999", false),
        ] {
            assert_eq!(is_authority(host), sound, "{host:?}");
        }
    }
}
