//! GraphQL documents that change something while they look like reads.

use serde_json::json;

use super::run::Run;

const LANDS: &str = "mergePullRequest(input: {pullRequestId: \"PR_76\"}) { clientMutationId }";

/// Documents that all contain a merge.
fn documents() -> Vec<(&'static str, String)> {
    vec![
        ("plainly", format!("mutation {{ {LANDS} }}")),
        ("with a name", format!("mutation Q {{ {LANDS} }}")),
        ("under an alias", format!("mutation {{ viewer: {LANDS} }}")),
        ("after a query", format!("query A {{ viewer {{ login }} }} mutation B {{ {LANDS} }}")),
        ("before a query", format!("mutation B {{ {LANDS} }} query A {{ viewer {{ login }} }}")),
        ("in a fragment", format!("mutation {{ ...F }} fragment F on Mutation {{ {LANDS} }}")),
        ("in an inline fragment", format!("mutation {{ ... on Mutation {{ {LANDS} }} }}")),
        ("in a nameless fragment", format!("mutation {{ ... {{ {LANDS} }} }}")),
        ("behind a directive", format!("mutation {{ {} @include(if: true) }}", LANDS.replace(" { clientMutationId }", ""))),
        ("after a comment", format!("# query {{ viewer }}\nmutation {{ {LANDS} }}")),
        ("after a comment that ends in a return", format!("query A {{ a }} # x\rmutation B {{ {LANDS} }}")),
        ("after commas", format!(",,,mutation,,{{,{LANDS},}}")),
        ("after a byte order mark", format!("\u{feff}mutation {{ {LANDS} }}")),
        ("after a string", format!("query A {{ a(b: \"}}\") }} mutation {{ {LANDS} }}")),
        ("after a block string", format!("query A {{ a(b: \"\"\"\\\"\"\" }} \"\"\") }} mutation {{ {LANDS} }}")),
        ("beside a harmless one", format!("mutation {{ addComment(input: {{}}) {{ x }} {LANDS} }}")),
        ("as a subscription", format!("subscription {{ {LANDS} }}")),
        ("in a broken document", format!("mutation {{ {LANDS}")),
        ("auto-merge", "mutation { enablePullRequestAutoMerge(input: {}) { x } }".to_owned()),
        ("the queue", "mutation { enqueuePullRequest(input: {jump: true}) { x } }".to_owned()),
        ("a merge of branches", "mutation { mergeBranch(input: {base: \"main\", head: \"feature/x\"}) { x } }".to_owned()),
        ("a commit", "mutation { createCommitOnBranch(input: {branch: {branchName: \"main\"}}) { x } }".to_owned()),
        ("a ref", "mutation { updateRef(input: {refId: \"REF_1\", force: true}) { x } }".to_owned()),
        ("an approval", "mutation($e: PullRequestReviewEvent = APPROVE) { addPullRequestReview(input: {event: $e}) { x } }".to_owned()),
        ("a protection", "mutation { deleteBranchProtectionRule(input: {}) { x } }".to_owned()),
    ]
}

#[tokio::test]
async fn no_document_changes_anything_unseen() {
    let mut run = Run::start("presence").await;
    for (name, document) in documents() {
        for path in ["/graphql", "/api/graphql", "/api/v3/graphql"] {
            let mut body = json!({"query": document});
            if document.contains("query A") {
                body["operationName"] = json!("A");
            }
            let bytes = run.request(&format!("POST {path}"), "", body.to_string());
            run.attack(&format!("{name}, {path}"), &bytes).await;
        }
    }
    run.finish(75).await;
}

#[tokio::test]
async fn no_container_hides_a_document() {
    let mut run = Run::start("presence").await;
    let mutation = format!("mutation {{ {LANDS} }}");
    let quoted = json!(mutation).to_string();
    let escaped = mutation.replace(' ', "%20").replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let post = "POST /graphql";
    let read = r#""query":"{ viewer { login } }""#;
    let rows = [
        ("a second key", run.request(post, "", format!("{{{read},\"query\":{quoted}}}"))),
        ("a first key", run.request(post, "", format!("{{\"query\":{quoted},{read}}}"))),
        ("an escaped key", run.request(post, "", format!("{{{read},\"qu\\u0065ry\":{quoted}}}"))),
        ("a capital key", run.request(post, "", format!("{{{read},\"Query\":{quoted}}}"))),
        ("a list", run.request(post, "", format!("[{{{read}}},{{\"query\":{quoted}}}]"))),
        ("a second body", run.request(post, "", format!("{{{read}}}{{\"query\":{quoted}}}"))),
        ("a list as the document", run.request(post, "", format!("{{\"query\":[{quoted}]}}"))),
        (
            "a form",
            run.request(
                post,
                "Content-Type: application/x-www-form-urlencoded\r\n",
                format!("query={escaped}"),
            ),
        ),
        ("the document alone", run.request(post, "Content-Type: application/graphql\r\n", &mutation)),
        (
            "the query string",
            run.request(&format!("POST /graphql?query={escaped}"), "", format!("{{{read}}}")),
        ),
        ("a GET", run.request(&format!("GET /graphql?query={escaped}"), "", "")),
        ("a GET with a body", run.request("GET /graphql", "", format!("{{\"query\":{quoted}}}"))),
        ("a PUT", run.request("PUT /graphql", "", format!("{{\"query\":{quoted}}}"))),
        ("a slash at the end", run.request("POST /graphql/", "", format!("{{\"query\":{quoted}}}"))),
        ("capitals", run.request("POST /GraphQL", "", format!("{{\"query\":{quoted}}}"))),
        ("an escaped letter", run.request("POST /gr%61phql", "", format!("{{\"query\":{quoted}}}"))),
        ("a parameter", run.request("POST /graphql;x", "", format!("{{\"query\":{quoted}}}"))),
        ("an ending", run.request("POST /graphql.json", "", format!("{{\"query\":{quoted}}}"))),
        (
            "a stored document",
            run.request(post, "", r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#),
        ),
        ("a byte order mark", run.request(post, "", format!("\u{feff}{{\"query\":{quoted}}}"))),
    ];
    for (name, bytes) in &rows {
        run.attack(name, bytes).await;
    }
    run.finish(rows.len()).await;
}
