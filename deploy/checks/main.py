"""Renders every overlay and judges it: the tools first, then our own rules, then running it. See ../validate."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import yaml

import breakages
import machine
import rules
import running
from rendered import Rendered, title, tollgate_container
from report import DEPLOY, KEYS, KUBERNETES, ROOT, TOOLS, Report, run

OVERLAYS = ("trial", "single", "ha", "cluster")
COMPONENTS = ("egress", "monitoring", "webhook", "secrets")
# Of the operator: kubernetes-validate has no schema for them, the rule `monitoring` looks at them.
CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tollgate", type=Path, metavar="BIN", help="check configurations with it, and run it")
    parser.add_argument("--github-sim", type=Path, metavar="BIN", help="the stand-in, to answer a first call")
    options = parser.parse_args()
    started = time.monotonic()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="tollgate-deploy-") as directory:
        scratch = Path(directory)
        machine.image(report)
        machine.compose(report, scratch)
        machine.planted(report, scratch)
        variants = kubernetes(report, scratch)
        if not variants:
            report.skip("configurations and running", "not everything can be rendered")
        elif options.tollgate:
            configurations(report, options.tollgate.resolve(), variants, scratch)
            running.prove(report, options.tollgate.resolve(), options.github_sim, variants, scratch)
        else:
            report.skip("configurations and running", "no --tollgate given")
    print(f"took {time.monotonic() - started:.0f} s")
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return 1 if report.failed else 0


def kubernetes(report: Report, scratch: Path) -> dict[str, Rendered]:
    """Every overlay by itself, and in an overlay like that of docs/kubernetes.md with all components."""
    tree = scratch / "tree"
    shutil.copytree(DEPLOY / "kustomize", tree / "deploy/kustomize", ignore=shutil.ignore_patterns("files"))
    make_secrets(tree / "deploy/kustomize/components/secrets/files")
    if (ROOT / "dashboards").is_dir():
        shutil.copytree(ROOT / "dashboards", tree / "dashboards")
    report.tool("what is made from dashboards/ is up to date", sys.executable, DEPLOY / "generate", "--check")
    known = dashboards(tree)
    variants = {}
    for overlay in OVERLAYS:
        variants[overlay] = render(report, overlay, tree / "deploy/kustomize/overlays" / overlay, known)
        if overlay != "trial":
            name = f"{overlay} with everything"
            variants[name] = render(report, name, own_overlay(tree, overlay), known)
    variants["documented"] = render(report, "documented", documented_overlay(tree), known)
    made_up = make_up_dashboards(report, scratch, tree)
    name = "made-up dashboards"
    variants[name] = render(report, name, own_overlay(made_up, "ha"), dashboards(made_up))
    if not all(rendered.objects for rendered in variants.values()):
        return {}
    for name, rendered in variants.items():
        for rule, problems in rules.problems(rendered).items():
            report.check(f"{name}: {rule}", problems)
        schemas(report, rendered, scratch)
    agents(report, tree, variants["single"])
    for what, problems in breakages.missed(variants):
        report.check(f"planted: {what}", problems)
    documented = (ROOT / "docs/kubernetes.md").read_text()
    missing = [f"{key} is not in docs/kubernetes.md" for key in rules.SECRET_KEYS if f"`{key}`" not in documented]
    report.check("the Secret's keys are documented", missing)
    return variants


def dashboards(tree: Path) -> dict:
    """What the component `monitoring` must hold."""
    known = {"dashboards": sorted(path.name for path in (tree / "dashboards").glob("*.json"))}
    alerts = tree / "dashboards/alerts.yaml"
    groups = yaml.safe_load(alerts.read_text())["groups"] if alerts.is_file() else []
    return known | {"alerts": [each["alert"] for group in groups for each in group["rules"] if "alert" in each]}


def make_up_dashboards(report: Report, scratch: Path, tree: Path) -> Path:
    """The same tree with two dashboards and an alert of ours, to prove `generate` and the rules on its work."""
    made_up = scratch / "made-up"
    shutil.copytree(tree / "deploy", made_up / "deploy")
    (made_up / "dashboards").mkdir()
    for name in ("overview", "operations_2"):
        (made_up / f"dashboards/{name}.json").write_text('{"title": "made up"}')
    alert = {
        "alert": "MadeUp",
        "expr": 'sum by (agent) (rate(tollgate_requests_total{outcome="refused"}[5m])) > 1',
        "for": "5m",
        "labels": {"severity": "warning"},
        "annotations": {"summary": "{{ $labels.agent }}: {{ $value }} a second, \"made up\""},
    }
    (made_up / "dashboards/alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "made-up", "rules": [alert]}]}))
    command = [sys.executable, DEPLOY / "generate", "--root", made_up]
    stale = run(*command, "--check")
    report.check("planted: generate sees that dashboards/ changed", [] if stale.returncode == 1 else [stale.stdout])
    report.tool("generate: of made-up dashboards", *command)
    report.tool("generate: and is content with it", *command, "--check")
    return made_up


def make_secrets(directory: Path):
    directory.mkdir(parents=True)
    contents = {
        "app.pem": (KEYS / "pkcs1.pem").read_text(),
        "approver.pub.pem": (KEYS / "pkcs8.pub.pem").read_text(),
    }
    for key in rules.SECRET_KEYS:
        (directory / key).write_text(contents.get(key, f"not-a-secret-only-for-checks-{key}"))


def own_overlay(tree: Path, overlay: str) -> Path:
    """What an operator writes who wants everything, with a configuration that has webhooks."""
    own = tree / "own" / overlay
    own.mkdir(parents=True)
    before, webhook = configuration(tree, overlay).split("# With components/webhook:\n")
    (own / "tollgate.yaml").write_text(before + re.sub("^# ?", "", webhook, flags=re.M))
    kustomization = {
        "resources": [f"../../deploy/kustomize/overlays/{overlay}"],
        "components": [f"../../deploy/kustomize/components/{component}" for component in COMPONENTS],
        "images": [{"name": "localhost/tollgate", "newName": "registry.example.com/tollgate", "newTag": "0.1.0"}],
        "namespace": "tollgate",
        "configMapGenerator": [{"name": "tollgate-config", "behavior": "replace", "files": ["tollgate.yaml"]}],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return own


def documented_overlay(tree: Path) -> Path:
    """The one that the documentation shows, to the letter but for the place of the project."""
    own = tree / "own/documented"
    own.mkdir()
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/kubernetes.md").read_text(), re.S).group(1)
    (own / "kustomization.yaml").write_text(text.replace("../tollgate/", "../../"))
    (own / "tollgate.yaml").write_text(configuration(tree, "ha"))
    return own


def configuration(tree: Path, overlay: str) -> str:
    of_overlay = tree / "deploy/kustomize/overlays" / overlay / "tollgate.yaml"
    return (of_overlay if of_overlay.exists() else tree / "deploy/kustomize/base/tollgate.yaml").read_text()


def render(report: Report, name: str, directory: Path, known: dict) -> Rendered:
    done = run(TOOLS / "kubectl", "kustomize", directory)
    # kubectl says there what is deprecated.
    report.check(f"kubectl kustomize: {name}", [done.stderr] if done.returncode or done.stderr else [])
    return Rendered.read(name, done.stdout, **known)


def schemas(report: Report, rendered: Rendered, scratch: Path):
    path = scratch / f"{rendered.name.replace(' ', '-')}.yaml"
    path.write_text(yaml.safe_dump_all(each for each in rendered.objects if each["kind"] not in CUSTOM_KINDS))
    for version in KUBERNETES:
        command = [TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, path]
        done = run(*command)
        said = done.stdout + done.stderr
        is_fine = done.returncode == 0 and not said.strip()
        report.check(f"kubernetes-validate {version}: {rendered.name}", [] if is_fine else [said])
    for each in rendered.of_kind("PrometheusRule"):
        path.write_text(yaml.safe_dump(each["spec"]))
        report.tool(f"promtool: {rendered.name}: {title(each)}", "promtool", "check", "rules", path)


def agents(report: Report, tree: Path, single: Rendered):
    """The agents' policy is for another namespace, so it must fit the objects of this one."""
    done = run(TOOLS / "kubectl", "kustomize", tree / "deploy/kustomize/agents")
    (policy,) = yaml.safe_load_all(done.stdout)
    proxy = single.proxy()
    problems = []
    ways = [(peer, entry["ports"]) for entry in policy["spec"]["egress"] for peer in entry["to"]]
    namespace = proxy["metadata"]["namespace"]
    found = [
        peer_ports
        for peer, peer_ports in ways
        if peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name") == namespace
        and single.pods(peer["podSelector"]) == [proxy]
    ]
    listening = {port["name"]: port["containerPort"] for port in tollgate_container(single)["ports"]}
    if found != [[{"port": listening["http"], "protocol": "TCP"}]]:
        problems.append(f"agents must reach {listening['http']} of tollgate and nothing else of it: {found}")
    if len(ways) != 2 or policy["spec"]["podSelector"] != {} or policy["spec"]["policyTypes"] != ["Egress"]:
        problems.append("agents may reach more than DNS and tollgate, or only some of them are held")
    report.check("agents: their policy leads to tollgate alone", problems)


