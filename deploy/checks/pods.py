"""Rules about pods: what selects them, what they are given, how many they are, how they begin and end."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from rendered import Rendered, containers, files_named, pod, pod_labels, ports, selects, title, tollgate_container
from rules import SECRET_KEYS, rule


@rule
def names(rendered: Rendered) -> Iterator[str]:
    """Each object is there once, and in the one namespace, whose pods are confined."""
    counted = Counter(title(each) for each in rendered.objects)
    yield from (f"{name} is there {count} times" for name, count in counted.items() if count > 1)
    namespaces = rendered.of_kind("Namespace")
    if len(namespaces) != 1:
        yield f"{len(namespaces)} namespaces"
        return
    (namespace,) = namespaces
    if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
        yield f"{title(namespace)} does not enforce the restricted pod security standard"
    for each in rendered.objects:
        if each["kind"] != "Namespace" and each["metadata"].get("namespace") != namespace["metadata"]["name"]:
            yield f"{title(each)} is in another namespace: {each['metadata'].get('namespace')}"


@rule
def selectors(rendered: Rendered) -> Iterator[str]:
    """Whatever selects pods selects some, and those it is meant for."""
    for each in rendered.workloads():
        own = [each["spec"]["selector"]]
        spread = pod(each).get("topologySpreadConstraints", [])
        own += [constraint["labelSelector"] for constraint in spread]
        anti = pod(each).get("affinity", {}).get("podAntiAffinity", {})
        own += [
            term["podAffinityTerm"]["labelSelector"]
            for term in anti.get("preferredDuringSchedulingIgnoredDuringExecution", [])
        ]
        yield from (
            f"{title(each)} does not select its own pods: {selector}"
            for selector in own
            if not selector.get("matchLabels") or not selects(selector, pod_labels(each))
        )
    for service in rendered.of_kind("Service"):
        if len(rendered.pods({"matchLabels": service["spec"].get("selector", {})})) != 1:
            yield f"{title(service)} does not select the pods of one workload"
    for budget in rendered.of_kind("PodDisruptionBudget"):
        if rendered.pods(budget["spec"]["selector"]) != [rendered.proxy()]:
            yield f"{title(budget)} does not select tollgate's pods"
    for each in rendered.of_kind("StatefulSet"):
        if not rendered.find("Service", each["spec"]["serviceName"]):
            yield f"{title(each)}: there is no Service {each['spec']['serviceName']}"


@rule
def service_ports(rendered: Rendered) -> Iterator[str]:
    """A Service leads to a port that its pods name; agents' and admin's are two Services."""
    for service in rendered.of_kind("Service"):
        for workload in rendered.pods({"matchLabels": service["spec"].get("selector", {})}):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports(workload):
                    yield f"{title(service)} leads to {port['targetPort']}, which {title(workload)} does not name"
    for name, target in (("tollgate", "http"), ("tollgate-admin", "admin")):
        service = rendered.find("Service", name)
        targets = [port["targetPort"] for port in service["spec"]["ports"]] if service else None
        if targets != [target]:
            yield f"Service/{name} must lead to {target} alone, not {targets}"


@rule
def probes(rendered: Rendered) -> Iterator[str]:
    """Health is asked on the admin port, where it is served; every container that serves is asked."""
    for workload in rendered.workloads():
        for container in containers(workload):
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind, {})
                asked = probe.get("httpGet") or probe.get("tcpSocket")
                if asked and asked["port"] not in ports(workload):
                    yield f"{title(workload)}: {kind} asks port {asked['port']}, which no container names"
                if container.get("ports") and not probe:
                    yield f"{title(workload)}: {container['name']} has no {kind}"
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for kind, path in wanted.items():
        asked = tollgate_container(rendered).get(kind, {}).get("httpGet", {})
        if (asked.get("path"), asked.get("port")) != (path, "admin"):
            yield f"tollgate: {kind} must ask {path} on admin, not {asked.get('path')} on {asked.get('port')}"


@rule
def references(rendered: Rendered) -> Iterator[str]:
    """What a pod names is there: volumes, keys of ConfigMaps and Secrets, its service account."""
    for workload in rendered.workloads():
        spec = pod(workload)
        if not rendered.find("ServiceAccount", spec.get("serviceAccountName", "")):
            yield f"{title(workload)}: there is no ServiceAccount {spec.get('serviceAccountName')}"
        volumes = {each["name"]: each for each in spec.get("volumes", [])}
        claims = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for each in containers(workload) for mount in each.get("volumeMounts", [])}
        yield from (f"{title(workload)}: no volume {name}" for name in mounted - volumes.keys() - claims)
        yield from (f"{title(workload)}: nobody mounts {name}" for name in (volumes.keys() | claims) - mounted)
        for volume in volumes.values():
            yield from (f"{title(workload)}: {problem}" for problem in _source(rendered, volume))


def _source(rendered: Rendered, volume: dict) -> Iterator[str]:
    if "configMap" in volume:
        name, items = volume["configMap"]["name"], volume["configMap"].get("items", [])
        found = rendered.find("ConfigMap", name)
        if not found:
            yield f"there is no ConfigMap {name}"
            return
        known = found["data"].keys()
    elif "secret" in volume:
        name, items = volume["secret"]["secretName"], volume["secret"].get("items", [])
        found = rendered.find("Secret", name)
        if not found and name != "tollgate-secrets":
            yield f"there is no Secret {name}, and tollgate-secrets is the one to be made by hand"
        known = found["data"].keys() if found else SECRET_KEYS
    else:
        return
    yield from (f"{name} has no key {item['key']}" for item in items if item["key"] not in known)


def mounted_keys(rendered: Rendered) -> dict[str, set[str]]:
    """Of tollgate's container: the files below each mount."""
    volumes = {each["name"]: each for each in pod(rendered.proxy()).get("volumes", [])}
    keys = {}
    for mount in tollgate_container(rendered).get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        config_map = rendered.find("ConfigMap", volume.get("configMap", {}).get("name", ""))
        secret = rendered.find("Secret", volume.get("secret", {}).get("secretName", ""))
        found = config_map or secret
        keys[mount["mountPath"]] = set(found["data"]) if found else set(SECRET_KEYS if "secret" in volume else ())
    return keys


