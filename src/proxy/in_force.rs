//! The proxy of the configuration in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Proxy;
use crate::cache::feed::Forget;

/// Holds the proxy of the configuration in force, and lets another take its place.
///
/// One proxy serves a request from its first stage to its last, so no request sees a half-applied
/// configuration, and none is lost.
#[derive(Debug)]
pub struct InForce(ArcSwap<Proxy>);

impl InForce {
    pub fn new(proxy: Proxy) -> Arc<InForce> {
        let known = Arc::clone(&proxy.in_force);
        let in_force = Arc::new(InForce(ArcSwap::from_pointee(proxy)));
        // Set once only: later proxies are made from this one and share the cell.
        let _ = known.set(Arc::downgrade(&in_force));
        in_force
    }

    /// The proxy for requests that arrive now.
    pub fn proxy(&self) -> Arc<Proxy> {
        self.0.load_full()
    }

    /// Has requests that arrive from now on served by `proxy`.
    pub fn replace(&self, proxy: Proxy) {
        let proxy = Arc::new(proxy);
        self.0.store(Arc::clone(&proxy));
        proxy.forget_withdrawn();
    }
}

impl Forget for InForce {
    fn forget<'a>(&'a self, account: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let mut proxy = self.proxy();
            loop {
                proxy.installations.forget(account).await;
                proxy.tokens.forget(account);
                // A reload may have put others in their place meanwhile, which learned from the same answers.
                let latest = self.proxy();
                if Arc::ptr_eq(&latest, &proxy) {
                    return;
                }
                proxy = latest;
            }
        }
        .boxed()
    }
}
