//! What the admin API answers when it refuses.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use thiserror::Error;

use crate::agent::roster::SwitchError;
use crate::policy::target::TargetError;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("Not taken: {0}.")]
    Path(#[from] TargetError),
    #[error("Only POST is served here.")]
    Method,
    #[error("A page of another origin asks; this is for the admin listener's own address.")]
    Foreign,
    #[error(
        "No admin token is configured, so nothing can be changed here: set `server.admin_token_env` or `server.admin_token_file`."
    )]
    NoToken,
    #[error(
        "The admin token is missing or wrong. (An API call carries it as `Authorization: Bearer TOKEN`.)"
    )]
    Unauthenticated,
    #[error("There is more than one Authorization header.")]
    Authorizations,
    #[error("The body is longer than 64 KiB; none is needed.")]
    BodyTooLong,
    #[error("The body did not come to its end.")]
    BodyBroken,
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::Path(_) | Refusal::Authorizations | Refusal::BodyBroken => StatusCode::BAD_REQUEST,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Foreign | Refusal::NoToken => StatusCode::FORBIDDEN,
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Switch(SwitchError::Unknown) => StatusCode::NOT_FOUND,
            Refusal::Switch(SwitchError::InFile) => StatusCode::CONFLICT,
            Refusal::Switch(SwitchError::Away) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = json_response(self.status(), &json!({ "message": self.to_string() }));
        let field = match self {
            Refusal::Method => Some((ALLOW, "POST")),
            Refusal::Unauthenticated => Some((WWW_AUTHENTICATE, "Bearer")),
            Refusal::Switch(SwitchError::Away) => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = field {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// One line of JSON that nothing on its way may cache.
pub(super) fn json_response(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(format!("{value}\n").into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
