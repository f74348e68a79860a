//! A simulator's start-up settings. Every number defaults to the one that GitHub documents.

use std::collections::BTreeMap;

use crate::world::Seed;

/// The start-up settings of a [`Sim`](crate::Sim).
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Port of the REST and GraphQL listener; here as for all ports, 0 takes any free one.
    pub port: u16,
    /// Port of the stand-in for `uploads.github.com`.
    pub uploads_port: u16,
    /// Port of the stand-in for the hosts behind 302 answers (archives, release assets).
    pub storage_port: u16,
    /// Port of the control API.
    pub control_port: u16,
    /// The App's numeric id, part of every installation token in the stateless form.
    pub app_id: u64,
    /// The App's client id; `iss` of a JWT is this or the app id.
    pub client_id: String,
    /// Public or private PEM of the App; the crate's PKCS#1 test key when absent.
    pub app_key_pem: Option<String>,
    /// Further keys of the App in PEM, also accepted, as on GitHub during a key rotation.
    pub further_keys_pem: Vec<String>,
    /// Apps besides the first, with the same key and permissions, installed on the same accounts.
    pub further_apps: Vec<FurtherApp>,
    /// Personal access tokens that are accepted, all of the user `sim-user`.
    pub personal_tokens: Vec<String>,
    /// Permissions of every installation: name to `read`, `write` or `admin`.
    pub permissions: BTreeMap<String, String>,
    /// The form of minted installation tokens.
    pub token_form: TokenForm,
    /// How long a minted token lives; GitHub gives one hour.
    pub token_lifetime_seconds: i64,
    /// Events the App is subscribed to. The simulator itself delivers nothing.
    pub events: Vec<String>,
    /// Primary rate limits.
    pub limits: PrimaryLimits,
    /// Secondary rate limits, off by default.
    pub secondary: SecondaryLimits,
    /// Base of API URLs in bodies, `Link` and `Location`; the simulator's own address when absent.
    pub link_base: Option<String>,
    /// Base of `upload_url`; the uploads listener's address when absent.
    pub uploads_link_base: Option<String>,
    /// How many requests are remembered.
    pub ring: usize,
    /// Epoch seconds at which time stands still until the clock is advanced; `None` runs.
    pub clock_start: Option<i64>,
    /// The owners and repositories to begin with.
    pub seed: Seed,
}

/// Events that an App for tollgate's webhook is subscribed to.
const EVENTS: [&str; 14] = [
    "check_run",
    "check_suite",
    "create",
    "delete",
    "issue_comment",
    "issues",
    "label",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "push",
    "release",
    "repository",
    "status",
];

/// An App besides the first. Its installation on an account has the first App's id plus [`INSTALLATION_STEP`] for
/// each App before it.
#[derive(Clone, Debug)]
pub struct FurtherApp {
    /// Its numeric id.
    pub app_id: u64,
    /// Full names of the repositories selected for it; `None`: all.
    pub repositories: Option<Vec<String>>,
}

/// Distance between the ids of two Apps' installations on one account.
pub const INSTALLATION_STEP: u64 = 1_000_000;

impl SimConfig {
    /// The id of an App by its index; 0 is the first.
    pub(crate) fn app_id_of(&self, app: usize) -> u64 {
        match app.checked_sub(1) {
            None => self.app_id,
            Some(further) => self.further_apps[further].app_id,
        }
    }

    /// The index of the App that an `iss` names.
    pub(crate) fn app_of(&self, issuer: &str) -> Option<usize> {
        if issuer == self.client_id || issuer == self.app_id.to_string() {
            return Some(0);
        }
        let found = self.further_apps.iter().position(|app| issuer == app.app_id.to_string());
        found.map(|place| place + 1)
    }

    /// Full names of the repositories selected for an App; `None`: all.
    pub(crate) fn selection(&self, app: usize) -> Option<&[String]> {
        app.checked_sub(1).and_then(|place| self.further_apps[place].repositories.as_deref())
    }

