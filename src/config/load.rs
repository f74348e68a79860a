//! Where a configuration comes from: a file, or the environment alone.
//!
//! Start-up, reload and `tollgate check` share [`read`].

use std::env;
use std::ffi::OsString;
use std::path::Path;

use super::document::Document;
use super::problem::{Problem, Problems};
use super::validate::{Sources, Validated, validate};
use super::watch::{self, Contents};
use super::{ApprovalMode, Config, raw};
use crate::policy::Class;
use crate::secret::{self, AgentKey};

const TOKEN: &str = "GITHUB_TOKEN";

/// Without a file these stand for keys of it; the token is the only one that must be set.
const LISTEN: &str = "TOLLGATE_LISTEN";
const ADMIN_LISTEN: &str = "TOLLGATE_ADMIN_LISTEN";
const API_URL: &str = "TOLLGATE_API_URL";

/// The one agent there is without a file.
const AGENT: &str = "agent";

/// Hexadecimal digits of a file's version.
const VERSION_LENGTH: usize = 12;

/// A file as it was read, be it good or bad.
#[derive(Debug)]
pub struct Reading {
    /// The problems beside a [`Config`] are warnings.
    pub outcome: Result<(Config, Problems), Problems>,
    /// Which text it was: the first digits of its SHA-256, as `sha256sum` has them.
    pub version: String,
    /// What it was made of: the file, and those it names as far as they were looked for.
    pub(super) contents: Contents,
}

/// Reads and checks a file; the problems beside a [`Config`] are warnings.
pub fn from_file(path: &Path) -> Result<(Config, Problems), Problems> {
    read(path).outcome
}

/// Reads and checks a file, or what comes from a pipe.
pub(super) fn read(path: &Path) -> Reading {
    made_of(path, secret::read_any(path), false)
}

/// Checks what was read of a file, at the start or for a tollgate that runs.
pub(super) fn made_of(path: &Path, read: Result<Vec<u8>, String>, is_running: bool) -> Reading {
    let content = watch::seen(&read);
    let version = secret::hex(&content)[..VERSION_LENGTH].to_owned();
    let directory = path.parent().unwrap_or(Path::new(""));
    let (outcome, mut contents) = match text_of(path, read) {
        Ok(text) => check(&text, &Sources { directory, variable: &|name| env::var_os(name), is_running }),
        Err(problem) => (Err(problem.into()), Contents::new()),
    };
    contents.insert(path.to_owned(), content);
    Reading { outcome, version, contents }
}

fn text_of(path: &Path, read: Result<Vec<u8>, String>) -> Result<String, Problem> {
    let problem = |message: &str| Problem::error(path.display().to_string(), None, message);
    let named = format!("`{}` ", path.display());
    let bytes = read.map_err(|why| problem(why.strip_prefix(&named).unwrap_or(&why)))?;
    String::from_utf8(bytes).map_err(|_| problem("is not text (UTF-8)"))
}

/// What runs without a file: the token of `GITHUB_TOKEN`, and one agent whose key is made here.
///
/// It may read and write everywhere the token may, and nothing that waits for an approval.
pub fn from_environment() -> Result<(Config, AgentKey), Problems> {
    from_variables(&|name| env::var_os(name))
}

/// The way of a file's text to a configuration; what it names is looked up in `sources`, and nowhere else.
///
/// # Errors
/// With everything that is wrong.
pub fn from_text(text: &str, sources: &Sources<'_>) -> Result<(Config, Problems), Problems> {
    check(text, sources).0
}

/// And what the files hold that the text names.
fn check(text: &str, sources: &Sources<'_>) -> (Result<(Config, Problems), Problems>, Contents) {
    let mut document = match Document::parse(text) {
        Ok(document) => document,
        Err(problem) => return (Err(problem.into()), Contents::new()),
    };
    let mut problems = Problems::default();
    let file: raw::File = document.read(&mut problems);
    let Validated { config, problems, files } = validate(&file, &document, sources, problems);
    match config {
        Some(config) => (Ok((config, problems)), files),
        None => (Err(problems), files),
    }
}

fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<(Config, AgentKey), Problems> {
    if variable(TOKEN).is_none() {
        let message = "is not set. Either set it to a token of GitHub's (GITHUB_TOKEN=… tollgate serve), \
                       or name a configuration file (tollgate serve --config FILE)";
        return Err(Problem::error(TOKEN, None, message).into());
    }
    let key = AgentKey::generate(AGENT);
    let file = file_of_variables(variable, &key);
    let sources = Sources { directory: Path::new(""), variable, is_running: false };
    let Validated { config, mut problems, .. } =
        validate(&file, &Document::default(), &sources, Problems::default());
    let Some(mut config) = config else {
        problems.rename_paths(|path| variable_of(path).to_owned());
        return Err(problems);
    };
    // Without an issuer no approval is taken, so every gated class stays refused.
    config.policy.approval_mode = ApprovalMode::Signed;
    Ok((config, key))
}

/// The file that says what the variables say.
fn file_of_variables(variable: &dyn Fn(&str) -> Option<OsString>, key: &AgentKey) -> raw::File {
    let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
    let mut file = raw::File::default();
    for (value, place) in [
        (text(LISTEN), &mut file.server.listen),
        (text(ADMIN_LISTEN), &mut file.server.admin_listen),
        (text(API_URL), &mut file.upstream.api_url),
    ] {
        if let Some(value) = value {
            *place = value;
        }
    }
    let name = Some("github-token".to_owned());
    file.tokens.push(raw::PersonalToken { name, token_env: Some(TOKEN.to_owned()), token_file: None });
    file.policy.approval.mode = Some(ApprovalMode::Presence);
    file.agents.push(raw::Agent {
        name: Some(AGENT.to_owned()),
        key_sha256: raw::KeyHashes(vec![secret::hex(&key.sha256())]),
        repositories: vec!["*".to_owned()],
        allow: Some(vec![Class::Read, Class::Write]),
        ..raw::Agent::default()
    });
    file
}

/// The variable that a key of the file is read from.
fn variable_of(path: &str) -> &str {
    match path {
        "server.listen" => LISTEN,
        "server.admin_listen" => ADMIN_LISTEN,
        "upstream.api_url" => API_URL,
        path if path.starts_with("tokens") => TOKEN,
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn runs_on_a_token_alone() {
        let (config, key) = from_variables(&variables(&[("GITHUB_TOKEN", "ghp_example")])).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:9090");
        assert_eq!(config.upstream.api_url, "https://api.github.com");
        assert_eq!(config.tokens[0].name, "github-token");
        let agent = &config.agents[0];
        assert_eq!((agent.name.as_str(), agent.key_sha256.as_slice()), ("agent", [key.sha256()].as_slice()));
        assert!(agent.repositories.is_everything());
        assert_eq!(agent.allow, [Class::Read, Class::Write]);
        assert_eq!(agent.require_approval, [Class::Merge]);
        assert_eq!(config.policy.approval_mode, ApprovalMode::Signed);
        assert!(!format!("{config:?}").contains("ghp_example"));
    }

    #[test]
    fn tells_both_ways_to_start() {
        let error = from_variables(&variables(&[])).unwrap_err().to_string();
        assert!(error.starts_with("GITHUB_TOKEN: is not set"), "{error}");
        assert!(
            error.contains("GITHUB_TOKEN=… tollgate serve") && error.contains("--config FILE"),
            "{error}"
        );
    }

    #[test]
    fn names_the_variable_that_is_wrong() {
        let set = [
            ("GITHUB_TOKEN", "ghp example"),
            ("TOLLGATE_LISTEN", "nowhere"),
            ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1"),
            ("TOLLGATE_API_URL", "https://u:secret@host"),
        ];
        let problems = from_variables(&variables(&set)).unwrap_err();
        let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["GITHUB_TOKEN", "TOLLGATE_ADMIN_LISTEN", "TOLLGATE_API_URL", "TOLLGATE_LISTEN"]);
        assert!(!problems.to_string().contains("example") && !problems.to_string().contains("secret"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = from_file(Path::new("/nonexistent/tollgate.yaml")).unwrap_err().to_string();
        assert_eq!(error, "/nonexistent/tollgate.yaml: can't be read: it does not exist");
    }
}
