"""docs/migrating.md: no promise of the older services is passed over, and their requests work unchanged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline import settings
from serve.identity import ACCESS
from serve.metrics import METRICS
from serve.schemas import PredictRequest, read_value, to_query
from serve.suggest import SuggestRequest
from serve.suggest import to_query as to_suggestion

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "migrating.md").read_text()
PROMISES = 383
PAGES = {"/docs", "/redoc", "/openapi.json"}


def test_every_promise_is_answered_once() -> None:
    rows = re.findall(r"^\| (\d+(?:, \d+)*) ", PAGE, re.MULTILINE)
    numbers = [int(number) for row in rows for number in row.split(", ")]
    assert sorted(numbers) == list(range(1, PROMISES + 1))


def test_every_variable_named_is_a_setting() -> None:
    known = settings.load("local").model_dump()
    for section, key in re.findall(r"OPENSESAME__([A-Z]+)__([A-Z_]+|\*)", PAGE):
        assert section.lower() in known
        assert key == "*" or key.lower() in known[section.lower()]


def test_what_stands_in_its_place_is_there() -> None:
    known = settings.load("local").model_dump()
    answers = " ".join(re.findall(r"^\| \d+(?:, \d+)* .*? \| (.*) \|$", PAGE, re.MULTILINE))
    named = re.findall(r"`([^`]+)`", answers)
    counted = 0
    for name in named:
        match re.split(r"[ .]", name):
            case [("GET" | "POST" | "PUT" | "DELETE") as method, path]:
                assert (method, path) in ACCESS, name
            case [section, key] if re.fullmatch(r"\w+\.\w+", name) and section in known and key != "offpolicy":
                assert key in known[section], name
            case [word] if word.startswith("/"):
                assert any(path == word or path.startswith(f"{word}/") for _, path in ACCESS) or word in PAGES, name
            case [word] if word.startswith("opensesame_"):
                assert word in METRICS, name
            case [*_, "py" | "yaml"]:
                assert (ROOT / name).is_file(), name
            case _:
                continue
        counted += 1
    assert counted > 25


@pytest.mark.parametrize(
    ("body", "calls", "k"),
    [
        (
            {
                "user_id": "user-1",
                "events": [
                    {"ts": "2025-07-01T12:00:00Z", "endpoint": "GET /v1/invoices", "params": {"limit": 3}},
                    {"ts": "2025-07-01T12:01:00Z", "endpoint": "PUT /v1/invoices/in_1/status", "params": {}},
                ],
                "prompt": "finish billing for Q2",
                "spec_url": "https://example.com/openapi.yaml",
                "k": 5,
            },
            [("GET", "/v1/invoices"), ("PUT", "/v1/invoices/in_1/status")],
            5,
        ),
        (
            {
                "prompt": "I want to create a new user account",
                "history": [
                    {"api_call": "GET /api/users", "method": "GET", "timestamp": "2025-07-01T12:00:00Z"},
                    {"api_call": "/api/users/7", "method": "GET", "parameters": {"full": True}, "status": 200},
                ],
                "max_predictions": 3,
                "temperature": 0.7,
            },
            [("GET", "/api/users"), ("GET", "/api/users/7")],
            3,
        ),
    ],
    ids=["A", "B"],
)
def test_older_predictions_are_asked_unchanged(body: dict, calls: list[tuple[str, str]], k: int) -> None:
    query = to_query(
        read_value(body, PredictRequest), settings.load("local"), tenant="t", header_user=body.get("user_id", "")
    )
    assert [(call.method, call.path) for call in query.calls] == calls
    assert (query.k, query.prompt) == (k, body["prompt"])


def test_older_suggestions_are_asked_unchanged() -> None:
    body = {"user_id": "u1", "context": "home insurance", "context_type": "search", "limit": 5, "device": "web"}
    query = to_suggestion(read_value(body, SuggestRequest), settings.load("local"), tenant="t")
    assert (query.user, query.prompt, query.k) == ("u1", "home insurance", 5)
