//! A table of every form of refusal, and another of answers that are none.

use super::super::read;
use super::super::tests::headers;
use super::*;

const PRIMARY: &str = r#"{"message":"API rate limit exceeded for installation ID 123."}"#;
const SECONDARY: &str = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach out to GitHub Support for help, please include the request ID C0FF:EE."}"#;
const PERMISSION: &str = r#"{"message":"Resource not accessible by integration","documentation_url":"https://docs.github.com/rest/issues#create","status":"403"}"#;

type Case<'a> = (u16, &'a [(&'static str, &'a str)], &'a str, Option<LimitKind>);

fn assert_kinds(cases: &[Case<'_>], is_graphql: bool) {
    for (status, pairs, body, expected) in cases {
        let status = StatusCode::from_u16(*status).unwrap();
        let reading = read(status, &headers(pairs), Some(body.as_bytes()), is_graphql);
        assert_eq!(reading.refused.map(|refused| refused.kind), *expected, "{status} {pairs:?} {body}");
    }
}

#[test]
fn rest_refusals() {
    let (primary, secondary) = (Some(LimitKind::Primary), Some(LimitKind::Secondary));
    let wait = &[("retry-after", "60")][..];
    let spent = &[("x-ratelimit-remaining", "0")][..];
    let both = &[("retry-after", "60"), ("x-ratelimit-remaining", "0")][..];
    let left = &[("x-ratelimit-remaining", "4")][..];
    assert_kinds(
        &[
            // 429 is always a limit.
            (429, &[], "", secondary),
            (429, left, PRIMARY, secondary),
            (429, wait, "", secondary),
            (429, both, PRIMARY, secondary),
            (429, spent, "", primary),
            (429, spent, PRIMARY, primary),
            (429, spent, SECONDARY, secondary),
            // 403 by its headers.
            (403, wait, "", secondary),
            (403, both, PRIMARY, secondary),
            (403, &[("retry-after", "soon")], "", secondary),
            (403, spent, "", primary),
            (403, spent, "<html>no JSON</html>", primary),
            (403, spent, "[]", primary),
            (403, spent, r#"{"message":17}"#, primary),
            (403, spent, PRIMARY, primary),
            (403, spent, SECONDARY, secondary),
        ],
        false,
    );
}

#[test]
fn rest_refusals_in_words_alone() {
    let (primary, secondary) = (Some(LimitKind::Primary), Some(LimitKind::Secondary));
    let left = &[("x-ratelimit-remaining", "4")][..];
    assert_kinds(
        &[
            (403, left, SECONDARY, secondary),
            (403, &[], SECONDARY, secondary),
            (403, left, PRIMARY, primary),
            (403, &[], r#"{"message":"api RATE limit Already Exceeded for user ID 1."}"#, primary),
            (
                403,
                &[],
                r#"{"message":"API rate limit exceeded for 1.2.3.4. (But here's the good news: Authenticated requests get a higher rate limit.)"}"#,
                primary,
            ),
            (403, &[], r#"{"message":"YOU HAVE EXCEEDED A SECONDARY RATE LIMIT"}"#, secondary),
            (
                403,
                &[],
                r#"{"message":"You have exceeded a secondary rate limit and have been temporarily blocked from content creation. Please retry your request again later."}"#,
                secondary,
            ),
            (
                403,
                &[],
                r#"{"message":"You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."}"#,
                secondary,
            ),
            (
                403,
                &[],
                r#"{"message":"You have triggered an Abuse Detection mechanism and have been temporarily blocked from content creation."}"#,
                secondary,
            ),
            (403, &[], r#"{"message":"Please wait a few minutes before you try again."}"#, secondary),
            (
                403,
                &[],
                r#"{"message":"Slow down","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#secondary-rate-limits"}"#,
                secondary,
            ),
            (
                403,
                &[],
                r#"{"documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}"#,
                secondary,
            ),
            (
                403,
                &[],
                r#"{"documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}"#,
                secondary,
            ),
        ],
        false,
    );
}

#[test]
fn other_answers_are_no_refusals_for_a_limit() {
    let spent = &[("x-ratelimit-remaining", "0")][..];
    let left = &[("x-ratelimit-remaining", "4")][..];
    let quoting = r#"{"message":"Not your \"API rate limit exceeded\" project"}"#;
    assert_kinds(
        &[
            (403, left, "", None),
            (403, &[], "", None),
            (403, left, PERMISSION, None),
            // The last call of the window.
            (403, spent, PERMISSION, None),
            (403, spent, r#"{"message":"Must have admin rights to Repository."}"#, None),
            (403, spent, r#"{"message":"Resource protected by organization SAML enforcement."}"#, None),
            (
                403,
                &[],
                r#"{"message":"Maximum number of login attempts exceeded. Please try again later."}"#,
                None,
            ),
            (403, &[], r#"{"message":"Request forbidden by administrative rules."}"#, None),
            (403, &[], quoting, None),
            (
                403,
                &[],
                r#"{"documentation_url":"https://docs.github.com/x#about-primary-rate-limits"}"#,
                None,
            ),
            (403, &[], r#"{"errors":[{"type":"RATE_LIMITED"}]}"#, None),
            (200, spent, PRIMARY, None),
            (200, spent, "", None),
            (200, &[("retry-after", "60")], SECONDARY, None),
            (401, spent, SECONDARY, None),
            (404, spent, SECONDARY, None),
            (422, spent, SECONDARY, None),
            (503, &[("retry-after", "60")], SECONDARY, None),
        ],
        false,
    );
}

#[test]
fn graphql_refusals() {
    let (primary, secondary) = (Some(LimitKind::Primary), Some(LimitKind::Secondary));
    let left = &[("x-ratelimit-remaining", "4")][..];
    assert_kinds(
        &[
            (
                200,
                left,
                r#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded for installation ID 123."}]}"#,
                primary,
            ),
            (200, left, r#"{"data":null,"errors":[{"type":"RATE_LIMITED"}]}"#, primary),
            (
                200,
                left,
                r#"{"errors":[{"type":"RATE_LIMIT","code":"graphql_rate_limit","message":"API rate limit already exceeded for user ID 123."}]}"#,
                primary,
            ),
            (200, left, r#"{"errors":[{"type":"RATE_LIMIT"}]}"#, primary),
            (200, left, r#"{"errors":[{"type":"rate_limited"}]}"#, primary),
            (200, left, r#"{"errors":[{"code":"graphql_rate_limit"}]}"#, primary),
            (
                200,
                left,
                r#"{"errors":[{"message":"API rate limit exceeded for installation ID 123."}]}"#,
                primary,
            ),
            (
                200,
                &[],
                r#"{"data":{"a":1},"errors":[{"type":"NOT_FOUND"},{"type":"RATE_LIMITED"}]}"#,
                primary,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"message":"You have exceeded a secondary rate limit. Please wait."}]}"#,
                secondary,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"type":"RATE_LIMITED","message":"You have exceeded a Secondary Rate limit."}]}"#,
                secondary,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"type":"RATE_LIMITED"},{"message":"You have triggered an abuse detection mechanism."}]}"#,
                secondary,
            ),
            (200, &[], SECONDARY, secondary),
            (403, &[], SECONDARY, secondary),
            (403, left, PRIMARY, primary),
            (403, &[], r#"{"errors":[{"type":"RATE_LIMITED"}]}"#, primary),
            (429, &[], "", secondary),
        ],
        true,
    );
}

#[test]
fn a_caller_can_not_make_a_limit_up_in_graphql() {
    let spent = &[("x-ratelimit-remaining", "0")][..];
    assert_kinds(
        &[
            (200, spent, r#"{"data":{"viewer":{"login":"a"}}}"#, None),
            (
                200,
                &[],
                r#"{"data":{"issue":{"title":"You have exceeded a secondary rate limit","type":"RATE_LIMITED","code":"graphql_rate_limit"}}}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"data":{"errors":[{"type":"RATE_LIMITED"}],"message":"API rate limit exceeded"}}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"type":"NOT_FOUND","message":"Could not resolve to a Repository with the name 'a/API rate limit exceeded'."}]}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"type":"NOT_FOUND","message":"You have exceeded a secondary rate limit"}]}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"message":"Field 'x' has an invalid value (\"secondary rate limit\")"}]}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"message":"x","extensions":{"type":"RATE_LIMITED","code":"graphql_rate_limit"}}]}"#,
                None,
            ),
            (
                200,
                &[],
                r#"{"errors":[{"type":"RESOURCE_LIMITS_EXCEEDED","message":"Resource limits exceeded"}]}"#,
                None,
            ),
            (200, &[], r#"{"errors":"RATE_LIMITED"}"#, None),
            (200, &[], r#"{"errors":["RATE_LIMITED",null,{"type":["RATE_LIMITED"]}]}"#, None),
            (200, &[("content-type", "text/html")], r#"{"errors":[{"type":"RATE_LIMITED"}]}"#, None),
            (200, &[], "", None),
            (502, &[], r#"{"errors":[{"type":"RATE_LIMITED"}]}"#, None),
            (401, &[], r#"{"errors":[{"type":"RATE_LIMITED"}]}"#, None),
        ],
        true,
    );
}

#[test]
fn tells_limits_from_permissions_by_headers_alone() {
    for (status, pairs, kind) in [
        (403, &[][..], None),
        (403, &[("x-ratelimit-remaining", "12")][..], None),
        (403, &[("x-ratelimit-remaining", "0")][..], Some(LimitKind::Primary)),
        (403, &[("retry-after", "60")][..], Some(LimitKind::Secondary)),
        (429, &[("x-ratelimit-remaining", "0")][..], Some(LimitKind::Primary)),
        (429, &[][..], Some(LimitKind::Secondary)),
        (200, &[("x-ratelimit-remaining", "0")][..], None),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let reading = read(status, &headers(pairs), None, false);
        assert_eq!(reading.refused.map(|refused| refused.kind), kind, "{status} {pairs:?}");
    }
}
