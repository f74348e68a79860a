//! The proxy of the configuration in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Proxy;
use crate::cache::feed::Forget;

/// Where the proxy of another configuration takes the place of the one before.
///
/// A request is served by one proxy from its first stage to its last, so nobody sees a configuration that
/// is half applied, and nobody's request is lost.
#[derive(Debug)]
pub struct InForce(ArcSwap<Proxy>);

impl InForce {
    pub fn new(proxy: Proxy) -> Arc<InForce> {
        let known = Arc::clone(&proxy.in_force);
        let in_force = Arc::new(InForce(ArcSwap::from_pointee(proxy)));
        // A proxy is put in here once, and those that follow are made from it.
        let _ = known.set(Arc::downgrade(&in_force));
        in_force
    }

    /// For requests that come now.
    pub fn proxy(&self) -> Arc<Proxy> {
        self.0.load_full()
    }

    /// Has requests that come from now on served by another.
    pub fn replace(&self, proxy: Proxy) {
        self.0.store(Arc::new(proxy));
    }
}

impl Forget for InForce {
    fn forget<'a>(&'a self, account: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let proxy = self.proxy();
            proxy.installations.forget(account).await;
            proxy.tokens.forget(account).await;
        }
        .boxed()
    }
}
