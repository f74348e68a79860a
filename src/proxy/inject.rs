//! Stage 7, with whose rights: takes an admitted call, gives the [`UpstreamRequest`] that may be sent.
//!
//! Only this file can make an `UpstreamRequest`. It holds nothing of the caller's framing,
//! credentials or hop-by-hop headers: the target is rebuilt from its parsed form, headers go up by
//! allow-list, and the installation token is attached here.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Empty, Full};

use super::Proxy;
use super::admit::Admitted;
use super::body::Progress;
use super::classify::{Call, CallBody, media_type};
use super::guard::Permitted;
use super::gzip;
use super::lookup::Read;
use crate::cache::etag;
use crate::cache::key::VARIED_BY;
use crate::error::ProxyError;
use crate::github::apps::{AppError, OWN_USER_AGENT};
use crate::github::client::RequestBody;
use crate::github::tokens::{Token, Tokens};
use crate::policy::routes::Scope;
use crate::secret::holds_credential;

/// Headers of the caller that go up, beside those that vary the answer. All others stay here, and
/// so do values that hold an agent's credential.
static FORWARDED: [HeaderName; 4] =
    [CONTENT_TYPE, USER_AGENT, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];
/// The caller's conditions on what it has already. Reads through the cache don't pass them on.
static CONDITIONS: [HeaderName; 5] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE];
static API_VERSION: HeaderName = HeaderName::from_static("x-github-api-version");

/// A request that may be sent to GitHub: charged, cleaned, and with a credential.
#[derive(Debug)]
pub(crate) struct UpstreamRequest {
    request: Request<RequestBody>,
    token: Arc<Token>,
    progress: Option<Arc<Progress>>,
}

impl UpstreamRequest {
    pub(super) fn into_parts(self) -> (Request<RequestBody>, Arc<Token>, Option<Arc<Progress>>) {
        (self.request, self.token, self.progress)
    }
}

impl Proxy {
    pub(super) async fn inject(
        &self,
        permitted: &mut Permitted,
        _paid: &Admitted,
        read: Option<&mut Read>,
    ) -> Result<UpstreamRequest, ProxyError> {
        let token = self.token_for(permitted).await?;
        let call = permitted.call();
        let mut headers = match read {
            None => self.headers_of_call(&call.headers),
            Some(read) => {
                let mut headers = read.headers.clone();
                read.ask(self, permitted, &token, &mut headers);
                headers
            }
        };
        headers.insert(AUTHORIZATION, token.authorization());
        set_content_type(&mut headers, call);
        let (method, uri) = (call.method.clone(), self.uri_up(permitted)?);
        let (body, progress) = take_body(permitted.body_mut())?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(UpstreamRequest { request, token, progress })
    }

