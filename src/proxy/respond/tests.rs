//! The shapes refusals have on the wire.

use serde_json::Value;

use super::*;
use crate::policy::Class;

fn body_of(response: Response<ResponseBody>) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn every_code_has_its_status() {
    let claims = json!({ "aud": "tollgate" });
    let merge = Class::Merge;
    for (error, code, status) in [
        (ProxyError::Unauthenticated, "unauthenticated", 401),
        (ProxyError::BadCredentials, "unauthenticated", 401),
        (ProxyError::RepositoryForbidden(String::new()), "repository_forbidden", 403),
        (ProxyError::OperationForbidden(String::new()), "operation_forbidden", 403),
        (
            ProxyError::ApprovalRequired { class: merge, header: "x".into(), claims: claims.clone() },
            "approval_required",
            403,
        ),
        (ProxyError::ApprovalInvalid { reason: "x", claims }, "approval_invalid", 403),
        (ProxyError::BadRequest(String::new()), "bad_request", 400),
        (ProxyError::BodyTooLarge { limit: 1 }, "body_too_large", 413),
        (ProxyError::UriTooLong, "uri_too_long", 414),
        (ProxyError::HeadersTooLarge, "headers_too_large", 431),
        (ProxyError::NoInstallation(String::new()), "no_installation", 404),
        (ProxyError::UpstreamUnreachable("x"), "upstream_unreachable", 502),
        (ProxyError::UpstreamTimeout(std::time::Duration::from_secs(1)), "upstream_timeout", 504),
        (ProxyError::Overloaded("x"), "overloaded", 503),
        (ProxyError::Internal, "internal", 500),
    ] {
        let response = refusal(&error, Some("reviewer"), "id", false);
        assert_eq!(
            (response.status().as_u16(), response.headers()["x-tollgate-error"].to_str().unwrap()),
            (status, code)
        );
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503, "{code}");
        let body = body_of(response);
        assert_eq!(body["tollgate"]["code"], code);
        assert_eq!(body["tollgate"]["agent"], "reviewer");
        assert_eq!(body["status"], status.to_string());
        assert!(body["message"].is_string() && body["documentation_url"].is_string());
    }
}

#[test]
fn graphql_clients_find_the_error_where_they_look() {
    let body = body_of(refusal(&ProxyError::OperationForbidden("no".to_owned()), None, "id", true));
    assert_eq!(body["errors"][0]["type"], "FORBIDDEN");
    assert_eq!(body["errors"][0]["message"], body["message"]);
    assert_eq!(body["errors"][0]["extensions"]["tollgate"]["code"], "operation_forbidden");
    assert!(body_of(refusal(&ProxyError::BadCredentials, None, "id", true)).get("errors").is_none());
}

#[test]
fn an_approval_refusal_says_what_to_sign() {
    let claims = json!({ "aud": "tollgate", "action": "merge", "repo": "a/b", "pull_number": 7 });
    let error = ProxyError::ApprovalRequired {
        class: Class::Merge,
        header: "x-merge-approval".into(),
        claims: claims.clone(),
    };
    assert_eq!(body_of(refusal(&error, None, "id", false))["tollgate"]["approval"], claims);
}

#[test]
fn only_api_json_is_rewritten() {
    for (content_type, rewritten) in [
        ("application/json; charset=utf-8", true),
        ("application/vnd.github+json", true),
        ("application/vnd.github.v3+json", true),
        ("application/vnd.github.full+json", true),
        ("application/problem+json", true),
        ("application/vnd.github.raw+json; charset=utf-8", false),
        ("application/vnd.github.v3.raw+json", false),
        ("application/vnd.github.v3.diff", false),
        ("text/plain", false),
        ("application/zip", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(holds_links(&headers), rewritten, "{content_type}");
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(!holds_links(&headers));
    }
}
