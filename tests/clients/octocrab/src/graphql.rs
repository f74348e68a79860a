//! octocrab's `graphql` at work: the steps of `../python/graphql_work.py`.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use octocrab::{GraphqlResponse, Octocrab};
use serde_json::{Value, json};

use crate::{Flow, Settings, about, client, execute};

const QUERY: &str = "query ($owner: String!, $name: String!, $number: Int!) {
    repository(owner: $owner, name: $name) {
      id nameWithOwner issue(number: $number) { id number title state author { login } }
      pullRequest(number: 76) { id headRefOid headRefName isDraft merged state mergeCommit { message } }
    }
  }";
const PAGE: &str = "query ($owner: String!, $name: String!, $after: String) {
    repository(owner: $owner, name: $name) {
      issues(first: 30, after: $after) { nodes { number title } pageInfo { hasNextPage endCursor } }
    }
  }";
const COMMENT: &str = "mutation ($input: AddCommentInput!) {
    addComment(input: $input) { commentEdge { node { body author { login } } } subject { id } }
  }";
const ISSUE: &str = "mutation ($input: CreateIssueInput!) {
    createIssue(input: $input) { clientMutationId issue { number title body state } }
  }";
const PULL: &str = "mutation ($input: CreatePullRequestInput!) {
    createPullRequest(input: $input) { pullRequest { number title isDraft headRefName baseRefName } }
  }";
const COMMIT: &str = "mutation ($input: CreateCommitOnBranchInput!) {
    createCommitOnBranch(input: $input) { commit { oid message } ref { name } }
  }";
const REVIEW: &str = "mutation ($input: AddPullRequestReviewInput!) {
    addPullRequestReview(input: $input) { pullRequestReview { state body } }
  }";
const MERGE: &str = "mutation ($input: MergePullRequestInput!) {
    mergePullRequest(input: $input) { pullRequest { merged } }
  }";
const DELETE: &str =
    "mutation ($input: DeleteRepositoryInput!) { deleteRepository(input: $input) { clientMutationId } }";

async fn ask(crab: &Octocrab, number: u64) -> anyhow::Result<Value> {
    let variables = json!({ "owner": "acme", "name": "widgets", "number": number });
    Ok(crab.graphql(&json!({ "query": QUERY, "variables": variables })).await?)
}

async fn change(crab: &Octocrab, mutation: &str, input: &Value) -> anyhow::Result<Value> {
    Ok(crab.graphql(&json!({ "query": mutation, "variables": { "input": input } })).await?)
}

/// Its own call takes no headers; this is what it does.
async fn approved(crab: &Octocrab, mutation: &str, input: &Value, approval: &str) -> anyhow::Result<Value> {
    let payload = json!({ "query": mutation, "variables": { "input": input } });
    let answer = execute(crab, "POST", "/graphql", &payload, Some(approval)).await?;
    match serde_json::from_value(answer)? {
        GraphqlResponse::Ok(answer) => Ok(answer.data),
        GraphqlResponse::Err(answer) => bail!("{}", answer.errors[0].message),
    }
}

/// Somebody's agreement to what the change is refused for; none without tollgate.
async fn agreed(
    settings: &Settings,
    crab: &Octocrab,
    mutation: &str,
    input: &Value,
) -> anyhow::Result<Option<String>> {
    let Some(command) = &settings.approval else { return Ok(None) };
    let command: Vec<String> = serde_json::from_str(command)?;
    let (program, options) = command.split_first().context("no command")?;
    let refused =
        change(crab, mutation, input).await.err().context("it was let through without an approval")?;
    let mut child =
        Command::new(program).args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(about(&refused).to_string().as_bytes())?;
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "nothing was signed");
    Ok(Some(String::from_utf8(ended.stdout)?.trim().to_owned()))
}

async fn with_agreement(
    settings: &Settings,
    crab: &Octocrab,
    mutation: &str,
    input: &Value,
) -> anyhow::Result<Value> {
    match agreed(settings, crab, mutation, input).await? {
        Some(approval) => approved(crab, mutation, input, &approval).await,
        None => change(crab, mutation, input).await,
    }
}

pub(crate) async fn run(settings: &Settings, crab: &Octocrab) -> anyhow::Result<Flow> {
    let known = ask(crab, 1).await?["repository"].take();
    let mut flow = Flow::default();
    plain(&mut flow, crab, &known).await;
    if settings.approval.is_some() {
        refusals(&mut flow, settings, crab, &known).await?;
    }
    gated(&mut flow, settings, crab, &known).await?;
    Ok(flow)
}

