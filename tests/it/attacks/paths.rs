//! The path of a merge, spelled so that one reader recognizes it and another does not.

use super::run::Run;

/// Paths of a merge, sent with `PUT`.
const SPELLINGS: [(&str, &str); 72] = [
    ("as documented", "/repos/acme/widgets/pulls/76/merge"),
    ("below /api/v3", "/api/v3/repos/acme/widgets/pulls/76/merge"),
    ("owner in capitals", "/repos/ACME/Widgets/pulls/76/merge"),
    ("route in capitals", "/Repos/acme/widgets/pulls/76/merge"),
    ("pulls in capitals", "/repos/acme/widgets/PULLS/76/merge"),
    ("merge in capitals", "/repos/acme/widgets/pulls/76/MERGE"),
    ("an escaped letter", "/repos/acme/widgets/pulls/76/%6Derge"),
    ("an escaped letter, lower-case hex", "/repos/acme/widgets/pulls/76/%6derge"),
    ("every letter escaped", "/repos/acme/widgets/%70%75%6C%6C%73/%37%36/%6D%65%72%67%65"),
    ("an escaped capital", "/repos/acme/widgets/pulls/76/%4Derge"),
    ("an escaped repos", "/%72epos/acme/widgets/pulls/76/merge"),
    ("a slash at the end", "/repos/acme/widgets/pulls/76/merge/"),
    ("two slashes at the end", "/repos/acme/widgets/pulls/76/merge//"),
    ("an escaped slash at the end", "/repos/acme/widgets/pulls/76/merge%2F"),
    ("two slashes at the start", "//repos/acme/widgets/pulls/76/merge"),
    ("two slashes within", "/repos/acme/widgets//pulls/76/merge"),
    ("a dot segment", "/repos/acme/widgets/pulls/./76/merge"),
    ("a dot segment at the end", "/repos/acme/widgets/pulls/76/merge/."),
    ("up and down", "/repos/acme/widgets/issues/../pulls/76/merge"),
    ("up from the root", "/../repos/acme/widgets/pulls/76/merge"),
    ("escaped dots", "/repos/acme/widgets/issues/%2e%2e/pulls/76/merge"),
    ("one escaped dot", "/repos/acme/widgets/issues/.%2E/pulls/76/merge"),
    ("dots with a parameter", "/repos/acme/widgets/issues/..;/pulls/76/merge"),
    ("dots with a named parameter", "/repos/acme/widgets/issues/..;a=b/pulls/76/merge"),
    ("dots with an escaped parameter", "/repos/acme/widgets/issues/%2e%2e%3b/pulls/76/merge"),
    ("dots and an escaped slash", "/repos/acme/widgets/issues/..%2Fpulls/76/merge"),
    ("twice escaped dots", "/repos/acme/widgets/issues/%252e%252e/pulls/76/merge"),
    ("up out of a file's path", "/repos/acme/widgets/contents/../pulls/76/merge"),
    ("up out of a file's path, escaped", "/repos/acme/widgets/contents/%2e%2e/pulls/76/merge"),
    ("up out of a file's path, twice escaped", "/repos/acme/widgets/contents/%252e%252e/pulls/76/merge"),
    ("escaped slashes as separators", "/repos/acme/widgets/pulls%2F76%2Fmerge"),
    ("one escaped slash as a separator", "/repos/acme/widgets/pulls/76%2fmerge"),
    ("an escaped slash in the name", "/repos/acme%2Fwidgets/pulls/76/merge"),
    ("a twice escaped slash", "/repos/acme/widgets/pulls/76%252Fmerge"),
    ("a twice escaped letter", "/repos/acme/widgets/pulls/76/%256Derge"),
    ("a thrice escaped letter", "/repos/acme/widgets/pulls/76/%25256Derge"),
    ("backslashes", "/repos/acme/widgets\\pulls\\76\\merge"),
    ("escaped backslashes", "/repos/acme/widgets/pulls%5C76%5Cmerge"),
    ("NUL at the end", "/repos/acme/widgets/pulls/76/merge%00"),
    ("NUL and an ending", "/repos/acme/widgets/pulls/76/merge%00.json"),
    ("NUL within", "/repos/acme/widgets/pulls/76/mer%00ge"),
    ("a parameter", "/repos/acme/widgets/pulls/76/merge;x"),
    ("a named parameter", "/repos/acme/widgets/pulls/76/merge;x=y"),
    ("a parameter within", "/repos/acme/widgets/pulls;v=1/76/merge"),
    ("the ending .json", "/repos/acme/widgets/pulls/76/merge.json"),
    ("a dot at the end", "/repos/acme/widgets/pulls/76/merge."),
    ("an escaped dot at the end", "/repos/acme/widgets/pulls/76/merge%2E"),
    ("an escaped blank at the end", "/repos/acme/widgets/pulls/76/merge%20"),
    ("a plus at the end", "/repos/acme/widgets/pulls/76/merge+"),
    ("an escaped tab", "/repos/acme/widgets/pulls/76/merge%09"),
    ("an escaped line feed", "/repos/acme/widgets/pulls/76/merge%0A"),
    ("an escaped request", "/repos/acme/widgets/pulls/76/merge%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0a"),
    ("a fragment", "/repos/acme/widgets/pulls/76/merge#issues"),
    ("an escaped fragment", "/repos/acme/widgets/pulls/76/merge%23issues"),
    ("an empty query", "/repos/acme/widgets/pulls/76/merge?"),
    ("a query", "/repos/acme/widgets/pulls/76/merge?x=y"),
    ("an escaped query", "/repos/acme/widgets/pulls/76/merge%3Fx=y"),
    ("a query that looks like a path", "/repos/acme/widgets/pulls/76/merge?/../../issues"),
    ("an over-long slash", "/repos/acme/widgets/pulls%C0%AF76%C0%AFmerge"),
    ("an over-long slash of three bytes", "/repos/acme/widgets/pulls/76%E0%80%AFmerge"),
    ("over-long dots", "/repos/acme/widgets/issues/%C0%AE%C0%AE/pulls/76/merge"),
    ("an over-long letter", "/repos/acme/widgets/pulls/76/%C1%ADerge"),
    ("a Microsoft escape", "/repos/acme/widgets/pulls/76/%u006Derge"),
    ("full-width letters", "/repos/acme/widgets/pulls/76/%EF%BD%8Derge"),
    ("full-width letters, plain", "/repos/acme/widgets/pulls/76/ｍerge"),
    ("a full-width slash", "/repos/acme/widgets/pulls/76%EF%BC%8Fmerge"),
    ("a zero-width space", "/repos/acme/widgets/pulls/76/merge%E2%80%8B"),
    ("half an escape", "/repos/acme/widgets/pulls/76/merge%"),
    ("an escape that is none", "/repos/acme/widgets/pulls/76/%6merge"),
    ("a number with a zero", "/repos/acme/widgets/pulls/076/merge"),
    ("a number with a fraction", "/repos/acme/widgets/pulls/76.0/merge"),
    ("a name that ends in .git", "/repos/acme/widgets.git/pulls/76/merge"),
];

