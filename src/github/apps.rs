//! Calls that a GitHub App makes as itself: with a JWT signed by its private key, never on behalf of an agent.
//!
//! Source: GitHub Docs, "Generating a JSON Web Token (JWT) for a GitHub App": RS256, `iat` a minute in the past
//! against clock drift, `exp` at most ten minutes ahead, `iss` the client ID or App ID.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde::Serialize;
use thiserror::Error;
use tokio::sync;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::client::{self, HttpClient};
use super::rate_limit;
use crate::clock::Clock;
use crate::config::{self, PrivateKey};
use crate::error::with_causes;
use crate::retry::{Policy, is_transient};
use crate::secret;

/// `User-Agent` of our own calls.
pub const OWN_USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// The API version that our own calls are written for.
pub const OWN_API_VERSION: &str = "2022-11-28";
/// What a question for all installations is called.
pub(crate) const THE_LIST: &str = "the list of installations";
/// Longest answer to a call of our own, in bytes; a page of a hundred installations takes some 300 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How far back `iat` lies.
const BACKDATED_SECONDS: i64 = 60;
/// How far ahead `exp` lies: a minute less than GitHub's ten, in case our clock is fast.
const VALID_SECONDS: i64 = 540;

/// For so long a JWT serves further calls, in seconds: to sign takes a millisecond, and to find out who serves an owner
/// takes many calls. Then the key's file is read again.
const SERVES_SECONDS: i64 = 240;

/// How a call of the App's own is made again. Agents wait for it, so an attempt that took longer is not followed by another.
const RETRY: config::Retry = config::Retry {
    max_attempts: 3,
    base_delay: Duration::from_millis(200),
    max_delay: Duration::from_secs(1),
};
const REPEATED_WITHIN: Duration = Duration::from_secs(2);

/// Why a call as the App failed. The texts are for the log; they hold no credential.
#[derive(Debug, Clone, Error)]
pub enum AppError {
    #[error("the private key of app `{app}` can't be used: {why}")]
    Key { app: String, why: String },
    #[error("GitHub could not be reached: {causes}{hint}", causes = .0, hint = client::hint(.0))]
    Unreachable(String),
    #[error("GitHub did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// GitHub refused a call for a limit. No call is made before `until`, UTC epoch seconds.
    #[error(
        "GitHub limits the calls that app `{app}` makes as itself; the next is made at {until} (UTC epoch seconds)"
    )]
    Limited { app: String, until: i64 },
    #[error("GitHub answered {status} to {what}: {message}{}", hint(*.status, .what, .message))]
    Refused { status: StatusCode, what: &'static str, message: String },
    /// GitHub refused a token with permissions that the installation does not have, and the configuration names such.
    #[error(
        "GitHub gives no token, since `{setting}` of the App names what was not granted to it: {names}. Grant it in the \
         App's settings, and accept that on the account it is installed on, or take it out of the file"
    )]
    NotGranted { setting: &'static str, names: String },
    #[error(
        "too many unknown owners were asked for within a minute, and app `{0}` has installations that its list does not \
         tell of; ask again in a minute"
    )]
    NotListed(String),
    #[error("GitHub's answer to {0} can't be read: {1}")]
    Garbled(&'static str, String),
}

impl AppError {
    /// A status that is no success; `what` was asked for.
    pub(crate) fn refused(status: StatusCode, what: &'static str, body: &[u8]) -> AppError {
        AppError::Refused { status, what, message: message_of(body) }
    }

    /// Whether GitHub gave no answer to the question: none came, or it was about GitHub's own state.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            AppError::Unreachable(_) | AppError::Timeout(_) | AppError::Limited { .. } => true,
            AppError::Refused { status, .. } => status.is_server_error(),
            AppError::Key { .. }
            | AppError::NotGranted { .. }
            | AppError::NotListed(_)
            | AppError::Garbled(..) => false,
        }
    }

    /// Whether a token was refused for its permissions.
    pub(crate) fn is_about_permissions(&self) -> bool {
        match self {
            AppError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, message, .. } => {
                message.contains("permission")
            }
            _ => false,
        }
    }

    /// Whether a token was refused since GitHub shows the App no repository of a name that it was to be narrowed to.
    /// GitHub answers the same status if the permissions asked for were not granted (GitHub Docs, "Create an
    /// installation access token for an app").
    pub(crate) fn is_about_a_name(&self) -> bool {
        match self {
            AppError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, message, .. } => {
                message.contains("repositor") && !self.is_about_permissions()
            }
            _ => false,
        }
    }
}

