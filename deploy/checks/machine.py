"""The image and the compose file, and that the tools see what they are for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from report import DEPLOY, KEYS, KUBERNETES, ROOT, TOOLS, Report, run


def image(report: Report):
    report.tool("hadolint: Containerfile", TOOLS / "hadolint", "--failure-threshold", "style", DEPLOY / "Containerfile")
    ignore = [(ROOT / name).read_text() for name in (".containerignore", ".dockerignore")]
    report.check("Docker and Podman leave out the same", [] if ignore[0] == ignore[1] else ["the two files differ"])
    sent = {line[1:] for line in ignore[0].splitlines() if line.startswith("!")}
    needed = {"Cargo.toml", "Cargo.lock", "src"}
    manifest = (ROOT / "Cargo.toml").read_text()
    members = re.search(r"^members = \[(.*?)\]", manifest, re.M | re.S).group(1)
    needed |= {member.split("/")[0] for member in re.findall(r'"([^"]+)"', members)}
    needed |= {path.split("/")[0] for path in re.findall(r'^path = "([^"]+)"', manifest, re.M)}
    # Benches and tests without a path are found by Cargo in their folders.
    needed |= {"benches"} if "[[bench]]" in manifest else set()
    # What a stage runs of ours.
    needed |= set(re.findall(r"^ +(\w+)/\w+ \\$", (DEPLOY / "Containerfile").read_text(), re.M))
    report.check("the image's context holds all it is built of", [f"{name} is left out" for name in sorted(needed - sent)])


def compose(report: Report, scratch: Path):
    tree = scratch / "compose"
    shutil.copytree(DEPLOY, tree / "deploy", ignore=shutil.ignore_patterns("checks", "secrets", "config"))
    (tree / "loadtest/github-sim").mkdir(parents=True)
    shutil.copytree(KEYS, tree / "loadtest/github-sim/keys")
    (tree / "dashboards").mkdir()
    report.tool("compose/prepare", "bash", tree / "deploy/compose/prepare", cwd=tree)
    report.check("compose/prepare again makes what is missing, and nothing else", prepared_again(tree))
    file = tree / "deploy/compose.yaml"
    report.tool("docker compose: compose.yaml", TOOLS / "docker-compose", "-f", file, "config", "--quiet", cwd=tree)
    report.tool("compose-lint: compose.yaml", TOOLS / "compose-lint", "--fail-on", "high", file, cwd=tree)
    done = run(TOOLS / "docker-compose", "-f", file, "config", cwd=tree)
    services = yaml.safe_load(done.stdout)["services"]
    report.check("compose: what is published, mounted and bounded", composed(services))
    settings = [DEPLOY / "compose/redis.conf", DEPLOY / "kustomize/components/redis/redis.conf"]
    same = [[line for line in path.read_text().splitlines() if not line.startswith("#")] for path in settings]
    report.check("compose and Kubernetes set Redis up alike", [] if same[0] == same[1] else ["the two files differ"])
    report.check("compose and Kubernetes start Redis alike", redis_starts())
    yaml_files = [*DEPLOY.glob("**/*.yaml")]
    relaxed = "{extends: relaxed, rules: {line-length: disable, document-start: disable, comments: disable}}"
    report.tool("yamllint", TOOLS / "yamllint", "--strict", "-d", relaxed, *yaml_files)
    prometheus(report, scratch)


def prepared_again(tree: Path) -> list[str]:
    made = tree / "deploy/compose"
    read = lambda: {path.name: path.read_bytes() for path in [*made.glob("secrets/*"), *made.glob("config/*")]}
    before = read()
    (made / "secrets/redis.password").unlink()
    done = run("bash", made / "prepare", cwd=tree)
    problems = [f"ended with {done.returncode}: {done.stderr}"] if done.returncode else []
    after = read()
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    if changed != ["redis.password"] or "redis.password" not in after:
        problems.append(f"changed or missing: {changed}")
    return problems


def redis_starts() -> list[str]:
    """running.py starts Redis as Kubernetes would; so compose's way is proved if it is the same."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]
    stateful = yaml.safe_load((DEPLOY / "kustomize/components/redis/statefulset.yaml").read_text())
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    *shell, script = container["command"]
    moved = script.replace("/etc/redis/config/", "/etc/redis/").replace("/etc/redis/secrets/", "/run/secrets/")
    starts = [*compose["entrypoint"], *(part.replace("$$", "$") for part in compose["command"])]
    return [] if starts == [*shell, moved] else [f"{starts} and {[*shell, moved]}"]


