//! Bodies that hold a merge where one reader looks, and a harmless document where another does.

use super::Ids;
use crate::attacks::run::Run;

const POST: &str = "POST /graphql";

/// Bodies around `READ`, a harmless document, and `MERGE`, both as JSON texts.
const BODIES: [(&str, &str); 27] = [
    ("a batch", r#"[{"query": MERGE}]"#),
    ("a batch of two", r#"[{"query": READ}, {"query": MERGE}]"#),
    ("a batch within", r#"{"query": READ, "batch": [{"query": MERGE}]}"#),
    ("a batch by number", r#"{"0": {"query": MERGE}, "query": READ}"#),
    ("the second key", r#"{"query": READ, "query": MERGE}"#),
    ("the first key", r#"{"query": MERGE, "query": READ}"#),
    ("an escaped key", r#"{"query": READ, "\u0071uery": MERGE}"#),
    ("an escaped key alone", r#"{"\u0071\u0075ery": MERGE}"#),
    ("a capital key", r#"{"query": READ, "Query": MERGE}"#),
    ("capital letters", r#"{"QUERY": MERGE}"#),
    ("a key with a blank", r#"{"query": READ, "query ": MERGE}"#),
    ("a key with an end", r#"{"query": READ, "query\u0000": MERGE}"#),
    ("a key in brackets", r#"{"query": READ, "query[]": MERGE}"#),
    ("a key of wide letters", "{\"query\": READ, \"\u{ff51}uery\": MERGE}"),
    ("the key mutation", r#"{"query": READ, "mutation": MERGE}"#),
    ("the key document", r#"{"query": READ, "document": MERGE}"#),
    ("an id", r#"{"query": READ, "id": "merge"}"#),
    ("a document's id", r#"{"query": READ, "documentId": "merge", "doc_id": "merge"}"#),
    (
        "a stored document",
        r#"{"query": READ, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab"}}}"#,
    ),
    ("a list as extensions", r#"{"query": MERGE, "extensions": []}"#),
    ("a list as the document", r#"{"query": [READ, MERGE]}"#),
    ("a map as the document", r#"{"query": {"query": MERGE}}"#),
    ("variables as a text", r#"{"query": MERGE, "variables": "{}"}"#),
    ("variables as a list", r#"{"query": MERGE, "variables": []}"#),
    ("an operation that is not there", r#"{"query": MERGE, "operationName": "A"}"#),
    ("a name that is none", r#"{"query": MERGE, "operationName": ["A"]}"#),
    ("a second body", "{\"query\": READ}\n{\"query\": MERGE}"),
];

/// Duplicate variables for `REVIEW`, which takes its event or its whole input from them.
const TWICE: [&str; 6] = [
    r#"{"query": REVIEW, "variables": {"e": "COMMENT", "e": "APPROVE"}}"#,
    r#"{"query": REVIEW, "variables": {"e": "APPROVE", "e": "COMMENT"}}"#,
    r#"{"query": REVIEW, "variables": {"e": "COMMENT", "\u0065": "APPROVE"}}"#,
    r#"{"query": REVIEW, "variables": {"e": "COMMENT"}, "variables": {"e": "APPROVE"}}"#,
    r#"{"query": REVIEW, "variables": {"e": "APPROVE"}, "variables": {"e": "COMMENT"}}"#,
    r#"{"query": REVIEW, "variables": {"e": "COMMENT"}, "Variables": {"e": "APPROVE"}}"#,
];

/// Content types with which the plain body is sent.
const TYPES: [&str; 12] = [
    "application/graphql",
    "application/graphql+json",
    "application/graphql-response+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/json",
    "application/json; charset=utf-16",
    "application/json; charset=utf-7",
    "application/json, application/graphql",
    "application/x-ndjson",
    "*/*",
];

struct Documents {
    /// `READ` as JSON.
    read: String,
    merge: String,
    plain: String,
}

fn documents(ids: &Ids) -> Documents {
    let merge = r#"mutation { mergePullRequest(input: {pullRequestId: "<pull>"}) { clientMutationId } }"#;
    let merge = serde_json::Value::String(ids.fill(merge)).to_string();
    let plain = format!(r#"{{"query": {merge}}}"#);
    Documents { read: r#""{ viewer { login } }""#.to_owned(), merge, plain }
}

fn utf16(text: &str, mark: Option<u16>, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
    mark.into_iter().chain(text.encode_utf16()).flat_map(bytes_of).collect()
}

/// Percent-encoded throughout.
fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn no_body_carries_a_merge_unseen() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    let Documents { read, merge, plain } = documents(&ids);
    for (name, body) in BODIES {
        let bytes = run.request(POST, "", body.replace("READ", &read).replace("MERGE", &merge));
        run.attack(name, &bytes).await;
    }
    let bodies: [(&str, Vec<u8>); 8] = [
        ("a byte order mark", [b"\xef\xbb\xbf", plain.as_bytes()].concat()),
        ("UTF-16, the large end first", utf16(&plain, Some(0xfeff), u16::to_be_bytes)),
        ("UTF-16, the small end first", utf16(&plain, Some(0xfeff), u16::to_le_bytes)),
        ("UTF-16 without a mark", utf16(&plain, None, u16::to_le_bytes)),
        ("a byte that is no text", [plain.as_bytes(), b"\xff"].concat()),
        ("an end within", [plain.as_bytes(), b"\0"].concat()),
        ("a comment", format!("/* */{plain}").into_bytes()),
        ("a guard", format!(")]}}',\n{plain}").into_bytes()),
    ];
    for (name, body) in &bodies {
        let bytes = run.request(POST, "", body);
        run.attack(name, &bytes).await;
    }
    let review = r#"mutation($e: E) { addPullRequestReview(input: {pullRequestId: "<pull>", event: $e, body: "x"}) { clientMutationId } }"#;
    let review = serde_json::Value::String(ids.fill(review)).to_string();
    for body in TWICE {
        let bytes = run.request(POST, "", body.replace("REVIEW", &review));
        run.attack(body, &bytes).await;
    }
    run.finish(BODIES.len() + bodies.len() + TWICE.len()).await;
}

#[tokio::test]
async fn no_type_or_place_carries_a_merge_unseen() {
    let mut run = Run::start("presence").await;
    let ids = Ids::learn(&mut run).await;
    let Documents { read, merge, plain } = documents(&ids);
    for name in TYPES {
        let bytes = run.request(POST, &format!("Content-Type: {name}\r\n"), &plain);
        run.attack(name, &bytes).await;
    }
    let document: String = serde_json::from_str(&merge).unwrap();
    let read = format!(r#"{{"query": {read}}}"#);
    let escaped = escaped(&document);
    let part =
        format!("--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n{document}\r\n--x--\r\n");
    let operations =
        format!("--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{plain}\r\n--x--\r\n");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let multipart = "Content-Type: multipart/form-data; boundary=x\r\n";
    let two = "Content-Type: application/json\r\nContent-Type: application/graphql\r\n";
    let rows = [
        ("a form", run.request(POST, form, format!("query={escaped}"))),
        ("a form after JSON", run.request(POST, form, format!("{read}&query={escaped}"))),
        ("parts", run.request(POST, multipart, part)),
        ("parts with operations", run.request(POST, multipart, operations)),
        ("two types", run.request(POST, two, &document)),
        ("no type", run.request(POST, "Content-Type:\r\n", &document)),
        ("a packed body", run.request(POST, "Content-Encoding: gzip\r\n", &plain)),
        ("the query string", run.request(&format!("{POST}?query={escaped}"), "", &read)),
        ("an empty query string", run.request(&format!("{POST}?"), "", &plain)),
        (
            "a parameter beside it",
            run.request(&format!("{POST}?operationName=B&variables=%7B%7D"), "", &plain),
        ),
        ("a GET", run.request(&format!("GET /graphql?query={escaped}"), "", "")),
        ("a GET with a body", run.request("GET /graphql", "", &plain)),
        ("a HEAD", run.request(&format!("HEAD /graphql?query={escaped}"), "", "")),
        ("a QUERY", run.request("QUERY /graphql", "", &plain)),
        ("two slashes", run.request("POST //graphql", "", &plain)),
        ("a step back", run.request("POST /x/../graphql", "", &plain)),
        ("below itself", run.request("POST /graphql/graphql", "", &plain)),
        ("a batch's path", run.request("POST /graphql/batch", "", format!("[{plain}]"))),
    ];
    for (name, bytes) in &rows {
        run.attack(name, bytes).await;
    }
    run.finish(TYPES.len() + rows.len()).await;
}
