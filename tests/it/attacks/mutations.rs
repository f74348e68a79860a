//! GraphQL mutations that need an approval, that no agent may do, or that concern somebody else's repository,
//! hidden in everything that a document can be made of.
//!
//! The ids are real, so that whatever gets through takes effect.

mod containers;
mod disguises;
mod inputs;
mod mixtures;
mod nodes;
mod pinned;

use serde_json::{Value, json};

use super::run::Run;
use crate::support::{Tollgate, straight};

/// The ids that `<name>` stands for in this suite's documents and variables.
pub(super) struct Ids {
    known: Vec<(String, String)>,
}

/// Placeholders, and the path of the object whose node id each stands for.
const THINGS: [(&str, &str); 15] = [
    ("<widgets>", "/repos/acme/widgets"),
    ("<issue>", "/repos/acme/widgets/issues/1"),
    ("<pull>", "/repos/acme/widgets/pulls/76"),
    ("<other-pull>", "/repos/acme/widgets/pulls/77"),
    ("<main>", "/repos/acme/widgets/git/ref/heads/main"),
    ("<locked>", "/repos/acme/widgets/git/ref/heads/locked"),
    ("<feature>", "/repos/acme/widgets/git/ref/heads/feature/x"),
    ("<spare>", "/repos/acme/widgets/git/ref/heads/spare"),
    ("<gadgets>", "/repos/acme/gadgets"),
    ("<gadget>", "/repos/acme/gadgets/issues/1"),
    ("<plans>", "/repos/acme/secret-plans"),
    ("<plans-main>", "/repos/acme/secret-plans/git/ref/heads/main"),
    ("<tool>", "/repos/other/tool"),
    ("<tool-issue>", "/repos/other/tool/issues/1"),
    ("<lib-issue>", "/repos/foreign/lib/issues/1"),
];

impl Ids {
    /// Learns the ids from the stand-in itself.
    pub(super) async fn learn(run: &mut Run) -> Ids {
        let ids = Ids::of(&run.tollgate).await;
        run.arrivals();
        ids
    }

    pub(super) async fn of(tollgate: &Tollgate) -> Ids {
        let sim = &tollgate.sim;
        let mut known = Vec::new();
        for (name, path) in THINGS {
            // The public repository has no installation of its own.
            let owner = path.split('/').nth(2).filter(|owner| *owner != "foreign").unwrap_or("acme");
            let token = format!("Bearer {}", sim.mint(owner));
            let (_, found) = straight(sim, &token, "GET", path, &Value::Null).await;
            let id = found["node_id"].as_str().unwrap_or_else(|| panic!("{path}: {found}"));
            known.push((name.to_owned(), id.to_owned()));
        }
        let tips = [("<tip>", "main"), ("<work>", "feature/x"), ("<spare-tip>", "spare")];
        for (name, branch) in tips {
            let tip = sim.edit(|world| world.branch_tip("acme/widgets", branch)).unwrap();
            known.push((name.to_owned(), tip));
        }
        Ids { known }
    }

    /// The text with its placeholders replaced.
    pub(super) fn fill(&self, text: &str) -> String {
        self.known.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
    }

    /// The body of a request.
    pub(super) fn body(&self, document: &str, variables: &str) -> String {
        let variables = if variables.is_empty() { "{}" } else { variables };
        let variables: Value = serde_json::from_str(&self.fill(variables)).unwrap();
        json!({"query": self.fill(document), "variables": variables}).to_string()
    }
}

/// Sends rows of name, document and variables.
async fn attack_all(run: &mut Run, ids: &Ids, rows: &[(&str, &str, &str)]) {
    for (name, document, variables) in rows {
        let bytes = run.request("POST /graphql", "", ids.body(document, variables));
        run.attack(name, &bytes).await;
    }
}
