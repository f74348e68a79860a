//! Rules as a table: a file, and the one problem it has, with path and line.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::load::from_text;
use crate::config::{
    ApprovalMode, OnStoreLoss, PrivateKey, RedisAddress, RedisPlace, Retry, Secondary, Store,
};
use crate::policy::Class;

mod properties;

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/github-sim/keys");
const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tollgate.example.yaml"));

const ED25519: &str = "MCowBQYDK2VwAyEAWerBXFcV667f0da8CsA2MM471IkukTB9Vsj2PAIeHUw=";
const RSA_1024_PUBLIC: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC8agYx/B6px3JHqT4qvKm2gy+/
YiS+2hk3vwQHdPRUNiGixAvZBA+uhqOSxgfaEb0ReUNpPwAJVNekP1PUtv+EU7TM
TmpH0ZJeNE5MSCL62FrsTvS1VVSOhJSiztRiAMWV+Y/6oqVWs3XhQCHkgC9pdV5l
FfPBgUCnShBczPSuGwIDAQAB";
const P256_PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEihmkulCEuBvp210Kh02+zR0nBwUz
9mw2Qy6AC02JRlyIbFy7uGRz1o+9LwYyKrXsio5UCbF9ZYxu78v2tbhxCg==";
const P384_PUBLIC: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE95zmBm5LWCk9cqCgnc5tumNpKYASk1e+
X4sfzDReitvV3K8u6eoge49bzgMVpv6znHAGYt/4N3GM42ZMUXR7uIFAySLH4UG4
ZZjpEnehdNaBFkeDr9gQDMKaiqlXYV1f";
/// Of P-256, made for this test.
const EC_PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqkFU62cawExoTHKd
NTovMj+OLaxAfUCcIIlt4CciNjWhRANCAASKGaS6UIS4G+nbXQqHTb7NHScHBTP2
bDZDLoALTYlGXIhsXLu4ZHPWj70vBjIqteyKjlQJsX1ljG7vy/a1uHEK";

