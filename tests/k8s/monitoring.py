"""What the dashboard and the alerts ask for, and the programs that read it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.k8s.rendering import K8S

MONITORING = K8S / "monitoring"
# `make var/prometheus` unpacks Debian's package there.
PROMTOOL = shutil.which("promtool", path=f"{os.environ.get('PATH', '')}:{ROOT / 'var/prometheus/usr/bin'}")

# Ray's own, which the dashboard shows beside ours (seen in a scrape of Ray 2.60).
RAYS = {"ray_serve_deployment_replica_healthy", "ray_serve_deployment_queued_queries"}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_VARIABLE = re.compile(r"\$__rate_interval|\$__range|\$__interval")


def groups() -> list[dict[str, Any]]:
    return yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard() -> dict[str, Any]:
    return json.loads((MONITORING / "opensesame.json").read_text())


def expressions() -> list[str]:
    """Every expression of the alerts and of the dashboard, Grafana's variables put in."""
    asked = [rule["expr"] for rule in alerts()]
    asked += [_VARIABLE.sub("5m", target["expr"]) for panel in panels() for target in panel["targets"]]
    return asked


def exported(metrics: dict[str, tuple[str, str, tuple[str, ...]]]) -> dict[str, set[str]]:
    """Names as Ray exports them, with the tags that each has."""
    return {
        f"ray_{name}{suffix}": {*tags, *(("le",) if suffix == "_bucket" else ())}
        for name, (kind, _, tags) in metrics.items()
        for suffix in _SUFFIXES[kind]
    }


def asked_for(expression: str) -> set[str]:
    """The metrics of an expression."""
    return set(re.findall(r"\bray_\w+", expression))


def labels_of(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric of an expression with the labels that it is selected by."""
    found = []
    for name, selector in re.findall(r"\b(ray_\w+)(?:\{([^}]*)\})?", expression):
        found.append((name, set(re.findall(r"(\w+)\s*[=!]~?", selector))))
    return found


def values_of(expression: str, name: str, label: str) -> set[str]:
    """The values that `label` of a metric is compared to with = or among the words of =~."""
    found: set[str] = set()
    for selector in re.findall(rf"\bray_{name}\w*\{{([^}}]*)\}}", expression):
        for value in re.findall(rf'\b{label}=~?"([^"]*)"', selector):
            found |= set(value.split("|"))
    return found


def write_rules(folder: Path) -> Path:
    """The alerts as a Prometheus reads them."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups()}, sort_keys=False))
    return path
