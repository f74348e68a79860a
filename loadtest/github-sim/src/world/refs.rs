//! Creates, moves and deletes the refs of one repository, with the effects on pull requests.

use crate::world::Repository;

/// Why a ref is left unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefRefusal {
    /// Not a full name such as `refs/heads/main`.
    BadName,
    /// A ref with this name exists.
    Known,
    /// No ref has this name.
    Missing,
    /// There is no such commit.
    NoCommit,
    /// The new commit is not a descendant of the current one.
    NotForward,
}

impl RefRefusal {
    /// GitHub's words.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::BadName => "Reference name must start with 'refs/' and have two slashes",
            Self::Known => "Reference already exists",
            Self::Missing => "Reference does not exist",
            Self::NoCommit => "Object does not exist",
            Self::NotForward => "Update is not a fast forward",
        }
    }
}

impl Repository {
    /// Checks whether a new ref may be created.
    pub(crate) fn check_new_ref(&self, name: &str, sha: &str) -> Result<(), RefRefusal> {
        if !name.starts_with("refs/") || name.matches('/').count() < 2 {
            return Err(RefRefusal::BadName);
        }
        if self.git.refs.contains_key(name) {
            return Err(RefRefusal::Known);
        }
        self.git.commit(sha).map(|_| ()).ok_or(RefRefusal::NoCommit)
    }

    /// Checks whether a ref may be moved; only forward, unless forced.
    pub(crate) fn check_move(&self, name: &str, sha: &str, is_forced: bool) -> Result<(), RefRefusal> {
        let git = &self.git;
        let present = git.refs.get(name).ok_or(RefRefusal::Missing)?;
        git.commit(sha).ok_or(RefRefusal::NoCommit)?;
        let is_forward = git.log(sha).iter().any(|commit| commit.id == *present);
        if is_forward || is_forced { Ok(()) } else { Err(RefRefusal::NotForward) }
    }

    /// Creates or moves a ref that was checked, and updates the heads of a branch's pull requests.
    pub(crate) fn set_ref(&mut self, name: &str, sha: &str, at: i64) {
        match name.strip_prefix("refs/heads/") {
            Some(branch) if self.git.refs.contains_key(name) => self.move_branch(branch, sha, at),
            _ => {
                self.git.refs.insert(name.to_owned(), sha.to_owned());
            }
        }
    }

    /// Deletes a ref; closes pull requests from or into a deleted branch.
    pub(crate) fn delete_ref(&mut self, name: &str, at: i64) -> Result<(), RefRefusal> {
        let is_deleted = match name.strip_prefix("refs/heads/") {
            Some(branch) => self.delete_branch(branch, at),
            None => self.git.refs.remove(name).is_some(),
        };
        if is_deleted { Ok(()) } else { Err(RefRefusal::Missing) }
    }
}
