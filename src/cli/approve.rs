//! `tollgate approve`: sign an approval, and print the value of its header.
//!
//! What is signed is shown first, on standard error, so that the value alone stands on standard output.
//! A refusal travels through the agent it refused, so nothing in it is believed: the hash is computed
//! again from the request that is shown, and a refusal whose claims are not those of that request is not
//! signed.

mod refusal;

mod show;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::policy::approval::{Base, Binding, Requirement, is_commit};
use crate::policy::repositories::RepositoryName;
use crate::secret;

/// No approval may live longer, whatever the configuration says.
const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest refusal read from standard input.
const REFUSAL_BYTES_MAX: u64 = 4 << 20;

/// Sign an approval and print the value of its header.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["from", "pull"])))]
pub struct ApproveArgs {
    /// The approver's private key (PEM: Ed25519, P-256 or RSA), or the shared secret of an HS256 issuer.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The issuer's name in tollgate's configuration. Default: the key file's name up to the first dot.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Who approves, for the audit log. Default: the user of this machine.
    #[arg(long, value_name = "WHO")]
    sub: Option<String>,
    /// How long the approval lives, such as 15m.
    #[arg(long, default_value = "15m", value_name = "DURATION", value_parser = lifetime)]
    expires: Duration,
    /// The repository of the pull request.
    #[arg(long, value_name = "OWNER/NAME", requires = "pull")]
    repo: Option<String>,
    /// The pull request that may be merged.
    #[arg(long, value_name = "NUMBER", requires_all = ["repo", "sha"], value_parser = clap::value_parser!(u64).range(1..))]
    pull: Option<u64>,
    /// The commit that was reviewed, all of its 40 (or 64) digits.
    #[arg(long, value_name = "SHA", requires = "pull")]
    sha: Option<String>,
    /// The branch that was reviewed for: the approval is worth nothing once the pull request is into another one.
    #[arg(long, value_name = "BRANCH", requires = "pull", value_parser = branch)]
    base: Option<String>,
    /// Approve exactly what was refused: the body of tollgate's refusal, as it came (`-`: standard input).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repo", "sha", "base"])]
    from: Option<PathBuf>,
    /// The body of the refused request, where it was too long to be in the refusal.
    #[arg(long, value_name = "FILE", requires = "from")]
    body_file: Option<PathBuf>,
}

pub fn run(args: &ApproveArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    crate::app::install_crypto();
    let (algorithm, key) = signing_key(&args.key_file)?;
    let issuer = issuer(args)?;
    let mut claims = match &args.from {
        Some(path) => from_refusal(path, args.body_file.as_deref(), err)?,
        None => of_pull(args, err)?,
    };
    let who = args.sub.as_deref().map_or_else(user, named).context("--sub: say who approves")?;
    writeln!(err, "  approved by  {} for {}", show::safe(&who), show::safe(&issuer))?;
    writeln!(err, "  good for     {} minutes, once", args.expires.as_secs().div_ceil(60))?;
    if args.from.as_deref().is_some_and(|path| path != Path::new("-")) && !is_confirmed(err)? {
        writeln!(err, "Nothing was signed.")?;
        return Ok(ExitCode::FAILURE);
    }
    let now = SystemClock.now_seconds();
    let expires = now.saturating_add_unsigned(args.expires.as_secs());
    let jti = format!("{:032x}", rand::random::<u128>());
    for (claim, value) in [
        ("iss", json!(issuer)),
        ("sub", json!(who)),
        ("iat", json!(now)),
        ("exp", json!(expires)),
        ("jti", json!(jti)),
    ] {
        claims[claim] = value;
    }
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key)
        .with_context(|| format!("--key-file: `{}` can't sign", args.key_file.display()))?;
    writeln!(out, "{token}")?;
    Ok(ExitCode::SUCCESS)
}

/// Who runs this: `USER`, or what the system says where that is not set or empty, as in a container.
fn user() -> Option<String> {
    if let Some(user) = std::env::var("USER").ok().as_deref().and_then(named) {
        return Some(user);
    }
    let output = std::process::Command::new("id").arg("-un").output().ok()?;
    named(&String::from_utf8_lossy(&output.stdout)).filter(|_| output.status.success())
}

