//! Installation tokens: minted for a set of permissions and repositories, shared, renewed in time.
//!
//! Source: GitHub Docs, "Generating an installation access token for a GitHub App": a token lives an hour and can
//! be narrowed to permissions and to at most 500 repositories. It is opaque and may be some 600 characters long.
//! A token is never sent past its expiry. It is renewed five to six minutes earlier, at random, by one caller
//! while the others keep using the old one.

mod permissions;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use http::header::HeaderValue;
use http::{Method, StatusCode};
use jiff::Timestamp;
use moka::sync::Cache;
use parking_lot::Mutex;
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::apps::{App, AppError};
use super::installations::{AppInstallation, Installation, Kind};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::status::TokenStatus;
use permissions::{beyond_granted, permissions_for};

pub use permissions::may_as_much;

/// How long before its expiry a token is renewed.
const RENEW_BEFORE_MS: i64 = 5 * 60_000;
/// Up to this much earlier, at random, so that a fleet's tokens do not all expire at once.
const RENEW_JITTER_MS: i64 = 60_000;
/// A token is not used this close to its expiry: the request still has to arrive.
const LAST_USE_BEFORE_MS: i64 = 10_000;
/// How long after a failed renewal the next one waits.
const RETRY_AFTER_MS: i64 = 5_000;
/// A token younger than this may not be known everywhere at GitHub yet.
const YOUNG_MS: i64 = 15_000;
/// Token slots kept; the least used are dropped first.
const SLOTS_MAX: u64 = 10_000;
/// Most repositories that GitHub accepts for one token.
pub const REPOSITORIES_MAX: usize = 500;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    Write,
}

impl Access {
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }

    /// The App's key in the configuration.
    fn setting(self) -> &'static str {
        match self {
            Access::Read => "read_permissions",
            Access::Write => "write_permissions",
        }
    }
}

/// Identifies a token: agents with the same rights share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    /// The App's serial.
    app: u64,
    installation: Arc<str>,
    access: Access,
    /// Sorted names without owner; `None`: all of the installation's repositories.
    repositories: Option<Vec<String>>,
}

/// A credential, ready to be sent.
#[derive(Debug)]
pub struct Token {
    /// `Bearer …`, marked sensitive so that no debug output shows it.
    authorization: HeaderValue,
    /// Identifies the token without revealing anything about it.
    id: u64,
    minted_at_ms: i64,
    renew_at_ms: i64,
    expires_at_ms: i64,
    /// Set once GitHub has answered a call with this token with anything but 401 or 404.
    proven: AtomicBool,
}

impl Token {
    /// A personal access token, which is never renewed.
    pub(super) fn personal(secret: &SecretString) -> Token {
        let authorization = bearer(secret).expect("a configured token is checked at start");
        Token {
            id: id_of(&authorization),
            authorization,
            minted_at_ms: 0,
            renew_at_ms: i64::MAX,
            expires_at_ms: i64::MAX,
            proven: AtomicBool::new(true),
        }
    }

    pub fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// The same for the same token as long as this process lives; useless to anyone else.
    pub fn id(&self) -> u64 {
        self.id
    }

    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Token {
        Token::personal(&SecretString::from(text))
    }

    /// Whether a 401 or 404 may only mean that the token has not spread within GitHub yet.
    pub fn may_be_unknown_yet(&self, now_ms: i64) -> bool {
        !self.proven.load(Ordering::Relaxed) && now_ms - self.minted_at_ms < YOUNG_MS
    }

    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
}

/// The slot of one token: the token in use, and the lock for renewing it.
#[derive(Debug, Default)]
struct Slot {
    current: Mutex<Option<Arc<Token>>>,
    minting: tokio::sync::Mutex<()>,
    not_before_ms: AtomicI64,
    last_error: Mutex<Option<Arc<AppError>>>,
}

impl Slot {
    fn current(&self) -> Option<Arc<Token>> {
        self.current.lock().clone()
    }

    fn set(&self, token: Option<Arc<Token>>) {
        *self.current.lock() = token;
    }

    fn last_error(&self) -> Option<Arc<AppError>> {
        self.last_error.lock().clone()
    }
}

/// Mints, shares and renews tokens.
#[derive(Debug)]
pub struct Tokens {
    slots: Cache<TokenKey, Arc<Slot>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

#[derive(Deserialize)]
struct Minted {
    token: SecretString,
    expires_at: Timestamp,
}

impl Tokens {
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Tokens {
        Tokens { slots: Cache::new(SLOTS_MAX), clock, metrics }
    }

