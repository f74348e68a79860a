//! Stage 4, may it be done: takes agent and call, gives [`Permitted`], the proof that later stages ask for.
//!
//! Only this file can make a `Permitted`. The guard comes before the cache, so that nothing cached
//! is shown to an agent that may not ask for it. Numeric ids are first resolved by a look-up that
//! is itself a permitted call of this agent, and everything is judged by name.

mod approval;
mod branches;
mod choose;
mod confine;
mod drafts;
mod facts;
mod graphql;
mod nodes;
mod pulls;
mod resolve;
mod still;

use std::sync::Arc;
use std::time::Duration;

pub(super) use approval::Sanction;
use facts::FactCache;
use nodes::Nodes;
use resolve::Names;

use super::Proxy;
use super::classify::{Call, CallBody};
use super::context::Context;
use crate::audit::{self, Record, Verdict};
use crate::config::{Agent, ApprovalMode};
use crate::error::ProxyError;
use crate::github::installations::{Installation, Kind};
use crate::github::tokens::{Access, REPOSITORIES_MAX};
use crate::policy::branch::NamedBranch;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Scope;
use crate::policy::target::Target;
use crate::policy::{Class, trailer};

/// Look-ups for a call that are older than this are repeated before the call goes up.
pub(super) const JUDGED_FOR: Duration = Duration::from_secs(1);

/// How many of a call's branches the audit log names.
const BRANCHES_SHOWN: usize = 100;

/// How long what ids stand for is believed.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// What the guard's own questions have found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Names of numeric ids.
    names: Names,
    /// What GitHub said about repositories and branches.
    facts: FactCache,
    /// What node ids stand for.
    nodes: Nodes,
}

/// A call that may be made, for which agent, and with whose rights.
#[derive(Debug)]
pub(crate) struct Permitted {
    agent: Arc<Agent>,
    /// Boxed: values are moved between stages.
    call: Box<Call>,
    installation: Arc<Installation>,
    access: Access,
    /// The repositories the token is narrowed to; none for all of the installation's.
    token_repositories: Option<Vec<String>>,
    /// The repository the call is about, if it is a single one.
    repository: Option<RepositoryName>,
    /// Who let a gated call through.
    sanction: Option<Sanction>,
}

/// Whom a call is for, and whose rights serve it. The guard's own questions are asked with these.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Asker {
    agent: Arc<Agent>,
    installation: Arc<Installation>,
    repository: Option<RepositoryName>,
}

impl Permitted {
    pub(super) fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn body_mut(&mut self) -> &mut CallBody {
        &mut self.call.body
    }

    pub(super) fn installation(&self) -> &Arc<Installation> {
        &self.installation
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn token_repositories(&self) -> Option<&Vec<String>> {
        self.token_repositories.as_ref()
    }

    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        self.repository.as_ref()
    }

    /// What the last questions before the call goes up are asked with.
    pub(super) fn asker(&self) -> Asker {
        Asker {
            agent: Arc::clone(&self.agent),
            installation: Arc::clone(&self.installation),
            repository: self.repository.clone(),
        }
    }

    /// A read with exactly the credential the call is made with.
    pub(super) fn probe(&self) -> Option<Permitted> {
        let target = Target::parse(&format!("/repos/{}", self.repository.as_ref()?), None).ok()?;
        Some(Permitted {
            agent: Arc::clone(&self.agent),
            call: facts::look_up(target, None),
            installation: Arc::clone(&self.installation),
            access: self.access,
            token_repositories: self.token_repositories.clone(),
            repository: self.repository.clone(),
            sanction: None,
        })
    }

    /// Whether the call may be made again after GitHub answered that it did nothing. An approved
    /// call goes up once, whatever GitHub says.
    pub(super) fn is_repeatable(&self) -> bool {
        self.call.body.is_repeatable() && self.sanction.is_none()
    }

    pub(super) fn sanction(&self) -> Option<&Sanction> {
        self.sanction.as_ref()
    }

    /// Whether the call changes something at GitHub, so that a second attempt could do it twice.
    pub(super) fn is_write(&self) -> bool {
        self.call.is_write()
    }

