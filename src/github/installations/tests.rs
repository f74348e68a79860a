//! Installations while GitHub can't tell of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::config::PrivateKey;
use crate::github::client::HttpClient;

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/loadtest/github-sim/keys/pkcs1.pem");
const INSTALLED: &str = r#"{"id": 1, "account": {"login": "acme"}}"#;

pub(super) fn app(name: &str, address: Uri, private_key: PrivateKey) -> Arc<App> {
    app_at(Arc::new(SystemClock), name, address, private_key)
}

fn app_at(clock: Arc<dyn Clock>, name: &str, address: Uri, private_key: PrivateKey) -> Arc<App> {
    crate::app::install_crypto();
    let seconds = Duration::from_secs(60);
    let upstream = config::Upstream {
        api_url: address.clone(),
        uploads_url: address.clone(),
        graphql_url: address,
        link_bases: Vec::new(),
        api_version: String::new(),
        connect_timeout: seconds,
        request_timeout: seconds,
        idle_timeout: seconds,
        ca_pem: None,
    };
    let client = HttpClient::try_new(&upstream).unwrap();
    let app = config::App {
        name: name.to_owned(),
        issuer: "1".to_owned(),
        private_key,
        read_permissions: None,
        write_permissions: None,
    };
    Arc::new(App::new(app, client, &upstream, clock))
}

/// Closes the connection instead of answering.
const CLOSES: u16 = 0;
/// Never answers.
const HANGS: u16 = 1;

/// Gives every call the answer in force; the list of an App's installations, if one is set.
struct Server {
    address: Uri,
    says: Arc<Mutex<(u16, String)>>,
    lists: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    /// The credential of each call.
    credentials: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (says, asked) = (Arc::new(Mutex::new((CLOSES, String::new()))), Arc::new(AtomicUsize::new(0)));
        let (lists, credentials) = (Arc::default(), Arc::default());
        let server = Server {
            address,
            says: Arc::clone(&says),
            lists: Arc::clone(&lists),
            asked: Arc::clone(&asked),
            credentials: Arc::clone(&credentials),
        };
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n")
                    && let Ok(byte) = socket.read_u8().await
                {
                    head.push(byte);
                }
                asked.fetch_add(1, Ordering::Relaxed);
                let head = String::from_utf8(head).unwrap();
                let credential = head.lines().find(|line| line.starts_with("authorization:"));
                credentials.lock().extend(credential.map(str::to_owned));
                let list = lists.lock().clone().filter(|_| head.starts_with("GET /app/installations"));
                let (status, body) = list.map_or_else(|| says.lock().clone(), |list| (200, list));
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                match status {
                    CLOSES => {}
                    HANGS => held.push(socket),
                    _ => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        drop(socket.write_all(answer.as_bytes()).await);
                    }
                }
            }
        });
        server
    }

    fn say(&self, status: u16, body: &str) {
        *self.says.lock() = (status, body.to_owned());
    }

    fn list(&self, list: &str) {
        *self.lists.lock() = Some(list.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn app(&self, name: &str) -> Arc<App> {
        app(name, self.address.clone(), PrivateKey::File(KEY.into()))
    }
}

/// Trusts what it finds for a moment only.
fn of(apps: Vec<Arc<App>>) -> Installations {
    trusting(Duration::from_millis(1), Duration::from_secs(5), apps)
}

/// Trusts what it finds for this long, and waits so long for what it knows already.
fn trusting(found_for: Duration, last_patience: Duration, apps: Vec<Arc<App>>) -> Installations {
    Installations::with(Learned::new(found_for, last_patience).into(), apps, Vec::new())
}

/// Who serves `acme` now, if it is asked anew.
async fn serving(installations: &Installations) -> Result<Vec<String>, Arc<AppError>> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    installations.learned.failures.forget();
    installations.outdated.invalidate_all();
    installations.absent.invalidate_all();
    let found = installations.of_owner("acme").await?;
    Ok(found.iter().map(|one| one.label.to_string()).collect())
}

