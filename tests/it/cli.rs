//! The binary, started as a user would.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use github_sim::{Fault, FaultKind, Sim};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{Setup, agent, eventually};

fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env_remove("GITHUB_TOKEN").env("TOLLGATE_LOG_FORMAT", "json");
    command
}

/// The same on a single core, as in a container with `cpu: 1`.
fn tollgate_on_one_core() -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    let mut command = Command::new("taskset");
    command.args(["-c", first, env!("CARGO_BIN_EXE_tollgate")]);
    command.env_remove("GITHUB_TOKEN").env("TOLLGATE_LOG_FORMAT", "json");
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// A running `tollgate serve`, stopped when the test ends.
struct Serving {
    child: Child,
    address: String,
    admin: String,
    /// Standard error up to the line with the address.
    first_lines: String,
    /// Standard error after those lines.
    rest: Option<BufReader<ChildStderr>>,
}

impl Serving {
    /// Keeps reading the log.
    fn read(mut self) -> Serving {
        let mut rest = self.rest.take().unwrap();
        std::thread::spawn(move || rest.read_to_string(&mut String::new()));
        self
    }

    /// Stops it as Kubernetes does; returns its exit code.
    async fn end(mut self) -> Option<i32> {
        let stopped = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap().code());
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(command: &mut Command) -> Serving {
    serve_unread(command).read()
}

fn serve_unread(command: &mut Command) -> Serving {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut first_lines, mut line) = (String::new(), String::new());
    while !line.contains("tollgate serves") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended early: {first_lines}");
        first_lines.push_str(&line);
    }
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = |name: &str| format!("http://{}", started[name].as_str().unwrap());
    Serving { child, address: url("listen"), admin: url("admin_listen"), first_lines, rest: Some(lines) }
}