@rule
def files(rendered: Rendered) -> Iterator[str]:
    """The configuration file, and each file it names, is where the container looks for it."""
    container = tollgate_container(rendered)
    directories = mounted_keys(rendered)
    args = container.get("args", [])
    if len(args) != 3 or args[:2] != ["serve", "--config"]:
        yield f"tollgate's arguments must be `serve --config FILE`, not {args}"
        return
    start, name = posixpath.split(args[2])
    if name not in directories.get(start, ()):
        yield f"no {name} is mounted in {start}"
    for key, path in files_named(rendered.settings()):
        directory, name = posixpath.split(posixpath.normpath(posixpath.join(start, path)))
        if name not in directories.get(directory, ()):
            yield f"{key}: no {name} is mounted in {directory}"
    for mount in container.get("volumeMounts", []):
        if "subPath" in mount:
            yield f"{mount['mountPath']} is mounted by subPath, so it would never change in a running pod"
        if not mount.get("readOnly"):
            yield f"{mount['mountPath']} can be written to"


@rule
def listeners(rendered: Rendered) -> Iterator[str]:
    """Ports that the configuration listens on are those the pod names, on every address of the pod."""
    settings, named = rendered.settings(), ports(rendered.proxy())
    server = settings.get("server", {})
    wanted = {"http": server.get("listen"), "admin": server.get("admin_listen")}
    wanted["webhook"] = settings.get("webhook", {}).get("listen")
    for port, address in wanted.items():
        host, _, number = (address or "").rpartition(":")
        if port in named and str(named[port]) != number:
            yield f"the pod names port {port} {named[port]}, the configuration listens on {address}"
        if address and port not in named:
            yield f"the configuration listens on {address}, but the pod names no port {port}"
        if address and host not in ("0.0.0.0", "[::]"):
            yield f"{address}: only the pod itself reaches that"


