//! The class of an operation that hangs on its branch: stronger when the branch is the default or a
//! protected one, a tag, or can't be known.

use super::Asker;
use super::facts::{Fact, MOVES_MAX, Question};
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::branch::NamedBranch;
use crate::policy::repositories::RepositoryName;
use crate::policy::routes::Condition;
use crate::proxy::Proxy;
use crate::proxy::classify::Call;
use crate::proxy::context::Context;

/// A branch of a repository as it is called now.
struct Place {
    repository: RepositoryName,
    /// None: the default branch.
    branch: Option<String>,
}

impl Proxy {
    /// Turns the branch a call names into the class it has.
    pub(super) async fn settle_class(
        &self,
        asker: &Asker,
        call: &mut Call,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let Some(branch) = call.branch.take() else { return Ok(()) };
        let watches_auto_merge = self.policy.allow_auto_merge;
        let is_open =
            |class| asker.agent.allow.contains(&class) && !asker.agent.require_approval.contains(&class);
        if is_open(call.class) && is_open(Class::Write) && !watches_auto_merge {
            // Either way it may be done, so nobody is asked.
            return Ok(());
        }
        let Some(place) = self.place_of(asker, branch, call, ctx).await? else { return Ok(()) };
        if watches_auto_merge {
            self.refuse_auto_merging(asker, &place, ctx).await?;
        }
        let open_pulls = matches!(call.route.operation.condition, Condition::Branch { open_pulls: true, .. });
        if !self.is_guarded(asker, &place, open_pulls, ctx).await? {
            call.class = Class::Write;
        }
        ctx.class = Some(call.class);
        Ok(())
    }

    /// Where the branch is; none when that can't be known.
    async fn place_of(
        &self,
        asker: &Asker,
        branch: NamedBranch,
        call: &Call,
        ctx: &mut Context,
    ) -> Result<Option<Place>, ProxyError> {
        let Some(repository) = asker.repository.clone() else { return Ok(None) };
        Ok(match branch {
            NamedBranch::Guarded => None,
            NamedBranch::Default => Some(Place { repository, branch: None }),
            NamedBranch::Named(branch) => Some(Place { repository, branch: Some(branch) }),
            NamedBranch::HeadOfPull => {
                let number = call.route.param("pull_number").and_then(|number| number.parse().ok());
                let Some(number) = number else { return Ok(None) };
                match self.fact(asker, &Question::Pull(repository, number), ctx).await? {
                    // A head in another repository is nobody's to push to who has not got that, too.
                    Some(Fact::Pull { head: Some(head), head_branch, .. })
                        if asker.agent.repositories.contains(&head)
                            && asker.repository.as_ref().is_some_and(|base| base.owner() == head.owner()) =>
                    {
                        Some(Place { repository: head, branch: Some(head_branch) })
                    }
                    _ => None,
                }
            }
        })
    }

    async fn is_guarded(
        &self,
        asker: &Asker,
        place: &Place,
        open_pulls: bool,
        ctx: &mut Context,
    ) -> Result<bool, ProxyError> {
        let Some(branch) = &place.branch else { return Ok(true) };
        let Some((repository, default)) = self.default_branch(asker, &place.repository, ctx).await? else {
            return Ok(true);
        };
        // Git tells cases apart; not everything between here and there may.
        if branch.eq_ignore_ascii_case(&default) {
            return Ok(true);
        }
        let question = Question::Branch(repository.clone(), branch.clone());
        let exists = match self.fact(asker, &question, ctx).await? {
            Some(Fact::Branch { is_protected: false }) => true,
            // It does not exist yet: its rules alone count.
            Some(Fact::Missing) if !self.is_like_protected(asker, &repository, branch, ctx).await? => false,
            _ => return Ok(true),
        };
        let question = Question::Rules(repository.clone(), branch.clone());
        if self.fact(asker, &question, ctx).await? != Some(Fact::Rules { guard: false }) {
            return Ok(true);
        }
        if !open_pulls || !exists {
            return Ok(false);
        }
        for question in [
            Question::PullsFrom(repository.clone(), branch.clone()),
            Question::PullsInto(repository.clone(), branch.clone()),
        ] {
            let fact = self.fact(asker, &question, ctx).await?;
            if !matches!(fact, Some(Fact::Pulls { is_any_open: false, .. })) {
                return Ok(true);
            }
        }
        Ok(false)
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
                Some(Fact::Repository { name, default_branch }) => {
                    let is_own = name == *repository || asker.agent.repositories.contains(&name);
                    return Ok(is_own.then_some((name, default_branch)));
                }
                Some(Fact::Moved { id }) => question = Question::RepositoryId(id),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// While auto-merge is on, what is pushed to a pull request's head lands unseen.
    async fn refuse_auto_merging(
        &self,
        asker: &Asker,
        place: &Place,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let branch = match &place.branch {
            Some(branch) => branch.clone(),
            None => match self.default_branch(asker, &place.repository, ctx).await? {
                Some((_, default)) => default,
                // Unknown it is guarded, and waits for an approval of its own.
                None => return Ok(()),
            },
        };
        let question = Question::PullsFrom(place.repository.clone(), branch);
        match self.fact(asker, &question, ctx).await? {
            Some(Fact::Pulls { is_auto_merge_on: false, .. }) => Ok(()),
            Some(Fact::Pulls { .. }) => Err(ProxyError::OperationForbidden(
                "Auto-merge is on for a pull request from this branch, so what is written to it would land unseen. \
                 Ask a person to turn auto-merge off first."
                    .to_owned(),
            )),
            _ => Err(ProxyError::UpstreamUnreachable(
                "it did not say whether auto-merge is on for this branch, so nothing is written to it",
            )),
        }
    }
}
