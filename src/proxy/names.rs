//! Names that every call to the budget carries, made once and shared.

use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Routes and resources as shared strings. Both are closed sets: templates of GitHub's operations.
#[derive(Debug, Default)]
pub(super) struct RouteNames {
    routes: Mutex<FxHashMap<(Method, &'static str), Arc<str>>>,
    resources: Mutex<FxHashMap<&'static str, Arc<str>>>,
}

impl RouteNames {
    /// `METHOD TEMPLATE`: what GitHub counts as one endpoint.
    pub(super) fn of(&self, method: &Method, template: &'static str) -> Arc<str> {
        let mut routes = self.routes.lock();
        let name = || format!("{method} {template}").into();
        Arc::clone(routes.entry((method.clone(), template)).or_insert_with(name))
    }

    pub(super) fn resource(&self, resource: &'static str) -> Arc<str> {
        Arc::clone(self.resources.lock().entry(resource).or_insert_with(|| resource.into()))
    }
}
