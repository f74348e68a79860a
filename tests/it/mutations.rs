//! GraphQL mutations are judged like REST operations: by what they change, and whose it is.

use serde_json::{Value, json};

use crate::support::approvals::{approve, filled, sign};
use crate::support::{Answer, Setup, Tollgate, agent};

fn setup() -> Setup {
    Setup {
        approval_mode: "signed",
        ..Setup::with(vec![
            agent("worker", &["repositories: [acme/widgets]"]),
            agent("other", &["repositories: [other/tool]"]),
        ])
    }
}

async fn send(tollgate: &Tollgate, query: &str, variables: &Value, approval: Option<&str>) -> Answer {
    let body = json!({ "query": query, "variables": variables });
    let ask = tollgate.ask("POST", "/graphql").json(&body);
    match approval {
        Some(approval) => ask.header("x-merge-approval", approval).send().await,
        None => ask.send().await,
    }
}

/// A mutation whose whole input is one variable, as most clients send it.
fn mutation(name: &str) -> String {
    format!("mutation M($input: X!) {{ {name}(input: $input) {{ clientMutationId }} }}")
}

/// The node id of an object, as an agent with access to everything would learn it.
async fn id(tollgate: &Tollgate, path: &str) -> String {
    let client = tollgate.sim.mint(path.split('/').nth(2).unwrap());
    let answer =
        crate::support::straight(&tollgate.sim, &format!("Bearer {client}"), "GET", path, &Value::Null).await;
    answer.1["node_id"].as_str().unwrap_or_else(|| panic!("{path}: {}", answer.1)).to_owned()
}

/// curl's `--data` without a header is sent this way, and so are GitHub's own examples.
#[tokio::test]
async fn a_body_is_read_as_json_whatever_it_is_called() {
    let tollgate = setup().start().await;
    let query = json!({"query": "{ viewer { login } }"}).to_string();
    for called in ["application/x-www-form-urlencoded", "text/plain; charset=utf-8", ""] {
        let ask = tollgate.ask("POST", "/graphql").header("content-type", called).body(query.clone());
        let answer = ask.send().await;
        assert_eq!(answer.verdict(), "200", "{called}: {}", answer.text());
    }
    for arrived in
        tollgate.arrived().iter().filter(|request| request.method == "POST" && request.target == "/graphql")
    {
        assert_eq!(arrived.headers["content-type"], "application/json");
    }
    let form = tollgate.ask("POST", "/graphql").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(form.body("query={viewer{login}}").send().await.verdict(), "400 bad_request");
}

/// A write is never sent twice, and its caller has to know which part was done.
#[tokio::test]
async fn a_document_that_was_done_in_part_is_an_answer() {
    let tollgate = setup().start().await;
    let issue = id(&tollgate, "/repos/acme/widgets/issues/1").await;
    let body = json!({
        "data": {"a": {"clientMutationId": null}, "b": null},
        "errors": [{"type": "RATE_LIMITED", "path": ["b"], "message": "You have exceeded a secondary rate limit."}],
    });
    let partly = github_sim::FaultKind::Status {
        status: 200,
        body: Some(body.clone()),
        headers: [("retry-after".to_owned(), "1".to_owned())].into(),
        takes_effect: false,
    };
    tollgate.sim.faults().add(github_sim::Fault::new(partly).on("POST", "/graphql").after(1).times(1));
    let add = |alias| {
        format!("{alias}: addComment(input: {{subjectId: \"{issue}\", body: \"x\"}}) {{ clientMutationId }}")
    };
    let document = format!("mutation {{ {} {} }}", add("a"), add("b"));
    let answer = send(&tollgate, &document, &json!({}), None).await;
    assert_eq!((answer.verdict().as_str(), answer.json()), ("200", body), "{}", answer.text());
    let sent = tollgate
        .arrived()
        .into_iter()
        .filter(|one| one.body.as_deref().is_some_and(|body| body.contains("addComment")));
    assert_eq!(sent.count(), 1);
}

