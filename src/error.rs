//! Every way a request can end without GitHub's answer.
//!
//! The texts here are shown to agents: they say what to do next and never carry a credential, a URL
//! with one, or an address inside the operator's network. One table, in `proxy/respond/refusal.rs`,
//! says what each error becomes on the wire.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::policy::Class;

/// A refusal or a failure; one variant for each error code of the contract.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// No credential at all.
    #[error("Requires authentication")]
    Unauthenticated,
    /// An unknown key, or a credential that is not one of ours.
    #[error("Bad credentials")]
    BadCredentials,
    /// Outside the agent's repositories.
    #[error("{0}")]
    RepositoryForbidden(String),
    /// A class or a route the agent may not use.
    #[error("{0}")]
    OperationForbidden(String),
    /// A gated operation came without an approval.
    #[error(
        "This is a {class} operation: it waits for an approval. Ask a person who may approve to review it{what_to_sign}{}, then send the same request again with the approval in the header `{header}`. Sending it again without one will not help.",
        if *.is_draft { " and to mark the pull request ready for review, since GitHub merges no draft" } else { "" }
    )]
    ApprovalRequired {
        class: Class,
        header: String,
        what_to_sign: &'static str,
        /// What is to be merged is known to be a draft.
        is_draft: bool,
        wanted: Box<Wanted>,
    },
    /// An approval was sent but not accepted.
    #[error(
        "The approval was not taken: {reason}. {}",
        if *.is_another_needed {
            "Ask the person who approves for another one, for the claims in `tollgate.approval`."
        } else {
            "It was not used: once that is put right, send it again."
        }
    )]
    ApprovalInvalid {
        reason: String,
        /// The reason lies in the approval, and not in what came with it or in the pull request.
        is_another_needed: bool,
        wanted: Box<Wanted>,
    },
    /// A new pull request that is no draft, or one that would stop being one.
    #[error("{0}")]
    DraftRequired(&'static str),
    /// The agent's share is spent.
    #[error("API rate limit exceeded for agent {agent}. {}", .limit.advice())]
    BudgetExhausted { agent: String, limit: Limit },
    /// GitHub asked for a pause, or would have.
    #[error("You have exceeded a secondary rate limit. Please wait a few minutes before you try again. {}", .0.advice())]
    UpstreamLimited(Limit),
    /// A part of the request that has more than one reading, or none.
    #[error("{0}")]
    BadRequest(String),
    #[error("The body is longer than the {limit} bytes taken here.")]
    BodyTooLarge { limit: u64 },
    #[error("The request target is longer than 8 KiB.")]
    UriTooLong,
    #[error("The headers are longer than 32 KiB or more than 100.")]
    HeadersTooLarge,
    /// No App installation and no personal token covers the request.
    #[error("{0}")]
    NoInstallation(String),
    #[error("GitHub could not be reached: {0}.")]
    UpstreamUnreachable(&'static str),
    /// GitHub is up but refuses tollgate's own credential. Its rights may be gone, so nothing stale is served.
    #[error("{0}.")]
    CredentialRefused(&'static str),
    #[error("GitHub did not answer within {} s.", .0.as_secs())]
    UpstreamTimeout(Duration),
    /// One of tollgate's own bounds is reached, or a reload took away what the call waited for; GitHub has done nothing
    /// of it.
    #[error("{0}")]
    Overloaded(&'static str),
    /// This replica is shutting down; GitHub has done nothing of the call.
    #[error("This tollgate is being stopped, and GitHub has done nothing of this call. Try again.")]
    Draining,
    /// tollgate can't find out whether the approval was used before.
    #[error(
        "tollgate can't look up whether this approval was used before, so nothing was sent to GitHub. Try again in {} s with the same approval.",
        UNSURE_RETRY_SECONDS
    )]
    ApprovalUnsure,
    /// An approved call must be written to the audit log first, and that fails.
    #[error(
        "tollgate's audit log can't be written, so nothing that was approved is sent to GitHub. An operator has to fix the log; this approval is used up."
    )]
    AuditAway,
    /// The budget store is unreachable, and nothing may pass without it.
    #[error(
        "The store of the budget can't be reached; nothing was sent to GitHub. Try again in {retry_after} s."
    )]
    StoreUnavailable {
        /// Seconds, at least 1.
        retry_after: u64,
    },
    /// A defect in tollgate; the request was not let through.
    #[error("tollgate failed while it handled this request.")]
    Internal,
}

/// After this many seconds it is worth asking again whether an approval was used.
pub const UNSURE_RETRY_SECONDS: u64 = 2;
/// The same for an audit log that can't be written: somebody has to make room first.
pub const AUDIT_RETRY_SECONDS: u64 = 30;

/// What an approver needs to approve what was refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// The claims to sign: all but `iss`, `sub`, `iat`, `exp` and `jti`.
    pub claims: Value,
    /// The request behind `request_sha256`, for the approver to look at before signing.
    pub request: Option<Value>,
}

