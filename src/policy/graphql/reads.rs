//! Whether a GraphQL document only reads what its agent may see.
//!
//! Root fields are allow-listed and their arguments judged. Fields that list objects across repositories, or show
//! what is an account's own, are refused. Links to single objects pass, since the token is minted for the agent's
//! repositories and GitHub enforces the rest. Ids are returned to the caller, who has to ask GitHub what they are.

use std::borrow::Cow;

use serde_json::Value;

use super::document::{Document, Field, Kind, Selection, Variables};
use super::types::{self, Reach};
use super::{GraphqlError, Request};
use crate::policy::repositories::{RepositoryName, RepositorySet, is_account};
use crate::policy::search;

/// Root fields that reveal only public information or the caller's own.
const OPEN: [&str; 19] = [
    "__schema",
    "__type",
    "__typename",
    "codeOfConduct",
    "codesOfConduct",
    "id",
    "license",
    "licenses",
    "marketplaceCategories",
    "marketplaceCategory",
    "marketplaceListing",
    "marketplaceListings",
    "meta",
    "rateLimit",
    "securityAdvisories",
    "securityAdvisory",
    "securityVulnerabilities",
    "topic",
    "viewer",
];
/// Most ids in one document; GitHub's own limit for `nodes`.
pub const IDS_MAX: usize = 100;

/// What a document reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Owners of what is read, whose installation has to serve the call.
    pub owners: Vec<String>,
    /// The first account of the agent's that is read itself.
    pub account: Option<String>,
    /// Node ids whose repositories have to be looked up.
    pub ids: Vec<String>,
}

/// Judges every operation and every fragment of a request.
///
/// # Errors
/// When something lies outside the agent's repositories, or can't be judged.
pub fn judge(request: &Request, repositories: &RepositorySet) -> Result<Reads, GraphqlError> {
    let everything = repositories.is_everything();
    let mut judge =
        Judge { document: &request.document, repositories, everything, reads: Reads::default(), fault: None };
    for operation in &request.document.operations {
        let root = match operation.kind {
            Kind::Query => "Query",
            Kind::Mutation => "Mutation",
            Kind::Subscription => return Err(GraphqlError::Subscription),
        };
        judge.walk(&operation.selections, Some(root), &Variables::of(operation, &request.variables));
    }
    // A fragment that no operation spreads is judged as if no variable had a value.
    for (on, selections) in request.document.unspread() {
        judge.walk(selections, types::known(on), &Variables::default());
    }
    match judge.fault {
        Some(fault) => Err(fault),
        None => Ok(judge.reads),
    }
}

struct Judge<'a> {
    document: &'a Document,
    repositories: &'a RepositorySet,
    everything: bool,
    reads: Reads,
    /// The first fault found.
    fault: Option<GraphqlError>,
}

