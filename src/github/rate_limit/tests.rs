//! Figures, costs and times as tables, and arbitrary answers.

use proptest::prelude::*;

use super::*;

const DATE: &str = "Wed, 09 Aug 2023 14:00:00 GMT";
const DATE_EPOCH: u64 = 1_691_589_600;

const WHOLE: [(&str, &str); 6] = [
    ("x-ratelimit-limit", "5000"),
    ("x-ratelimit-remaining", "4999"),
    ("x-ratelimit-used", "1"),
    ("x-ratelimit-reset", "1691591363"),
    ("x-ratelimit-resource", "core"),
    ("date", DATE),
];

pub(super) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
    });
    pairs.collect()
}

fn with(change: (&str, &str)) -> HeaderMap {
    let mut map = headers(&WHOLE);
    map.insert(change.0.parse::<HeaderName>().unwrap(), change.1.parse().unwrap());
    map
}

#[test]
fn reads_whole_headers_only() {
    let reading = read(StatusCode::OK, &headers(&WHOLE), None, false);
    let limit = reading.limit.unwrap();
    assert_eq!((limit.limit, limit.remaining, limit.used, limit.reset), (5000, 4999, 1, 1_691_591_363));
    assert_eq!((limit.resource.as_str(), reading.figures), ("core", Figures::Read));
    assert_eq!((reading.date, reading.refused), (Some(1_691_589_600), None));

    for missing in 0..WHOLE.len() {
        let mut pairs = WHOLE.to_vec();
        let (name, _) = pairs.remove(missing);
        assert_figures(&headers(&pairs), Figures::Garbled, name);
    }
    assert_figures(&headers(&[("date", DATE)]), Figures::Absent, "only a date");
    assert_figures(&HeaderMap::new(), Figures::Absent, "nothing");
}

/// With a refused credential come an anonymous caller's figures; when GitHub fails they may come too.
#[test]
fn the_figures_of_a_401_or_a_5xx_are_nobody_s() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::BAD_GATEWAY, StatusCode::INTERNAL_SERVER_ERROR] {
        let reading = read(status, &with(("x-ratelimit-limit", "60")), None, false);
        assert_eq!((reading.limit, reading.figures), (None, Figures::Foreign), "{status}");
    }
}

/// One such answer must not hold everyone until the window ends, half an hour away.
#[test]
fn a_refusal_that_says_to_come_back_before_the_reset_tells_no_figures() {
    let primary = r#"{"message": "API rate limit exceeded for installation ID 1."}"#;
    let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
    for (remaining, retry_after, body, expected) in [
        ("0", Some("2"), primary, Figures::Contradicted),
        ("0", Some("2"), "", Figures::Contradicted),
        ("0", None, primary, Figures::Read),
        // Both mean the end of the window.
        ("0", Some("1763"), primary, Figures::Read),
        // Both limits are reached.
        ("0", Some("2"), secondary, Figures::Read),
        ("17", Some("2"), primary, Figures::Read),
    ] {
        let mut map = with(("x-ratelimit-remaining", remaining));
        map.extend(retry_after.map(|seconds| (RETRY_AFTER, seconds.parse().unwrap())));
        let reading = read(StatusCode::FORBIDDEN, &map, Some(body.as_bytes()), false);
        let context = format!("{remaining} {retry_after:?} {body}");
        assert_eq!(reading.figures, expected, "{context}");
        assert_eq!(reading.limit.is_some(), expected == Figures::Read, "{context}");
        assert!(reading.refused.is_some(), "{context}");
    }
    // The figures of an answer that is no refusal count, whatever else it says.
    let mut map = with(("x-ratelimit-remaining", "0"));
    map.insert(RETRY_AFTER, "2".parse().unwrap());
    assert_eq!(read(StatusCode::OK, &map, None, false).figures, Figures::Read);
}

fn assert_figures(headers: &HeaderMap, expected: Figures, context: &str) {
    let reading = read(StatusCode::OK, headers, None, false);
    assert_eq!(reading.figures, expected, "{context}");
    assert_eq!(reading.limit.is_some(), expected == Figures::Read, "{context}");
}

