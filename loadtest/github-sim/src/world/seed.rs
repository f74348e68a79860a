//! The initial world.
//!
//! The default seed has `acme` and `other` (organizations) and `solo` (a user), all with an installation, and
//! `foreign`, an organization without one that owns a public repository. Ids are fixed, so that tests can
//! hard-code them.

use crate::world::git::{FILE_MODE, Files, Person};
use crate::world::{Issue, Owner, OwnerKind, Pull, Repository, SEED_EPOCH, World};

/// The initial owners and repositories.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The accounts.
    pub owners: Vec<OwnerSeed>,
    /// The repositories, each of one of the owners.
    pub repositories: Vec<RepositorySeed>,
    /// Old full names and the full names that they redirect to.
    pub renamed: Vec<(String, String)>,
}

/// An account.
#[derive(Clone, Debug)]
pub struct OwnerSeed {
    /// Its name.
    pub login: String,
    /// What it is.
    pub kind: OwnerKind,
    /// The id of the App's installation on it, if there is one. It covers all repositories.
    pub installation_id: Option<u64>,
}

/// A repository, with its default branch `main`.
#[derive(Clone, Debug)]
pub struct RepositorySeed {
    /// `owner/name`.
    pub full_name: String,
    /// The numeric id.
    pub id: u64,
    /// Whether it is private.
    pub private: bool,
    /// How many issues it has; every tenth is closed.
    pub issues: u64,
    /// Paths and contents on the default branch.
    pub files: Vec<(String, String)>,
    /// Branches besides `main`, each one commit ahead of it.
    pub branches: Vec<String>,
    /// Protected branches.
    pub protected: Vec<String>,
    /// Tags at the tip of `main`.
    pub tags: Vec<String>,
    /// How many of the branches have an open pull request into `main`, from the first on.
    pub pulls: u64,
}

impl RepositorySeed {
    /// A private repository with a README and nothing else.
    pub fn new(full_name: &str, id: u64) -> Self {
        Self {
            full_name: full_name.to_owned(),
            id,
            private: true,
            issues: 0,
            files: vec![("README.md".to_owned(), format!("# {full_name}\n"))],
            branches: Vec::new(),
            protected: Vec::new(),
            tags: Vec::new(),
            pulls: 0,
        }
    }
}

impl Default for Seed {
    fn default() -> Self {
        let owner =
            |login: &str, kind, installation_id| OwnerSeed { login: login.to_owned(), kind, installation_id };
        Self {
            owners: vec![
                owner("acme", OwnerKind::Organization, Some(1001)),
                owner("other", OwnerKind::Organization, Some(1002)),
                owner("solo", OwnerKind::User, Some(1003)),
                owner("foreign", OwnerKind::Organization, None),
            ],
            repositories: vec![
                widgets(),
                RepositorySeed { issues: 3, ..RepositorySeed::new("acme/gadgets", 2002) },
                RepositorySeed::new("acme/secret-plans", 2003),
                RepositorySeed { issues: 2, ..RepositorySeed::new("acme/new-name", 2004) },
                RepositorySeed { issues: 3, ..RepositorySeed::new("other/tool", 2101) },
                RepositorySeed { issues: 1, ..RepositorySeed::new("solo/notes", 2201) },
                RepositorySeed { private: false, issues: 2, ..RepositorySeed::new("foreign/lib", 2301) },
            ],
            renamed: vec![("acme/old-name".to_owned(), "acme/new-name".to_owned())],
        }
    }
}

fn widgets() -> RepositorySeed {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let files = [
        ("README.md", "# widgets\n\nWidgets for everybody.\n"),
        ("src/lib.rs", "pub fn widget() -> u32 {\n    42\n}\n"),
        ("src/deep/inner.rs", "pub mod inner {}\n"),
        ("docs/a;b.txt", "a semicolon in its name\n"),
        (".github/workflows/ci.yml", "on: push\njobs: {}\n"),
    ];
    RepositorySeed {
        issues: 75,
        files: files.map(|(path, text)| (path.to_owned(), text.to_owned())).to_vec(),
        branches: texts(&["feature/x", "release", "100%done"]),
        protected: texts(&["main"]),
        tags: texts(&["v1.0.0", "v1.1.0"]),
        pulls: 2,
        ..RepositorySeed::new("acme/widgets", 2001)
    }
}

