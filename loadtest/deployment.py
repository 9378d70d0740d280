"""`python -m loadtest.deployment`: the manifests of overlay `minimal` at work, without Kubernetes.

Their Redis and MLflow, and their Ray pods (a head that takes no replicas, and workers) in network namespaces, with the
environment, files, names and ports of the manifests (`loadtest.pods`). The rendered serveConfigV2 goes in by `serve
deploy`; a key of the Secret asks; people teach; the RayCronJob's own cluster and entrypoint, by `ray job submit`,
train; every replica follows the champion. First the overlay as it is, on one worker; then with two replicas of all
that scales, on two. Prints what it proved; status 1 at what is not so. Linux, root, iproute2; minutes. Left out: the
image, users and limits of containers, the operator, the NetworkPolicies.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
import yaml

from loadtest.hold import stop_on_terminate
from loadtest.lift import first
from loadtest.pods import Cluster, Doc, isolated
from serve import manifest
from tests.k8s import rendering

_READY_S = 300.0
_TAUGHT = 520  # a training is due at train.groups, 500
_AT_ONCE = 8
_HABIT = 0.5  # so often people do what no spec tells: open a thing out of its list, and go back to the list
_COLLECTIONS = ("customers", "subscriptions", "invoices", "charges", "disputes")
_OTHERS = tuple(f"GET /v1/{name}" for name in ("products", "prices", "refunds", "payouts"))
# The same API under a name that nobody told anything of: only another ranker changes the answer there.
_PROBE = {"catalog": "elsewhere", "events": [{"endpoint": "GET /v1/disputes"}, {"endpoint": "GET /v1/disputes/dp_1"}]}
_LEARNT = "GET /v1/disputes"
_DASHBOARD = ("--address", "http://127.0.0.1:8265")
_began = time.monotonic()


def proved(text: str) -> None:
    print(f"{time.monotonic() - _began:5.0f} s  {text}", flush=True)


def until(what: str, holds: Callable[[], Any], limit_s: float = _READY_S) -> Any:
    """What `holds` returns as soon as it is true; RuntimeError with its last word when it never is."""
    end, last = time.monotonic() + limit_s, ""
    while time.monotonic() < end:
        try:
            if found := holds():
                return found
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            last = str(error)
        time.sleep(0.5)
    raise RuntimeError(f"{what}: not within {limit_s:.0f} s. {last}")


def is_ready(base: str) -> bool:
    return httpx2.get(f"{base}/ready", timeout=5, trust_env=False).is_success


class Client:
    """One API key; the workers take turns, as behind the service's address. What is refused for now is sent again."""

    def __init__(self, bases: list[str], key: str) -> None:
        self._bases = itertools.cycle(bases)
        self._users = itertools.count()
        self._http = httpx2.Client(timeout=30, trust_env=False, headers={"authorization": f"Bearer {key}"})

    def get(self, path: str) -> httpx2.Response:
        return self._send("GET", path)

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        return self._send(method, path, **arguments).json()

    def _send(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        base = next(self._bases)
        for _ in range(120):
            answer = self._http.request(method, base + path, **arguments)
            if answer.status_code not in (429, 503):
                break
            time.sleep(0.5)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def has_vectors(self, catalog: str) -> bool:
        return bool(self.ask("GET", f"/catalogs/{catalog}")["embedded"])

    def predict(self, **query: Any) -> Any:
        """Somebody who never asked before asks."""
        user = f"user-{next(self._users)}"
        return self.ask("POST", "/predict", json={"user_id": user, "deadline_ms": 10_000, **query}) | {"user": user}

    def teach(self, chance: random.Random) -> None:
        """Somebody with the habit asks, and says what he did instead."""
        name = chance.choice(_COLLECTIONS)
        chosen = f"GET /v1/{name}" if chance.random() < _HABIT else chance.choice(_OTHERS)
        told = self.predict(catalog="billing", events=[{"endpoint": f"GET /v1/{name}{end}"} for end in ("", "/x_1")])
        said = {"prediction_id": told["prediction_id"], "user_id": told["user"], "chosen": {"endpoint": chosen}}
        self.ask("POST", "/feedback", json={**said, "feedback": "override"})

    def rankers(self) -> dict[str, tuple[str, float]]:
        """(address of its node, number of its champion) of each replica of Ranker, by its name, from GET /metrics."""
        found = {}
        for line in self.get("/metrics").text.splitlines():
            if line.startswith("ray_opensesame_ranker_version{"):
                tags = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if tags["role"] == "champion":
                    found[tags["replica"]] = (tags["NodeAddress"], float(line.rpartition(" ")[2]))
        return found


def secrets_for(docs: list[Doc]) -> str:
    """The key of the one line that goes into the example's Secrets, as docs/operations.md has it made."""
    scopes = [word for scope in ("predict", "feedback", "catalogs", "operator") for word in ("--scope", scope)]
    command = [sys.executable, "-m", "serve.cli", "keys", "create", "--tenant", "acme", *scopes, "--entry"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    for doc in docs:
        if "keys.yaml" in doc["stringData"]:
            doc["stringData"] |= {"keys.yaml": made.stderr, "user-secret": "5e" * 32}
    return made.stdout.strip()


def manifests(workers: int) -> list[Doc]:
    """Overlay `minimal`, rendered, with the RayCronJob in place of the plain CronJob; on several workers, with two
    replicas of all that scales."""
    render = rendering.by_kubectl if rendering.KUBECTL else rendering.render
    with tempfile.TemporaryDirectory() as folder:
        overlay = shutil.copytree(rendering.K8S, Path(folder) / "k8s") / "overlays" / "minimal"
        rules = overlay / "kustomization.yaml"
        rules.write_text(rules.read_text().replace("/retrain-cronjob", "/retrain-raycronjob"))
        if workers > 1:
            settings = overlay / manifest.SETTINGS
            settings.write_text(settings.read_text().replace("{min: 1, max: 2}", "{min: 2, max: 2}"))
            (overlay / manifest.WRITTEN).write_text(manifest.patch(manifest.load(settings)))
        return render(overlay)


def stores(cluster: Cluster) -> None:
    """Redis and MLflow by the manifests' own configuration and arguments; only their folders are others."""
    from pipeline.stores.embedded import redis_server

    folder = cluster.folder / "redis"
    folder.mkdir()
    spec = cluster.named("StatefulSet", "opensesame-redis")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    text = cluster.values("ConfigMap", spec["volumes"][0]["configMap"]["name"])["redis.conf"]
    (folder / "redis.conf").write_text(text.replace("dir /data", f"dir {folder}"))
    env = cluster.environment(container)
    words = [env["REDISCLI_AUTH"] if word == "$(REDISCLI_AUTH)" else word for word in container["args"][1:]]
    cluster.start("redis", [redis_server(), str(folder / "redis.conf"), *words, "--bind", "0.0.0.0"], env)
    container = cluster.named("Deployment", "opensesame-mlflow")["spec"]["template"]["spec"]["containers"][0]
    (cluster.folder / "mlflow").mkdir()
    words = [word.replace("/mlflow", f"{cluster.folder}/mlflow", 1) for word in container["args"]]
    cluster.start("mlflow", [*container["command"], *words], cluster.environment(container))


def prove(cluster: Cluster, key: str, workers: int) -> None:
    """From nothing to a service that follows what it learnt. Raises RuntimeError at what is not so."""
    stores(cluster)
    bases = deploy(cluster, workers)
    refused = httpx2.post(f"{bases[0]}/predict", json={}, timeout=10, trust_env=False).status_code
    if refused != 401:
        raise RuntimeError(f"without a key: {refused}")
    client = Client(bases, key)
    events = [{"endpoint": "GET /v1/charges/ch_123"}]
    answer = client.predict(catalog="billing", prompt="refund the duplicate charge", k=2, events=events)
    if first(answer) != "POST /v1/refunds" or answer["metadata"]["degraded"]:
        raise RuntimeError(json.dumps(answer)[:2000])
    proved(f"POST /predict: 401 without a key; with it {first(answer)}, by {answer['metadata']['model_version']}")

    document = (rendering.ROOT / "examples" / "billing.yaml").read_bytes()
    client.ask("PUT", "/catalogs/elsewhere", content=document, headers={"content-type": "application/octet-stream"})
    for name in ("elsewhere", "billing"):
        until(f"vectors of {name}", functools.partial(client.has_vectors, name))
    before = client.predict(**_PROBE)
    if first(before) == _LEARNT:
        raise RuntimeError(f"{_LEARNT} was expected before anybody taught it")
    people = [random.Random(number) for number in range(_TAUGHT)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(client.teach, people))
    proved(f"POST /feedback: {_TAUGHT} labels acknowledged")

    version = train(cluster)

    def follow() -> dict[str, tuple[str, float]]:
        told = client.rankers()
        return told if told and {number for _, number in told.values()} == {float(version)} else {}

    replicas = until(f"version {version} on every replica", follow, 90)
    nodes = {node for node, _ in replicas.values()}
    if len(replicas) < workers or len(nodes) < workers:
        raise RuntimeError(f"{workers} replicas of Ranker on as many nodes are wanted: {replicas}")
    after = [client.predict(**_PROBE) for _ in range(20)]
    seen = Counter((answer["metadata"]["model_version"], first(answer)) for answer in after)
    if set(seen) != {(version, _LEARNT)}:
        raise RuntimeError(f"after the training: {seen}")
    proved(
        f"{len(replicas)} replica(s) of Ranker on {len(nodes)} node(s) serve version {version} instead of "
        f"{before['metadata']['model_version']}: {_LEARNT} where it was {first(before)}, in 20 of 20 predictions"
    )


def deploy(cluster: Cluster, workers: int) -> list[str]:
    """The Ray cluster of the RayService with its application; the addresses of the workers' HTTP proxies."""
    service = cluster.named("RayService", "opensesame")["spec"]
    groups = service["rayClusterConfig"]
    head = groups["headGroupSpec"]
    password = groups["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    ray_pod(cluster, "head", head, **{"redis-password": cluster.values("Secret", password["name"])[password["key"]]})

    def run(*command: str) -> str:
        return cluster.execute("head", head["template"], [*command, *_DASHBOARD], 120)

    until("the head's dashboard", lambda: run("serve", "status") or "none")
    proved("the head is up; its control plane's memory is in the service's Redis")
    names = [f"worker-{number}" for number in range(workers)]
    for name in names:
        ray_pod(cluster, name, groups["workerGroupSpecs"][0])

    def joined() -> bool:
        nodes = json.loads(run("ray", "list", "nodes", "--format", "json"))
        return sum(node["state"] == "ALIVE" for node in nodes) == 1 + workers

    until("the workers", joined)
    config = cluster.folder / "serve.yaml"
    config.write_text(service["serveConfigV2"])
    run("serve", "deploy", str(config))
    bases = [f"http://{cluster.ip(name)}:8000" for name in names]
    for base in bases:
        until(f"GET {base}/ready", functools.partial(is_ready, base))

    def running() -> Any:
        told = yaml.safe_load(run("serve", "status"))["applications"]["opensesame"]
        return told if told["status"] == "RUNNING" else None

    told = until("the application", running)
    each = [f"{name} {states['replica_states']['RUNNING']}" for name, states in sorted(told["deployments"].items())]
    proved(f"serve deploy of the rendered serveConfigV2: RUNNING, /ready on {workers} worker(s); {', '.join(each)}")
    return bases


def train(cluster: Cluster) -> str:
    """The version that a training promotes: a Ray cluster of its own, the RayCronJob's entrypoint as a job on it."""
    job = cluster.named("RayCronJob", "opensesame-retrain")["spec"]["jobTemplate"]
    group = job["rayClusterSpec"]["headGroupSpec"]
    ray_pod(cluster, "retrain", group)

    def run(*command: str, limit_s: float = 60) -> str:
        return cluster.execute("retrain", group["template"], command, limit_s)

    until("the training's dashboard", lambda: run("ray", "job", "list", *_DASHBOARD))
    submit = ["ray", "job", "submit", *_DASHBOARD, "--log-color", "false", "--"]
    said = run(*submit, *job["entrypoint"].split(), limit_s=600)
    outcome = json.loads([line for line in said.splitlines() if line.startswith("{")][-1])
    if outcome["status"] != "promoted":
        raise RuntimeError(f"the training: {outcome['status']}, {outcome['why']}")
    proved(
        f"ray job submit of the RayCronJob's entrypoint: version {outcome['version']} promoted, "
        f"{outcome['groups']} groups, {outcome['seconds']:.0f} s; {outcome['why']}"
    )
    return str(outcome["version"])


def ray_pod(cluster: Cluster, name: str, group: Doc, **more: str) -> None:
    """A pod of a Ray cluster: a worker takes the operator's arguments for joining the head, another those for one."""
    options = {**group["rayStartParams"], **more}
    words = ["--head", "--port=6379", "--no-monitor"]
    if name.startswith("worker"):
        words = [f"--address={cluster.ip('head')}:6379"]
    cluster.pod(name, group["template"], [*words, *(f"--{key}={value}" for key, value in options.items())])


def main(
    workers: Annotated[list[int] | None, typer.Option(help="Worker pods of each run.")] = None,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
    logs: Annotated[Path, typer.Option(help="Where the pods' logs go.")] = Path("var/deployment"),
    limit_s: Annotated[float, typer.Option(help="A run that takes longer is ended.")] = 1200.0,
) -> None:
    """Deploy overlay minimal on Ray pods in namespaces, ask it, teach it, retrain it."""
    if not inside:
        stop_on_terminate()
        for number in workers or [1, 2]:
            folder = logs / f"{number}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            proved(f"Overlay minimal on {number} worker(s); logs in {folder}")
            command = [sys.executable, "-m", "loadtest.deployment", "--inside", "--workers", str(number)]
            if status := isolated([*command, "--logs", str(folder)], limit_s):
                raise typer.Exit(status)
        return
    (number,) = workers or [1]
    kept = rendering.load_all((rendering.K8S / "secrets.example.yaml").read_text())
    key = secrets_for(kept)
    try:
        prove(Cluster([*manifests(number), *kept], logs.resolve()), key, number)
    except (RuntimeError, LookupError) as error:
        proved(f"NOT SO: {error}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
