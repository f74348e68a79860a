//! What lands when a pull request is merged: itself and, in a stack, those below it.

use super::Asker;
use super::facts::{Fact, Question};
use crate::error::ProxyError;
use crate::policy::approval::{Base, PullAt};
use crate::proxy::Proxy;
use crate::proxy::context::Context;

/// What merging a pull request would land.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::proxy) struct Landing {
    /// The commit at its head; none if there is no such pull request.
    pub(in crate::proxy) head_sha: Option<String>,
    /// The branch it goes into, if GitHub says so.
    pub(in crate::proxy) base: Option<Base>,
    /// GitHub merges no drafts.
    pub(in crate::proxy) is_draft: bool,
    /// What lands together, bottom first, itself last; empty if it lands alone.
    pub(in crate::proxy) stack: Vec<PullAt>,
}

impl Proxy {
    /// Looks up a pull request as it is now.
    ///
    /// # Errors
    /// If GitHub does not say what would land.
    pub(in crate::proxy) async fn landing(
        &self,
        asker: &Asker,
        number: u64,
        ctx: &mut Context,
    ) -> Result<Landing, ProxyError> {
        let unknown =
            ProxyError::UpstreamUnreachable("it did not tell what the merge would land; nothing was merged");
        let Some(repository) = asker.repository.clone() else { return Ok(Landing::default()) };
        let (head_sha, base, is_draft, stack) =
            match self.fact(asker, &Question::Pull(repository.clone(), number), ctx).await? {
                Some(Fact::Pull { head_sha, base, stack, is_draft, .. }) => (head_sha, base, is_draft, stack),
                Some(Fact::Missing) => return Ok(Landing::default()),
                _ => return Err(unknown),
            };
        let Some(stack) = stack else {
            return Ok(Landing { head_sha: Some(head_sha), base, is_draft, stack: Vec::new() });
        };
        let Some(Fact::Stack(pulls)) = self.fact(asker, &Question::Stack(repository, stack), ctx).await?
        else {
            return Err(unknown);
        };
        let Some(place) = pulls.iter().position(|(known, _, _)| *known == number) else {
            return Err(unknown);
        };
        let below = pulls[..place].iter().filter(|(_, _, is_to_land)| *is_to_land);
        let mut stack: Vec<PullAt> =
            below.map(|(number, sha, _)| PullAt { number: *number, head_sha: sha.clone() }).collect();
        if !stack.is_empty() {
            stack.push(PullAt { number, head_sha: head_sha.clone() });
        }
        Ok(Landing { head_sha: Some(head_sha), base, is_draft, stack })
    }
}