/// When a rate-limited caller will be served, in the terms of GitHub's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Whole seconds, at least 1.
    pub retry_after: u64,
    /// Now plus `retry_after`, in UTC epoch seconds.
    pub reset: i64,
    /// Points the agent spent in the window.
    pub used: u64,
    /// The resource the call would have been charged to.
    pub resource: &'static str,
    /// The agent's ceiling is 0: it will never be served.
    pub is_closed: bool,
    /// GitHub has seen this very call and refused it.
    pub was_sent: bool,
    /// The call's approval is used up.
    pub has_used_approval: bool,
}

impl Limit {
    fn advice(self) -> String {
        if self.is_closed {
            return "Its ceiling is 0, so nothing is served to it; its operator can change that.".to_owned();
        }
        let what = if self.has_used_approval {
            "GitHub refused the call, and its approval is used up; with another"
        } else if self.was_sent {
            "GitHub refused the call;"
        } else {
            "Nothing was sent to GitHub;"
        };
        format!("{what} you will be served in {} s.", self.retry_after)
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller's: it would fail the same way again.
    Downstream,
    /// GitHub's, or the way to it.
    Upstream,
    /// Ours.
    Internal,
}

impl ProxyError {
    /// The contract's error code, as in `x-tollgate-error`.
    pub fn code(&self) -> &'static str {
        match self {
            ProxyError::Unauthenticated | ProxyError::BadCredentials => "unauthenticated",
            ProxyError::RepositoryForbidden(_) => "repository_forbidden",
            ProxyError::OperationForbidden(_) => "operation_forbidden",
            ProxyError::ApprovalRequired { .. } => "approval_required",
            ProxyError::ApprovalInvalid { .. } => "approval_invalid",
            ProxyError::DraftRequired(_) => "draft_required",
            ProxyError::BudgetExhausted { .. } => "budget_exhausted",
            ProxyError::UpstreamLimited(_) => "upstream_limited",
            ProxyError::BadRequest(_) => "bad_request",
            ProxyError::BodyTooLarge { .. } => "body_too_large",
            ProxyError::UriTooLong => "uri_too_long",
            ProxyError::HeadersTooLarge => "headers_too_large",
            ProxyError::NoInstallation(_) => "no_installation",
            ProxyError::UpstreamUnreachable(_) | ProxyError::CredentialRefused(_) => "upstream_unreachable",
            ProxyError::UpstreamTimeout(_) => "upstream_timeout",
            ProxyError::Overloaded(_) => "overloaded",
            ProxyError::Draining => "draining",
            ProxyError::ApprovalUnsure | ProxyError::AuditAway | ProxyError::StoreUnavailable { .. } => {
                "store_unavailable"
            }
            ProxyError::Internal => "internal",
        }
    }

    pub fn side(&self) -> Side {
        match self {
            ProxyError::Unauthenticated
            | ProxyError::BadCredentials
            | ProxyError::RepositoryForbidden(_)
            | ProxyError::OperationForbidden(_)
            | ProxyError::ApprovalRequired { .. }
            | ProxyError::ApprovalInvalid { .. }
            | ProxyError::DraftRequired(_)
            | ProxyError::BudgetExhausted { .. }
            | ProxyError::UpstreamLimited(_)
            | ProxyError::BadRequest(_)
            | ProxyError::BodyTooLarge { .. }
            | ProxyError::UriTooLong
            | ProxyError::HeadersTooLarge
            | ProxyError::NoInstallation(_) => Side::Downstream,
            ProxyError::UpstreamUnreachable(_)
            | ProxyError::CredentialRefused(_)
            | ProxyError::UpstreamTimeout(_) => Side::Upstream,
            ProxyError::Overloaded(_)
            | ProxyError::Draining
            | ProxyError::ApprovalUnsure
            | ProxyError::AuditAway
            | ProxyError::StoreUnavailable { .. }
            | ProxyError::Internal => Side::Internal,
        }
    }

    /// Marks a rate-limit refusal as sent if GitHub may have seen the call before it was held again.
    #[must_use]
    pub fn after(mut self, was_sent: bool) -> ProxyError {
        if let ProxyError::BudgetExhausted { limit, .. } | ProxyError::UpstreamLimited(limit) = &mut self {
            limit.was_sent |= was_sent;
        }
        self
    }

    /// What a rate-limit refusal tells the caller; none for other errors.
    pub fn limit(&self) -> Option<&Limit> {
        match self {
            ProxyError::BudgetExhausted { limit, .. } | ProxyError::UpstreamLimited(limit) => Some(limit),
            _ => None,
        }
    }

    /// Whether GitHub could not be reached, or did not answer in time.
    pub fn is_upstream_failure(&self) -> bool {
        matches!(self, ProxyError::UpstreamUnreachable(_) | ProxyError::UpstreamTimeout(_))
    }

    /// Whether policy said no; these are counted as denials.
    pub fn is_denial(&self) -> bool {
        matches!(
            self,
            ProxyError::RepositoryForbidden(_)
                | ProxyError::OperationForbidden(_)
                | ProxyError::ApprovalRequired { .. }
                | ProxyError::ApprovalInvalid { .. }
                | ProxyError::DraftRequired(_)
        )
    }
}

/// An error with its causes, for logs and operators: the outermost error of a failed connection says little.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