    /// A token of the installation for this access, narrowed to `repositories` unless that is `None`.
    pub async fn token(
        self: &Arc<Self>,
        installation: &Arc<Installation>,
        access: Access,
        repositories: Option<Vec<String>>,
    ) -> Result<Arc<Token>, Arc<AppError>> {
        let app_installation = match &installation.kind {
            Kind::Personal(token) => return Ok(Arc::clone(token)),
            Kind::App(app_installation) => app_installation,
        };
        let key = key(app_installation, &installation.label, access, repositories);
        let slot = self.slots.get_with_by_ref(&key, Arc::default);
        let now = self.clock.now_ms();
        if let Some(token) = slot.current() {
            if now < token.renew_at_ms {
                return Ok(token);
            }
            if now < token.expires_at_ms - LAST_USE_BEFORE_MS {
                self.renew_behind(installation, key, &slot, now);
                return Ok(token);
            }
        }
        // Boxed to keep every caller's future small.
        Box::pin(self.mint_alone(&slot, app_installation, &key)).await
    }

    /// Mints a token, unless another caller just did, or just failed to.
    async fn mint_alone(
        &self,
        slot: &Slot,
        installation: &AppInstallation,
        key: &TokenKey,
    ) -> Result<Arc<Token>, Arc<AppError>> {
        let _one_at_a_time = slot.minting.lock().await;
        let now = self.clock.now_ms();
        if let Some(token) = slot.current().filter(|token| now < token.renew_at_ms) {
            return Ok(token);
        }
        if now < slot.not_before_ms.load(Ordering::Relaxed)
            && let Some(error) = slot.last_error()
        {
            return Err(error);
        }
        self.mint_into(slot, installation, key).await
    }

    /// The tokens in use, by installation and access. Personal tokens are not listed.
    pub fn overview(&self) -> Vec<TokenStatus> {
        let now = self.clock.now_ms();
        let mut rows = BTreeMap::<(Arc<str>, &str), TokenStatus>::new();
        for (key, slot) in &self.slots {
            let is_failing = now < slot.not_before_ms.load(Ordering::Relaxed);
            let token = slot.current().filter(|token| now < token.expires_at_ms);
            if token.is_none() && !is_failing {
                continue;
            }
            let place = (Arc::clone(&key.installation), key.access.as_str());
            let row = rows.entry(place).or_insert_with(|| TokenStatus {
                installation: key.installation.to_string(),
                access: key.access.as_str().to_owned(),
                count: 0,
                oldest_age_seconds: 0,
                first_expiry_in_seconds: 0,
                is_failing: false,
            });
            row.is_failing |= is_failing;
            if let Some(token) = token {
                let ends_in = (token.expires_at_ms - now) / 1000;
                row.first_expiry_in_seconds =
                    if row.count == 0 { ends_in } else { row.first_expiry_in_seconds.min(ends_in) };
                row.oldest_age_seconds = row.oldest_age_seconds.max((now - token.minted_at_ms) / 1000);
                row.count += 1;
            }
        }
        rows.into_values().collect()
    }

    /// Drops a token that GitHub refused, so that the next call mints another.
    pub fn invalidate(
        &self,
        installation: &Installation,
        access: Access,
        repositories: Option<Vec<String>>,
        refused: &Arc<Token>,
    ) {
        let Kind::App(app_installation) = &installation.kind else { return };
        let key = key(app_installation, &installation.label, access, repositories);
        if let Some(slot) = self.slots.get(&key)
            && slot.current().is_some_and(|current| Arc::ptr_eq(&current, refused))
        {
            slot.set(None);
        }
    }

    /// Forgets all tokens of installations on an account. A token being minted still serves the call that asked
    /// for it, but no later one.
    pub fn forget(&self, account: &str) {
        let is_of = |key: &TokenKey| {
            let of = key.installation.split_once('/');
            of.is_some_and(|(_, of)| of.eq_ignore_ascii_case(account))
        };
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).filter(|key| is_of(key)).collect();
        for key in keys {
            self.slots.invalidate(&*key);
        }
    }

    /// Forgets the tokens of all Apps but these.
    pub fn keep(&self, apps: &[Arc<App>]) {
        let is_kept = |key: &TokenKey| apps.iter().any(|app| app.serial == key.app);
        let others: Vec<_> = self.slots.iter().map(|(key, _)| key).filter(|key| !is_kept(key)).collect();
        for key in others {
            self.slots.invalidate(&*key);
        }
    }

    /// Renews in the background unless a renewal is under way.
    fn renew_behind(
        self: &Arc<Self>,
        installation: &Arc<Installation>,
        key: TokenKey,
        slot: &Arc<Slot>,
        now_ms: i64,
    ) {
        if now_ms < slot.not_before_ms.load(Ordering::Relaxed) || slot.minting.try_lock().is_err() {
            return;
        }
        let (tokens, installation, slot) = (Arc::clone(self), Arc::clone(installation), Arc::clone(slot));
        tokio::spawn(async move {
            let Ok(_one_at_a_time) = slot.minting.try_lock() else { return };
            if let Kind::App(app_installation) = &installation.kind {
                // The old token stays in use until it expires; the failure is counted and logged.
                let _ = tokens.mint_into(&slot, app_installation, &key).await;
            }
        });
    }