def composed(services: dict) -> list[str]:
    problems = []
    for name, service in services.items():
        for port in service.get("ports", []):
            if port.get("host_ip") != "127.0.0.1":
                problems.append(f"{name} is published on {port.get('host_ip', 'every address')}")
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or not service.get("user"):
            problems.append(f"{name} is not confined")
        if not service.get("deploy", {}).get("resources", {}).get("limits", {}).get("memory"):
            problems.append(f"{name} has no bound on memory")
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                if not volume.get("read_only"):
                    problems.append(f"{name} can write to {volume['source']}")
                if not Path(volume["source"]).exists():
                    problems.append(f"{name} mounts {volume['source']}, which is not there")
    return problems


def prometheus(report: Report, scratch: Path):
    if not shutil.which("promtool"):
        report.check("promtool", ["it is missing (Debian: apt-get install prometheus)"])
        return
    rules_file = ROOT / "dashboards/alerts.yaml"
    settings = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text())
    # In the container dashboards/ is there; here it is where it is.
    settings["rule_files"] = [str(rules_file)] if rules_file.exists() else []
    path = scratch / "prometheus.yaml"
    path.write_text(yaml.safe_dump(settings))
    report.tool("promtool: compose/prometheus.yaml", "promtool", "check", "config", path)


def planted(report: Report, scratch: Path):
    """That the tools would say something, too: one mistake for each."""
    directory = scratch / "planted"
    directory.mkdir()

    def sees(what: str, name: str, old: str, new: str, *command: str | Path):
        """The command must have nothing to say of the file as it is, and refuse it once `old` is `new`."""
        whole = (DEPLOY / name).read_text()
        broken = whole.replace(old, new)
        path = directory / Path(name).name
        ended = []
        for text in (whole, broken):
            path.write_text(text)
            ended.append(run(*[path if part == "FILE" else part for part in command]).returncode)
        is_seen = ended[0] == 0 and ended[1] != 0
        report.check(f"planted: {what}", [] if is_seen else [f"exit codes, whole and broken: {ended}"])

    sees("hadolint sees an image that ends as root", "Containerfile", "65532:65532", "root", TOOLS / "hadolint", "FILE")
    schema = [TOOLS / "kubernetes-validate", "--strict", "-k", KUBERNETES[-1], "FILE"]
    name = "kustomize/base/deployment.yaml"
    sees("kubernetes-validate sees a misspelt key", name, "readinessProbe:", "readynessProbe:", *schema)
    sees("kubernetes-validate sees a port that is text", name, "Port: 8080", 'Port: "8080"', *schema)
    lint = [TOOLS / "compose-lint", "--fail-on", "high", "FILE"]
    privileged = ("stop_grace_period: 40s", "privileged: true")
    sees("compose-lint sees a privileged container", "compose.yaml", *privileged, *lint)
    resolve = [TOOLS / "docker-compose", "-f", "FILE", "config", "--quiet"]
    sees("docker compose sees a misspelt condition", "compose.yaml", "service_healthy", "service_well", *resolve)
    sees("docker compose sees a network there is not", "compose.yaml", "[agents, store", "[agents, stores", *resolve)
    for what, change in (
        ("a port for everybody", {"ports": [{"target": 9090, "published": "9090"}]}),
        ("a folder that can be written to", {"volumes": [{"type": "bind", "source": "/", "target": "/etc"}]}),
        ("no bound on memory", {"deploy": {}}),
        ("a root that can be written to", {"read_only": False}),
    ):
        limits = {"resources": {"limits": {"memory": 1}}}
        whole = {"read_only": True, "cap_drop": ["ALL"], "user": "1", "deploy": limits}
        problems = composed({"whole": whole}) + ([] if composed({"broken": whole | change}) else ["not seen"])
        report.check(f"planted: compose's rules see {what}", problems)
