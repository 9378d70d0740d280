"""Pods without Kubernetes: Linux namespaces with what kubelet and KubeRay would give, for `loadtest.deployment`.

`isolated` runs a command with mounts, network and processes of its own (Linux, root, util-linux, iproute2): whatever
it mounts, listens on or starts is gone when it ends. In there `Cluster` joins network namespaces by a bridge, one for
each pod, and starts containers of rendered manifests in them: environment and volumes from ConfigMaps and Secrets,
services by name. `Cluster.ray_pod` adds what no manifest says, because the operator does it, after KubeRay 1.7.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Doc = dict[str, Any]
_STORES = "10.77.0.1"  # of the bridge, where the services without Ray listen; pods count up from it
_GCS = 6379
STORAGE = "uid-of-the-raycluster"  # begins the keys of Ray's control plane in Redis
_SCRATCH = ("/tmp/ray", "/tmp/haproxy-serve", "/dev/shm")  # each pod's own
_NOTHING: Mapping[str, str] = {}


def isolated(command: Sequence[str], limit_s: float) -> int:
    """The exit status of a command in namespaces of its own; 124 when it took longer than `limit_s`."""
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen([*own, *command], start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)  # its child is the first process of the namespace, and all others' end
        process.wait()


def run_ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Cluster:
    """The namespace `opensesame` of a cluster with these documents. To be made once, within `isolated`."""

    def __init__(self, docs: list[Doc], logs: Path) -> None:
        self._docs = docs
        self._logs = logs
        self._ips: dict[str, str] = {}
        self._envs: dict[str, dict[str, str]] = {}
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._token = secrets.token_hex(32)  # the operator makes one for each Ray cluster
        self.folder = Path("/run/pods")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        Path("/run/netns").mkdir()
        self.folder.mkdir()
        self._overlay("/etc")
        self._overlay("/var/lib")
        # The pods' user may make no folder there; root may.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/mnt"], check=True)
        services = [doc["metadata"]["name"] for doc in docs if doc["kind"] == "Service"]
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write("".join(f"{_STORES} {name}\n" for name in services))
        run_ip("link", "set", "lo", "up")
        run_ip("link", "add", "pods", "type", "bridge")
        run_ip("addr", "add", f"{_STORES}/24", "dev", "pods")
        run_ip("link", "set", "pods", "up")

    def _overlay(self, path: str) -> None:
        """Lay an empty folder over `path`, which takes what is written there from now on."""
        above = self.folder / path.strip("/").replace("/", "-")
        for part in ("upper", "work"):
            (above / part).mkdir(parents=True)
        options = f"lowerdir={path},upperdir={above / 'upper'},workdir={above / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, path], check=True)

    def named(self, kind: str, name: str) -> Doc:
        """Raises LookupError when there is none, as a pod would wait for ever."""
        for doc in self._docs:
            if doc["kind"] == kind and doc["metadata"]["name"] == name:
                return doc
        raise LookupError(f"no {kind} {name}")

    def values(self, kind: str, name: str) -> dict[str, str]:
        """What a ConfigMap or Secret holds."""
        doc = self.named(kind, name)
        held: dict[str, str] = doc["stringData" if kind == "Secret" else "data"]
        return held

    def _referred(self, source: Doc) -> str:
        return self.values("Secret", source["secretKeyRef"]["name"])[source["secretKeyRef"]["key"]]

    def ip(self, pod: str) -> str:
        return self._ips[pod]

    def environment(self, container: Doc) -> dict[str, str]:
        """The variables that a container of the manifests gets, and no OPENSESAME or RAY variable of ours."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("OPENSESAME", "RAY", "MLFLOW"))}
        told = {}
        for entry in container.get("env", ()):
            if "valueFrom" in entry:
                told[entry["name"]] = self._referred(entry["valueFrom"])
            else:
                told[entry["name"]] = entry["value"]
        path = f"{Path(sys.executable).parent}:{ours.get('PATH', '')}"  # as in the image: python is ours
        return ours | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | told

    def start(self, name: str, command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """A program beside the pods; its log is NAME.log."""
        with (self._logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd="/", start_new_session=True
            )

    def pod(self, name: str, template: Doc, command: Sequence[str], env: Mapping[str, str] = _NOTHING) -> None:
        """Start `command` in the first container of a pod template, with `env` beside what its manifest says."""
        self._ips[name] = f"{_STORES.rpartition('.')[0]}.{len(self._ips) + 2}"
        run_ip("netns", "add", name)
        run_ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run_ip("link", "set", f"v{name}", "master", "pods", "up")
        run_ip("-n", name, "addr", "add", f"{self._ips[name]}/24", "dev", "eth0")
        run_ip("-n", name, "link", "set", "eth0", "up")
        run_ip("-n", name, "link", "set", "lo", "up")
        run_ip("-n", name, "route", "add", "default", "via", _STORES)  # by it Ray finds its own address
        mounts = [f"mount -t tmpfs tmpfs {path}" for path in _SCRATCH]
        for place in _SCRATCH:
            Path(place).mkdir(exist_ok=True)
        mounts += [f"mount --bind {folder} {path}" for folder, path in self._volumes(name, template)]
        self._envs[name] = {**self.environment(template["spec"]["containers"][0]), **env}
        self._commands[name] = ["sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh", *command]
        self.restart(name)

    def restart(self, name: str) -> None:
        """Start a pod that has ended again, with empty scratch folders and its old address."""
        self._running[name] = self.start(name, self._inside(name, self._commands[name]), self._envs[name])

    def lose(self, name: str) -> None:
        """Kill every process of a pod."""
        for pid in subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._running[name].wait()

    def ray_pod(self, name: str, group: Doc, head: str = "", redis: Doc | None = None) -> None:
        """A pod of a Ray cluster, started by `ray start`: its head, or one that joins the pod `head`.

        `redis` is the gcsFaultToleranceOptions of the head's cluster.
        """
        container = group["template"]["spec"]["containers"][0]
        limits = container["resources"]["limits"]
        memory = int(limits["memory"].removesuffix("Gi")) << 30
        options = {"num-cpus": limits["cpu"], "memory": str(memory), **group["rayStartParams"]}
        options["metrics-export-port"] = "8080"
        start = ["ray", "start", "--block", *(f"--{key}={value}" for key, value in options.items())]
        start += [f"--address={self._ips[head]}:{_GCS}"] if head else ["--head", f"--port={_GCS}", "--no-monitor"]
        env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token, "RAY_PORT": str(_GCS)}
        env["RAY_ADDRESS"] = f"{self._ips[head] if head else '127.0.0.1'}:{_GCS}"
        if head:
            env["RAY_gcs_rpc_server_reconnect_timeout_s"] = "600"
        if redis:
            password = self._referred(redis["redisPassword"]["valueFrom"])
            start.append(f"--redis-password={password}")
            env |= {"RAY_REDIS_ADDRESS": redis["redisAddress"], "REDIS_PASSWORD": password}
            env["RAY_external_storage_namespace"] = STORAGE
        self.pod(name, group["template"], start, env)

    def execute(self, pod: str, command: Sequence[str], limit_s: float) -> str:
        """What a command prints that runs in a pod, as by `kubectl exec`. Raises RuntimeError when it fails."""
        done = subprocess.run(
            self._inside(pod, command), env=self._envs[pod], cwd="/", capture_output=True, text=True, timeout=limit_s
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} in {pod}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def finish(self, pod: str, limit_s: float) -> str:
        """The log of a pod whose command has ended. Raises RuntimeError when it failed."""
        status = self._running[pod].wait(limit_s)
        text = (self._logs / f"{pod}.log").read_text(errors="replace")
        if status:
            raise RuntimeError(f"{pod}: {status}, {text[-3000:]}")
        return text

    @staticmethod
    def _inside(pod: str, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", pod, *command]

    def _volumes(self, pod: str, template: Doc) -> list[tuple[Path, str]]:
        """(folder, mount path) of each volume, with its files in it."""
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounted = []
        for mount in template["spec"]["containers"][0]["volumeMounts"]:
            if mount["mountPath"] in _SCRATCH:
                continue
            volume = volumes[mount["name"]]
            folder = self.folder / pod / mount["name"]
            folder.mkdir(parents=True)
            Path(mount["mountPath"]).mkdir(parents=True, exist_ok=True)
            if "configMap" in volume:
                for file, text in self.values("ConfigMap", volume["configMap"]["name"]).items():
                    (folder / file).write_text(text)
            if "secret" in volume:
                held = self.values("Secret", volume["secret"]["secretName"])
                for item in volume["secret"]["items"]:
                    (folder / item["path"]).write_text(held[item["key"]])
            mounted.append((folder, mount["mountPath"]))
        return mounted
