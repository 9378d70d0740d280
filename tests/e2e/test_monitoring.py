"""What the running service tells of itself: metrics as a real Prometheus reads them, spans, and its log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.e2e.conftest import Service, free_port
from tests.fakes import SpanReceiver
from tests.k8s import monitoring

pytestmark = pytest.mark.cluster

PROMETHEUS = shutil.which("prometheus", path=str(Path(monitoring.PROMTOOL).parent)) if monitoring.PROMTOOL else None
WAIT_S = 60.0
CHARGE = {"endpoint": "GET /v1/charges/ch_123", "ts": "2026-01-31T12:00:00Z"}


def until(ready: Callable[[], Any], what: str) -> Any:
    """What `ready` gives once it is true."""
    end = time.monotonic() + WAIT_S
    while not (found := ready()):
        assert time.monotonic() < end, what
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def traffic(service: Service) -> None:
    """A little of everything that is counted."""
    client, user = service.client, f"mon-{secrets.token_hex(4)}"
    asked = {"user_id": user, "events": [CHARGE], "prompt": "refund the duplicate charge"}
    id_ = service.predict(**asked).json()["prediction_id"]
    client.post("/feedback", json={"prediction_id": id_, "user_id": user, "feedback": "accept"})
    service.predict(**asked)
    client.post("/events", json={"user_id": user, "events": [CHARGE | {"ts": "2026-01-31T12:05:00Z"}]})
    suggested = client.post("/suggest", json={"user_id": user, "context": "insurance for a trip"}).json()
    event = {"user_id": user, "proposition_id": suggested["propositions"][0]["id"], "event_type": "click"}
    client.post("/log_event", json=event | {"suggestion_id": suggested["suggestion_id"]})
    service.predict(catalog="never-uploaded")


def names(service: Service) -> set[str]:
    text = service.client.get("/metrics").text
    return set(re.findall(r"^(ray_\w+)[{ ]", text, re.MULTILINE))


def test_every_metric_of_dashboard_and_alerts_is_in_a_scrape_of_the_service(service: Service, traffic: None):
    asked = set().union(*map(monitoring.asked_for, monitoring.expressions()))
    asked.remove("ray_opensesame_tier_up")  # of generators, and this service has none: tests/e2e/test_generator.py
    assert len(asked) > 20
    until(lambda: asked <= names(service), f"missing: {asked - names(service)}")


@pytest.fixture(scope="module")
def prometheus(service: Service, traffic: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    if PROMETHEUS is None:
        pytest.skip("no prometheus here: `make var/prometheus` unpacks one")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    monitoring.write_rules(folder)
    scrape = {"job_name": "opensesame", "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}]}
    told = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}}
    told |= {"rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    command = [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)

    def scraped() -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            answer = client.get("/api/v1/query", params={"query": "up == 1"})
            return answer.status_code == 200 and bool(answer.json()["data"]["result"])
        return False

    try:
        until(scraped, "Prometheus never scraped the service")
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(20)


def test_a_real_prometheus_takes_every_expression_and_fires_nothing(prometheus: httpx2.Client):
    for expression in monitoring.expressions():
        answer = prometheus.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, (expression, answer.text)

    def requests() -> float:
        answer = prometheus.get("/api/v1/query", params={"query": "sum(ray_opensesame_requests_total)"}).json()
        return sum(float(one["value"][1]) for one in answer["data"]["result"])

    until(lambda: requests() >= 6, "the requests are not scraped")
    rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    told = {rule["name"]: rule for group in rules for rule in group["rules"]}
    assert set(told) == {rule["alert"] for rule in monitoring.alerts()}
    assert {rule["health"] for rule in told.values()} <= {"ok", "unknown"}
    assert not [name for name, rule in told.items() if rule["state"] == "firing"]


def test_a_traced_request_has_a_span_of_each_stage_under_the_clients(service: Service, collector: SpanReceiver):
    trace, parent, secret = secrets.token_hex(16), secrets.token_hex(8), f"secret-{secrets.token_hex(4)}"
    body = {
        "user_id": f"u-{secret}",
        "prompt": f"refund {secret}",
        "events": [{"endpoint": f"GET /v1/charges/{secret}"}],
    }
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    assert service.client.post("/predict", json=body, headers=headers).status_code == 200
    wanted = {"recall", "ground", "embed", "score", "remember"}
    until(lambda: wanted <= {span.name for span in collector.of(trace)}, f"{[s.name for s in collector.of(trace)]}")
    spans = collector.of(trace)
    by_id = {span.span_id.hex(): span for span in spans}
    root = next(span for span in spans if span.parent_span_id.hex() == parent)
    assert "Ingress" in root.name

    def above(span: Any) -> list[str]:
        return [span.name, *(above(by_id[span.parent_span_id.hex()]) if span.parent_span_id.hex() in by_id else ())]

    for span in spans:
        assert above(span)[-1] == root.name, above(span)
        assert secret not in str(span)
    embed = next(span for span in spans if span.name == "embed")
    assert "ground" in above(embed)
    assert any("Embedder" in span.name for span in spans)
    assert collector.services == {"opensesame"}


def test_a_request_that_is_not_sampled_has_no_span(service: Service, collector: SpanReceiver):
    trace = secrets.token_hex(16)
    service.client.post("/predict", json={}, headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-00"})
    traced = secrets.token_hex(16)
    service.client.post("/predict", json={}, headers={"traceparent": f"00-{traced}-{secrets.token_hex(8)}-01"})
    until(lambda: collector.of(traced), "no span came")
    assert not collector.of(trace)
    assert not [span for span in collector.spans if not span.parent_span_id]  # nothing began a trace of its own


def test_each_request_is_a_line_of_json_in_the_replicas_log(service: Service):
    secret = f"secret-{secrets.token_hex(4)}"
    answer = service.client.post(
        "/predict", json={"user_id": secret, "prompt": secret}, headers={"X-Request-ID": "r-1"}
    )
    assert answer.headers["x-request-id"] == "r-1"
    path = Path(os.readlink(f"/proc/{service.replica('Ingress').pid}/fd/2"))
    found = until(lambda: [line for line in path.read_text().splitlines() if '"r-1"' in line], f"nothing in {path}")
    (line,) = [json.loads(line) for line in found]
    metadata = answer.json()["metadata"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
    assert (line["degraded"], line["model_version"]) == (metadata["degraded"], metadata["model_version"])
    for log in path.parent.rglob("*"):
        if log.is_file() and log.suffix in (".log", ".err", ".out"):
            assert secret not in log.read_text(errors="replace"), log
