//! The Git objects of one repository: blobs, trees, commits and refs.
//!
//! Ids look like Git's (40 hex digits) and depend on the content alone, so that the same seed gives
//! the same ids; they are not the SHA-1 that Git would compute.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::digest::object_id;

/// The mode of an ordinary file.
pub(crate) const FILE_MODE: &str = "100644";
const TREE_MODE: &str = "040000";

/// All files of a tree: path to mode and blob id.
pub(crate) type Files = BTreeMap<String, (String, String)>;

#[derive(Clone, Debug)]
pub(crate) struct TreeEntry {
    pub(crate) name: String,
    pub(crate) mode: String,
    pub(crate) id: String,
}

impl TreeEntry {
    pub(crate) fn is_tree(&self) -> bool {
        self.mode == TREE_MODE
    }

    /// `tree`, `commit` (a submodule) or `blob`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.mode.as_str() {
            TREE_MODE => "tree",
            "160000" => "commit",
            _ => "blob",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    /// Epoch seconds.
    pub(crate) at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) tree: String,
    pub(crate) parents: Vec<String>,
    pub(crate) message: String,
    pub(crate) author: Person,
    pub(crate) committer: Person,
}

/// How one file differs between two trees.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl Change {
    pub(crate) fn status(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "modified",
        }
    }
}

/// The object store and the refs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Git {
    blobs: HashMap<String, Bytes>,
    trees: HashMap<String, Vec<TreeEntry>>,
    commits: HashMap<String, Commit>,
    /// Full names, as `refs/heads/main`, to commit ids.
    pub(crate) refs: BTreeMap<String, String>,
}

impl Git {
    pub(crate) fn add_blob(&mut self, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let id = object_id("blob", &bytes);
        self.blobs.insert(id.clone(), bytes);
        id
    }

    pub(crate) fn blob(&self, id: &str) -> Option<&Bytes> {
        self.blobs.get(id)
    }

    pub(crate) fn tree(&self, id: &str) -> Option<&[TreeEntry]> {
        self.trees.get(id).map(Vec::as_slice)
    }

    pub(crate) fn commit(&self, id: &str) -> Option<&Commit> {
        self.commits.get(id)
    }

    /// Stores the nested trees of these files; returns the root's id.
    pub(crate) fn add_files(&mut self, files: &Files) -> String {
        let mut entries: Vec<TreeEntry> = Vec::new();
        let mut folders: BTreeMap<&str, Files> = BTreeMap::new();
        for (path, (mode, id)) in files {
            match path.split_once('/') {
                Some((folder, rest)) => {
                    let folder = folders.entry(folder).or_default();
                    folder.insert(rest.to_owned(), (mode.clone(), id.clone()));
                }
                None => entries.push(TreeEntry { name: path.clone(), mode: mode.clone(), id: id.clone() }),
            }
        }
        for (name, inner) in folders {
            let id = self.add_files(&inner);
            entries.push(TreeEntry { name: name.to_owned(), mode: TREE_MODE.to_owned(), id });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut text = String::new();
        for entry in &entries {
            text.push_str(&format!("{} {}\0{}", entry.mode, entry.name, entry.id));
        }
        let id = object_id("tree", text.as_bytes());
        self.trees.insert(id.clone(), entries);
        id
    }

    /// All files beneath a tree, by full path.
    pub(crate) fn files(&self, tree: &str) -> Files {
        let mut files = Files::new();
        self.collect_files(tree, "", &mut files);
        files
    }

    fn collect_files(&self, tree: &str, prefix: &str, files: &mut Files) {
        for entry in self.trees.get(tree).into_iter().flatten() {
            let path = format!("{prefix}{}", entry.name);
            if entry.is_tree() {
                self.collect_files(&entry.id, &format!("{path}/"), files);
            } else {
                files.insert(path, (entry.mode.clone(), entry.id.clone()));
            }
        }
    }

    /// The entry at a path beneath a tree.
    pub(crate) fn entry_at(&self, tree: &str, path: &str) -> Option<&TreeEntry> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let entry = self.trees.get(tree)?.iter().find(|entry| entry.name == first)?;
        if rest.is_empty() {
            return Some(entry);
        }
        entry.is_tree().then(|| self.entry_at(&entry.id, rest))?
    }

    pub(crate) fn add_commit(
        &mut self,
        tree: &str,
        parents: Vec<String>,
        message: &str,
        author: Person,
        committer: Person,
    ) -> String {
        let text = format!(
            "{tree}\n{}\n{} {} {}\n{} {}\n{message}",
            parents.join(" "),
            author.name,
            author.email,
            author.at,
            committer.name,
            committer.at
        );
        let id = object_id("commit", text.as_bytes());
        let commit = Commit {
            id: id.clone(),
            tree: tree.to_owned(),
            parents,
            message: message.to_owned(),
            author,
            committer,
        };
        self.commits.insert(id.clone(), commit);
        id
    }

    pub(crate) fn branch(&self, name: &str) -> Option<&str> {
        self.refs.get(&format!("refs/heads/{name}")).map(String::as_str)
    }

    pub(crate) fn set_branch(&mut self, name: &str, commit: &str) {
        self.refs.insert(format!("refs/heads/{name}"), commit.to_owned());
    }