    /// Narrows the token to the call's repository. False if there is none, or the token can't be
    /// narrowed further.
    pub(super) fn narrow_to_repository(&mut self) -> bool {
        let Some(repository) = &self.repository else { return false };
        let alone = Some(vec![repository.name().to_owned()]);
        if self.token_repositories.is_none() || self.token_repositories == alone {
            return false;
        }
        self.token_repositories = alone;
        true
    }
}

impl Proxy {
    pub(super) async fn guard(
        &self,
        agent: &Arc<Agent>,
        mut call: Box<Call>,
        ctx: &mut Context,
    ) -> Result<Permitted, ProxyError> {
        self.check_auto_merge(&mut call)?;
        self.check_possible(agent, &call, ctx)?;
        let (repository, owner) = self.confine(agent, &mut call, ctx).await?;
        ctx.repository.clone_from(&repository);
        ctx.branches = call.branches.iter().take(BRANCHES_SHOWN).map(NamedBranch::shown).collect();
        let installation = self.installation_for(agent, &call, repository.as_ref(), owner.as_deref()).await?;
        let asker = Asker { agent: Arc::clone(agent), installation, repository };
        self.settle_class(&asker, &mut call, ctx).await?;
        self.check_class(agent, &call, ctx)?;
        self.check_draft(agent, &call, ctx)?;
        let sanction = self.check_approval(&asker, &call, owner.as_deref(), ctx).await?;
        self.amend(agent, &mut call, sanction.as_ref(), ctx)?;
        ctx.record = self.record_of(&asker, &call, sanction.as_ref(), ctx);
        permit(asker, call, sanction)
    }

    /// Makes tollgate's own changes to a body, after it was judged as it came.
    fn amend(
        &self,
        agent: &Agent,
        call: &mut Call,
        sanction: Option<&Sanction>,
        ctx: &Context,
    ) -> Result<(), ProxyError> {
        self.force_draft(agent, call)?;
        approval::pin_commit(call, sanction)?;
        let Some(trailer) = &self.rules.policy.commit_trailer else { return Ok(()) };
        let trailer = trailer.replace("{agent}", &agent.name).replace("{request_id}", &ctx.request_id);
        let mutation = call.graphql.as_ref().and_then(|graphql| graphql.mutations.first());
        if let Some(mutation) = mutation {
            return match trailer::in_input(mutation.operation, &mutation.input, &trailer) {
                Some((key, value)) => call.set_member(key, &value),
                None => Ok(()),
            };
        }
        let appended = trailer::append(call.route.operation, call.body.held(), &trailer)
            .map_err(|error| ProxyError::BadRequest(format!("The request is ambiguous: {error}.")))?;
        if let Some(body) = appended {
            call.body = CallBody::Whole(body);
        }
        Ok(())
    }

    /// The audit log's line for a write.
    fn record_of(
        &self,
        asker: &Asker,
        call: &Call,
        sanction: Option<&Sanction>,
        ctx: &Context,
    ) -> Option<Arc<Record>> {
        if call.class == Class::Read && sanction.is_none() && ctx.observed.is_none() {
            return None;
        }
        let facts = audit::Facts {
            request_id: ctx.request_id.clone(),
            agent: asker.agent.name.clone(),
            subject: ctx.subject.as_deref().map(str::to_owned),
            method: call.method.to_string(),
            operation: call.route.operation.id,
            repository: asker.repository.as_ref().map(RepositoryName::to_string),
            path: ctx.path.clone(),
            branches: ctx.branches.clone(),
            class: Some(call.class.as_str()),
            verdict: Some(if ctx.observed.is_some() { Verdict::Observed } else { Verdict::Allowed }),
            rule: Some(ctx.observed.unwrap_or(if sanction.is_some() { "approval" } else { "allowed" })),
            changes: ctx.changes.clone(),
            approver: sanction.and_then(Sanction::approver),
            approved: sanction.and_then(|sanction| sanction.approved(call)),
            ..audit::Facts::default()
        };
        Some(Arc::new(Record::new(&self.audit, &self.clock, facts)))
    }

