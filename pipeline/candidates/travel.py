"""What of the candidates travels from the catalog to the story: at most so many bytes, whatever spec and user sent.

Ordinary candidates pass unchanged. Called by `pipeline.predict.prepare`, and `cards` by who sends the generator a whole
catalog, once; pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.candidates.seen import at
from pipeline.types import Candidate, Operation, Parameter

LIMIT_BYTES = 60_000  # of a grounded query's candidates and features; with its head at most 64 KB pickled
_HEAD_BYTES = 3_500  # prompt vector, digests, title, the keys of the last calls
_CANDIDATE_BYTES = 90  # what a pickled candidate takes beside its texts
_VALUE_BYTES = 16  # the same of an argument, its origin included
_SUMMARY_MAX = 160  # characters
_PARAMETERS_MAX = 12  # of one operation that are offered to the generator: required ones first
_DESCRIPTION_MAX = 60  # characters of a parameter
_ENUM_MAX = 20


def fit(candidates: Sequence[Candidate], schemas: Sequence[Sequence[Parameter]], limit: int) -> tuple[Candidate, ...]:
    """The candidates that fit into `limit` bytes, in their order; the first ones with their argument schemas.

    Over the limit, long argument values go first (they are named missing then), then the last candidates.
    """
    short = [_shortened(candidate) for candidate in candidates]
    weights = [_weight(candidate) for candidate in short]
    room = limit - _HEAD_BYTES
    if sum(weights) > room:
        share = room // max(1, len(short))
        short = [_lightened(c, share) if w > share else c for c, w in zip(short, weights, strict=True)]
        weights = [_weight(candidate) for candidate in short]
        while sum(weights) > room:
            weights.pop()
            short.pop()
    room -= sum(weights)
    for index, parameters in enumerate(schemas[: len(short)]):
        offered = _offered(parameters)
        room -= sum(_parameter_weight(parameter) for parameter in offered)
        if room < 0:
            break
        short[index] = msgspec.structs.replace(short[index], schema=offered)
    return tuple(short)


def cards(operations: Sequence[Operation], limit: int) -> tuple[Candidate, ...]:
    """What an overview of a catalog needs of its operations: at most `limit`, those of the shortest paths."""
    chosen = sorted(operations, key=lambda o: (o.path.count("/"), o.path, o.method))[:limit]
    return tuple(
        _shortened(
            Candidate(
                operation=operation.key,
                operation_id=operation.operation_id,
                summary=operation.summary,
                destructive=operation.destructive,
                schema=_offered(operation.parameters),
            )
        )
        for operation in chosen
    )


def _shortened(candidate: Candidate) -> Candidate:
    if len(candidate.summary) <= _SUMMARY_MAX:
        return candidate
    return msgspec.structs.replace(candidate, summary=candidate.summary[: _SUMMARY_MAX - 1] + "…")


def _lightened(candidate: Candidate, share: int) -> Candidate:
    """The candidate without its longest argument values, until it weighs no more than its share."""
    params, missing = dict(candidate.params), candidate.missing_params
    excess = _weight(candidate) - share
    for name in sorted(params, key=lambda name: -_size(params[name])):
        if excess <= 0:
            break
        excess -= _size(params.pop(name))
        lacks = [inner for inner in missing if inner.startswith(f"{name}.")]
        missing = tuple(inner for inner in missing if inner not in lacks)
        missing = (*missing, name) if lacks or name in candidate.path else missing
    origins = {name: origin for name, origin in candidate.origins.items() if at(params, name) is not None}
    return msgspec.structs.replace(candidate, params=params, missing_params=missing, origins=origins)


def _weight(candidate: Candidate) -> int:
    weight = _CANDIDATE_BYTES + _size(candidate.operation) + _size(candidate.operation_id) + _size(candidate.summary)
    for name, value in candidate.params.items():
        weight += _VALUE_BYTES + _size(name) + _size(value)
    for name in candidate.origins.keys() - candidate.params.keys():  # of parts of objects
        weight += _VALUE_BYTES + _size(name)
    for name in candidate.missing_params:
        weight += 4 + _size(name)
    return weight


def _parameter_weight(parameter: Parameter) -> int:
    texts = _size(parameter.name) + _size(parameter.description) + _size(parameter.default) + _size(parameter.example)
    return 48 + texts + sum(4 + _size(value) for value in parameter.enum)


def _offered(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    chosen = sorted(parameters, key=lambda p: not p.required)[:_PARAMETERS_MAX]
    return tuple(
        msgspec.structs.replace(
            p,
            description=p.description[:_DESCRIPTION_MAX],
            enum=p.enum[:_ENUM_MAX],
            default=None,
            example=None,
            fields=(),
            parts=(),
        )
        for p in chosen
    )


def _size(value: Any) -> int:
    """Bytes of a value, from above."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return len(text) if text.isascii() else 4 * len(text)