    /// Whether an App's installations cover a repository.
    pub(crate) fn is_selected(&self, app: usize, full_name: &str) -> bool {
        let selection = self.selection(app);
        selection.is_none_or(|names| names.iter().any(|name| name.eq_ignore_ascii_case(full_name)))
    }
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            port: 0,
            uploads_port: 0,
            storage_port: 0,
            control_port: 0,
            app_id: 4242,
            client_id: "Iv23liGithubSim00001".to_owned(),
            app_key_pem: None,
            further_keys_pem: Vec::new(),
            further_apps: Vec::new(),
            personal_tokens: vec!["ghp_githubsimpersonaltoken0000000000000000".to_owned()],
            permissions: default_permissions(),
            token_form: TokenForm::Stateless,
            token_lifetime_seconds: 3600,
            events: EVENTS.map(str::to_owned).to_vec(),
            limits: PrimaryLimits::default(),
            secondary: SecondaryLimits::default(),
            link_base: None,
            uploads_link_base: None,
            ring: 20_000,
            clock_start: None,
            seed: Seed::default(),
        }
    }
}

fn default_permissions() -> BTreeMap<String, String> {
    let write = [
        "actions",
        "administration",
        "checks",
        "contents",
        "deployments",
        "environments",
        "issues",
        "pull_requests",
        "secrets",
        "statuses",
        "workflows",
    ];
    let read = ["metadata", "members", "organization_administration"];
    write
        .iter()
        .map(|name| ((*name).to_owned(), "write".to_owned()))
        .chain(read.iter().map(|name| ((*name).to_owned(), "read".to_owned())))
        .collect()
}

/// The two forms of `ghs_` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenForm {
    /// `ghs_<APPID>_<JWT>`, about 520 characters with two dots: the form since spring 2026.
    Stateless,
    /// `ghs_` and 36 characters: the older form.
    Short,
}

/// Primary rate limits of every account, in requests (GraphQL: points) per window.
#[derive(Clone, Debug)]
pub struct PrimaryLimits {
    /// REST requests.
    pub core: u64,
    /// GraphQL points.
    pub graphql: u64,
    /// `/search/*` except code.
    pub search: u64,
    /// `GET /search/code`.
    pub code_search: u64,
    /// Length of the core and graphql windows, in seconds.
    pub window_seconds: i64,
    /// Length of the two search windows, in seconds.
    pub search_window_seconds: i64,
}

impl Default for PrimaryLimits {
    fn default() -> Self {
        Self {
            core: 5000,
            graphql: 5000,
            search: 30,
            code_search: 10,
            window_seconds: 3600,
            search_window_seconds: 60,
        }
    }
}

impl PrimaryLimits {
    /// Limit and window length (seconds) of a resource; unknown resources are like core.
    pub(crate) fn of(&self, resource: &str) -> (u64, i64) {
        match resource {
            "graphql" => (self.graphql, self.window_seconds),
            "search" => (self.search, self.search_window_seconds),
            "code_search" => (self.code_search, self.search_window_seconds),
            _ => (self.core, self.window_seconds),
        }
    }
}

/// Secondary rate limits; `None` is not enforced.
#[derive(Clone, Debug, Default)]
pub struct SecondaryLimits {
    /// Requests in flight, REST and GraphQL together.
    pub concurrency: Option<u64>,
    /// Points in any 60 seconds on a single REST endpoint.
    pub endpoint_points: Option<u64>,
    /// Points in any 60 seconds on the GraphQL endpoint.
    pub graphql_points: Option<u64>,
    /// Content-creating requests in any 60 seconds.
    pub content_minute: Option<u64>,
    /// Content-creating requests in any hour.
    pub content_hour: Option<u64>,
    /// The `retry-after` of a refusal, in seconds; a minute when absent.
    pub retry_after_seconds: Option<u64>,
}

impl SecondaryLimits {
    /// The figures of GitHub's documentation.
    pub fn github() -> Self {
        Self {
            concurrency: Some(100),
            endpoint_points: Some(900),
            graphql_points: Some(2000),
            content_minute: Some(80),
            content_hour: Some(500),
            retry_after_seconds: None,
        }
    }
}
