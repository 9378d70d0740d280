"""The written sessions: those over descriptions of our own are what their APIs offer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec

SESSIONS = Path(__file__).parents[2] / "train" / "sessions"
SPECS = sorted((SESSIONS / "specs").glob("*.json"))


@pytest.fixture(scope="module")
def written() -> dict[str, list[dict]]:
    """Sessions by their spec."""
    by_spec: dict[str, list[dict]] = {}
    for file in sorted(SESSIONS.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            session = json.loads(line)
            by_spec.setdefault(session["spec"], []).append(session)
    return by_spec


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_call_is_an_operation_of_its_spec(spec: Path, written: dict[str, list[dict]]) -> None:
    matcher = Matcher(parse_spec(spec.read_bytes(), settings.load().parse))
    sessions = written[f"specs/{spec.name}"]
    calls = {event["endpoint"] for session in sessions for event in session["events"]}
    assert calls
    assert not [call for call in calls if matcher.match(*call.split(" ", 1)) is None]


def test_every_session_has_calls_and_sentences(written: dict[str, list[dict]]) -> None:
    for session in (one for sessions in written.values() for one in sessions):
        assert session["events"]
        assert session["prompts"]
        assert all(prompt.strip() for prompt in session["prompts"])
