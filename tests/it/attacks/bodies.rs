//! JSON that decides, written so that two parsers read it differently.

use super::run::Run;

/// Bodies of a review that some reader takes for an approval.
const REVIEWS: [(&str, &str); 38] = [
    ("plainly", r#"{"event":"APPROVE"}"#),
    ("in lower case", r#"{"event":"approve"}"#),
    ("in mixed case", r#"{"event":"Approve"}"#),
    ("with a blank before", r#"{"event":" APPROVE"}"#),
    ("with a blank after", r#"{"event":"APPROVE "}"#),
    ("with a line feed after", r#"{"event":"APPROVE\n"}"#),
    ("with NUL after", r#"{"event":"APPROVE\u0000"}"#),
    ("with an escaped letter", r#"{"event":"\u0041PPROVE"}"#),
    ("in full-width letters", r#"{"event":"ＡＰＰＲＯＶＥ"}"#),
    ("with a soft hyphen", "{\"event\":\"APP\u{ad}ROVE\"}"),
    ("as the state it leads to", r#"{"event":"APPROVED"}"#),
    ("as a dismissal", r#"{"event":"DISMISS"}"#),
    ("in a list", r#"{"event":["APPROVE"]}"#),
    ("in a list after another", r#"{"event":["COMMENT","APPROVE"]}"#),
    ("in an object", r#"{"event":{"0":"APPROVE"}}"#),
    ("as a key", r#"{"event":{"APPROVE":true}}"#),
    ("in the second of two keys", r#"{"event":"COMMENT","event":"APPROVE"}"#),
    ("in the first of two keys", r#"{"event":"APPROVE","event":"COMMENT"}"#),
    ("in an escaped second key", r#"{"event":"COMMENT","\u0065vent":"APPROVE"}"#),
    ("in an escaped first key", r#"{"ev\u0065nt":"APPROVE","event":"COMMENT"}"#),
    ("before null", r#"{"event":"APPROVE","event":null}"#),
    ("after a byte order mark", "\u{feff}{\"event\":\"APPROVE\"}"),
    ("in a second document", r#"{"event":"COMMENT"}{"event":"APPROVE"}"#),
    ("in a second line", "{\"event\":\"COMMENT\"}\n{\"event\":\"APPROVE\"}\n"),
    ("after NUL", "{\"event\":\"COMMENT\"}\0{\"event\":\"APPROVE\"}"),
    ("after a comment", r#"{/* "event":"COMMENT", */"event":"APPROVE"}"#),
    ("within a comment", r#"{"event":"COMMENT"/*,"event":"APPROVE"*/}"#),
    ("in single quotes", "{'event':'APPROVE'}"),
    ("before a trailing comma", r#"{"event":"APPROVE",}"#),
    ("beside NaN", r#"{"event":"APPROVE","x":NaN}"#),
    ("after a guard", ")]}',\n{\"event\":\"APPROVE\"}"),
    ("in a list of bodies", r#"[{"event":"APPROVE"}]"#),
    ("in a form", "event=APPROVE"),
    ("in an escaped form", "%65vent=%41PPROVE&body=x"),
    ("in a string of JSON", r#""{\"event\":\"APPROVE\"}""#),
    ("with a lone surrogate", r#"{"event":"COMMENT","x":"\ud800","event":"APPROVE"}"#),
    ("in YAML", "event: APPROVE"),
    ("in a broken document", r#"{"event":"APPROVE""#),
];

/// Bodies of a review that approves for a reader that ignores case, blanks and brackets in a key.
const LOOKALIKES: [(&str, &str); 12] = [
    ("under an escaped key with NUL", r#"{"event\u0000":"APPROVE"}"#),
    ("beside a key with NUL", r#"{"event":"COMMENT","event\u0000":"APPROVE"}"#),
    ("under a key with brackets", r#"{"event":"COMMENT","event[]":"APPROVE"}"#),
    ("under a key in brackets", r#"{"event":"COMMENT","[event]":"APPROVE"}"#),
    ("under a key in capitals", r#"{"EVENT":"APPROVE"}"#),
    ("under a capital key", r#"{"Event":"APPROVE"}"#),
    ("beside a capital key", r#"{"event":"COMMENT","Event":"APPROVE"}"#),
    ("after a capital key", r#"{"Event":"APPROVE","event":"COMMENT"}"#),
    ("under a key with a blank", r#"{" event":"APPROVE"}"#),
    ("under a key with a blank after", r#"{"event ":"APPROVE"}"#),
    ("under a key with a byte order mark", "{\"\u{feff}event\":\"APPROVE\"}"),
    ("under a key with a zero-width space", r#"{"event":"COMMENT","event\u200b":"APPROVE"}"#),
];

/// Bodies that retarget a pull request.
const RETARGETS: [(&str, &str); 11] = [
    ("plainly", r#"{"base":"release"}"#),
    ("to the default branch", r#"{"base":"main"}"#),
    ("to null", r#"{"base":null}"#),
    ("to a list", r#"{"base":["release"]}"#),
    ("in the second of two keys", r#"{"title":"x","base":"main","base":"release"}"#),
    ("by an escaped key", r#"{"\u0062ase":"release"}"#),
    ("after a byte order mark", "\u{feff}{\"base\":\"release\"}"),
    ("in a second document", r#"{"title":"x"} {"base":"release"}"#),
    ("in a list of bodies", r#"[{"base":"release"}]"#),
    ("in a form", "base=release"),
    ("in single quotes", "{'base':'release'}"),
];

/// The same for a reader that ignores case and blanks in a key.
const RETARGETS_BY_LOOKALIKES: [(&str, &str); 3] = [
    ("by a capital key", r#"{"Base":"release"}"#),
    ("by a key with a blank", r#"{"base ":"release"}"#),
    ("by a key with NUL", r#"{"base\u0000":"release"}"#),
];

/// Requests that satisfy a gate without a review's event.
const GATES: [(&str, &str); 20] = [
    ("a status", "POST /repos/acme/widgets/statuses/0000000000000000000000000000000000000000"),
    ("a status by id", "POST /repositories/2001/statuses/0000000000000000000000000000000000000000"),
    ("a check run", "POST /repos/acme/widgets/check-runs"),
    ("a change of a check run", "PATCH /repos/acme/widgets/check-runs/1"),
    ("a check suite", "POST /repos/acme/widgets/check-suites"),
    ("a dismissal", "PUT /repos/acme/widgets/pulls/76/reviews/1/dismissals"),
    ("a submitted review", "POST /repos/acme/widgets/pulls/76/reviews/1/events"),
    ("a reviewer taken off", "DELETE /repos/acme/widgets/pulls/76/requested_reviewers"),
    ("an approved run", "POST /repos/acme/widgets/actions/runs/1/approve"),
    ("an approved deployment", "POST /repos/acme/widgets/actions/runs/1/pending_deployments"),
    ("a run again", "POST /repos/acme/widgets/actions/runs/1/rerun"),
    ("a status of a deployment", "POST /repos/acme/widgets/deployments/1/statuses"),
    ("a dismissed alert", "PATCH /repos/acme/widgets/code-scanning/alerts/1"),
    ("a deployment", "POST /repos/acme/widgets/deployments"),
    ("a dispatch", "POST /repos/acme/widgets/dispatches"),
    ("a started workflow", "POST /repos/acme/widgets/actions/workflows/ci.yml/dispatches"),
    ("a release", "POST /repos/acme/widgets/releases"),
    ("a renamed branch", "POST /repos/acme/widgets/branches/feature%2Fx/rename"),
    ("a protection taken away", "DELETE /repos/acme/widgets/branches/main/protection"),
    ("a ruleset", "POST /repos/acme/widgets/rulesets"),
];

const REVIEW: &str = "POST /repos/acme/widgets/pulls/76/reviews";

#[tokio::test]
async fn no_body_approves_unseen() {
    let mut run = Run::start("presence").await;
    for (name, body) in REVIEWS {
        let bytes = run.request(REVIEW, "", body);
        run.attack(name, &bytes).await;
        let bytes = run.request("POST /repos/acme/widgets/pulls/76/reviews/1/events", "", body);
        run.attack(&format!("{name}, submitted"), &bytes).await;
    }
    run.finish(2 * REVIEWS.len()).await;
}

#[tokio::test]
async fn no_key_that_looks_like_another_passes_unseen() {
    let mut run = Run::start("presence").await;
    for (name, body) in LOOKALIKES {
        let bytes = run.request(REVIEW, "", body);
        run.attack(name, &bytes).await;
        let bytes = run.request("POST /repos/acme/widgets/pulls/76/reviews/1/events", "", body);
        run.attack(&format!("{name}, submitted"), &bytes).await;
    }
    for (name, body) in RETARGETS_BY_LOOKALIKES {
        let bytes = run.request("PATCH /repos/acme/widgets/pulls/76", "", body);
        run.attack(name, &bytes).await;
    }
    run.finish(2 * LOOKALIKES.len() + RETARGETS_BY_LOOKALIKES.len()).await;
}

#[tokio::test]
async fn no_encoding_or_framing_of_a_body_approves_unseen() {
    let mut run = Run::start("presence").await;
    let json = r#"{"event":"APPROVE"}"#;
    let wide = |swap: bool| -> Vec<u8> {
        json.encode_utf16()
            .flat_map(|unit| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    };
    let packed: Vec<u8> = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0xff, 0xff];
    let padded = format!("{{\"body\":\"{}\",\"event\":\"APPROVE\"}}", "x".repeat(1_100_000));
    let deep = format!("{{\"x\":{}{},\"event\":\"APPROVE\"}}", "[".repeat(500), "]".repeat(500));
    let parts = "--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\nAPPROVE\r\n--b--\r\n";
    let mut rows = vec![
        ("UTF-16, little end first", run.request(REVIEW, "", wide(false))),
        ("UTF-16, big end first", run.request(REVIEW, "", wide(true))),
        (
            "UTF-16 that says so",
            run.request(
                REVIEW,
                "Content-Type: application/json; charset=utf-16\r\n",
                [vec![0xff, 0xfe], wide(false)].concat(),
            ),
        ),
        ("Latin-1", run.request(REVIEW, "", b"{\"event\":\"APPROVE\",\"body\":\"\xe9\"}")),
        (
            "UTF-7",
            run.request(
                REVIEW,
                "Content-Type: application/json; charset=utf-7\r\n",
                r#"{"event":"+AEEAUABQAFIATwBWAEU-"}"#,
            ),
        ),
        ("gzip", run.request(REVIEW, "Content-Encoding: gzip\r\n", packed)),
        ("an encoding that is none", run.request(REVIEW, "Content-Encoding: x, identity\r\n", json)),
        ("after a megabyte", run.request(REVIEW, "", padded)),
        ("after deep nesting", run.request(REVIEW, "", deep)),
        ("in parts", run.request(REVIEW, "Content-Type: multipart/form-data; boundary=b\r\n", parts)),
        ("in the query", run.request(&format!("{REVIEW}?event=APPROVE"), "", "{}")),
        ("in the query alone", run.request(&format!("{REVIEW}?event=APPROVE"), "", "")),
        (
            "in the query, otherwise in the body",
            run.request(&format!("{REVIEW}?event=APPROVE"), "", r#"{"event":"COMMENT"}"#),
        ),
        ("in the query with brackets", run.request(&format!("{REVIEW}?event[]=APPROVE"), "", "{}")),
        ("in a semicolon's query", run.request(&format!("{REVIEW}?a=b;event=APPROVE"), "", "{}")),
        ("after a slash", run.request(&format!("{REVIEW}/"), "", json)),
        ("by id", run.request("POST /repositories/2001/pulls/76/reviews", "", json)),
        ("by PUT", run.request("PUT /repos/acme/widgets/pulls/76/reviews", "", json)),
    ];
    let mut chunked = run.head(REVIEW, "Transfer-Encoding: chunked\r\n");
    chunked.extend(format!("9\r\n{}\r\na\r\n{}\r\n0\r\n\r\n", &json[..9], &json[9..]).as_bytes());
    rows.push(("in chunks", chunked));
    for (name, bytes) in &rows {
        run.attack(name, bytes).await;
    }
    let whole = run.request(REVIEW, "", json);
    let (head, body) = whole.split_at(whole.len() - 6);
    run.attack_in_pieces("in two writes", &[head, body]).await;
    run.finish(rows.len() + 1).await;
}

#[tokio::test]
async fn no_body_retargets_a_pull_request_unseen() {
    let mut run = Run::start("presence").await;
    for (name, body) in RETARGETS {
        for line in ["PATCH /repos/acme/widgets/pulls/76", "POST /repos/acme/widgets/pulls/76"] {
            let bytes = run.request(line, "", body);
            run.attack(&format!("{name}, {line}"), &bytes).await;
        }
    }
    for query in ["base=release", "a=b;base=release", "base[]=release", "BASE=release"] {
        let bytes =
            run.request(&format!("PATCH /repos/acme/widgets/pulls/76?{query}"), "", r#"{"title":"x"}"#);
        run.attack(query, &bytes).await;
    }
    run.finish(2 * RETARGETS.len() + 4).await;
}

#[tokio::test]
async fn no_other_gate_is_passed() {
    let mut run = Run::start("presence").await;
    let body =
        r#"{"event":"APPROVE","state":"success","name":"ci","head_sha":"0","ref":"main","tag_name":"v9"}"#;
    for (name, line) in GATES {
        let bytes = run.request(line, "", body);
        run.attack(name, &bytes).await;
    }
    run.finish(GATES.len()).await;
}
