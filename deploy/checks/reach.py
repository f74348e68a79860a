"""Rules about who reaches whom: NetworkPolicies, and what watches tollgate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from rendered import Rendered, ports, selects, title
from rules import rule

# A policy may name the webhooks' port before components/webhook is there.
WEBHOOK_PORT = 8081

CONFIG_MAP_BYTES_MAX = 1 << 20

# What our two objects of the Prometheus operator use of its schema; more is a typo until it is written here.
MONITOR_KEYS = {
    "spec": {"jobLabel", "selector", "endpoints", "namespaceSelector"},
    "endpoint": {"port", "path", "interval", "scrapeTimeout", "scheme"},
}
GROUP_KEYS = {"name", "interval", "rules", "limit", "labels"}
RULE_KEYS = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}


@rule
def network_policies(rendered: Rendered) -> Iterator[str]:
    """They select pods, name ports those have, and let through what tollgate lives on, but agents not to admin."""
    policies = rendered.of_kind("NetworkPolicy")
    for policy in policies:
        spec = policy["spec"]
        selected = rendered.pods(spec["podSelector"])
        if not selected:
            yield f"{title(policy)} selects no pods: {spec['podSelector']}"
        for direction in ("ingress", "egress"):
            if direction in spec and direction.capitalize() not in spec["policyTypes"]:
                yield f"{title(policy)} has {direction}, but policyTypes does not say so"
        for entry in spec.get("ingress", []):
            for each in selected:
                known = {*ports(each), *ports(each).values(), WEBHOOK_PORT}
                wrong = [port["port"] for port in entry["ports"] if port["port"] not in known]
                yield from (f"{title(policy)} lets in to {port}, which {title(each)} does not have" for port in wrong)
        for entry in spec.get("egress", []):
            for peer in entry.get("to", []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    for each in rendered.pods(peer["podSelector"]):
                        if not {port["port"] for port in entry["ports"]} <= {*ports(each), *ports(each).values()}:
                            yield f"{title(policy)} lets out to ports that {title(each)} does not have"
    over_proxy = [each for each in policies if rendered.proxy() in rendered.pods(each["spec"]["podSelector"])]
    if over_proxy:
        yield from _open_enough(rendered, over_proxy)


def _open_enough(rendered: Rendered, policies: list[dict]) -> Iterator[str]:
    named = ports(rendered.proxy())
    let_in = [
        (named.get(port["port"], port["port"]), peer)
        for policy in policies
        for entry in policy["spec"].get("ingress", [])
        for port in entry["ports"]
        for peer in entry.get("from", [{}])
    ]
    let_out = {
        (port.get("protocol", "TCP"), port["port"])
        for policy in policies
        for entry in policy["spec"].get("egress", [])
        for port in entry["ports"]
    }
    for name, number in named.items():
        if number not in [port for port, _ in let_in]:
            yield f"nobody is let in to {name}"
    by_peer: dict[str, set[int]] = {}
    for port, peer in let_in:
        by_peer.setdefault(json.dumps(peer, sort_keys=True), set()).add(port)
        if not peer:
            yield f"everybody is let in to {port}"
    yield from (
        f"the same are let in to agents' port and admin's: {peer}"
        for peer, numbers in by_peer.items()
        if {named["http"], named["admin"]} <= numbers
    )
    needed = {("UDP", 53), ("TCP", 53), ("TCP", 443)}
    redis = rendered.settings().get("budget", {}).get("redis") or {}
    urls = [redis["url"]] if "url" in redis else redis.get("nodes", [])
    needed |= {("TCP", urlsplit(url).port or 6379) for url in urls}
    yield from (f"tollgate may not reach {protocol} {port}" for protocol, port in sorted(needed - let_out))
    if not any("Egress" in policy["spec"]["policyTypes"] for policy in policies):
        yield "tollgate may reach everything"


@rule
def monitoring(rendered: Rendered) -> Iterator[str]:
    """The operator finds the admin Service's port, and has the alerts and dashboards that the project has."""
    for monitor in rendered.of_kind("ServiceMonitor"):
        spec = monitor["spec"]
        yield from (f"{title(monitor)}: no such key: {key}" for key in spec.keys() - MONITOR_KEYS["spec"])
        found = [
            each
            for each in rendered.of_kind("Service")
            if spec["selector"].get("matchLabels") and selects(spec["selector"], each["metadata"].get("labels", {}))
        ]
        if [each["metadata"]["name"] for each in found] != ["tollgate-admin"]:
            yield f"{title(monitor)} must select tollgate-admin alone, not {[title(each) for each in found]}"
            continue
        (service,) = found
        if service["metadata"]["labels"].get(spec.get("jobLabel")) != "tollgate":
            yield f"{title(monitor)}: the job would not be called tollgate"
        for endpoint in spec.get("endpoints", []):
            yield from (f"{title(monitor)}: no such key: {key}" for key in endpoint.keys() - MONITOR_KEYS["endpoint"])
            if endpoint.get("port") not in [port["name"] for port in service["spec"]["ports"]]:
                yield f"{title(monitor)}: {title(service)} has no port {endpoint.get('port')}"
            if endpoint.get("path") != "/metrics":
                yield f"{title(monitor)}: metrics are at /metrics, not {endpoint.get('path')}"
        if not spec.get("endpoints"):
            yield f"{title(monitor)} has no endpoints"
        yield from _alerts(rendered)
        yield from _dashboards(rendered)


def _alerts(rendered: Rendered) -> Iterator[str]:
    found = rendered.of_kind("PrometheusRule")
    groups = [group for each in found for group in each["spec"]["groups"]]
    rules = [each for group in groups for each in group["rules"]]
    yield from (f"PrometheusRule: no such key: {key}" for group in groups for key in group.keys() - GROUP_KEYS)
    yield from (f"PrometheusRule: no such key: {key}" for each in rules for key in each.keys() - RULE_KEYS)
    alerts = [each["alert"] for each in rules if "alert" in each]
    if alerts != (rendered.alerts or []):
        wrong = sorted(set(alerts) ^ set(rendered.alerts or [])) or "their order"
        yield f"alerts differ from dashboards/alerts.yaml in {wrong}"


def _dashboards(rendered: Rendered) -> Iterator[str]:
    seen = []
    for each in rendered.of_kind("ConfigMap"):
        if "grafana_dashboard" not in each["metadata"].get("labels", {}):
            continue
        for name, text in each["data"].items():
            seen.append(name)
            if len(text.encode()) > CONFIG_MAP_BYTES_MAX - 4096:
                yield f"{title(each)} is too large for an object"
            try:
                json.loads(text)
            except ValueError as error:
                yield f"{title(each)}: {name} is no JSON: {error}"
    if sorted(seen) != sorted(rendered.dashboards or []):
        yield f"dashboards differ from dashboards/*.json: {sorted(set(seen) ^ set(rendered.dashboards or []))}"