/// Five minutes after the last look-up all calls failed, although the tokens were good for an hour.
#[tokio::test]
async fn who_was_found_is_served_while_github_cannot_tell() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    server.say(503, "");
    assert!(serving(&installations).await.is_err(), "nothing is known of it");
    server.say(200, INSTALLED);
    assert_eq!(serving(&installations).await.unwrap(), ["bot/acme"]);
    for status in [503, CLOSES, HANGS] {
        server.say(status, "");
        assert_eq!(serving(&installations).await.unwrap(), ["bot/acme"], "{status}");
    }
    let asked = server.asked.load(Ordering::Relaxed);
    assert_eq!(installations.of_owner("acme").await.unwrap().len(), 1);
    assert_eq!(server.asked.load(Ordering::Relaxed), asked, "it was just asked");
    server.say(401, "{}");
    assert!(serving(&installations).await.is_err(), "GitHub's word counts");
    server.say(404, "{}");
    assert!(serving(&installations).await.unwrap().is_empty());
    server.say(503, "");
    assert!(serving(&installations).await.is_err(), "what is gone does not come back");
}

#[tokio::test]
async fn each_app_has_its_own_last_answer() {
    let (one, other) = (Server::start().await, Server::start().await);
    let installations = of(vec![one.app("one"), other.app("other")]);
    one.say(200, INSTALLED);
    other.say(200, &INSTALLED.replace('1', "2"));
    assert_eq!(serving(&installations).await.unwrap(), ["one/acme", "other/acme"]);
    other.say(503, "");
    assert_eq!(serving(&installations).await.unwrap(), ["one/acme", "other/acme"]);
    one.say(404, "{}");
    assert_eq!(serving(&installations).await.unwrap(), ["other/acme"], "the other can't tell, this one can");
}

/// A webhook tells that an installation is gone.
#[tokio::test]
async fn what_was_forgotten_does_not_serve() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    server.say(200, INSTALLED);
    assert_eq!(serving(&installations).await.unwrap(), ["bot/acme"]);
    installations.forget("acme").await;
    server.say(503, "");
    assert!(serving(&installations).await.is_err());
}

/// The answer of before came after, and served for five minutes.
#[tokio::test]
async fn what_is_forgotten_while_it_is_asked_for_is_not_remembered() {
    let server = Server::start().await;
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, vec![server.app("bot")]);
    server.say(200, INSTALLED);
    let forgets = async {
        while server.asked.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        installations.forget("acme").await;
        server.say(404, "{}");
    };
    let (found, ()) = tokio::join!(installations.of_owner("acme"), forgets);
    assert_eq!(found.unwrap().len(), 1, "it was asked before");
    assert!(installations.of_owner("acme").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_list_of_an_app_is_the_last_one_while_github_cannot_tell() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    server.say(200, &format!("[{INSTALLED}]"));
    assert_eq!(installations.all().await.unwrap().serving.len(), 1);
    server.say(503, "");
    tokio::time::sleep(Duration::from_millis(5)).await;
    installations.all.invalidate(&()).await;
    assert_eq!(installations.all().await.unwrap().serving.len(), 1);
    let of_app = installations.of_app(&installations.apps()[0]).await;
    assert!(of_app.is_err(), "who asks for one App is told that GitHub can't tell");
}

/// One connection that broke failed the calls of two seconds.
#[tokio::test]
async fn a_call_of_the_app_that_broke_off_is_made_again() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    let mends = async {
        while server.asked.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.say(200, INSTALLED);
    };
    let (found, ()) = tokio::join!(installations.of_owner("acme"), mends);
    assert_eq!(found.unwrap().len(), 1);
}

const ON_ENTERPRISE: &str = r#"{"id": 2, "account": {"slug": "big", "id": 7}, "target_type": "Enterprise"}"#;

