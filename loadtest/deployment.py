"""`python -m loadtest.deployment`: the manifests of overlay `minimal` at work, without Kubernetes.

Their Redis and MLflow, and their Ray pods (a head that takes no replicas, and workers) in network namespaces, with the
environment, files, names and ports of the manifests (`loadtest.pods`). The rendered serveConfigV2 goes in by `serve
deploy`; a key of the Secret asks; people teach; the RayCronJob's own cluster and entrypoint, by `ray job submit`,
train; every replica follows the champion; the plain CronJob drains what is told next. First the overlay as it is, on
one worker; then with two replicas of all that scales, on two. Prints what it proved; status 1 at what is not so. Linux,
root, iproute2; minutes. Left out: the image, users and limits of containers, the operator, the NetworkPolicies.
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
from loadtest.pods import STORAGE, Cluster, Doc, isolated
from serve import manifest
from tests.k8s import rendering

_READY_S = 300.0
_TAUGHT = 520  # a training is due at train.groups, 500
_MORE = 20  # told after the training
_AT_ONCE = 8
_HABIT = 0.5  # so often people do what no spec tells: open a thing out of its list, and go back to the list
_COLLECTIONS = ("customers", "subscriptions", "invoices", "charges", "disputes")
_OTHERS = tuple(f"GET /v1/{name}" for name in ("products", "prices", "refunds", "payouts"))
# The same API under a name that nobody told anything of: only another ranker changes the answer there.
_PROBE = {"catalog": "elsewhere", "events": [{"endpoint": "GET /v1/disputes"}, {"endpoint": "GET /v1/disputes/dp_1"}]}
_LEARNT = "GET /v1/disputes"
_DASHBOARD = ("--address", "http://127.0.0.1:8265")
# What KubeRay's probes ask inside a pod (ray-operator/controllers/ray/common/pod.go); each answers "success".
_ALIVE = ("52365/api/healthz", "52365/api/local_raylet_healthz")
_PROBES = {"head": (*_ALIVE, "8265/api/gcs_healthz"), "worker": (*_ALIVE, "8000/-/healthz")}
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
        except (httpx2.HTTPError, OSError, LookupError, RuntimeError, subprocess.TimeoutExpired) as error:
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
    """Overlay `minimal` and the component's RayCronJob, rendered; on several workers with two replicas of all that
    scales, as somebody would write it into the settings."""
    render = rendering.by_kubectl if rendering.KUBECTL else rendering.render
    with tempfile.TemporaryDirectory() as folder:
        overlay = shutil.copytree(rendering.K8S, Path(folder) / "k8s") / "overlays" / "minimal"
        if workers > 1:
            settings = overlay / manifest.SETTINGS
            settings.write_text(settings.read_text().replace("{min: 1, max: 2}", "{min: 2, max: 2}"))
            (overlay / manifest.WRITTEN).write_text(manifest.patch(manifest.load(settings)))
        docs = render(overlay)
        rules = overlay / "kustomization.yaml"
        rules.write_text(rules.read_text().replace("/retrain-cronjob", "/retrain-raycronjob"))
        return [*docs, *(doc for doc in render(overlay) if doc["kind"] == "RayCronJob")]


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
    lose_head(cluster, client, version)
    for chance in people[:_MORE]:
        client.teach(chance)
    drain(cluster, _MORE)


def deploy(cluster: Cluster, workers: int) -> list[str]:
    """The Ray cluster of the RayService with its application; the addresses of the workers' HTTP proxies."""
    service = cluster.named("RayService", "opensesame")["spec"]
    groups = service["rayClusterConfig"]
    cluster.ray_pod("head", groups["headGroupSpec"], redis=groups["gcsFaultToleranceOptions"])

    def run(*command: str) -> str:
        return cluster.execute("head", [*command, *_DASHBOARD], 120)

    until("the head's dashboard", lambda: run("serve", "status") or "none")
    if not (kept := control_plane_keys(cluster)):
        raise RuntimeError("the head's memory is not in Redis")
    proved(f"the head is up, its control plane's memory in the service's Redis: {kept} keys")
    names = [f"worker-{number}" for number in range(workers)]
    for name in names:
        cluster.ray_pod(name, groups["workerGroupSpecs"][0], head="head")

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

    for name in ("head", *names):
        for path in _PROBES[name.partition("-")[0]]:
            until(f"{name}'s probe {path}", functools.partial(well, cluster, name, path))

    told = until("the application", functools.partial(is_running, cluster))
    each = [f"{name} {states['replica_states']['RUNNING']}" for name, states in sorted(told["deployments"].items())]
    proved(f"serve deploy of the rendered serveConfigV2: RUNNING, /ready on {workers} worker(s); {', '.join(each)}")
    proved(f"KubeRay's probes of {1 + workers} pods: success")
    return bases


