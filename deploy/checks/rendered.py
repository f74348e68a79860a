"""What Kustomize makes of an overlay, with the look-ups that rules need."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

WORKLOADS = ("Deployment", "StatefulSet")


@dataclass
class Rendered:
    """One overlay's objects, and where it can be told apart, what else belongs to it."""

    name: str
    objects: list[dict]
    # Of dashboards/: alerts by name, in their order, and file names of the dashboards; None where there are none.
    alerts: list[str] | None = None
    dashboards: list[str] | None = None

    @classmethod
    def read(cls, name: str, text: str, **of_dashboards) -> Rendered:
        return cls(name, [each for each in yaml.safe_load_all(text) if each], **of_dashboards)

    def copy(self) -> Rendered:
        return Rendered(self.name, copy.deepcopy(self.objects), self.alerts, self.dashboards)

    def of_kind(self, *kinds: str) -> list[dict]:
        return [each for each in self.objects if each["kind"] in kinds]

    def find(self, kind: str, name: str) -> dict | None:
        return next((each for each in self.of_kind(kind) if each["metadata"]["name"] == name), None)

    def workloads(self) -> list[dict]:
        return self.of_kind(*WORKLOADS)

    def pods(self, selector: dict | None) -> list[dict]:
        """Workloads whose pods a label selector selects."""
        return [each for each in self.workloads() if selects(selector, pod_labels(each))]

    def proxy(self) -> dict:
        """The Deployment that runs tollgate; that there is one is what everything else rests on."""
        return self.find("Deployment", "tollgate")

    def config_map(self) -> dict:
        volumes = {each["name"]: each for each in pod(self.proxy())["volumes"]}
        return self.find("ConfigMap", volumes["config"]["configMap"]["name"]) or {"data": {}}

    def settings(self) -> dict:
        """The configuration file that tollgate will read."""
        return yaml.safe_load(self.config_map()["data"].get("tollgate.yaml", "")) or {}

    def most_replicas(self) -> int:
        """How many pods of tollgate there can be at a time, updates aside."""
        scaled = [
            each["spec"]["maxReplicas"]
            for each in self.of_kind("HorizontalPodAutoscaler")
            if each["spec"]["scaleTargetRef"]["name"] == "tollgate"
        ]
        return max([self.proxy()["spec"].get("replicas", 1), *scaled])


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def pod_labels(workload: dict) -> dict:
    return workload["spec"]["template"]["metadata"].get("labels", {})


def containers(workload: dict) -> list[dict]:
    return pod(workload).get("initContainers", []) + pod(workload)["containers"]


def tollgate_container(rendered: Rendered) -> dict:
    return next(each for each in pod(rendered.proxy())["containers"] if each["name"] == "tollgate")


def ports(workload: dict) -> dict[str, int]:
    """Ports of all containers of a pod, by name."""
    return {port["name"]: port["containerPort"] for each in containers(workload) for port in each.get("ports", [])}


def selects(selector: dict | None, labels: dict) -> bool:
    """Whether a label selector selects; an empty one selects everything, none at all nothing."""
    if selector is None:
        return False
    if "matchExpressions" in selector:
        raise ValueError("matchExpressions are not understood here: write matchLabels")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def title(each: dict) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


def files_named(settings: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every `*_file` of a configuration, with its path."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            here = f"{path}.{key}".lstrip(".")
            if key.endswith("_file") and isinstance(value, str):
                yield here, value
            yield from files_named(value, here)
    elif isinstance(settings, list):
        for index, value in enumerate(settings):
            yield from files_named(value, f"{path}[{index}]")