/// It has no login, and the whole list could not be read.
#[tokio::test]
async fn an_enterprise_is_left_out_of_the_list() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    server.say(200, &format!(r#"[{ON_ENTERPRISE}, {INSTALLED}, {{"id": "odd"}}]"#));
    let labels = |of: &OfApp| of.serving.iter().map(|one| one.label.to_string()).collect::<Vec<_>>();
    let of_app = installations.of_app(&installations.apps()[0]).await.unwrap();
    assert_eq!(labels(&of_app), ["bot/acme"]);
    // One of them can't be read, so of others the list says nothing.
    assert_eq!((of_app.names("acme"), of_app.names("other")), (Some(true), None));
}

/// It failed what everybody asked the App for two seconds.
#[tokio::test]
async fn a_list_that_cannot_be_read_fails_no_other_question() {
    let server = Server::start().await;
    let installations = of(vec![server.app("bot")]);
    server.say(200, "[1");
    assert!(installations.all().await.is_err());
    let asked = server.asked.load(Ordering::Relaxed);
    assert!(installations.all().await.is_err());
    assert_eq!(server.asked.load(Ordering::Relaxed), asked, "it was just asked");
    server.say(200, INSTALLED);
    assert_eq!(installations.of_owner("acme").await.unwrap().len(), 1);
}

/// For five minutes, checks and reviews went by another App than before.
#[tokio::test]
async fn an_app_that_failed_is_looked_up_again_soon() {
    let (one, other) = (Server::start().await, Server::start().await);
    let (minute, apps) = (Duration::from_secs(60), vec![one.app("one"), other.app("other")]);
    let installations = trusting(minute, minute, apps);
    one.say(503, "");
    other.say(200, &INSTALLED.replace('1', "2"));
    assert_eq!(serving(&installations).await.unwrap(), ["other/acme"]);
    one.say(200, INSTALLED);
    assert_eq!(serving(&installations).await.unwrap(), ["one/acme", "other/acme"]);
    assert_eq!(other.asked.load(Ordering::Relaxed), 1, "it has just told");
}

/// Ten seconds later every App was asked anew about every owner.
#[tokio::test]
async fn while_an_app_fails_the_others_are_not_asked_again() {
    let (failing, serving_it, elsewhere) = tokio::join!(Server::start(), Server::start(), Server::start());
    let apps = vec![failing.app("failing"), serving_it.app("serving"), elsewhere.app("elsewhere")];
    let minutes = Duration::from_secs(300);
    let installations = trusting(minutes, minutes, apps);
    failing.say(503, "");
    serving_it.say(200, INSTALLED);
    elsewhere.say(404, "{}");
    for _ in 0..3 {
        assert_eq!(serving(&installations).await.unwrap(), ["serving/acme"]);
    }
    // As an organization and as a user, once each.
    assert_eq!((serving_it.asked(), elsewhere.asked()), (1, 2));
    // Where nobody serves the owner, a new installation must be found soon, but not at each call.
    serving_it.say(404, "{}");
    installations.forget("acme").await;
    for _ in 0..3 {
        assert!(serving(&installations).await.is_err(), "one can't tell");
    }
    assert_eq!((serving_it.asked(), elsewhere.asked()), (3, 4));
}

/// With 300 Apps on an account each, one request led to 600 calls.
#[tokio::test]
async fn of_many_apps_those_are_asked_that_list_the_owner() {
    let mut servers = Vec::new();
    for _ in 0..5 {
        let server = Server::start().await;
        server.list("[]");
        server.say(404, "{}");
        servers.push(server);
    }
    let apps = servers.iter().enumerate().map(|(place, server)| server.app(&format!("app{place}"))).collect();
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, apps);
    servers[3].list(&format!("[{INSTALLED}]"));
    servers[3].say(200, INSTALLED);
    assert_eq!(serving(&installations).await.unwrap(), ["app3/acme"]);
    let asked = |servers: &[Server]| servers.iter().map(Server::asked).collect::<Vec<_>>();
    assert_eq!(asked(&servers), [1, 1, 1, 2, 1], "a list each, and one question");
    // Whom no list names may be new: all are asked.
    servers[1].say(200, &INSTALLED.replace("acme", "other"));
    let found = installations.of_owner("other").await.unwrap();
    assert_eq!(&*found[0].label, "app1/other");
    // What a list says is of a while ago.
    servers[1].say(404, "{}");
    servers[3].say(404, "{}");
    servers[0].say(200, INSTALLED);
    installations.forget("acme").await;
    assert_eq!(serving(&installations).await.unwrap(), ["app0/acme"]);
}

#[tokio::test]
async fn unknown_names_are_bounded_even_if_they_come_at_once() {
    let server = Server::start().await;
    server.list("[]");
    server.say(404, "{}");
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, vec![server.app("bot")]);
    let owners: Vec<String> = (0..200).map(|number| format!("made-up-{number}")).collect();
    let asked = owners.iter().map(|owner| installations.of_owner(owner));
    for found in futures_util::future::join_all(asked).await {
        assert!(found.unwrap().is_empty());
    }
    assert_eq!(
        server.asked(),
        2 * MISSES_MAX + 1,
        "as an organization and as a user; and the list for the rest"
    );
}

/// It was taken for one without an installation: had it been suspended, the personal token would have served it.
#[tokio::test]
async fn beyond_that_bound_a_list_that_is_cut_says_nothing_of_who_is_not_on_it() {
    let server = Server::start().await;
    server.list(r#"[{"id": "odd"}]"#);
    server.say(404, "{}");
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, vec![server.app("bot")]);
    for number in 0..MISSES_MAX {
        assert!(installations.of_owner(&format!("made-up-{number}")).await.unwrap().is_empty());
    }
    let error = installations.of_owner("acme").await.unwrap_err();
    assert!(matches!(*error, AppError::NotListed(ref app) if app == "bot"), "{error}");
}