/// Aliases and prefixes of the API, and request targets in other forms.
const ALIASES: [(&str, &str); 37] = [
    ("a numeric id", "/repositories/2001/pulls/76/merge"),
    ("a numeric id below /api/v3", "/api/v3/repositories/2001/pulls/76/merge"),
    ("a numeric id with a zero", "/repositories/02001/pulls/76/merge"),
    ("a numeric id with a sign", "/repositories/+2001/pulls/76/merge"),
    ("a numeric id with a fraction", "/repositories/2001.0/pulls/76/merge"),
    ("a numeric id in hex", "/repositories/0x7d1/pulls/76/merge"),
    ("a numeric id, escaped", "/repositories/%32001/pulls/76/merge"),
    ("a numeric id and an escaped slash", "/repositories/2001%2Fpulls/76/merge"),
    ("Repositories in capitals", "/Repositories/2001/pulls/76/merge"),
    ("an id for a name", "/repos/2001/pulls/76/merge"),
    ("another repository's id", "/repositories/2003/pulls/1/merge"),
    ("no such id", "/repositories/99999999999999999999/pulls/76/merge"),
    ("the prefix twice", "/api/v3/api/v3/repos/acme/widgets/pulls/76/merge"),
    ("the uploads' prefix", "/api/uploads/repos/acme/widgets/pulls/76/merge"),
    ("both prefixes", "/api/v3/api/uploads/repos/acme/widgets/pulls/76/merge"),
    ("both prefixes, the other way", "/api/uploads/api/v3/repos/acme/widgets/pulls/76/merge"),
    ("the prefix in capitals", "/API/V3/repos/acme/widgets/pulls/76/merge"),
    ("an escaped prefix", "/%61pi/v3/repos/acme/widgets/pulls/76/merge"),
    ("half a prefix", "/api/repos/acme/widgets/pulls/76/merge"),
    ("up out of the prefix", "/api/v3/../repos/acme/widgets/pulls/76/merge"),
    ("up out of GraphQL", "/api/graphql/../v3/repos/acme/widgets/pulls/76/merge"),
    ("below GraphQL", "/graphql/repos/acme/widgets/pulls/76/merge"),
    ("an empty segment after the prefix", "/api/v3//repos/acme/widgets/pulls/76/merge"),
    ("GitHub's own address", "https://api.github.com/repos/acme/widgets/pulls/76/merge"),
    ("GitHub's own address, unencrypted", "http://api.github.com/repos/acme/widgets/pulls/76/merge"),
    ("a host that is served", "http://api.github.localhost/repos/acme/widgets/pulls/76/merge"),
    ("another host", "http://evil.example/repos/acme/widgets/pulls/76/merge"),
    ("a user in the address", "http://api.github.localhost@evil.example/repos/acme/widgets/pulls/76/merge"),
    ("an address without slashes", "http:repos/acme/widgets/pulls/76/merge"),
    ("an address with a query first", "http://api.github.localhost?/repos/acme/widgets/pulls/76/merge"),
    ("an address of a file", "file:///repos/acme/widgets/pulls/76/merge"),
    ("no slash at the start", "repos/acme/widgets/pulls/76/merge"),
    ("an asterisk", "*"),
    ("a query alone", "?/repos/acme/widgets/pulls/76/merge"),
    ("an asynchronous merge", "/repos/acme/widgets/pulls/76/merge-async"),
    ("an asynchronous merge, escaped", "/repos/acme/widgets/pulls/76/merge%2Dasync"),
    ("an asynchronous merge by id", "/repositories/2001/pulls/76/merge-async"),
];

