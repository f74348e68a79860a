//! Whether a gated operation came with its approval.

use http::HeaderValue;
use serde_json::{Value, json};

use crate::config::{Agent, ApprovalMode};
use crate::error::ProxyError;
use crate::policy::Class;
use crate::policy::repositories::RepositoryName;
use crate::proxy::Proxy;
use crate::proxy::classify::Call;

impl Proxy {
    pub(super) fn check_approval(
        &self,
        agent: &Agent,
        call: &Call,
        repository: Option<&RepositoryName>,
    ) -> Result<(), ProxyError> {
        let class = call.class;
        // A merge waits for an approval whatever the configuration says.
        if class != Class::Merge && !agent.require_approval.contains(&class) {
            return Ok(());
        }
        let header = &self.policy.approval_header;
        let approvals: Vec<&HeaderValue> = call.headers.get_all(header).iter().collect();
        let claims = || claims_to_sign(call, repository);
        let outcome = match (approvals.as_slice(), self.policy.approval_mode) {
            ([], _) => {
                Err(ProxyError::ApprovalRequired { class, header: header.to_string(), claims: claims() })
            }
            ([one], ApprovalMode::Presence) if is_visible(one) => Ok(()),
            ([_], ApprovalMode::Presence) => {
                Err(ProxyError::ApprovalRequired { class, header: header.to_string(), claims: claims() })
            }
            ([_], ApprovalMode::Signed) => Err(ProxyError::ApprovalInvalid {
                reason: "signed approvals can't be verified by this version, so none is taken",
                claims: claims(),
            }),
            ([_, _, ..], _) => Err(ProxyError::ApprovalInvalid {
                reason: "the header came more than once",
                claims: claims(),
            }),
        };
        let result = match &outcome {
            Ok(()) => "accepted",
            Err(ProxyError::ApprovalRequired { .. }) => "missing",
            Err(_) => "refused",
        };
        self.metrics.approvals.with_label_values(&[result]).inc();
        outcome
    }
}

/// A header of blanks approves nothing.
fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().any(u8::is_ascii_graphic)
}

/// What an approval must name, as far as the request tells.
fn claims_to_sign(call: &Call, repository: Option<&RepositoryName>) -> Value {
    let mut claims = json!({ "aud": "tollgate", "action": call.class.as_str() });
    if let Some(repository) = repository {
        claims["repo"] = json!(repository.to_string());
    }
    let number = call.route.param("pull_number").and_then(|number| number.parse::<u64>().ok());
    if let (Class::Merge, Some(number)) = (call.class, number) {
        claims["pull_number"] = json!(number);
    }
    claims
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