#[tokio::test]
async fn what_is_found_or_fails_takes_nothing_of_that_bound() {
    let server = Server::start().await;
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, vec![server.app("bot")]);
    for number in 0..=MISSES_MAX {
        let owner = format!("owner-{number}");
        server.say(200, &INSTALLED.replace("acme", &owner));
        assert_eq!(installations.of_owner(&owner).await.unwrap().len(), 1, "{owner}");
        server.say(403, "{}");
        assert!(installations.of_owner(&format!("failing-{number}")).await.is_err());
        installations.learned.failures.forget();
    }
    assert_eq!(installations.learned.unknown_owners.count(), 0);
}

/// Sixty callers who hang up at once could ask about sixty names more each time.
#[test]
fn a_name_counts_unless_its_permit_is_given_back() {
    let unknown = Learned::new(FOUND_FOR, LAST_PATIENCE).unknown_owners;
    let ask = |name| unknown.permit(name, 2);
    let (first, second) = (ask("a"), ask("b"));
    assert!(first.is_some() && second.is_some() && ask("c").is_none(), "two are asked about");
    Permit::settle(first, Name::Untold);
    drop(second);
    assert_eq!(unknown.count(), 1);
    Permit::settle(ask("b"), Name::Unknown);
    assert_eq!(unknown.count(), 1, "the same name");
    let (one, other) = (ask("c"), ask("c"));
    assert!(one.is_some() && other.is_some() && ask("d").is_none(), "both ask about one name");
    drop(one);
    assert!(ask("d").is_none(), "it counts");
    Permit::settle(other, Name::Known);
    assert!(ask("d").is_some());
}

/// Each name led to a question, since an App with all repositories covers it whatever the other says.
#[tokio::test]
async fn repositories_that_one_app_does_not_know_are_bounded_though_another_covers_them() {
    let (all, selected) = (Server::start().await, Server::start().await);
    let minute = Duration::from_secs(60);
    let installations = trusting(minute, minute, vec![all.app("all"), selected.app("selected")]);
    all.say(200, INSTALLED);
    selected.say(200, &INSTALLED.replace("\"id\": 1", "\"id\": 2, \"repository_selection\": \"selected\""));
    let of_owner = installations.of_owner("acme").await.unwrap();
    assert_eq!(of_owner.len(), 2);
    let before = selected.asked();
    let covering = async |name: String| {
        let repository = RepositoryName::parse(&format!("acme/{name}")).unwrap();
        installations.covering(Arc::clone(&of_owner), &repository).await.len()
    };
    assert_eq!(covering("real".to_owned()).await, 2);
    selected.say(404, "{}");
    for number in 0..2 * MISSES_MAX {
        assert_eq!(covering(format!("x{number}")).await, 1);
    }
    assert_eq!(selected.asked() - before, 1 + MISSES_MAX);
    // What is known already is not forgotten for that.
    assert_eq!(covering("real".to_owned()).await, 2);
    assert_eq!(all.asked(), 1);
}

/// Each call was signed anew, from a file read anew.
#[tokio::test]
async fn a_jwt_serves_for_minutes_unless_github_refuses_it() {
    let clock = Arc::new(ManualClock::at_seconds(1_800_000_000));
    let server = Server::start().await;
    let key = PrivateKey::File(KEY.into());
    let app = app_at(Arc::clone(&clock) as Arc<dyn Clock>, "bot", server.address.clone(), key);
    let call = async || app.call(http::Method::GET, "/app", None).await.unwrap().0.as_u16();
    server.say(200, "{}");
    for (seconds, signed) in [(0, 1), (239, 1), (1, 2), (100, 2)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(call().await, 200);
        let different: std::collections::BTreeSet<String> =
            server.credentials.lock().iter().cloned().collect();
        assert_eq!(different.len(), signed);
    }
    // The key may have been replaced: once more, with a new one. So do those whose JWT another has replaced meanwhile.
    clock.advance(Duration::from_secs(1));
    server.say(401, "{}");
    for both in [tokio::join!(call(), call()), tokio::join!(call(), call())] {
        assert_eq!(both, (401, 401));
    }
    let credentials = server.credentials.lock().clone();
    let uses = |of: &String| credentials.iter().filter(|other| *other == of).count();
    assert_eq!(uses(&credentials[4]), 4, "two calls, and the two that were refused");
    assert!(credentials.len() >= 8, "{}", credentials.len());
}
