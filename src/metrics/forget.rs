//! Removes series whose subject is gone: without this, every name ever used would stay.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use rustc_hash::FxHashSet;

use super::Metrics;

impl Metrics {
    /// Drops the series of agents that no longer exist.
    pub fn forget_agents(&self, is_known: impl Fn(&str) -> bool) {
        for family in [&self.requests, &self.agent_spent, &self.observed, &self.denied] {
            keep(family, "agent", &is_known);
        }
    }

    /// Drops the expiry of tokens of installations for which no token is held.
    pub fn forget_tokens(&self, is_known: impl Fn(&str) -> bool) {
        keep(&self.token_expiry, "installation", is_known);
    }

    /// Drops the series of pools that nobody has used for hours.
    ///
    /// Takes a set: each series is looked up in it, and with a thousand installations there are thousands of both.
    pub fn forget_pools(&self, installations: &FxHashSet<&str>) {
        let is_known = |name: &str| installations.contains(name);
        let pools = [&self.pool_limit, &self.pool_used, &self.pool_remaining, &self.pool_reset];
        for family in pools.into_iter().chain([&self.ledger_drift, &self.cooldown, &self.inflight]) {
            keep(family, "installation", is_known);
        }
        keep(&self.pool_rate, "installation", is_known);
    }
}

/// Removes a family's series whose value of `label` is not known.
fn keep<B: MetricVecBuilder>(family: &MetricVec<B>, label: &str, is_known: impl Fn(&str) -> bool) {
    for series in family.collect().iter().flat_map(MetricFamily::get_metric) {
        let labels: HashMap<&str, &str> =
            series.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
        if labels.get(label).is_some_and(|value| !is_known(value)) {
            // Another thread may have removed it already.
            let _ = family.remove(&labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_exported_no_more() {
        let metrics = Metrics::new();
        for agent in ["stays", "leaves"] {
            metrics.requests.with_label_values(&[agent, "core", "ok"]).inc();
            metrics.denied.with_label_values(&[agent, "x"]).inc();
        }
        metrics.forget_agents(|name| name == "stays");
        let text = metrics.render();
        assert!(text.contains("agent=\"stays\"") && !text.contains("agent=\"leaves\""), "{text}");
        metrics.pool_limit.with_label_values(&["bot/acme", "core"]).set(1);
        metrics.cooldown.with_label_values(&["gone/acme"]).set(1);
        metrics.forget_pools(&FxHashSet::from_iter(["bot/acme"]));
        let text = metrics.render();
        assert!(text.contains("bot/acme") && !text.contains("gone/acme"), "{text}");
    }
}
