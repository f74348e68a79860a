//! What the stages after this one know of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::graphql::refused;
use crate::error::ProxyError;
use crate::policy::branch::NamedBranch;
use crate::policy::graphql::mutations::Mutation;
use crate::policy::graphql::{Kind, Request as Document, edit};
use crate::policy::routes::{self, Route, Scope};
use crate::policy::target::Target;
use crate::policy::{Class, json};
use crate::proxy::body::Bounded;
use crate::proxy::held::Room;

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// As they came. Only an allow-list of them is sent upstream.
    pub(crate) headers: HeaderMap,
    pub(crate) body: CallBody,
    pub(crate) route: Route,
    /// The class. While `branches` still decide it: the class if one of them is guarded.
    pub(crate) class: Class,
    /// Branches the guard has to look at before the class is known.
    pub(crate) branches: Vec<NamedBranch>,
    /// What the guard found out about `branches`, if that must still hold when the call goes up.
    pub(crate) looked: Option<Looked>,
    /// The class if nothing guards `branches`.
    pub(crate) otherwise: Class,
    /// What an approval calls the operation, if not by its class.
    pub(crate) action: Option<&'static str>,
    /// The number of the pull request it lands.
    pub(crate) lands: Option<u64>,
    /// The number of the pull request it reviews.
    pub(crate) reviews: Option<u64>,
    /// What the node ids in its mutations stand for.
    pub(crate) ids: BTreeMap<String, String>,
    /// Its document, if it is GraphQL.
    pub(crate) graphql: Option<Box<GraphqlCall>>,
    /// Its cost in points of its pool, as known before it is sent.
    pub(crate) price: u32,
    /// Whether a GraphQL answer's `rateLimit { cost }` can be believed.
    pub(crate) shows_cost: bool,
    /// It opened a pull request that was no draft, and is sent as one that is.
    pub(crate) is_made_draft: bool,
    /// The part of the memory for bodies that its body takes.
    pub(crate) _room: Option<Room>,
}

/// A look at the branches of a call, after which what is written to them does not land unseen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) at: Instant,
    /// Nothing guards them, so the call is a plain write.
    pub(crate) are_free: bool,
}

/// A GraphQL document, and what it changes.
#[derive(Debug)]
pub(crate) struct GraphqlCall {
    pub(crate) request: Document,
    pub(crate) mutations: Vec<Mutation>,
}

impl Call {
    /// A read without a body, as the guard's own questions are.
    pub(crate) fn own(target: Target, route: Route, class: Class) -> Call {
        Call {
            method: Method::GET,
            target,
            headers: HeaderMap::new(),
            body: CallBody::Empty,
            route,
            class,
            branches: Vec::new(),
            looked: None,
            otherwise: Class::Write,
            action: None,
            lands: None,
            reviews: None,
            ids: BTreeMap::new(),
            graphql: None,
            price: 1,
            shows_cost: false,
            is_made_draft: false,
            _room: None,
        }
    }

    /// Whether tollgate makes the call for itself, to judge another one.
    pub(crate) fn is_look_up(&self) -> bool {
        let is_about_nodes = matches!(self.route.scope, Scope::Graphql) && self.graphql.is_none();
        is_about_nodes || std::ptr::eq(self.route.operation, &raw const routes::LOOK_UP)
    }

    /// The members of the body, or of the input of the call's one mutation; none if there is no such thing.
    pub(crate) fn members(&self) -> Option<Cow<'_, Map<String, Value>>> {
        match &self.graphql {
            Some(graphql) => Some(Cow::Borrowed(&graphql.mutations.first()?.input)),
            None => Some(Cow::Owned(json::object(self.body.held()).ok()?)),
        }
    }

    pub(crate) fn member(&self, key: &str) -> Option<Value> {
        self.members()?.get(key).cloned()
    }

    /// Sets a member of the body, or of the input of the call's one mutation; all else stays as it was sent.
    pub(crate) fn set_member(&mut self, key: &str, value: &Value) -> Result<(), ProxyError> {
        let body = match &mut self.graphql {
            Some(graphql) => {
                let body = edit::with_input(&graphql.request, self.body.held(), key, value);
                let body = body.map_err(|error| refused(&error))?;
                // The next member is set in this document.
                graphql.request = Document::read(&body).map_err(|error| refused(&error))?;
                body
            }
            None => json::with(self.body.held(), key, value).map_err(|_| ProxyError::Internal)?,
        };
        self.body = CallBody::Whole(body);
        Ok(())
    }

    /// Whether the call's class depends on a branch.
    pub(crate) fn names_branch(&self) -> bool {
        let by_graphql = self.graphql.iter().flat_map(|graphql| &graphql.mutations);
        !self.branches.is_empty() || by_graphql.into_iter().any(|mutation| !mutation.branches.is_empty())
    }

    /// Whether GitHub counts the call as one that changes something, whatever the policy makes of it.
    pub(crate) fn is_write(&self) -> bool {
        match self.route.scope {
            Scope::Graphql => self.changes_by_graphql(),
            _ => !matches!(self.method, Method::GET | Method::HEAD),
        }
    }

    /// Whether the call changes something by GraphQL.
    pub(crate) fn changes_by_graphql(&self) -> bool {
        self.graphql.as_ref().is_some_and(|graphql| graphql.request.kind() != Kind::Query)
    }
}

/// The body of a call.
#[derive(Debug)]
pub(crate) enum CallBody {
    Empty,
    /// Held in memory, so it can be sent again.
    Whole(Bytes),
    /// Can be sent once only; the first attempt takes it.
    Stream(Option<Box<Bounded>>),
}

impl CallBody {
    /// The bytes held: the whole body, or nothing.
    pub(crate) fn held(&self) -> &[u8] {
        match self {
            CallBody::Whole(bytes) => bytes,
            CallBody::Empty | CallBody::Stream(_) => &[],
        }
    }

    /// Whether a second attempt would still have the body.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            CallBody::Empty | CallBody::Whole(_) => true,
            CallBody::Stream(_) => false,
        }
    }
}
