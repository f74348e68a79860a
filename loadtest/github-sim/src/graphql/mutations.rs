//! Mutations: who may do them, and what they change.
//!
//! Permissions are those of the equivalent REST routes. Each field is carried out by itself: one that fails
//! undoes nothing before it, and those after it still run.

mod code;
mod issues;
mod merges;
mod pulls;
mod reviews;
mod table;

use serde_json::{Map, Value, json};

use crate::access::{NOT_ACCESSIBLE, Sight, sight};
use crate::books::Merge;
use crate::context::{Cx, text};
use crate::exchange::{Body, Reply};
use crate::graphql::ids::Node;
use crate::graphql::page::Arguments;
use crate::graphql::views;
use crate::world::{Issue, Pull};

use table::{Kind, Mutation};

/// Why a mutation is refused, in GitHub's words.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// As `FORBIDDEN`; errors of the document itself have none.
    pub(crate) kind: Option<&'static str>,
    pub(crate) message: String,
}

impl Refusal {
    fn unprocessable(message: &str) -> Self {
        Self { kind: Some("UNPROCESSABLE"), message: message.to_owned() }
    }

    fn forbidden(message: &str) -> Self {
        Self { kind: Some("FORBIDDEN"), message: message.to_owned() }
    }

    fn missing(message: String) -> Self {
        Self { kind: Some("NOT_FOUND"), message }
    }

    fn gone() -> Self {
        Self::missing("Not Found".to_owned())
    }

    fn unknown_node(id: &str) -> Self {
        Self::missing(format!("Could not resolve to a node with the global id of '{id}'"))
    }

    fn absent(mutation: &str, name: &str) -> Self {
        let input = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
        let message = format!("Argument '{name}' on InputObject '{input}' is required.");
        Self { kind: None, message }
    }
}

/// A REST handler's refusal keeps its words.
impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        let message = match &reply.body {
            Body::Json(body) => body["message"].as_str().unwrap_or_default().to_owned(),
            Body::Empty | Body::Raw { .. } => String::new(),
        };
        let kind = match reply.status {
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            _ => "UNPROCESSABLE",
        };
        Self { kind: Some(kind), message }
    }
}

/// The members of a mutation's payload, or why there is none.
pub(crate) type Done = Result<Value, Refusal>;

/// Whether there is a mutation of that name here.
pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<&'static Mutation> {
    table::TABLE.iter().find(|mutation| mutation.name == name)
}

/// Carries out one field of a mutation.
pub(crate) fn carry_out(cx: &mut Cx<'_>, name: &str, arguments: &Arguments<'_>) -> Done {
    let Some(mutation) = find(name) else {
        let message = format!("Field '{name}' doesn't exist on type 'Mutation'");
        return Err(Refusal { kind: None, message });
    };
    let Some(Value::Object(input)) = arguments.value("input") else {
        let message = format!("Field '{name}' is missing required arguments: input");
        return Err(Refusal { kind: None, message });
    };
    let subject = subject(cx, mutation, &input)?;
    let mut act = Act { cx, mutation, input, subject };
    if let Some(repository) = act.subject.repository() {
        act.enter(repository)?;
    }
    let done = (mutation.run)(&mut act);
    if done.is_ok() {
        act.touch();
    }
    let repository_id = cx.repository_id;
    if let Some(repository) = cx.state.world.repositories.get_mut(&repository_id) {
        cx.state.books.merges.append(&mut repository.auto_merged);
    }
    let mut payload = done?;
    let id = arguments.value("input").map(|input| input["clientMutationId"].clone());
    payload["clientMutationId"] = id.unwrap_or_default();
    payload["actor"] = views::actor(&cx.view(), cx.actor());
    payload["__typename"] = json!(format!("{}{}Payload", name[..1].to_uppercase(), &name[1..]));
    Ok(payload)
}

/// The object that the mutation is about, as far as the caller may see it.
fn subject(cx: &Cx<'_>, mutation: &Mutation, input: &Map<String, Value>) -> Result<Node, Refusal> {
    if mutation.kind == Kind::Branch {
        return code::branch(cx, input);
    }
    let mut names = mutation.subject.split('|');
    let id = names.find_map(|name| text(input, name));
    let id = id.ok_or_else(|| Refusal::absent(mutation.name, mutation.subject))?;
    let node = seen(cx, &id)?;
    if mutation.kind.admits(cx, &node) { Ok(node) } else { Err(Refusal::unknown_node(&id)) }
}

