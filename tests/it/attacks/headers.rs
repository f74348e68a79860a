//! Headers that look like an approval's and are not, in the mode that only requires presence.

use super::run::{MERGE, Run};

/// Header fields on a merge that approve nothing.
const FIELDS: [(&str, &[u8]); 30] = [
    ("absent", b""),
    ("empty", b"X-Merge-Approval:\r\n"),
    ("a blank", b"X-Merge-Approval: \r\n"),
    ("blanks", b"X-Merge-Approval:         \r\n"),
    ("a tab", b"X-Merge-Approval: \t \t\r\n"),
    ("a no-break space", b"X-Merge-Approval: \xc2\xa0\r\n"),
    ("a no-break space in Latin-1", b"X-Merge-Approval: \xa0\r\n"),
    ("an ideographic space", b"X-Merge-Approval: \xe3\x80\x80\r\n"),
    ("a zero-width space", b"X-Merge-Approval: \xe2\x80\x8b\r\n"),
    ("a byte order mark", b"X-Merge-Approval: \xef\xbb\xbf\r\n"),
    ("a control character", b"X-Merge-Approval: \x01\r\n"),
    ("NUL", b"X-Merge-Approval: \0\r\n"),
    ("DEL", b"X-Merge-Approval: \x7f\r\n"),
    ("twice", b"X-Merge-Approval: yes\r\nX-Merge-Approval: yes\r\n"),
    ("twice, once empty", b"X-Merge-Approval:\r\nX-Merge-Approval: yes\r\n"),
    ("twice, in two cases", b"x-merge-approval: yes\r\nX-MERGE-APPROVAL: no\r\n"),
    ("underscores", b"X_Merge_Approval: yes\r\n"),
    ("one underscore", b"X-Merge_Approval: yes\r\n"),
    ("no hyphen", b"X-MergeApproval: yes\r\n"),
    ("a plural", b"X-Merge-Approvals: yes\r\n"),
    ("without X", b"Merge-Approval: yes\r\n"),
    ("a hyphen more", b"X-Merge-Approval-: yes\r\n"),
    ("a blank before the colon", b"X-Merge-Approval : yes\r\n"),
    ("a blank before the name", b" X-Merge-Approval: yes\r\n"),
    ("a folded line", b"X-Merge-Approval:\r\n yes\r\n"),
    ("a letter that is none", b"X-Merge-\xd0\x90pproval: yes\r\n"),
    ("within another header", b"X: y\rX-Merge-Approval: yes\r\n"),
    ("after a bare line feed", b"X: y\nX-Merge-Approval: yes\r\n"),
    ("in a cookie", b"Cookie: x-merge-approval=yes; X-Merge-Approval=yes\r\n"),
    (
        "in a preference",
        b"Prefer: x-merge-approval=yes\r\nPriority: u=0\r\nUser-Agent: x-merge-approval: yes\r\n",
    ),
];

#[tokio::test]
async fn nothing_but_one_header_with_something_in_it_approves() {
    let mut run = Run::start("presence").await;
    for (name, fields) in FIELDS {
        for line in [format!("PUT {MERGE}"), "POST /repos/acme/widgets/merges".to_owned()] {
            let body = br#"{"base":"main","head":"feature/x"}"#;
            let mut bytes = run.head(&line, "");
            bytes.truncate(bytes.len() - 2);
            bytes.extend(fields);
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend(body);
            run.attack(name, &bytes).await;
        }
    }
    run.finish(2 * FIELDS.len()).await;
}

#[tokio::test]
async fn no_other_place_holds_an_approval() {
    let mut run = Run::start("presence").await;
    let merge = format!("PUT {MERGE}");
    let body = r#"{"x-merge-approval":"yes","X-Merge-Approval":"yes","approval":"yes"}"#;
    let rows = [
        ("in the query", run.request(&format!("{merge}?x-merge-approval=yes"), "", "{}")),
        ("in the query, as documented", run.request(&format!("{merge}?X-Merge-Approval=yes"), "", "{}")),
        ("in the body", run.request(&merge, "", body)),
        ("in a form", run.request(&merge, "", "x-merge-approval=yes")),
        ("in a parameter of the path", run.request(&format!("{merge};x-merge-approval=yes"), "", "{}")),
        (
            "in the media type",
            run.request(&merge, "Accept: application/json; x-merge-approval=yes\r\n", "{}"),
        ),
    ];
    for (name, bytes) in &rows {
        run.attack(name, bytes).await;
    }
    for (name, trailer) in [
        ("in a trailer", "X-Merge-Approval: yes\r\n"),
        ("in a trailer, twice", "X-Merge-Approval: yes\r\nX-Merge-Approval: yes\r\n"),
    ] {
        for announced in ["", "Trailer: X-Merge-Approval\r\n", "TE: trailers\r\n"] {
            let mut bytes = run.head(&merge, &format!("Transfer-Encoding: chunked\r\n{announced}"));
            bytes.extend(format!("2\r\n{{}}\r\n0\r\n{trailer}\r\n").as_bytes());
            run.attack(name, &bytes).await;
        }
    }
    // An approval of one request does not count for the next on the same connection.
    let approved =
        String::from_utf8(run.request("GET /repos/acme/widgets", "X-Merge-Approval: yes\r\n", "")).unwrap();
    let approved = approved.replacen("Connection: close\r\n", "", 1);
    let bare = run.request(&merge, "", "{}");
    run.attack_in_pieces("of the request before", &[approved.as_bytes(), &bare]).await;
    run.finish(13).await;
}
