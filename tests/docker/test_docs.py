"""The docker commands of docs/operations.md name what is there; what one runs in a container is run here.

Targets, files, services and tags are held against the Dockerfile, compose.yaml and pyproject.toml: a test needs no
engine. `make image` builds and starts what they name.
"""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.stores.apikeys import id_of
from pipeline.stores.embedded import EmbeddedRedis
from serve.cli import app
from tests.conftest import ROOT
from tests.docker.test_dockerfile import _stages
from tests.documented import documented, resolved


def named(line: str) -> dict[str, str]:
    """What a docker command names, by the option that it stands behind; AssertionError where we do not know it."""
    match shlex.split(line):
        case ["docker", "build", "-f", file, "--target", target, "-t", tag, context]:
            return {"file": file, "target": target, "tag": tag, "context": context}
        case ["docker", "compose", "-f", file, "up", "--build"]:
            return {"compose": file}
        case ["docker", "compose", "-f", file, "exec", service, *command]:
            return {"compose": file, "service": service, "command": shlex.join(command)}
        case ["docker", "build" | "compose"]:
            return {}
    raise AssertionError(f"unknown: {line}")


def problems(found: dict[str, str]) -> list[str]:
    wrong = [
        f"no file {found[key]}" for key in ("file", "compose") if key in found and not (ROOT / found[key]).is_file()
    ]
    if "target" in found and found["target"] not in _stages():
        wrong.append(f"no target {found['target']}")
    if "tag" in found:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        if not found["tag"].endswith(f"/opensesame:{version}-{found['target']}"):
            wrong.append(f"{found['tag']} is another release's, or another target's")
    if "context" in found and found["context"] != ".":  # what the Dockerfile copies lies there
        wrong.append(f"context {found['context']}")
    if "service" in found and found["service"] not in _compose()["services"]:
        wrong.append(f"no service {found['service']}")
    return wrong


def _compose() -> Any:
    return yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


def test_every_docker_command_names_what_is_there() -> None:
    found = [named(line) for line in resolved("docs/operations.md", "docker")]
    assert {one.get("target") for one in found} >= {"cpu", "gpu"}
    assert [problem for one in found for problem in problems(one)] == []


@pytest.mark.parametrize(
    "line",
    [
        "docker build -f docker/Dockerfile --target tpu -t r/opensesame:0.1.0-tpu .",
        "docker build -f docker/Dockerfile --target gpu -t r/opensesame:0.1.0-cpu .",
        "docker build -f Dockerfile --target cpu -t r/opensesame:0.1.0-cpu .",
        "docker compose -f docker/compose.yaml exec service opensesame keys list",
    ],
)
def test_what_is_not_there_is_found(line: str) -> None:
    assert problems(named(line))


@pytest.mark.redis
def test_the_keys_of_the_page_are_made_with_the_images_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside,) = (
        one["command"] for line in resolved("docs/operations.md", "docker") if "command" in (one := named(line))
    )
    short = [*documented("opensesame keys create --config /etc/opensesame/settings.yaml"), "--tenant", "acme"]
    copied = {
        "/etc/opensesame/settings.yaml": str(ROOT / "docker" / "settings.yaml"),
        "/var/lib/opensesame": str(tmp_path),
    }
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert "COPY docker/settings.yaml /etc/opensesame/settings.yaml" in dockerfile
    assert "app:/var/lib/opensesame" in _compose()["services"]["app"]["volumes"]
    with EmbeddedRedis.throwaway() as server:
        monkeypatch.setenv("OPENSESAME__STATE__URL", server.url)  # compose sets it too
        for words in (shlex.split(inside), [*short, "--scope", "predict"]):
            done = CliRunner().invoke(app, [copied.get(word, word) for word in words[1:]])
            assert done.exit_code == 0, done.output
            assert id_of(done.stdout.strip())
