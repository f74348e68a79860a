//! Pull requests of one repository: how they are opened and merged, and what happens when their branches move or
//! are deleted.

use crate::books::Merge;
use crate::world::git::Person;
use crate::world::{Issue, Pull, Repository};

/// Why a pull request cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullRefusal {
    /// The head branch does not exist.
    NoHead,
    /// The base branch does not exist.
    NoBase,
    /// The base already has all commits of the head.
    NoCommits,
    /// A pull request is open for the same two branches.
    Known,
}

/// Why a merge cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeRefusal {
    /// The pull request or its base branch does not exist.
    Missing,
    /// Both sides changed the same file.
    Conflict,
}

impl Repository {
    /// All pull requests with their issues, by number.
    pub(crate) fn pulls(&self) -> impl DoubleEndedIterator<Item = (&Issue, &Pull)> {
        self.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
    }

    /// The pull request of that number with its issue.
    pub(crate) fn pull(&self, number: u64) -> Option<(&Issue, &Pull)> {
        let issue = self.issues.get(&number)?;
        Some((issue, issue.pull.as_ref()?))
    }

    /// Opens a pull request and returns its number.
    pub(crate) fn open_pull(
        &mut self,
        head: &str,
        base: &str,
        title: &str,
        user: &str,
        at: i64,
    ) -> Result<u64, PullRefusal> {
        let head_sha = self.git.branch(head).ok_or(PullRefusal::NoHead)?.to_owned();
        let base_sha = self.git.branch(base).ok_or(PullRefusal::NoBase)?;
        if self.git.log_between(base_sha, &head_sha).is_empty() {
            return Err(PullRefusal::NoCommits);
        }
        let is_same = |pull: &Pull| pull.head_ref == head && pull.base_ref == base;
        if self.pulls().any(|(issue, pull)| issue.is_open && is_same(pull)) {
            return Err(PullRefusal::Known);
        }
        let number = self.next_number();
        let mut issue = Issue::new(number, title, user, at);
        issue.pull = Some(Pull::new(head, base, &head_sha));
        self.issues.insert(number, issue);
        Ok(number)
    }

    /// Moves a branch, and the heads of the open pull requests from it. Those with auto-merge are merged at once,
    /// since nothing here makes them wait.
    pub(crate) fn move_branch(&mut self, branch: &str, commit: &str, at: i64) {
        self.git.set_branch(branch, commit);
        self.updated_at = at;
        let mut ready = Vec::new();
        for issue in self.issues.values_mut().filter(|issue| issue.is_open) {
            if let Some(pull) = issue.pull.as_mut().filter(|pull| pull.head_ref == branch) {
                commit.clone_into(&mut pull.head_sha);
                issue.updated_at = at;
                if pull.auto_merge.is_some() && !pull.draft {
                    ready.push(issue.number);
                }
            }
        }
        for number in ready {
            self.auto_merge(number, at);
        }
    }

    fn auto_merge(&mut self, number: u64, at: i64) {
        let is_open = self.issues.get(&number).is_some_and(|issue| issue.is_open);
        // GitHub has no auto-merge in stacks; it may have been switched on before the stack was made.
        if !is_open || self.stack_of(number).is_some() {
            return;
        }
        let enabled = self.pull(number).and_then(|(_, pull)| pull.auto_merge.as_ref());
        let Some(name) = enabled.map(|auto_merge| auto_merge.user.clone()) else { return };
        let email = format!("{name}@users.noreply.github.com");
        let author = Person { name, email, at };
        // A merge may trigger others, which come after it in the books.
        let place = self.auto_merged.len();
        if let Ok(sha) = self.land(number, None, &author) {
            let (repository, by) = (self.full_name(), "auto-merge".to_owned());
            self.auto_merged.insert(place, Merge { repository, pull: Some(number), sha, by });
        }
    }

    /// Deletes a branch and closes the open pull requests from it and into it; false when there is
    /// no such branch.
    pub(crate) fn delete_branch(&mut self, branch: &str, at: i64) -> bool {
        if self.git.refs.remove(&format!("refs/heads/{branch}")).is_none() {
            return false;
        }
        self.updated_at = at;
        for issue in self.issues.values_mut().filter(|issue| issue.is_open) {
            let is_of = |pull: &Pull| pull.head_ref == branch || pull.base_ref == branch;
            if issue.pull.as_ref().is_some_and(is_of) {
                issue.close(at);
            }
        }
        true
    }

    /// Merges a commit into a branch; returns the new tip, or `None` when the branch already has the commit.
    pub(crate) fn merge_branch(
        &mut self,
        base: &str,
        head_sha: &str,
        message: &str,
        author: &Person,
    ) -> Result<Option<String>, MergeRefusal> {
        let merged = self.merge_commit(base, head_sha, message, author)?;
        if let Some(id) = &merged {
            self.move_branch(base, id, author.at);
        }
        Ok(merged)
    }

    /// Creates a merge commit without moving the branch to it.
    fn merge_commit(
        &mut self,
        base: &str,
        head_sha: &str,
        message: &str,
        author: &Person,
    ) -> Result<Option<String>, MergeRefusal> {
        let git = &mut self.git;
        let tip = git.branch(base).ok_or(MergeRefusal::Missing)?.to_owned();
        if git.log(&tip).iter().any(|commit| commit.id == head_sha) {
            return Ok(None);
        }
        let tree = git.merge_trees(&tip, head_sha).ok_or(MergeRefusal::Conflict)?;
        let parents = vec![tip, head_sha.to_owned()];
        Ok(Some(git.add_commit(&tree, parents, message, author.clone(), author.clone())))
    }

    /// Merges an open pull request into its base, or its stack's; returns the base's new commit. The caller
    /// checks whether it may be merged.
    pub(crate) fn land(
        &mut self,
        number: u64,
        title: Option<&str>,
        author: &Person,
    ) -> Result<String, MergeRefusal> {
        let (issue, pull) = self.pull(number).ok_or(MergeRefusal::Missing)?;
        let title = title.map_or_else(|| merge_title(issue, pull), str::to_owned);
        let head = pull.head_sha.clone();
        let base = self.stack_of(number).map_or(&pull.base_ref, |(stack, _)| &stack.base_ref).clone();
        let merged = self.merge_commit(&base, &head, &title, author)?;
        let sha = merged.clone().unwrap_or(head);
        if let Some(issue) = self.issues.get_mut(&number) {
            issue.close(author.at);
            if let Some(pull) = &mut issue.pull {
                pull.base_ref.clone_from(&base);
                pull.merged_at = Some(author.at);
                pull.merge_commit_sha = Some(sha.clone());
            }
        }
        self.retarget_stack(number, author.at);
        // Last, because the move may trigger other merges, and this one must be done by then.
        if let Some(id) = merged {
            self.move_branch(&base, &id, author.at);
        }
        Ok(sha)
    }
}

/// The title of a pull request's merge commit if none was given.
pub(crate) fn merge_title(issue: &Issue, pull: &Pull) -> String {
    format!("Merge pull request #{} from {}", issue.number, pull.head_ref)
}
