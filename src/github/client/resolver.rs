//! Names to addresses: one question at a time for each name.
//!
//! The system's resolver keeps a thread for each question under way, and connections are opened in
//! bursts: thirty at once were thirty threads with 60 MiB.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use moka::future::Cache;
use tower::Service;

/// The system doesn't tell how long an address is good for; who has moved is found after this.
const KEPT: Duration = Duration::from_secs(5);
/// GitHub's two and a few issuers of identities.
const NAMES_MAX: u64 = 64;

/// The system's resolver, asked once for all who want to know the same. Errors are not kept.
#[derive(Debug, Clone)]
pub(super) struct Resolver<S = GaiResolver> {
    system: S,
    known: Cache<Name, Vec<SocketAddr>>,
}

impl<S> Resolver<S> {
    pub(super) fn new(system: S) -> Resolver<S> {
        Resolver { system, known: Cache::builder().max_capacity(NAMES_MAX).time_to_live(KEPT).build() }
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
        let Resolver { mut system, known } = self.clone();
        async move {
            let asked = name.clone();
            let look_up = async move {
                poll_fn(|context| system.poll_ready(context)).await?;
                Ok(system.call(asked).await?.collect())
            };
            let addresses = known.try_get_with(name, look_up).await?;
            Ok(addresses.into_iter())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Counts what it is asked and answers later; it knows no name that ends in `.invalid`.
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl Service<Name> for Counting {
        type Response = vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = BoxFuture<'static, io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, name: Name) -> Self::Future {
            self.0.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                match name.as_str().ends_with(".invalid") {
                    true => Err(io::Error::other("unknown")),
                    false => Ok(vec![SocketAddr::from(([192, 0, 2, 7], 0))].into_iter()),
                }
            }
            .boxed()
        }
    }

    impl Counting {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn who_asks_beside_others_and_soon_after_shares_their_answer() {
        let system = Counting::default();
        let resolver = Resolver::new(system.clone());
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
        let system = Counting::default();
        let resolver = Resolver::new(system.clone());
        let calls = (0..8).map(|_| resolver.clone().call("github.invalid".parse().unwrap()));
        for addresses in join_all(calls).await {
            assert_eq!(addresses.unwrap_err().to_string(), "unknown");
        }
        let before = system.count();
        resolver.clone().call("github.invalid".parse().unwrap()).await.unwrap_err();
        assert_eq!(system.count(), before + 1);
    }
}
