//! The oracle detects what is dangerous, and only that.

use std::collections::BTreeMap;

use github_sim::RecordedRequest;

use super::{Ground, Meaning, judge};

fn ground() -> Ground {
    Ground {
        own: vec![("acme/widgets", 2001), ("acme/gadgets", 2002)],
        guarded: vec!["main", "locked"],
        heads: vec![(76, "feature/x"), (78, "locked")],
    }
}

fn arrived(method: &str, target: &str, body: &str) -> RecordedRequest {
    RecordedRequest {
        seq: 1,
        at_epoch_ms: 0,
        listener: "api".to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        headers: BTreeMap::new(),
        body_sha256: String::new(),
        body_bytes: body.len() as u64,
        body: (!body.is_empty()).then(|| body.to_owned()),
        credential: "installation:1001".to_owned(),
        authorization_sha256: None,
        route: None,
        status: Some(200),
        charge: None,
        refused_for: None,
    }
}

#[test]
fn merges_are_seen_however_they_are_spelled() {
    for (method, target) in [
        ("PUT", "/repos/acme/widgets/pulls/76/merge"),
        ("put", "/api/v3/REPOS/acme/widgets/pulls/76/%6D%65rge"),
        ("PUT", "/repos/acme/widgets/pulls/76/%256Derge"),
        ("PUT", "/repos/acme/widgets//pulls/./76/x/../merge/"),
        ("PUT", "/repos/acme/widgets/pulls/76/..;/76/merge;a=b"),
        ("PUT", "/repos/acme/widgets/pulls%2F76%2Fmerge.json"),
        ("PUT", "/repos/acme/widgets\\pulls\\76\\merge"),
        ("PUT", "/repos/acme/widgets/pulls%c0%af76/merge%00.txt"),
        ("PUT", "/repos/acme/widgets/pulls/76/%u006derge%3Fx"),
        ("PUT", "http://evil.example/repositories/02001/pulls/76/merge-async#x"),
        ("POST", "/api/v3/api/v3/repos/acme/widgets/merges"),
        ("POST", "/repos/foreign/lib/merge-upstream"),
        ("GET", "/repos/acme/widgets/pulls/76/merge?_method=PUT"),
        ("GET", "/repos/acme/widgets/pulls/76/merge?a=1;_METHOD[]=put"),
        ("PUT", "/repos/acme/widgets/contents/%252e%252e/pulls/76/merge"),
    ] {
        assert_eq!(judge(&arrived(method, target, "{}"), &ground()), Meaning::Merge, "{method} {target}");
    }
    for (name, value, method) in [
        ("x-http-method-override", "GET, PUT", "GET"),
        ("x-original-url", "/repos/acme/widgets/merges", "POST"),
    ] {
        let mut request = arrived(method, "/repos/acme/widgets/pulls/76/merge", "");
        request.headers.insert(name.to_owned(), value.to_owned());
        assert_eq!(judge(&request, &ground()), Meaning::Merge, "{name}");
    }
}

