//! What must happen before an approved call goes up: the approval is used up, and the audit line
//! that says so is written.
//!
//! In this order, and nothing is sent unless both are certain. So an approval opens at most one
//! call, even if all replicas get it at once or one of them dies in between.

use std::sync::Arc;

use crate::error::{ProxyError, Wanted};
use crate::github::tokens::Token;
use crate::policy::approval::{Approval, PullAt};
use crate::proxy::Proxy;
use crate::proxy::context::Context;
use crate::proxy::guard::{JUDGED_FOR, Permitted, Sanction};
use crate::spent::{Spent, Use};

impl Proxy {
    /// Runs once per call, however many attempts it takes: only what GitHub certainly did not get is sent again.
    pub(super) async fn commit(
        &self,
        permitted: &Permitted,
        sanction: &Sanction,
        token: &Arc<Token>,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        if std::mem::replace(&mut ctx.is_committed, true) {
            return Ok(());
        }
        // A new token, if the call waited for long.
        self.try_token(permitted, token, ctx).await;
        self.check_open()?;
        Box::pin(self.check_waited(permitted, ctx)).await?;
        if let Sanction::Signed { approval, wanted, stack } = sanction {
            self.check_again(permitted, approval, stack, wanted, ctx).await?;
            // The approval of a call that may no longer go up is not used up.
            self.check_still(permitted, ctx)?;
            self.spend(approval, wanted, ctx).await?;
        }
        match &ctx.record {
            Some(record) => record.approve().await.map_err(|_| ProxyError::AuditAway),
            None => Err(ProxyError::Internal),
        }
    }

    /// The call may have waited since it was judged. Meanwhile the approval may have expired, or
    /// the pull request may have been retargeted, or have become part of a stack. And commits that
    /// nothing pins may have been pushed: below in a stack, or under a review that is submitted.
    async fn check_again(
        &self,
        permitted: &Permitted,
        approval: &Approval,
        stack: &[PullAt],
        wanted: &Wanted,
        ctx: &mut Context,
    ) -> Result<(), ProxyError> {
        let refused = |reason: &str| {
            Err(ProxyError::ApprovalInvalid {
                reason: reason.to_owned(),
                is_another_needed: true,
                wanted: Box::new(wanted.clone()),
            })
        };
        if approval.expires_at <= self.clock.now_seconds() {
            return refused("it has expired while the call waited");
        }
        if !Box::pin(self.means_approved(permitted, approval, ctx)).await? {
            return refused("the pull request's head is another than the approved commit");
        }
        let may_have_changed = !stack.is_empty() || ctx.started.elapsed() >= JUDGED_FOR;
        let Some(number) = permitted.call().lands.filter(|_| may_have_changed) else {
            return Ok(());
        };
        let now = Box::pin(self.landing(&permitted.asker(), number, ctx)).await?;
        let base = now.base.map(|base| base.branch);
        if approval.base.is_some() && base != approval.base {
            return refused("the pull request is into another branch than the approved one");
        }
        if now.stack != stack {
            return refused("the stack is another one than was approved");
        }
        Ok(())
    }

    /// Tries the token of an approved call before the call is admitted: in a pool nobody knows yet
    /// only one call goes at a time, and the approved call's own reservation would block the read.
    pub(in crate::proxy) async fn try_token_early(&self, permitted: &mut Permitted, ctx: &mut Context) {
        // If there is no token, the call fails where it needs one.
        if let Ok(token) = self.token_for(permitted).await {
            self.try_token(permitted, &token, ctx).await;
        }
    }

    /// GitHub may not have spread a young token yet, and would refuse a call that can't be sent
    /// twice. So a read is sent first, and repeated until the token is known. Whatever its outcome,
    /// the call goes on.
    async fn try_token(&self, permitted: &Permitted, token: &Arc<Token>, ctx: &mut Context) {
        let is_tried = ctx.tried.as_ref().is_some_and(|tried| Arc::ptr_eq(tried, token));
        if is_tried || !token.may_be_unknown_yet(self.clock.now_ms()) {
            return;
        }
        ctx.tried = Some(Arc::clone(token));
        if let Some(mut probe) = permitted.probe() {
            let _ = Box::pin(self.exchange(&mut probe, None, ctx)).await;
        }
    }

    async fn spend(&self, approval: &Approval, wanted: &Wanted, ctx: &Context) -> Result<(), ProxyError> {
        let refused = |reason: &str| {
            Err(ProxyError::ApprovalInvalid {
                reason: reason.to_owned(),
                is_another_needed: true,
                wanted: Box::new(wanted.clone()),
            })
        };
        let (result, outcome) = match self.spent.spend(&Use::new(approval, &ctx.request_id)).await {
            Ok(Spent::Fresh) => ("accepted", Ok(())),
            Ok(Spent::Again) => ("spent", refused("it was used before, and each opens one call")),
            Ok(Spent::Forgotten) => {
                let reason = "it was issued before tollgate's memory of used approvals begins, so it may have been used";
                ("forgotten", refused(reason))
            }
            Err(_) => ("unsure", Err(ProxyError::ApprovalUnsure)),
        };
        self.metrics.approvals.with_label_values(&[result]).inc();
        outcome
    }
}
