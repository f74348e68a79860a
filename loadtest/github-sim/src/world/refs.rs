//! Refs of one repository, made, moved and deleted with what that means for pull requests.

use crate::world::Repository;

/// Why a ref is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefRefusal {
    /// It is no full name, as `refs/heads/main`.
    BadName,
    /// There is one of that name.
    Known,
    /// There is none of that name.
    Missing,
    /// There is no such commit.
    NoCommit,
    /// The new commit does not come after the present one.
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
    /// Whether a new ref may be made.
    pub(crate) fn check_new_ref(&self, name: &str, sha: &str) -> Result<(), RefRefusal> {
        if !name.starts_with("refs/") || name.matches('/').count() < 2 {
            return Err(RefRefusal::BadName);
        }
        if self.git.refs.contains_key(name) {
            return Err(RefRefusal::Known);
        }
        self.git.commit(sha).map(|_| ()).ok_or(RefRefusal::NoCommit)
    }

    /// Whether a ref may be moved; forwards only, unless it is forced.
    pub(crate) fn check_move(&self, name: &str, sha: &str, is_forced: bool) -> Result<(), RefRefusal> {
        let git = &self.git;
        let present = git.refs.get(name).ok_or(RefRefusal::Missing)?;
        git.commit(sha).ok_or(RefRefusal::NoCommit)?;
        let is_forward = git.log(sha).iter().any(|commit| commit.id == *present);
        if is_forward || is_forced { Ok(()) } else { Err(RefRefusal::NotForward) }
    }

    /// Makes or moves a ref that was checked, and with a branch the heads of pull requests from it.
    pub(crate) fn set_ref(&mut self, name: &str, sha: &str, at: i64) {
        match name.strip_prefix("refs/heads/") {
            Some(branch) if self.git.refs.contains_key(name) => self.move_branch(branch, sha, at),
            _ => {
                self.git.refs.insert(name.to_owned(), sha.to_owned());
            }
        }
    }

    /// Deletes a ref; pull requests from or into a branch are closed with it.
    pub(crate) fn delete_ref(&mut self, name: &str, at: i64) -> Result<(), RefRefusal> {
        let is_deleted = match name.strip_prefix("refs/heads/") {
            Some(branch) => self.delete_branch(branch, at),
            None => self.git.refs.remove(name).is_some(),
        };
        if is_deleted { Ok(()) } else { Err(RefRefusal::Missing) }
    }
}
