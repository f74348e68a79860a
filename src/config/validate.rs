//! From the file as written to the [`Config`] the program runs on, or to everything that is wrong.
//!
//! Each rule is a few lines in the module of its section; none stops another. A value that could
//! not be read was reported already and is not judged again, so one mistake is one problem.

mod agents;

mod budget;

mod credentials;

mod identities;

mod policy;

mod redis;

mod server;

mod upstream;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Config;
use super::document::Document;
use super::problem::{Problem, Problems, Severity};
use super::raw;
use super::watch::{self, Contents};
use crate::secret;

/// A shorter secret is warned of.
const OWN_SECRET_BYTES_MIN: usize = 16;

/// Where the values come from that the file only names.
pub struct Sources<'a> {
    /// Relative paths of the file start here.
    pub directory: &'a Path,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// tollgate runs already: what only time made wrong must not hold up other changes.
    pub is_running: bool,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What the rules made of a file.
pub(super) struct Validated {
    /// There only when no problem is an error.
    pub(super) config: Option<Config>,
    pub(super) problems: Problems,
    /// What the files hold that it names, as far as they were looked for.
    pub(super) files: Contents,
}

/// Runs every rule.
pub(super) fn validate(
    file: &raw::File,
    document: &Document,
    sources: &Sources<'_>,
    problems: Problems,
) -> Validated {
    let mut check = Check { document, sources, problems, files: Contents::new() };
    let server = server::server(&mut check, &file.server);
    let upstream = upstream::upstream(&mut check, &file.upstream);
    let apps = credentials::apps(&mut check, &file.apps);
    let tokens = credentials::tokens(&mut check, &file.tokens);
    if !document.is_flawed("apps") && !document.is_flawed("tokens") {
        let is_empty = file.apps.is_empty() && file.tokens.is_empty();
        check.rule("", !is_empty, || {
            "names no credential: `apps` needs a GitHub App, or `tokens` a personal access token".to_owned()
        });
    }
    let budget = budget::budget(&mut check, &file.budget);
    let retry = budget::retry(&mut check, &file.retry);
    let cache = budget::cache(&mut check, &file.cache);
    let policy = policy::policy(&mut check, &file.policy);
    let agents = agents::agents(&mut check, file);
    let identities = identities::identities(&mut check, file);
    let webhook = file.webhook.as_ref().map(|webhook| server::webhook(&mut check, webhook, &file.server));
    let Check { problems, files, .. } = check;
    if problems.has_errors() {
        return Validated { config: None, problems, files };
    }
    let config = (|| {
        let (server, upstream, budget, policy) = (server?, upstream?, budget?, policy?);
        let webhook = webhook.map_or(Some(None), |webhook| webhook.map(Some))?;
        Some(Config {
            server,
            upstream,
            apps,
            tokens,
            budget,
            retry,
            cache,
            policy,
            agents,
            identities,
            webhook,
        })
    })();
    debug_assert!(config.is_some(), "a section is missing without an error");
    Validated { config, problems, files }
}

/// The problems found so far, and what rules need to look at.
struct Check<'a> {
    document: &'a Document,
    sources: &'a Sources<'a>,
    problems: Problems,
    files: Contents,
}

