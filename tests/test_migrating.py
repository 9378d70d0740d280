"""docs/migrating.md: no promise of the older services is passed over, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline import settings
from pipeline.ranking.table import NAMES
from serve.identity import ACCESS
from serve.metrics import METRICS
from serve.schemas import PredictRequest, read_value, to_query

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


def test_every_column_named_is_a_feature() -> None:
    rows = re.findall(r"^\| (\d+)(?:, \d+)* .*? \| (.*) \|$", PAGE, re.MULTILINE)
    told = [name for number, answer in rows if 142 <= int(number) <= 158 for name in re.findall(r"`(\w+)`", answer)]
    assert len(told) > 20
    assert set(told) <= set(NAMES)


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


def test_all_that_an_older_history_may_say_is_read() -> None:
    body = {
        "prompt": "I want to create a new user account",
        "history": [
            {"api_call": "GET /api/users", "method": "GET", "timestamp": "2025-07-01T12:00:00Z"},
            {"api_call": "/api/users/7", "method": "GET", "parameters": {"full": True}, "status": 200},
        ],
        "max_predictions": 3,
        "temperature": 0.7,
    }
    query = to_query(read_value(body, PredictRequest), settings.load("local"), tenant="t", header_user="ana")
    first, second = query.calls
    assert (first.method, first.path, first.ts) == ("GET", "/api/users", 1751371200.0)
    assert (second.method, second.path, second.params, second.status) == ("GET", "/api/users/7", {"full": True}, 200)
    assert (query.k, query.user, query.temperature) == (3, "ana", 0.7)
