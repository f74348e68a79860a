//! Secrets: agents' keys, and values read from a file or an environment variable into types that don't print.
//!
//! A message about a secret names the file or the variable, never its contents. A name that looks like the secret
//! itself (typed in place of the name) isn't repeated either.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use memchr::memmem::Finder;
use rand::distr::{Alphanumeric, SampleString};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// 43 alphanumeric characters carry 256 bits.
const KEY_SECRET_LENGTH: usize = 43;

/// 1 MiB; no key, token or certificate bundle is longer.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// A newly generated agent key; tollgate keeps only its SHA-256.
pub struct AgentKey {
    key: SecretString,
}

impl AgentKey {
    /// `tg_NAME_SECRET`; the secret is 256 bits from the operating system's random source.
    pub fn generate(agent: &str) -> AgentKey {
        let secret = Alphanumeric.sample_string(&mut UnwrapErr(SysRng), KEY_SECRET_LENGTH);
        AgentKey { key: SecretString::from(format!("tg_{}_{secret}", key_name(agent))) }
    }

    /// The key itself, to be shown once.
    pub fn expose(&self) -> &str {
        self.key.expose_secret()
    }

    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentKey([redacted])")
    }
}

/// An agent's name as its keys spell it: keys consist of letters, digits and `_`.
pub fn key_name(agent: &str) -> String {
    agent.replace('-', "_")
}

/// Whether a text bound for GitHub contains what looks like an agent's credential: its key, or a signed token. A
/// client that puts its credential in the wrong place would otherwise leak it.
pub fn holds_credential(text: &[u8]) -> bool {
    holds_agent_key(text) || holds_signed_token(text)
}

/// Built once, because every request's headers are searched.
static PAYLOAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b".eyJ"));
static AGENT_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"tg_"));

/// Looks for three base64url parts, the first two starting like a JSON object. No GitHub API call takes such a
/// token outside of `Authorization`.
fn holds_signed_token(text: &[u8]) -> bool {
    const PART_BYTES_MIN: usize = 12;
    let is_part_byte = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_');
    let part_of = |text: &[u8]| text.iter().take_while(is_part_byte).count();
    PAYLOAD.find_iter(text).any(|at| {
        let payload = &text[at + 1..];
        let (payload, signature) = payload.split_at(part_of(payload));
        let start = text[..at].iter().rposition(|byte| !is_part_byte(&byte)).map_or(0, |at| at + 1);
        let header = &text[start..at];
        header.len() >= PART_BYTES_MIN
            && memchr::memmem::find(header, b"eyJ").is_some()
            && payload.len() >= PART_BYTES_MIN
            && signature.first() == Some(&b'.')
            && part_of(&signature[1..]) >= PART_BYTES_MIN
    })
}

/// Looks for `tg_NAME_SECRET`.
fn holds_agent_key(text: &[u8]) -> bool {
    let is_key_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut rest = text;
    while let Some(at) = AGENT_KEY.find(rest) {
        let behind = &rest[at + 3..];
        let end = behind.iter().position(|byte| !is_key_byte(*byte)).unwrap_or(behind.len());
        // The first `tg_` of such a run has the longest name, so the later ones need no check.
        let (run, behind) = behind.split_at(end);
        let secret = run.rsplit(|byte| *byte == b'_').next().unwrap_or_default();
        if secret.len() >= 32 && secret.len() < run.len() {
            return true;
        }
        rest = behind;
    }
    false
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Reads a SHA-256 written as 64 hex digits of either case.
pub fn sha256_from_hex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The text of a secret file as it is, including line endings.
pub fn read_file(path: &Path) -> Result<SecretString, String> {
    text(path, read_bytes(path)?)
}

/// A file's bytes as text; `path` is for the error message.
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<SecretString, String> {
    let text = String::from_utf8(bytes).map_err(|_| format!("`{}` is not text", path.display()))?;
    Ok(SecretString::from(text))
}

/// Reads a file of keys or certificates, at most 1 MiB. Refuses what could block the reader, such as a pipe.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
            Err(format!("`{}` is no plain file", path.display()))
        }
        _ => read_any(path),
    }
}

/// Like [`read_bytes`], but also reads from a pipe.
pub fn read_any(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| format!("`{}` can't be read: {}", path.display(), reason(&error));
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(format!("`{}` is a directory", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("`{}` is longer than 1 MiB", path.display()));
    }
    Ok(bytes)
}

