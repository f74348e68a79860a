//! octocrab at work, for the client suite: the steps and the document of `../python/work.py`, or with
//! CLIENT_WORK=graphql those of `../python/graphql_work.py`.

mod graphql;

use std::env;
use std::io::Write;

use anyhow::{Context, bail};
use octocrab::Octocrab;
use serde_json::{Map, Value, json};

const R: &str = "/repos/acme/widgets";

/// What the suite tells by the environment.
struct Settings {
    base_url: String,
    approval: Option<String>,
}

/// The document in the making.
#[derive(Default)]
struct Flow {
    results: Map<String, Value>,
    refusals: Map<String, Value>,
}

impl Flow {
    /// A step that fails is a result, and the flow goes on.
    fn step(&mut self, name: &str, result: anyhow::Result<Value>) {
        let value = result.unwrap_or_else(|error| json!({ "failed": format!("{error:#}") }));
        self.results.insert(name.to_owned(), value);
    }

    fn refusal(&mut self, name: &str, result: anyhow::Result<Value>) {
        let told = result.map_or_else(|error| told(&error), |_| json!({ "failed": "it was let through" }));
        self.refusals.insert(name.to_owned(), told);
    }
}

/// Status and message as octocrab's own error has them; it keeps nothing else of the body but `errors`.
fn told(error: &anyhow::Error) -> Value {
    match error.downcast_ref::<octocrab::Error>() {
        Some(octocrab::Error::GitHub { source, .. }) => {
            let mut told = json!({
                "exception": "GitHub", "status": source.status_code.as_u16(), "message": source.message,
            });
            if let Some(code) = about(error).get("code") {
                told["code"] = code.clone();
            }
            told
        }
        _ => json!({ "failed": format!("{error:#}") }),
    }
}

/// The object `tollgate` of a refusal, which `errors` have for GraphQL.
fn about(error: &anyhow::Error) -> Value {
    let about = match error.downcast_ref::<octocrab::Error>() {
        Some(octocrab::Error::GitHub { source, .. }) => {
            source.errors.as_ref().and_then(|errors| errors.first()?.pointer("/extensions/tollgate").cloned())
        }
        _ => None,
    };
    about.unwrap_or_default()
}

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let flow = runtime.block_on(run())?;
    let document = json!({ "results": flow.results, "refusals": flow.refusals });
    writeln!(std::io::stdout(), "{document}")?;
    Ok(())
}

fn client(settings: &Settings, key: &str) -> anyhow::Result<Octocrab> {
    // To both of these, and nowhere else, octocrab sends the credential.
    let builder = Octocrab::builder().base_uri(&settings.base_url)?.upload_uri(&settings.base_url)?;
    Ok(builder.personal_token(key.to_owned()).build()?)
}

async fn send(crab: &Octocrab, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
    Ok(match method {
        "GET" => crab.get(path, None::<&()>).await?,
        "POST" => crab.post(path, Some(body)).await?,
        "PUT" => crab.put(path, Some(body)).await?,
        _ => bail!("no such method here: {method}"),
    })
}

async fn get(crab: &Octocrab, path: &str) -> anyhow::Result<Value> {
    send(crab, "GET", path, &Value::Null).await
}

/// A call with the approval, if there is one to give.
async fn approved(
    settings: &Settings,
    crab: &Octocrab,
    method: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    execute(crab, method, path, body, settings.approval.as_deref()).await
}

async fn execute(
    crab: &Octocrab,
    method: &str,
    path: &str,
    body: &Value,
    approval: Option<&str>,
) -> anyhow::Result<Value> {
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(approval) = approval {
        request = request.header("x-merge-approval", approval);
    }
    let request = crab.build_request(request, Some(body))?;
    let answer = octocrab::map_github_error(crab.execute(request).await?).await?;
    Ok(serde_json::from_str(&crab.body_to_string(answer).await?)?)
}

async fn pages(crab: &Octocrab, path: &str) -> anyhow::Result<Value> {
    let first: octocrab::Page<Value> = crab.get(path, None::<&()>).await?;
    Ok(Value::Array(crab.all_pages(first).await?))
}

async fn main_sha(crab: &Octocrab) -> anyhow::Result<Value> {
    Ok(get(crab, &format!("{R}/git/ref/heads/main")).await?["object"]["sha"].clone())
}

async fn run() -> anyhow::Result<Flow> {
    let base_url = env::var("CLIENT_BASE_URL")?;
    let settings = Settings { base_url, approval: env::var("CLIENT_APPROVAL").ok() };
    let crab = client(&settings, &env::var("CLIENT_KEY")?)?;
    if env::var("CLIENT_WORK").is_ok_and(|work| work == "graphql") {
        return graphql::run(&settings, &crab).await;
    }
    let mut flow = Flow::default();
    reads(&mut flow, &crab).await;
    writes(&mut flow, &crab).await;
    gated(&mut flow, &settings, &crab).await?;
    Ok(flow)
}