impl Check<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.report(path, message.into(), Severity::Error);
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.report(path, message.into(), Severity::Warning);
    }

    fn report(&mut self, path: &str, mut message: String, severity: Severity) {
        // Some messages repeat a name, and a token may have been typed in its place.
        if message.split('`').any(secret::looks_like_secret) {
            message = "looks like a secret; put it into a file or a variable, and name that".to_owned();
        }
        if !self.document.is_flawed(path) {
            let line = self.document.line(path);
            self.problems.push(Problem { path: path.to_owned(), line, message, severity });
        }
    }

    /// Passes a value on, or the reason why there is none.
    fn accept<T>(&mut self, path: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.error(path, message)).ok()
    }

    fn rule(&mut self, path: &str, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.error(path, message());
        }
    }

    /// A list or section that must have something in it, be it wrong.
    fn not_empty(&mut self, path: &str, is_empty: bool, message: &str) {
        let holds = !is_empty || self.document.is_flawed_within(path);
        self.rule(path, holds, || message.to_owned());
    }

    /// Exactly one of some keys of a section; `said` tells of each whether it has a value.
    fn exactly_one(&mut self, section: &str, keys: &[(&str, bool)]) -> bool {
        let is_said =
            |(key, said): &&(&str, bool)| *said || self.document.is_said(&format!("{section}.{key}"));
        let count = keys.iter().filter(is_said).count();
        if count != 1 {
            let names: Vec<String> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
            let names = names.join(" or ");
            let message = if count == 0 {
                format!("needs {names}")
            } else {
                format!("needs only one of {names}, not {count}")
            };
            self.error(section, message);
        }
        count == 1
    }

    /// A text that must be there and not blank.
    fn text<'t>(&mut self, path: &str, value: Option<&'t str>) -> Option<&'t str> {
        let text = value.map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.error(path, "is required");
        }
        text
    }

    /// Names of a list: sound, and each once.
    fn names<'t>(&mut self, list: &str, names: impl Iterator<Item = Option<&'t str>>) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, name) in names.enumerate() {
            let path = format!("{list}[{index}].name");
            let Some(name) = self.text(&path, name) else { continue };
            if !is_name(name) {
                self.error(&path, "a name has 1 to 64 letters, digits, `-` and `_`");
            } else if let Some(first) = seen.insert(secret::key_name(name), index) {
                self.error(
                    &path,
                    format!("`{name}` is taken by {list}[{first}] (`-` and `_` count as the same)"),
                );
            }
        }
    }

    /// The secret a section names by `STEM_env` or `STEM_file`; a file's last line end is not part of it.
    fn secret(
        &mut self,
        section: &str,
        stem: &str,
        env: Option<&str>,
        file: Option<&str>,
    ) -> Option<SecretString> {
        let (env_key, file_key) = (format!("{stem}_env"), format!("{stem}_file"));
        if !self.exactly_one(section, &[(&env_key, env.is_some()), (&file_key, file.is_some())]) {
            return None;
        }
        let (path, secret) = match (env, file) {
            (Some(name), _) => {
                let path = format!("{section}.{env_key}");
                let secret = self.variable(&path, name);
                (path, secret)
            }
            (None, name) => {
                let path = format!("{section}.{file_key}");
                let secret = self.secret_file(&path, name?);
                (path, secret)
            }
        };
        let secret = secret?;
        if secret.expose_secret().trim().is_empty() {
            self.error(&path, "names a secret that is empty");
            return None;
        }
        Some(secret)
    }

    fn variable(&mut self, path: &str, name: &str) -> Option<SecretString> {
        let is_sound = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !secret::looks_like_secret(name);
        if !is_sound {
            self.error(path, "is not the name of an environment variable");
            return None;
        }
        // A name in lower case might be a secret typed in its place.
        let shown = if name.bytes().any(|b| b.is_ascii_lowercase()) {
            "the environment variable named here".to_owned()
        } else {
            format!("the environment variable `{name}`")
        };
        let Some(value) = (self.sources.variable)(name) else {
            self.error(path, format!("{shown} is not set"));
            return None;
        };
        self.accept(
            path,
            value.into_string().map(SecretString::from).map_err(|_| format!("{shown} is not text")),
        )
    }

    /// Like [`Check::secret`], for one that operators make up themselves.
    fn own_secret(
        &mut self,
        section: &str,
        stem: &str,
        env: Option<&str>,
        file: Option<&str>,
    ) -> Option<SecretString> {
        let secret = self.secret(section, stem, env, file)?;
        let length = secret.expose_secret().trim().len();
        if length < OWN_SECRET_BYTES_MIN {
            let path = format!("{section}.{stem}_{}", if env.is_some() { "env" } else { "file" });
            let message = "names a secret that can be guessed; `openssl rand -hex 32` makes a better one";
            self.warning(&path, format!("{message} ({length} bytes)"));
        }
        Some(secret)
    }

    fn secret_file(&mut self, path: &str, name: &str) -> Option<SecretString> {
        let file = self.file(path, name)?;
        let bytes = self.read(path, &file)?;
        let secret = self.accept(path, secret::text(&file, bytes))?;
        let text = secret.expose_secret();
        Some(SecretString::from(
            text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)),
        ))
    }

    /// The place of a file the configuration names.
    fn file(&mut self, path: &str, name: &str) -> Option<PathBuf> {
        if secret::looks_like_secret(name) {
            self.error(path, "looks like the secret itself; put it into a file and name that file here");
            return None;
        }
        if name.trim().is_empty() {
            self.error(path, "must name a file");
            return None;
        }
        Some(self.sources.directory.join(name))
    }

    /// What a file holds that the configuration names: with other contents it is another configuration.
    fn read(&mut self, path: &str, file: &Path) -> Option<Vec<u8>> {
        let read = secret::read_bytes(file);
        self.files.insert(file.to_owned(), watch::seen(&read));
        self.accept(path, read)
    }
}

/// What agents, credentials and issuers may be called: safe in keys, metrics and logs.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
