//! The class of an operation that hangs on its branch: stronger when the branch is the default or a
//! protected one, a tag, or can't be known.

use serde_json::Value;
use tokio::time::Instant;

use super::facts::{Fact, MOVES_MAX, Question};
use super::{Asker, JUDGED_FOR, Permitted};
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::branch::NamedBranch;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Condition;
use crate::proxy::admit::Admitted;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;
use crate::proxy::{AT_ONCE, Proxy};

/// A branch of a repository as it is called now.
struct Place {
    repository: RepositoryName,
    /// None: the default branch.
    branch: Option<String>,
}

/// What is known of a branch that nothing guards.
struct Unguarded {
    repository: RepositoryName,
    is_missing: bool,
}

/// What becomes of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    /// It may not be there yet, or not any more. Everything else fails on a branch that is missing, so
    /// that an answer that says so is not believed.
    may_be_missing: bool,
    /// Open pull requests guard it, too.
    open_pulls: bool,
}

impl Act {
    fn of(call: &Call) -> Act {
        let operation = call.route.operation;
        Act {
            may_be_missing: matches!(
                operation.id,
                "git/create-ref"
                    | "git/delete-ref"
                    | "createRef"
                    | "createLinkedBranch"
                    | "deleteRef"
                    | "updateRefs"
            ),
            open_pulls: matches!(operation.condition, Condition::Branch { open_pulls: true, .. })
                || (operation.id == "updateRefs" && deletes(call.member("refUpdates").as_ref())),
        }
    }
}

/// Whether one of many updates of refs is a deletion, which an all-zero commit says.
fn deletes(updates: Option<&Value>) -> bool {
    let is_deletion = |update: &Value| {
        let commit = update["afterOid"].as_str().unwrap_or_default();
        commit.bytes().all(|byte| byte == b'0')
    };
    updates.and_then(Value::as_array).is_some_and(|updates| updates.iter().any(is_deletion))
}

/// Whether what is pushed to a branch lands by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoMerge {
    On,
    Off,
    Unknown,
}

impl Proxy {
    /// Turns the branch a call names into the class it has.
    pub(super) async fn settle_class(
        &self,
        asker: &Asker,
        call: &mut Call,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        if call.branches.is_empty() {
            return Ok(());
        }
        let is_open =
            |class| asker.agent.allow.contains(&class) && !asker.agent.require_approval.contains(&class);
        let may_anyway = is_open(call.class) && is_open(Class::Write);
        if may_anyway && !self.policy.allow_auto_merge {
            // Either way it may be done, so nobody is asked.
            return Ok(());
        }
        if Box::pin(self.are_free(asker, call, ctx)).await? {
            call.class = call.otherwise;
            call.free_at = Some(Instant::now());
        }
        ctx.class = Some(call.class);
        Ok(())
    }

