//! When to read the configuration again: its file, or one that it names, holds something else.
//!
//! The files are simply read. A watch on a file itself would not see a mounted volume being swapped by its
//! symbolic link, as Kubernetes does with a ConfigMap, and some file systems tell nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::load::{self, Reading};
use crate::secret;

/// A change that does not settle is taken up all the same: what keeps one file changing must not keep an
/// agent in.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);

/// What files hold, each by a hash: of its bytes, or of why they can't be read.
pub(super) type Contents = BTreeMap<PathBuf, [u8; 32]>;

/// Looks at a configuration file and those it names.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// As of the last reading, and as of the last look.
    read: Contents,
    seen: Contents,
    /// When a look first found what has not settled since.
    unsettled: Option<Instant>,
}

impl Watch {
    /// Reads the file for the first time. What comes from a pipe can't be read again.
    pub fn open(path: &Path) -> (Option<Watch>, Reading) {
        let reading = load::read(path);
        let mut watch = Watch::unread(path);
        watch.is_now(&reading);
        (path.is_file().then_some(watch), reading)
    }

    /// Of a file that was not read yet.
    pub fn unread(path: &Path) -> Watch {
        Watch { path: path.to_owned(), read: Contents::new(), seen: Contents::new(), unsettled: None }
    }

    /// The configuration file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something has changed since the last reading and was the same at the last two looks: who
    /// writes a file, or several one after the other, is given the time between two.
    pub fn is_due(&mut self) -> bool {
        let paths = self.read.keys().chain([&self.path]);
        let now: Contents = paths.map(|path| (path.clone(), seen(&secret::read_bytes(path)))).collect();
        let is_settled = now == self.seen;
        self.seen = now;
        if self.seen == self.read {
            self.unsettled = None;
            return false;
        }
        let since = *self.unsettled.get_or_insert_with(Instant::now);
        is_settled || since.elapsed() >= SETTLES_WITHIN
    }

    /// Reads the file again.
    pub fn read(&mut self) -> Reading {
        let reading = load::made_of(&self.path, secret::read_bytes(&self.path), true);
        self.is_now(&reading);
        reading
    }

    fn is_now(&mut self, reading: &Reading) {
        self.read.clone_from(&reading.contents);
        self.seen.clone_from(&reading.contents);
        self.unsettled = None;
    }
}

/// A hash of what was read.
pub(super) fn seen(read: &Result<Vec<u8>, String>) -> [u8; 32] {
    match read {
        Ok(bytes) => Sha256::digest(bytes).into(),
        Err(why) => Sha256::digest(why).into(),
    }
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
        (directory, path, watch.unwrap())
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
        let (watch, first) = Watch::open(&at("tollgate.yaml"));
        let mut watch = watch.unwrap();
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(!watch.is_due() && watch.is_due());
        let second = watch.read();
        assert_eq!(second.outcome.unwrap().0.agents[0].weight, 2);
        assert_ne!(first.version, second.version);
    }

    /// A fifo keeps its reader waiting for a writer; the file may come back, and nobody may hang meanwhile.
    #[test]
    fn what_is_no_plain_file_is_not_waited_for() {
        let (directory, path, mut watch) = open();
        let token = directory.path().join("token");
        for place in [&token, &path] {
            let kept = fs::read(place).unwrap();
            fs::remove_file(place).unwrap();
            let made = std::process::Command::new("mkfifo").arg(place).status().unwrap();
            assert!(made.success());
            assert!(!watch.is_due() && watch.is_due());
            let problems = watch.read().outcome.unwrap_err().to_string();
            assert!(problems.contains("is no plain file"), "{problems}");
            fs::remove_file(place).unwrap();
            fs::create_dir(place).unwrap();
            assert!(!watch.is_due() && watch.is_due(), "another reason is another state");
            assert!(watch.read().outcome.is_err());
            fs::remove_dir(place).unwrap();
            fs::write(place, kept).unwrap();
            assert!(!watch.is_due() && watch.is_due());
            assert!(watch.read().outcome.is_ok());
        }
    }

    #[test]
    fn what_never_settles_is_taken_up_all_the_same() {
        let (directory, _, mut watch) = open();
        let began = Instant::now();
        let mut count = 0;
        while !watch.is_due() {
            count += 1;
            fs::write(directory.path().join("token"), format!("ghp_{count}")).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        assert!(count > 1);
    }

    #[test]
    fn the_audit_log_is_no_part_of_it() {
        let (directory, path, mut watch) = open();
        fs::write(&path, text(1).replace("mode: presence }", "mode: presence }, audit_log: audit.log"))
            .unwrap();
        assert!(!watch.is_due() && watch.is_due());
        assert!(watch.read().outcome.is_ok());
        fs::write(directory.path().join("audit.log"), "a line\n").unwrap();
        assert!(!watch.is_due() && !watch.is_due());
    }
}
