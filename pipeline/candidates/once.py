"""One id of the prompt is of one thing: of several arguments of a call that took it, the one it fits best keeps it.

Called by `arguments` when all is bound.
"""

from __future__ import annotations

import re

from pipeline.candidates import names
from pipeline.candidates.loose import Ids
from pipeline.candidates.seen import Found
from pipeline.types import Operation, Parameter

_SHORTEST = 3  # characters of a value that is no mere count
_SHARED = re.compile(r"\d{4}-\d\d-\d\d|[^@\s]+@[^@\s]+$")  # days and addresses may be of two arguments


def spare(operation: Operation, bound: dict[str, Found], ids: Ids) -> list[str]:
    """Takes out of `bound` what an argument has of the prompt that is another's; returns the required among them."""
    takers: dict[str, list[Parameter]] = {}
    for parameter in {one.name: one for one in operation.parameters}.values():
        found = bound.get(parameter.name)
        if found is None or not isinstance(found[0], (str, int)) or found[1] == "default":
            continue
        value = str(found[0])
        if len(value) >= _SHORTEST and not parameter.enum and parameter.type != "boolean" and not _SHARED.match(value):
            takers.setdefault(value, []).append(parameter)
    lost = []
    for value, some in takers.items():
        if len(some) < 2:
            continue
        fits = [_fits(value, parameter, operation, bound[parameter.name], ids) for parameter in some]
        for parameter, how_well in zip(some, fits, strict=True):
            if bound[parameter.name][1] == "prompt" and how_well < max(fits):
                del bound[parameter.name]
                lost += [parameter.name] if parameter.required or parameter.location == "path" else []
    return lost


def _fits(value: str, parameter: Parameter, operation: Operation, found: Found, ids: Ids) -> tuple[float, ...]:
    template = names.template(operation.path)
    is_path = parameter.location == "path"
    name = names.name(parameter.name, template.resources.get(parameter.name, "") if is_path else template.last)
    place = template.names.index(parameter.name) if is_path and parameter.name in template.names else -1
    is_id = name.kind in ("id", "number", "key") and any(map(str.isdigit, value))
    is_text = " " in value and not is_path
    return found[1] != "prompt", is_text, ids.nearness(name, value), parameter.required or is_path, is_id, place
