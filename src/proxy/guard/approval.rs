//! Whether a gated operation came with its approval.
//!
//! What the approval must name is found first, since a refusal says it; whether a signed one was used
//! before is asked last, when the call is about to go up (`forward/commit.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::{Value, json};

use super::Asker;
use crate::audit::Approver;
use crate::config::ApprovalMode;
use crate::error::{ProxyError, Wanted};
use crate::policy::approval::{Approval, Binding, Requirement, request_sha256};
use crate::policy::routes::Scope;
use crate::policy::{Class, json, judge};
use crate::proxy::Proxy;
use crate::proxy::classify::{Call, CallBody};
use crate::proxy::context::Context;

/// Longest body shown in a refusal; of a longer one an approver gets to know the length.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Who let a gated call through.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sanction {
    /// Somebody put something into the header.
    Presence,
    Signed {
        approval: Approval,
        /// What another one would have to name, should this one have been used.
        wanted: Box<Wanted>,
    },
}

impl Sanction {
    pub(super) fn approver(&self) -> Option<Approver> {
        match self {
            Sanction::Presence => None,
            Sanction::Signed { approval, .. } => Some(Approver {
                issuer: approval.issuer.clone(),
                subject: approval.subject.clone(),
                jti: approval.jti.clone(),
            }),
        }
    }
}

impl Proxy {
    /// Asks for an approval where the agent's policy wants one; none when it wants none.
    ///
    /// `organization` is the login behind an organization's id.
    pub(super) async fn check_approval(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
        ctx: &mut Context,
    ) -> Result<Option<Sanction>, ProxyError> {
        let class = call.class;
        // A merge waits for an approval whatever the configuration says.
        if class != Class::Merge && !asker.agent.require_approval.contains(&class) {
            return Ok(None);
        }
        let checked = match self.policy.approval_mode {
            ApprovalMode::Presence => self.check_presence(asker, call, organization),
            ApprovalMode::Signed => self.check_signed(asker, call, organization, ctx).await,
        };
        let result = match &checked {
            // Counted when it is used.
            Ok(Sanction::Signed { .. }) => None,
            Ok(Sanction::Presence) => Some("accepted"),
            Err(ProxyError::ApprovalRequired { .. }) => Some("missing"),
            Err(ProxyError::ApprovalInvalid { .. }) => Some("refused"),
            Err(ProxyError::ApprovalUnsure) => Some("unsure"),
            Err(_) => None,
        };
        if let Some(result) = result {
            self.metrics.approvals.with_label_values(&[result]).inc();
        }
        match checked {
            Ok(sanction) => Ok(Some(sanction)),
            // What lands code or vouches for it always waits; plain writes are policy, which may only observe.
            Err(refused) if class == Class::Write => {
                self.tolerate(&asker.agent, ctx, Err(refused)).map(|()| None)
            }
            Err(refused) => Err(refused),
        }
    }

    fn check_presence(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
    ) -> Result<Sanction, ProxyError> {
        let number = pull_number(call);
        let binding = match number {
            Some(number) => Binding::Pull { number, head_sha: None, stack: Vec::new() },
            None => request_binding(asker, call, organization),
        };
        let wanted = || Box::new(wanted(asker, call, binding, organization));
        match self.header_of(call) {
            Header::One(value) if is_visible(value) => Ok(Sanction::Presence),
            Header::One(_) | Header::None => Err(self.required(call, wanted())),
            Header::More => Err(twice(wanted())),
        }
    }

    async fn check_signed(
        &self,
        asker: &Asker,
        call: &Call,
        organization: Option<&str>,
        ctx: &mut Context,
    ) -> Result<Sanction, ProxyError> {
        let binding = match pull_number(call) {
            Some(number) => {
                let landing = self.landing(asker, number, ctx).await?;
                Binding::Pull { number, head_sha: landing.head_sha, stack: landing.stack }
            }
            None => request_binding(asker, call, organization),
        };
        let required = Requirement { repository: asker.repository.clone(), action: call.class, binding };
        let wanted = || Box::new(wanted(asker, call, required.binding.clone(), organization));
        let token = match self.header_of(call) {
            Header::One(value) if is_visible(value) => value.as_bytes(),
            Header::One(_) | Header::None => return Err(self.required(call, wanted())),
            Header::More => return Err(twice(wanted())),
        };
        let invalid = |reason: String| ProxyError::ApprovalInvalid { reason, wanted: wanted() };
        let approval = self
            .policy
            .verifier
            .verify(token, &required, self.clock.now_seconds())
            .map_err(|rejected| invalid(rejected.to_string()))?;
        if !self.spent.is_up() {
            return Err(ProxyError::ApprovalUnsure);
        }
        if let Some(head_sha) = &approval.head_sha {
            check_commit(call, head_sha).map_err(|reason| invalid(reason.to_owned()))?;
        }
        Ok(Sanction::Signed { approval, wanted: wanted() })
    }