@rule
def replicas(rendered: Rendered) -> Iterator[str]:
    """More than one only on a shared store; and then without a gap when pods change."""
    proxy, budget = rendered.proxy(), rendered.settings().get("budget", {})
    is_shared, most = budget.get("store") == "redis", rendered.most_replicas()
    strategy = proxy["spec"].get("strategy", {})
    if not is_shared or not budget.get("redis"):
        if most > 1:
            yield f"{most} replicas with `budget.store: {budget.get('store')}`: each would spend the whole quota"
        if strategy.get("type") != "Recreate":
            yield "an update would run two pods that each count by themselves: strategy must be Recreate"
        if rendered.of_kind("PodDisruptionBudget"):
            yield "a PodDisruptionBudget for one replica keeps its node from being drained"
        return
    if most < 2:
        yield "a shared store, but one replica"
    if strategy.get("rollingUpdate", {}).get("maxUnavailable") != 0 or not strategy["rollingUpdate"].get("maxSurge"):
        yield "an update must start a new pod before it ends an old one"
    if not rendered.of_kind("PodDisruptionBudget"):
        yield "no PodDisruptionBudget: a drain could end all replicas at once"


@rule
def autoscaler(rendered: Rendered) -> Iterator[str]:
    """It scales what is there, alone, and by what it can measure."""
    for each in rendered.of_kind("HorizontalPodAutoscaler"):
        spec = each["spec"]
        target = rendered.find(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if not target or target["apiVersion"] != spec["scaleTargetRef"]["apiVersion"]:
            yield f"{title(each)}: there is no {spec['scaleTargetRef']}"
            continue
        if "replicas" in target["spec"]:
            yield f"{title(target)} has `replicas`, so every apply would undo {title(each)}"
        if not 2 <= spec["minReplicas"] <= spec["maxReplicas"]:
            yield f"{title(each)}: {spec['minReplicas']} to {spec['maxReplicas']} replicas"
        for metric in spec["metrics"]:
            name = metric["resource"]["name"]
            if any(name not in each["resources"].get("requests", {}) for each in containers(target)):
                yield f"{title(target)} requests no {name}, which {title(each)} takes for its measure"


@rule
def store(rendered: Rendered) -> Iterator[str]:
    """A Redis named without a dot is of this namespace, so it must be here, and its password with it."""
    redis = rendered.settings().get("budget", {}).get("redis") or {}
    for url in [redis["url"]] if "url" in redis else redis.get("nodes", []):
        at = urlsplit(url)
        if "." in (at.hostname or "."):
            continue
        service = rendered.find("Service", at.hostname)
        if not service or at.port not in [port["port"] for port in service["spec"]["ports"]]:
            yield f"budget.redis: there is no Service {at.hostname} with port {at.port}"
    if redis and "password_file" not in redis:
        yield "budget.redis has no password_file"


@rule
def drain(rendered: Rendered) -> Iterator[str]:
    """The pod is given the time that tollgate takes to end."""
    spec, container = pod(rendered.proxy()), tollgate_container(rendered)
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if before < 1:
        yield "no preStop sleep: connections would still be sent to a pod that takes none"
    said = rendered.settings().get("server", {}).get("drain_timeout", "30s")
    seconds = int(re.fullmatch(r"(\d+)s", said).group(1))
    given = spec.get("terminationGracePeriodSeconds", 30)
    if given < before + seconds + 5:
        yield f"terminationGracePeriodSeconds is {given}; {before} s of preStop and {seconds} s of drain must fit in"


@rule
def confinement(rendered: Rendered) -> Iterator[str]:
    """Nobody is root, writes to the image, gains rights, talks to the API server, or takes all memory."""
    for workload in rendered.workloads():
        spec, where = pod(workload), title(workload)
        context = spec.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser") or not context.get("runAsGroup"):
            yield f"{where} may be root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where} has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where} mounts a token of the cluster"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{where} shares a namespace of its node"
        if any("hostPath" in each for each in spec.get("volumes", [])):
            yield f"{where} mounts a path of its node"
        for container in containers(workload):
            yield from (f"{where}: {container['name']} {problem}" for problem in _confined(container))
    for account in rendered.of_kind("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)} gives its token to pods"


def _confined(container: dict) -> Iterator[str]:
    context, resources = container.get("securityContext", {}), container.get("resources", {})
    if context.get("readOnlyRootFilesystem") is not True:
        yield "can write to its image"
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "can gain rights"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield "is root"
    if "memory" not in resources.get("limits", {}) or {"cpu", "memory"} - resources.get("requests", {}).keys():
        yield "has no bound on memory, or requests no CPU or memory"
    if not re.search(r"(:[^:/@]+|@sha256:[0-9a-f]{64})$", container["image"]) or container["image"].endswith(":latest"):
        yield f"has an image that may be any version: {container['image']}"
