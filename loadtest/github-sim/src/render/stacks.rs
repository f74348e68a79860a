//! Stacks of pull requests, in their three forms.

use serde_json::{Value, json};

use crate::clock::iso;
use crate::render::issues::{issue_id, issue_node_id};
use crate::render::{View, html_url};
use crate::world::stacks::Stack;
use crate::world::{Issue, Pull, Repository};

impl View<'_> {
    /// A stack as in its pull requests; null for a pull request without one.
    pub(crate) fn stack_of(&self, repository: &Repository, pull: u64) -> Value {
        let Some((stack, place)) = repository.stack_of(pull) else { return Value::Null };
        let sha = repository.git.branch(&stack.base_ref).unwrap_or_default();
        json!({
            "id": stack.id,
            "number": stack.number,
            "size": stack.pulls.len(),
            "position": place,
            "base": {"ref": stack.base_ref, "sha": sha},
        })
    }

    /// A stack as in lists.
    pub(crate) fn short_stack(&self, repository: &Repository, stack: &Stack) -> Value {
        self.stack_with(repository, stack, |issue, pull| {
            json!({
                "number": issue.number,
                "state": if issue.is_open { "open" } else { "closed" },
                "draft": pull.draft,
                "merged_at": pull.merged_at.map(iso),
                "head": {"ref": pull.head_ref, "sha": pull.head_sha},
            })
        })
    }

    /// A single stack.
    pub(crate) fn stack(&self, repository: &Repository, stack: &Stack) -> Value {
        self.stack_with(repository, stack, |issue, pull| self.stacked_pull(repository, issue, pull))
    }

    fn stack_with(
        &self,
        repository: &Repository,
        stack: &Stack,
        render: impl Fn(&Issue, &Pull) -> Value,
    ) -> Value {
        let pulls = stack.pulls.iter().filter_map(|number| repository.pull(*number));
        json!({
            "id": stack.id,
            "number": stack.number,
            "node_id": format!("S_kwDO{}", stack.id),
            "url": format!("{}/stacks/{}", self.repository_url(repository), stack.number),
            "base": {"ref": stack.base_ref},
            "open": pulls.clone().any(|(issue, _)| issue.is_open),
            "created_at": iso(stack.created_at),
            "pull_requests": pulls.map(|(issue, pull)| render(issue, pull)).collect::<Value>(),
        })
    }

    fn stacked_pull(&self, repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
        let base = self.repository_url(repository);
        let end = |name: &str, sha: &str| {
            let repo = json!({"id": repository.id, "url": base, "name": repository.name});
            json!({"ref": name, "sha": sha, "repo": repo})
        };
        let base_sha = repository.git.branch(&pull.base_ref).unwrap_or_default();
        json!({
            "id": issue_id(repository, issue),
            "node_id": issue_node_id(repository, issue),
            "number": issue.number,
            "title": issue.title,
            "state": if issue.is_open { "open" } else { "closed" },
            "merged_at": pull.merged_at.map(iso),
            "draft": pull.draft,
            "url": format!("{base}/pulls/{}", issue.number),
            "html_url": format!("{}/pull/{}", html_url(repository), issue.number),
            "user": self.user(&issue.user),
            "head": end(&pull.head_ref, &pull.head_sha),
            "base": end(&pull.base_ref, base_sha),
        })
    }
}
