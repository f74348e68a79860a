//! The world: accounts, repositories and what is in them, all in memory.
//!
//! Handlers read and change it under the simulator's one lock. Issues and pull requests share their
//! numbers, as on GitHub: a pull request is an issue with a [`Pull`].

mod edit;
pub(crate) mod git;
pub(crate) mod pulls;
pub(crate) mod refs;
pub(crate) mod seed;
pub(crate) mod stacks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde_json::Value;

pub use seed::{OwnerSeed, RepositorySeed, Seed};

use crate::books::Merge;
use crate::config::INSTALLATION_STEP;

use git::{FILE_MODE, Git, Person};
use stacks::Stack;

/// 2026-01-05T09:00:00Z in epoch seconds: when the seeded objects were created.
pub(crate) const SEED_EPOCH: i64 = 1_767_603_600;

/// The login of the App's bot, as which installation tokens act.
pub(crate) const BOT_LOGIN: &str = "github-sim[bot]";
/// The user of all personal access tokens.
pub(crate) const PERSONAL_LOGIN: &str = "sim-user";

/// What an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// An organization.
    Organization,
    /// A user.
    User,
}

#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) kind: OwnerKind,
    pub(crate) installation_id: Option<u64>,
    /// The installation is suspended, so nobody may use it.
    pub(crate) is_suspended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) private: bool,
    pub(crate) archived: bool,
    pub(crate) description: Option<String>,
    /// The full name of the repository that it was forked from.
    pub(crate) parent: Option<String>,
    pub(crate) default_branch: String,
    pub(crate) updated_at: i64,
    pub(crate) git: Git,
    pub(crate) protected: BTreeSet<String>,
    /// Types of the ruleset rules for each branch, by branch name; the branch need not exist.
    pub(crate) rules: BTreeMap<String, Vec<String>>,
    /// Whether pull requests cannot be drafts, as in private repositories of some plans.
    pub(crate) forbids_drafts: bool,
    pub(crate) issues: BTreeMap<u64, Issue>,
    /// Stacks of pull requests; the first has number 1.
    pub(crate) stacks: Vec<Stack>,
    /// Merges that pushes triggered and that are not in the books yet, which the world can't reach.
    pub(crate) auto_merged: Vec<Merge>,
    /// Name to colour.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) releases: BTreeMap<u64, Release>,
    /// Commit statuses, check runs and deployments in the form of their answers, newest last.
    pub(crate) statuses: Vec<Value>,
    pub(crate) check_runs: Vec<Value>,
    pub(crate) deployments: Vec<Value>,
    pub(crate) reactions: Vec<Reaction>,
    last_id: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) is_open: bool,
    pub(crate) user: String,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) pull: Option<Pull>,
}

#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    pub(crate) at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) head_ref: String,
    pub(crate) base_ref: String,
    /// The last known head; kept when the branch is deleted.
    pub(crate) head_sha: String,
    pub(crate) draft: bool,
    /// Set if the next push to its head merges it.
    pub(crate) auto_merge: Option<AutoMerge>,
    pub(crate) merged_at: Option<i64>,
    pub(crate) merge_commit_sha: Option<String>,
    pub(crate) reviews: Vec<Review>,
    pub(crate) review_comments: Vec<Comment>,
    pub(crate) requested_reviewers: Vec<String>,
}

/// Who enabled auto-merge on a pull request, and how.
#[derive(Clone, Debug)]
pub(crate) struct AutoMerge {
    pub(crate) user: String,
    /// `MERGE`, `SQUASH` or `REBASE`; shown, but always merged with a merge commit.
    pub(crate) method: String,
    pub(crate) at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    /// `PENDING`, `COMMENTED`, `APPROVED`, `CHANGES_REQUESTED` or `DISMISSED`.
    pub(crate) state: String,
    pub(crate) commit_id: String,
    pub(crate) at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) id: u64,
    /// The node id of the object reacted to.
    pub(crate) subject: String,
    pub(crate) user: String,
    /// As `THUMBS_UP`.
    pub(crate) content: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) id: u64,
    pub(crate) tag: String,
    pub(crate) name: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) draft: bool,
    pub(crate) prerelease: bool,
    pub(crate) target: String,
    pub(crate) at: i64,
    pub(crate) assets: Vec<Asset>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asset {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Only for assets up to 1 MiB.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) at: i64,
}

impl Issue {
    pub(crate) fn new(number: u64, title: &str, user: &str, at: i64) -> Self {
        Self {
            number,
            title: title.to_owned(),
            body: None,
            is_open: true,
            user: user.to_owned(),
            labels: Vec::new(),
            assignees: Vec::new(),
            created_at: at,
            updated_at: at,
            closed_at: None,
            comments: Vec::new(),
            pull: None,
        }
    }

    pub(crate) fn close(&mut self, at: i64) {
        self.is_open = false;
        self.closed_at = Some(at);
        self.updated_at = at;
    }

    pub(crate) fn reopen(&mut self, at: i64) {
        self.is_open = true;
        self.closed_at = None;
        self.updated_at = at;
    }
}