    /// A token for the agent's repositories or, if GitHub does not know one of them, for the one
    /// that the call names.
    pub(super) async fn token_for(&self, permitted: &mut Permitted) -> Result<Arc<Token>, ProxyError> {
        self.renew_credential(permitted).await?;
        match mint(&self.tokens, permitted).await {
            Ok(token) => Ok(token),
            Err(error) if error.is_about_a_name() && permitted.token_repositories().is_some() => {
                if permitted.narrow_to_repository() {
                    return mint(&self.tokens, permitted).await.map_err(|error| {
                        match error.is_about_a_name() {
                            true => not_covered(permitted),
                            false => self.unavailable(&error),
                        }
                    });
                }
                Err(not_covered(permitted))
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    fn headers_of_call(&self, from: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers_up(from, &CONDITIONS);
        // Without its condition, a range could be of another representation than the one the caller
        // has the rest of. The whole is as good an answer (RFC 9110 §13.1.5, §14.2).
        if from.contains_key(IF_RANGE) {
            headers.remove(RANGE);
        }
        // A tag of our own, from an answer through the cache, says nothing to GitHub.
        if etag::names_own(from) {
            // Beside which the other condition does not count (RFC 9110 §13.1.3).
            headers.remove(IF_NONE_MATCH);
            headers.remove(IF_MODIFIED_SINCE);
        }
        if gzip::is_accepted(from) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers
    }

    /// The headers that go up for a read through the cache, which asks for what it keeps, whatever the caller has.
    pub(super) fn headers_of_read(&self, from: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers_up(from, &[]);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers
    }

    fn headers_up(&self, from: &HeaderMap, conditions: &[HeaderName]) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(VARIED_BY.len() + FORWARDED.len() + CONDITIONS.len() + 3);
        for (name, value) in from {
            let goes_up = VARIED_BY.contains(name) || FORWARDED.contains(name) || conditions.contains(name);
            if goes_up && !holds_credential(value.as_bytes()) {
                headers.append(name, value.clone());
            }
        }
        let version = from
            .get(&API_VERSION)
            .cloned()
            .filter(|version| !version.is_empty() && !holds_credential(version.as_bytes()));
        headers.insert(&API_VERSION, version.unwrap_or_else(|| self.api_version.clone()));
        // GitHub refuses calls without a user agent.
        if headers.get(USER_AGENT).is_none_or(HeaderValue::is_empty) {
            headers.insert(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT));
        }
        headers
    }

    /// The upstream address, rebuilt from what was judged.
    fn uri_up(&self, permitted: &Permitted) -> Result<Uri, ProxyError> {
        let call = permitted.call();
        let upstream = &self.upstream;
        let is_graphql = matches!(call.route.scope, Scope::Graphql);
        let base = if is_graphql {
            &upstream.graphql_url
        } else if call.route.operation.uploads {
            &upstream.uploads_url
        } else {
            &upstream.api_url
        };
        let mut path = base.path().to_owned();
        if !is_graphql {
            path.truncate(path.trim_end_matches('/').len());
            path.push_str(call.target.path());
        }
        if let Some(query) = call.target.query() {
            path.push('?');
            path.push_str(query);
        }
        at_base(base, path)
            .map_err(|_| ProxyError::BadRequest("The request target can't be forwarded.".to_owned()))
    }
}

async fn mint(tokens: &Arc<Tokens>, permitted: &Permitted) -> Result<Arc<Token>, Arc<AppError>> {
    let repositories = permitted.token_repositories().cloned();
    tokens.token(permitted.installation(), permitted.access(), repositories).await
}

/// `path`, which may include a query, at the host of `base`.
fn at_base(base: &Uri, path: String) -> Result<Uri, http::Error> {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(path))?);
    Ok(Uri::from_parts(parts)?)
}

/// The operation whose body is not JSON.
const PLAIN_TEXT: &str = "markdown/render-raw";

/// The API reads JSON whatever type the request states, and clients state many: curl says it is a
/// form, in which some servers look for another method. So it goes up labeled as JSON.
fn set_content_type(headers: &mut HeaderMap, call: &Call) {
    let operation = call.route.operation;
    if operation.uploads {
        return;
    }
    let essence = media_type(headers, CONTENT_TYPE).filter(|_| operation.id == PLAIN_TEXT);
    let content_type = match essence.as_deref() {
        Some("text/x-markdown") => "text/x-markdown",
        _ if operation.id == PLAIN_TEXT => "text/plain",
        _ => "application/json",
    };
    if matches!(call.body, CallBody::Empty) {
        headers.remove(CONTENT_TYPE);
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
}

fn take_body(body: &mut CallBody) -> Result<(RequestBody, Option<Arc<Progress>>), ProxyError> {
    match body {
        CallBody::Empty => Ok((Empty::new().map_err(|never| match never {}).boxed_unsync(), None)),
        CallBody::Whole(bytes) => {
            Ok((Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(), None))
        }
        CallBody::Stream(stream) => {
            let stream = stream.take().ok_or(ProxyError::Internal)?;
            let progress = Progress::new();
            let body = stream.reporting(Arc::clone(&progress));
            Ok((
                body.map_err(|error| -> crate::github::client::BoxError { Box::new(error) }).boxed_unsync(),
                Some(progress),
            ))
        }
    }
}

/// The error when the App is installed for the owner, but not on this repository.
fn not_covered(permitted: &Permitted) -> ProxyError {
    ProxyError::NoInstallation(format!(
        "The installation {} does not cover this repository, or, where none is named, not all of agent {}'s: it \
         was renamed, removed, or not selected for the App.",
        permitted.installation().label,
        permitted.agent().name
    ))
}
