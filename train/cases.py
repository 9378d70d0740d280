"""Evaluation cases: a spec, the calls so far, perhaps a prompt, and the call that came next.

One JSON object per line: `suite`, `case`, `variant`, `spec` (a file), `prompt`, `events` (`ts`,
`endpoint`, `params`, `response`), `next` and `accept` (`METHOD /template`), `next_params`, `group`
(cases that hang together). Other fields are ignored. A file `NAME.sessions.jsonl` holds whole sessions
(`prompt`, `events`) of the spec NAME instead; each of their calls becomes a case per variant.
Read by `train/evaluate.py` and by whoever makes suites of their own.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from pipeline.catalog.match import Matcher
from pipeline.errors import BadRequest
from pipeline.types import Call, Catalog, Query, Source

VARIANTS = ("prompt_only", "prompt_history", "history_only")
SESSIONS = ".sessions.jsonl"
_EVENTS_MAX = 20  # of a case made from a session: the latest ones
T = TypeVar("T")


class Response(msgspec.Struct, frozen=True):
    """What is known of a past call's answer."""

    status: int
    body: Any = None


class Event(msgspec.Struct, frozen=True):
    """One past call as a case writes it."""

    endpoint: str  # METHOD /concrete/path
    params: dict[str, Any] = {}
    ts: str | None = None  # ISO 8601
    response: Response | None = None


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
    next_params: dict[str, Any] | None = None  # path, query and body in one; None where nobody knows them

    @property
    def cluster(self) -> str:
        """What is resampled together, and kept from telling its own answers: its group, else itself."""
        return self.group or self.case


class Session(msgspec.Struct, frozen=True):
    """What one user did in one go."""

    events: tuple[Event, ...]
    prompt: str | None = None


class Specs(Protocol):
    """Where the specs of sessions are found."""

    def find(self, name: str) -> str: ...

    def parsed(self, spec: str) -> tuple[Catalog, Matcher]: ...


def read_cases(paths: Iterable[Path], specs: Specs | None = None) -> list[Case]:
    """The cases of JSON-lines files, and of all `*.jsonl` under folders; those of sessions where `specs` are given.

    Raises:
        BadRequest: a line is no case and no session; says which file and line.
    """
    cases: list[Case] = []
    for path in paths:
        for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            if not file.name.endswith(SESSIONS):
                cases += (case for _, case in _lines(file, Case))
            elif specs is not None:
                suite = file.name.removesuffix(SESSIONS)
                spec = specs.find(suite)
                catalog, matcher = specs.parsed(spec)
                for number, session in _lines(file, Session):
                    cases += cases_of(session, f"{suite}/{number}", suite, spec, catalog, matcher)
    return cases


def cases_of(session: Session, name: str, suite: str, spec: str, catalog: Catalog, matcher: Matcher) -> Iterator[Case]:
    """Each call of a session that is an operation of its spec, as the answer to what came before it."""
    for position, event in enumerate(session.events):
        method, _, path = event.endpoint.partition(" ")
        match = matcher.match(method, path, event.params)
        if match is None:
            continue
        key = catalog.operations[match.index].key
        known = Case(
            suite=suite,
            case=f"{name}#{position}",
            variant="history_only",
            spec=spec,
            next=key,
            events=session.events[max(0, position - _EVENTS_MAX) : position],
            accept=(key,),
            group=name,
            next_params={**event.params, **match.path_params},
        )
        if position:
            yield known
        if session.prompt:
            variant = "prompt_history" if position else "prompt_only"
            yield msgspec.structs.replace(known, variant=variant, prompt=session.prompt)


def _lines(file: Path, kind: type[T]) -> Iterator[tuple[int, T]]:
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            what = "session" if kind is Session else "evaluation case"
            raise BadRequest(f"{file}:{number} is no {what}: {error}") from error


def query_of(case: Case, source: Source, k: int = 50) -> Query:
    """The query that a case asks."""
    calls = []
    for event in case.events:
        method, _, path = event.endpoint.partition(" ")
        ts = datetime.datetime.fromisoformat(event.ts).timestamp() if event.ts else None
        status, body = (None, None) if event.response is None else (event.response.status, event.response.body)
        calls.append(Call(method=method, path=path, params=event.params, ts=ts, status=status, body=body))
    return Query(source=source, calls=tuple(calls), prompt=case.prompt or "", k=k)