def is_running(cluster: Cluster) -> Any:
    """What `serve status` says of the application once it runs."""
    told = yaml.safe_load(cluster.execute("head", ["serve", "status", *_DASHBOARD], 120))
    application = told["applications"]["opensesame"]
    return application if application["status"] == "RUNNING" else None


def well(cluster: Cluster, pod: str, path: str) -> bool:
    code = f"import urllib.request as r; print(r.urlopen('http://localhost:{path}', timeout=2).read().decode())"
    return "success" in cluster.execute(pod, ["python", "-c", code], 30)


def train(cluster: Cluster) -> str:
    """The version that a training promotes: a Ray cluster of its own, the RayCronJob's entrypoint as a job on it."""
    job = cluster.named("RayCronJob", "opensesame-retrain")["spec"]["jobTemplate"]
    cluster.ray_pod("retrain", job["rayClusterSpec"]["headGroupSpec"])
    until("the training's dashboard", lambda: cluster.execute("retrain", ["ray", "job", "list", *_DASHBOARD], 60))
    submit = ["ray", "job", "submit", *_DASHBOARD, "--log-color", "false", "--"]
    outcome = outcome_of(cluster.execute("retrain", [*submit, *job["entrypoint"].split()], 600))
    if outcome["status"] != "promoted":
        raise RuntimeError(f"the training: {outcome['status']}, {outcome['why']}")
    proved(
        f"ray job submit of the RayCronJob's entrypoint: version {outcome['version']} promoted, "
        f"{outcome['groups']} groups, {outcome['seconds']:.0f} s; {outcome['why']}"
    )
    return str(outcome["version"])


def control_plane_keys(cluster: Cluster) -> int:
    from redis import Redis

    secret = cluster.values("Secret", "opensesame-redis")
    with Redis.from_url(secret["url"]) as redis:
        return sum(1 for _ in redis.scan_iter(f"*{STORAGE}*", count=1000))


def lose_head(cluster: Cluster, client: Client, version: str) -> None:
    """The head dies, the workers go on; another one finds in Redis what it was."""
    replicas = client.rankers()
    cluster.lose("head")
    alone = [client.predict(**_PROBE) for _ in range(20)]
    if any(first(answer) != _LEARNT for answer in alone):
        raise RuntimeError("without a head the answers are others")
    cluster.restart("head")
    until("the application after the head's return", functools.partial(is_running, cluster))
    until("the same replicas", lambda: client.rankers() == replicas, 90)
    after = client.predict(**_PROBE)["metadata"]["model_version"]
    if after != version:
        raise RuntimeError(f"after the head's return {after} serves")
    proved("the head killed: 20 of 20 predictions without it; started again: RUNNING, with the replicas it had")


def drain(cluster: Cluster, labels: int) -> None:
    """The overlay's plain CronJob when its hour comes and no training is due: it takes the labels to its journal."""
    job = cluster.named("CronJob", "opensesame-retrain")["spec"]["jobTemplate"]["spec"]["template"]
    container = job["spec"]["containers"][0]
    cluster.pod("cronjob", job, [*container["command"], *container["args"]])
    outcome = outcome_of(cluster.finish("cronjob", 300))
    if (outcome["status"], outcome["groups"]) != ("waiting", labels):
        raise RuntimeError(f"the CronJob: {outcome}")
    proved(f"the CronJob's command in a pod of its own: {labels} labels drained to the journal; {outcome['why']}")


def outcome_of(said: str) -> Any:
    """What `train.retrain --json` says last."""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"no outcome: {said[-3000:]}")
    return json.loads(lines[-1])


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
    except (RuntimeError, LookupError, httpx2.HTTPError, subprocess.SubprocessError) as error:
        proved(f"NOT SO: {error}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
