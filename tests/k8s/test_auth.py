"""Whoever asks the service in a cluster needs a key: settings, Secret and mounts agree on where the keys lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.settings import load
from pipeline.stores.apikeys import mint, read_keys
from tests.k8s.rendering import K8S, OVERLAYS, load_all, named, render


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_that_may_hold_an_ingress_has_the_keys_and_the_users_secret(overlay: str):
    settings = load(K8S / "overlays" / overlay / "settings.yaml")
    assert settings.server.auth == "keys"
    keys_file = Path(settings.auth.keys_file)
    spec = named(render(K8S / "overlays" / overlay), "RayService", "opensesame")["spec"]["rayClusterConfig"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        container = pod["containers"][0]
        (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == str(keys_file.parent)]
        assert "subPath" not in mount  # such a mount never sees a change of the Secret
        (volume,) = [v for v in pod["volumes"] if v["name"] == mount["name"]]
        assert volume["secret"]["items"] == [{"key": keys_file.name, "path": keys_file.name}]
        (secret,) = [e for e in container["env"] if e["name"] == "OPENSESAME__PRIVACY__SECRET"]
        assert secret["valueFrom"]["secretKeyRef"]["name"] == volume["secret"]["secretName"]


def test_the_example_secret_has_the_form_that_the_service_reads():
    (example,) = [s for s in load_all((K8S / "secrets.example.yaml").read_text()) if "keys.yaml" in s["stringData"]]
    (record,) = read_keys(example["stringData"]["keys.yaml"]).values()
    assert not record.opens(mint("acme", ["predict"])[0])
    assert len(yaml.safe_load(example["stringData"]["keys.yaml"])) == 1