#[tokio::test]
async fn plain_mutations_pass_and_stay_in_the_agent_s_repositories() {
    let tollgate = setup().start().await;
    let issue = id(&tollgate, "/repos/acme/widgets/issues/1").await;
    let repository = id(&tollgate, "/repos/acme/widgets").await;
    let foreign = id(&tollgate, "/repos/acme/gadgets").await;
    for (name, input, verdict) in [
        ("addComment", json!({"subjectId": issue, "body": "mergePullRequest"}), "200"),
        ("createIssue", json!({"repositoryId": repository, "title": "x"}), "200"),
        ("createIssue", json!({"repositoryId": foreign, "title": "x"}), "403 repository_forbidden"),
        ("addComment", json!({"subjectId": "I_nothing", "body": "x"}), "403 repository_forbidden"),
        ("deleteRepository", json!({"repositoryId": repository}), "403 operation_forbidden"),
        ("createRepository", json!({"name": "x", "visibility": "PRIVATE"}), "403 operation_forbidden"),
        ("somethingNew", json!({"repositoryId": repository}), "403 operation_forbidden"),
    ] {
        let answer = send(&tollgate, &mutation(name), &json!({ "input": input }), None).await;
        assert_eq!(answer.verdict(), verdict, "{name} {input}: {}", answer.text());
    }
    assert_eq!(tollgate.sim.books().mutations, ["addComment", "createIssue"]);
    let other = tollgate.ask("POST", "/graphql").by(1);
    let body =
        json!({"query": mutation("addComment"), "variables": {"input": {"subjectId": issue, "body": "x"}}});
    assert_eq!(other.json(&body).send().await.verdict(), "403 repository_forbidden");
    tollgate.assert_clean();
}

#[tokio::test]
async fn a_merge_is_pinned_to_the_approved_commit() {
    let tollgate = setup().start().await;
    let pull = id(&tollgate, "/repos/acme/widgets/pulls/76").await;
    let head = tollgate.sim.edit(|world| world.head_of("acme/widgets", 76)).unwrap();
    let literal = format!(
        "mutation {{ mergePullRequest(input: {{pullRequestId: \"{pull}\"}}) {{ pullRequest {{ merged }} }} }}"
    );
    let refusal = send(&tollgate, &literal, &json!({}), None).await;
    assert_eq!(refusal.verdict(), "403 approval_required", "{}", refusal.text());
    assert_eq!(
        refusal.json()["tollgate"]["approval"],
        json!({"aud": "tollgate", "action": "merge", "repo": "acme/widgets", "pull_number": 76, "head_sha": head})
    );
    assert_eq!(refusal.json()["errors"][0]["extensions"]["tollgate"]["code"], "approval_required");
    // A push after the approval makes the stand-in refuse it.
    let early = approve(&refusal);
    tollgate.sim.edit(|world| world.push_commit("acme/widgets", "feature/x", "evil.txt", "x")).unwrap();
    let late = send(&tollgate, &literal, &json!({}), Some(&early)).await;
    assert!(late.json()["errors"].is_array(), "{}", late.text());
    assert!(tollgate.sim.books().merges.is_empty());
    let arrived = tollgate.arrived().pop().unwrap();
    assert!(arrived.body.unwrap().contains(&format!("expectedHeadOid: \\\"{head}\\\"")));
    // With the input as a variable, and an approval made from the refusal of another spelling.
    let fresh = approve(&send(&tollgate, &literal, &json!({}), None).await);
    let jumps = json!({"input": {"pullRequestId": pull, "jump": true}});
    let jumped = send(&tollgate, &mutation("enqueuePullRequest"), &jumps, Some(&fresh)).await;
    assert_eq!(jumped.verdict(), "403 approval_invalid", "nobody approved that: {}", jumped.text());
    let variables = json!({"input": {"pullRequestId": pull, "mergeMethod": "SQUASH"}});
    let merged = send(&tollgate, &mutation("mergePullRequest"), &variables, Some(&fresh)).await;
    assert_eq!((merged.verdict().as_str(), merged.json().get("errors")), ("200", None), "{}", merged.text());
    assert_eq!(tollgate.sim.books().merges.len(), 1);
    let again = send(&tollgate, &mutation("mergePullRequest"), &variables, Some(&fresh)).await;
    assert_eq!(again.verdict(), "403 approval_invalid");
}

#[tokio::test]
async fn what_is_gated_stands_alone_and_is_bound_to_its_request() {
    let tollgate = setup().start().await;
    let (pull, repository) =
        (id(&tollgate, "/repos/acme/widgets/pulls/76").await, id(&tollgate, "/repos/acme/widgets").await);
    let two = format!(
        "mutation {{ a: mergePullRequest(input: {{pullRequestId: \"{pull}\"}}) {{ clientMutationId }} \
         b: addComment(input: {{subjectId: \"{pull}\", body: \"x\"}}) {{ clientMutationId }} }}"
    );
    assert_eq!(send(&tollgate, &two, &json!({}), None).await.verdict(), "400 bad_request");
    let beside = format!("{} query Q {{ viewer {{ login }} }}", mutation("mergePullRequest"));
    let body =
        json!({"query": beside, "operationName": "Q", "variables": {"input": {"pullRequestId": pull}}});
    assert_eq!(tollgate.ask("POST", "/graphql").json(&body).send().await.verdict(), "400 bad_request");
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "feature/x")).unwrap();
    let tag = |name: &str| json!({"input": {"repositoryId": repository, "name": format!("refs/tags/{name}"), "oid": tip}});
    let approval = approve(&send(&tollgate, &mutation("createRef"), &tag("v9"), None).await);
    let other = send(&tollgate, &mutation("createRef"), &tag("v8"), Some(&approval)).await;
    assert_eq!(other.verdict(), "403 approval_invalid", "{}", other.text());
    let made = send(&tollgate, &mutation("createRef"), &tag("v9"), Some(&approval)).await;
    assert_eq!((made.verdict().as_str(), made.json().get("errors")), ("200", None), "{}", made.text());
    assert!(tollgate.sim.books().merges.is_empty());
}