def configurations(report: Report, tollgate: Path, variants: dict[str, Rendered], scratch: Path):
    """`tollgate check` on each file, laid out as a pod would see it, and its arguments as it takes them."""
    for name, rendered in variants.items():
        root = scratch / "pods" / name.replace(" ", "-")
        args = running.lay_out(rendered, root, scratch / "tree/deploy/kustomize/components/secrets/files")
        report.check(f"tollgate check: {name}", checked(tollgate, root / args[-1].lstrip("/")))
        # Whatever does not parse ends with 2, before any file is looked for.
        done = run(tollgate, *args[:-1], "/nonexistent")
        report.check(f"tollgate takes its arguments: {name}", [done.stderr] if done.returncode != 1 else [])
    laid = scratch / "pods/single/etc/tollgate/config/tollgate.yaml"
    os.chmod(laid.resolve(), 0o644)
    laid.write_text(laid.read_text().replace("drain_timeout", "drain_time"))
    report.check("planted: tollgate check sees a misspelt key", [] if checked(tollgate, laid) else ["not seen"])
    prepared = scratch / "compose/deploy/compose/config/tollgate.yaml"
    report.check("tollgate check: compose", checked(tollgate, prepared))


def checked(tollgate: Path, path: Path) -> list[str]:
    done = run(tollgate, "check", "--config", path)
    said = [line for line in done.stderr.splitlines() if not line.endswith("has no effect yet in this version")]
    return said or ([] if done.returncode == 0 else [f"ended with {done.returncode}"])


if __name__ == "__main__":
    sys.exit(main())
