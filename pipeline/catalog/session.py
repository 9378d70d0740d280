"""What the calls so far leave behind: recent operations, and which entities the session can name.

Reads calls already matched to operations; values are compared, never kept. Called by `retrieve.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.catalog.entities import NOTHING, SEARCH_REQUIRED, Entities
from pipeline.catalog.relations import Relations
from pipeline.catalog.words import Words
from pipeline.types import Call, Match

RECENT = 8  # distinct operations that count; at .8 a call the ninth says less than .17
_CALLS = 40  # calls whose arguments and answers are read for entities
_SUPPLIED = 0.9  # an entity that was only supplied, against one that was used
_OWN = 0.5  # an entity of which the caller's own goes by a keyword
_BODY_FIELDS = 64  # fields of a sampled response that are read
_LEVELS = 3  # of its lists
_IDENTIFYING = ("id", "key", "number", "name", "title")  # ends of names: beside an empty list they are of something


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """The calls of a query, seen from the catalog."""

    history: np.ndarray  # [n_calls] int32, oldest first; -1 unmatched
    values: np.ndarray  # [n_calls] int64, equal for equal arguments
    classes: np.ndarray  # [n_calls] int8, 2 x verb class + works on one thing; -1 unmatched
    recent: np.ndarray  # [h] int32, distinct operations, newest first
    ages: np.ndarray  # [h] int32, how many matched calls ago
    asked: tuple[frozenset[int], ...]  # [h] entity keys that the newest of its calls asked for by kind; none: any
    state: np.ndarray  # [n_keys] float32, how surely the session has a value of each entity key
    state_before: np.ndarray  # [n_keys] float32, the same before the last call
    terms: frozenset[int]  # words of the names of the operations called
    searched: bool  # one of the recent operations took a search text


def read(relations: Relations, words: Words, calls: Sequence[Call], matches: Sequence[Match | None]) -> Session:
    """The session of these calls and their matches, one for one."""
    history = np.array([-1 if m is None else m.index for m in matches], dtype=np.int32)
    recent: dict[int, int] = {}
    e = relations.entities
    asked = [
        frozenset[int]() if m is None else NOTHING if _found_nothing(c) else e.asked(m.index, m.path_params, c.params)
        for c, m in zip(calls, matches, strict=True)
    ]
    newest: list[frozenset[int]] = []
    age = 0
    for operation, kinds in zip(history[::-1].tolist(), reversed(asked), strict=True):
        if operation >= 0:
            if len(recent) < RECENT and operation not in recent:
                recent[operation] = age
                newest.append(kinds)
            age += 1
    state = np.zeros(e.size, dtype=np.float32)
    state[list(e.own)] = _OWN
    before = state
    start = max(0, len(calls) - _CALLS)
    for i in range(start, len(calls)):
        if i == len(calls) - 1:
            before = state.copy()
        _add(state, e, calls[i], matches[i], asked[i])
    classes = np.where(history >= 0, (2 * relations.verb + relations.item)[history], -1) if relations.size else history
    return Session(
        history=history,
        values=np.array([_fingerprint(c, m) for c, m in zip(calls, matches, strict=True)], dtype=np.int64),
        classes=classes.astype(np.int8),
        recent=np.array(list(recent), dtype=np.int32),
        ages=np.array(list(recent.values()), dtype=np.int32),
        asked=tuple(newest),
        state=state,
        state_before=before,
        terms=frozenset().union(*(words.name_terms(h) for h in recent)),
        searched=any(relations.free[h] >= SEARCH_REQUIRED for h in recent),
    )


def _found_nothing(call: Call) -> bool:
    """Whether a call failed, or read an empty list."""
    return (call.status or 0) >= 400 or (call.method == "GET" and _is_empty(call.body))


def _is_empty(body: Any, level: int = 0) -> bool:
    """Whether a sampled answer is a list of nothing, or holds only such beside plain values that identify nothing."""
    if not isinstance(body, dict):
        return isinstance(body, list) and not body
    parts = [value for value in body.values() if isinstance(value, (dict, list))]
    if not parts or level > _LEVELS or any(str(name).lower().endswith(_IDENTIFYING) for name in body):
        return False
    return all(_is_empty(part, level + 1) for part in parts)


def _add(state: np.ndarray, e: Entities, call: Call, match: Match | None, asked: frozenset[int]) -> None:
    if match is not None:
        if asked is not NOTHING:
            keys, grades = e.supplies_asked(match.index, asked)
            state[keys] = np.maximum(state[keys], _SUPPLIED * grades)
        for name in match.path_params:
            if (key := e.of_parameter(name)) is not None:
                state[key] = 1.0
        state[e.needs(match.index)] = 1.0
    for name, value in call.params.items():
        if value not in (None, "", []) and (key := e.of_parameter(name)) is not None:
            state[key] = 1.0
    if call.body is not None and asked is not NOTHING:
        names = list(_names(call.body))
        of_fields = itertools.chain.from_iterable(map(e.of_field, names))
        for key, grade in itertools.chain(of_fields, e.of_parts(names)):
            state[key] = max(state[key], _SUPPLIED * grade)


def _names(body: Any) -> Iterator[str]:
    """Dotted names of a sampled response, arrays transparent: two levels of the first of each."""
    left = _BODY_FIELDS
    stack: list[tuple[str, Any, int]] = [("", body, 0)]
    while stack and left > 0:
        prefix, value, level = stack.pop()
        if isinstance(value, list):
            if value:
                stack.append((prefix, value[0], level))
        elif isinstance(value, dict) and level < 3:
            for name, inner in list(value.items())[:left]:
                left -= 1
                dotted = f"{prefix}.{name}" if prefix else str(name)
                yield dotted
                if isinstance(inner, (dict, list)):
                    stack.append((dotted, inner, level + 1))


def _fingerprint(call: Call, match: Match | None) -> int:
    """Equal for two calls of one operation with equal arguments."""
    parts = [call.path if match is None else repr(sorted(match.path_params.items()))]
    parts += [f"{name}={value!r}" for name, value in sorted(call.params.items(), key=lambda item: str(item[0]))]
    return zlib.crc32("\0".join(parts).encode("utf-8", "surrogatepass"))
