//! A method other than the one in the request line.

use super::run::{MERGE, Run};

/// Methods that some servers may take for `PUT`, or implement themselves.
const METHODS: [&str; 18] = [
    "put",
    "Put",
    "pUT",
    "PUTS",
    "PUT\t",
    "POST",
    "PATCH",
    "DELETE",
    "MERGE",
    "QUERY",
    "LINK",
    "LOCK",
    "PROPPATCH",
    "MKCOL",
    "M-SEARCH",
    "OPTIONS",
    "PÜT",
    "\"PUT\"",
];

/// Header fields that might turn a `GET` into a `PUT`.
const OVERRIDES: [(&str, &str); 15] = [
    ("the usual override", "X-HTTP-Method-Override: PUT\r\n"),
    ("the usual override, lower-case value", "X-HTTP-Method-Override: put\r\n"),
    ("the usual override, two values", "X-HTTP-Method-Override: GET, PUT\r\n"),
    ("the usual override twice", "X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: PUT\r\n"),
    ("the usual override with a tab", "X-HTTP-Method-Override:\tPUT\r\n"),
    ("the usual override with underscores", "X_HTTP_METHOD_OVERRIDE: PUT\r\n"),
    ("Google's override", "X-Method-Override: PUT\r\n"),
    ("Microsoft's override", "X-HTTP-Method: PUT\r\n"),
    ("Microsoft's override with a folded line", "X-HTTP-Method:\r\n PUT\r\n"),
    ("an original method", "X-Original-Method: PUT\r\n"),
    ("a rewritten URL", "X-Rewrite-URL: /repos/acme/widgets/pulls/76/merge?_method=PUT\r\n"),
    ("an original URL", "X-Original-URL: /repos/acme/widgets/pulls/76/merge?_method=PUT\r\n"),
    ("a forwarded URI", "X-Forwarded-Uri: /repos/acme/widgets/pulls/76/merge?_method=PUT\r\n"),
    ("a forwarded method", "X-Forwarded-Method: PUT\r\n"),
    (
        "an override named by Connection",
        "X-HTTP-Method-Override: PUT\r\nConnection: x-http-method-override\r\n",
    ),
];

/// Queries that might turn a `GET` into a `PUT`.
const QUERIES: [(&str, &str); 5] = [
    ("_method", "_method=PUT"),
    ("_method in lower case", "_method=put"),
    ("_method twice", "_method=GET&_method=PUT"),
    ("_method, escaped", "%5Fmethod=PU%54"),
    ("_method among others", "per_page=1&_method=PATCH&page=2"),
];

/// Queries that do so for a reader that ignores case and brackets, and splits at semicolons.
const LOOKALIKES: [(&str, &str); 5] = [
    ("_method in capitals", "_METHOD=PUT"),
    ("_method as a list", "_method[]=PUT"),
    ("_method as an escaped list", "_method%5B%5D=PUT"),
    ("_method after a semicolon", "page=1;_method=PUT"),
    ("_method after a blank", "+_method=PUT"),
];

#[tokio::test]
async fn no_method_but_the_real_one_counts() {
    let mut run = Run::start("presence").await;
    for method in METHODS {
        let bytes = run.request(&format!("{method} {MERGE}"), "", "{}");
        run.attack(method, &bytes).await;
    }
    for (name, fields) in OVERRIDES {
        for method in ["GET", "POST"] {
            let bytes = run.request(&format!("{method} {MERGE}"), fields, "");
            run.attack(&format!("{name} of {method}"), &bytes).await;
        }
    }
    for (name, fields) in [
        ("an original URL beside a subscription", "X-Original-URL: /repos/acme/widgets/pulls/76/merge\r\n"),
        ("a rewritten URL beside a subscription", "X-Rewrite-URL: /repos/acme/widgets/pulls/76/merge\r\n"),
    ] {
        let bytes = run.request("PUT /repos/acme/widgets/issues/1/lock", fields, "{}");
        run.attack(name, &bytes).await;
    }
    run.finish(METHODS.len() + 2 * OVERRIDES.len() + 2).await;
}

#[tokio::test]
async fn no_query_overrides_the_method() {
    ask_with(&QUERIES).await;
}

#[tokio::test]
async fn no_query_that_looks_like_an_override_passes() {
    ask_with(&LOOKALIKES).await;
}

/// Asks whether the pull request is merged, with each of these queries.
async fn ask_with(queries: &[(&str, &str)]) {
    let mut run = Run::start("presence").await;
    for (name, query) in queries {
        for line in [
            format!("GET {MERGE}?{query}"),
            format!("HEAD /repositories/2001/pulls/76/merge?{query}"),
            format!("GET /repos/acme/widgets/git/refs/heads/main?{query}"),
        ] {
            let bytes = run.request(&line, "", "");
            run.attack(name, &bytes).await;
        }
    }
    run.finish(3 * queries.len()).await;
}

#[tokio::test]
async fn no_body_overrides_the_method() {
    let mut run = Run::start("presence").await;
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nPUT\r\n--b--\r\n";
    for (name, content_type, body) in [
        ("a form", "application/x-www-form-urlencoded", "_method=PUT"),
        ("a form beside a character set", "application/x-www-form-urlencoded; charset=utf-8", "_method=PUT"),
        ("a form in parts", "multipart/form-data; boundary=b", multipart),
        ("JSON", "application/json", r#"{"_method":"PUT"}"#),
        ("a form that is called JSON", "application/json", "_method=PUT"),
    ] {
        for method in ["POST", "GET", "PATCH"] {
            let fields = format!("Content-Type: {content_type}\r\n");
            let bytes = run.request(&format!("{method} {MERGE}"), &fields, body);
            run.attack(&format!("{name} by {method}"), &bytes).await;
        }
        let fields = format!("Content-Type: {content_type}\r\n");
        let bytes = run.request(
            "POST /repos/acme/widgets/pulls/76/reviews",
            &fields,
            format!("{body}&event=APPROVE"),
        );
        run.attack(&format!("{name} in a review"), &bytes).await;
    }
    run.finish(20).await;
}
