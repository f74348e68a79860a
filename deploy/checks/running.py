"""Runs what an overlay renders, without a cluster: the image's contents, the mounts, the user, the arguments.

The root is what the image would hold (tollgate and the libraries it is linked to, no shell), it is mounted
read-only, and the process is the pod's user, without a capability. It runs in namespaces of its own for
mounts, processes and network, so the ports are the overlay's own and nothing outside is reached.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from rendered import Rendered, containers, pod, tollgate_container

# What distroless "cc" has of libraries; another one would be missing in the image.
IN_THE_IMAGE = re.compile(r"(linux-vdso|libc|libm|libgcc_s|libdl|libpthread|librt|ld-linux[\w-]*)\.so\.\d+$")
KEY = "tg_reviewer_" + "0" * 43
DEADLINE_SECONDS = 30
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096


def lay_out(rendered: Rendered, root: Path, secrets: Path, workload: dict | None = None) -> list[str]:
    """Below `root`, what the kubelet mounts into tollgate's container (or that of `workload`); its arguments."""
    workload = workload or rendered.proxy()
    container = tollgate_container(rendered) if workload == rendered.proxy() else containers(workload)[0]
    volumes = {each["name"]: each for each in pod(workload)["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        source = volume.get("configMap") or volume.get("secret")
        directory = root / mount["mountPath"].lstrip("/")
        directory.mkdir(parents=True)
        if not source:
            continue
        if "configMap" in volume:
            found = rendered.find("ConfigMap", source["name"])["data"]
        elif held := rendered.find("Secret", source["secretName"]):
            found = {name: base64.b64decode(text).decode() for name, text in held["data"].items()}
        else:
            found = {path.name: path.read_text() for path in secrets.iterdir()}
        items = {item["key"]: item["path"] for item in source.get("items", [])} or {name: name for name in found}
        # As the kubelet does: a change is a new directory behind the same link.
        version = directory / "..2026_01_01"
        version.mkdir()
        (directory / "..data").symlink_to(version.name)
        for key, name in items.items():
            (version / name).write_text(found[key])
            os.chmod(version / name, source["defaultMode"])
            if os.geteuid() == 0:
                os.chown(version / name, 0, pod(workload)["securityContext"]["fsGroup"])
            (directory / name).symlink_to(f"..data/{name}")
    return container.get("args", [])


def prove(report, tollgate: Path, github_sim: Path | None, variants: dict[str, Rendered], scratch: Path):
    linked = subprocess.run(["ldd", tollgate], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0].split("/")[-1] for line in linked.splitlines() if line.strip()]
    report.check("the image has every library", [name for name in names if not IN_THE_IMAGE.match(name)])
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        report.skip("running it", "only root may make the namespaces for it")
        return
    secrets = scratch / "tree/deploy/kustomize/components/secrets/files"
    for overlay in ("trial", "ha"):
        root = scratch / "image" / overlay
        args = lay_out(variants[overlay], root, secrets)
        fill(root, tollgate, linked)
        task = {"root": str(root), "args": args, "user": pod(variants[overlay].proxy())["securityContext"]["runAsUser"]}
        if overlay == "trial":
            if not github_sim:
                report.skip("running trial", "no --github-sim given")
                continue
            know_key(root / args[-1].lstrip("/"))
            sim = next(each for each in containers(variants["trial"].proxy()) if each["name"] == "github-sim")
            task["beside"] = [[str(github_sim.resolve()), *sim["args"]]]
        else:
            if not shutil.which("redis-server"):
                report.check("running ha", ["redis-server is missing (Debian: apt-get install redis-server)"])
                continue
            task |= redis(variants["ha"], scratch, secrets)
        command = [*unshare, sys.executable, __file__, json.dumps(task)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        try:
            results = json.loads(done.stdout)
        except ValueError:
            results = [["runs to its end", [done.stdout + done.stderr]]]
        for what, problems in results:
            report.check(f"running {overlay}: {what}", problems)


def fill(root: Path, tollgate: Path, linked: str):
    for library in re.findall(r"(/\S+)", linked):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    (root / "usr/local/bin").mkdir(parents=True)
    shutil.copy(tollgate, root / "usr/local/bin/tollgate")
    # In a cluster its DNS knows the Service; here the hosts file does.
    (root / "etc/hosts").write_text("127.0.0.1 localhost redis\n")


def know_key(path: Path):
    """Puts a key that is known here into the example configuration."""
    path = path.resolve()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    text = re.sub('key_sha256: "[0-9a-f]+"', f'key_sha256: "{digest}"', path.read_text(), count=1)
    os.chmod(path, 0o644)
    path.write_text(text)


def redis(rendered: Rendered, scratch: Path, secrets: Path) -> dict:
    """Redis as its pod starts it and asks for its health, with the pod's paths led to a folder."""
    workload, root = rendered.find("StatefulSet", "redis"), scratch / "redis"
    lay_out(rendered, root, secrets, workload)
    (container,) = containers(workload)
    config = (root / "etc/redis/config/redis.conf").resolve()
    os.chmod(config, 0o644)
    config.write_text(config.read_text().replace("dir /data", f"dir {root}/data"))

    def led(command: list[str]) -> list[str]:
        return [part.replace("/etc/redis/", f"{root}/etc/redis/") for part in command]

    probe = container["readinessProbe"]["exec"]["command"]
    return {"beside": [led(container["command"])], "probe": led(probe)}


class Inside:
    """What happens in the namespaces."""

    def __init__(self, task: dict):
        self.task, self.results, self.processes = task, [], []

    def result(self, what: str, *problems: str):
        self.results.append([what, [problem for problem in problems if problem]])

    def run(self):
        raise_loopback()
        try:
            for command in self.task["beside"]:
                self.start(command)
            if "probe" in self.task:
                self.result("Redis' own probe", self.until(self.redis_answers))
                naked = subprocess.run(["redis-cli", "ping"], capture_output=True, text=True, check=False).stdout
                self.result("Redis asks for the password", "" if "NOAUTH" in naked else f"it said {naked}")
            gate = self.start(["/usr/local/bin/tollgate", *self.task["args"]], in_image=True)
            self.result("it becomes ready", self.until(lambda: get(9090, "/readyz")[0] == 200))
            user, capabilities = of_process(gate.pid, "Uid"), of_process(gate.pid, "CapEff")
            is_confined = set(user) == {str(self.task["user"])} and int(capabilities[0], 16) == 0
            self.result("as the pod's user, without a capability", "" if is_confined else f"{user} {capabilities}")
            writable = os.statvfs(self.task["root"]).f_flag & os.ST_RDONLY == 0
            self.result("on a root that can't be written to", "it can be" if writable else "")
            status, _, body = get(8080, "/repos/acme/widgets")
            self.result("a caller without a key is told so", "" if status == 401 else f"{status} {body}")
            if "probe" in self.task:
                self.result("the store is taken: password, eviction, version", self.until(store_is_up))
            else:
                status, headers, body = get(8080, "/repos/acme/widgets", {"Authorization": f"Bearer {KEY}"})
                answered = status == 200 and headers.get("x-tollgate-agent") == "reviewer"
                self.result("a first call is answered", "" if answered else f"{status} {headers} {body}")
            self.swap(Path(self.task["args"][-1]).name, lambda text: text + "# another version\n")
            self.result("a changed ConfigMap is taken up", self.until(lambda: has_reloaded("ok")))
            gate.send_signal(signal.SIGTERM)
            self.result("it ends by itself when told to", "" if gate.wait(DEADLINE_SECONDS) == 0 else self.said(gate))
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            self.result("runs to its end", repr(error), *[self.said(each) for each in self.processes])
        finally:
            for each in self.processes:
                each.kill()

    def swap(self, name: str, change) -> None:
        """Another version of a mounted file, as the kubelet brings it: a new directory, then the link."""
        old = os.readlink("..data", dir_fd=self.volume)
        with open(os.open(f"{old}/{name}", os.O_RDONLY, dir_fd=self.volume)) as file:
            text = change(file.read())
        os.mkdir("..next", dir_fd=self.volume)
        flags = os.O_WRONLY | os.O_CREAT
        with open(os.open(f"..next/{name}", flags, 0o644, dir_fd=self.volume), "w") as file:
            file.write(text)
        os.symlink("..next", "..data_tmp", dir_fd=self.volume)
        os.rename("..data_tmp", "..data", src_dir_fd=self.volume, dst_dir_fd=self.volume)

    def start(self, command: list[str], in_image: bool = False) -> subprocess.Popen:
        confined = {}
        if in_image:
            # Opened before the root is read-only: the kubelet writes from outside, too.
            config = Path(self.task["root"] + self.task["args"][-1])
            self.volume = os.open(config.parent, os.O_RDONLY | os.O_DIRECTORY)
            mount_read_only(self.task["root"])
            confined = {"preexec_fn": lambda: enter(self.task["root"], self.task["user"]), "env": {}}
        log = Path(f"{self.task['root']}.{len(self.processes)}.log")
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, **confined)
        process.log = log
        self.processes.append(process)
        return process

    def said(self, process: subprocess.Popen) -> str:
        return f"{process.args[0]} ended with {process.poll()}: {process.log.read_text()[-1500:]}"

    def redis_answers(self) -> bool:
        return subprocess.run(self.task["probe"], capture_output=True, check=False).returncode == 0

    def until(self, happens) -> str:
        """Nothing once it happens, and what was said meanwhile when it does not."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            try:
                if happens():
                    return ""
            except OSError:
                pass
            if any(each.poll() is not None for each in self.processes):
                break
            time.sleep(0.05)
        return "\n".join(self.said(each) for each in self.processes)


def get(port: int, path: str, headers: dict | None = None) -> tuple[int, dict, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
    finally:
        connection.close()


def store_is_up() -> bool:
    return "\ntollgate_store_up 1\n" in get(9090, "/metrics")[2]


def has_reloaded(result: str) -> bool:
    return f'tollgate_config_reloads_total{{result="{result}"}} 1\n' in get(9090, "/metrics")[2]


def of_process(pid: int, field: str) -> list[str]:
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{field}:\s+(.*)$", status, re.M).group(1).split()


def raise_loopback():
    """A new network namespace has its loopback interface down. struct ifreq: name, flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))


def mount_read_only(root: str):
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (MS_BIND, MS_BIND | MS_REMOUNT | MS_RDONLY):
        if libc.mount(root.encode(), root.encode(), None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"mounting {root}")


def enter(root: str, user: int):
    os.chroot(root)
    os.chdir("/")
    os.setgroups([user])
    os.setgid(user)
    os.setuid(user)


if __name__ == "__main__":
    inside = Inside(json.loads(sys.argv[1]))
    inside.run()
    print(json.dumps(inside.results))
