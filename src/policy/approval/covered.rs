//! What an approval of a merge covers beside the commit.

use serde_json::{Map, Value};

/// Members of a merge's body or input that say which commit lands, and how its merge is written down. Whoever approves
/// a pull request's commit is shown nothing else (GitHub Docs, "REST API endpoints for pull requests"; the schema of
/// `MergePullRequestInput` and `EnqueuePullRequestInput`).
const COVERED: [&str; 12] = [
    "authorEmail",
    "clientMutationId",
    "commitBody",
    "commitHeadline",
    "commit_message",
    "commit_title",
    "expectedHeadOid",
    "mergeMethod",
    "merge_action",
    "merge_method",
    "pullRequestId",
    "sha",
];

/// The first member that asks for more, such as to bypass rules or to jump the queue. What is null or false asks for
/// nothing.
pub fn uncovered(members: &Map<String, Value>) -> Option<&str> {
    let asks = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let mut more = members.iter().filter(|(key, value)| asks(value) && !COVERED.contains(&key.as_str()));
    more.next().map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_approver_does_not_see_is_not_covered() {
        for (members, expected) in [
            (json!({}), None),
            (
                json!({ "sha": "a", "merge_method": "squash", "commit_title": "t", "commit_message": "m" }),
                None,
            ),
            (json!({ "merge_action": "merge_queue", "bypass_rules": false, "jump": null }), None),
            (json!({ "bypass_rules": true }), Some("bypass_rules")),
            (json!({ "sha": "a", "Bypass_Rules": 1 }), Some("Bypass_Rules")),
            (json!({ "pullRequestId": "PR_1", "expectedHeadOid": "a", "jump": true }), Some("jump")),
            (json!({ "SHA": "b" }), Some("SHA")),
            (json!({ "of_tomorrow": {} }), Some("of_tomorrow")),
        ] {
            assert_eq!(uncovered(members.as_object().unwrap()), expected, "{members}");
        }
    }
}
