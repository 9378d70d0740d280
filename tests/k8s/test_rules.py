"""The overlays are what KubeRay takes, refer to nothing that is not there, and add up; broken ones are caught."""

from __future__ import annotations

import copy
import re

import pytest

from pipeline.settings import load
from serve.manifest import SETTINGS
from serve.runtime import environment
from tests.conftest import ROOT
from tests.k8s import rules
from tests.k8s.rendering import K8S, OVERLAYS, Doc, load_all, named, render

SECRETS = load_all((K8S / "secrets.example.yaml").read_text())
REDIS = "redis:7.2.11-alpine"


def _images() -> set[str]:
    """What docker/Dockerfile builds, and Redis."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    return {*re.findall(r"-t (opensesame:\S+)", text), REDIS}


def _documents(overlay: str) -> list[Doc]:
    return render(K8S / "overlays" / overlay)


def _request_s(overlay: str) -> float:
    return load(K8S / "overlays" / overlay / SETTINGS).ray.request_timeout_s


def _problems(docs: list[Doc], request_s: float) -> list[str]:
    return [
        *rules.kuberay(docs),
        *rules.names(docs, SECRETS, _images()),
        *rules.times(docs, request_s),
        *rules.security(docs),
        *rules.capacity(docs),
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_keeps_every_rule(overlay: str):
    assert _problems(_documents(overlay), _request_s(overlay)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_head_serves_nothing_and_outlives_its_loss(overlay: str):
    spec = named(_documents(overlay), "RayService", "opensesame")["spec"]
    head = spec["rayClusterConfig"]["headGroupSpec"]
    assert spec["excludeHeadPodFromServeSvc"] is True
    assert (head["rayStartParams"]["num-cpus"], head["rayStartParams"]["num-gpus"]) == ("0", "0")
    assert "externalStorageNamespace" not in spec["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert spec["rayClusterConfig"]["authOptions"] == {"mode": "token"}


def test_only_a_component_uses_a_feature_gate():
    for path in (K8S / "base").glob("*.yaml"):
        text = path.read_text()
        assert "RayCronJob" not in text
        assert "IncrementalUpgrade" not in text
        assert not re.search(r"^\s*(networkPolicy|tlsOptions|backend: rocksdb)", text, re.M)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_ray_as_one_machine_does(overlay: str, tmp_path):
    """What `opensesame serve` tells Ray and what is not of one machine only, every Ray pod is told too."""
    here = environment(load(K8S / "overlays" / overlay / SETTINGS), tmp_path, tmp_path / "token")
    spec = named(_documents(overlay), "RayService", "opensesame")["spec"]["rayClusterConfig"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        told = {v["name"]: v.get("value") for v in group["template"]["spec"]["containers"][0]["env"]}
        shared = {
            "RAY_SERVE_ENABLE_HA_PROXY",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED",
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
            "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH",
            "RAY_USAGE_STATS_ENABLED",
            "RAY_idle_worker_killing_time_threshold_ms",
            "RAY_worker_niceness",
            "TOKENIZERS_PARALLELISM",
        }
        if group is spec["headGroupSpec"]:  # where Serve's controller runs
            shared |= {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"}
        assert {name: told.get(name) for name in shared} == {name: here[name] for name in shared}


def test_ray_has_the_version_that_was_tested():
    pinned = re.search(r"^ray\[?.*==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    for overlay in OVERLAYS:
        for version in rules._all(_documents(overlay), "rayVersion"):
            assert pinned is not None
            assert version == pinned.group(1)


def test_every_namespaced_pod_is_under_a_policy_that_denies():
    for overlay in OVERLAYS:
        deny = named(_documents(overlay), "NetworkPolicy", "default-deny")["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def _service(docs: list[Doc]) -> Doc:
    return named(docs, "RayService", "opensesame")["spec"]


def _cluster(docs: list[Doc]) -> Doc:
    return _service(docs)["rayClusterConfig"]


def _container(docs: list[Doc], group: int = 0) -> Doc:
    return _cluster(docs)["workerGroupSpecs"][group]["template"]["spec"]["containers"][0]


def _rename(docs: list[Doc]) -> None:
    named(docs, "RayService", "opensesame")["metadata"]["name"] = "Open_Sesame"


BROKEN = {
    "a name that is no label": _rename,
    "a head service of its own name": lambda d: _cluster(d)["headGroupSpec"].update(
        headService={"metadata": {"name": "x"}}
    ),
    "a step above the surge": lambda d: _service(d).update(
        upgradeStrategy={
            "type": "NewClusterWithIncrementalUpgrade",
            "clusterUpgradeOptions": {
                "gatewayClassName": "istio",
                "stepSizePercent": 50,
                "maxSurgePercent": 25,
                "intervalSeconds": 30,
            },
        }
    ),
    "steps without the autoscaler": lambda d: (
        _cluster(d).update(enableInTreeAutoscaling=False),
        _service(d).update(
            upgradeStrategy={
                "type": "NewClusterWithIncrementalUpgrade",
                "clusterUpgradeOptions": {
                    "gatewayClassName": "istio",
                    "stepSizePercent": 5,
                    "maxSurgePercent": 25,
                    "intervalSeconds": 30,
                },
            }
        ),
    ),
    "a Ray too old for tokens": lambda d: _cluster(d).update(rayVersion="2.51.0"),
    "tokens of Kubernetes": lambda d: _cluster(d)["authOptions"].update(enableK8sTokenAuth=True),
    "pods that restart under autoscaler v2": lambda d: _cluster(d)["headGroupSpec"]["template"]["spec"].update(
        restartPolicy="Always"
    ),
    "a Redis password in the environment": lambda d: _cluster(d)["headGroupSpec"]["template"]["spec"]["containers"][0][
        "env"
    ].append({"name": "REDIS_PASSWORD", "value": "x"}),
    "resources said twice": lambda d: _cluster(d)["headGroupSpec"].update(resources={"CPU": "1"}),
    "an upgrade strategy in the cluster": lambda d: _cluster(d).update(upgradeStrategy={"type": "None"}),
    "an image nobody builds": lambda d: _container(d).update(image="opensesame:latest"),
    "a key the Secret has not": lambda d: _container(d)["env"][0]["valueFrom"]["secretKeyRef"].update(key="uri"),
    "a mounted key the Secret has not": lambda d: _cluster(d)["headGroupSpec"]["template"]["spec"]["volumes"][1][
        "secret"
    ]["items"][0].update(key="key.yaml"),
    "settings that are not there": lambda d: _cluster(d)["headGroupSpec"]["template"]["spec"]["volumes"][0][
        "configMap"
    ].update(name="opensesame-settings"),
    "a volume that is not there": lambda d: _container(d)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
    "an account that is not there": lambda d: _cluster(d)["headGroupSpec"]["template"]["spec"].update(
        serviceAccountName="opensesame"
    ),
    "a probe of a port that is none": lambda d: named(d, "Deployment", "opensesame-mlflow")["spec"]["template"]["spec"][
        "containers"
    ][0]["readinessProbe"]["httpGet"].update(port=8080),
    "a service without pods": lambda d: named(d, "Service", "opensesame-redis")["spec"].update(
        selector={"app.kubernetes.io/name": "redis"}
    ),
    "an address that is no service": lambda d: _cluster(d)["gcsFaultToleranceOptions"].update(
        redisAddress="redis://opensesame-gcs:6379"
    ),
    "a budget over nothing": lambda d: named(d, "PodDisruptionBudget", "opensesame-cpu")["spec"]["selector"][
        "matchLabels"
    ].update({"ray.io/group": "workers"}),
    "a cluster deleted too soon": lambda d: _service(d).update(rayClusterDeletionDelaySeconds=60),
    "a preStop that is cut short": lambda d: _cluster(d)["workerGroupSpecs"][0]["template"]["spec"].update(
        terminationGracePeriodSeconds=60
    ),
    "a worker that leaves before its requests": lambda d: _container(d).update(
        lifecycle={"preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 15; ray stop --grace-period 20"]}}}
    ),
    "a pod that may be root": lambda d: _cluster(d)["workerGroupSpecs"][0]["template"]["spec"]["securityContext"].pop(
        "runAsNonRoot"
    ),
    "a container without limits": lambda d: _container(d)["resources"].pop("limits"),
    "more replicas than workers hold": lambda d: _cluster(d)["workerGroupSpecs"][0].update(maxReplicas=1),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_overlay_is_caught(fault: str):
    docs = copy.deepcopy(_documents("minimal"))
    BROKEN[fault](docs)
    assert _problems(docs, 40.0)


@pytest.mark.parametrize("overlay", ["gpu"])
def test_the_door_opens_to_routes_of_the_service_and_not_to_the_operators(overlay: str):
    paths = {
        p["path"]
        for r in named(_documents(overlay), "Ingress", "opensesame")["spec"]["rules"]
        for p in r["http"]["paths"]
    }
    (route,) = load_all((K8S / "components" / "gateway" / "route.yaml").read_text())
    assert {m["path"]["value"] for rule in route["spec"]["rules"] for m in rule["matches"]} == paths
    routes = set(re.findall(r'\(\s*"(/[a-z_]+)"', (ROOT / "serve" / "ingress.py").read_text()))
    assert paths <= {f"/v1{path}" for path in routes}
    assert not {path for path in paths if re.search(r"models|train|metrics|experiments|cost", path)}
