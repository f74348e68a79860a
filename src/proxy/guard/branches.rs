//! The class of an operation that depends on its branch: stronger if that is the default branch, a
//! protected one, a tag, or can't be known.

use std::time::Duration;

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
use crate::proxy::classify::{Call, Looked};
use crate::proxy::context::Context;
use crate::proxy::{AT_ONCE, Proxy};

/// How often a call that has to wait after each look at its branches is looked at again.
const LOOKS_MAX: usize = 4;
/// An agent's writes to a repository are a second apart, and one that gave its place up waits for
/// the next turn. The look comes so much later, and is still young then.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// A branch of a repository, under its current name.
struct Place {
    repository: RepositoryName,
    /// None for the default branch.
    branch: Option<String>,
}

/// What is known about a branch that nothing guards.
struct Unguarded {
    repository: RepositoryName,
    is_missing: bool,
}

/// What is done to a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    /// The branch may not exist yet, or no longer. Anything else fails on a missing branch, so an
    /// answer that says it is missing is not believed.
    may_be_missing: bool,
    /// Open pull requests guard the branch, too.
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

/// Whether one of several ref updates is a deletion, which an all-zero commit says.
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
    /// Settles the class of a call by the branches it names.
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
        if may_anyway && !self.rules.policy.allow_auto_merge {
            // The agent may do it either way, so there is nothing to ask.
            return Ok(());
        }
        let are_free = Box::pin(self.are_free(asker, call, ctx)).await?;
        if are_free {
            call.class = call.otherwise;
        }
        if are_free || self.rules.policy.allow_auto_merge {
            call.looked = Some(Looked { at: Instant::now(), are_free });
        }
        ctx.class = Some(call.class);
        Ok(())
    }

    /// Checks the branches again of a call whose way depends on what they were like, whenever it
    /// has waited since. It may have to give `admitted` back for that, and to wait once more.
    pub(in crate::proxy) async fn look_again(
        &self,
        permitted: &mut Permitted,
        admitted: Admitted,
        ctx: &mut Context,
    ) -> Result<Admitted, ProxyError> {
        if permitted.call.looked.is_none() {
            return Ok(admitted);
        }
        // Minting may take long. Afterwards injection finds the token.
        self.token_for(permitted).await?;
        if !is_looked_long_ago(&permitted.call) {
            return Ok(admitted);
        }
        // The call has had its turn, and is the next of its agent's.
        let is_interactive = std::mem::replace(&mut ctx.is_interactive, true);
        let admitted = Box::pin(self.judge_until_sent(permitted, admitted, ctx)).await;
        ctx.is_interactive = is_interactive;
        admitted
    }

    async fn judge_until_sent(
        &self,
        permitted: &mut Permitted,
        mut admitted: Admitted,
        ctx: &mut Context,
    ) -> Result<Admitted, ProxyError> {
        let mut keep_for = AT_ONCE;
        for _ in 0..LOOKS_MAX {
            let hold_until = ctx.hold_until;
            ctx.hold_until = hold_until.min(Instant::now() + keep_for);
            let looked = self.renew_look(permitted, ctx).await;
            ctx.hold_until = hold_until;
            match looked {
                Ok(()) => return Ok(admitted),
                // The look-up may lack the very slot, or a trial's one call, that `admitted` holds.
                Err(held) if held.limit().is_some() => drop(admitted),
                Err(error) => return Err(error),
            }
            self.hold_off(&permitted.agent, LOOK_AFTER, ctx).await?;
            let since = Instant::now();
            self.renew_look(permitted, ctx).await?;
            // If the look-up only had to wait for its agent's turn, it can be done without giving up the place.
            keep_for = AT_ONCE + since.elapsed() * 2;
            admitted = self.admit(permitted, ctx).await?;
            if !is_looked_long_ago(&permitted.call) {
                return Ok(admitted);
            }
        }
        Err(waited())
    }

    /// Checks the branches once more, right before the call goes up, if it has waited since.
    pub(in crate::proxy) async fn check_waited(
        &self,
        permitted: &Permitted,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        match is_looked_long_ago(permitted.call()) {
            true => self.check_as_before(permitted, ctx).await,
            false => Ok(()),
        }
    }

    async fn renew_look(&self, permitted: &mut Permitted, ctx: &mut Context) -> Result<(), ProxyError> {
        self.check_as_before(permitted, ctx).await?;
        if let Some(looked) = &mut permitted.call.looked {
            looked.at = Instant::now();
        }
        Ok(())
    }

    async fn check_as_before(&self, permitted: &Permitted, ctx: &mut Context) -> Result<(), ProxyError> {
        let call = permitted.call();
        // Whether auto-merge is on counts in any case, and is an error of its own.
        let are_free = self.are_free(&permitted.asker(), call, ctx).await?;
        if !are_free && call.looked.is_some_and(|before| before.are_free) { Err(waited()) } else { Ok(()) }
    }

    async fn are_free(&self, asker: &Asker, call: &Call, ctx: &mut Context) -> Result<bool, ProxyError> {
        let act = Act::of(call);
        let mut are_free = true;
        for branch in &call.branches {
            are_free &= self.is_free(asker, branch.clone(), act, ctx).await?;
        }
        Ok(are_free)
    }

    /// Whether nothing guards the branch, so that the agent may write to it.
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
            // No pull request can be open from a missing branch.
            Some(Unguarded { is_missing: true, .. }) => None,
            Some(Unguarded { repository, .. }) => Some(Place { repository, ..place }),
            // Whoever approves a write to a guarded branch knows that it lands. If policy allows
            // auto-merge, maybe nobody does.
            None => Some(place).filter(|_| self.rules.policy.allow_auto_merge),
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

    /// Which branch is meant; none if that can't be known.
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
            // The agent may push to a head in another repository only if it has that repository, too.
            Some(Fact::Pull { head: Some(head), head_branch, .. })
                if asker.agent.repositories.contains(&head) && head.owner() == owner =>
            {
                Some(Place { repository: head, branch: Some(head_branch) })
            }
            _ => None,
        })
    }

    /// A branch that nothing guards; none if something does or may.
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
        // Git distinguishes case; something on the way to it may not.
        if branch.eq_ignore_ascii_case(&default) {
            return Ok(None);
        }
        let question = Question::Branch(repository.clone(), branch.clone());
        let is_missing = match self.fact(asker, &question, ctx).await? {
            Some(Fact::Branch { is_protected: false }) => false,
            // It does not exist yet: only rules can guard it.
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

    /// Whether the name of a missing branch differs only in case from a protected one.
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

    /// The repository under its current name, and its default branch. None if that can't be known,
    /// or if the repository moved to where the agent has no access.
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

    /// Whether auto-merge is on, whoever turned it on, for an open pull request from the branch:
    /// one in its own repository, or in one that this is a fork of.
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
            // In another account without an App of ours we can't write, so GitHub turns auto-merge off by itself.
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

/// Pull requests in the repository `at` from a branch of `head`, which may be the same.
fn pulls_from(at: RepositoryName, head: &RepositoryName, branch: &str) -> Question {
    Question::PullsFrom { at, owner: head.owner().to_owned(), branch: branch.to_owned() }
}

/// Whether the call's way depends on a look at its branches that is too old to rely on.
fn is_looked_long_ago(call: &Call) -> bool {
    call.looked.is_some_and(|looked| looked.at.elapsed() >= JUDGED_FOR)
}

fn waited() -> ProxyError {
    ProxyError::OperationForbidden(
        "The call waited, and meanwhile something guards its branch, or that can't be known. Send it again."
            .to_owned(),
    )
}

fn lands_unseen() -> ProxyError {
    ProxyError::OperationForbidden(
        "Auto-merge is on for a pull request from this branch, so what is written to it would land unseen. Ask a \
         person to turn auto-merge off first; asking again will not help."
            .to_owned(),
    )
}