const HASH_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const HASH_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A directory with the files configurations name, and the variables.
struct Place {
    directory: PathBuf,
    variables: Vec<(&'static str, String)>,
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A certificate that an authority might have.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tollgate-config-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let app = fs::read_to_string(format!("{KEYS}/pkcs1.pem")).unwrap();
        for (name, content) in [
            ("app.pem", app.clone()),
            ("app8.pem", fs::read_to_string(format!("{KEYS}/pkcs8.pem")).unwrap()),
            ("rsa.pub.pem", fs::read_to_string(format!("{KEYS}/pkcs8.pub.pem")).unwrap()),
            ("rsa1024.pub.pem", pem("PUBLIC KEY", RSA_1024_PUBLIC)),
            ("approver.pub.pem", pem("PUBLIC KEY", ED25519)),
            ("p256.pub.pem", pem("PUBLIC KEY", P256_PUBLIC)),
            ("p384.pub.pem", pem("PUBLIC KEY", P384_PUBLIC)),
            ("acme-bot.pem", app.clone()),
            ("ec.pem", pem("EC PRIVATE KEY", "AAAA")),
            ("ec8.pem", pem("PRIVATE KEY", EC_PRIVATE)),
            ("openssh.pem", pem("OPENSSH PRIVATE KEY", "AAAA")),
            ("encrypted.pem", pem("ENCRYPTED PRIVATE KEY", "AAAA")),
            ("encrypted1.pem", pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAAAA")),
            ("damaged.pem", app.replace('M', "N")),
            ("short.pem", pem("RSA PRIVATE KEY", "AAAA")),
            ("certificate.pem", authority()),
            ("no-certificate.pem", pem("CERTIFICATE", "AAAA")),
            ("notes.txt", "hunter2 is no key".to_owned()),
            ("empty.txt", "\n".to_owned()),
            ("token.txt", "ghp_fromafile\n".to_owned()),
            ("two-tokens.txt", "ghp_one\nghp_two\n".to_owned()),
            ("secret32.txt", "0123456789abcdef0123456789abcdef\n".to_owned()),
            ("jwks.json", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#.to_owned()),
            ("no-keys.json", r#"{"keys":[]}"#.to_owned()),
        ] {
            fs::write(directory.join(name), content).unwrap();
        }
        let variables = vec![
            ("GITHUB_TOKEN", "ghp_example".to_owned()),
            ("WEBHOOK_SECRET", "hush, and nobody guesses it".to_owned()),
            ("EMPTY", String::new()),
            ("APP_KEY", app.replace('\n', "\\n")),
        ];
        Place { directory, variables }
    }

    fn load(&self, text: &str) -> Result<(Config, Problems), Problems> {
        let variable = |name: &str| {
            let found = self.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        from_text(text, &Sources { directory: &self.directory, variable: &variable, is_running: false })
    }

    /// What is wrong with a file that may leave out sections which are not its topic.
    fn errors(&self, text: &str) -> Vec<String> {
        match self.load(&completed(text)) {
            Ok(_) => Vec::new(),
            Err(problems) => {
                let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
                errors
                    .map(|problem| problem.to_string().replace(&format!("{}/", self.directory.display()), ""))
                    .collect()
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Adds, behind what a case says, the sections no file can do without.
fn completed(text: &str) -> String {
    let mut file = format!("{}\n", text.trim_start_matches('\n'));
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    if !has("apps:") && !has("tokens:") {
        file.push_str("tokens: [{ name: dev, token_env: GITHUB_TOKEN }]\n");
    }
    if !has("policy:") {
        file.push_str("policy: { approval: { mode: presence } }\n");
    }
    if !has("agents:") {
        file.push_str(&format!("agents: [{{ name: a, key_sha256: {HASH_A}, repositories: [acme/tool] }}]\n"));
    }
    file
}

/// Each text has exactly the one problem, or none where none is named.
fn assert_problems(cases: &[(&str, &str)]) {
    let place = Place::new();
    for (text, expected) in cases {
        let errors = place.errors(text);
        match (errors.as_slice(), *expected) {
            ([], "") => {}
            ([error], expected) if !expected.is_empty() && error.contains(expected) => {}
            _ => panic!("{text}\nexpected {expected:?}\n   found {errors:#?}"),
        }
    }
}

#[test]
fn server_rules() {
    assert_problems(&[
        ("server: { listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0 }", ""),
        (
            "server: { listen: \"[::]:8080\", admin_listen: \"[::1]:9090\", trusted_proxies: [10.0.0.0/8, \"::1\"] }",
            "",
        ),
        ("server:\n  listen: localhost:8080", "server.listen, line 2: expected an address and port such as"),
        ("server:\n  listen: 127.0.0.1", "server.listen, line 2: expected an address and port"),
        ("server:\n  listen: 127.0.0.1:99999", "server.listen, line 2: expected an address and port"),
        ("server:\n  listen: 8080", "server.listen, line 2: expected text, found a number; put it in quotes"),
        (
            "server:\n\n  admin_listen: 127.0.0.1:8080",
            "server.admin_listen, line 3: is the address of `server.listen`",
        ),
        (
            "server:\n  admin_listen: 0.0.0.0:8080",
            "server.admin_listen, line 2: is the address of `server.listen`",
        ),
        (
            "server:\n  public_url: tollgate.acme.com",
            "server.public_url, line 2: expected an address such as",
        ),
        ("server:\n  public_url: https://a/?x", "server.public_url, line 2: must end with its path"),
        (
            "server:\n  trusted_proxies:\n    - 10.0.0.0/8\n    - here",
            "server.trusted_proxies[1], line 4: expected a network",
        ),
        ("server:\n  max_body: 0", "server.max_body, line 2: must be more than 0"),
        ("server:\n  max_body: 5", "server.max_body, line 2: expected a size with its unit"),
        ("server:\n  max_upload: 2Gigs", "server.max_upload, line 2: expected a size with its unit"),
        (
            "server:\n  drain_timeout: 30",
            "server.drain_timeout, line 2: expected a duration with its unit, such as 500ms, 30s or 1h, found the number 30",
        ),
        ("server:\n  tls: { cert_file: a, key_file: b }", "server.tls.cert_file, line 2: `a` can't be read"),
        (
            "server:\n  admin_token_env: ADMIN",
            "server.admin_token_env, line 2: the environment variable `ADMIN` is not set",
        ),
        (
            "server:\n  admin_token_env: ADMIN\n  admin_token_file: f",
            "server, line 1: needs only one of `admin_token_env` or `admin_token_file`",
        ),
        ("webhook: { listen: 0.0.0.0:8081, secret_env: WEBHOOK_SECRET }", ""),
        (
            "webhook:\n  listen: 127.0.0.1:8080\n  secret_env: WEBHOOK_SECRET",
            "webhook.listen, line 2: is the address of `server.listen`",
        ),
        (
            "webhook: { listen: 0.0.0.0:8081, secret_env: WEBHOOK_SECRET }\nserver:\n  listen: nowhere",
            "server.listen, line 3: expected an address",
        ),
        ("webhook:\n  listen: 127.0.0.1:8081", "webhook, line 1: needs `secret_env` or `secret_file`"),
        ("webhook:\n  secret_env: WEBHOOK_SECRET", "webhook.listen, line 1: is required"),
    ]);
}

#[test]
fn upstream_rules() {
    assert_problems(&[
        ("upstream: { api_url: \"https://ghe.acme.com/api/v3/\" }", ""),
        (
            "upstream:\n  api_url: https://user:hunter2@ghe",
            "upstream.api_url, line 2: must not hold a user name or password",
        ),
        ("upstream:\n  uploads_url: file:///x", "upstream.uploads_url, line 2: expected an address"),
        ("upstream:\n  graphql_url: https://a#b", "upstream.graphql_url, line 2: must end with its path"),
        ("upstream:\n  link_bases: [https://a, b]", "upstream.link_bases[1], line 2: expected an address"),
        ("upstream:\n  api_version: tomorrow", "upstream.api_version, line 2: expected a date"),
        ("upstream:\n  idle_timeout: 0s", "upstream.idle_timeout, line 2: must be more than 0s"),
        ("upstream:\n  ca_file: notes.txt", "upstream.ca_file, line 2: `notes.txt` holds no certificate"),
        (
            "upstream:\n  ca_file: no-certificate.pem",
            "upstream.ca_file, line 2: `no-certificate.pem` holds a damaged certificate",
        ),
        (
            "upstream:\n  ca_file: none.pem",
            "upstream.ca_file, line 2: `none.pem` can't be read: it does not exist",
        ),
    ]);
}

#[test]
fn app_rules() {
    assert_problems(&[
        (
            "apps: [{ name: a, app_id: 1, private_key_file: app.pem }, { name: b, client_id: Iv23x, private_key_file: app8.pem }]",
            "",
        ),
        ("apps: [{ name: a, app_id: 1, private_key_env: APP_KEY }]", ""),
        ("apps: []", "names no credential"),
        ("apps:\n  - app_id: 1\n    private_key_file: app.pem", "apps[0].name, line 2: is required"),
        (
            "apps:\n  - name: a b\n    app_id: 1\n    private_key_file: app.pem",
            "apps[0].name, line 2: a name has 1 to 64 letters",
        ),
        (
            "apps:\n  - { name: a, app_id: 1, private_key_file: app.pem }\n  - { name: a, app_id: 2, private_key_file: app.pem }",
            "apps[1].name, line 3: `a` is taken by apps[0]",
        ),
        (
            "apps:\n  - { name: a, app_id: 1, private_key_file: app.pem }\n  - { name: b, app_id: 1, private_key_file: app8.pem }",
            "apps[1], line 3: is the same App as one above",
        ),
        (
            "apps:\n  - { name: a, client_id: x, private_key_file: app.pem }\n  - { name: b, client_id: x, private_key_file: app.pem }",
            "apps[1], line 3: is the same App as one above",
        ),
        (
            "apps:\n  - name: a\n    private_key_file: app.pem",
            "apps[0], line 2: needs `app_id` or `client_id`",
        ),
        (
            "apps:\n  - { name: a, app_id: 1, client_id: x, private_key_file: app.pem }",
            "apps[0], line 2: needs only one of `app_id` or `client_id`",
        ),
        (
            "apps:\n  - name: a\n    app_id: 0\n    private_key_file: app.pem",
            "apps[0].app_id, line 3: must be more than 0",
        ),
        (
            "apps:\n  - name: a\n    app_id: x\n    private_key_file: app.pem",
            "apps[0].app_id, line 3: expected a whole number, 0 or more, found some other text",
        ),
        (
            "apps:\n  - name: a\n    app_id: \"12345\"\n    private_key_file: app.pem",
            "apps[0].app_id, line 3: expected a whole number, 0 or more, found text; write it without quotes",
        ),
        (
            "apps:\n  - name: a\n    app_id: Iv23li0123456789abcd\n    private_key_file: app.pem",
            "apps[0].app_id, line 3: expected a whole number, 0 or more, found what looks like a client id, which stands \
             under `client_id`",
        ),
        (
            "apps:\n  - name: a\n    app_id: 1",
            "apps[0], line 2: needs `private_key_env` or `private_key_file`",
        ),
        ("apps:\n  - name: a\n    app_id: 1\n    private_key_file: .", "is a directory"),
        (
            "apps:\n  - name: a\n    app_id: 1\n    private_key_env: GITHUB_TOKEN",
            "apps[0].private_key_env, line 4: the variable's value is not PEM",
        ),
    ]);
}

#[test]
fn app_key_rules() {
    let place = Place::new();
    for (file, expected) in [
        ("notes.txt", "`notes.txt` is not PEM; GitHub gives an RSA private key (PEM)"),
        ("rsa.pub.pem", "`rsa.pub.pem` is a public key"),
        ("certificate.pem", "`certificate.pem` is a certificate"),
        ("encrypted.pem", "`encrypted.pem` is encrypted"),
        ("encrypted1.pem", "`encrypted1.pem` is encrypted"),
        ("ec.pem", "`ec.pem` is an EC key"),
        ("ec8.pem", "`ec8.pem` is no RSA private key"),
        ("openssh.pem", "`openssh.pem` is an OpenSSH key"),
        ("damaged.pem", "`damaged.pem` is no"),
        ("short.pem", "`short.pem` is no"),
        ("none.pem", "`none.pem` can't be read: it does not exist"),
    ] {
        let text = format!("apps:\n  - name: a\n    app_id: 1\n    private_key_file: {file}");
        let errors = place.errors(&text);
        let expected = format!("apps[0].private_key_file, line 4: {expected}");
        assert!(matches!(errors.as_slice(), [error] if error.starts_with(&expected)), "{file}: {errors:#?}");
    }
}

#[test]
fn permission_rules() {
    let app =
        |rest: &str| format!("apps:\n  - name: a\n    app_id: 1\n    private_key_file: app.pem\n    {rest}");
    for (rest, expected) in [
        (
            "write_permissions: { contents: all }",
            "apps[0].write_permissions.contents, line 5: expected one of read, write, admin, found `all`",
        ),
        (
            "write_permissions: { Contents: read }",
            "apps[0].write_permissions.Contents, line 5: expected a permission such as",
        ),
        ("read_permissions: {}", "apps[0].read_permissions, line 5: names no permission"),
    ] {
        assert_problems(&[(&app(rest), expected)]);
    }
}

#[test]
fn token_rules() {
    assert_problems(&[
        ("tokens: [{ name: a, token_file: token.txt }]", ""),
        ("tokens:\n  - name: a", "tokens[0], line 2: needs `token_env` or `token_file`"),
        (
            "tokens:\n  - name: a\n    token_env: UNSET",
            "tokens[0].token_env, line 3: the environment variable `UNSET` is not set",
        ),
        (
            "tokens:\n  - name: a\n    token_env: EMPTY",
            "tokens[0].token_env, line 3: names a secret that is empty",
        ),
        (
            "tokens:\n  - name: a\n    token_file: empty.txt",
            "tokens[0].token_file, line 3: names a secret that is empty",
        ),
        (
            "tokens:\n  - name: a\n    token_file: two-tokens.txt",
            "tokens[0].token_file, line 3: names a token that holds a space, a line end",
        ),
    ]);
}

#[test]
fn budget_rules() {
    assert_problems(&[
        ("budget:\n  headroom: 95%", "budget.headroom, line 2: must be 0% to 90%"),
        ("budget:\n  headroom: 10", "budget.headroom, line 2: expected a percentage such as 10%"),
        ("budget:\n  max_wait: 2m", "budget.max_wait, line 2: 2m is more than `max_wait_limit`, 1m"),
        ("budget: { max_wait: 10m, max_wait_limit: 10m }", ""),
        ("budget:\n  max_wait_limit: 11m", "budget.max_wait_limit, line 2: 11m is too long: at most 10m"),
        ("budget:\n  over_budget_status: 500", "budget.over_budget_status, line 2: must be 403 or 429"),
        ("budget:\n  store: disk", "budget.store, line 2: expected one of memory, redis, found `disk`"),
        ("budget:\n  store: redis", "budget.store, line 2: `redis` needs `budget.redis` with `url`"),
        (
            "budget:\n  secondary:\n    concurrent: 0",
            "budget.secondary.concurrent, line 3: must be more than 0",
        ),
        // An Enterprise server of one's own may allow more.
        ("budget:\n  secondary: { concurrent: 101, rest_points_per_minute: 100000 }", ""),
        ("retry:\n  max_attempts: 0", "retry.max_attempts, line 2: must be 1 to 10"),
        ("retry:\n  base_delay: 30s", "retry.base_delay, line 2: 30s is more than `max_delay`, 20s"),
        ("retry:\n  max_delay: 1h", "retry.max_delay, line 2: 1h is too long: at most 10m"),
        ("retry: { max_attempts: 1, base_delay: 0s, max_delay: 0s }", ""),
        ("cache: { max_size: 0 }", ""),
        ("cache:\n  fresh_for: -1s", "cache.fresh_for, line 2: expected a duration"),
    ]);
}

#[test]
fn redis_rules() {
    assert_problems(&[
        ("budget: { store: redis, redis: { url: \"rediss://redis:6379\", password_env: GITHUB_TOKEN } }", ""),
        ("budget: { redis: { sentinel: { service: main, nodes: [redis://a:1] } } }", ""),
        ("budget: { store: redis, redis: { nodes: [\"a:1\", b, \"redis://[::1]:7000\"] } }", ""),
        (
            "budget:\n  redis: { nodes: [redis://a:1], url: redis://a:1 }",
            "budget.redis, line 2: needs only one of",
        ),
        ("budget:\n  redis: {}", "budget.redis, line 2: needs `url` or `nodes` or `sentinel`"),
        (
            "budget:\n  redis:\n    url: redis://:hunter2@a:1",
            "budget.redis.url, line 3: must hold no user name or password",
        ),
        ("budget:\n  redis:\n    nodes: []", "budget.redis.nodes, line 3: names no address"),
        (
            "budget:\n  redis:\n    url: http://a",
            "budget.redis.url, line 3: expected an address such as redis://",
        ),
        ("budget:\n  redis:\n    url: redis://a:b", "budget.redis.url, line 3: expected an address"),
        ("budget:\n  redis:\n    url: redis://a:99999", "budget.redis.url, line 3: expected an address"),
        ("budget:\n  redis:\n    url: redis://a/x", "budget.redis.url, line 3: must end with the number"),
        (
            "budget:\n  redis:\n    nodes:\n      - a:1\n      - redis://a/2",
            "budget.redis.nodes[1], line 5: must end with the port",
        ),
        (
            "budget:\n  redis:\n    nodes:\n      - a:1\n      - rediss://b:1",
            "budget.redis.nodes[1], line 5: either all nodes use TLS",
        ),
        (
            "budget:\n  redis:\n    sentinel: { nodes: [a:1] }",
            "budget.redis.sentinel.service, line 3: is required",
        ),
        (
            "budget:\n  redis:\n    url: redis://a\n    username: tollgate",
            "budget.redis.username, line 4: needs a password, too",
        ),
        (
            "budget:\n  redis:\n    url: rediss://a\n    ca_file: app.pem",
            "budget.redis.ca_file, line 4: `app.pem` holds no certificate",
        ),
    ]);
}

#[test]
fn takes_over_redis() {
    let text = "budget: { store: redis, on_store_loss: refuse, redis: { url: \"rediss://Redis.acme.com/3\", \
                username: tollgate, password_file: token.txt } }";
    let (config, warnings) = Place::new().load(&completed(text)).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let budget = &config.budget;
    assert_eq!((budget.store, budget.on_store_loss), (Store::Redis, OnStoreLoss::Refuse));
    let redis = budget.redis.as_ref().unwrap();
    let address = RedisAddress { host: "Redis.acme.com".to_owned(), port: 6379, is_tls: true };
    assert_eq!(redis.place, RedisPlace::Standalone { address, database: 3 });
    assert_eq!(redis.password.as_ref().unwrap().expose_secret(), "ghp_fromafile");
    assert!(!format!("{config:?}").contains("fromafile"));

    let text =
        "budget: { store: redis, redis: { sentinel: { service: main, nodes: [a, \"redis://[::1]:7\"] } } }";
    let (config, _) = Place::new().load(&completed(text)).unwrap();
    let redis = config.budget.redis.unwrap();
    assert_eq!((redis.mode(), redis.addresses().as_str()), ("sentinel", "a:26379, [::1]:7"));
}

#[test]
fn takes_over_the_webhook() {
    let text = "webhook: { listen: \"[::1]:8081\", secret_env: WEBHOOK_SECRET }";
    let (config, warnings) = Place::new().load(&completed(text)).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert!(!format!("{config:?}").contains("hush, and nobody guesses it"));
    let webhook = config.webhook.unwrap();
    assert_eq!(
        (webhook.listen.port(), webhook.secret.expose_secret()),
        (8081, "hush, and nobody guesses it")
    );
    let (config, _) = Place::new().load(&completed("")).unwrap();
    assert!(config.webhook.is_none());
}

#[test]
fn policy_rules() {
    assert_problems(&[
        ("policy: {}", "policy.approval.mode, line 1: is required"),
        ("policy:\n  approval:\n    header: x-ok", "policy.approval.mode, line 2: is required"),
        (
            "policy:\n  approval:\n    mode: none",
            "policy.approval.mode, line 3: expected one of signed, presence, found `none`",
        ),
        ("policy:\n  approval:\n    mode: signed", "policy.approval.mode, line 3: `signed` needs `issuers`"),
        (
            "policy:\n  approval:\n    mode: presence\n    header: Authorization",
            "policy.approval.header, line 4: `authorization` has another meaning",
        ),
        (
            "policy:\n  approval:\n    mode: presence\n    header: a b",
            "policy.approval.header, line 4: is not the name of a header",
        ),
        (
            "policy:\n  approval: { mode: presence, max_lifetime: 25h }",
            "policy.approval.max_lifetime, line 2: must be more than 0s and at most 24h",
        ),
        (
            "policy:\n  approval: { mode: presence }\n  commit_trailer: \"By: {who}\"",
            "policy.commit_trailer, line 3: has a placeholder other than",
        ),
        (
            "policy:\n  approval: { mode: presence }\n  audit_log: Stdout",
            "policy.audit_log, line 3: expected `stdout`, `off` or a file; a file of that name is `./Stdout`",
        ),
        ("policy:\n  approval: { mode: presence }\n  audit_log: ./none", ""),
        (
            "policy:\n  approval: { mode: presence }\n  audit_log: \"\"",
            "policy.audit_log, line 3: is required",
        ),
        (
            "policy:\n  approval: { mode: presence }\n  draft_pull_requests: no",
            "policy.draft_pull_requests, line 3: expected one of force, require, off, found `no`",
        ),
        ("policy:\n  approval: { mode: presence }\n  draft_pull_requests: off", ""),
        (
            "policy: { approval: { mode: signed, issuers: [{ name: t, public_key_file: approver.pub.pem }] } }",
            "",
        ),
        ("policy: { approval: { mode: signed, issuers: [{ name: t, public_key_file: p256.pub.pem }] } }", ""),
        ("policy: { approval: { mode: signed, issuers: [{ name: t, public_key_file: rsa.pub.pem }] } }", ""),
        ("policy: { approval: { mode: signed, issuers: [{ name: t, secret_file: secret32.txt }] } }", ""),
        (
            "policy:\n  approval:\n    mode: signed\n    issuers:\n      - name: t",
            "policy.approval.issuers[0], line 5: needs `public_key_file` or `secret_file`",
        ),
        (
            "policy:\n  approval:\n    mode: signed\n    issuers:\n      - { name: t, public_key_file: p384.pub.pem }",
            "line 5: `p384.pub.pem` is no public key (PEM) of Ed25519, P-256 or RSA",
        ),
        (
            "policy:\n  approval:\n    mode: signed\n    issuers:\n      - { name: t, public_key_file: rsa1024.pub.pem }",
            "line 5: `rsa1024.pub.pem` is an RSA key of less than 2048 bits",
        ),
        (
            "policy:\n  approval:\n    mode: signed\n    issuers:\n      - { name: t, public_key_file: app.pem }",
            "line 5: `app.pem` is a private key",
        ),
        (
            "policy:\n  approval:\n    mode: signed\n    issuers:\n      - { name: t, secret_file: token.txt }",
            "line 5: names a secret of less than 32 bytes",
        ),
        (
            "policy: { approval: { mode: signed, issuers: [3] } }",
            "policy.approval.issuers[0], line 1: expected a section of keys, found the number 3",
        ),
    ]);
}

#[test]
fn agent_rules() {
    let agent = |rest: &str| {
        format!("agents:\n  - name: a\n    key_sha256: {HASH_A}\n    repositories: [acme/*]\n    {rest}")
    };
    let named = |name: &str, hash: &str| {
        format!("  - {{ name: {name}, key_sha256: {hash}, repositories: [\"*\"] }}\n")
    };
    let cases = [
        (agent("weight: 1000"), ""),
        (format!("agents:\n{}", named("none", HASH_A)), "agents[0].name, line 2: is what metrics and logs call"),
        (agent("weight: 0"), "agents[0].weight, line 5: must be 1 to 1000"),
        (agent("weight: 1.5"), "agents[0].weight, line 5: expected a whole number from 0 to 4294967295, found the number 1.5"),
        (agent("weight: -1"), "agents[0].weight, line 5: expected a whole number"),
        (agent("weight: 1001"), "agents[0].weight, line 5: must be 1 to 1000"),
        (agent("ceiling: 0"), ""),
        (agent("guarantee: 15000\n    ceiling: 15000"), ""),
        (agent("guarantee: 10\n    ceiling: 9"), "agents[0].ceiling, line 6: 9 is less than the agent's guarantee, 10"),
        (agent("guarantee: 15001"), "agents, line 1: the guarantee is 15001 points an hour, more than the 15000"),
        (agent("installation: acme"), ""),
        (agent("installation: other"), "agents[0].installation, line 5: `other` owns none of the agent's repositories"),
        (agent("installation: a/b"), "agents[0].installation, line 5: expected the name of an account"),
        (agent("allow: [read, token]"), "agents[0].allow[1], line 5: `token` is never open"),
        (agent("allow: [reed]"), "agents[0].allow[0], line 5: expected one of read, write, ref-write, merge, review, protection, admin, found `reed`"),
        (agent("allow: read"), "agents[0].allow, line 5: expected a list, found some other text; a list of one is written [ONE]"),

        (agent("allow: []"), "agents[0].allow, line 5: names no class"),
        (agent("require_approval: [admin]"), "agents[0].require_approval[0], line 5: `admin` is not open to this agent"),
        (agent("require_approval: [read]"), "agents[0].require_approval[0], line 5: `read` can't wait"),
        (agent("draft_pull_requests: off"), ""),
        (agent("disabled: yes"), "agents[0].disabled, line 5: expected true or false, found some other text"),
        (agent("disabled: \"true\""), "agents[0].disabled, line 5: expected true or false, found text; write it without quotes"),
        (agent("weight: \"3\""), "agents[0].weight, line 5: expected a whole number from 0 to 4294967295, found text; write it without quotes"),
        (format!("agents:\n  - name: a\n    key_sha256: {HASH_A}\n    repositories: \"*\""), "agents[0].repositories, line 4: expected a list, found a star; write [\"*\"]"),
        ("agents: []".to_owned(), "agents, line 1: names nobody"),
        (format!("agents:\n  - name: a\n    key_sha256: {HASH_A}"), "agents[0].repositories, line 2: is required: OWNER/NAME"),
        (format!("agents:\n  - name: a\n    key_sha256: {HASH_A}\n    repositories: [acme]"), "agents[0].repositories[0], line 4: `acme` is not OWNER/NAME"),
        (format!("agents:\n  - name: a\n    key_sha256: {HASH_A}\n    repositories: [*]"), "a star that is meant as such stands in quotes"),
        ("agents:\n  - name: a\n    repositories: [\"*\"]".to_owned(), "agents[0].key_sha256, line 2: is required"),
        ("agents:\n  - name: a\n    key_sha256: tg_a_hunter2\n    repositories: [\"*\"]".to_owned(), "agents[0].key_sha256, line 3: is a key itself"),
        (format!("agents:\n  - name: a\n    key_sha256:\n      - {HASH_A}\n      - x\n    repositories: [\"*\"]"), "agents[0].key_sha256[1], line 5: expected the SHA-256"),
        (format!("agents:\n{}{}", named("a", HASH_A), named("b", HASH_A)), "agents[1].key_sha256, line 3: is the same key as agents[0].key_sha256"),
        (format!("agents:\n{}{}", named("a-b", HASH_A), named("a_b", HASH_B)), "agents[1].name, line 3: `a_b` is taken by agents[0]"),
        (
            format!(
                "{}\n    guarantee: 9000\n  - {{ name: b, key_sha256: {HASH_B}, repositories: [\"*\"], guarantee: 7000 }}",
                agent("weight: 2")
            ),
            "the guarantees are 9000 + 7000 = 16000 points an hour",
        ),
        (
            "identities: [{ issuer: i, jwks_file: jwks.json, audience: t, rules: [{ subject: \"s*\", agent: a }] }]\n\
             agents:\n  - name: a\n    repositories: [\"*\"]".to_owned(),
            "",
        ),
        (
            "identities:\n  - { issuer: i, jwks_url: \"https://x/jwks\", audience: t, rules: [{ subject: s, agent: b }] }".to_owned(),
            "identities[0].rules[0].agent, line 2: is no agent of this file",
        ),
        (
            "identities:\n  - { issuer: i, audience: t, rules: [{ subject: s, agent: a }] }".to_owned(),
            "identities[0], line 2: needs `jwks_file` or `jwks_url`",
        ),
        (
            "identities:\n  - { issuer: i, jwks_file: no-keys.json, audience: t, rules: [{ subject: s, agent: a }] }".to_owned(),
            "",
        ),
        (
            "identities:\n  - { issuer: i, jwks_url: \"http://x/jwks\", audience: t, rules: [{ subject: s, agent: a }] }".to_owned(),
            "identities[0].jwks_url, line 2: must begin with https://; plain http is for this machine alone",
        ),
        (
            "identities:\n  - { issuer: i, jwks_url: \"http://[::1]:1/jwks?p=1\", audience: t, rules: [{ subject: s, agent: a }] }".to_owned(),
            "",
        ),
        (
            "identities:\n  - { issuer: i, jwks_file: jwks.json, ca_file: certificate.pem, audience: t, rules: [{ subject: s, agent: a }] }".to_owned(),
            "identities[0].ca_file, line 2: ",
        ),
        (
            "identities:\n  - { issuer: i, jwks_file: jwks.json, audience: t, rules: [{ subject: s, agent: a }] }\n  \
             - { issuer: i, jwks_file: jwks.json, audience: u, rules: [{ subject: s, agent: a }] }".to_owned(),
            "identities[1].issuer, line 3: is the issuer of identities[0], too",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    assert_problems(&cases);
}

#[test]
fn finds_every_problem_at_once() {
    let text = format!(
        "server:
  listn: 127.0.0.1:1
  drain_timeout: soon
  max_body: 7
upstream:
  api_url: nowhere
  colour: blue
apps:
  - name: acme
    app_id: one
    private_key: hunter2
  - 17
  - name: acme
    client_id: Iv1.a
    private_key_file: none.pem
policy:
  approval: {{ mode: maybe, header: host }}
agents:
  - name: a
    wieght: 3
    key_sha256: {HASH_A}
    repositories: [acme/*, acme, x y]
    allow: [reed, write, wirte]
  - name: b
    weight: 5000
    key_sha256: {HASH_A}
    repositories: [acme/*]
    disabled: 1
"
    );
    let found = Place::new().errors(&text);
    let expected = [
        "server.listn, line 2: unknown key, did you mean `listen`?",
        "server.drain_timeout, line 3: expected a duration",
        "server.max_body, line 4: expected a size",
        "upstream.api_url, line 6: expected an address",
        "upstream.colour, line 7: unknown key; known here: api_url, uploads_url",
        "apps[0].app_id, line 10: expected a whole number",
        "apps[0].private_key, line 11: unknown key; a secret is not written in this file: name its place with `private_key_file` or `private_key_env`",
        "apps[1], line 12: expected a section of keys",
        "apps[2].name, line 13: `acme` is taken by apps[0]",
        "apps[2].private_key_file, line 15: `none.pem` can't be read",
        "policy.approval.mode, line 17: expected one of",
        "policy.approval.header, line 17: `host` has another meaning",
        "agents[0].wieght, line 20: unknown key, did you mean `weight`?",
        "agents[0].repositories[1], line 22: `acme` is not",
        "agents[0].repositories[2], line 22: `x y` is not",
        "agents[0].allow[0], line 23: expected one of",
        "agents[0].allow[2], line 23: expected one of",
        "agents[1].weight, line 25: must be 1 to 1000",
        "agents[1].key_sha256, line 26: is the same key",
        "agents[1].disabled, line 28: expected true or false, found the number 1",
    ];
    for expected in expected {
        assert!(found.iter().any(|error| error.starts_with(expected)), "{expected}\nin {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "one mistake is one problem: {found:#?}");
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn says_what_is_no_yaml_and_where() {
    for (text, expected) in [
        ("server: [", "line "),
        ("a: 1\na: 2", "line 2: not valid YAML: "),
        ("a: b: c", "line 1: not valid YAML: "),
        ("--- {}\n--- {}", "line 2: not valid YAML: "),
        ("- 1", "line 1: expected a section of keys, found a list"),
        ("just text", "line 1: expected a section of keys, found some other text"),
    ] {
        let problems = Place::new().load(text).unwrap_err().to_string();
        assert!(problems.starts_with(expected), "{text:?}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{text:?}: {problems}");
    }
    for empty in ["", "# only a comment\n", "---\n"] {
        let problems = Place::new().load(empty).unwrap_err().to_string();
        assert!(
            problems.contains("agents: names nobody") && problems.contains("policy.approval.mode"),
            "{problems}"
        );
    }
}

#[test]
fn a_chain_of_aliases_is_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let previous = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{previous}]\n"));
    }
    let problems = Place::new().load(&text).unwrap_err().to_string();
    assert!(problems.contains("holds more, or more deeply nested, than a configuration does"), "{problems}");
}

#[test]
fn a_file_full_of_mistakes_ends_in_time() {
    let place = Place::new();
    for text in [
        format!("apps: [{}]", "{},".repeat(30_000)),
        format!("apps: [{}]", "3,".repeat(40_000)),
        format!("agents: [{{ repositories: [{}] }}]", "x,".repeat(40_000)),
        format!("agents: [{{ repositories: [{}] }}]", "1,x,".repeat(20_000)),
        (0..40_000).map(|i| format!("k{i}: 1\n")).collect(),
    ] {
        let problems = place.load(&text).unwrap_err();
        assert!(problems.iter().count() <= 501 && problems.to_string().contains("the rest is not shown"));
    }
}

#[test]
fn a_path_counts_the_elements_left_out() {
    assert_problems(&[(
        "upstream:\n  link_bases:\n    - https://a\n    - [x]\n    - https://b",
        "upstream.link_bases[1], line 4: expected text, found a list",
    )]);
    let text = "agents:\n  - name: a\n    key_sha256: x\n    repositories:\n      - 1\n      - acme/a\n      - 2\n      - acme";
    let errors = Place::new().errors(text);
    assert!(
        errors.iter().any(|error| error.starts_with("agents[0].repositories[3], line 8: `acme` is not")),
        "{errors:#?}"
    );
}

/// What depends on a value that could not be read is not judged, warnings included.
#[test]
fn one_mistake_is_one_problem() {
    let place = Place::new();
    let agent = |lines: &str| format!("agents:\n  - name: a\n    key_sha256: {HASH_A}\n{lines}");
    for (text, expected) in [
        (
            agent("    repositories: [\"acme\"]\n    installation: acme"),
            "agents[0].repositories[0], line 4: `acme` is not OWNER/NAME",
        ),
        (agent("    repositories: [1]\n    installation: acme"), "agents[0].repositories[0], line 4: "),
        (
            agent("    repositories: []\n    installation: acme"),
            "agents[0].repositories, line 4: is required",
        ),
        (
            agent("    repositories: [acme/a]\n    allow: [read, reviw]\n    require_approval: [review]"),
            "agents[0].allow[1], line 5: ",
        ),
        (
            agent("    repositories: [acme/a]\n    allow: review\n    require_approval: [review]"),
            "agents[0].allow, line 5: ",
        ),
        (
            "budget:\n  store: Redis\n  redis: { url: \"redis://127.0.0.1\" }".to_owned(),
            "budget.store, line 2: ",
        ),
        ("budget:\n  store: redis\n  redis: \"redis://127.0.0.1\"".to_owned(), "budget.redis, line 3: "),
        (
            "budget:\n  store: redis\n  redis:\n    url: redis://a\n    username: t\n    password_file: [x]"
                .to_owned(),
            "budget.redis.password_file, line 6: ",
        ),
        (
            "budget:\n  store: redis\n  redis:\n    url: redis://a\n    username: t\n    pasword_file: x"
                .to_owned(),
            "budget.redis.pasword_file, line 6: unknown key",
        ),
    ] {
        let problems = place.load(&completed(&text)).unwrap_err();
        assert!(problems.to_string().starts_with(expected), "{text}\n{problems}");
        assert_eq!(problems.iter().count(), 1, "{text}\n{problems}");
    }
}

#[test]
fn warns_of_what_has_no_effect_and_of_what_is_open() {
    let text = format!(
        "cache:\n  fresh_for: 3s\nagents:\n  - {{ name: a, weight: 2, key_sha256: {HASH_A}, repositories: [\"*\"] }}\n  \
         - {{ name: b, key_sha256: {HASH_B}, repositories: [\"*\"] }}\n  \
         - {{ name: c, key_sha256: {hash_c}, repositories: [\"*\"] }}\n\
         budget:\n  store: memory\n  redis: {{ url: redis://a:1 }}\n  headroom: 5%\n\
         identities:\n  - {{ issuer: i, jwks_file: jwks.json, audience: t, rules: [{{ subject: \"*:main\", agent: a }}] }}\n",
        hash_c = "c".repeat(64)
    );
    let (_, warnings) = Place::new().load(&completed(&text)).unwrap();
    assert_eq!(
        warnings.to_string(),
        "warning: budget.redis, line 9: is not used: `budget.store` is `memory`\n\
         warning: identities[0].rules[0].subject, line 12: begins with `*`: whoever the issuer gives a token to may choose such a subject"
    );
    let (_, warnings) =
        Place::new().load(&completed("budget: { store: memory }\nretry: { max_attempts: 3 }")).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    // Somebody who reads the file could believe that approvals are signed.
    let text = "policy:\n  approval:\n    mode: presence\n    issuers: [{ name: i, public_key_file: approver.pub.pem }]";
    let (_, warnings) = Place::new().load(&completed(text)).unwrap();
    assert_eq!(
        warnings.to_string(),
        "warning: policy.approval.issuers, line 4: are not used: `mode` is `presence`, which takes any value of the header"
    );
}

/// They apply to each installation separately, but were added up over all.
#[test]
fn guarantees_are_added_up_where_they_apply() {
    let agent = |name: &str, hash: &str, repositories: &str, guarantee: u32| {
        format!(
            "  - {{ name: {name}, key_sha256: {hash}, repositories: {repositories}, guarantee: {guarantee} }}\n"
        )
    };
    let a = agent("a", HASH_A, "[acme/*, acme/tool]", 9_000);
    let app = "apps:\n  - { name: bot, app_id: 1, private_key_file: app.pem }\n";
    let errors = |head: &str, other: &str| Place::new().errors(&format!("{head}agents:\n{a}{other}"));
    let beside = |repositories: &str| agent("b", HASH_B, repositories, 7_000);
    assert!(errors(app, &beside("[other/*]")).is_empty());
    assert!(errors(app, &beside("[acme/*]").replace(" }\n", ", disabled: true }\n")).is_empty());
    let is_too_much = |errors: Vec<String>, place: &str| {
        let sum = format!("the guarantees{place} are 9000 + 7000 = 16000 points an hour");
        errors.len() == 1 && errors[0].contains(&sum)
    };
    for repositories in ["[other/*, Acme/gadgets]", "[\"*\"]"] {
        assert!(is_too_much(errors(app, &beside(repositories)), " for `acme`"), "{repositories}");
    }
    assert!(is_too_much(errors("", &beside("[other/*]")), ""), "one personal token serves both");
}

#[test]
fn a_long_sum_of_guarantees_is_cut() {
    let agents: String = (0..12)
        .map(|i| {
            let hash = format!("{i:064x}");
            format!("  - {{ name: a{i}, key_sha256: \"{hash}\", repositories: [\"*\"], guarantee: 2000 }}\n")
        })
        .collect();
    let errors = Place::new().errors(&format!("agents:\n{agents}"));
    let sum = ["2000"; 10].join(" + ");
    let expected = format!(
        "agents, line 1: the guarantees are {sum} + … = 24000 points an hour, more than the 15000 the largest \
         installation has"
    );
    assert_eq!(errors, [expected]);
}

#[test]
fn takes_over_the_budget() {
    let text = "budget: { headroom: 15%, max_wait: 2s, max_wait_limit: 90s, mode: observe, secondary: { concurrent: 7 } }\n\
                retry: { max_attempts: 2, base_delay: 1s, max_delay: 3s }";
    let (config, warnings) = Place::new().load(&completed(text)).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let budget = &config.budget;
    assert_eq!((budget.store, budget.headroom_thousandths, budget.is_observing), (Store::Memory, 150, true));
    assert_eq!((budget.max_wait.as_secs(), budget.max_wait_limit.as_secs()), (2, 90));
    let secondary = Secondary {
        concurrent: 7,
        rest_points_per_minute: 810,
        rest_points_per_minute_total: 2700,
        graphql_points_per_minute: 1800,
        content_per_minute: 72,
        content_per_hour: 470,
    };
    assert_eq!(budget.secondary, secondary);
    let [base_delay, max_delay] = [1, 3].map(Duration::from_secs);
    assert_eq!(config.retry, Retry { max_attempts: 2, base_delay, max_delay });
}

#[test]
fn warns_of_what_is_taken_but_unwise() {
    for (text, expected) in [
        (
            "server:\n  admin_token_env: GITHUB_TOKEN",
            "warning: server.admin_token_env, line 2: names a secret that can be guessed",
        ),
        (
            "server:\n  trusted_proxies: [0.0.0.0/0]",
            "warning: server.trusted_proxies[0], line 2: trusts everyone",
        ),
        (
            "upstream:\n  api_url: http://ghe.acme.com/api/v3",
            "warning: upstream.api_url, line 2: is plain http",
        ),
        (
            "agents:\n  - { name: a, key_sha256: HASH, repositories: [OWNER/NAME] }",
            "warning: agents[0].repositories[0], line 2: `OWNER/NAME` is what `tollgate key new` prints",
        ),
        (
            "upstream:\n  api_url: https://github.com",
            "warning: upstream.api_url, line 2: is GitHub's web site; its API is at https://api.github.com",
        ),
        (
            "apps:\n  - { name: a, app_id: 1, private_key_file: app.pem, read_permissions: { contents: write } }",
            "warning: apps[0].read_permissions.contents, line 2: is `write`",
        ),
        (
            "identities:\n  - { issuer: i, jwks_file: no-keys.json, audience: t, rules: [{ subject: s, agent: a }] }",
            "warning: identities[0].jwks_file, line 2: `no-keys.json` holds no key that signs",
        ),
    ] {
        let place = Place::new();
        let (_, warnings) = place.load(&completed(text).replace("HASH", HASH_A)).unwrap();
        let said = warnings.to_string().replace(&format!("{}/", place.directory.display()), "");
        assert!(said.starts_with(expected), "{text}: {warnings}");
        assert_eq!(warnings.iter().count(), 1);
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let place = Place::new();
    for text in [
        "tokens:\n  - { name: a, token: hunter2 }",
        "tokens:\n  - { name: a, token_env: ghp_hunter2 }",
        "tokens:\n  - { name: a, token_env: hunter2 }",
        "tokens:\n  - { name: a, token_file: github_pat_hunter2 }",
        "tokens:\n  - hunter2",
        "tokens: hunter2",
        "apps:\n  - { name: a, app_id: hunter2, private_key_file: app.pem }",
        "apps:\n  - { name: a, app_id: 1, private_key_file: notes.txt }",
        "apps:\n  - name: a\n    app_id: 1\n    private_key_file: |\n      -----BEGIN RSA PRIVATE KEY-----\n      hunter2\n",
        "upstream: { api_url: \"https://user:hunter2@host\" }",
        "budget: { redis: { url: \"redis://:hunter2@host\" } }",
        "budget: { redis: { url: redis://host, password: hunter2 } }",
        "webhook: { listen: 0.0.0.0:1, secret: hunter2 }",
        "server: { admin_token: hunter2, max_body: hunter2, drain_timeout: hunter2 }",
        "agents:\n  - { name: a, key_sha256: hunter2, repositories: [\"*\"] }",
        "agents:\n  - { name: a, key: hunter2, repositories: [\"*\"] }",
        "tokens:\n  - { name: a, token_env: \"hunter2\n",
        "tokens:\n  - { name: a, token_env: *hunter2 }",
        "ghp_hunter2: 1\nghp_hunter2: 2",
        "agents:\n  - { \"tg_a_hunter2\": 1, 'tg_a_hunter2': 2 }",
    ] {
        let errors = place.errors(text);
        assert!(!errors.is_empty() && !errors.concat().contains("hunter2"), "{text}\n{errors:#?}");
    }
}

#[test]
fn fills_in_defaults() {
    let place = Place::new();
    let text = format!(
        "apps: [{{ name: acme-bot, client_id: Iv23abc, private_key_file: app.pem, write_permissions: {{ contents: write }} }}]\n\
         tokens: [{{ name: dev, token_file: token.txt }}]\n\
         policy: {{ approval: {{ mode: presence }} }}\n\
         agents:\n\
         - {{ name: a, key_sha256: [{HASH_A}, {HASH_B}], repositories: [Acme/Tool, other/*] }}\n\
         - {{ name: b, key_sha256: {}, repositories: [\"*\"], allow: [read, merge, admin], require_approval: [admin] }}\n",
        "C".repeat(64)
    );
    let (config, warnings) = place.load(&text).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.upstream.graphql_url, "https://api.github.com/graphql");
    assert_eq!(config.upstream.link_bases.len(), 2);
    assert_eq!((config.server.max_body_bytes, config.server.max_upload_bytes), (100 << 20, 2 << 30));
    let app = &config.apps[0];
    assert_eq!(app.issuer, "Iv23abc");
    assert!(matches!(&app.private_key, PrivateKey::File(file) if *file == place.directory.join("app.pem")));
    assert_eq!(app.write_permissions.as_ref().unwrap()["contents"], "write");
    assert_eq!(config.tokens[0].token.expose_secret(), "ghp_fromafile");
    assert_eq!(config.policy.approval_mode, ApprovalMode::Presence);
    assert_eq!(config.policy.approval_header.as_str(), "x-merge-approval");
    let [a, b] = config.agents.as_slice() else { panic!("two agents") };
    assert_eq!((a.key_sha256.len(), a.weight, a.disabled), (2, 1, false));
    assert_eq!(a.installation, None, "nobody named one");
    assert_eq!(a.allow, Class::ALLOWED_BY_DEFAULT);
    assert_eq!(a.require_approval, Class::APPROVED_BY_DEFAULT);
    assert_eq!((b.installation.as_deref(), b.key_sha256[0]), (None, [0xcc; 32]));
    assert_eq!(b.require_approval, [Class::Admin, Class::Merge], "merge always waits");
}

#[test]
fn the_example_is_sound_and_shows_the_defaults() {
    let place = Place::new();
    let (config, _) = place.load(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.agents[0].name, "reviewer");
    let file: raw::File = Document::parse(EXAMPLE).unwrap().read(&mut Problems::default());
    let defaults = raw::File::default();
    assert_eq!(file.server, raw::Server { public_url: file.server.public_url.clone(), ..defaults.server });
    assert_eq!(
        file.upstream,
        raw::Upstream { uploads_url: file.upstream.uploads_url.clone(), ..defaults.upstream }
    );
    assert_eq!((file.budget, file.retry, file.cache), (defaults.budget, defaults.retry, defaults.cache));
    let raw::Approval { mode, issuers, .. } = file.policy.approval.clone();
    let approval = raw::Approval { mode, issuers, ..defaults.policy.approval };
    assert_eq!(file.policy, raw::Policy { approval, ..defaults.policy });
}

/// As a value, or behind `#`.
#[test]
fn the_example_names_every_key_there_is() {
    let schema = serde_json::to_value(schemars::schema_for!(raw::File)).unwrap();
    let sections = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for properties in sections.filter_map(|section| section["properties"].as_object()) {
        for key in properties.keys() {
            assert!(EXAMPLE.contains(&format!("{key}:")), "{key} is not in the example");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let nothing = |_: &str| None;
        let sources = Sources { directory: Path::new("/nonexistent"), variable: &nothing, is_running: false };
        let _ = from_text(&text, &sources);
        let _ = from_text(&String::from_utf8_lossy(&bytes), &sources);
    }

    /// A file that was sound until something in it changed.
    #[test]
    fn a_mangled_example_never_panics(at in 0..EXAMPLE.len(), cut in 0..40usize, insert in "[\\PC\n]{0,8}") {
        let start = EXAMPLE.floor_char_boundary(at);
        let end = EXAMPLE.floor_char_boundary((start + cut).min(EXAMPLE.len()));
        let text = format!("{}{insert}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        let nothing = |_: &str| None;
        let sources = Sources { directory: Path::new("/nonexistent"), variable: &nothing, is_running: false };
        let problems = from_text(&text, &sources).map(|_| ()).unwrap_err();
        prop_assert!(problems.has_errors());
    }
}