    fn header_of<'a>(&self, call: &'a Call) -> Header<'a> {
        let mut values = call.headers.get_all(&self.policy.approval_header).iter();
        match (values.next(), values.next()) {
            (None, _) => Header::None,
            (Some(value), None) => Header::One(value),
            (Some(_), Some(_)) => Header::More,
        }
    }

    fn required(&self, call: &Call, wanted: Box<Wanted>) -> ProxyError {
        let header = self.policy.approval_header.to_string();
        ProxyError::ApprovalRequired { class: call.class, header, wanted }
    }
}

/// How often the approval's header came.
enum Header<'a> {
    None,
    One(&'a HeaderValue),
    More,
}

fn twice(wanted: Box<Wanted>) -> ProxyError {
    ProxyError::ApprovalInvalid { reason: "the header came more than once".to_owned(), wanted }
}

/// A header of blanks approves nothing.
fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().any(u8::is_ascii_graphic)
}

/// The pull request that a call merges.
fn pull_number(call: &Call) -> Option<u64> {
    judge::merges_pull(call.route.operation).then_some(())?;
    call.route.param("pull_number").and_then(|number| number.parse().ok())
}

fn canonical_path(asker: &Asker, call: &Call, organization: Option<&str>) -> String {
    let organization = organization.filter(|_| matches!(call.route.scope, Scope::OrganizationId(_)));
    call.target.canonical(asker.repository.as_ref(), organization)
}

fn request_binding(asker: &Asker, call: &Call, organization: Option<&str>) -> Binding {
    let path = canonical_path(asker, call, organization);
    Binding::Request { sha256: request_sha256(call.method.as_str(), &path, call.body.held()) }
}

fn wanted(asker: &Asker, call: &Call, binding: Binding, organization: Option<&str>) -> Wanted {
    let request = matches!(binding, Binding::Request { .. }).then(|| shown(asker, call, organization));
    let required = Requirement { repository: asker.repository.clone(), action: call.class, binding };
    Wanted { claims: required.claims(), request }
}

/// The request as an approver may look at it, and hash it again.
fn shown(asker: &Asker, call: &Call, organization: Option<&str>) -> Value {
    let body = call.body.held();
    let mut shown = json!({
        "method": call.method.as_str(),
        "path": canonical_path(asker, call, organization),
        "body_bytes": body.len(),
    });
    match std::str::from_utf8(body) {
        _ if body.len() > SHOWN_BYTES_MAX => {}
        Ok(text) => shown["body"] = json!(text),
        Err(_) => shown["body_base64"] = json!(STANDARD.encode(body)),
    }
    shown
}

/// The body may name the commit, and then it is the approved one.
fn check_commit(call: &Call, head_sha: &str) -> Result<(), &'static str> {
    if call.target.query().is_some() {
        return Err("a merge takes its parameters in the body; leave the query string out");
    }
    let sent = match call.body.held() {
        [] => None,
        body => json::object(body).ok().and_then(|mut object| object.remove("sha")),
    };
    match sent {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(sha)) if sha.eq_ignore_ascii_case(head_sha) => Ok(()),
        Some(_) => Err("`sha` in the body is another commit than the approved one"),
    }
}

/// Puts the approved commit into the call, so that GitHub refuses any other.
pub(super) fn pin_commit(call: &mut Call, sanction: Option<&Sanction>) -> Result<(), ProxyError> {
    if let Some(Sanction::Signed { approval: Approval { head_sha: Some(head_sha), .. }, .. }) = sanction {
        let body = json::with(call.body.held(), "sha", &json!(head_sha)).map_err(|_| ProxyError::Internal)?;
        call.body = CallBody::Whole(body);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_approve_nothing() {
        for (value, visible) in [("", false), (" ", false), ("\t", false), ("yes", true), (" x ", true)] {
            assert_eq!(is_visible(&HeaderValue::from_str(value).unwrap()), visible, "{value:?}");
        }
        assert!(!is_visible(&HeaderValue::from_bytes(b"\xc2\xa0").unwrap()));
    }
}
