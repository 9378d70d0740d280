"""docs/migrating.md: no promise of the older services is passed over, and what it names is there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import yaml

from pipeline import settings
from pipeline.errors import BadRequest, OpenSesameError
from pipeline.ranking.table import NAMES
from serve.identity import ACCESS
from serve.metrics import METRICS, TAGS
from serve.schemas import PredictRequest, read_value, to_query
from tests.conftest import ROOT
from tests.k8s import monitoring
from tests.test_docs_commands import _check_make, parse

PAGE = (ROOT / "docs" / "migrating.md").read_text()
# Numbers, what was promised, the answer.
ROWS = re.findall(r"^\| (\d+(?:, \d+)*) (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
PROMISES = 383
PAGES = {"/docs", "/openapi.json"}
SETTINGS = settings.load("local").model_dump()
ALERTS = {rule["alert"] for rule in monitoring.alerts()}
# Of HTTP, OpenAPI and Redis; words that a setting or a field takes; names of targets and overlays.
WORDS = {"X-User-ID", "Server-Timing", "Retry-After", "Date", "$ref", "rediss://", ".env", "cpu", "gpu", "ha"}
WORDS |= {"off", "allow", "block", "other", "page", "info", "cold-start", "generator+ranker", "meaning", "degraded"}


def _names(answer: str) -> list[str]:
    return re.findall(r"`([^`]+)`", answer)


def _fields() -> Iterator[str]:
    """Names of the fields that requests and answers have, read off the code that reads and makes them."""
    for node in chain.from_iterable(ast.walk(ast.parse(file.read_text())) for file in (ROOT / "serve").glob("*.py")):
        if isinstance(node, ast.ClassDef):
            inner = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
            yield from (target.id for target in inner if isinstance(target, ast.Name))
        elif isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and type(key.value) is str)


def _slugs(kind: type[OpenSesameError] = OpenSesameError) -> set[str]:
    return {kind.slug}.union(*map(_slugs, kind.__subclasses__()))


KNOWN = {*_fields(), *chain(*TAGS.values()), *NAMES, *METRICS, *ALERTS, *_slugs(), *WORDS}


def _is_setting(name: str) -> bool:
    value = SETTINGS
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _is_known(name: str) -> bool:
    match name.split():
        case [("GET" | "POST" | "PUT" | "DELETE") as method, path]:
            return (method, path.split("?")[0]) in ACCESS
        case ["METHOD", _]:
            return True
        case ["make", *words]:
            _check_make(words)
            return True
        case ["opensesame" | "python", *_] as words:
            try:
                parse([*words, "--help"])
            except AssertionError:
                return False
            return True
        case [path] if path.startswith("/"):
            return path in PAGES or any(route == path or route.startswith(f"{path}/") for _, route in ACCESS)
        case [path] if "/" in path and path not in WORDS:
            return (ROOT / path).exists()
        case [variable] if variable.startswith("OPENSESAME__"):
            return _is_setting(".".join(variable.lower().split("__")[1:]))
        case [setting] if "." in setting and setting.split(".")[0] in SETTINGS:
            return _is_setting(setting)
        case [setting, _] if setting.endswith(":"):
            return _is_setting(setting[:-1])
        case _:
            return name in KNOWN or (ROOT / name).exists() or all(part in KNOWN for part in name.split("."))


def test_every_promise_is_answered_once() -> None:
    numbers = Counter(int(number) for row, _, _ in ROWS for number in row.split(", "))
    assert sorted(set(range(1, PROMISES + 1)) - set(numbers)) == [], "no row"
    assert sorted(set(numbers) - set(range(1, PROMISES + 1))) == [], "no promise"
    assert [number for number, count in numbers.items() if count > 1] == [], "two rows"


def test_every_row_names_what_was_promised() -> None:
    assert [row for row, promised, _ in ROWS if re.search(r"…|\.\.\.", promised)] == []
    assert len(ROWS) > 350  # one for each, but for what is the same


def test_every_variable_named_is_a_setting() -> None:
    for section, key in re.findall(r"OPENSESAME__([A-Z]+)__([A-Z_]+|\*)", PAGE):
        assert section.lower() in SETTINGS
        assert key == "*" or key.lower() in SETTINGS[section.lower()]


def test_every_column_named_is_a_feature() -> None:
    told = [name for row, _, answer in ROWS if 140 <= int(row.split(",")[0]) <= 158 for name in _names(answer)]
    assert len(told) > 40
    assert set(told) <= set(NAMES)
    assert f"{len(NAMES)} columns" in PAGE


@pytest.mark.parametrize(("row", "answer"), [(row, answer) for row, _, answer in ROWS], ids=[row for row, *_ in ROWS])
def test_every_name_in_an_answer_is_one_of_ours(row: str, answer: str) -> None:
    assert [name for name in _names(answer) if not _is_known(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "GET /performance/metrics",
        "/performance",
        "predict.prompt_most",
        "opensesame_searches",
        "OpenSesameDaily",
        "metadata.safety_validation",
        "candidates_ranked",
        "k8s/nowhere",
        "opensesame generate-data",
    ],
)
def test_a_name_that_is_not_ours_is_found(name: str) -> None:
    assert not _is_known(name)


def test_every_panel_named_is_on_the_dashboard() -> None:
    named, titles = re.findall(r'panel "([^"]+)"', PAGE), [panel["title"] for panel in monitoring.panels()]
    assert named
    assert [name for name in named if not any(title.startswith(name) for title in titles)] == []


def test_the_memory_that_compose_asks_for_is_the_sum_of_its_limits() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"].values()
    gigabytes = sum(float(one["mem_limit"][:-1]) / {"g": 1, "m": 1024}[one["mem_limit"][-1]] for one in services)
    assert f"({gigabytes:g} GB in all)" in PAGE


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


@pytest.mark.parametrize(
    "body",
    [
        {"nothing": "of ours"},
        {"k": "5"},
        {"k": 51},
        {"max_predictions": 0},
        {"temperature": 2.1},
        {"prompt": "a" * 4097},
        {"history": [{"method": "GET"}]},
        {"history": [{"api_call": "/a", "timestamp": "yesterday"}]},
        {"history": [{"api_call": "/a", "status": 42}]},
        {"history": [{"api_call": "GET /a", "method": "POST"}]},
    ],
    ids=str,
)
def test_what_the_page_says_is_not_taken_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        to_query(read_value(body, PredictRequest), settings.load("local"), tenant="t")