    /// Lets a refusal pass while policy only observes, and records it. Checks that guard branches never come here.
    fn tolerate(
        &self,
        agent: &Agent,
        ctx: &mut Context,
        checked: Result<(), ProxyError>,
    ) -> Result<(), ProxyError> {
        match checked {
            Err(error) if self.rules.policy.is_observing && error.is_denial() => {
                // The class is checked twice; count it once.
                if ctx.observed.replace(error.code()) != Some(error.code()) {
                    self.metrics.observed.with_label_values(&[agent.name.as_str(), error.code()]).inc();
                }
                Ok(())
            }
            checked => checked,
        }
    }

    /// Refuses at once what no look-up could put right.
    fn check_possible(&self, agent: &Agent, call: &Call, ctx: &mut Context) -> Result<(), ProxyError> {
        if call.class == Class::Token {
            return Err(ProxyError::OperationForbidden(
                "Operations on credentials are never open to agents: tollgate holds the tokens.".to_owned(),
            ));
        }
        // If nothing guards the branch, the call is a plain write.
        if call.names_branch() && agent.allow.contains(&Class::Write) {
            return Ok(());
        }
        self.check_class(agent, call, ctx)
    }

    /// Whether there is a configuration file: in one, `signed` must name who may approve.
    fn has_file(&self) -> bool {
        let policy = &self.rules.policy;
        policy.approval_mode != ApprovalMode::Signed || !policy.verifier.is_empty()
    }

    /// Whether the agent may use operations of this class at all.
    fn check_class(&self, agent: &Agent, call: &Call, ctx: &mut Context) -> Result<(), ProxyError> {
        let class = call.class;
        if agent.allow.contains(&class) {
            return Ok(());
        }
        let remedy = match self.has_file() {
            true => format!("Its operator can add `{class}` to the agent's `allow`."),
            false => "It takes a configuration file to open them: `tollgate serve --config FILE`.".to_owned(),
        };
        let refused = Err(ProxyError::OperationForbidden(format!(
            "Operations of class {class} are not open to agent {}; asking again will not help. {remedy}",
            agent.name
        )));
        // Classes that land code, vouch for it or undo protection are refused even while policy only observes.
        match class {
            Class::Read | Class::Write => self.tolerate(agent, ctx, refused),
            Class::RefWrite
            | Class::Merge
            | Class::Review
            | Class::Protection
            | Class::Admin
            | Class::Token => refused,
        }
    }
}

/// A call that is open to everybody needs no write access, whatever its method.
fn access_of(call: &Call) -> Access {
    let reads = call.class == Class::Read || call.route.scope == Scope::Everyone;
    if reads { Access::Read } else { Access::Write }
}

/// Makes the proof.
fn permit(asker: Asker, call: Box<Call>, sanction: Option<Sanction>) -> Result<Permitted, ProxyError> {
    let Asker { agent, installation, repository } = asker;
    let everything = agent.repositories.is_everything();
    let (token_repositories, confined) = match &installation.kind {
        // A personal token reaches whatever its user can.
        Kind::Personal(_) => (None, everything),
        Kind::App(app) => match agent.repositories.named_of(&app.account) {
            None => (None, true),
            // Outside the agent's repositories, and tolerated because policy only observes: this
            // one and no other.
            Some(names) if repository.as_ref().is_some_and(|name| !agent.repositories.contains(name)) => {
                drop(names);
                (repository.as_ref().map(|name| vec![name.name().to_owned()]), true)
            }
            // An empty list would mint a token for all repositories. It is empty when the account was renamed.
            Some(names) if names.is_empty() => {
                return Err(ProxyError::NoInstallation(format!(
                    "The installation that answers for this call is on `{}`, where agent {} has no repositories.",
                    app.account, agent.name
                )));
            }
            Some(names) if names.len() > REPOSITORIES_MAX => (None, false),
            Some(names) => (Some(names), true),
        },
    };
    if call.route.scope == Scope::Graphql && !confined {
        return Err(ProxyError::OperationForbidden(format!(
            "GraphQL can't be confined to the repositories of agent {} with the credential it has: \
             that takes a GitHub App, and at most {REPOSITORIES_MAX} repositories named. Use REST.",
            agent.name
        )));
    }
    let access = access_of(&call);
    Ok(Permitted { agent, call, installation, access, token_repositories, repository, sanction })
}
