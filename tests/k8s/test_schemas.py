"""Every document of every overlay is what its schema says, for several versions of Kubernetes and for KubeRay 1.7."""

from __future__ import annotations

import copy

import pytest

from tests.k8s import schemas
from tests.k8s.rendering import K8S, OVERLAYS, load_all, named, render

WITH_CRDS = pytest.mark.skipif(
    not schemas.crds_are_there(), reason=f"the CustomResourceDefinitions are not at {schemas.CRDS}"
)


def _documents(overlay: str) -> list[dict]:
    return render(K8S / "overlays" / overlay)


@pytest.mark.slow
@pytest.mark.parametrize("version", schemas.VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_core_kinds_are_valid(overlay: str, version: str):
    docs = [doc for doc in _documents(overlay) if not schemas.is_custom(doc)]
    docs += load_all((K8S / "secrets.example.yaml").read_text())
    assert [p for doc in docs for p in schemas.core_problems(doc, version)] == []
    assert len(docs) > 10


@WITH_CRDS
@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_kinds_are_valid(overlay: str):
    docs = [doc for doc in _documents(overlay) if schemas.is_custom(doc)]
    docs += load_all((K8S / "components" / "gateway" / "route.yaml").read_text())
    assert [p for doc in docs for p in schemas.custom_problems(doc)] == []
    assert {"RayService", "HTTPRoute"} <= {doc["kind"] for doc in docs}


def _at(doc, *path):
    for part in path:
        doc = doc[part]
    return doc


BROKEN = {
    "a misspelt field": lambda s: s.__setitem__("rayClusterDeletionDelaySecond", 1),
    "an integer among the start parameters": lambda s: _at(
        s, "rayClusterConfig", "headGroupSpec", "rayStartParams"
    ).__setitem__("num-cpus", 0),
    "an autoscaler that is none": lambda s: _at(s, "rayClusterConfig", "autoscalerOptions").__setitem__(
        "version", "v3"
    ),
    "a port twice": lambda s: (
        ports := _at(s, "rayClusterConfig", "headGroupSpec", "template", "spec", "containers", 0, "ports")
    ).append(copy.deepcopy(ports[0])),
    "an unknown field of a container": lambda s: _at(
        s, "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec", "containers", 0
    ).__setitem__("imagePullpolicy", "Always"),
    "a manager that is none (CEL)": lambda s: _at(s, "rayClusterConfig").__setitem__("managedBy", "somebody"),
    "an upgrade without a gateway": lambda s: s.__setitem__(
        "upgradeStrategy",
        {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": {"stepSizePercent": 10}},
    ),
}


@WITH_CRDS
@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_service_is_caught_by_its_schema(fault: str):
    service = named(_documents("minimal"), "RayService", "opensesame")
    BROKEN[fault](service["spec"])
    assert schemas.custom_problems(service)


def test_a_broken_core_document_is_caught_by_its_schema():
    redis = named(_documents("minimal"), "StatefulSet", "opensesame-redis")
    redis["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    assert schemas.core_problems(redis, "1.32")