#[tokio::test]
async fn branches_are_judged_by_name_and_by_id() {
    let tollgate = setup().start().await;
    let (repository, pull) =
        (id(&tollgate, "/repos/acme/widgets").await, id(&tollgate, "/repos/acme/widgets/pulls/76").await);
    let main = id(&tollgate, "/repos/acme/widgets/git/ref/heads/main").await;
    let work = id(&tollgate, "/repos/acme/widgets/git/ref/heads/100%25done").await;
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let commit = |branch: Value| json!({"branch": branch, "message": {"headline": "x"}, "expectedHeadOid": tip, "fileChanges": {}});
    let name = |branch: &str| json!({"repositoryNameWithOwner": "acme/widgets", "branchName": branch});
    for (field, input, verdict) in [
        ("createRef", json!({"repositoryId": repository, "name": "refs/heads/w", "oid": tip}), "200"),
        ("createCommitOnBranch", commit(name("w")), "200"),
        ("createCommitOnBranch", commit(name("main")), "403 approval_required"),
        ("createCommitOnBranch", commit(json!({"id": main})), "403 approval_required"),
        (
            "createCommitOnBranch",
            commit(json!({"repositoryNameWithOwner": "acme/gadgets", "branchName": "w"})),
            "403 repository_forbidden",
        ),
        ("updateRef", json!({"refId": main, "oid": tip}), "403 approval_required"),
        ("updateRef", json!({"refId": work, "oid": tip, "force": true}), "200"),
        (
            "updateRefs",
            json!({"repositoryId": repository, "refUpdates": [{"name": "refs/heads/w", "afterOid": tip}, {"name": "refs/heads/main", "afterOid": tip}]}),
            "403 approval_required",
        ),
        (
            "mergeBranch",
            json!({"repositoryId": repository, "base": "w", "head": "main"}),
            "403 approval_required",
        ),
        ("updatePullRequestBranch", json!({"pullRequestId": pull}), "200"),
        ("updatePullRequest", json!({"pullRequestId": pull, "title": "new"}), "200"),
        (
            "updatePullRequest",
            json!({"pullRequestId": pull, "baseRefName": "release"}),
            "403 approval_required",
        ),
        ("addPullRequestReview", json!({"pullRequestId": pull, "event": "COMMENT", "body": "x"}), "200"),
        ("addPullRequestReview", json!({"pullRequestId": pull, "event": "APPROVE"}), "403 approval_required"),
        ("enablePullRequestAutoMerge", json!({"pullRequestId": pull}), "403 operation_forbidden"),
        ("enqueuePullRequest", json!({"pullRequestId": pull}), "403 approval_required"),
    ] {
        let answer = send(&tollgate, &mutation(field), &json!({ "input": input }), None).await;
        assert_eq!(answer.verdict(), verdict, "{field} {input}: {}", answer.text());
    }
    assert!(tollgate.sim.books().merges.is_empty());
    assert_eq!(tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap(), tip);
}

