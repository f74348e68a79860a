//! Requests of well-behaved agents, at a steady pace, while others misbehave.
//!
//! Open loop: each request begins when it is due, whatever became of the last, and its latency counts
//! from then, so a stall is seen by everyone it would have hit. Every other request brings a new
//! connection, which a flood hinders most.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::process::Target;
use super::report::{Figure, Report};

/// Who waits longer has given up.
const PATIENCE: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_millis(2_500);
/// What no ordinary request may take longer than, whatever others do.
pub(crate) const LATENCY_BOUND: Figure = Figure::Time(BOUND);

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) served: u64,
    pub(crate) slowest: Duration,
    /// Why the first that failed did.
    pub(crate) failure: Option<String>,
}

impl Outcome {
    pub(crate) fn report(&self, what: &str, report: &mut Report<impl Write>) -> anyhow::Result<()> {
        report.all(what, self.served, self.sent)?;
        match &self.failure {
            Some(why) => report.note(&format!("the first that failed: {why}")),
            None => Ok(()),
        }
    }

    fn add(&mut self, took: Duration, result: Result<(), String>) {
        self.sent += 1;
        self.slowest = self.slowest.max(took);
        match result {
            Ok(()) => self.served += 1,
            Err(why) => self.failure = self.failure.take().or(Some(why)),
        }
    }
}

/// Well-behaved agents.
#[derive(Debug, Clone)]
pub(crate) struct Ordinary {
    kept: HttpClient,
    fresh: HttpClient,
    url: String,
    key: HeaderValue,
}

impl Ordinary {
    /// Over TLS if there is a configuration for it.
    pub(crate) fn new(target: &Target, tls: Option<&ClientConfig>) -> anyhow::Result<Ordinary> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let tls = match tls {
            Some(tls) => tls.clone(),
            None => super::http2::trusting(&[])?,
        };
        let client = |idle_max: usize| {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            let connector =
                HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(idle_max)
                .build(connector.wrap_connector(tcp))
        };
        Ok(Ordinary {
            kept: client(8),
            fresh: client(0),
            url: format!("{scheme}://{}/repos/a/b", target.address),
            key: HeaderValue::from_str(&format!("Bearer {}", target.key.expose()))?,
        })
    }

    /// So many requests a second, for so long.
    pub(crate) async fn run(&self, per_second: u32, time: Duration) -> Outcome {
        let every = Duration::from_secs(1) / per_second;
        let count = time.as_millis() / every.as_millis();
        let mut due = interval(every);
        let mut requests = JoinSet::new();
        let this = Arc::new(self.clone());
        for number in 0..count {
            let began = due.tick().await;
            let this = Arc::clone(&this);
            requests.spawn(async move {
                let client = if number % 2 == 0 { &this.kept } else { &this.fresh };
                let result = timeout(PATIENCE, this.ask(client)).await;
                (began.elapsed(), result.unwrap_or_else(|_| Err("no answer in time".to_owned())))
            });
        }
        let mut outcome = Outcome::default();
        while let Some(request) = requests.join_next().await {
            match request {
                Ok((took, result)) => outcome.add(took, result),
                Err(error) => outcome.add(PATIENCE, Err(error.to_string())),
            }
        }
        outcome
    }

    /// One of each kind, so that what comes first is not counted.
    pub(crate) async fn warm_up(&self) -> anyhow::Result<()> {
        for client in [&self.kept, &self.fresh] {
            self.ask(client).await.map_err(|why| anyhow::anyhow!("before any load: {why}"))?;
        }
        Ok(())
    }

    async fn ask(&self, client: &HttpClient) -> Result<(), String> {
        let request = Request::get(&self.url).header("authorization", self.key.clone());
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = client.request(request).await.map_err(|error| describe(&error))?;
        let status = response.status();
        response.into_body().collect().await.map_err(|error| describe(&error))?;
        if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
    }
}

/// An error with its causes.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_and_the_first_failure_are_kept() {
        let mut outcome = Outcome::default();
        outcome.add(Duration::from_millis(3), Ok(()));
        outcome.add(Duration::from_millis(9), Err("first".to_owned()));
        outcome.add(Duration::from_millis(1), Err("second".to_owned()));
        assert_eq!((outcome.sent, outcome.served, outcome.slowest), (3, 1, Duration::from_millis(9)));
        assert_eq!(outcome.failure.as_deref(), Some("first"));
    }
}
