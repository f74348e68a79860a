//! GraphQL mutations: what they change, for whom, and what the books say of them.

mod code;
mod issues;
mod merges;
mod pulls;
mod rules;

use github_sim::{Sim, SimConfig};
use serde_json::{Value, json};

use crate::client::{call, config, start};

const REPOSITORY: &str = "acme/widgets";
const PULL: &str = "PR_kwDO200100076";
const OTHER_PULL: &str = "PR_kwDO200100077";

/// A simulator and a token for all of acme's repositories.
struct World {
    sim: Sim,
    token: String,
}

impl World {
    async fn new() -> Self {
        Self::with(config()).await
    }

    async fn with(config: SimConfig) -> Self {
        let sim = start(config).await;
        let token = sim.mint("acme");
        Self { sim, token }
    }

    /// Sends a document.
    async fn send(&self, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables});
        call(&self.sim, "POST", "/graphql").token(&self.token).json(&body).send().await.json()
    }

    /// Sends one mutation, and gives its payload or the one error.
    async fn act(&self, mutation: &str, input: Value, selection: &str) -> Result<Value, (String, String)> {
        let query = format!("mutation($input: X!) {{ m: {mutation}(input: $input) {{ {selection} }} }}");
        let answer = self.send(&query, json!({"input": input})).await;
        match answer["errors"].as_array() {
            None => Ok(answer["data"]["m"].clone()),
            Some(errors) => {
                assert_eq!(errors.len(), 1, "{answer}");
                assert_eq!(answer["data"], json!({"m": null}), "{answer}");
                assert_eq!(errors[0]["path"], json!(["m"]), "{answer}");
                let text = |name: &str| errors[0][name].as_str().unwrap_or_default().to_owned();
                Err((text("type"), text("message")))
            }
        }
    }

    /// The same, for a mutation that must be done.
    async fn done(&self, mutation: &str, input: Value, selection: &str) -> Value {
        self.act(mutation, input, selection).await.unwrap()
    }

    /// The same, for one that must be refused.
    async fn refused(&self, mutation: &str, input: Value) -> (String, String) {
        self.act(mutation, input, "clientMutationId").await.unwrap_err()
    }

    /// What REST tells beneath the repository.
    async fn read(&self, path: &str) -> Value {
        let path = format!("/repos/{REPOSITORY}{path}");
        call(&self.sim, "GET", &path).token(&self.token).send().await.json()
    }

    fn tip(&self, branch: &str) -> Option<String> {
        self.sim.edit(|world| world.branch_tip(REPOSITORY, branch))
    }

    /// The node id of a branch.
    async fn branch_id(&self, branch: &str) -> String {
        let found = self.read(&format!("/git/ref/heads/{branch}")).await;
        found["node_id"].as_str().unwrap().to_owned()
    }

    async fn label_id(&self, name: &str) -> String {
        self.read(&format!("/labels/{name}")).await["node_id"].as_str().unwrap().to_owned()
    }

    /// The pull requests that were merged, and by what.
    fn merges(&self) -> Vec<(Option<u64>, String)> {
        self.sim.books().merges.into_iter().map(|merge| (merge.pull, merge.by)).collect()
    }
}

fn unprocessable(message: &str) -> (String, String) {
    ("UNPROCESSABLE".to_owned(), message.to_owned())
}