#[test]
fn takes_no_figure_that_makes_no_sense() {
    for garbled in ["", "-1", "+1", "1e3", "1.0", "0x1", "99999999999999999999", "1000000000001", "x", "1, 2"]
    {
        for name in [&LIMIT, &REMAINING, &USED, &RESET] {
            assert_figures(
                &with((name.as_str(), garbled)),
                Figures::Garbled,
                &format!("{name}: {garbled:?}"),
            );
        }
    }
    for (name, value, expected) in [
        (LIMIT.as_str(), "0", Figures::Garbled),
        (LIMIT.as_str(), " 60 ", Figures::Read),
        (REMAINING.as_str(), "0", Figures::Read),
        // Figures come from more than one place, so they may disagree.
        (USED.as_str(), "281", Figures::Read),
        (RESOURCE.as_str(), "code_search", Figures::Read),
        (RESOURCE.as_str(), "", Figures::Garbled),
        (RESOURCE.as_str(), "Core", Figures::Garbled),
        (RESOURCE.as_str(), "a b", Figures::Garbled),
        ("date", "yesterday", Figures::Garbled),
        ("date", "Wednesday, 09-Aug-23 14:00:00 GMT", Figures::Read),
        ("date", "Wed Aug  9 14:00:00 2023", Figures::Read),
        ("date", "1691589600", Figures::Garbled),
    ] {
        assert_figures(&with((name, value)), expected, &format!("{name}: {value}"));
    }
    for (reset, expected) in [
        (DATE_EPOCH, Figures::Read),
        (DATE_EPOCH + 86_400, Figures::Read),
        (DATE_EPOCH + 86_401, Figures::Garbled),
        (DATE_EPOCH - 86_400, Figures::Read),
        (DATE_EPOCH - 86_401, Figures::Garbled),
        (0, Figures::Garbled),
        // A duration, or milliseconds, instead of epoch seconds.
        (3600, Figures::Garbled),
        (DATE_EPOCH * 1000, Figures::Garbled),
    ] {
        assert_figures(&with((RESET.as_str(), &reset.to_string())), expected, &format!("reset {reset}"));
    }
    let mut twice = headers(&WHOLE);
    twice.append(&USED, "1".parse().unwrap());
    assert_figures(&twice, Figures::Read, "twice the same");
    twice.append(&USED, "2".parse().unwrap());
    assert_figures(&twice, Figures::Garbled, "two that differ");
}