#[test]
fn branches_are_found_wherever_they_are_named() {
    let contents = "/repos/acme/widgets/contents/x";
    for (method, target, body) in [
        ("PUT", contents, r#"{"message":"x"}"#),
        ("PUT", contents, r#"{"branch":"main"}"#),
        ("PUT", contents, r#"{"branch":"feature/x","branch":"main"}"#),
        ("PUT", contents, r#"{"branch":"main","br\u0061nch":"feature/x"}"#),
        ("PUT", contents, r#"{"branch":"feature/x","Branch":"main"}"#),
        ("PUT", contents, r#"{"branch":null}"#),
        ("PUT", contents, r#"{"branch":["feature/x"]}"#),
        ("PUT", contents, r#"{"branch":" refs/heads/MAIN "}"#),
        ("PUT", contents, r#"{"branch":"HEAD"}"#),
        ("PUT", contents, r#"{"branch":"refs/tags/../heads/main"}"#),
        ("PUT", contents, r#"{"branch":"tags/v1"}"#),
        ("POST", "/repos/acme/widgets/git/refs", r#"{"ref":"refs/heads/../tags/v9"}"#),
        ("PUT", contents, r#"{"branch":"feature/x"} {"branch":"main"}"#),
        ("PUT", "/repos/acme/widgets/contents/x?branch=feature/x", "{}"),
        ("DELETE", "/repos/acme/widgets/contents/x?branch=main", r#"{"branch":"feature/x"}"#),
        ("DELETE", "/repos/acme/widgets/contents/x", ""),
        ("PATCH", "/repos/acme/widgets/git/refs/heads%2Fmain", "{}"),
        ("PATCH", "/repos/acme/widgets/labels/%252e%252e%252fgit%252frefs%252fheads%252fmain", "{}"),
        ("PATCH", "/repos/acme/widgets/git/refs/tags/v1", "{}"),
        ("DELETE", "/repos/acme/widgets/git/refs/heads/feature/x", ""),
        ("POST", "/repos/acme/widgets/git/refs", r#"{"ref":"refs/tags/v2","sha":"x"}"#),
        ("PUT", "/repos/acme/widgets/pulls/78/update-branch", "{}"),
        ("PUT", "/repos/acme/widgets/pulls/99/update-branch", "{}"),
        ("PATCH", "/repos/acme/widgets/pulls/76", r#"{"base":"release"}"#),
        ("POST", "/repos/acme/widgets/releases", "{}"),
    ] {
        let request = arrived(method, target, body);
        assert_eq!(judge(&request, &ground()), Meaning::RefWrite, "{method} {target} {body}");
    }
}

#[test]
fn approvals_rules_tokens_and_mutations_are_seen() {
    let reviews = "/repos/acme/widgets/pulls/76/reviews";
    for (method, target, body, meaning) in [
        ("POST", reviews, r#"{"event":"APPROVE"}"#, Meaning::Review),
        ("POST", reviews, "\u{feff}{'event': ' approve ', }", Meaning::Review),
        ("POST", reviews, "{\0\"\0e\0v\0e\0n\0t\0\"\0:\0\"\0A\0P\0P\0R\0O\0V\0E\0\"\0}\0", Meaning::Review),
        ("POST", reviews, r#"{"event":"COMMENT","Event":["ＡＰＰＲＯＶＥ"]}"#, Meaning::Review),
        ("POST", reviews, "event=APPROVE&body=x", Meaning::Review),
        ("POST", "/repos/acme/widgets/statuses/abc", "{}", Meaning::Review),
        ("PUT", "/repos/acme/widgets/branches/main/protection", "{}", Meaning::Admin),
        ("POST", "/repos/acme/widgets/some-new-thing", "{}", Meaning::Admin),
        ("DELETE", "/repos/acme/widgets", "", Meaning::Admin),
        ("POST", "/gists", "{}", Meaning::Admin),
        ("POST", "/app/installations/1001/access_tokens", "{}", Meaning::Token),
        ("DELETE", "/api/v3/installation/token", "", Meaning::Token),
        ("POST", "/graphql", r#"{"query":"query{a} mutation{x:mergePullRequest}"}"#, Meaning::Merge),
        ("POST", "/graphql", r#"{"query":"{a}","query":"mutation { mergeBranch }"}"#, Meaning::Merge),
        ("POST", "/graphql", r#"{"query":"mutation { createRef { x } }"}"#, Meaning::RefWrite),
        ("POST", "/graphql", r#"{"query":"mutation{deleteIssue{x}}"}"#, Meaning::Admin),
        ("GET", "/graphql?query=mutation{mergeBranch}", "", Meaning::Merge),
        ("GET", "/repos/acme/secret-plans", "", Meaning::Foreign),
        ("GET", "/repos/acme/widgets/../secret-plans", "", Meaning::Foreign),
        ("GET", "/repos/acme/widgets/contents/%252e%252e/%252e%252e/secret-plans", "", Meaning::Foreign),
        ("GET", "/repositories/2003/issues", "", Meaning::Foreign),
        ("GET", "/repos/acme/widgets/compare/main...solo:main", "", Meaning::Foreign),
        ("GET", "/search/issues?q=repo:acme/widgets+repo:acme/secret-plans", "", Meaning::Foreign),
        ("GET", "/search/issues?q=bug", "", Meaning::Foreign),
        ("GET", "/orgs/acme/repos", "", Meaning::Foreign),
    ] {
        let request = arrived(method, target, body);
        assert_eq!(judge(&request, &ground()), meaning, "{method} {target} {body}");
    }
    let mut bare = arrived("GET", "/meta", "");
    bare.credential = "none".to_owned();
    assert_eq!(judge(&bare, &ground()), Meaning::Stray);
}

#[test]
fn ordinary_work_is_not_taken_for_danger() {
    for (method, target, body) in [
        ("GET", "/repos/acme/widgets/pulls/76/merge", ""),
        ("GET", "/repos/acme/widgets/contents/docs/merge/../x", ""),
        ("GET", "/repositories/2001/issues?page=2", ""),
        ("GET", "/search/issues?q=merge+repo:acme/widgets", ""),
        ("GET", "/repos/acme/widgets/compare/main...feature%2Fx", ""),
        ("POST", "/repos/acme/widgets/issues", r#"{"title":"merge main","body":"APPROVE _method=PUT"}"#),
        ("PUT", "/repos/acme/widgets/contents/x", r#"{"branch":"feature/x","message":"merge main"}"#),
        ("DELETE", "/repos/acme/widgets/contents/x?branch=feature/x&sha=1&message=m", ""),
        ("POST", "/repos/acme/widgets/git/refs", r#"{"ref":"refs/heads/new/branch","sha":"x"}"#),
        ("PATCH", "/repos/acme/widgets/git/refs/heads/feature%2Fx", r#"{"sha":"x"}"#),
        ("DELETE", "/repos/acme/widgets/git/refs/heads/spare", ""),
        ("PUT", "/repos/acme/widgets/pulls/76/update-branch", "{}"),
        ("POST", "/repos/acme/widgets/pulls/76/reviews", r#"{"event":"COMMENT","body":"APPROVE this"}"#),
        ("PATCH", "/repos/acme/widgets/pulls/76", r#"{"title":"base: main"}"#),
        ("POST", "/graphql", r##"{"query":"query { viewer { login } } # mutation { mergePullRequest }"}"##),
        (
            "POST",
            "/graphql",
            r#"{"query":"query mutation { a(b: \"mutation { mergeBranch }\") { mutation: c } }"}"#,
        ),
        (
            "POST",
            "/graphql",
            r#"{"query":"mutation { addComment(input: {body: \"mergePullRequest\"}) { clientMutationId } }"}"#,
        ),
    ] {
        let request = arrived(method, target, body);
        assert_eq!(judge(&request, &ground()), Meaning::Nothing, "{method} {target} {body}");
    }
    let mut question = arrived("GET", "/repositories/2003", "");
    question.status = Some(404);
    assert_eq!(judge(&question, &ground()), Meaning::Nothing);
}

#[test]
fn what_a_document_reads_is_seen_wherever_it_is_named() {
    let question =
        "query TollgateNodes($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Ref { name } } }";
    for (query, variables, meaning) in [
        (r#"{ repository(owner: "acme", name: "widgets") { name } }"#, "{}", Meaning::Nothing),
        (r#"{ repository(owner: "acme", name: "secret-plans") { name } }"#, "{}", Meaning::Foreign),
        (r#"{ repository(owner: "acme", name: "secret\u002dplans") { name } }"#, "{}", Meaning::Foreign),
        ("query($n: String!) { a }", r#"{"n": "secret-plans"}"#, Meaning::Foreign),
        (r#"{ node(id: "I_kwDO210100001") { id } }"#, "{}", Meaning::Foreign),
        (r#"{ node(id: "I_kwDO200100001") { id } }"#, "{}", Meaning::Nothing),
        (r#"{ node(id: "U_kgDO501") { id } }"#, "{}", Meaning::Nothing),
        ("{ viewer { x: repositories { nodes { name } } } }", "{}", Meaning::Foreign),
        (question, r#"{"ids": ["I_kwDO210100001"]}"#, Meaning::Nothing),
        (&question.replace("name }", "name target }"), r#"{"ids": ["I_kwDO210100001"]}"#, Meaning::Foreign),
        (
            &question.replace("$ids: [ID!]!", "$ids: [ID!] = \"x\""),
            r#"{"ids": ["I_kwDO210100001"]}"#,
            Meaning::Foreign,
        ),
        (r#"mutation { addComment(input: {subjectId: "I_kwDO210100001"}) { id } }"#, "{}", Meaning::Foreign),
    ] {
        let variables: serde_json::Value = serde_json::from_str(variables).unwrap();
        let body = serde_json::json!({"query": query, "variables": variables}).to_string();
        let request = arrived("POST", "/graphql", &body);
        assert_eq!(judge(&request, &ground()), meaning, "{query} {variables}");
    }
}