/// One App, able to sign its JWTs.
#[derive(Debug)]
pub struct App {
    pub name: String,
    /// Tells it from all others that there ever were in this process, also from one that had its name.
    pub serial: u64,
    pub read_permissions: Option<BTreeMap<String, String>>,
    pub write_permissions: Option<BTreeMap<String, String>>,
    issuer: String,
    key: PrivateKey,
    /// The last key that worked, used while a new file is being written or is invalid.
    last_good: Mutex<Option<EncodingKey>>,
    /// The last JWT. Those who need one wait for whoever signs it.
    jwt: sync::Mutex<Option<Jwt>>,
    /// No call is made before this time, UTC epoch seconds: GitHub bans Apps that go on calling during a limit.
    limited_until: AtomicI64,
    client: HttpClient,
    api_url: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Jwt {
    authorization: HeaderValue,
    /// Epoch seconds.
    signed_at: i64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl App {
    pub fn new(
        app: config::App,
        client: HttpClient,
        upstream: &config::Upstream,
        clock: Arc<dyn Clock>,
    ) -> App {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        App {
            name: app.name,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            read_permissions: app.read_permissions,
            write_permissions: app.write_permissions,
            issuer: app.issuer,
            key: app.private_key,
            last_good: Mutex::new(None),
            jwt: sync::Mutex::new(None),
            limited_until: AtomicI64::new(0),
            client,
            api_url: upstream.api_url.to_string().trim_end_matches('/').to_owned(),
            timeout: upstream.request_timeout,
            clock,
        }
    }

    /// What the App's tokens depend on, besides what GitHub grants it.
    pub fn identity(&self) -> impl Hash + '_ {
        (&self.issuer, &self.read_permissions, &self.write_permissions)
    }

    /// Whether this App is configured exactly like `config`.
    pub fn is(&self, config: &config::App) -> bool {
        let config::App { name, issuer, private_key, read_permissions, write_permissions } = config;
        (&self.name, &self.issuer, &self.key) == (name, issuer, private_key)
            && (&self.read_permissions, &self.write_permissions) == (read_permissions, write_permissions)
    }

    /// Calls the API as the App; returns status and body. An error status is not an `Err`. The App's calls change
    /// nothing that would have to be undone, so those that break off or meet a failing server are made again, and so is
    /// one that GitHub refuses with a JWT of earlier: the key may have been replaced.
    ///
    /// # Errors
    /// When there is no answer, or GitHub refuses for a limit; then every call fails until that limit is over.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Bytes), AppError> {
        let (policy, started) = (Policy::new(RETRY), Instant::now());
        let (mut attempt, mut may_be_outlived) = (1, true);
        loop {
            self.check_limit()?;
            let (authorization, is_fresh) = self.authorization().await?;
            let answered = self.call_once(method.clone(), path, body, &authorization).await;
            if matches!(answered, Ok((StatusCode::UNAUTHORIZED, _))) {
                self.forget(&authorization).await;
                if !is_fresh && may_be_outlived {
                    may_be_outlived = false;
                    continue;
                }
            }
            let has_failed = match &answered {
                Ok((status, _)) => is_transient(*status),
                Err(error) => matches!(error, AppError::Unreachable(_)),
            };
            let may_repeat = has_failed && started.elapsed() < REPEATED_WITHIN;
            match policy.delay(attempt, None, rand::random()).filter(|_| may_repeat) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return answered,
            }
            attempt += 1;
        }
    }

    async fn call_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        authorization: &HeaderValue,
    ) -> Result<(StatusCode, Bytes), AppError> {
        let uri: Uri = format!("{}{path}", self.api_url)
            .parse()
            .map_err(|error: http::uri::InvalidUri| AppError::Unreachable(error.to_string()))?;
        let bytes = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        let mut request = Request::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT));
        headers.insert("x-github-api-version", HeaderValue::from_static(OWN_API_VERSION));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let exchange = async {
            let answer = self
                .client
                .send(request)
                .await
                .map_err(|error| AppError::Unreachable(with_causes(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| AppError::Unreachable(with_causes(&*error)))?.to_bytes();
            Ok((rate_limit::read(head.status, &head.headers, Some(&body), false), body))
        };
        let answered = tokio::time::timeout(self.timeout, exchange).await;
        let (reading, body) = answered.map_err(|_| AppError::Timeout(self.timeout))??;
        let now = self.clock.now_seconds();
        match reading.pause(now).map(|pause| now.saturating_add_unsigned(pause)) {
            None => Ok((reading.status, body)),
            Some(until) => {
                self.limited_until.fetch_max(until, Ordering::Relaxed);
                Err(self.limited(until))
            }
        }
    }

    fn check_limit(&self) -> Result<(), AppError> {
        let until = self.limited_until.load(Ordering::Relaxed);
        match self.clock.now_seconds() < until {
            true => Err(self.limited(until)),
            false => Ok(()),
        }
    }

    fn limited(&self, until: i64) -> AppError {
        AppError::Limited { app: self.name.clone(), until }
    }

    /// A JWT, and whether it was signed for this call.
    async fn authorization(&self) -> Result<(HeaderValue, bool), AppError> {
        let now = self.clock.now_seconds();
        let mut jwt = self.jwt.lock().await;
        if let Some(jwt) = jwt.as_ref().filter(|jwt| (0..SERVES_SECONDS).contains(&(now - jwt.signed_at))) {
            return Ok((jwt.authorization.clone(), false));
        }
        let claims = Claims { iat: now - BACKDATED_SECONDS, exp: now + VALID_SECONDS, iss: &self.issuer };
        let signed =
            jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.signing_key().await?)
                .map_err(|error| self.key_error(&error))?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {signed}")).map_err(|error| self.key_error(&error))?;
        authorization.set_sensitive(true);
        *jwt = Some(Jwt { authorization: authorization.clone(), signed_at: now });
        Ok((authorization, true))
    }

    /// Forgets a JWT that GitHub refused, unless another has taken its place.
    async fn forget(&self, refused: &HeaderValue) {
        let mut jwt = self.jwt.lock().await;
        if jwt.as_ref().is_some_and(|jwt| jwt.authorization == refused) {
            *jwt = None;
        }
    }

    /// Reads the key each time it is needed, so that a rotated file takes effect without a restart and a half-written
    /// one does no harm.
    async fn signing_key(&self) -> Result<EncodingKey, AppError> {
        let fresh = match &self.key {
            PrivateKey::Pem(pem) => secret::app_key(pem),
            PrivateKey::File(path) => {
                let path = path.clone();
                // On a blocking thread, so that a hanging volume delays nobody else.
                let read = spawn_blocking(move || secret::read_file(&path)).await;
                read.unwrap_or_else(|error| Err(error.to_string())).and_then(|pem| secret::app_key(&pem))
            }
        };
        let fresh = fresh.map_err(|error| self.key_error(&error));
        let mut last_good = self.last_good.lock();
        match (fresh, last_good.as_ref()) {
            (Ok(key), _) => {
                *last_good = Some(key.clone());
                Ok(key)
            }
            (Err(error), Some(key)) => {
                tracing::warn!(app = self.name, %error, "keeping the private key read before");
                Ok(key.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn key_error(&self, why: &dyn std::fmt::Display) -> AppError {
        AppError::Key { app: self.name.clone(), why: why.to_string() }
    }
}

/// What to change, where GitHub's words don't say it; empty if nothing is known.
fn hint(status: StatusCode, what: &str, message: &str) -> &'static str {
    let holds = |words: &str| message.contains(words);
    match status {
        StatusCode::UNAUTHORIZED if holds("could not be decoded") => {
            ". Look whether its private key is one of the App that `app_id` or `client_id` names"
        }
        StatusCode::UNAUTHORIZED if holds("'exp'") || holds("'iat'") => ". Look at this machine's clock",
        StatusCode::NOT_FOUND if holds("Integration not found") => ". Look at its `app_id` or `client_id`",
        // Every App has such a list, if an empty one.
        StatusCode::NOT_FOUND if what == THE_LIST => {
            ". Look at `upstream.api_url`: https://api.github.com, or https://HOST/api/v3 on GitHub Enterprise Server"
        }
        _ => "",
    }
}

/// GitHub's `message` in an error body, cut to 200 characters.
pub(crate) fn message_of(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "no message".to_owned());
    message.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_change() {
        for (status, what, message, hint) in [
            (401, THE_LIST, "A JSON web token could not be decoded", "its private key is one of the App"),
            (
                401,
                THE_LIST,
                "'Expiration time' claim ('exp') is too far in the future",
                "this machine's clock",
            ),
            (404, THE_LIST, "Integration not found", "`app_id` or `client_id`"),
            (404, THE_LIST, "Not Found", "`upstream.api_url`"),
        ] {
            let body = serde_json::json!({ "message": message }).to_string();
            let error = AppError::refused(StatusCode::from_u16(status).unwrap(), what, body.as_bytes());
            let said = error.to_string();
            assert!(said.contains(message) && said.contains(hint), "{said}");
        }
        let gone = AppError::refused(StatusCode::NOT_FOUND, "a token", br#"{"message":"Not Found"}"#);
        assert_eq!(gone.to_string(), "GitHub answered 404 Not Found to a token: Not Found");
    }
}
