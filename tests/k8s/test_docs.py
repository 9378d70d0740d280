"""The kubectl commands of docs/operations.md, run by kubectl in the page's order against an API that is played.

No cluster is here: what is shown is that kubectl takes each command and that every object it names is made by the
manifests, by KubeRay of them, or by an earlier command. Streams (exec, cp, port-forward) end where they would begin.
"""

from __future__ import annotations

import base64
import copy
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from pipeline.stores.apikeys import read_keys
from pipeline.stores.embedded import EmbeddedRedis
from tests.documented import commands, documented, every
from tests.fakes import KubernetesApi
from tests.k8s.rendering import K8S, KUBECTL, load_all, render

NODE, CLUSTER = "NODE", "NAME-OF-THE-RAYCLUSTER"  # as the page calls them
KINDS = {("v1", kind) for kind in ("Namespace", "Node", "Pod", "Secret", "Service")}
KINDS |= {("batch/v1", "Job"), ("ray.io/v1", "RayCluster")}

by_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: the page's commands are not run")


def controllers(made: Any) -> list[Any]:
    """What Kubernetes and KubeRay make of an object, under the names that they give."""
    name, namespace = made["metadata"]["name"], made["metadata"].get("namespace")

    def pod(called: str, template: Any, **labels: str) -> Any:
        owner = {"apiVersion": made["apiVersion"], "kind": made["kind"], "name": name, "uid": name, "controller": True}
        found = copy.deepcopy(template)
        found.setdefault("metadata", {}).update(name=called, namespace=namespace, ownerReferences=[owner])
        found["metadata"]["labels"] = {**template.get("metadata", {}).get("labels", {}), **labels}
        found["spec"]["nodeName"] = NODE if labels.get("part") == "worker" else "another"
        return {"apiVersion": "v1", "kind": "Pod", **found, "status": {"phase": "Running"}}

    def service(called: str, port: int, **selector: str) -> Any:
        spec = {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": port}]}
        metadata = {"name": called, "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    match made["kind"]:
        case "StatefulSet":
            return [pod(f"{name}-0", made["spec"]["template"])]
        case "RayService":
            made["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
            config, owned = made["spec"]["rayClusterConfig"], {"name": CLUSTER, "namespace": namespace}
            ports = {p["name"]: p["containerPort"] for p in _container(config["headGroupSpec"])["ports"]}
            token = {"auth_token": base64.b64encode(b"of the operator").decode()}
            return [
                {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {**owned}, "spec": config},
                {"apiVersion": "v1", "kind": "Secret", "metadata": {**owned}, "data": token},
                pod(f"{CLUSTER}-head", config["headGroupSpec"]["template"], part="head"),
                pod(f"{CLUSTER}-worker", config["workerGroupSpecs"][0]["template"], part="worker"),
                service(f"{name}-serve-svc", ports["serve"], part="worker"),
                service(f"{name}-head-svc", ports["dashboard"], part="head"),
            ]
    return []


def _container(group: Any) -> Any:
    return group["template"]["spec"]["containers"][0]


@pytest.fixture(scope="module")
def manifests() -> list[Any]:
    return render(K8S / "overlays" / "minimal")


@pytest.fixture(scope="module")
def api(manifests: list[Any]) -> Iterator[KubernetesApi]:
    made = KubernetesApi(KINDS | {(doc["apiVersion"], doc["kind"]) for doc in manifests}, controllers)
    made.add({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(api: KubernetesApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed: the manifests, a home, and how the cluster is reached."""
    folder = tmp_path_factory.mktemp("operator")
    shutil.copytree(K8S, folder / "k8s")
    (folder / "kubeconfig").write_text(
        f"{{apiVersion: v1, kind: Config, clusters: [{{name: c, cluster: {{server: '{api.url}'}}}}],"
        " contexts: [{name: c, context: {cluster: c, user: ''}}], current-context: c}"
    )
    return folder


def typed(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script as bash runs it, with the programs of this checkout."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig")}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _secret_keys(value: Any) -> Iterator[tuple[str, str]]:
    """(Secret, key) of every reference that is not optional."""
    if isinstance(value, list):
        for item in value:
            yield from _secret_keys(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "secretKeyRef" and not inner.get("optional"):
                yield inner["name"], inner["key"]
            elif key == "secret" and "secretName" in inner:
                yield from ((inner["secretName"], item["key"]) for item in inner["items"])
            else:
                yield from _secret_keys(inner)


@by_kubectl
def test_the_page_is_followed(api: KubernetesApi, folder: Path, manifests: list[Any]) -> None:
    (secrets,) = (block for block in every("docs/operations.md", "shell") if "create namespace" in block)
    assert documented("password=$(openssl rand -hex 24)")
    assert documented(
        "opensesame keys create --tenant acme --scope predict --scope feedback --scope catalogs --entry 2> keys.yaml"
    )
    done = typed(secrets, folder)
    assert done.returncode == 0, done.stderr
    kept = {o["metadata"]["name"]: o["data"] for o in api.objects.values() if o["kind"] == "Secret"}
    wanted = set(_secret_keys(manifests))
    assert wanted == {(name, key) for name, data in kept.items() for key in data}
    assert wanted <= {(s["metadata"]["name"], key) for s in _examples() for key in s["stringData"]}
    (record,) = read_keys(base64.b64decode(kept["opensesame-auth"]["keys.yaml"]).decode()).values()
    assert any(record.opens(line) for line in done.stdout.splitlines())

    typed_already = [command.text for command in commands("", textwrap.indent(secrets, "    "))]
    more = {"apply": " --validate=false", "diff": " k8s/overlays/minimal"}  # the former is test_schemas.py's
    for line in every("docs/operations.md", "kubectl"):
        if line in (*typed_already, "kubectl port-forward"):  # the latter is a name
            continue
        done = typed(line + more.get(line.split()[1], ""), folder)
        if {"exec", "cp", "port-forward"} & set(line.split()):
            assert api.NO_STREAMS in done.stderr, (line, done.stderr)
        else:
            assert done.returncode == 0, (line, done.stderr)
    made = {(o["kind"], o["metadata"]["name"]) for o in api.objects.values()}
    assert {(doc["kind"], doc["metadata"]["name"]) for doc in manifests} <= made
    assert ("Job", "retrain-now") in made
    assert ("Pod", f"{CLUSTER}-worker") not in made  # drained


def _examples() -> list[Any]:
    return load_all((K8S / "secrets.example.yaml").read_text())


@by_kubectl
def test_what_the_manifests_do_not_make_is_not_found(api: KubernetesApi, folder: Path) -> None:
    for line in (
        "kubectl -n opensesame exec opensesame-cache-0 -- redis-cli BGREWRITEAOF",
        "kubectl -n opensesame rollout restart statefulset/redis",
        "kubectl -n opensesame create job --from=cronjob/retrain retrain-now",
        "kubectl -n opensesame port-forward svc/opensesame 8000",
    ):
        done = typed(line, folder)
        assert done.returncode != 0, line
        assert "is not there" in done.stderr, (line, done.stderr)
    done = typed("kubectl -n opensesame get pods --no-such-flag", folder)
    assert "unknown flag" in done.stderr


@pytest.mark.redis
def test_redis_takes_what_is_said_to_it() -> None:
    told = [line.split(" -- ")[1] for line in every("docs/operations.md", "kubectl") if " -- redis-cli " in line]
    with EmbeddedRedis.throwaway() as server, redis.Redis.from_url(server.url) as client:
        for line in (*told, *every("docs/operations.md", "redis-cli")):
            words = [word.strip("'") for word in line.split()[1:]]
            assert client.execute_command(*words), line
        with redis.Redis.from_url(server.url, password="NEW") as other:
            assert other.ping()
