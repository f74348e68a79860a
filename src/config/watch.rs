//! When to read the configuration again: its file, or one that it names, holds something else.
//!
//! The files are simply read. A watch on a file itself would not see a mounted volume being swapped by its
//! symbolic link, as Kubernetes does with a ConfigMap, and some file systems tell nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::load::{self, Reading};
use crate::secret;

/// What files hold, by their SHA-256; none for one that can't be read.
type Contents = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// Looks at a configuration file and those it names.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// As of the last reading, and as of the last look.
    read: Contents,
    seen: Contents,
}

impl Watch {
    /// Reads the file for the first time.
    pub fn open(path: &Path) -> (Watch, Reading) {
        let mut watch = Watch { path: path.to_owned(), read: Contents::new(), seen: Contents::new() };
        let reading = watch.read();
        (watch, reading)
    }

    /// The configuration file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something has changed since the last reading and was the same at the last two looks: who
    /// writes a file, or several one after the other, is given the time between two.
    pub fn is_due(&mut self) -> bool {
        let now = look(self.read.keys());
        let is_settled = now == self.seen;
        self.seen = now;
        is_settled && self.seen != self.read
    }

    /// Reads the file again.
    pub fn read(&mut self) -> Reading {
        // Looked at before it is read: what changes in between is found by the next look.
        let before = look(self.read.keys().chain([&self.path]));
        let reading = load::read(&self.path);
        self.read = look(reading.files.iter().chain([&self.path]));
        for (path, content) in before {
            self.read.entry(path).and_modify(|known| *known = content);
        }
        self.seen = self.read.clone();
        reading
    }
}

fn look<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Contents {
    let digest = |path: &Path| secret::read_bytes(path).ok().map(|bytes| Sha256::digest(bytes).into());
    paths.map(|path| (path.clone(), digest(path))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn text(weight: u32) -> String {
        format!(
            "tokens: [{{ name: dev, token_file: token }}]\npolicy: {{ approval: {{ mode: presence }} }}\n\
             agents: [{{ name: a, key_sha256: \"{}\", repositories: [\"*\"], weight: {weight} }}]\n",
            "a".repeat(64)
        )
    }

    fn open() -> (TempDir, PathBuf, Watch) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tollgate.yaml");
        fs::write(directory.path().join("token"), "ghp_one").unwrap();
        fs::write(&path, text(1)).unwrap();
        let (watch, reading) = Watch::open(&path);
        assert!(reading.outcome.is_ok(), "{:?}", reading.outcome);
        (directory, path, watch)
    }

    #[test]
    fn is_due_once_a_change_has_settled() {
        let (_directory, path, mut watch) = open();
        assert!(!watch.is_due() && !watch.is_due());
        fs::write(&path, "agents: [").unwrap();
        assert!(!watch.is_due());
        fs::write(&path, text(2)).unwrap();
        assert!(!watch.is_due());
        assert!(watch.is_due());
        let (config, _) = watch.read().outcome.unwrap();
        assert_eq!(config.agents[0].weight, 2);
        assert!(!watch.is_due());
        // Back to what was read: nothing to do.
        fs::write(&path, text(3)).unwrap();
        assert!(!watch.is_due());
        fs::write(&path, text(2)).unwrap();
        assert!(!watch.is_due() && !watch.is_due());
    }

    #[test]
    fn sees_the_files_it_names_also_when_they_go_and_come_back() {
        let (directory, path, mut watch) = open();
        let token = directory.path().join("token");
        for change in [Some("ghp_two"), None, Some("ghp_three")] {
            match change {
                Some(secret) => fs::write(&token, secret).unwrap(),
                None => fs::remove_file(&token).unwrap(),
            }
            assert!(!watch.is_due());
            assert!(watch.is_due(), "{change:?}");
            assert_eq!(watch.read().outcome.is_ok(), change.is_some());
            assert!(!watch.is_due());
        }
        fs::remove_file(&path).unwrap();
        assert!(!watch.is_due() && watch.is_due());
        assert!(watch.read().outcome.is_err());
        assert!(!watch.is_due() && !watch.is_due(), "said once");
        fs::write(&path, text(1)).unwrap();
        assert!(!watch.is_due() && watch.is_due());
    }

    #[test]
    fn sees_a_mounted_volume_being_swapped() {
        use std::os::unix::fs::symlink;
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, weight) in [("..1", 1), ("..2", 2)] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tollgate.yaml"), text(weight)).unwrap();
            fs::write(at(version).join("token"), "ghp_one").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/tollgate.yaml", at("tollgate.yaml")).unwrap();
        symlink("..data/token", at("token")).unwrap();
        let (mut watch, first) = Watch::open(&at("tollgate.yaml"));
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(!watch.is_due() && watch.is_due());
        let second = watch.read();
        assert_eq!(second.outcome.unwrap().0.agents[0].weight, 2);
        assert_ne!(first.version, second.version);
    }
}