#[test]
fn the_cost_is_read_where_a_query_asked_for_it() {
    for (status, body, is_graphql, expected) in [
        (
            200,
            r#"{"data":{"a":{"rateLimit":{"cost":9}},"rateLimit":{"cost":51,"limit":10000}}}"#,
            true,
            Some(51),
        ),
        (200, r#"{"data":{"rateLimit":{"cost":1}},"errors":[{"type":"NOT_FOUND"}]}"#, true, Some(1)),
        (200, r#"{"data":{"rateLimit":{"cost":4294967296}}}"#, true, None),
        (200, r#"{"data":{"rateLimit":{"cost":-1}}}"#, true, None),
        (200, r#"{"data":{"rateLimit":{"cost":1.5}}}"#, true, None),
        (200, r#"{"data":{"rateLimit":{"cost":"1"}}}"#, true, None),
        (200, r#"{"data":{"rateLimit":null}}"#, true, None),
        (200, r#"{"data":{"rateLimit":[1]}}"#, true, None),
        (200, r#"{"data":null}"#, true, None),
        (200, r#"{"data":7}"#, true, None),
        (200, r#"{"data":{"rateLimit":{"cost":5}}}"#, false, None),
        (403, r#"{"data":{"rateLimit":{"cost":5}}}"#, true, None),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let reading = read(status, &HeaderMap::new(), Some(body.as_bytes()), is_graphql);
        assert_eq!(reading.cost, expected, "{status} {body}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (value, date, seconds) in [
        ("60", None, Some(60)),
        (" 60 ", None, Some(60)),
        ("0", None, Some(1)),
        ("3600", None, Some(3600)),
        ("3601", None, Some(3600)),
        ("99999999999999999999999", None, Some(3600)),
        ("-1", None, None),
        ("+1", None, None),
        ("1.5", None, None),
        ("1m", None, None),
        ("", None, None),
        ("Wed, 09 Aug 2023 14:01:30 GMT", Some(DATE), Some(90)),
        ("Wed Aug  9 14:01:30 2023", Some(DATE), Some(90)),
        ("Wed, 09 Aug 2023 18:00:00 GMT", Some(DATE), Some(3600)),
        (DATE, Some(DATE), Some(1)),
        ("Wed, 09 Aug 2023 13:59:59 GMT", Some(DATE), None),
        ("Wed, 09 Aug 2023 14:01:30 GMT", None, None),
        ("Wed, 09 Aug 2023 14:01:30 GMT", Some("now"), None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some("Thu, 01 Jan 1970 00:00:00 GMT"), Some(3600)),
    ] {
        let mut pairs = vec![("retry-after", value)];
        pairs.extend(date.map(|date| ("date", date)));
        let reading = read(StatusCode::TOO_MANY_REQUESTS, &headers(&pairs), None, false);
        let wait = reading.refused.unwrap().retry_after;
        assert_eq!(wait.map(|wait| wait.as_secs()), seconds, "{value:?} {date:?}");
    }
}

#[test]
fn a_body_is_wanted_where_it_can_decide() {
    let json = &[("content-type", "application/json; charset=utf-8")][..];
    for (status, pairs, is_graphql, expected) in [
        (403, json, false, true),
        (403, &[][..], false, true),
        (429, json, true, true),
        (200, json, false, false),
        (404, json, false, false),
        (200, json, true, true),
        (200, &[("content-type", "Application/GraphQL-Response+JSON")][..], true, true),
        (200, &[][..], true, true),
        (200, &[("content-type", "text/html")][..], true, false),
        (502, json, true, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(wants_body(status, &headers(pairs), is_graphql), expected, "{status} {pairs:?}");
    }
}

/// Passes the first checks more often than arbitrary bytes would.
fn header_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        "[0-9]{1,30}".prop_map(String::into_bytes),
        "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
            .prop_map(String::into_bytes),
        Just(DATE.as_bytes().to_vec()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "(RATE_LIMITED|API rate limit exceeded|secondary rate|x)".prop_map(|text| format!("{text:?}")),
    ];
    let key = "(message|documentation_url|errors|type|code|data|rateLimit|cost)";
    let json = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((key, inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), json.prop_map(String::into_bytes)]
}

proptest! {
    #[test]
    fn arbitrary_answers_never_panic(
        status in 100u16..1000,
        values in proptest::collection::vec((0usize..8, header_value()), 0..10),
        body in body(),
        is_graphql in any::<bool>(),
    ) {
        let limits = [&LIMIT, &REMAINING, &USED, &RESET, &RESOURCE];
        let names = [&limits.map(HeaderName::as_str)[..], &["date", "retry-after", "content-type"]].concat();
        let mut map = HeaderMap::new();
        for (name, value) in values {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                map.append(names[name], value);
            }
        }
        let reading = read(StatusCode::from_u16(status).unwrap(), &map, Some(&body), is_graphql);
        prop_assert_eq!(reading.limit.is_some(), reading.figures == Figures::Read);
        if let Some(limit) = reading.limit {
            prop_assert!(limit.limit > 0 && limit.remaining <= FIGURE_MAX && limit.used <= FIGURE_MAX);
        }
        if let Some(wait) = reading.refused.and_then(|refused| refused.retry_after) {
            prop_assert!((RETRY_AFTER_MIN..=RETRY_AFTER_MAX).contains(&wait));
        }
        prop_assert!(reading.refused.is_none() || is_graphql || matches!(status, 403 | 429));
    }
}