/// The thing of that id, if the caller sees it.
fn seen(cx: &Cx<'_>, id: &str) -> Result<Node, Refusal> {
    let world = &cx.state.world;
    let is_seen = |node: &Node| {
        let repository = node.repository().and_then(|id| world.repositories.get(&id));
        repository.is_none_or(|found| sight(world, &cx.caller, found) != Sight::Hidden)
    };
    Node::find(&cx.view(), id).filter(is_seen).ok_or_else(|| Refusal::unknown_node(id))
}

/// A mutation that is being carried out.
pub(crate) struct Act<'a, 'w> {
    cx: &'a mut Cx<'w>,
    mutation: &'static Mutation,
    input: Map<String, Value>,
    subject: Node,
}

impl Act<'_, '_> {
    /// Moves on to a repository, if the caller may do this there.
    fn enter(&mut self, repository_id: u64) -> Result<(), Refusal> {
        let world = &self.cx.state.world;
        let Some(repository) = world.repositories.get(&repository_id) else {
            return Err(Refusal::forbidden(NOT_ACCESSIBLE));
        };
        let is_own = sight(world, &self.cx.caller, repository) == Sight::Own;
        if !is_own || !self.cx.permits(self.mutation.need) {
            return Err(Refusal::forbidden(NOT_ACCESSIBLE));
        }
        if repository.archived {
            return Err(Refusal::forbidden("Repository was archived so is read-only."));
        }
        self.cx.repository_id = repository_id;
        Ok(())
    }

    fn required(&self, name: &str) -> Result<String, Refusal> {
        text(&self.input, name).ok_or_else(|| Refusal::absent(self.mutation.name, name))
    }

    /// The number of the issue or pull request.
    fn number(&self) -> u64 {
        match self.subject {
            Node::Issue(_, number) | Node::Comment(_, number, _) | Node::Review(_, number, _) => number,
            _ => 0,
        }
    }

    fn issue(&mut self) -> Result<&mut Issue, Refusal> {
        let number = self.number();
        let found = self.cx.repository_mut().issues.get_mut(&number);
        found.ok_or_else(Refusal::gone)
    }

    fn pull(&mut self) -> Result<&mut Pull, Refusal> {
        self.issue()?.pull.as_mut().ok_or_else(Refusal::gone)
    }

    /// Updates the timestamp of the issue or pull request.
    fn touch(&mut self) {
        if let Node::Issue(repository, number) | Node::Review(repository, number, _) = self.subject
            && let Some(repository) = self.cx.state.world.repositories.get_mut(&repository)
            && let Some(issue) = repository.issues.get_mut(&number)
        {
            issue.updated_at = self.cx.now;
        }
    }

    /// A link to the issue or pull request.
    fn issue_link(&self) -> Value {
        let repository = self.cx.repository();
        let issue = repository.issues.get(&self.number());
        issue.map_or(Value::Null, |issue| {
            views::link(&crate::render::issues::issue_node_id(repository, issue))
        })
    }

    fn ids(&self, name: &str) -> Option<Vec<String>> {
        match self.input.get(name)? {
            Value::String(id) => Some(vec![id.clone()]),
            Value::Array(ids) => Some(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        }
    }

    /// The names of the labels of an argument; `None` without it.
    fn labels(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(ids) = self.ids(name) else { return Ok(None) };
        let label = |id: String| match seen(self.cx, &id)? {
            Node::Label(repository, name) if repository == self.cx.repository_id => Ok(name),
            _ => Err(Refusal::unknown_node(&id)),
        };
        ids.into_iter().map(label).collect::<Result<_, _>>().map(Some)
    }

    /// The logins of the accounts of an argument; `None` without it.
    fn logins(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(ids) = self.ids(name) else { return Ok(None) };
        let login = |id: String| match seen(self.cx, &id)? {
            Node::Account(login) => Ok(login),
            _ => Err(Refusal::unknown_node(&id)),
        };
        ids.into_iter().map(login).collect::<Result<_, _>>().map(Some)
    }

    /// Records a merge in the books.
    fn note_merge(&mut self, pull: Option<u64>, sha: &str) {
        let repository = self.cx.repository().full_name();
        let by = format!("mutation {}", self.mutation.name);
        self.cx.state.books.merges.push(Merge { repository, pull, sha: sha.to_owned(), by });
    }
}