#[tokio::test]
async fn drafts_and_auto_merge_follow_the_policy() {
    let tollgate = Setup { approval_mode: "signed, allow_auto_merge: true", ..setup() }.start().await;
    let (repository, pull) =
        (id(&tollgate, "/repos/acme/widgets").await, id(&tollgate, "/repos/acme/widgets/pulls/76").await);
    let create = json!({"input": {"repositoryId": repository, "baseRefName": "main", "headRefName": "100%done", "title": "t"}});
    let query = "mutation M($input: CreatePullRequestInput!) { createPullRequest(input: $input) { pullRequest { isDraft } } }";
    let opened = send(&tollgate, query, &create, None).await;
    assert_eq!(
        opened.json()["data"]["createPullRequest"]["pullRequest"]["isDraft"],
        json!(true),
        "{}",
        opened.text()
    );
    let ready = json!({"input": {"pullRequestId": pull}});
    let ready = send(&tollgate, &mutation("markPullRequestReadyForReview"), &ready, None).await;
    assert_eq!(ready.verdict(), "422 draft_required");
    let enable = json!({"input": {"pullRequestId": pull}});
    let refusal = send(&tollgate, &mutation("enablePullRequestAutoMerge"), &enable, None).await;
    assert_eq!(refusal.verdict(), "403 approval_required", "{}", refusal.text());
    assert_eq!(refusal.json()["tollgate"]["approval"]["action"], "auto-merge");
    // An approval of the merge does not cover auto-merge.
    let merge = approve(&send(&tollgate, &mutation("mergePullRequest"), &enable, None).await);
    let wrong = send(&tollgate, &mutation("enablePullRequestAutoMerge"), &enable, Some(&merge)).await;
    assert_eq!(wrong.verdict(), "403 approval_invalid");
    let enabled =
        send(&tollgate, &mutation("enablePullRequestAutoMerge"), &enable, Some(&approve(&refusal))).await;
    assert_eq!(enabled.verdict(), "200", "{}", enabled.text());
}

#[tokio::test]
async fn an_approved_review_is_of_the_commit_that_was_seen() {
    let tollgate = setup().start().await;
    let pull = id(&tollgate, "/repos/acme/widgets/pulls/76").await;
    let review = json!({"input": {"pullRequestId": pull, "event": "APPROVE"}});
    let refusal = send(&tollgate, &mutation("addPullRequestReview"), &review, None).await;
    let head = refusal.json()["tollgate"]["approval"]["head_sha"].clone();
    assert!(head.is_string(), "{}", refusal.text());
    let made = send(&tollgate, &mutation("addPullRequestReview"), &review, Some(&approve(&refusal))).await;
    assert_eq!((made.verdict().as_str(), made.json().get("errors")), ("200", None), "{}", made.text());
    let arrived = tollgate.arrived();
    let body = arrived.last().unwrap().body.as_ref().unwrap().clone();
    assert!(body.contains("commitOID") && body.contains(head.as_str().unwrap()), "{body}");
}

#[tokio::test]
async fn whose_review_is_dismissed_is_shown() {
    let tollgate = setup().start().await;
    let comment = json!({"event": "COMMENT", "body": "x"});
    let review =
        tollgate.ask("POST", "/repos/acme/widgets/pulls/76/reviews").json(&comment).send().await.json();
    let input = json!({"input": {"pullRequestReviewId": review["node_id"], "message": "x"}});
    let refusal = send(&tollgate, &mutation("dismissPullRequestReview"), &input, None).await;
    assert_eq!(refusal.verdict(), "403 approval_required", "{}", refusal.text());
    let author = review["user"]["login"].as_str().unwrap();
    let shown =
        json!({ review["node_id"].as_str().unwrap(): format!("review of pull request #76 by {author}") });
    assert_eq!(refusal.json()["tollgate"]["approval"]["ids"], shown, "{}", refusal.text());
}

#[tokio::test]
async fn nothing_lands_behind_a_class_that_is_open() {
    let agents = vec![agent("worker", &["repositories: [acme/widgets]", "require_approval: [merge]"])];
    let tollgate = Setup { approval_mode: "signed", ..Setup::with(agents) }.start().await;
    let pull = id(&tollgate, "/repos/acme/widgets/pulls/76").await;
    let merge = "mergePullRequest(input: {pullRequestId: $p}) { clientMutationId }";
    for beside in [
        "dismissPullRequestReview(input: {pullRequestReviewId: $p, message: \"x\"}) { clientMutationId }",
        "createCheckRun(input: {repositoryId: $p, name: \"x\", headSha: \"1\"}) { clientMutationId }",
    ] {
        for query in [
            format!("mutation A($p: ID!) {{ {merge} }} mutation B($p: ID!) {{ {beside} }}"),
            format!("mutation A($p: ID!) {{ {merge} {beside} }}"),
        ] {
            let body = json!({"query": query, "operationName": "A", "variables": {"p": pull}});
            let answer = tollgate.ask("POST", "/graphql").json(&body).send().await;
            assert_eq!(answer.verdict(), "400 bad_request", "{}", answer.text());
        }
    }
    assert!(tollgate.sim.books().merges.is_empty());
}

