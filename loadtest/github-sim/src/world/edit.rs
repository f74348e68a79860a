//! Changes to the world from outside, as people with other tools make them on GitHub.
//!
//! They have no clock: a change happens one second after the last change of the repository or of anything in it,
//! so that it is newer than whatever a client has seen.

use bytes::Bytes;

use crate::world::git::Person;
use crate::world::{AutoMerge, PERSONAL_LOGIN, Pull, Repository, World};

impl World {
    /// Commits a file onto a branch, as someone else's push would; returns the new tip, or `None` when there is
    /// no such repository or branch.
    pub fn push_commit(
        &mut self,
        full_name: &str,
        branch: &str,
        path: &str,
        content: &str,
    ) -> Option<String> {
        let repository = self.find_mut(full_name)?;
        let author = Person {
            name: "Somebody Else".to_owned(),
            email: "somebody@example.com".to_owned(),
            at: repository.next_second(),
        };
        let content = Some(Bytes::from(content.to_owned()));
        repository.commit_file(branch, path, content, &format!("Change {path}"), &author)
    }

    /// The commit at the tip of a branch; `None` when there is no such repository or branch.
    pub fn branch_tip(&self, full_name: &str, branch: &str) -> Option<String> {
        self.find(full_name)?.git.branch(branch).map(str::to_owned)
    }

    /// Creates a branch at the tip of the default branch; false when there is no such repository.
    pub fn add_branch(&mut self, full_name: &str, branch: &str) -> bool {
        self.change(full_name, |repository| {
            let tip = repository.git.branch(&repository.default_branch).map(str::to_owned);
            let Some(tip) = tip else { return false };
            repository.git.set_branch(branch, &tip);
            true
        })
    }

    /// Deletes a branch, which closes the open pull requests from it and into it; false when there
    /// is no such repository or branch.
    pub fn delete_branch(&mut self, full_name: &str, branch: &str) -> bool {
        self.change(full_name, |repository| repository.delete_branch(branch, repository.next_second()))
    }

    /// Puts a tag at the tip of the default branch; false when there is no such repository, or a tag
    /// of that name already.
    pub fn add_tag(&mut self, full_name: &str, tag: &str) -> bool {
        self.change(full_name, |repository| {
            let name = format!("refs/tags/{tag}");
            let tip = repository.git.branch(&repository.default_branch).map(str::to_owned);
            let Some(tip) = tip.filter(|_| !repository.git.refs.contains_key(&name)) else { return false };
            repository.git.refs.insert(name, tip);
            true
        })
    }

    /// Makes a branch the default one; false when there is no such repository or branch.
    pub fn set_default_branch(&mut self, full_name: &str, branch: &str) -> bool {
        self.change(full_name, |repository| {
            let is_known = repository.git.branch(branch).is_some();
            if is_known {
                branch.clone_into(&mut repository.default_branch);
                repository.updated_at = repository.next_second();
            }
            is_known
        })
    }

    /// Protects a branch or removes its protection; false when there is no such repository or branch.
    pub fn set_protected(&mut self, full_name: &str, branch: &str, is_protected: bool) -> bool {
        self.change(full_name, |repository| {
            let is_known = repository.git.branch(branch).is_some();
            if is_protected && is_known {
                repository.protected.insert(branch.to_owned());
            }
            let was_protected = !is_protected && repository.protected.remove(branch);
            is_known || was_protected
        })
    }

    /// Adds a ruleset rule of a type such as `pull_request` for a branch, which need not exist; the branch's
    /// `protected` stays as it is. False when there is no such repository.
    pub fn add_rule(&mut self, full_name: &str, branch: &str, kind: &str) -> bool {
        self.change(full_name, |repository| {
            let kinds = repository.rules.entry(branch.to_owned()).or_default();
            if !kinds.iter().any(|known| known == kind) {
                kinds.push(kind.to_owned());
            }
            true
        })
    }

    /// Makes a repository refuse or accept draft pull requests; false when it does not exist.
    pub fn forbid_drafts(&mut self, full_name: &str, is_forbidden: bool) -> bool {
        self.change(full_name, |repository| {
            repository.forbids_drafts = is_forbidden;
            true
        })
    }

    /// Makes a repository a fork of another; false when it does not exist.
    pub fn set_parent(&mut self, full_name: &str, parent: &str) -> bool {
        self.change(full_name, |repository| {
            repository.parent = Some(parent.to_owned());
            true
        })
    }

    /// Changes the title of an issue or pull request; false when it does not exist.
    pub fn edit_issue(&mut self, full_name: &str, number: u64, title: &str) -> bool {
        let issue = self.find_mut(full_name).and_then(|repository| repository.issues.get_mut(&number));
        issue
            .map(|issue| {
                title.clone_into(&mut issue.title);
                issue.updated_at += 1;
            })
            .is_some()
    }