fn client() -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn ask(client: &Client<HttpConnector, Empty<Bytes>>, url: &str, key: &str) -> (u16, Bytes) {
    let request = http::Request::get(url).header("authorization", format!("Bearer {key}"));
    let answer = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
    (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
}

async fn get(url: &str, key: &str) -> u16 {
    ask(&client(), url, key).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_and_a_token_are_enough() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let token = github_sim::SimConfig::default().personal_tokens[0].clone();
    let serving = serve(
        tollgate()
            .arg("serve")
            .env("GITHUB_TOKEN", token)
            .env("TOLLGATE_API_URL", sim.api_url())
            .env("TOLLGATE_LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
    );
    let key = serving.first_lines.split_whitespace().find(|word| word.starts_with("tg_agent_")).unwrap();
    assert_eq!(get(&format!("{}/repos/acme/widgets", serving.address), key).await, 200);
    assert_eq!(get(&format!("{}/repos/acme/widgets", serving.address), "tg_agent_wrong").await, 401);
    let merge = http::Request::put(format!("{}/repos/acme/widgets/pulls/76/merge", serving.address));
    let merge = merge.header("authorization", format!("Bearer {key}")).body(Empty::new()).unwrap();
    let answer = client().request(merge).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("tollgate serve --config FILE") && !answer.contains("`allow`"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_proxy_serves_and_ends_with_0_on_sigterm() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]);
    let config = setup.write_config(&sim, &files);
    let serving = serve(tollgate().args(["serve", "--config"]).arg(&config));
    let key = setup.agents[0].key.expose();
    assert_eq!(get(&format!("{}/repos/acme/widgets", serving.address), key).await, 200);
    assert_eq!(serving.end().await, Some(0));
}

/// A second signal skips the drain; requests that it cuts are still logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_what_is_under_way() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let worker = vec![agent("worker", &["repositories: [acme/*]"])];
    let setup = Setup { audit_log: "audit.log", ..Setup::with(worker) };
    let config = setup.write_config(&sim, &files);
    let mut serving = serve_unread(tollgate().args(["serve", "--config"]).arg(&config));
    let mut log = serving.rest.take().unwrap();
    let url = format!("{}/repos/acme/widgets/issues", serving.address);
    let slow =
        sim.faults().add(Fault::new(FaultKind::SlowFirstByte { ms: 20_000 }).on("POST", "/repos/acme"));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request =
        http::Request::post(url).header("authorization", format!("Bearer {}", setup.agents[0].key.expose()));
    let waiting = tokio::spawn(client.request(request.body(r#"{"title":"x"}"#.into()).unwrap()));
    eventually("the slow call", || sim.faults().fired(slow) == 1).await;
    let id = serving.child.id().to_string();
    let terminate = || assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    terminate();
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended at the first signal");
    }
    terminate();
    let mut rest = String::new();
    let ended = tokio::task::spawn_blocking(move || {
        log.read_to_string(&mut rest).unwrap();
        (serving.child.wait().unwrap().code(), rest)
    });
    let (code, rest) = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.lines().any(|line| line.contains("\"outcome\":\"gone\"")), "{rest}");
    assert!(waiting.await.unwrap().is_err());
    let audit = std::fs::read_to_string(files.path().join("audit.log")).unwrap();
    assert!(audit.contains("\"path\":\"/repos/acme/widgets/issues\""), "a write has its line: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_github_was_not_reached() {
    let mut serving = serve_unread(
        tollgate()
            .arg("serve")
            .env("GITHUB_TOKEN", "ghp_x")
            // Nothing listens on this port.
            .env("TOLLGATE_API_URL", "http://127.0.0.1:1")
            .env("TOLLGATE_LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
    );
    let mut log = serving.rest.take().unwrap();
    let key = serving.first_lines.split_whitespace().find(|word| word.starts_with("tg_agent_")).unwrap();
    assert_eq!(get(&format!("{}/repos/acme/widgets", serving.address), key).await, 502);
    let (mut seen, mut line) = (Vec::new(), String::new());
    while !line.contains("\"message\":\"request\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
        seen.push(serde_json::from_str::<serde_json::Value>(&line).unwrap());
    }
    let request = seen.last().unwrap()["request_id"].clone();
    let why = seen.iter().find(|line| line["level"] == "WARN" && line["request_id"] == request).unwrap();
    assert!(why["cause"].as_str().unwrap().contains("onnection refused"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_core_is_enough() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]);
    let config = setup.write_config(&sim, &files);
    let serving = serve(tollgate_on_one_core().args(["serve", "--config"]).arg(&config));
    let (client, key) = (client(), setup.agents[0].key.expose());
    let url = |page: u32| format!("{}/repos/acme/widgets/issues?page={page}", serving.address);
    let answers =
        futures_util::future::join_all((0..16).map(async |page| ask(&client, &url(page), key).await));
    assert!(answers.await.into_iter().all(|(status, _)| status == 200));
    let metrics = String::from_utf8(ask(&client, &format!("{}/metrics", serving.admin), "").await.1.to_vec());
    assert!(metrics.unwrap().contains("tollgate_requests_total"));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[acme/*]", "[other/*]")).unwrap();
    let sent = Command::new("kill").args(["-HUP", &serving.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let deadline = Instant::now() + Duration::from_secs(5);
    while !String::from_utf8_lossy(&ask(&client, &url(0), key).await.1).contains("repository_forbidden") {
        assert!(Instant::now() < deadline, "the file was not read again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(serving.end().await, Some(0));
}

/// A pipe holds 64 KiB; after that, writers block.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_no_request() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]);
    let config = setup.write_config(&sim, &files);
    let audit = files.path().join("stdout");
    let to_audit = Stdio::from(std::fs::File::create(&audit).unwrap());
    let serving = serve_unread(tollgate().args(["serve", "--config"]).arg(&config).stdout(to_audit));
    let (client, metrics) = (client(), format!("{}/metrics", serving.admin));
    let unknown = format!("{}/meta", serving.address);
    // Each one writes a line to the log.
    let many = (0..9_500).map(|_| ask(&client, &unknown, "tg_agent_wrong"));
    let statuses = futures_util::stream::iter(many).buffer_unordered(16).map(|(status, _)| status);
    assert!(statuses.all(async |status| status == 401).await);
    let key = setup.agents[0].key.expose();
    assert_eq!(ask(&client, &format!("{}/repos/acme/widgets", serving.address), key).await.0, 200);
    let shown = String::from_utf8(ask(&client, &metrics, "").await.1.to_vec()).unwrap();
    let lost = shown.lines().find_map(|line| line.strip_prefix("tollgate_log_lost_total ")).unwrap();
    assert!((1..9_500).contains(&lost.parse::<u32>().unwrap()), "{lost}");
    assert_eq!(serving.end().await, Some(0));
    // Standard output belongs to the audit log alone.
    let audited = std::fs::read_to_string(&audit).unwrap();
    assert!(audited.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{audited}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_once_with_lines() {
    let files = TempDir::new().unwrap();
    let path = files.path().join("bad.yaml");
    let text = "server:\n  listne: 127.0.0.1:1\napps:\n  - { name: a, app_id: 1, private_key_file: missing.pem }\n\
                policy:\n  approval: { mode: maybe }\nagents:\n  - name: x\n    key_sha256: zz\n    repositories: [acme]\n";
    std::fs::write(&path, text).unwrap();
    for command in ["check", "serve"] {
        let output = run(tollgate().args([command, "--config"]).arg(&path));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for expected in
            ["listne", "line 2", "missing.pem", "line 4", "mode", "line 6", "key_sha256", "line 9", "line 10"]
        {
            assert!(said.contains(expected), "{expected:?} is not in\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_shows_what_github_has() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    for (repositories, code, expected) in [
        ("[acme/*, other/tool]", Some(0), "agent worker: other is served by bot/other"),
        (
            "[\"*\"]\n    installation: nosuch",
            Some(1),
            "wrong: agent worker: no installation covers nosuch, which `installation` names",
        ),
        ("[\"*\"]", Some(0), "note: agent worker has \"*\", and there are"),
        ("[acme/*, foreign/lib]", Some(1), "wrong: agent worker: no installation covers foreign"),
        ("[acme/widgets, acme/widgetz]", Some(1), "wrong: agent worker: acme/widgetz does not exist, or no"),
    ] {
        let setup = Setup::with(vec![agent("worker", &[&format!("repositories: {repositories}")])]);
        let config = setup.write_config(&sim, &files);
        let output = tokio::task::spawn_blocking(move || {
            run(tollgate().args(["check", "--online", "--config"]).arg(&config))
        });
        let output = output.await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), code, "{said}");
        for expected in [expected, "bot/acme (installation 1001)", "contents write", "core 5000 of 5000"] {
            assert!(said.contains(expected), "{expected:?} is not in\n{said}");
        }
        // What is wrong comes last as well, where nobody has to search for it.
        let (_, end) = said.split_once("\nonline: ").expect("a summary");
        let summary =
            if code == Some(0) { "1 agent: nothing is wrong\n" } else { "1 agent: 1 problem\nwrong: " };
        assert!(end.contains(summary) && (code == Some(0) || end.contains(expected)), "{said}");
    }
    let writes = sim
        .requests()
        .into_iter()
        .filter(|one| one.method != "GET" && !one.target.ends_with("/access_tokens"));
    assert_eq!(writes.count(), 0);
}

/// One App that GitHub does not know hides nothing of the other.
#[tokio::test(flavor = "multi_thread")]
async fn check_online_goes_on_after_an_app_that_fails() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let worker = agent("worker", &["repositories: [acme/widgets, \"*\"]", "installation: nosuch"]);
    let config = Setup::with(vec![worker]).write_config(&sim, &files);
    let text = std::fs::read_to_string(&config).unwrap();
    let first = format!("  - {{ name: bot, app_id: {}, private_key_file: app.pem }}\n", sim.app_id());
    let twice = first
        .replace("bot", "again")
        .replace(&format!("app_id: {}", sim.app_id()), "client_id: Iv23liGithubSim00001");
    let revoked = first.replace("bot", "revoked").replace(&sim.app_id().to_string(), "5555");
    assert!(text.contains(&first), "{text}");
    std::fs::write(&config, text.replace(&first, &format!("{revoked}{first}{twice}"))).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        run(tollgate().args(["check", "--online", "--config"]).arg(&config))
    });
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        "wrong: app revoked: GitHub answered 401",
        "bot/acme (installation 1001)",
        "core 5000 of 5000",
        "wrong: again/acme is bot/acme again: two entries of `apps` name one App",
        "agent worker: acme is served by bot/acme\n",
        "wrong: agent worker: nosuch: GitHub answered 401",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
}

/// What `check --online` says of a file that it refuses.
async fn refused_online(config: &Path) -> String {
    let config = config.to_owned();
    let check = move || run(tollgate().args(["check", "--online", "--config"]).arg(&config));
    let output = tokio::task::spawn_blocking(check).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_says_what_to_change() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let config = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]).write_config(&sim, &files);
    let text = std::fs::read_to_string(&config).unwrap();
    let (url, secure) = (sim.api_url(), sim.api_url().replace("http://", "https://"));
    for (from, to, expected) in [
        (
            "private_key_file: app.pem",
            "private_key_file: app.pem, read_permissions: { codespaces: read, contents: read }",
            "`read_permissions` of the App names what was not granted to it: codespaces: read. Grant",
        ),
        (&*url, &*format!("{url}/nowhere"), "Not Found. Look at `upstream.api_url`"),
        (&*url, &*secure, "write http:// in `upstream.api_url`"),
    ] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
        let said = refused_online(&config).await;
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
}

/// It said that the App is installed nowhere, and that GHES is wrong to have no limits, as it has by default.
#[tokio::test(flavor = "multi_thread")]
async fn check_online_tells_suspended_from_absent_and_limits_that_are_off_from_trouble() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let worker = agent("worker", &["repositories: [other/tool]"]);
    let config = Setup::with(vec![worker]).write_config(&sim, &files);
    assert!(sim.edit(|world| world.suspend("acme", true)));
    for (message, of_limits, expected) in [
        (
            "Rate limiting is not enabled.",
            "note: rate limits are off here",
            "wrong: the installation bot/acme is suspended",
        ),
        (
            "Not Found",
            "wrong: GitHub answered 404 Not Found to /rate_limit: Not Found",
            "agent worker: other is served by bot/other",
        ),
    ] {
        let off = FaultKind::Status {
            status: 404,
            body: Some(serde_json::json!({ "message": message })),
            headers: Default::default(),
            takes_effect: false,
        };
        sim.faults().add(Fault::new(off).on("GET", "/rate_limit"));
        let said = refused_online(&config).await;
        for expected in [of_limits, expected] {
            assert!(said.contains(expected), "{expected:?} is not in\n{said}");
        }
        assert!(!said.contains("installed anywhere"), "{said}");
        sim.faults().clear();
    }
}

#[test]
fn without_file_or_token_it_says_both_ways_to_start() {
    let output = run(tollgate().arg("serve"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("GITHUB_TOKEN") && said.contains("--config"), "{said}");
}

/// As with `tollgate config schema | head`.
#[test]
fn a_closed_pipe_changes_no_exit_code() {
    let closed = || std::io::pipe().unwrap().1;
    let files = TempDir::new().unwrap();
    let (sound, unsound) = (files.path().join("sound.yaml"), files.path().join("unsound.yaml"));
    // `PATH` is a variable that every test run has, and its value could be a token.
    let text = "tokens: [{ name: dev, token_env: PATH }]\npolicy: { approval: { mode: presence } }\n\
        agents: [{ name: a, key_sha256: \"HASH\", repositories: [\"*\"] }]\n";
    std::fs::write(&sound, text.replace("HASH", &"a".repeat(64))).unwrap();
    std::fs::write(&unsound, text).unwrap();
    let (sound, unsound) = (sound.to_str().unwrap(), unsound.to_str().unwrap());
    for (args, code) in [
        (vec!["config", "schema"], 0),
        (vec!["key", "new", "a"], 0),
        (vec!["check", "--config", sound], 0),
        (vec!["check", "--config", unsound], 1),
    ] {
        let status = tollgate().args(&args).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_filter_that_would_silence_the_log_stops_the_start() {
    let output = run(tollgate().args(["serve", "--log", "warning"]).env("GITHUB_TOKEN", "ghp_x"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("tollgate: --log (TOLLGATE_LOG): `warning` is no level; expected "), "{said}");
}

/// Whatever happens to its calls, a request is one line, so that lines can be counted and none is looked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_calls_fail_is_one_log_line() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup::worker();
    let config = setup.write_config(&sim, &files);
    let reset = || FaultKind::ResetBeforeAnswer { takes_effect: false };
    sim.faults().add(Fault::new(reset()).on("GET", "/repos/acme/widgets"));
    let mut serving = serve_unread(tollgate().args(["serve", "--config"]).arg(config));
    let (mut log, key) = (serving.rest.take().unwrap(), setup.agents[0].key.expose());
    assert_eq!(get(&format!("{}/repos/acme/widgets", serving.address), key).await, 502);
    assert!(sim.requests().len() > 1, "it was tried again");
    assert_eq!(serving.end().await, Some(0));
    let mut lines = String::new();
    log.read_to_string(&mut lines).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_requests: Vec<_> = lines.iter().filter(|line| !line["request_id"].is_null()).collect();
    let [line] = of_requests[..] else { panic!("{lines:#?}") };
    assert_eq!((&line["level"], &line["code"]), (&"WARN".into(), &"upstream_unreachable".into()), "{line}");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("connection")), "{line}");
}

/// Whoever collects the log gets every line in one format, and an empty filter is the default.
#[tokio::test(flavor = "multi_thread")]
async fn warnings_of_the_file_are_log_lines() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let mut setup = Setup::worker();
    setup.further = "budget: { redis: { url: \"redis://127.0.0.1:1\" } }\n".to_owned();
    let config = setup.write_config(&sim, &files);
    let serving = serve(tollgate().args(["serve", "--config"]).arg(config).env("TOLLGATE_LOG", ""));
    let lines: Vec<serde_json::Value> =
        serving.first_lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warning = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert!(warning.to_string().contains("budget.redis, line 12: is not used"), "{warning}");
    assert_eq!(serving.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_cannot_be_opened_is_named() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let config = Setup { audit_log: "audit.sock", ..Setup::worker() }.write_config(&sim, &files);
    // Even the superuser can't open a socket as a file.
    let _socket = std::os::unix::net::UnixListener::bind(files.path().join("audit.sock")).unwrap();
    let output =
        tokio::task::spawn_blocking(move || run(tollgate().args(["serve", "--config"]).arg(&config)));
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("policy.audit_log: `") && said.contains("/audit.sock` can't be opened: "),
        "{said}"
    );
}

/// What was typed where a file's name belongs may be the secret itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_reload_repeats_no_value() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let config = Setup::worker().write_config(&sim, &files);
    let mut serving = serve_unread(tollgate().args(["serve", "--config"]).arg(&config));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("server:\n", "server:\n  admin_token_file: correct-horse\n", 1))
        .unwrap();
    let mut rest = serving.rest.take().unwrap();
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        while !line.contains("was not reloaded") {
            line.clear();
            assert_ne!(rest.read_line(&mut line).unwrap(), 0, "the log ended");
        }
        line
    });
    let line = line.await.unwrap();
    assert!(line.contains("server.admin_token_file, line 2: … can't be read: it does not exist"), "{line}");
    assert!(!line.contains("correct-horse"), "{line}");
}

#[test]
fn a_taken_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(tollgate().arg("serve").env("GITHUB_TOKEN", "ghp_x").env("TOLLGATE_LISTEN", &address));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
}

#[test]
fn a_new_key_comes_with_the_lines_for_the_file() {
    let output = run(tollgate().args(["key", "new", "code-reviewer"]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(said.contains("tg_code_reviewer_") && said.contains("key_sha256"), "{said}");
    let schema = run(tollgate().args(["config", "schema"]));
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_file_again_and_ends_nothing() {
    let sim = Sim::start(Default::default()).await.unwrap();
    let files = TempDir::new().unwrap();
    let setup = Setup::with(vec![agent("worker", &["repositories: [acme/*]"])]);
    let config = setup.write_config(&sim, &files);
    let mut serving = serve(tollgate().args(["serve", "--config"]).arg(&config));
    let key = setup.agents[0].key.expose();
    let url = format!("{}/repos/acme/widgets", serving.address);
    assert_eq!(get(&url, key).await, 200);
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &serving.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[acme/*]", "[other/*]")).unwrap();
    for _ in 0..20 {
        hang_up();
    }
    let mut status = 200;
    for _ in 0..500 {
        status = get(&url, key).await;
        if status == 403 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 403);
    std::fs::write(&config, "nonsense").unwrap();
    hang_up();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(get(&url, key).await, 403);
    assert_eq!(serving.child.try_wait().unwrap(), None, "it still runs");
}
