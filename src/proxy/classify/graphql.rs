//! A GraphQL request, classified by its document.

use std::mem;

use http::{Method, request};

use super::{Call, CallBody, GraphqlCall, bad};
use crate::audit::Change;
use crate::config::Agent;
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::graphql::{self, Fault, GraphqlError, Kind, mutations};
use crate::policy::routes::{GRAPHQL, Route, Scope};
use crate::policy::target::Target;
use crate::proxy::Proxy;
use crate::proxy::body::RequestBody;
use crate::proxy::context::Context;

impl Proxy {
    pub(super) async fn classify_graphql(
        &self,
        agent: &Agent,
        head: &mut request::Parts,
        target: Target,
        body: RequestBody,
        ctx: &mut Context,
    ) -> Result<Call, ProxyError> {
        if head.method != Method::POST {
            return Err(bad("GraphQL is asked by POST, with one JSON object as the body."));
        }
        "/graphql".clone_into(&mut ctx.path);
        if target.query().is_some() {
            return Err(bad("A GraphQL request has no query string here; send everything in the body."));
        }
        let limit = self.rules.server.max_body_bytes.min(graphql::BODY_BYTES_MAX as u64);
        let (bytes, room) = self.hold(agent, body, limit, ctx).await?;
        let request = graphql::Request::read(&bytes).map_err(|error| refused(&error))?;
        let price = request.price().map_err(|error| refused(&error))?.points();
        let mutations = mutations::judge(&request).map_err(|error| refused(&error))?;
        // A mutation that changes nothing is still not open to agents that may only read.
        let least = if request.kind() == Kind::Query { Class::Read } else { Class::Write };
        let class = mutations.iter().map(|mutation| mutation.class).max().unwrap_or(least);
        let otherwise = mutations.iter().map(|mutation| match mutation.branches.is_empty() {
            true => mutation.class,
            false => Class::Write,
        });
        let otherwise = otherwise.max().unwrap_or(least);
        // A document of one mutation counts as that operation, any other as the path's.
        let operation = match mutations.as_slice() {
            [only] => only.operation,
            _ => &GRAPHQL,
        };
        ctx.changes = mutations.iter().map(|mutation| Change::of(mutation.operation.id)).collect();
        ctx.operation = Some(operation);
        ctx.class = Some(class);
        let route = Route { operation, scope: Scope::Graphql, params: Vec::new() };
        Ok(Call {
            method: head.method.clone(),
            headers: mem::take(&mut head.headers),
            body: CallBody::Whole(bytes),
            otherwise,
            price: u32::try_from(price).unwrap_or(u32::MAX),
            shows_cost: request.shows_cost,
            graphql: Some(Box::new(GraphqlCall { request, mutations })),
            _room: Some(room),
            ..Call::own(target, route, class)
        })
    }
}

/// The error for a document that is not let through.
pub(in crate::proxy) fn refused(error: &GraphqlError) -> ProxyError {
    let message = format!(
        "{}{}.",
        error.to_string().chars().next().unwrap_or_default().to_uppercase(),
        error.to_string().chars().skip(1).collect::<String>()
    );
    match error.fault() {
        Fault::Form => ProxyError::BadRequest(message),
        Fault::Outside => ProxyError::RepositoryForbidden(message),
        Fault::Closed => ProxyError::OperationForbidden(message),
    }
}
