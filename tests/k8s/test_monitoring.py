"""Dashboard and alerts ask for metrics that are exported, by tags that these have; every alert fires when provoked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from pipeline.errors import OpenSesameError
from serve.metrics import METRICS
from tests.conftest import ROOT
from tests.k8s import monitoring

WITH_PROMTOOL = pytest.mark.skipif(
    monitoring.PROMTOOL is None, reason="no promtool here: `make var/prometheus` unpacks one"
)


def _slugs(kind: type[OpenSesameError] = OpenSesameError) -> set[str]:
    return {kind.slug}.union(*(_slugs(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize("expression", monitoring.expressions())
def test_every_metric_asked_for_is_exported_with_its_tags(expression: str):
    known = monitoring.exported(METRICS)
    assert monitoring.asked_for(expression) <= set(known) | monitoring.RAYS
    for name, labels in monitoring.labels_of(expression):
        if name not in monitoring.RAYS:
            assert labels <= known[name]


@pytest.mark.parametrize("expression", monitoring.expressions())
def test_every_expression_parses(expression: str):
    promql_parser.parse(expression)


def test_slugs_of_alerts_are_errors_of_ours():
    asked = {
        value
        for rule in monitoring.alerts()
        for value in monitoring.values_of(rule["expr"], "opensesame_errors", "slug")
    }
    assert asked
    assert asked <= _slugs()


def test_the_dashboard_is_whole():
    panels = monitoring.panels()
    ids = [panel["id"] for panel in monitoring.dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert [row["title"] for row in monitoring.dashboard()["panels"] if row["type"] == "row"] == [
        "Overview",
        "Quality",
        "Learning",
        "Generator",
        "Cost",
    ]
    places = {(x, y) for panel in panels for x, y in [(panel["gridPos"]["x"], panel["gridPos"]["y"])]}
    assert len(places) == len(panels)


def test_the_time_of_a_prediction_is_shown_by_its_middle_and_both_tails():
    (panel,) = (panel for panel in monitoring.panels() if panel["title"] == "Time of a prediction")
    assert [target["legendFormat"] for target in panel["targets"]] == ["p50", "p95", "p99"]
    for target, quantile in zip(panel["targets"], ("0.5", "0.95", "0.99"), strict=True):
        assert target["expr"].startswith(f"histogram_quantile({quantile}, ")


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in monitoring.alerts():
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in runbook


@WITH_PROMTOOL
def test_prometheus_takes_the_rules(tmp_path: Path):
    rules = monitoring.write_rules(tmp_path)
    assert monitoring.PROMTOOL is not None
    done = subprocess.run([monitoring.PROMTOOL, "check", "rules", str(rules)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_in_the_table_of_the_docs_as_it_is_described():
    documented = (ROOT / "docs" / "operations.md").read_text()
    for name, (kind, what, tags) in METRICS.items():
        assert f"| `{name}` | {kind} | {', '.join(tags)} | {what} |" in documented


def test_every_metric_is_asked_for_by_the_dashboard_or_an_alert():
    asked = set().union(*map(monitoring.asked_for, monitoring.expressions()))
    unseen = [name for name in METRICS if not any(a.startswith(f"ray_{name}") for a in asked)]
    assert unseen == []


def test_the_provocations_name_every_alert():
    cases = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())["tests"]
    fired = {test["alertname"] for case in cases for test in case["alert_rule_test"] if test.get("exp_alerts")}
    quiet = {test["alertname"] for case in cases for test in case["alert_rule_test"] if not test.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in monitoring.alerts()}
    assert quiet == fired


@WITH_PROMTOOL
@pytest.mark.slow
def test_every_alert_fires_when_provoked_and_is_quiet_otherwise(tmp_path: Path):
    monitoring.write_rules(tmp_path)
    (tmp_path / "alerts.yaml").write_text((Path(__file__).parent / "alerts.yaml").read_text())
    assert monitoring.PROMTOOL is not None
    done = subprocess.run(
        [monitoring.PROMTOOL, "test", "rules", str(tmp_path / "alerts.yaml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