    /// The title of an issue, if it exists.
    pub fn issue_title(&self, full_name: &str, number: u64) -> Option<String> {
        Some(self.find(full_name)?.issues.get(&number)?.title.clone())
    }

    /// Opens a pull request from one branch into another, as `sim-user`, and returns its number; `None` where
    /// GitHub refuses it: a branch is missing, there is nothing to merge, or one is open already.
    pub fn open_pull(&mut self, full_name: &str, head: &str, base: &str, title: &str) -> Option<u64> {
        let repository = self.find_mut(full_name)?;
        let at = repository.next_second();
        repository.open_pull(head, base, title, PERSONAL_LOGIN, at).ok()
    }

    /// The head commit of a pull request; `None` when it does not exist.
    pub fn head_of(&self, full_name: &str, pull: u64) -> Option<String> {
        Some(self.find(full_name)?.pull(pull)?.1.head_sha.clone())
    }

    /// Suspends or unsuspends the App's installation on an account; false when there is no such account. To
    /// revoke its tokens, use [`crate::Sim::revoke_installation`].
    pub fn suspend(&mut self, login: &str, is_suspended: bool) -> bool {
        let owner = self.owners.iter_mut().find(|owner| owner.login.eq_ignore_ascii_case(login));
        owner.map(|owner| owner.is_suspended = is_suspended).is_some()
    }

    /// Makes a pull request a draft, or ready for review; false when it does not exist.
    pub fn set_draft(&mut self, full_name: &str, number: u64, is_draft: bool) -> bool {
        self.change(full_name, |repository| {
            let Some(issue) = repository.issues.get_mut(&number) else { return false };
            let Some(pull) = issue.pull.as_mut() else { return false };
            pull.draft = is_draft;
            issue.updated_at += 1;
            true
        })
    }

    /// Changes the base of an open pull request, as GitHub does when its base was merged and deleted; false when
    /// there is no such pull request.
    pub fn retarget(&mut self, full_name: &str, number: u64, base: &str) -> bool {
        self.change(full_name, |repository| {
            let Some(issue) = repository.issues.get_mut(&number) else { return false };
            let Some(pull) = issue.pull.as_mut() else { return false };
            base.clone_into(&mut pull.base_ref);
            issue.updated_at += 1;
            true
        })
    }

    /// Switches auto-merge on or off: the next push to the head of an open pull request merges it. False when
    /// there is no such pull request or, as on GitHub, when it is in a stack and auto-merge is to be switched on.
    pub fn set_auto_merge(&mut self, full_name: &str, number: u64, is_on: bool) -> bool {
        self.change(full_name, |repository| {
            let is_stacked = repository.stack_of(number).is_some();
            let Some(issue) = repository.issues.get_mut(&number) else { return false };
            match issue.pull.as_mut() {
                Some(Pull { auto_merge, .. }) if issue.is_open && !(is_on && is_stacked) => {
                    issue.updated_at += 1;
                    let (user, method) = (PERSONAL_LOGIN.to_owned(), "MERGE".to_owned());
                    *auto_merge = is_on.then_some(AutoMerge { user, method, at: issue.updated_at });
                    true
                }
                _ => false,
            }
        })
    }

    /// Makes a stack of pull requests, bottom first; false when one of them does not exist, is named twice, or is
    /// in a stack already. Does not check that each is based on the one below.
    pub fn stack(&mut self, full_name: &str, numbers: &[u64]) -> bool {
        self.change(full_name, |repository| {
            let is_possible = !numbers.is_empty() && repository.check_stack(numbers).is_ok();
            if is_possible {
                repository.add_stack(numbers, repository.next_second());
            }
            is_possible
        })
    }

    /// Renames a repository; the former name redirects.
    pub fn rename(&mut self, full_name: &str, new_name: &str) -> bool {
        self.relocate(full_name, |repository| new_name.clone_into(&mut repository.name))
    }

    /// Transfers a repository to another owner; the former name redirects.
    pub fn transfer(&mut self, full_name: &str, new_owner: &str) -> bool {
        self.relocate(full_name, |repository| new_owner.clone_into(&mut repository.owner))
    }

    fn relocate(&mut self, full_name: &str, change: impl FnOnce(&mut Repository)) -> bool {
        let Some(repository) = self.find_mut(full_name) else { return false };
        let (id, old) = (repository.id, repository.full_name());
        change(repository);
        let new = repository.full_name();
        self.names.remove(&old.to_ascii_lowercase());
        self.names.insert(new.to_ascii_lowercase(), id);
        self.redirect(&old, id);
        true
    }

    /// Whether the repository exists and the change could be made.
    fn change(&mut self, full_name: &str, change: impl FnOnce(&mut Repository) -> bool) -> bool {
        self.find_mut(full_name).is_some_and(change)
    }
}

impl Repository {
    fn next_second(&self) -> i64 {
        let issues = self.issues.values().map(|issue| issue.updated_at);
        issues.fold(self.updated_at, i64::max) + 1
    }
}
