"""The log: one line a request, with what it was and without what the user said."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from pipeline import settings
from serve import logs
from tests.documented import every
from tests.serve.conftest import App

SECRET = "Xq7-secret"


class Lines:
    """What the process wrote to its stderr since it was last looked at."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capfd.readouterr().err.splitlines() if line.startswith("{")]


@pytest.fixture
def lines(app: App, capfd: pytest.CaptureFixture[str]) -> Lines:
    logs.configure(settings.load("local").log.model_copy(update={"format": "json", "level": "info"}))
    capfd.readouterr()
    return Lines(capfd)


async def test_a_request_is_one_line_with_what_it_was(app: App, lines: Lines):
    answer = await app.predict(catalog="billing", prompt="list charges")
    await app.client.get("/nowhere", headers={"X-Request-ID": "mine"})
    predicted, lost = lines.read()
    assert answer.json()["metadata"]["catalog"].startswith(predicted["catalog"])
    assert (predicted["event"], predicted["method"], predicted["route"], predicted["status"]) == (
        "request",
        "POST",
        "/predict",
        200,
    )
    assert predicted["model_version"] == answer.json()["metadata"]["model_version"]
    assert predicted["degraded"] == answer.json()["metadata"]["degraded"]
    assert predicted["request_id"] == answer.headers["x-request-id"]
    assert predicted["latency_ms"] > 0
    assert predicted["tenant"] == logs.hashed("local") != "local"
    assert (lost["route"], lost["status"], lost["request_id"]) == ("none", 404, "mine")


async def test_the_line_is_the_one_that_the_page_of_operations_shows(app: App, lines: Lines):
    (text,) = every("docs/operations.md", "json")
    shown = json.loads(text)
    await app.predict(catalog="billing", prompt="list charges")
    (line,) = lines.read()
    assert {name: type(value) for name, value in line.items()} == {name: type(value) for name, value in shown.items()}
    same = ("event", "level", "logger", "method", "route", "status", "tenant", "key", "catalog")
    assert {name: line[name] for name in same} == {name: shown[name] for name in same}


async def test_what_libraries_add_to_every_record_is_not_in_the_line(
    app: App, lines: Lines, monkeypatch: pytest.MonkeyPatch
):
    plain = logging.getLogRecordFactory()

    def marked(*args: Any, **told: Any) -> logging.LogRecord:
        record = plain(*args, **told)
        record._ray_timestamp_ns, record.vllm_process_name = 1, "MainProcess"
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", marked)
    await app.predict(catalog="billing", prompt="list charges")
    (line,) = lines.read()
    assert not [name for name in line if name.startswith(("_ray", "vllm"))]


async def test_nothing_that_a_user_says_is_in_the_log(app: App, capfd: pytest.CaptureFixture[str], lines: Lines):
    said = {"user_id": f"u-{SECRET}", "prompt": f"charge {SECRET} to a@{SECRET}.example"}
    said["events"] = [{"endpoint": f"GET /v1/charges/{SECRET}?q={SECRET}", "response": {"status": 200, "body": SECRET}}]  # type: ignore[assignment]
    id_ = (await app.predict(**said)).json()["prediction_id"]
    feedback = {"user_id": said["user_id"], "prediction_id": id_, "feedback": "override"}
    await app.client.post("/feedback", json=feedback | {"chosen": {"endpoint": f"GET /v1/charges/{SECRET}"}})
    await app.client.post("/events", json={"user_id": said["user_id"], "events": said["events"]})
    await app.predict(catalog=SECRET)
    await app.client.put(f"/catalogs/{SECRET}", content=SECRET.encode())
    await app.client.get(f"/{SECRET}?{SECRET}={SECRET}")
    await app.client.request(SECRET.upper(), "/predict")
    text = capfd.readouterr().err
    assert text.count('"event":"request"') == 7
    assert SECRET.lower() not in text.lower()


async def test_a_fault_is_told_by_its_types_and_places_alone(app: App, lines: Lines, monkeypatch: pytest.MonkeyPatch):
    async def broken(*_: object) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(SECRET) from error

    monkeypatch.setattr(app.asgi, "_app", broken)
    assert (await app.client.get("/health")).status_code == 500
    fault, request = lines.read()
    assert (fault["level"], fault["exception"]) == ("error", "RuntimeError from KeyError")
    assert fault["frames"][-1].endswith(" broken")
    assert request["status"] == 500
    assert SECRET not in json.dumps([fault, request])


async def test_the_level_says_what_is_written_and_the_format_how(
    app: App, lines: Lines, capfd: pytest.CaptureFixture[str]
):
    logs.configure(settings.load("local").log.model_copy(update={"level": "warning"}))
    await app.client.get("/health")
    assert capfd.readouterr().err == ""
    logs.configure(settings.load("local").log.model_copy(update={"format": "console"}))
    logging.getLogger("opensesame.access").info("request", extra={"status": 200})
    assert "status=200" in capfd.readouterr().err
