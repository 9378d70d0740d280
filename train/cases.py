"""Evaluation cases: a spec, the calls so far, perhaps a prompt, and the call that came next.

One JSON object per line: `suite`, `case`, `variant`, `spec` (a file), `prompt`, `events` (`ts`,
`endpoint`, `params`), `next` and `accept` (`METHOD /template`), `group` (cases that hang together).
Other fields are ignored. Read by `train/evaluate.py` and by whoever makes suites of their own.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import BadRequest
from pipeline.types import Call, Query, Source

VARIANTS = ("prompt_history", "prompt_only", "history_only")


class Event(msgspec.Struct, frozen=True):
    """One past call as a case writes it."""

    endpoint: str  # METHOD /concrete/path
    params: dict[str, Any] = {}
    ts: str | None = None  # ISO 8601


class Case(msgspec.Struct, frozen=True):
    """One question with its answer."""

    suite: str
    case: str
    variant: str
    spec: str
    next: str  # METHOD /template
    prompt: str | None = None
    events: tuple[Event, ...] = ()
    accept: tuple[str, ...] = ()  # operations that would be just as right
    group: str = ""
    next_params: dict[str, Any] | None = None


def read_cases(paths: Iterable[Path]) -> list[Case]:
    """The cases of JSON-lines files, and of all `*.jsonl` under folders.

    Raises:
        BadRequest: a line is no case; says which file and line.
    """
    cases: list[Case] = []
    for path in paths:
        for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            for number, line in enumerate(file.read_bytes().splitlines(), 1):
                if not line.strip():
                    continue
                try:
                    cases.append(msgspec.json.decode(line, type=Case))
                except msgspec.DecodeError as error:
                    raise BadRequest(f"{file}:{number} is no evaluation case: {error}") from error
    return cases


def query_of(case: Case, source: Source, k: int = 50) -> Query:
    """The query that a case asks."""
    calls = []
    for event in case.events:
        method, _, path = event.endpoint.partition(" ")
        ts = datetime.datetime.fromisoformat(event.ts).timestamp() if event.ts else None
        calls.append(Call(method=method, path=path, params=event.params, ts=ts))
    return Query(source=source, calls=tuple(calls), prompt=case.prompt or "", k=k)
