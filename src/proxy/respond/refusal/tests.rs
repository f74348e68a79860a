//! The shapes refusals have on the wire.

use std::time::Duration;

use super::*;
use crate::error::Wanted;
use crate::policy::Class;

const LIMIT: Limit = Limit {
    retry_after: 12,
    reset: 1_700_000_012,
    used: 40,
    resource: "core",
    is_closed: false,
    was_sent: false,
    has_used_approval: false,
};

fn caller(is_graphql: bool) -> Caller<'static> {
    Caller {
        agent: Some("reviewer"),
        request_id: "id",
        is_graphql,
        over_budget_status: StatusCode::FORBIDDEN,
    }
}

fn body_of(response: &Response<String>) -> Value {
    serde_json::from_str(response.body()).unwrap()
}

fn exhausted() -> ProxyError {
    ProxyError::BudgetExhausted { agent: "reviewer".to_owned(), limit: LIMIT }
}

#[test]
fn every_code_has_its_status() {
    let wanted = || Box::new(Wanted { claims: json!({ "aud": "tollgate" }), request: None });
    let (header, what_to_sign) = ("x".to_owned(), "");
    let (class, is_draft) = (Class::Merge, false);
    let required = ProxyError::ApprovalRequired { class, header, what_to_sign, is_draft, wanted: wanted() };
    let invalid =
        ProxyError::ApprovalInvalid { reason: "x".into(), is_another_needed: true, wanted: wanted() };
    for (error, code, status) in [
        (ProxyError::Unauthenticated, "unauthenticated", 401),
        (ProxyError::BadCredentials, "unauthenticated", 401),
        (ProxyError::RepositoryForbidden(String::new()), "repository_forbidden", 403),
        (ProxyError::OperationForbidden(String::new()), "operation_forbidden", 403),
        (required, "approval_required", 403),
        (invalid, "approval_invalid", 403),
        (ProxyError::DraftRequired("x"), "draft_required", 422),
        (ProxyError::ApprovalUnsure, "store_unavailable", 503),
        (ProxyError::AuditAway, "store_unavailable", 503),
        (exhausted(), "budget_exhausted", 403),
        (ProxyError::UpstreamLimited(LIMIT), "upstream_limited", 403),
        (ProxyError::BadRequest(String::new()), "bad_request", 400),
        (ProxyError::BodyTooLarge { limit: 1 }, "body_too_large", 413),
        (ProxyError::UriTooLong, "uri_too_long", 414),
        (ProxyError::HeadersTooLarge, "headers_too_large", 431),
        (ProxyError::NoInstallation(String::new()), "no_installation", 404),
        (ProxyError::UpstreamUnreachable("x"), "upstream_unreachable", 502),
        (ProxyError::CredentialRefused("x"), "upstream_unreachable", 502),
        (ProxyError::UpstreamTimeout(Duration::from_secs(1)), "upstream_timeout", 504),
        (ProxyError::Overloaded("x"), "overloaded", 503),
        (ProxyError::Draining, "draining", 503),
        (ProxyError::StoreUnavailable { retry_after: 2 }, "store_unavailable", 503),
        (ProxyError::Internal, "internal", 500),
    ] {
        let response = refusal(&error, &caller(false));
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-tollgate-error"]),
            (status, &code.parse().unwrap())
        );
        let may_return = error.limit().is_some() || status == 503;
        assert_eq!(response.headers().contains_key(RETRY_AFTER), may_return, "{code}");
        assert_eq!(
            response.headers().contains_key("x-ratelimit-remaining"),
            error.limit().is_some(),
            "{code}"
        );
        let body = body_of(&response);
        assert_eq!(body["tollgate"]["code"], code);
        assert_eq!(body["tollgate"]["agent"], "reviewer");
        assert_eq!(body["status"], status.to_string());
        assert!(body["message"].is_string() && body["documentation_url"].is_string());
    }
}

#[test]
fn a_refusal_for_rate_is_one_to_every_detector() {
    for (error, begins) in [
        (exhausted(), "API rate limit exceeded for agent reviewer."),
        (
            ProxyError::UpstreamLimited(LIMIT),
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        ),
    ] {
        let response = refusal(&error, &caller(false));
        let message = body_of(&response)["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(begins), "{message}");
        for (name, value) in [
            ("retry-after", "12"),
            ("x-ratelimit-limit", "40"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-used", "40"),
            ("x-ratelimit-reset", "1700000012"),
            ("x-ratelimit-resource", "core"),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
        assert_eq!(body_of(&response)["tollgate"]["retry_after"], 12);
        let graphql = body_of(&refusal(&error, &caller(true)));
        assert_eq!(graphql["errors"][0]["type"], "RATE_LIMITED");
    }
    let as_429 = Caller { over_budget_status: StatusCode::TOO_MANY_REQUESTS, ..caller(false) };
    assert_eq!(refusal(&exhausted(), &as_429).status(), 429);
}

#[test]
fn a_refusal_by_policy_is_none() {
    let response =
        refusal(&ProxyError::OperationForbidden("This is a merge operation.".to_owned()), &caller(false));
    let message = body_of(&response)["message"].as_str().unwrap().to_ascii_lowercase();
    assert!(!message.contains("rate limit") && !message.contains("try again"), "{message}");
}

#[test]
fn graphql_clients_find_the_error_where_they_look() {
    let body = body_of(&refusal(&ProxyError::OperationForbidden("no".to_owned()), &caller(true)));
    assert_eq!(body["errors"][0]["type"], "FORBIDDEN");
    assert_eq!(body["errors"][0]["message"], body["message"]);
    assert_eq!(body["errors"][0]["extensions"]["tollgate"], body["tollgate"]);
    assert!(body_of(&refusal(&ProxyError::BadCredentials, &caller(true))).get("errors").is_none());
}

#[test]
fn an_approval_refusal_says_what_to_sign() {
    let claims = json!({ "aud": "tollgate", "action": "merge", "repo": "a/b", "pull_number": 7 });
    let header = "x-merge-approval".to_owned();
    let request = json!({ "method": "PUT", "path": "/x", "body": "{}", "body_bytes": 2 });
    let wanted = Box::new(Wanted { claims: claims.clone(), request: Some(request.clone()) });
    let (class, is_draft) = (Class::Merge, false);
    let error = ProxyError::ApprovalRequired { class, header, what_to_sign: "", is_draft, wanted };
    let about = body_of(&refusal(&error, &caller(false)))["tollgate"].clone();
    assert_eq!((&about["approval"], &about["request"]), (&claims, &request));
}

#[test]
fn on_the_wire_it_is_a_whole_answer() {
    let bytes = refusal_on_the_wire(&ProxyError::Overloaded("There are too many."), "id");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    for field in ["connection: close", "retry-after: 1", "x-tollgate-error: overloaded", "x-request-id: id"] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["tollgate"]["request_id"], "id");
}