impl Pull {
    pub(crate) fn new(head_ref: &str, base_ref: &str, head_sha: &str) -> Self {
        Self {
            head_ref: head_ref.to_owned(),
            base_ref: base_ref.to_owned(),
            head_sha: head_sha.to_owned(),
            draft: false,
            auto_merge: None,
            merged_at: None,
            merge_commit_sha: None,
            reviews: Vec::new(),
            review_comments: Vec::new(),
            requested_reviewers: Vec::new(),
        }
    }
}

impl Repository {
    pub(crate) fn new(id: u64, owner: &str, name: &str, private: bool) -> Self {
        let labels = [("bug", "d73a4a"), ("documentation", "0075ca"), ("enhancement", "a2eeef")];
        Self {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            private,
            archived: false,
            description: Some(format!("The {name} of {owner}")),
            default_branch: "main".to_owned(),
            updated_at: SEED_EPOCH,
            git: Git::default(),
            protected: BTreeSet::new(),
            rules: BTreeMap::new(),
            forbids_drafts: false,
            parent: None,
            issues: BTreeMap::new(),
            stacks: Vec::new(),
            auto_merged: Vec::new(),
            labels: labels.map(|(name, color)| (name.to_owned(), color.to_owned())).into(),
            releases: BTreeMap::new(),
            statuses: Vec::new(),
            check_runs: Vec::new(),
            deployments: Vec::new(),
            reactions: Vec::new(),
            last_id: 0,
        }
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// All labels, including those that issues use but nobody created.
    pub(crate) fn label_names(&self) -> BTreeSet<String> {
        let used = self.issues.values().flat_map(|issue| &issue.labels);
        self.labels.keys().chain(used).cloned().collect()
    }

    /// The number of the next issue or pull request.
    pub(crate) fn next_number(&self) -> u64 {
        self.issues.keys().next_back().copied().unwrap_or(0) + 1
    }

    /// An id that no other object of any repository has.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.id * 1_000_000 + self.last_id
    }

    /// Commits one file onto a branch; `None` content deletes it. Returns the commit's id.
    pub(crate) fn commit_file(
        &mut self,
        branch: &str,
        path: &str,
        content: Option<Bytes>,
        message: &str,
        author: &Person,
    ) -> Option<String> {
        let tip = self.git.commit(self.git.branch(branch)?)?.clone();
        let mut files = self.git.files(&tip.tree);
        match content {
            Some(content) => {
                let blob = self.git.add_blob(content);
                files.insert(path.to_owned(), (FILE_MODE.to_owned(), blob));
            }
            None => {
                files.remove(path)?;
            }
        }
        let tree = self.git.add_files(&files);
        let parents = vec![tip.id];
        let id = self.git.add_commit(&tree, parents, message, author.clone(), author.clone());
        self.move_branch(branch, &id, author.at);
        Some(id)
    }
}

/// Everything that exists.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub(crate) owners: Vec<Owner>,
    pub(crate) repositories: BTreeMap<u64, Repository>,
    /// Present full names in lower case.
    names: HashMap<String, u64>,
    /// Former full names in lower case.
    former_names: HashMap<String, u64>,
}

impl World {
    pub(crate) fn insert(&mut self, repository: Repository) {
        self.names.insert(repository.full_name().to_ascii_lowercase(), repository.id);
        self.repositories.insert(repository.id, repository);
    }

    pub(crate) fn redirect(&mut self, old_name: &str, id: u64) {
        self.former_names.insert(old_name.to_ascii_lowercase(), id);
    }

    /// The repository with this full name, case-insensitive.
    pub(crate) fn find(&self, full_name: &str) -> Option<&Repository> {
        self.repositories.get(self.names.get(&full_name.to_ascii_lowercase())?)
    }

    pub(crate) fn find_mut(&mut self, full_name: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(self.names.get(&full_name.to_ascii_lowercase())?)
    }

    /// The repository that once had this full name.
    pub(crate) fn find_former(&self, full_name: &str) -> Option<&Repository> {
        self.repositories.get(self.former_names.get(&full_name.to_ascii_lowercase())?)
    }

    pub(crate) fn owner(&self, login: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.login.eq_ignore_ascii_case(login))
    }

    /// The owner on whose account the App has the installation with this id.
    pub(crate) fn installation(&self, app: usize, id: u64) -> Option<&Owner> {
        let (of, base) = app_of_installation(id);
        self.owners.iter().find(|owner| of == app && owner.installation_id == Some(base))
    }

    /// The repositories of an owner, by id.
    pub(crate) fn repositories_of<'a>(&'a self, login: &'a str) -> impl Iterator<Item = &'a Repository> {
        self.repositories.values().filter(move |repository| repository.owner.eq_ignore_ascii_case(login))
    }
}

/// The index of the App whose installation has this id, and the id of the first App's installation there.
pub(crate) fn app_of_installation(id: u64) -> (usize, u64) {
    (usize::try_from(id / INSTALLATION_STEP).unwrap_or(usize::MAX), id % INSTALLATION_STEP)
}
