"""compose.yaml: fields that Compose knows, names that resolve, files that are there, ports on loopback only.

Compose's own schema is in no package that we could pin; the fields and forms below are those that we use, as the
Compose specification has them.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from loadtest.image import limits
from pipeline.settings import load
from tests.conftest import ROOT

FOLDER = ROOT / "docker"
_WORDS = {"type": "array", "items": {"type": "string"}}
_DURATION = {"type": "string", "pattern": r"^(\d+(ms|s|m|h))+$"}
_SIZE = {"type": "string", "pattern": r"^\d+[bkmg]$"}
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image", "mem_limit"],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:[a-z0-9.-]*\d[a-z0-9.-]*$"},  # a version, never latest
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"type": "string"} for name in ("context", "dockerfile", "target")},
        },
        "command": _WORDS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[^:]+:/[^:]+(:ro)?$"}},
        "depends_on": {
            "anyOf": [
                _WORDS,
                {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"condition": {"enum": ["service_started", "service_healthy"]}},
                    },
                },
            ]
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test"],
            "properties": {
                "test": _WORDS,
                "interval": _DURATION,
                "timeout": _DURATION,
                "retries": {"type": "integer"},
            },
        },
        "shm_size": _SIZE,
        "mem_limit": _SIZE,
        "init": {"type": "boolean"},
        "stop_grace_period": _DURATION,
        "cap_drop": _WORDS,
        "security_opt": _WORDS,
        "restart": {"enum": ["unless-stopped"]},
    },
}
_COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}


def _compose() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def problems(compose: dict[str, Any]) -> list[str]:
    wrong = [error.message for error in jsonschema.Draft202012Validator(_COMPOSE).iter_errors(compose)]
    services = compose["services"]
    used = set()
    for name, service in services.items():
        wanted = service.get("depends_on", {})
        conditions = wanted if isinstance(wanted, dict) else {other: {} for other in wanted}
        for other, condition in conditions.items():
            if other not in services:
                wrong.append(f"{name} depends on {other}, which is no service")
            elif condition.get("condition") == "service_healthy" and "healthcheck" not in services[other]:
                wrong.append(f"{name} waits for {other}, which never says that it is well")
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (FOLDER / source).is_file():
                    wrong.append(f"{name}: no file {source}")
            else:
                used.add(source)
        for text in [*service.get("environment", {}).values(), *service.get("command", ())]:
            for host in re.findall(r"(?:http|redis)://(\w+):\d+", text):
                if host not in services:
                    wrong.append(f"{name}: {host} is no service")
        build = service.get("build")
        if build and not (FOLDER / build["context"] / build["dockerfile"]).is_file():
            wrong.append(f"{name}: no {build['dockerfile']}")
    if used != set(compose["volumes"]):
        wrong.append(f"volumes {used ^ set(compose['volumes'])} are declared and not used, or used and not declared")
    return wrong


def test_it_is_a_compose_file_whose_parts_find_each_other():
    assert problems(_compose()) == []


BROKEN = {
    "a field that is none": lambda c: c["services"]["app"].update(port=["8000"]),
    "a service that may take all memory": lambda c: c["services"]["grafana"].pop("mem_limit"),
    "a port on every interface": lambda c: c["services"]["app"].update(ports=["8000:8000"]),
    "an image of any version": lambda c: c["services"]["grafana"].update(image="grafana/grafana:latest"),
    "a file that is not there": lambda c: c["services"]["prometheus"]["volumes"].append("./rule.yaml:/x:ro"),
    "a volume that is not declared": lambda c: c["volumes"].pop("redis"),
    "a service that is not there": lambda c: c["services"]["app"]["environment"].update(X="redis://cache:6379/0"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_compose_file_is_caught(fault: str):
    compose = copy.deepcopy(_compose())
    BROKEN[fault](compose)
    assert problems(compose)


def test_the_service_gets_settings_that_it_knows(monkeypatch: pytest.MonkeyPatch):
    for name, value in _compose()["services"]["app"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load(FOLDER / "settings.yaml")
    assert settings.state.url == "redis://redis:6379/0"
    assert settings.registry.url == "http://mlflow:5000"


def test_redis_never_throws_anything_away():
    command = _compose()["services"]["redis"]["command"]
    told = dict(zip(command[1::2], command[2::2], strict=True))
    assert (told["--appendonly"], told["--maxmemory-policy"]) == ("yes", "noeviction")


def test_redis_has_written_what_is_acknowledged():
    command = _compose()["services"]["redis"]["command"]
    assert command[command.index("--appendfsync") + 1] == "always"


def test_prometheus_scrapes_the_service_and_knows_the_alerts():
    compose, config = _compose(), yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    targets = [t for job in config["scrape_configs"] for s in job["static_configs"] for t in s["targets"]]
    assert targets == ["app:8000"]
    assert set(targets[0].split(":")[:1]) <= set(compose["services"])
    mounted = {v.split(":")[1] for v in compose["services"]["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in config["rule_files"]} <= mounted
    here = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    assert here == yaml.safe_load((ROOT / "k8s" / "monitoring" / "rules.yaml").read_text())["spec"]


def test_grafana_finds_prometheus_and_the_dashboard():
    compose = _compose()
    (source,) = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounts = dict(v.split(":")[:2] for v in compose["services"]["grafana"]["volumes"] if v.startswith("."))
    assert str(Path(mounts["../k8s/monitoring/opensesame.json"]).parent) == provider["options"]["path"]


def test_the_image_is_proved_with_the_rights_and_limits_that_compose_gives_it() -> None:
    app = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["app"]
    rights = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    assert limits(app) == [*rights, "--memory=6g", "--shm-size=1g", "--init"]
