"""The Serve config in the manifests is the graph of the settings beside it, and Serve takes all of it."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipeline.settings import load
from serve.manifest import MOUNTED, SETTINGS, WRITTEN, main, patch
from tests.documented import documented
from tests.k8s.rendering import K8S, OVERLAYS, named, render


def _folder(overlay: str) -> Path:
    return K8S / "overlays" / overlay


def _config(overlay: str) -> dict[str, Any]:
    service = named(render(_folder(overlay)), "RayService", "opensesame")
    return yaml.safe_load(service["spec"]["serveConfigV2"])


def unknown_keys(value: Any, model: type[BaseModel], where: str = "") -> list[str]:
    """Keys that the schema does not name: it would drop those of a deployment in silence."""
    found = []
    for key, inner in value.items():
        field = model.model_fields.get(key)
        if field is None:
            found.append(f"{where}{key}")
            continue
        nested = _models(field.annotation)
        for item in inner if isinstance(inner, list) else [inner]:
            if nested and isinstance(item, dict):
                tried = [unknown_keys(item, kind, f"{where}{key}.") for kind in nested]
                found += min(tried, key=len)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def test_the_commands_of_the_page_write_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(K8S, tmp_path / "k8s")
    monkeypatch.chdir(tmp_path)
    for path, words in (
        ("*", documented("python -m serve.manifest k8s/overlays/*")),
        ("minimal", documented("python -m serve.manifest k8s/overlays/minimal")),
    ):
        written = list((tmp_path / "k8s" / "overlays").glob(f"{path}/{WRITTEN}"))
        for file in written:
            file.unlink()
        main(sorted(Path().glob(words[-1])))  # as a shell would hand it over
        assert all(file.read_text() == (K8S / file.relative_to(tmp_path / "k8s")).read_text() for file in written)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_committed_config_is_what_the_settings_give(overlay: str):
    folder = _folder(overlay)
    written = patch(load(folder / SETTINGS))
    assert (folder / WRITTEN).read_text() == written, f"run: python -m serve.manifest {folder}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_takes_the_config_and_ignores_nothing(overlay: str):
    from ray.serve.schema import ServeDeploySchema

    config = _config(overlay)
    ServeDeploySchema.model_validate(config)
    assert unknown_keys(config, ServeDeploySchema) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_deployment_of_the_config_is_in_the_graph_that_its_import_path_builds(overlay: str):
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary  # as the controller builds it
    from ray.serve._private.build_app import build_app

    (application,) = _config(overlay)["applications"]
    module, _, name = application["import_path"].partition(":")
    build = getattr(importlib.import_module(module), name)
    assert application["args"] == {"config": MOUNTED}
    args = {"config": str(_folder(overlay) / SETTINGS)}
    built = {
        deployment.name
        for deployment in build_app(
            call_user_app_builder_with_args_if_necessary(build, args), name=application["name"]
        ).deployments
    }
    assert {deployment["name"] for deployment in application["deployments"]} == built
    assert ("Generator" in built) == (overlay == "gpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_mount_the_settings_where_the_config_says(overlay: str):
    docs = render(_folder(overlay))
    spec = named(docs, "RayService", "opensesame")["spec"]["rayClusterConfig"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if MOUNTED.startswith(m["mountPath"])]
        (volume,) = [v for v in pod["volumes"] if v["name"] == mount["name"]]
        data = named(docs, "ConfigMap", volume["configMap"]["name"])["data"]
        assert data == {Path(MOUNTED).name: (_folder(overlay) / SETTINGS).read_text()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_listen_where_kuberay_and_the_network_policies_look(overlay: str):
    settings = load(_folder(overlay) / SETTINGS)
    config = _config(overlay)
    assert config["http_options"]["host"] == settings.server.host == "0.0.0.0"
    assert config["proxy_location"] == "EveryNode"
    assert settings.state.url != "embedded"
    assert settings.registry.url != "embedded"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_training_in_the_ray_cluster_takes_no_labels_onto_a_pods_own_disk(overlay: str):
    """What POST /train would drain to is a mounted volume, or a folder that the pods' user cannot make."""
    settings = load(_folder(overlay) / SETTINGS)
    assert settings.models.var
    assert not settings.journal.folder
    spec = named(render(_folder(overlay)), "RayService", "opensesame")["spec"]["rayClusterConfig"]
    for group in spec["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        volumes = {v["name"]: v for v in pod["volumes"]}
        mounts = {m["mountPath"]: volumes[m["name"]] for m in pod["containers"][0]["volumeMounts"]}
        volume = mounts.get(settings.models.var)
        assert volume is None or "persistentVolumeClaim" in volume
        assert volume or (settings.models.var.startswith("/mnt/") and pod["securityContext"]["runAsNonRoot"])


def test_no_secret_stands_in_the_settings():
    for overlay in OVERLAYS:
        text = (_folder(overlay) / SETTINGS).read_text()
        assert "@" not in text


def test_a_key_that_serve_would_drop_is_caught():
    from ray.serve.schema import ServeDeploySchema

    config = _config("minimal")
    config["applications"][0]["deployments"][0]["max_constructor_retry_count"] = 3
    config["http_options"]["hots"] = "0.0.0.0"
    assert unknown_keys(config, ServeDeploySchema) == [
        "http_options.hots",
        "applications.deployments.max_constructor_retry_count",
    ]
