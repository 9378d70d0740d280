"""How far the arguments of a candidate are known: the columns `filled`, `unfilled` and `anew` are made of it.

Called by `pipeline.predict.prepare` for each candidate that got arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.candidates.arguments import Binding
from pipeline.types import Operation


def standing(operation: Operation, binding: Binding, past: Sequence[Mapping[str, str]]) -> tuple[int, int, int]:
    """How many arguments the operation requires, how many of them have no value, and whether those found are new.

    `past` are the arguments of its past calls; the last is 1 where none had these, -1 where one had, 0 without any.
    """
    required = sum(parameter.required or parameter.location == "path" for parameter in operation.parameters)
    missing = len({name.partition(".")[0] for name in binding.missing})
    if not past:
        return required, missing, 0
    is_old = any(all(sent.get(name) == str(value) for name, value in binding.params.items()) for sent in past)
    return required, missing, -1 if is_old else 1