/// What needs no approval.
async fn plain(flow: &mut Flow, crab: &Octocrab, known: &Value) {
    let (repository, issue, pull) = (&known["id"], &known["issue"]["id"], &known["pullRequest"]["id"]);
    flow.step("query", ask(crab, 1).await);
    flow.step("pages", pages(crab).await);
    flow.step("missing_issue", message_of(ask(crab, 999_999).await));
    for (step, mutation, input) in [
        ("comment", COMMENT, json!({ "subjectId": issue, "body": "See https://api.github.com/zen." })),
        (
            "comment_on_the_pull_request",
            COMMENT,
            json!({ "subjectId": pull, "body": "mutation { mergePullRequest }" }),
        ),
        (
            "new_issue",
            ISSUE,
            json!({ "repositoryId": repository, "title": "From a client", "body": "x", "clientMutationId": "one" }),
        ),
        (
            "draft_pull_request",
            PULL,
            json!({ "repositoryId": repository, "title": "Notes", "draft": true,
                "headRefName": "100%done", "baseRefName": "main" }),
        ),
        (
            "commenting_review",
            REVIEW,
            json!({ "pullRequestId": pull, "event": "COMMENT", "body": "Reads well." }),
        ),
    ] {
        flow.step(step, change(crab, mutation, &input).await);
    }
}

async fn pages(crab: &Octocrab) -> anyhow::Result<Value> {
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let variables = json!({ "owner": "acme", "name": "widgets", "after": after });
        let page: Value = crab.graphql(&json!({ "query": PAGE, "variables": variables })).await?;
        let issues = &page["repository"]["issues"];
        found.extend(issues["nodes"].as_array().context("no nodes")?.clone());
        if issues["pageInfo"]["hasNextPage"] != true {
            return Ok(Value::Array(found));
        }
        after = issues["pageInfo"]["endCursor"].clone();
    }
}

/// What GitHub says against a call, as octocrab's error of GraphQL has it.
fn message_of(answer: anyhow::Result<Value>) -> anyhow::Result<Value> {
    let error = answer.err().context("it was let through")?;
    Ok(json!(match error.downcast_ref() {
        Some(octocrab::Error::Graphql { source, .. }) => source.0[0].message.clone(),
        _ => error.to_string(),
    }))
}

async fn refusals(
    flow: &mut Flow,
    settings: &Settings,
    crab: &Octocrab,
    known: &Value,
) -> anyhow::Result<()> {
    let stranger = client(settings, &std::env::var("CLIENT_STRANGER_KEY")?)?;
    flow.refusal("query_of_others", ask(&stranger, 1).await);
    let comment = json!({ "subjectId": known["issue"]["id"], "body": "x" });
    flow.refusal("mutation_of_others", change(&stranger, COMMENT, &comment).await);
    flow.refusal("unknown_mutation", change(crab, DELETE, &json!({ "repositoryId": known["id"] })).await);
    let closed = client(settings, &std::env::var("CLIENT_CLOSED_KEY")?)?;
    flow.refusal("over_budget", ask(&closed, 1).await);
    Ok(())
}

/// What waits for an approval, and goes through with one: it is for this commit, and for no later one.
async fn gated(flow: &mut Flow, settings: &Settings, crab: &Octocrab, known: &Value) -> anyhow::Result<()> {
    let (pull, head) = (&known["pullRequest"]["id"], &known["pullRequest"]["headRefOid"]);
    let review = json!({ "pullRequestId": pull, "event": "APPROVE", "body": "Agreed." });
    let mut merge = json!({ "pullRequestId": pull, "mergeMethod": "SQUASH" });
    if settings.approval.is_some() {
        flow.refusal("review_without_approval", change(crab, REVIEW, &review).await);
        flow.refusal("merge_without_approval", change(crab, MERGE, &merge).await);
    }
    flow.step("approving_review", with_agreement(settings, crab, REVIEW, &review).await);
    let early = agreed(settings, crab, MERGE, &merge).await?;
    let commit = json!({
        "branch": { "repositoryNameWithOwner": "acme/widgets", "branchName": "feature/x" },
        "message": { "headline": "Add what nobody saw" },
        "expectedHeadOid": head,
        "fileChanges": { "additions": [{ "path": "late.txt", "contents": "eA==" }] },
    });
    flow.step("push_after_the_approval", change(crab, COMMIT, &commit).await);
    // tollgate puts the approved commit into the call, and GitHub sees that the head is another.
    let late = match early {
        Some(early) => approved(crab, MERGE, &merge, &early).await,
        None => {
            merge["expectedHeadOid"] = head.clone();
            change(crab, MERGE, &merge).await
        }
    };
    flow.step("merge_of_what_was_pushed_later", message_of(late));
    merge.as_object_mut().context("no object")?.remove("expectedHeadOid");
    flow.step("approved_merge", with_agreement(settings, crab, MERGE, &merge).await);
    let pull = ask(crab, 1).await?["repository"]["pullRequest"].take();
    flow.step("approved_heads", Ok(json!([head, pull["headRefOid"]])));
    flow.step("merge_as_it_is_now", Ok(pull));
    Ok(())
}
