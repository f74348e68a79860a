//! Commits and refs on a guarded branch, however the request names it, or without naming it.

use serde_json::Value;

use super::run::Run;

/// Members of a commit's body that concern the branch.
const NAMES: [(&str, &str); 28] = [
    ("nowhere", ""),
    ("plainly", r#","branch":"main""#),
    ("another protected one", r#","branch":"locked""#),
    ("null", r#","branch":null"#),
    ("nothing", r#","branch":"""#),
    ("a blank", r#","branch":" ""#),
    ("a list", r#","branch":["feature/x"]"#),
    ("a list of both", r#","branch":["feature/x","main"]"#),
    ("an object", r#","branch":{"name":"feature/x"}"#),
    ("a number", r#","branch":1"#),
    ("true", r#","branch":true"#),
    ("false", r#","branch":false"#),
    ("in full", r#","branch":"refs/heads/main""#),
    ("nearly in full", r#","branch":"heads/main""#),
    ("another one in full", r#","branch":"refs/heads/locked""#),
    ("escaped", r#","branch":"\u006dain""#),
    ("HEAD", r#","branch":"HEAD""#),
    ("at", r#","branch":"@""#),
    ("a commit", r#","branch":"0123456789abcdef0123456789abcdef01234567""#),
    ("in the second of two keys", r#","branch":"feature/x","branch":"main""#),
    ("in the first of two keys", r#","branch":"main","branch":"feature/x""#),
    ("in an escaped second key", r#","branch":"feature/x","\u0062ranch":"main""#),
    ("in an escaped first key", r#","br\u0061nch":"main","branch":"feature/x""#),
    ("beside null", r#","branch":"feature/x","branch":null"#),
    ("in a second document", r#","branch":"feature/x"}{"branch":"main""#),
    ("in a comment", r#"/*,"branch":"feature/x"*/"#),
    ("under another key alone", r#","ref":"feature/x""#),
    ("under a longer key alone", r#","branch_name":"feature/x""#),
];

/// Names that are not the guarded branch's but that some reader takes for it.
const SLOPPY_NAMES: [(&str, &str); 14] = [
    ("in full-width letters", r#","branch":"ｍａｉｎ""#),
    ("another one in capitals", r#","branch":"LOCKED""#),
    ("with a blank after", r#","branch":"main ""#),
    ("with a blank before", r#","branch":" main""#),
    ("with a line feed", r#","branch":"main\n""#),
    ("with NUL", r#","branch":"main\u0000""#),
    ("with NUL and more", r#","branch":"main\u0000/feature""#),
    ("with a slash", r#","branch":"main/""#),
    ("after a slash", r#","branch":"/main""#),
    ("in capitals", r#","branch":"MAIN""#),
    ("escaped as in a URL", r#","branch":"%6Dain""#),
    ("a reflog", r#","branch":"main@{0}""#),
    ("an ancestor", r#","branch":"main~0""#),
    ("a tag", r#","branch":"refs/tags/../heads/main""#),
];

/// Keys that only look like `branch`, beside it or instead of it.
const LOOKALIKES: [(&str, &str); 10] = [
    ("a capital", r#","Branch":"feature/x""#),
    ("capitals", r#","BRANCH":"feature/x""#),
    ("a blank before", r#","  branch":"feature/x""#),
    ("a blank after", r#","branch ":"feature/x""#),
    ("NUL", r#","branch\u0000":"feature/x""#),
    ("a Cyrillic letter", r#","br\u0430nch":"feature/x""#),
    ("a capital beside the key", r#","branch":"feature/x","Branch":"main""#),
    ("a capital before the key", r#","Branch":"main","branch":"feature/x""#),
    ("NUL beside the key", r#","branch":"feature/x","branch\u0000":"main""#),
    ("brackets beside the key", r#","branch":"feature/x","branch[]":"main""#),
];

/// Queries of a commit, and the members of its body.
const QUERIES: [(&str, &str, &str); 7] = [
    ("only in the query of a PUT", "?branch=feature%2Fx", ""),
    ("guarded in the query", "?branch=main", r#","branch":"feature/x""#),
    ("guarded in the body", "?branch=feature%2Fx", r#","branch":"main""#),
    ("guarded in the query alone", "?branch=main", ""),
    ("guarded, escaped", "?br%61nch=m%61in", r#","branch":"feature/x""#),
    ("twice in the query", "?branch=feature%2Fx&branch=main", r#","branch":"feature/x""#),
    ("empty in the query", "?branch=", r#","branch":"feature/x""#),
];

/// Refs in the path that must not move: `PATCH` and `DELETE`.
const REFS: [(&str, &str); 18] = [
    ("plainly", "heads/main"),
    ("an escaped slash", "heads%2Fmain"),
    ("an escaped slash, lower case", "heads%2fmain"),
    ("an escaped letter", "heads/m%61in"),
    ("every letter escaped", "%68%65%61%64%73/%6D%61%69%6E"),
    ("another protected one", "heads/locked"),
    ("two slashes", "heads//main"),
    ("a dot segment", "heads/./main"),
    ("up and down", "heads/feature/../main"),
    ("up and down, escaped", "heads%2Ffeature%2F..%2Fmain"),
    ("up and down, twice escaped", "heads/feature/%252e%252e/main"),
    ("twice escaped", "heads%252Fmain"),
    ("a slash at the end", "heads/main/"),
    ("NUL at the end", "heads/main%00"),
    ("a tag", "tags/v1.0.0"),
    ("a tag, escaped", "tags%2Fv1.0.0"),
    ("a pull request", "pull/76/head"),
    ("a remote", "remotes/origin/main"),
];

/// Refs in the path that some reader takes for the guarded one.
const SLOPPY_REFS: [(&str, &str); 6] = [
    ("in full", "refs/heads/main"),
    ("in full, escaped", "refs%2Fheads%2Fmain"),
    ("in capitals", "heads/MAIN"),
    ("the kind in capitals", "HEADS/main"),
    ("a blank at the end", "heads/main%20"),
    ("a parameter", "heads/main;x"),
];

/// Bodies that create a guarded ref, or one that is not a branch.
const NEW_REFS: [(&str, &str); 17] = [
    ("the default branch in capitals", r#""ref":"refs/heads/MAIN""#),
    ("the default branch", r#""ref":"refs/heads/main""#),
    ("a protected one", r#""ref":"refs/heads/locked""#),
    ("a tag", r#""ref":"refs/tags/v9.0.0""#),
    ("a tag in capitals", r#""ref":"refs/Tags/v9.0.0""#),
    ("a short tag", r#""ref":"tags/v9.0.0""#),
    ("a pull request", r#""ref":"refs/pull/76/merge""#),
    ("a note", r#""ref":"refs/notes/commits""#),
    ("a remote", r#""ref":"refs/remotes/origin/main""#),
    ("no kind", r#""ref":"main""#),
    ("a short name", r#""ref":"heads/main""#),
    ("nothing", r#""ref":"""#),
    ("nowhere", r#""name":"refs/heads/new""#),
    ("a list", r#""ref":["refs/heads/new"]"#),
    ("up and down", r#""ref":"refs/heads/../tags/v9""#),
    ("two keys", r#""ref":"refs/heads/new","ref":"refs/tags/v9.0.0""#),
    ("an escaped key", r#""ref":"refs/heads/new","\u0072ef":"refs/heads/main""#),
];

/// The tip of `feature/x`, to which an attacker would move `main`.
async fn tip(run: &Run) -> String {
    let answer = run.tollgate.get("/repos/acme/widgets/git/ref/heads%2Ffeature%2Fx").await;
    let reference: Value = answer.json();
    reference["object"]["sha"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_name_of_a_branch_hides_a_commit_onto_a_guarded_one() {
    commit(&NAMES).await;
}

#[tokio::test]
async fn no_name_that_some_reader_takes_for_a_guarded_branch_passes() {
    commit(&SLOPPY_NAMES).await;
}

#[tokio::test]
async fn no_key_that_looks_like_branch_passes() {
    commit(&LOOKALIKES).await;
    let mut run = Run::start("presence").await;
    for query in ["branch[]=main", "BRANCH=main", "a=b;branch=main", "+branch=main"] {
        for method in ["PUT", "DELETE"] {
            let body = r#"{"message":"m","content":"eA==","sha":"x","branch":"feature/x"}"#;
            let bytes =
                run.request(&format!("{method} /repos/acme/widgets/contents/new.txt?{query}"), "", body);
            run.attack(&format!("{query}, {method}"), &bytes).await;
        }
    }
    run.finish(8).await;
}

/// The same members for an autofix commit, which calls its branch `target_ref`.
fn of_a_fix(members: &str) -> String {
    [
        ("\\u0062ranch", "\\u0074arget_ref"),
        ("br\\u0061nch", "t\\u0061rget_ref"),
        ("br\\u0430nch", "t\\u0430rget_ref"),
        ("branch", "target_ref"),
        ("Branch", "Target_ref"),
        ("BRANCH", "TARGET_REF"),
    ]
    .iter()
    .fold(members.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Sends commits, and autofix commits, with each of these in the body.
async fn commit(names: &[(&str, &str)]) {
    let mut run = Run::start("presence").await;
    for (name, members) in names {
        for method in ["PUT", "DELETE"] {
            let body = format!(r#"{{"message":"m","content":"eA==","sha":"x"{members}}}"#);
            let bytes = run.request(&format!("{method} /repos/acme/widgets/contents/new.txt"), "", body);
            run.attack(&format!("{name}, {method}"), &bytes).await;
        }
        let target = format!(r#"{{"message":"m"{}}}"#, of_a_fix(members));
        let bytes =
            run.request("POST /repos/acme/widgets/code-scanning/alerts/1/autofix/commits", "", target);
        run.attack(&format!("{name}, a fix"), &bytes).await;
    }
    run.finish(3 * names.len()).await;
}

#[tokio::test]
async fn no_query_hides_a_commit_onto_a_guarded_branch() {
    let mut run = Run::start("presence").await;
    for (name, query, members) in QUERIES {
        let body = format!(r#"{{"message":"m","content":"eA==","sha":"x"{members}}}"#);
        let bytes = run.request(&format!("PUT /repos/acme/widgets/contents/new.txt{query}"), "", &body);
        run.attack(name, &bytes).await;
        if !query.starts_with("?branch=feature%2Fx") || !members.is_empty() {
            let bytes =
                run.request(&format!("DELETE /repos/acme/widgets/contents/README.md{query}"), "", &body);
            run.attack(&format!("{name}, by DELETE"), &bytes).await;
        }
    }
    for (name, line, body) in [
        ("a DELETE without a body", "DELETE /repos/acme/widgets/contents/README.md?sha=x&message=m", ""),
        (
            "a file named like a branch",
            "PUT /repos/acme/widgets/contents/feature/x",
            r#"{"message":"m","content":""}"#,
        ),
        (
            "another repository's file",
            "PUT /repos/acme/gadgets/contents/x",
            r#"{"message":"m","content":"","branch":"main"}"#,
        ),
        (
            "a file by id",
            "PUT /repositories/2001/contents/x",
            r#"{"message":"m","content":"","branch":"main"}"#,
        ),
        (
            "a workflow",
            "PUT /repos/acme/widgets/contents/.github/workflows/x.yml",
            r#"{"message":"m","content":""}"#,
        ),
        ("a form", "PUT /repos/acme/widgets/contents/x", "branch=feature/x&message=m&content="),
        ("an empty body", "PUT /repos/acme/widgets/contents/x", ""),
        ("a list", "PUT /repos/acme/widgets/contents/x", r#"[{"branch":"feature/x"}]"#),
        ("after a byte order mark", "PUT /repos/acme/widgets/contents/x", "\u{feff}{\"branch\":\"main\"}"),
    ] {
        let bytes = run.request(line, "", body);
        run.attack(name, &bytes).await;
    }
    let mut late = run.head("PUT /repos/acme/widgets/contents/x", "Transfer-Encoding: chunked\r\n");
    late.extend(b"13\r\n{\"branch\":\"main\" \r\n\r\n1\r\n}\r\n0\r\n\r\n");
    run.attack("in chunks", &late).await;
    run.finish(22).await;
}

#[tokio::test]
async fn no_spelling_of_a_ref_moves_a_guarded_one() {
    let mut run = Run::start("presence").await;
    let sha = tip(&run).await;
    let body = format!(r#"{{"sha":"{sha}","force":true}}"#);
    for (name, reference) in REFS {
        for method in ["PATCH", "DELETE", "POST", "PUT"] {
            let bytes = run.request(&format!("{method} /repos/acme/widgets/git/refs/{reference}"), "", &body);
            run.attack(&format!("{name}, {method}"), &bytes).await;
        }
    }
    for (name, members) in NEW_REFS {
        let bytes =
            run.request("POST /repos/acme/widgets/git/refs", "", format!(r#"{{{members},"sha":"{sha}"}}"#));
        run.attack(&format!("new: {name}"), &bytes).await;
    }
    for query in ["?ref=refs/heads/main", "?ref=refs/tags/v9", "?a=b;ref=refs/tags/v9"] {
        let body = format!(r#"{{"ref":"refs/heads/new","sha":"{sha}"}}"#);
        let bytes = run.request(&format!("POST /repos/acme/widgets/git/refs{query}"), "", body);
        run.attack(&format!("new: {query}"), &bytes).await;
    }
    run.finish(4 * REFS.len() + NEW_REFS.len() + 3).await;
}

#[tokio::test]
async fn no_ref_that_some_reader_takes_for_a_guarded_one_moves() {
    let mut run = Run::start("presence").await;
    let sha = tip(&run).await;
    let body = format!(r#"{{"sha":"{sha}","force":true}}"#);
    for (name, reference) in SLOPPY_REFS {
        for method in ["PATCH", "DELETE"] {
            let bytes = run.request(&format!("{method} /repos/acme/widgets/git/refs/{reference}"), "", &body);
            run.attack(&format!("{name}, {method}"), &bytes).await;
        }
    }
    run.finish(2 * SLOPPY_REFS.len()).await;
}

#[tokio::test]
async fn no_pull_request_carries_code_onto_a_guarded_branch() {
    let mut run = Run::start("presence").await;
    for (name, line) in [
        ("an update of a protected head", "PUT /repos/acme/widgets/pulls/78/update-branch"),
        ("an update of the default branch as a head", "PUT /repos/acme/widgets/pulls/79/update-branch"),
        ("an update by id", "PUT /repositories/2001/pulls/78/update-branch"),
        ("an update with an escaped number", "PUT /repos/acme/widgets/pulls/%37%38/update-branch"),
        ("an update with a zero", "PUT /repos/acme/widgets/pulls/078/update-branch"),
        ("an update with a fraction", "PUT /repos/acme/widgets/pulls/78.0/update-branch"),
        ("an update of no pull request", "PUT /repos/acme/widgets/pulls/9999/update-branch"),
        ("an update of an issue", "PUT /repos/acme/widgets/pulls/1/update-branch"),
        ("a deleted head", "DELETE /repos/acme/widgets/git/refs/heads/feature/x"),
        ("a deleted head, escaped", "DELETE /repos/acme/widgets/git/refs/heads%2Frelease"),
        ("a deleted head by id", "DELETE /repositories/2001/git/refs/heads/release"),
        ("a deleted base", "DELETE /repos/acme/widgets/git/refs/heads/release?x=y"),
    ] {
        let bytes = run.request(line, "", "{}");
        run.attack(name, &bytes).await;
    }
    run.finish(12).await;
}
