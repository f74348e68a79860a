//! Resolves host names: one query serves all who ask at the same time, or soon after.
//!
//! The system's resolver blocks a thread per query, and connections are opened in bursts: thirty at once took
//! thirty threads and 60 MiB.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use moka::future::Cache;
use tower::Service;

/// How long addresses are used without asking again. The system does not tell their TTL, so a moved host is found
/// after this.
const FRESH: Duration = Duration::from_secs(5);
/// How long the last known addresses are used while the system does not answer, or not in time.
const STALE: Duration = Duration::from_mins(1);
/// Names remembered: GitHub's two and a few identity issuers.
const NAMES_MAX: u64 = 64;

/// The system's resolver, asked once for all callers. All of them get its errors, which are not cached.
#[derive(Debug, Clone)]
pub(super) struct Resolver<S> {
    system: S,
    /// Longest wait for the system's answer.
    patience: Duration,
    fresh: Cache<Name, Vec<SocketAddr>>,
    stale: Cache<Name, Vec<SocketAddr>>,
}

impl<S> Resolver<S> {
    pub(super) fn new(system: S, patience: Duration) -> Resolver<S> {
        let cache = |kept| Cache::builder().max_capacity(NAMES_MAX).time_to_live(kept).build();
        Resolver { system, patience, fresh: cache(FRESH), stale: cache(STALE) }
    }
}

impl<S> Resolver<S>
where
    S: Service<Name, Response: Iterator<Item = SocketAddr>, Error = io::Error>,
{
    async fn ask_system(mut self, name: Name) -> io::Result<Vec<SocketAddr>> {
        let answer = async {
            poll_fn(|context| self.system.poll_ready(context)).await?;
            self.system.call(name.clone()).await
        };
        let answer = tokio::time::timeout(self.patience, answer).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        let addresses: Vec<SocketAddr> = answer.map_err(late)??.collect();
        self.stale.insert(name, addresses.clone()).await;
        Ok(addresses)
    }
}

impl<S> Service<Name> for Resolver<S>
where
    S: Service<Name, Response: Iterator<Item = SocketAddr>, Error = io::Error, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Arc<io::Error>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        async move {
            let answer = resolver.clone().ask_system(name.clone());
            let addresses = match resolver.fresh.try_get_with(name.clone(), answer).await {
                Ok(addresses) => addresses,
                Err(error) => resolver.stale.get(&name).await.ok_or(error)?,
            };
            Ok(addresses.into_iter())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Counts its queries and answers after a pause, unless it is silent. It knows no name that ends in
    /// `.invalid`, and none at all while it is broken.
    #[derive(Clone, Default)]
    struct System {
        asked: Arc<AtomicUsize>,
        is_broken: Arc<AtomicBool>,
        is_silent: bool,
    }

    impl Service<Name> for System {
        type Response = vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = BoxFuture<'static, io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, name: Name) -> Self::Future {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let is_unknown = name.as_str().ends_with(".invalid") || self.is_broken.load(Ordering::Relaxed);
            if self.is_silent {
                return std::future::pending().boxed();
            }
            async move {
                tokio::task::yield_now().await;
                match is_unknown {
                    true => Err(io::Error::other("unknown")),
                    false => Ok(vec![SocketAddr::from(([192, 0, 2, 7], 0))].into_iter()),
                }
            }
            .boxed()
        }
    }

    impl System {
        fn count(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn who_asks_beside_others_and_soon_after_shares_their_answer() {
        let system = System::default();
        let resolver = Resolver::new(system.clone(), Duration::from_secs(5));
        for _ in 0..2 {
            let calls = (0..32).map(|_| resolver.clone().call("api.github.com".parse().unwrap()));
            for addresses in join_all(calls).await {
                let addresses: Vec<SocketAddr> = addresses.unwrap().collect();
                assert_eq!(addresses, [SocketAddr::from(([192, 0, 2, 7], 0))]);
            }
        }
        assert_eq!(system.count(), 1);
        resolver.clone().call("uploads.github.com".parse().unwrap()).await.unwrap();
        assert_eq!(system.count(), 2);
    }

    #[tokio::test]
    async fn an_error_is_told_to_all_who_asked_and_then_forgotten() {
        let system = System::default();
        let resolver = Resolver::new(system.clone(), Duration::from_secs(5));
        let calls = (0..8).map(|_| resolver.clone().call("github.invalid".parse().unwrap()));
        for addresses in join_all(calls).await {
            assert_eq!(addresses.unwrap_err().to_string(), "unknown");
        }
        let before = system.count();
        resolver.clone().call("github.invalid".parse().unwrap()).await.unwrap_err();
        assert_eq!(system.count(), before + 1);
    }

    #[tokio::test]
    async fn what_was_known_a_moment_ago_serves_where_nothing_is_answered() {
        let system = System::default();
        let resolver = Resolver::new(system.clone(), Duration::from_secs(5));
        let name: Name = "api.github.com".parse().unwrap();
        resolver.clone().call(name.clone()).await.unwrap();
        resolver.fresh.invalidate(&name).await;
        system.is_broken.store(true, Ordering::Relaxed);
        let addresses: Vec<SocketAddr> = resolver.clone().call(name).await.unwrap().collect();
        assert_eq!(addresses, [SocketAddr::from(([192, 0, 2, 7], 0))]);
        assert_eq!(system.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_never_answered_is_given_up() {
        let system = System { is_silent: true, ..System::default() };
        let resolver = Resolver::new(system, Duration::from_secs(5));
        let error = resolver.clone().call("api.github.com".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
