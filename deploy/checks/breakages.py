"""Mistakes that people make in such files. Each is planted by itself, and the rule for it must say so.

All but a few are planted in the overlay `ha` with every component and dashboards made up for the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pods  # noqa: F401 – for its rules
import reach  # noqa: F401 – for its rules
import rules
from rendered import Rendered, pod, tollgate_container

# What is wrong, which rule must see it, in which overlay, and how it is done.
BREAKAGES: list[tuple[str, str, str, Callable[[Rendered], None]]] = []


def breakage(rule: str, what: str, overlay: str = "made-up dashboards"):
    def add(plant: Callable[[Rendered], None]) -> Callable[[Rendered], None]:
        BREAKAGES.append((what, rule, overlay, plant))
        return plant

    return add


def spec(rendered: Rendered, kind: str, name: str) -> dict:
    return rendered.find(kind, name)["spec"]


def rewrite(rendered: Rendered, old: str, new: str):
    """In the configuration file."""
    data = rendered.config_map()["data"]
    assert old in data["tollgate.yaml"], f"{old!r} is not in the configuration"
    data["tollgate.yaml"] = data["tollgate.yaml"].replace(old, new)


def volume(rendered: Rendered, name: str) -> dict:
    return next(each for each in pod(rendered.proxy())["volumes"] if each["name"] == name)


@breakage("names", "an object in another namespace")
def _(rendered):
    rendered.find("HorizontalPodAutoscaler", "tollgate")["metadata"]["namespace"] = "default"


@breakage("names", "a namespace that confines no pod")
def _(rendered):
    del rendered.of_kind("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]


@breakage("selectors", "a Service whose selector is misspelt")
def _(rendered):
    spec(rendered, "Service", "tollgate")["selector"]["app.kubernetes.io/name"] = "tollgat"


@breakage("selectors", "a Service that selects Redis, too")
def _(rendered):
    spec(rendered, "Service", "tollgate")["selector"] = {"app.kubernetes.io/part-of": "tollgate"}


@breakage("selectors", "a Deployment that does not select its own pods")
def _(rendered):
    rendered.proxy()["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = "gate"


@breakage("selectors", "a PodDisruptionBudget for nobody")
def _(rendered):
    spec(rendered, "PodDisruptionBudget", "tollgate")["selector"]["matchLabels"] = {"app": "tollgate"}


@breakage("selectors", "pods kept apart from others than themselves")
def _(rendered):
    anti = pod(rendered.proxy())["affinity"]["podAntiAffinity"]
    term = anti["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]
    term["labelSelector"]["matchLabels"] = {"app": "tollgate"}


@breakage("service-ports", "a targetPort that no container names")
def _(rendered):
    spec(rendered, "Service", "tollgate")["ports"][0]["targetPort"] = "web"


@breakage("service-ports", "the agents' Service leads to the admin port, too")
def _(rendered):
    admin = spec(rendered, "Service", "tollgate-admin")["ports"][0]
    spec(rendered, "Service", "tollgate")["ports"].append(admin)


@breakage("probes", "a probe on a port that nobody names")
def _(rendered):
    tollgate_container(rendered)["livenessProbe"]["httpGet"]["port"] = "health"


@breakage("probes", "a probe on the agents' port")
def _(rendered):
    tollgate_container(rendered)["readinessProbe"]["httpGet"]["port"] = "http"


@breakage("probes", "readiness asked of /livez, which also answers while tollgate drains")
def _(rendered):
    tollgate_container(rendered)["readinessProbe"]["httpGet"]["path"] = "/livez"


@breakage("references", "a ConfigMap that is not there")
def _(rendered):
    volume(rendered, "config")["configMap"]["name"] = "tollgate-conf"


@breakage("references", "a key that the Secret does not have")
def _(rendered):
    redis = pod(rendered.find("StatefulSet", "redis"))
    next(each for each in redis["volumes"] if "secret" in each)["secret"]["items"][0]["key"] = "redis-password"


@breakage("references", "a mount without a volume")
def _(rendered):
    pod(rendered.proxy())["volumes"] = [volume(rendered, "config")]


@breakage("references", "a service account that is not there")
def _(rendered):
    pod(rendered.proxy())["serviceAccountName"] = "tollgate-proxy"


@breakage("files", "the configuration under another name than the arguments say")
def _(rendered):
    data = rendered.config_map()["data"]
    data["config.yaml"] = data.pop("tollgate.yaml")


@breakage("files", "a private key that the Secret does not hold")
def _(rendered):
    rewrite(rendered, "../secrets/app.pem", "../secrets/acme-bot.pem")


@breakage("files", "secrets mounted elsewhere than the configuration says")
def _(rendered):
    tollgate_container(rendered)["volumeMounts"][1]["mountPath"] = "/var/run/tollgate"


@breakage("files", "the configuration mounted by subPath")
def _(rendered):
    tollgate_container(rendered)["volumeMounts"][0]["subPath"] = "tollgate.yaml"


@breakage("files", "an argument that is no option")
def _(rendered):
    tollgate_container(rendered)["args"] = ["serve", "--conf", "/etc/tollgate/config/tollgate.yaml"]


@breakage("listeners", "the admin listener on loopback, where no probe reaches it")
def _(rendered):
    rewrite(rendered, "0.0.0.0:9090", "127.0.0.1:9090")


@breakage("listeners", "a port that the configuration does not listen on")
def _(rendered):
    rewrite(rendered, "0.0.0.0:8080", "0.0.0.0:8443")


@breakage("listeners", "a webhook Service, but no webhook in the configuration")
def _(rendered):
    rewrite(rendered, "webhook:\n  listen: 0.0.0.0:8081\n  secret_file: ../secrets/webhook.secret\n", "")


@breakage("replicas", "three replicas that each count by themselves")
def _(rendered):
    rewrite(rendered, "store: redis", "store: memory")


@breakage("replicas", "two replicas of the overlay for one", "single")
def _(rendered):
    rendered.proxy()["spec"]["replicas"] = 2


@breakage("replicas", "an update that runs two pods which count by themselves", "single")
def _(rendered):
    rendered.proxy()["spec"]["strategy"] = {"type": "RollingUpdate"}


@breakage("replicas", "no PodDisruptionBudget")
def _(rendered):
    rendered.objects.remove(rendered.find("PodDisruptionBudget", "tollgate"))


@breakage("autoscaler", "an autoscaler of a Deployment that is not there")
def _(rendered):
    spec(rendered, "HorizontalPodAutoscaler", "tollgate")["scaleTargetRef"]["name"] = "tollgate-proxy"


@breakage("autoscaler", "replicas written beside an autoscaler")
def _(rendered):
    rendered.proxy()["spec"]["replicas"] = 3


@breakage("autoscaler", "an autoscaler by CPU, of pods that request none")
def _(rendered):
    del tollgate_container(rendered)["resources"]["requests"]["cpu"]


@breakage("store", "a Redis that is not there")
def _(rendered):
    rewrite(rendered, "redis://redis:6379", "redis://redis-master:6379")


@breakage("store", "a Redis without a password")
def _(rendered):
    rewrite(rendered, "    password_file: ../secrets/redis.password\n", "")


@breakage("drain", "a drain that the pod is not given the time for")
def _(rendered):
    rewrite(rendered, "drain_timeout: 30s", "drain_timeout: 120s")


@breakage("drain", "no time for the Service to notice")
def _(rendered):
    del tollgate_container(rendered)["lifecycle"]


@breakage("confinement", "a root that can be written to")
def _(rendered):
    tollgate_container(rendered)["securityContext"]["readOnlyRootFilesystem"] = False


@breakage("confinement", "a pod that may be root")
def _(rendered):
    del pod(rendered.proxy())["securityContext"]["runAsNonRoot"]


@breakage("confinement", "an image of any version")
def _(rendered):
    tollgate_container(rendered)["image"] = "registry.example.com:5000/tollgate"


@breakage("confinement", "a token of the cluster in the pod")
def _(rendered):
    del pod(rendered.proxy())["automountServiceAccountToken"]


@breakage("confinement", "memory without a bound")
def _(rendered):
    del tollgate_container(rendered)["resources"]["limits"]["memory"]


@breakage("network-policies", "a policy that selects nobody")
def _(rendered):
    spec(rendered, "NetworkPolicy", "redis")["podSelector"]["matchLabels"]["app.kubernetes.io/name"] = "rediss"


@breakage("network-policies", "a policy for a port that the pods do not have")
def _(rendered):
    spec(rendered, "NetworkPolicy", "tollgate")["ingress"][0]["ports"][0]["port"] = "https"


@breakage("network-policies", "agents let in to the admin port")
def _(rendered):
    entry = spec(rendered, "NetworkPolicy", "tollgate")["ingress"][0]
    entry["ports"].append({"port": "admin", "protocol": "TCP"})


@breakage("network-policies", "no way to Redis")
def _(rendered):
    egress = spec(rendered, "NetworkPolicy", "tollgate")["egress"]
    egress[:] = [each for each in egress if each["ports"][0]["port"] != 6379]


@breakage("network-policies", "names asked by UDP alone")
def _(rendered):
    for each in spec(rendered, "NetworkPolicy", "tollgate")["egress"]:
        each["ports"] = [port for port in each["ports"] if (port["port"], port["protocol"]) != (53, "TCP")]


@breakage("monitoring", "a ServiceMonitor for a port that the Service does not have")
def _(rendered):
    spec(rendered, "ServiceMonitor", "tollgate")["endpoints"][0]["port"] = "metrics"


@breakage("monitoring", "a ServiceMonitor that selects no Service")
def _(rendered):
    spec(rendered, "ServiceMonitor", "tollgate")["selector"]["matchLabels"]["app.kubernetes.io/component"] = "metrics"


@breakage("monitoring", "a key that ServiceMonitors do not have")
def _(rendered):
    monitor = spec(rendered, "ServiceMonitor", "tollgate")
    monitor["endpoint"] = monitor["endpoints"]


@breakage("monitoring", "an alert that was renamed in dashboards/ alone")
def _(rendered):
    rendered.alerts = [*rendered.alerts[:-1], "Renamed"]


@breakage("monitoring", "a key that alerts do not have")
def _(rendered):
    alert = spec(rendered, "PrometheusRule", "tollgate")["groups"][0]["rules"][0]
    alert["annotation"] = alert.pop("annotations")


@breakage("monitoring", "a dashboard that no ConfigMap holds")
def _(rendered):
    rendered.dashboards = [*rendered.dashboards, "new.json"]


@breakage("monitoring", "a dashboard that is no JSON")
def _(rendered):
    rendered.find("ConfigMap", "tollgate-dashboard-overview")["data"]["overview.json"] += ","


def missed(variants: dict[str, Rendered]) -> Iterator[tuple[str, list[str]]]:
    """Each breakage, and why it counts as missed; what is whole must have no problem to begin with."""
    for what, rule, overlay, plant in BREAKAGES:
        broken = variants[overlay].copy()
        plant(broken)
        found = rules.problems(broken)
        is_seen = any(not problem.startswith(rules.UNJUDGED) for problem in found[rule])
        said = [problem for problems in found.values() for problem in problems]
        yield f"{rule} sees {what}", [] if is_seen else [f"not seen; all that was said: {said}"]
    unproved = rules.RULES.keys() - {rule for _, rule, _, _ in BREAKAGES}
    yield "every rule has a breakage", sorted(unproved)