fn named(who: &str) -> Option<String> {
    Some(who.trim()).filter(|who| !who.is_empty()).map(str::to_owned)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "expected a duration such as 15m".to_owned())?;
    let lifetime = Duration::try_from(span).unwrap_or_default();
    if lifetime < Duration::from_secs(1) || lifetime > EXPIRES_MAX {
        return Err("must be between 1s and 24h".to_owned());
    }
    Ok(lifetime)
}

fn branch(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with("refs/") {
        true => Err("expected the branch's name as GitHub shows it, such as main".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn issuer(args: &ApproveArgs) -> anyhow::Result<String> {
    let name = match &args.issuer {
        Some(name) => name.clone(),
        None => {
            let file = args.key_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.split('.').next().unwrap_or_default().to_owned()
        }
    };
    if !crate::config::is_name(&name) {
        bail!("--issuer: say the name that tollgate's configuration gives this approver");
    }
    Ok(name)
}

/// The key says which algorithm: an approver has one.
fn signing_key(path: &Path) -> anyhow::Result<(Algorithm, EncodingKey)> {
    let wrong = |what: &str| anyhow::anyhow!("--key-file: `{}` {what}", path.display());
    let bytes = secret::read_any(path).map_err(|error| anyhow::anyhow!("--key-file: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains("-----BEGIN ") {
        let secret = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
        if secret.len() < 32 {
            return Err(wrong("is neither a private key (PEM) nor a secret of at least 32 bytes"));
        }
        return Ok((Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())));
    }
    if text.contains("ENCRYPTED") {
        return Err(wrong("is encrypted; decrypt it with `openssl pkey -in FILE -out KEY`"));
    }
    if !text.contains("PRIVATE KEY-----") {
        return Err(wrong("is no private key; the public half stays with tollgate"));
    }
    let kinds = [
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(&bytes)),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(&bytes)),
        (Algorithm::ES256, EncodingKey::from_ec_pem(&bytes)),
    ];
    let found = kinds.into_iter().find_map(|(algorithm, key)| {
        let key = key.ok()?;
        jsonwebtoken::crypto::sign(b"probe", &key, algorithm).ok().map(|_| (algorithm, key))
    });
    found.ok_or_else(|| wrong("is no private key of Ed25519, P-256 or RSA (PEM; P-256 as PKCS#8: `openssl pkcs8 -topk8 -nocrypt`)"))
}

fn of_pull(args: &ApproveArgs, err: &mut dyn Write) -> anyhow::Result<Value> {
    let (Some(repo), Some(number), Some(sha)) = (&args.repo, args.pull, &args.sha) else {
        bail!("--repo, --pull and --sha belong together");
    };
    let repository = RepositoryName::parse(repo).context("--repo: expected OWNER/NAME")?;
    let sha = sha.to_ascii_lowercase();
    if !is_commit(&sha) {
        bail!(
            "--sha: expected all digits of the commit that was reviewed (`git rev-parse HEAD` prints them)"
        );
    }
    let binding = Binding::Pull {
        number,
        head_sha: Some(sha),
        base: args.base.as_deref().map(Base::named),
        stack: Vec::new(),
    };
    let required = Requirement { repository: Some(repository), action: "merge", binding };
    show::requirement(&required, err)?;
    Ok(required.claims())
}

fn from_refusal(path: &Path, body: Option<&Path>, err: &mut dyn Write) -> anyhow::Result<Value> {
    let text = read(path).context("--from")?;
    let body = body.map(read).transpose().context("--body-file")?;
    let refused = refusal::read(&text, body.as_deref()).context("--from")?;
    show::requirement(&refused.required, err)?;
    if let Some(request) = &refused.request {
        show::request(request, err)?;
    }
    Ok(refused.required.claims())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(REFUSAL_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))?;
    }
    Ok(bytes)
}

/// At a terminal a person says yes; a script has said so by calling.
fn is_confirmed(err: &mut dyn Write) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(err, "Sign it? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