impl Judge<'_> {
    fn walk(&mut self, selections: &[Selection], on: Option<&'static str>, variables: &Variables<'_>) {
        let document = self.document;
        document.fields(selections, None, &mut |field, condition| {
            if self.fault.is_none() {
                // A condition on an unknown type narrows nothing.
                self.field(field, condition.and_then(types::known).or(on), variables);
            }
        });
    }

    fn field(&mut self, field: &Field, on: Option<&'static str>, variables: &Variables<'_>) {
        if on == Some("Query")
            && let Err(fault) = self.root(field, variables)
        {
            self.fault = Some(fault);
            return;
        }
        let way = on
            .and_then(|on| types::way(on, &field.name))
            .or_else(|| types::way_to_its_repository(on, &field.name, field.arguments.is_empty()));
        let reach = match way {
            Some(way) => way.reach,
            None if field.selections.is_empty() => Reach::One,
            None => types::reach_of_unknown(on, &field.name),
        };
        if reach != Reach::One && !self.everything {
            let name = field.name.clone();
            let is_many = reach == Reach::Many;
            self.fault = Some(if is_many { GraphqlError::Walk(name) } else { GraphqlError::Account(name) });
            return;
        }
        // `OWNER:BRANCH` is a branch in another repository of the fork network; no branch name has a colon.
        if field.name == "compare"
            && !self.everything
            && let Some(Value::String(head)) = field.argument("headRef", variables).as_deref()
            && head.contains(':')
        {
            self.fault = Some(GraphqlError::Outside(head.chars().take(200).collect()));
            return;
        }
        self.walk(&field.selections, way.map(|way| way.leads_to), variables);
    }

    /// A field of `Query`, wherever it occurs: `relay` leads back to it.
    fn root(&mut self, field: &Field, variables: &Variables<'_>) -> Result<(), GraphqlError> {
        let text = |name: &str| match field.argument(name, variables).map(Cow::into_owned) {
            Some(Value::String(text)) => Ok(text),
            // A fragment that is never spread has no variables; one that is spread is judged again there.
            _ => Err(GraphqlError::Argument(field.name.clone(), name.to_owned())),
        };
        match field.name.as_str() {
            name if OPEN.contains(&name) || name == "relay" => Ok(()),
            "repository" => {
                let (owner, name) = (text("owner")?, text("name")?);
                self.repository(RepositoryName::new(&owner, &name), &format!("{owner}/{name}"))
            }
            "resource" => {
                let url = text("url")?;
                self.repository(repository_of_url(&url), &url)
            }
            "node" => self.ids(&[Value::String(text("id")?)]),
            "nodes" => match field.argument("ids", variables).as_deref() {
                Some(Value::Array(ids)) => self.ids(ids),
                Some(id @ Value::String(_)) => self.ids(std::slice::from_ref(id)),
                _ => Err(GraphqlError::Argument(field.name.clone(), "ids".to_owned())),
            },
            "user" | "organization" | "repositoryOwner" => {
                let login = text("login")?;
                if is_account(&login) && self.repositories.contains_owner(&login) {
                    self.reads.account.get_or_insert_with(|| login.to_ascii_lowercase());
                }
                Ok(())
            }
            "search" => {
                let owners = search::judge_text(&text("type")?, &text("query")?, self.repositories)
                    .map_err(|error| GraphqlError::Search(error.to_string()))?;
                self.reads.owners.extend(owners);
                Ok(())
            }
            _ if self.everything => Ok(()),
            name => Err(GraphqlError::Root(name.to_owned())),
        }
    }

    fn repository(&mut self, name: Option<RepositoryName>, shown: &str) -> Result<(), GraphqlError> {
        match name {
            Some(name) if self.repositories.contains(&name) => {
                self.reads.owners.push(name.owner().to_ascii_lowercase());
                Ok(())
            }
            _ => Err(GraphqlError::Outside(shown.chars().take(200).collect())),
        }
    }

    fn ids(&mut self, ids: &[Value]) -> Result<(), GraphqlError> {
        for id in ids {
            let id =
                id.as_str().ok_or_else(|| GraphqlError::Argument("nodes".to_owned(), "ids".to_owned()))?;
            if self.reads.ids.iter().any(|known| known == id) {
                continue;
            }
            if self.reads.ids.len() == IDS_MAX {
                return if self.everything { Ok(()) } else { Err(GraphqlError::TooManyIds(IDS_MAX)) };
            }
            self.reads.ids.push(id.to_owned());
        }
        Ok(())
    }
}

/// Parses `https://HOST/OWNER/NAME/…` if it is spelled so that every reader finds the same path in it.
pub(super) fn repository_of_url(url: &str) -> Option<RepositoryName> {
    let is_step = |part: &str| matches!(part, "." | "..");
    let is_odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
    // Dots, slashes, backslashes and percent signs: escaped, they lead elsewhere for who decodes them.
    let lower = url.to_ascii_lowercase();
    let is_hidden = ["%2e", "%2f", "%5c", "%25"].iter().any(|escape| lower.contains(escape));
    let (_, rest) = url.split_once("://")?;
    let names_user = rest.split('/').next().is_some_and(|host| host.contains('@'));
    if names_user || url.contains(is_odd) || url.split(['/', '?', '#']).any(is_step) || is_hidden {
        return None;
    }
    let mut parts = rest.split('/').skip(1);
    let (owner, name) = (parts.next()?, parts.next()?);
    RepositoryName::new(owner, name.split(['?', '#']).next()?)
}
