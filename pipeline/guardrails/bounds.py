"""The bounds of a query that comes in and of arguments that go out.

`admit` cleans a query or refuses it with what to mend; everything after it may rely on the limits. `operations_only`
refuses what a catalog of operations cannot answer. `allow` holds destructive operations back, `clean_params` makes
argument values safe to send. That only operations of the catalog are predicted needs no guard: the shortlist is made
of them. Reading JSON and its types is left to `serve/schemas.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from pipeline import settings
from pipeline.errors import BadRequest
from pipeline.types import SHOW, Call, Candidate, Query, Source

METHODS = frozenset(("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", SHOW))  # OpenAPI 3.1, 4.8.9

URI_MAX = 8000  # octets that everyone should support: RFC 9110, 4.1
_CONTEXT_MAX = 16  # entries of a query's context, 128 characters each
_TEXT_OUT_MAX = 4096  # characters of one argument value
_ALL_TEXT_OUT_MAX = 16384  # characters within the arguments of one prediction
_VALUES_OUT_MAX = 500  # values within the arguments of one prediction
_DEPTH_OUT_MAX = 8

_UNWRITABLE = {  # what orjson says -> what to mend
    "surrogates": "a string holds half of a surrogate pair, which is no text",
    "64-bit": "a number is beyond 64 bits, send it as a string",
    "ecursion": "values are nested deeper than 250 levels",
}

# C0 and C1 control characters but tab and newline, and those that turn the direction of text (Unicode, UAX #9).
_CONTROLS = dict.fromkeys(
    [c for c in (*range(0x20), *range(0x7F, 0xA0)) if c not in (0x09, 0x0A)]
    + [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
)


def operations_only(query: Query) -> None:
    """Raises BadRequest for a query of propositions, which is for a catalog that holds some."""
    if query.wants_propositions:
        raise BadRequest("This catalog holds operations, not propositions: ask POST /predict, or name another one.")
    for call in query.calls:
        if call.method == SHOW:
            raise BadRequest(
                "An event's endpoint must be 'METHOD /path', such as 'GET /v1/charges/ch_123'; "
                f"it is {call.path[1:80]!r}, which could only be the id of a proposition; "
                "this catalog holds operations."
            )


def admit(query: Query, limits: settings.Predict) -> Query:
    """The query, cleaned: no control characters in the prompt, only the last calls.

    Raises:
        BadRequest: a value out of its range, too long, or not text.
    """
    printable("user_id", query.user, limits.user_max)
    if not query.user.strip():
        raise BadRequest("user_id must not be blank.")
    if not 1 <= query.k <= limits.k_max:
        raise BadRequest(f"k must be 1 to {limits.k_max}, not {query.k}.")
    if not 0 < query.deadline_s <= limits.deadline_max_s:  # NaN fails too
        raise BadRequest(f"deadline_ms must be above 0 and at most {limits.deadline_max_s * 1000:g}.")
    if not 0 <= query.temperature <= 2:
        raise BadRequest("temperature must be 0 to 2.")
    if query.max_cost_usd is not None and not 0 <= query.max_cost_usd < math.inf:
        raise BadRequest("max_cost_usd must be a number, not negative.")
    if len(query.prompt) > limits.prompt_max:
        raise BadRequest(f"prompt has {len(query.prompt)} characters; {limits.prompt_max} are the most.")
    if len(query.context) > _CONTEXT_MAX:
        raise BadRequest(f"context has {len(query.context)} entries; {_CONTEXT_MAX} are the most.")
    for name, value in query.context.items():
        printable("context", name, 128)
        printable("context", value, 128)
    _check_source(query.source)
    calls = query.calls[-limits.history_max :]
    for call in calls:
        _check_call(call)
    _check_values([query.prompt, [(call.params, call.body) for call in calls]])
    return msgspec.structs.replace(query, prompt=_clean(query.prompt), calls=calls)


def allow(
    candidates: Sequence[Candidate],
    intents: Collection[str],
    cleared: Collection[str],
    mode: str,
    wholes: Collection[str] = (),
) -> list[bool]:
    """Which candidates may be shown: harmless, asked for by their family of words, or cleared.

    `intents` are the families the prompt asks for, `cleared` the operations that this user accepted before or that
    the session's own calls speak for; `wholes` are asked for by no family, as the prompt names a part of them.
    """
    return [
        mode == "allow"
        or not one.destructive
        or one.operation in cleared
        or (one.destructive in intents and one.operation not in wholes)
        for one in candidates
    ]


def clean_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Argument values as JSON can carry them, bounded in length, number and depth; what cannot be carried is left out.

    Control characters, halves of surrogate pairs, NaN, infinities and numbers beyond 64 bits go.
    """
    values, characters = _VALUES_OUT_MAX, _ALL_TEXT_OUT_MAX

    def clean_text(text: str) -> str:
        nonlocal characters
        text = _clean(text[: min(characters, _TEXT_OUT_MAX)])
        characters -= len(text)
        return text

    def clean(value: Any, depth: int) -> Any:
        nonlocal values
        values -= 1
        if values < 0 or depth > _DEPTH_OUT_MAX:
            return None
        match value:
            case str():
                return clean_text(value)
            case bool() | None:
                return value
            case int():
                return value if -(2**63) <= value < 2**64 else None
            case float():
                return value if math.isfinite(value) else None
            case Mapping():
                return {clean_text(str(name)): clean(inner, depth + 1) for name, inner in value.items() if values > 0}
            case list() | tuple():
                return [clean(inner, depth + 1) for inner in value if values > 0]
        return None

    return {name: value for name, value in clean(params, 0).items() if value is not None or params.get(name) is None}


def printable(name: str, text: str, limit: int) -> str:
    """The text, when it has no control characters and at most `limit` characters.

    Raises:
        BadRequest: it has; the message names it as `name`.
    """
    if len(text) > limit:
        raise BadRequest(f"{name} has {len(text)} characters; {limit} are the most.")
    if not text.isprintable():
        raise BadRequest(f"{name} holds a character that cannot be printed.")
    return text


def _clean(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_CONTROLS).encode("utf-8", "ignore").decode()


def _check_source(source: Source) -> None:
    printable("catalog", source.name, 128)
    printable("spec_url", source.url, URI_MAX)


def _check_call(call: Call) -> None:
    if call.method not in METHODS:
        raise BadRequest(f"'{call.method[:20]}' is no HTTP method: write an endpoint as 'GET /path'.")
    if not call.path:
        raise BadRequest("An endpoint needs a path: write it as 'GET /path'.")
    printable("endpoint", call.path, URI_MAX)


def _check_values(value: Any) -> None:
    """Refuse what could not be written down again, in one pass of a C encoder.

    That are halves of surrogate pairs, numbers beyond 64 bits, and nesting beyond the 254 levels of orjson, which
    everything of ours can walk recursively.
    """
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        said = str(error)
        for sign, what in _UNWRITABLE.items():
            if sign in said:
                said = what
        raise BadRequest(f"The request cannot be kept as JSON: {said}.") from None