    async fn mint_into(
        &self,
        slot: &Slot,
        installation: &AppInstallation,
        key: &TokenKey,
    ) -> Result<Arc<Token>, Arc<AppError>> {
        let minted = mint(installation, key).await;
        let now = self.clock.now_ms();
        let outcome = match &minted {
            Ok(_) => "ok",
            Err(error) if key.repositories.is_some() && error.is_about_a_name() => "unknown_repository",
            Err(_) => "failed",
        };
        self.metrics.token_refresh.with_label_values(&[&*key.installation, outcome]).inc();
        match minted {
            Ok(minted) => {
                let token = Arc::new(token_from(&minted, now).map_err(Arc::new)?);
                self.metrics
                    .token_expiry
                    .with_label_values(&[&*key.installation, key.access.as_str()])
                    .set(token.expires_at_ms / 1000);
                slot.set(Some(Arc::clone(&token)));
                Ok(token)
            }
            Err(error) => {
                let (installation, access) = (&*key.installation, key.access.as_str());
                if outcome == "unknown_repository" {
                    let repositories = key.repositories.as_deref().unwrap_or_default().join(", ");
                    tracing::warn!(installation, access, repositories, %error,
                        "no token for all of these: one does not exist, or the App does not cover it");
                } else {
                    tracing::warn!(installation, access, %error, "no new token; one in use is kept to its end");
                }
                let error = Arc::new(error);
                slot.not_before_ms.store(now + RETRY_AFTER_MS, Ordering::Relaxed);
                *slot.last_error.lock() = Some(Arc::clone(&error));
                Err(error)
            }
        }
    }
}

fn key(
    of: &AppInstallation,
    label: &Arc<str>,
    access: Access,
    repositories: Option<Vec<String>>,
) -> TokenKey {
    TokenKey { app: of.app.serial, installation: Arc::clone(label), access, repositories }
}

async fn mint(installation: &AppInstallation, key: &TokenKey) -> Result<Minted, AppError> {
    let permissions = permissions_for(installation, key.access);
    let mut body = json!({ "permissions": permissions });
    if let Some(repositories) = &key.repositories {
        body["repositories"] = json!(repositories);
    }
    let path = format!("/app/installations/{}/access_tokens", installation.id);
    let (status, answer) = installation.app.call(Method::POST, &path, Some(&body)).await?;
    let what = "the request for an installation token";
    if status != StatusCode::CREATED && status != StatusCode::OK {
        let refused = AppError::refused(status, what, &answer);
        let names = beyond_granted(installation, key.access);
        return Err(match refused.is_about_permissions() && !names.is_empty() {
            true => AppError::NotGranted { setting: key.access.setting(), names: names.join(", ") },
            false => refused,
        });
    }
    // serde_json's errors quote values, and a value here may be the token.
    serde_json::from_slice(&answer)
        .map_err(|error| AppError::Garbled(what, format!("{:?}", error.classify())))
}

fn token_from(minted: &Minted, now_ms: i64) -> Result<Token, AppError> {
    let garbled = || AppError::Garbled("the request for an installation token", "no usable token".to_owned());
    let expires_at_ms = minted.expires_at.as_millisecond();
    let jitter = rand::rng().random_range(0..=RENEW_JITTER_MS);
    // A short-lived token (from a test server) is renewed after half its life.
    let renew_at_ms = (expires_at_ms - RENEW_BEFORE_MS - jitter).max(now_ms + (expires_at_ms - now_ms) / 2);
    let authorization = bearer(&minted.token).ok_or_else(garbled)?;
    Ok(Token {
        id: id_of(&authorization),
        authorization,
        minted_at_ms: now_ms,
        renew_at_ms,
        expires_at_ms,
        proven: AtomicBool::new(false),
    })
}

/// A hash with a key that only this process has.
fn id_of(authorization: &HeaderValue) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(authorization.as_bytes())
}

fn bearer(secret: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_lies_well_before_expiry() {
        let now = 1_700_000_000_000;
        for (life_ms, earliest, latest) in
            [(3_600_000, 54 * 60_000, 55 * 60_000), (60_000, 30_000, 30_000), (600_000, 300_000, 300_000)]
        {
            let expires_at = Timestamp::from_millisecond(now + life_ms).unwrap();
            let minted = Minted { token: "ghs_x".to_owned().into(), expires_at };
            let token = token_from(&minted, now).unwrap();
            let after = token.renew_at_ms - now;
            assert!((earliest..=latest).contains(&after), "{life_ms}: renewed after {after}");
        }
    }

    #[test]
    fn a_young_token_is_doubted_until_it_worked() {
        let minted = Minted {
            token: "ghs_x".to_owned().into(),
            expires_at: Timestamp::from_millisecond(3_600_000).unwrap(),
        };
        let token = token_from(&minted, 0).unwrap();
        assert!(token.may_be_unknown_yet(5_000) && !token.may_be_unknown_yet(60_000));
        token.prove();
        assert!(!token.may_be_unknown_yet(5_000));
        assert!(!format!("{token:?}").contains("ghs_x"));
    }
}