/// Why the operating system refused, worded without an error number where possible.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads an App's private key from its PEM text; the error says what is wrong, never what the text holds.
///
/// Signs once with the key, because reading the PEM alone does not show whether its numbers form a key.
pub fn app_key(pem: &SecretString) -> Result<EncodingKey, String> {
    let pem = pem.expose_secret();
    if let Some(what) = not_a_private_rsa_key(pem) {
        return Err(format!("{what}; GitHub gives an RSA private key (PEM)"));
    }
    let key = EncodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|_| "is no RSA private key: its PEM block is damaged or of another kind".to_owned())?;
    let probe = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &serde_json::json!({}), &key);
    probe
        .map(|_| key)
        .map_err(|_| "is no usable RSA private key (damaged, or shorter than 2048 bits)".to_owned())
}

/// What is wrong with a PEM text, as far as its label shows.
fn not_a_private_rsa_key(pem: &str) -> Option<&'static str> {
    if pem.trim().is_empty() {
        return Some("is empty");
    }
    let Some((_, label)) = pem.split_once("-----BEGIN ") else { return Some("is not PEM") };
    let label = label.split("-----").next().unwrap_or_default();
    match label {
        "RSA PRIVATE KEY" if pem.contains("Proc-Type: 4,ENCRYPTED") => Some("is encrypted"),
        "RSA PRIVATE KEY" | "PRIVATE KEY" => None,
        "ENCRYPTED PRIVATE KEY" => Some("is encrypted"),
        "EC PRIVATE KEY" => Some("is an EC key"),
        "OPENSSH PRIVATE KEY" => Some("is an OpenSSH key"),
        "CERTIFICATE" => Some("is a certificate"),
        label if label.ends_with("PUBLIC KEY") => Some("is a public key"),
        _ => Some("is no private key"),
    }
}

/// Whether text given where a file or variable name belongs looks like the secret itself.
pub(crate) fn looks_like_secret(text: &str) -> bool {
    const PREFIXES: [&str; 8] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "tg_", "-----BEGIN"];
    PREFIXES.iter().any(|prefix| text.trim_start().starts_with(prefix)) || text.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_key_in_the_wrong_place() {
        let key = AgentKey::generate("code-reviewer");
        for text in [key.expose().to_owned(), format!("agent/1.0 ({})", key.expose())] {
            assert!(holds_credential(text.as_bytes()), "{text}");
        }
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIn0.c2lnbmF0dXJlc2ln";
        for text in [token.to_owned(), format!("x={token}&y"), format!("agent/1.0 ({token})")] {
            assert!(holds_credential(text.as_bytes()), "{text}");
        }
        let key = "tg_a_0123456789abcdefghijklmnopqrstuv";
        for text in [format!("tg_ tg_x {key}"), format!("tg_tg_{key}"), format!("{}{key} ", "tg_".repeat(9))]
        {
            assert!(holds_credential(text.as_bytes()), "{text}");
        }
        for text in
            ["a.eyJ.b", "eyJhbGciOiJFUzI1NiJ9", "x.eyJpc3MiOiJpIn0", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIn0."]
        {
            assert!(!holds_credential(text.as_bytes()), "{text}");
        }
        for text in ["", "tg_", "tg_a_b", "PyGithub/Python", "tg_notakeyatall12345678901234567890"] {
            assert!(!holds_credential(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn makes_keys_that_differ_and_do_not_print() {
        let key = AgentKey::generate("code-reviewer");
        let secret = key.expose().strip_prefix("tg_code_reviewer_").unwrap();
        assert_eq!(secret.len(), 43);
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(key.expose(), AgentKey::generate("code-reviewer").expose());
        assert!(!format!("{key:?}").contains(secret));
        let hash = hex(&key.sha256());
        assert_eq!(sha256_from_hex(&hash.to_uppercase()), Some(key.sha256()));
        assert_eq!(hash, hex(&Sha256::digest(key.expose())));
    }

    #[test]
    fn reads_only_full_hashes() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(sha256_from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_a_file() {
        let directory = std::env::temp_dir();
        let error = read_file(&directory).unwrap_err();
        assert!(error.contains("is a directory"), "{error}");
        let error = read_file(&directory.join("tollgate-none")).unwrap_err();
        assert!(error.contains("tollgate-none` can't be read: it does not exist"), "{error}");
    }

    #[test]
    fn knows_secrets_in_the_wrong_place() {
        assert!(looks_like_secret("ghp_abc"));
        assert!(looks_like_secret("-----BEGIN RSA PRIVATE KEY-----"));
        assert!(looks_like_secret("a\nb"));
        assert!(!looks_like_secret("secrets/app.pem"));
    }
}
