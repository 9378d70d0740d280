"""The overlays render, and our renderer makes of them what kubectl does."""

from __future__ import annotations

import pytest

from tests.k8s.rendering import K8S, KUBECTL, OVERLAYS, by_kubectl, named, render


def _key(doc):
    return doc["apiVersion"], doc["kind"], doc["metadata"]["name"]


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: only our own renderer was used")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same(overlay: str):
    folder = K8S / "overlays" / overlay
    assert sorted(render(folder), key=_key) == sorted(by_kubectl(folder), key=_key)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_another_content_of_the_settings_is_another_cluster(overlay: str):
    docs = render(K8S / "overlays" / overlay)
    spec = named(docs, "RayService", "opensesame")["spec"]["rayClusterConfig"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    names = {v["configMap"]["name"] for g in groups for v in g["template"]["spec"]["volumes"] if "configMap" in v}
    assert len(names) == 1
    assert names.pop().startswith("opensesame-settings-")


def test_redis_has_written_what_is_acknowledged():
    lines = (K8S / "components" / "redis" / "redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync always"} <= set(lines)


def test_every_component_belongs_to_an_overlay_or_is_tried_alone():
    used = set()
    for overlay in OVERLAYS:
        text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
        used |= {c.name for c in (K8S / "components").iterdir() if f"components/{c.name}\n" in text}
    assert {c.name for c in (K8S / "components").iterdir()} - used == {"gateway"}  # test_schemas.py reads its file
