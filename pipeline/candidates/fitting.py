"""Values made to fit a parameter's schema: its type, its literals, its bounds, its format; None where they cannot.

Pure functions of one value and one parameter; where a value comes from is `arguments`' business, which calls this.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from pipeline.candidates import formats
from pipeline.types import Parameter

_VALUE_MAX = 500  # characters
_ENUM_MAX = 256  # literals; a longer list may have been cut when the spec was read
_INT_MIN = -(2**63)  # msgpack carries no longer ones
_INTEGER = re.compile(r"-?\d{1,18}")


def is_value(value: Any) -> bool:
    """Whether an argument can be `value`: a scalar that is not empty, nor longer than an argument is."""
    if isinstance(value, str):
        return 0 < len(value) <= _VALUE_MAX
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def coerce(value: Any, parameter: Parameter) -> Any:
    """`value` as the parameter's declared type, None where it cannot be one."""
    kind = parameter.type
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        item = Parameter(name=parameter.name, location=parameter.location, type=parameter.items or "any")
        cast = [coerce(v, item) for v in items]
        return None if None in cast else cast
    if isinstance(value, list):
        return value if kind == "any" else None
    if kind == "boolean":
        text = str(value).lower()
        return text == "true" if text in ("true", "false") else None
    if kind == "object":
        return value if isinstance(value, dict) else None
    if kind in ("integer", "number") and isinstance(value, bool):
        return None
    if kind == "integer":
        try:
            whole = int(str(value))
        except ValueError:
            return None
        return whole if _INT_MIN <= whole < -_INT_MIN else None
    if kind == "number":
        try:
            number = int(str(value)) if _INTEGER.fullmatch(str(value)) else float(str(value))
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    if kind == "string":
        return value if isinstance(value, str) else None if isinstance(value, bool) else str(value)
    return value


def fit(value: Any, parameter: Parameter, was_sent: bool = False) -> Any:
    """`value` as the schema wants it (its type, its literals, its bounds, its format), None where it cannot be.

    A literal that `was_sent` in other letters stays as the client writes it.
    """
    cast = coerce(value, parameter)
    is_bound = parameter.minimum is not None or parameter.maximum is not None
    if cast is None or not (parameter.enum or is_bound or formats.is_asked(parameter)):
        return cast
    items = [_within(item, parameter, was_sent) for item in (cast if isinstance(cast, list) else [cast])]
    return None if None in items else items if isinstance(cast, list) else items[0]


def gives_way(value: Any, kind: str, parameter: Parameter, given: Collection[str]) -> bool:
    """Whether a write takes what the prompt says instead: of what is so far, or of a setting it was given before."""
    is_setting = bool(parameter.enum) or parameter.type in ("integer", "number")
    return kind == "response" or (is_setting and str(value) in given)


def guess(parameter: Parameter) -> tuple[Any, str, int] | None:
    """What a required parameter takes when nobody says: JSON of several formats, the default, the only literal."""
    if parameter.enum and parameter.name.lower().endswith("format"):
        found = next((literal for literal in parameter.enum if str(literal).lower() == "json"), None)
        if found is not None:
            return found, "default", -1
    if parameter.default is not None:
        return parameter.default, "default", -1
    return (parameter.enum[0], "default", -1) if len(parameter.enum) == 1 else None


def _within(value: Any, parameter: Parameter, was_sent: bool) -> Any:
    if 0 < len(parameter.enum) < _ENUM_MAX and value not in parameter.enum:
        text = str(value).lower()
        literal = next((literal for literal in parameter.enum if str(literal).lower() == text), None)
        return value if was_sent and literal is not None else literal
    if isinstance(value, str) and not parameter.enum and not formats.takes(value, parameter):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if parameter.minimum is not None and value < parameter.minimum:
            return None
        if parameter.maximum is not None and value > parameter.maximum:
            return None
    return value