async fn reads(flow: &mut Flow, crab: &Octocrab) {
    flow.step("repository", get(crab, R).await);
    flow.step("issues_all_pages", pages(crab, &format!("{R}/issues?state=all&per_page=30")).await);
    flow.step("contents_of_a_file", get(crab, &format!("{R}/contents/src/lib.rs")).await);
    flow.step("contents_of_a_directory", get(crab, &format!("{R}/contents/src")).await);
    flow.step("contents_of_the_root", get(crab, &format!("{R}/contents/")).await);
    flow.step("tree", get(crab, &format!("{R}/git/trees/main?recursive=1")).await);
    flow.step(
        "renamed_repository",
        get(crab, "/repos/acme/old-name").await.map(|found| found["full_name"].clone()),
    );
    let query = "query ($owner: String!, $name: String!) { repository(owner: $owner, name: $name) { nameWithOwner } }";
    let asked = json!({ "query": query, "variables": { "owner": "acme", "name": "widgets" } });
    let answer: octocrab::Result<Value> = crab.graphql(&asked).await;
    flow.step("graphql_query", answer.map(|found| found["repository"].clone()).map_err(Into::into));
    let missing =
        get(crab, &format!("{R}/issues/999999")).await.map_or_else(|error| told(&error), |_| Value::Null);
    flow.step("missing_issue", Ok(json!({ "status": missing["status"] })));
}

async fn writes(flow: &mut Flow, crab: &Octocrab) {
    let branch = async {
        let created = json!({ "ref": "refs/heads/client-work", "sha": main_sha(crab).await? });
        send(crab, "POST", &format!("{R}/git/refs"), &created).await
    };
    flow.step("branch", branch.await);
    let content = json!({ "message": "Add notes", "content": "Zmlyc3QK", "branch": "client-work" });
    let made = send(crab, "PUT", &format!("{R}/contents/notes/from-client.txt"), &content).await;
    flow.step("commit_onto_the_branch", made.map(|made| made["content"].clone()));
    let pull =
        json!({ "base": "main", "head": "client-work", "title": "Notes", "draft": true, "body": "See x." });
    flow.step("draft_pull_request", send(crab, "POST", &format!("{R}/pulls"), &pull).await);
    let review = async {
        let open = get(crab, &format!("{R}/pulls?state=open&head=acme:client-work")).await?;
        let path = format!("{R}/pulls/{}/reviews", open[0]["number"]);
        send(crab, "POST", &path, &json!({ "event": "COMMENT", "body": "Reads well." })).await
    };
    flow.step("commenting_review", review.await);
    let status = async {
        let head = get(crab, &format!("{R}/git/ref/heads/client-work")).await?;
        let path = format!("{R}/statuses/{}", head["object"]["sha"].as_str().context("no sha")?);
        send(crab, "POST", &path, &json!({ "state": "success", "context": "suite" })).await
    };
    flow.step("commit_status", status.await);
    let issue = async {
        let body = json!({ "title": "From a client", "body": "https://api.github.com/zen" });
        let issue = send(crab, "POST", &format!("{R}/issues"), &body).await?;
        let path = format!("{R}/issues/{}/comments", issue["number"]);
        Ok(json!([issue, send(crab, "POST", &path, &json!({ "body": "A comment" })).await?]))
    };
    flow.step("issue_with_comment", issue.await);
    let found = get(crab, "/search/issues?q=number+repo:acme/widgets+is:issue&per_page=5").await;
    flow.step("search", found);
    flow.step("release_with_asset", release(crab).await);
}

async fn release(crab: &Octocrab) -> anyhow::Result<Value> {
    let release =
        send(crab, "POST", &format!("{R}/releases"), &json!({ "tag_name": "v1.0.0", "name": "One" })).await?;
    let id = release["id"].as_u64().context("no id")?;
    let content = b"\x00\x01 the content \xff".repeat(1000);
    let asset =
        crab.repos("acme", "widgets").releases().upload_asset(id, "notes.bin", content.into()).send().await?;
    let asset = serde_json::to_value(asset)?;
    Ok(json!([release, asset["name"], asset["size"], asset["state"]]))
}

/// What tollgate refuses, and what it lets through with an approval.
async fn gated(flow: &mut Flow, settings: &Settings, crab: &Octocrab) -> anyhow::Result<()> {
    let is_gated = settings.approval.is_some();
    let squash = json!({ "merge_method": "squash" });
    let merge = format!("{R}/pulls/76/merge");
    if is_gated {
        let nobody = client(settings, "tg_nobody_00000000000000000000000000000000")?;
        flow.refusal("unknown_key", get(&nobody, R).await);
        let stranger = client(settings, &env::var("CLIENT_STRANGER_KEY")?)?;
        flow.refusal("repository_of_others", get(&stranger, R).await);
        let closed = client(settings, &env::var("CLIENT_CLOSED_KEY")?)?;
        flow.refusal("over_budget", get(&closed, R).await);
        flow.refusal("merge_without_approval", send(crab, "PUT", &merge, &squash).await);
    }
    let merged = async {
        approved(settings, crab, "PUT", &merge, &squash).await?;
        Ok(get(crab, &format!("{R}/pulls/76")).await?["merged"].clone())
    };
    flow.step("merge", merged.await);
    let careful = client(settings, &env::var("CLIENT_CAREFUL_KEY")?)?;
    let created = json!({ "ref": "refs/tags/careful-work", "sha": main_sha(&careful).await? });
    let refs = format!("{R}/git/refs");
    if is_gated {
        flow.refusal("careful_tag_without_approval", send(&careful, "POST", &refs, &created).await);
    }
    let branch = approved(settings, &careful, "POST", &refs, &created).await;
    flow.step("careful_tag", branch.map(|branch| branch["ref"].clone()));
    Ok(())
}