/// Other requests that land code or move a ref, through a parameter that may hold slashes.
const DETOURS: [(&str, &str, &str); 13] = [
    ("a merge of branches", "POST", "/repos/acme/widgets/merges"),
    ("a merge of branches, escaped", "POST", "/repos/acme/widgets/%6Derges"),
    ("a merge of branches by id", "POST", "/repositories/2001/merges"),
    ("a merge of branches in capitals", "POST", "/repos/acme/widgets/Merges"),
    ("a merge from upstream", "POST", "/repos/acme/widgets/merge-upstream"),
    ("a merge from upstream below /api/v3", "POST", "/api/v3/repos/acme/widgets/merge-upstream"),
    ("a label that leads to a ref", "PATCH", "/repos/acme/widgets/labels/..%2Fgit%2Frefs%2Fheads%2Fmain"),
    (
        "a label that leads to a ref, escaped",
        "PATCH",
        "/repos/acme/widgets/labels/%2e%2e%2fgit%2frefs%2fheads%2fmain",
    ),
    (
        "a label that leads to a ref by ..;",
        "PATCH",
        "/repos/acme/widgets/labels/..;%2Fgit%2Frefs%2Fheads%2Fmain",
    ),
    (
        "a label that leads to a ref by NUL",
        "PATCH",
        "/repos/acme/widgets/labels/x%00%2F..%2Fgit%2Frefs%2Fheads%2Fmain",
    ),
    ("a label with a backslash", "PATCH", "/repos/acme/widgets/labels/..%5Cgit%5Crefs%5Cheads%5Cmain"),
    (
        "a comment that leads to a merge",
        "PATCH",
        "/repos/acme/widgets/issues/comments/..%2F..%2Fpulls%2F76%2Fmerge",
    ),
    (
        "an issue that leads to the branch",
        "PATCH",
        "/repos/acme/widgets/issues/1%2F..%2F..%2Fgit%2Frefs%2Fheads%2Fmain",
    ),
];

/// Nested escapes in a parameter that may hold them; decoded again, they lead elsewhere.
const TWICE_ESCAPED: [&str; 8] = [
    "PATCH /repos/acme/widgets/labels/%252e%252e%252fgit%252frefs%252fheads%252fmain",
    "PATCH /repos/acme/widgets/labels/%252e%252e/git/refs/heads/main",
    "DELETE /repos/acme/widgets/issues/1/labels/%252e%252e%252f%252e%252e%252f%252e%252e%252fgit%252frefs%252fheads%252fmain",
    "PATCH /repos/acme/widgets/labels/x%25252f..%25252f..%25252fgit%25252frefs%25252fheads%25252fmain",
    "GET /repos/acme/widgets/labels/%252e%252e%252f%252e%252e%252fsecret-plans",
    "GET /repos/acme/widgets/contents/%252e%252e/%252e%252e/secret-plans",
    "GET /repos/acme/widgets/contents/x/%252e%252e%252f%252e%252e%252f%252e%252e%252fsecret-plans",
    "GET /repos/acme/widgets/readme/%252e%252e/%252e%252e/secret-plans",
];

#[tokio::test]
async fn no_escape_of_an_escape_leads_elsewhere() {
    let mut run = Run::start("presence").await;
    for line in TWICE_ESCAPED {
        let bytes = run.request(line, "", r#"{"sha":"0000000000000000000000000000000000000000"}"#);
        run.attack(line, &bytes).await;
    }
    run.finish(TWICE_ESCAPED.len()).await;
}

#[tokio::test]
async fn no_spelling_of_the_path_lands_anything() {
    let mut run = Run::start("presence").await;
    for (name, path) in SPELLINGS.into_iter().chain(ALIASES) {
        let bytes = run.request(&format!("PUT {path}"), "", "{}");
        run.attack(name, &bytes).await;
    }
    let body = r#"{"base":"main","head":"feature/x","branch":"main","sha":"0000000000000000000000000000000000000000"}"#;
    for (name, method, path) in DETOURS {
        let bytes = run.request(&format!("{method} {path}"), "", body);
        run.attack(name, &bytes).await;
    }
    run.finish(SPELLINGS.len() + ALIASES.len() + DETOURS.len()).await;
}