    /// Names beneath a namespace (`heads`, `tags`) with their commits.
    pub(crate) fn names(&self, namespace: &str) -> Vec<(String, String)> {
        let prefix = format!("refs/{namespace}/");
        self.refs
            .iter()
            .filter_map(|(name, id)| Some((name.strip_prefix(&prefix)?.to_owned(), id.clone())))
            .collect()
    }

    /// The commit that a branch, tag, ref or (abbreviated) commit id names.
    pub(crate) fn resolve(&self, name: &str) -> Option<&Commit> {
        let by_ref = ["refs/heads/", "refs/tags/", "refs/", ""]
            .iter()
            .find_map(|prefix| self.refs.get(&format!("{prefix}{name}")));
        if let Some(id) = by_ref {
            return self.commits.get(id);
        }
        self.commits.get(name).or_else(|| {
            let is_short = (7..40).contains(&name.len());
            is_short.then(|| self.commits.values().find(|commit| commit.id.starts_with(name)))?
        })
    }

    /// A commit and its ancestors, newest first.
    pub(crate) fn log(&self, from: &str) -> Vec<&Commit> {
        let mut seen = HashSet::new();
        let mut queue = VecDeque::from([from]);
        let mut log = Vec::new();
        while let Some(id) = queue.pop_front() {
            let Some(commit) = self.commits.get(id) else { continue };
            if seen.insert(id) {
                log.push(commit);
                queue.extend(commit.parents.iter().map(String::as_str));
            }
        }
        log.sort_by_key(|commit| std::cmp::Reverse(commit.committer.at));
        log
    }

    /// Commits of `head` that `base` lacks, newest first.
    pub(crate) fn log_between(&self, base: &str, head: &str) -> Vec<&Commit> {
        let known: HashSet<&str> = self.log(base).iter().map(|commit| commit.id.as_str()).collect();
        let mut log = self.log(head);
        log.retain(|commit| !known.contains(commit.id.as_str()));
        log
    }

    pub(crate) fn merge_base(&self, a: &str, b: &str) -> Option<&Commit> {
        let known: HashSet<&str> = self.log(a).iter().map(|commit| commit.id.as_str()).collect();
        self.log(b).into_iter().find(|commit| known.contains(commit.id.as_str()))
    }

    /// Files that differ between two trees; `None` is the empty tree.
    pub(crate) fn changes(&self, before: Option<&str>, after: &str) -> Vec<Change> {
        let before = before.map(|tree| self.files(tree)).unwrap_or_default();
        let after = self.files(after);
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let id = |files: &Files, path: &str| files.get(path).map(|(_, id)| id.clone());
        paths
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path))
            .map(|path| Change { path: path.clone(), before: id(&before, path), after: id(&after, path) })
            .collect()
    }

    /// The tree of a merge of two commits; `None` when both changed the same file.
    pub(crate) fn merge_trees(&mut self, base: &str, head: &str) -> Option<String> {
        let ancestor = self.merge_base(base, head)?.tree.clone();
        let (base, head) = (self.commit(base)?.tree.clone(), self.commit(head)?.tree.clone());
        let ours: BTreeSet<String> =
            self.changes(Some(&ancestor), &base).into_iter().map(|change| change.path).collect();
        let theirs = self.changes(Some(&ancestor), &head);
        let head_files = self.files(&head);
        let mut files = self.files(&base);
        for change in theirs {
            if ours.contains(&change.path) && files.get(&change.path) != head_files.get(&change.path) {
                return None;
            }
            match head_files.get(&change.path) {
                Some(file) => files.insert(change.path, file.clone()),
                None => files.remove(&change.path),
            };
        }
        Some(self.add_files(&files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(git: &mut Git, files: &[(&str, &str)], parents: &[&str], at: i64) -> String {
        let mut map = Files::new();
        for (path, text) in files {
            let id = git.add_blob((*text).to_owned());
            map.insert((*path).to_owned(), (FILE_MODE.to_owned(), id));
        }
        let tree = git.add_files(&map);
        let person = Person { name: "n".to_owned(), email: "e".to_owned(), at };
        let parents = parents.iter().map(|id| (*id).to_owned()).collect();
        git.add_commit(&tree, parents, "m", person.clone(), person)
    }

    #[test]
    fn merges_take_both_sides_and_conflict_on_the_same_file() {
        let mut git = Git::default();
        let root = commit(&mut git, &[("a/x", "1"), ("b", "1")], &[], 1);
        let ours = commit(&mut git, &[("a/x", "2"), ("b", "1")], &[&root], 2);
        let theirs = commit(&mut git, &[("a/x", "1"), ("b", "3")], &[&root], 3);
        let clash = commit(&mut git, &[("a/x", "4"), ("b", "1")], &[&root], 4);
        let tree = git.merge_trees(&ours, &theirs).unwrap();
        let both = commit(&mut git, &[("a/x", "2"), ("b", "3")], &[], 5);
        assert_eq!(tree, git.commit(&both).unwrap().tree);
        assert!(git.merge_trees(&ours, &clash).is_none());
        assert_eq!(git.log_between(&ours, &theirs).len(), 1);
        assert_eq!(git.entry_at(&tree, "a/x").unwrap().kind(), "blob");
    }
}