    /// Looks at the branches once more of a call that goes up as a plain write because nothing guarded them, if it has
    /// waited since. None when what it held was given back for that.
    pub(in crate::proxy) async fn look_again(
        &self,
        permitted: &Permitted,
        admitted: Admitted,
        ctx: &mut Context,
    ) -> Result<Option<Admitted>, ProxyError> {
        if permitted.call().free_at.is_none_or(|at| at.elapsed() < JUDGED_FOR) {
            return Ok(Some(admitted));
        }
        let hold_until = ctx.hold_until;
        ctx.hold_until = hold_until.min(Instant::now() + AT_ONCE);
        let looked = Box::pin(self.check_still_free(permitted, ctx)).await;
        ctx.hold_until = hold_until;
        match looked {
            Ok(()) => Ok(Some(admitted)),
            // It may be the very slot, or the one call of a trial, that is missing.
            Err(held) if held.limit().is_some() => {
                drop(admitted);
                Box::pin(self.check_still_free(permitted, ctx)).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    async fn check_still_free(&self, permitted: &Permitted, ctx: &mut Context) -> Result<(), ProxyError> {
        if self.are_free(&permitted.asker(), permitted.call(), ctx).await? {
            return Ok(());
        }
        Err(ProxyError::OperationForbidden(
            "The call waited, and meanwhile something guards its branch, or that can't be known. Send it again."
                .to_owned(),
        ))
    }

    async fn are_free(&self, asker: &Asker, call: &Call, ctx: &mut Context) -> Result<bool, ProxyError> {
        let act = Act::of(call);
        let mut are_free = true;
        for branch in &call.branches {
            are_free &= self.is_free(asker, branch.clone(), act, ctx).await?;
        }
        Ok(are_free)
    }

    /// Whether a branch is the agent's to write to.
    async fn is_free(
        &self,
        asker: &Asker,
        branch: NamedBranch,
        act: Act,
        ctx: &mut Context,
    ) -> Result<bool, ProxyError> {
        let Some(place) = self.place_of(asker, branch, ctx).await? else { return Ok(false) };
        let unguarded = self.unguarded(asker, &place, act, ctx).await?;
        let is_free = unguarded.is_some();
        let watched = match unguarded {
            // No pull request is open from a branch that is not there.
            Some(Unguarded { is_missing: true, .. }) => None,
            Some(Unguarded { repository, .. }) => Some(Place { repository, ..place }),
            // On a guarded branch who approves the write knows; where auto-merge can be approved nobody may.
            None => Some(place).filter(|_| self.policy.allow_auto_merge),
        };
        let auto_merge = match &watched {
            Some(place) => self.auto_merge(asker, place, ctx).await?,
            None => AutoMerge::Off,
        };
        match auto_merge {
            AutoMerge::On => Err(lands_unseen()),
            AutoMerge::Off => Ok(is_free),
            AutoMerge::Unknown => Ok(false),
        }
    }

    /// Where the branch is; none when that can't be known.
    async fn place_of(
        &self,
        asker: &Asker,
        branch: NamedBranch,
        ctx: &mut Context,
    ) -> Result<Option<Place>, ProxyError> {
        let Some(repository) = asker.repository.clone() else { return Ok(None) };
        let number = match branch {
            NamedBranch::Guarded => return Ok(None),
            NamedBranch::Default => return Ok(Some(Place { repository, branch: None })),
            NamedBranch::Named(branch) => return Ok(Some(Place { repository, branch: Some(branch) })),
            NamedBranch::HeadOfPull(number) => number,
        };
        let owner = repository.owner().to_owned();
        Ok(match self.fact(asker, &Question::Pull(repository, number), ctx).await? {
            // A head in another repository is nobody's to push to who has not got that, too.
            Some(Fact::Pull { head: Some(head), head_branch, .. })
                if asker.agent.repositories.contains(&head) && head.owner() == owner =>
            {
                Some(Place { repository: head, branch: Some(head_branch) })
            }
            _ => None,
        })
    }

    /// A branch that nothing guards; none when something does, or may.
    async fn unguarded(
        &self,
        asker: &Asker,
        place: &Place,
        act: Act,
        ctx: &mut Context,
    ) -> Result<Option<Unguarded>, ProxyError> {
        let Some(branch) = &place.branch else { return Ok(None) };
        let Some((repository, default)) = self.default_branch(asker, &place.repository, ctx).await? else {
            return Ok(None);
        };
        // Git tells cases apart; not everything between here and there may.
        if branch.eq_ignore_ascii_case(&default) {
            return Ok(None);
        }
        let question = Question::Branch(repository.clone(), branch.clone());
        let is_missing = match self.fact(asker, &question, ctx).await? {
            Some(Fact::Branch { is_protected: false }) => false,
            // It does not exist yet: its rules alone count.
            Some(Fact::Missing)
                if act.may_be_missing && !self.is_like_protected(asker, &repository, branch, ctx).await? =>
            {
                true
            }
            _ => return Ok(None),
        };
        let question = Question::Rules(repository.clone(), branch.clone());
        if self.fact(asker, &question, ctx).await? != Some(Fact::Rules { guard: false }) {
            return Ok(None);
        }
        let free = Some(Unguarded { repository: repository.clone(), is_missing });
        if !act.open_pulls {
            return Ok(free);
        }
        for question in [
            pulls_from(repository.clone(), &repository, branch),
            Question::PullsInto(repository.clone(), branch.clone()),
        ] {
            let fact = self.fact(asker, &question, ctx).await?;
            if !matches!(fact, Some(Fact::Pulls { is_any_open: false, .. })) {
                return Ok(None);
            }
        }
        Ok(free)
    }

    /// Whether a branch that does not exist is called like a protected one but for the case.
    async fn is_like_protected(
        &self,
        asker: &Asker,
        repository: &RepositoryName,
        branch: &str,
        ctx: &mut Context,
    ) -> Result<bool, ProxyError> {
        let lower = branch.to_lowercase();
        if lower == branch {
            return Ok(false);
        }
        let fact = self.fact(asker, &Question::Branch(repository.clone(), lower), ctx).await?;
        Ok(!matches!(fact, Some(Fact::Missing | Fact::Branch { is_protected: false })))
    }

    /// The repository as it is called now, and its default branch; none when that can't be known, or
    /// when it moved to where the agent has nothing.
    async fn default_branch(
        &self,
        asker: &Asker,
        repository: &RepositoryName,
        ctx: &mut Context,
    ) -> Result<Option<(RepositoryName, String)>, ProxyError> {
        let mut question = Question::Repository(repository.clone());
        for _ in 0..=MOVES_MAX {
            match self.fact(asker, &question, ctx).await? {
                Some(Fact::Repository { name, default_branch, .. }) => {
                    let is_own = name == *repository || asker.agent.repositories.contains(&name);
                    return Ok(is_own.then_some((name, default_branch)));
                }
                Some(Fact::Moved { id }) => question = Question::RepositoryId(id),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Whether auto-merge is on for an open pull request from the branch, whoever turned it on: one of its own
    /// repository, or of what that is a fork of.
    async fn auto_merge(
        &self,
        asker: &Asker,
        place: &Place,
        ctx: &mut Context,
    ) -> Result<AutoMerge, ProxyError> {
        let branch = match &place.branch {
            Some(branch) => branch.clone(),
            None => match self.default_branch(asker, &place.repository, ctx).await? {
                Some((_, default)) => default,
                None => return Ok(AutoMerge::Unknown),
            },
        };
        let own = &place.repository;
        let question = Question::Repository(own.clone());
        let Some(Fact::Repository { upstreams: Some(upstreams), .. }) =
            self.fact(asker, &question, ctx).await?
        else {
            return Ok(AutoMerge::Unknown);
        };
        let mut seen = AutoMerge::Off;
        for at in std::iter::once(own.clone()).chain(upstreams) {
            // Of another account, where no App of ours is, it can't be written to: then GitHub turns it off by itself.
            let is_beyond = at.owner() != own.owner();
            let owner = at.owner().to_owned();
            match self.fact(asker, &pulls_from(at, own, &branch), ctx).await? {
                Some(Fact::Pulls { is_auto_merge_on: true, .. }) => return Ok(AutoMerge::On),
                Some(Fact::Pulls { .. }) => {}
                Some(Fact::Missing) if is_beyond && !self.is_installed_on(&owner).await? => {}
                _ => seen = AutoMerge::Unknown,
            }
        }
        Ok(seen)
    }
}

/// Pull requests of one repository from a branch of another, or its own.
fn pulls_from(at: RepositoryName, head: &RepositoryName, branch: &str) -> Question {
    Question::PullsFrom { at, owner: head.owner().to_owned(), branch: branch.to_owned() }
}

fn lands_unseen() -> ProxyError {
    ProxyError::OperationForbidden(
        "Auto-merge is on for a pull request from this branch, so what is written to it would land unseen. Ask a \
         person to turn auto-merge off first; asking again will not help."
            .to_owned(),
    )
}