#[tokio::test]
async fn an_agent_that_only_writes_has_its_own_branches() {
    let agents = vec![agent("worker", &["repositories: [acme/widgets]", "allow: [read, write]"])];
    let tollgate = Setup { approval_mode: "signed", ..Setup::with(agents) }.start().await;
    let repository = id(&tollgate, "/repos/acme/widgets").await;
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let zero = "0".repeat(40);
    let update = |name: &str, commit: &str| json!({"repositoryId": repository, "refUpdates": [{"name": name, "afterOid": commit}]});
    for (field, input, verdict) in [
        ("createRef", json!({"repositoryId": repository, "name": "refs/heads/w", "oid": tip}), "200"),
        ("updateRefs", update("refs/heads/w", &tip), "200"),
        ("updateRefs", update("refs/heads/feature/x", &tip), "200"),
        // A pull request is open from it.
        ("updateRefs", update("refs/heads/feature/x", &zero), "403 operation_forbidden"),
        (
            "createRef",
            json!({"repositoryId": repository, "name": "refs/tags/w", "oid": tip}),
            "403 operation_forbidden",
        ),
    ] {
        let answer = send(&tollgate, &mutation(field), &json!({ "input": input }), None).await;
        assert_eq!(answer.verdict(), verdict, "{field} {input}: {}", answer.text());
    }
}

#[tokio::test]
async fn who_approves_is_told_what_ids_stand_for() {
    let tollgate = setup().start().await;
    let main = id(&tollgate, "/repos/acme/widgets/git/ref/heads/main").await;
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let update = json!({"input": {"refId": main, "oid": tip}});
    let refusal = send(&tollgate, &mutation("updateRef"), &update, None).await;
    let mut claims = refusal.json()["tollgate"]["approval"].clone();
    assert_eq!(claims["ids"], json!({ main.as_str(): "refs/heads/main" }), "{claims}");
    // If the claims are changed on their way to the approver, the approval opens nothing.
    claims["ids"] = json!({ main.as_str(): "refs/tags/mine" });
    let misled = send(&tollgate, &mutation("updateRef"), &update, Some(&sign(&filled(&claims)))).await;
    assert_eq!(misled.verdict(), "403 approval_invalid", "{}", misled.text());
    let moved = send(&tollgate, &mutation("updateRef"), &update, Some(&approve(&refusal))).await;
    assert_eq!((moved.verdict().as_str(), moved.json().get("errors")), ("200", None), "{}", moved.text());
}

#[tokio::test]
async fn commits_by_graphql_say_who_made_them() {
    let further = "  commit_trailer: \"Agent: {agent}\"\n".to_owned();
    let agents = vec![agent("worker", &["repositories: [acme/widgets]", "require_approval: []"])];
    let tollgate = Setup { further, ..Setup::with(agents) }.start().await;
    let repository = id(&tollgate, "/repos/acme/widgets").await;
    let tip = tollgate.sim.edit(|world| world.branch_tip("acme/widgets", "main")).unwrap();
    let made = json!({"input": {"repositoryId": repository, "name": "refs/heads/w", "oid": tip}});
    assert_eq!(send(&tollgate, &mutation("createRef"), &made, None).await.verdict(), "200");
    let branch = "branch: {repositoryNameWithOwner: \"acme/widgets\", branchName: \"w\"}";
    for (message, expected) in [
        ("message: {headline: \"x\"}", "body: \\\"Agent: worker\\\""),
        ("message: {headline: \"x\", body: \"why\"}", "body: \\\"why\\\\n\\\\nAgent: worker\\\""),
        ("message: $m", "\"body\":\"Agent: worker\""),
    ] {
        let query = format!(
            "mutation M($m: CommitMessage) {{ createCommitOnBranch(input: {{{branch}, {message}, expectedHeadOid: \"{tip}\", \
             fileChanges: {{}}}}) {{ clientMutationId }} }}"
        );
        let query = if message.ends_with("$m") { query } else { query.replace("M($m: CommitMessage)", "M") };
        send(&tollgate, &query, &json!({"m": {"headline": "x"}}), None).await;
        let body = tollgate.arrived().pop().unwrap().body.unwrap();
        assert!(body.contains(expected), "{message}: {body}");
    }
    // A variable's value never gets into a document.
    let odd = "mutation M($h: X) { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: \"acme/widgets\", \
         branchName: \"w\"}, message: {headline: $h}}) { clientMutationId } }";
    let variables = json!({"h": {"x: 1}}) { id } evil: mergePullRequest(input: {a": "b"}});
    send(&tollgate, odd, &variables, None).await;
    let sent: Value = serde_json::from_str(&tollgate.arrived().pop().unwrap().body.unwrap()).unwrap();
    assert_eq!(sent["query"], odd.replace("{headline: $h}", "{body: \"Agent: worker\" headline: $h}"));
    assert_eq!(sent["variables"], variables);
}
