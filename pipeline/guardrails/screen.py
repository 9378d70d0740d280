"""What is done with what a prompt holds: nothing, a flag, a mark in its place, or refusal.

`screen` reads the prompt once. Arguments are filled from what the user wrote, in process; the generator reads `told`,
where personal data is a mark (`EMAIL_1`), and the state keeps hashes of the words of `kept`, where it is missing.
`veil` does the same to the calls that the generator reads, `unveil` puts back what its arguments mean by a mark, so
that the answer to that same user is whole and the model's words never hold personal data.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline import settings
from pipeline.errors import GuardrailRefused
from pipeline.guardrails import attacks, personal
from pipeline.types import Call, Candidate, Proposal, Query

FLAGS = (*personal.KINDS, *attacks.KINDS)

_WORDS = {
    "jwt": "a token",
    "secret": "a secret",
    "email": "an e-mail address",
    "iban": "an account number",
    "card": "a card number",
    "ssn": "a social security number",
    "ip": "an IP address",
    "phone": "a telephone number",
    "sql": "SQL",
    "shell": "a shell command",
    "xss": "a script",
    "path_traversal": "a path out of its folder",
    "profanity": "profanity",
    "prompt_injection": "instructions to the service",
}
_MARK = re.compile(rf"\b(?:{'|'.join(personal.KINDS)})_\d{{1,4}}\b", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"passw|secret|api_?key|access_?token|auth_?token|authorization|private_?key|\bpin$|cvc|cvv", re.I
)
_MAY_BE_PERSONAL = re.compile(r"[\d@]|[(\[{]at|PRIVATE KEY")
_CALLS_TOLD = 20  # the generator reads no more of a session
_VALUES_TOLD = 300  # of all calls together, the last ones first; the generator's own limits are below
_TEXT_TOLD = 2000  # characters of one value
_ALL_TEXT_TOLD = 16_000
_DEPTH_TOLD = 6

_SUSPICIOUS = {
    "admin": frozenset(("admin", "admins", "administrator", "administrators", "administration", "superuser", "sudo")),
    "internal": frozenset(("internal", "internals", "intern")),
    "debug": frozenset(("debug", "debugger", "debugging", "diagnostics", "actuator", "pprof", "heapdump")),
}
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclasses.dataclass(frozen=True, slots=True)
class Screened:
    """A prompt that was looked into."""

    told: str  # marks in the place of personal data
    kept: str  # without it
    flags: tuple[str, ...]  # kinds that were found, of FLAGS
    hidden: Mapping[str, str]  # mark -> what it stands for


class _Marks:
    """Marks given so far: one value has one mark, wherever it stands."""

    def __init__(self, kinds: frozenset[str], hidden: Mapping[str, str] | None = None) -> None:
        self.kinds = kinds
        self.hidden = dict(hidden or {})
        self._given = {value: mark for mark, value in self.hidden.items()}

    def mark(self, value: str, kind: str) -> str:
        found = self._given.get(value)
        if found is None:
            found = self._given[value] = f"{kind.upper()}_{len(self._given) + 1}"
            self.hidden[found] = value
        return found

    def hide(self, text: str) -> str:
        spans = personal.find(text, self.kinds) if self.kinds and _MAY_BE_PERSONAL.search(text) else []
        return _replaced(text, [(span, self.mark(text[span.start : span.end], span.kind)) for span in spans])


def screen(prompt: str, policies: settings.Guardrails) -> Screened:
    """What the prompt holds and what of it may be told and kept.

    Raises:
        GuardrailRefused: it holds what the settings block; `kinds` says what.
    """
    by_kind = {**policies.personal.model_dump(), **policies.attacks.model_dump()}
    spans = personal.find(prompt, [kind for kind in personal.KINDS if by_kind[kind] != "off"]) if prompt else []
    wanted = tuple(kind for kind in attacks.KINDS if by_kind[kind] != "off")
    found = {span.kind for span in spans} | set(attacks.find(prompt, wanted) if prompt and wanted else ())
    flags = tuple(kind for kind in FLAGS if kind in found)
    if blocked := tuple(kind for kind in flags if by_kind[kind] == "block"):
        what = " and ".join(_WORDS[kind] for kind in blocked)
        raise GuardrailRefused(f"The prompt seems to hold {what}, which this service does not take.", blocked)
    marks = _Marks(frozenset(kind for kind in personal.KINDS if by_kind[kind] == "redact"))
    spans = [span for span in spans if span.kind in marks.kinds]
    told = _replaced(prompt, [(span, marks.mark(prompt[span.start : span.end], span.kind)) for span in spans])
    return Screened(told, _replaced(prompt, [(span, " ") for span in spans]), flags, marks.hidden)


def veil(query: Query, screened: Screened, policies: settings.Guardrails) -> tuple[Query, Mapping[str, str]]:
    """The query as the generator may read it, and what its marks stand for."""
    kinds = frozenset(kind for kind, policy in policies.personal.model_dump().items() if policy == "redact")
    marks = _Marks(kinds, screened.hidden)
    telling = _Telling(marks)
    calls = [telling.call(call) for call in reversed(query.calls[-_CALLS_TOLD:])]
    return msgspec.structs.replace(query, prompt=screened.told, calls=tuple(reversed(calls))), marks.hidden


def unveil(proposal: Proposal, hidden: Mapping[str, str]) -> Proposal:
    """The proposal with its marks put back into arguments; arguments that look like an attack are left out."""
    picks = []
    for index, arguments, why in proposal.picks:
        meant = {name: _meant(value, hidden) for name, value in arguments.items()}
        safe = {name: value for name, value in meant.items() if not (isinstance(value, str) and attacks.find(value))}
        picks.append((index, safe, _MARK.sub(lambda found: _WORDS[found[0].rsplit("_", 1)[0].lower()], why)))
    return dataclasses.replace(proposal, picks=tuple(picks))


def suspicions(candidate: Candidate) -> tuple[str, ...]:
    """Why an operation deserves a second look before it is called: `admin`, `internal`, `debug`; () for most."""
    if candidate.is_proposition:
        return ()
    parts = {part.lower() for part in _NAME_PART.findall(f"{candidate.operation} {candidate.operation_id}")}
    return tuple(kind for kind, words in _SUSPICIOUS.items() if parts & words)


def _meant(value: Any, hidden: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    return _MARK.sub(lambda found: hidden.get(found[0].upper(), found[0]), value)


def _replaced(text: str, spans: list[tuple[personal.Span, str]]) -> str:
    parts, at = [], 0
    for span, instead in spans:
        parts += [text[at : span.start], instead]
        at = span.end
    return "".join((*parts, text[at:])) if parts else text


class _Telling:
    """Calls as the generator may read them: personal data marked, and no more of them than it could use."""

    def __init__(self, marks: _Marks) -> None:
        self._marks = marks
        self._values, self._characters = _VALUES_TOLD, _ALL_TEXT_TOLD

    def call(self, call: Call) -> Call:
        path = call.path.replace("%40", "@") if "%40" in call.path else call.path
        params = self._value(call.params, 0)
        return msgspec.structs.replace(
            call,
            path=self._marks.hide(path),
            params=params if isinstance(params, dict) else {},
            body=self._value(call.body, 0),
        )

    def _value(self, value: Any, depth: int, name: str = "") -> Any:
        self._values -= 1
        if self._values < 0 or self._characters < 0 or depth > _DEPTH_TOLD:
            return None
        if isinstance(value, Mapping):
            return {key: self._value(inner, depth + 1, key) for key, inner in value.items() if self._values > 0}
        if isinstance(value, (list, tuple)):
            return [self._value(inner, depth + 1, name) for inner in value if self._values > 0]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float) and not math.isfinite(value):
            return None
        text = str(value)[:_TEXT_TOLD]
        self._characters -= len(text)
        if "secret" in self._marks.kinds and text and _SECRET_NAME.search(name):
            return self._marks.mark(text, "secret")
        if isinstance(value, str):
            return self._marks.hide(text)
        told = self._marks.hide(text) if len(text) > 8 else text
        return value if told == text else told