impl World {
    /// The world that a seed describes.
    pub(crate) fn from_seed(seed: &Seed) -> Self {
        let mut world = Self::default();
        for (index, owner) in seed.owners.iter().enumerate() {
            world.owners.push(Owner {
                id: 501 + index as u64,
                login: owner.login.clone(),
                kind: owner.kind,
                installation_id: owner.installation_id,
                is_suspended: false,
            });
        }
        for repository in &seed.repositories {
            world.insert(build(repository));
        }
        for (old, new) in &seed.renamed {
            if let Some(id) = world.find(new).map(|repository| repository.id) {
                world.redirect(old, id);
            }
        }
        world
    }
}

fn build(seed: &RepositorySeed) -> Repository {
    let (owner, name) = seed.full_name.split_once('/').expect("a full name is owner/name");
    let mut repository = Repository::new(seed.id, owner, name, seed.private);
    let person = |at| Person { name: "Sim User".to_owned(), email: "sim-user@example.com".to_owned(), at };
    let git = &mut repository.git;
    let mut files = Files::new();
    for (path, text) in &seed.files {
        let id = git.add_blob(text.clone());
        files.insert(path.clone(), (FILE_MODE.to_owned(), id));
    }
    let tree = git.add_files(&files);
    let root = git.add_commit(&tree, vec![], "Begin", person(SEED_EPOCH), person(SEED_EPOCH));
    let readme = git.add_blob(format!("{} grows\n", seed.full_name));
    files.insert("CHANGELOG.md".to_owned(), (FILE_MODE.to_owned(), readme));
    let tree = git.add_files(&files);
    let at = SEED_EPOCH + 60;
    let main = git.add_commit(&tree, vec![root], "Add a change log", person(at), person(at));
    git.set_branch("main", &main);
    for tag in &seed.tags {
        git.refs.insert(format!("refs/tags/{tag}"), main.clone());
    }
    for (index, branch) in seed.branches.iter().enumerate() {
        let mut files = files.clone();
        let blob = git.add_blob(format!("work on {branch}\n"));
        files.insert(format!("work-{index}.txt"), (FILE_MODE.to_owned(), blob));
        let tree = git.add_files(&files);
        let message = format!("Work on {branch}");
        let at = at + 60;
        let id = git.add_commit(&tree, vec![main.clone()], &message, person(at), person(at));
        git.set_branch(branch, &id);
    }
    repository.protected.extend(seed.protected.iter().cloned());
    add_issues(&mut repository, seed);
    repository
}

fn add_issues(repository: &mut Repository, seed: &RepositorySeed) {
    for number in 1..=seed.issues {
        let at = SEED_EPOCH + i64::try_from(number).unwrap_or(0) * 60;
        let title = format!("Issue number {number}");
        let mut issue = Issue::new(number, &title, "sim-user", at);
        issue.body = Some(format!("See https://api.github.com/zen, part {number}."));
        if number % 10 == 0 {
            issue.close(at + 30);
        }
        if number % 3 == 0 {
            issue.labels.push("bug".to_owned());
        }
        repository.issues.insert(number, issue);
    }
    let count = usize::try_from(seed.pulls).unwrap_or(0);
    for branch in seed.branches.iter().take(count) {
        let number = repository.next_number();
        let title = format!("Merge {branch}");
        let mut issue = Issue::new(number, &title, "sim-user", SEED_EPOCH + 7200);
        let head_sha = repository.git.branch(branch).unwrap_or_default().to_owned();
        issue.pull = Some(Pull::new(branch, "main", &head_sha));
        repository.issues.insert(number, issue);
    }
}
