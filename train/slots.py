"""How right the arguments are, given the right operation: slots, whole paths, values from nowhere.

A slot is a named argument with its value; both count as text, so 5 and "5" are the same. A value is
hallucinated when it stands, as a whole word, neither in the prompt (dates, money, time spans and numbers in words
read as such) nor in the history (paths, arguments, answers) and is none of the operation's literals: enum, default,
example; a list or an object when anything in it is. Sums are kept per case, so that whoever adds them up can resample
them. Called by `train/evaluate.py` where a case says its `next_params`.
"""

from __future__ import annotations

import datetime
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from pipeline.candidates import changes, codes, countries, literals, measures, periods, shifts, spans
from pipeline.types import Operation, Parameter
from train.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
SUMS = ("right", "predicted", "gold", "hallucinated", "paths right", "paths", "all right", "cases")


def count(case: Case, operation: Operation, params: Mapping[str, Any]) -> Array:
    """One case's SUMS, for the arguments `params` of its right operation; float64 [len(SUMS)]."""
    gold = {name: plain(value) for name, value in (case.next_params or {}).items()}
    ours = {name: plain(value) for name, value in params.items()}
    right = {name for name, value in ours.items() if gold.get(name) == value}
    declared = {parameter.name: parameter for parameter in operation.parameters}
    seen = _seen(case)
    hallucinated = [name for name, value in params.items() if not _is_known(value, declared.get(name), seen)]
    path = [name for name, parameter in declared.items() if parameter.location == "path"]
    return np.array(
        [
            len(right),
            len(ours),
            len(gold),
            len(hallucinated),
            bool(path) and right.issuperset(path),
            bool(path),
            ours == gold,
            1,
        ],
        dtype=np.float64,
    )


def ratios(means: Array) -> dict[str, Array]:
    """Measures of mean (or summed) SUMS [..., len(SUMS)]; NaN where there is nothing to divide by."""
    at = {name: means[..., i] for i, name in enumerate(SUMS)}
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "slot F1": 2.0 * at["right"] / (at["predicted"] + at["gold"]),
            "path exact": at["paths right"] / at["paths"],
            "all exact": at["all right"] / at["cases"],
            "hallucinated": at["hallucinated"] / at["predicted"],
        }


def plain(value: Any) -> str:
    """A value as text: what a path or a query string would carry; objects and lists as JSON of such texts."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        return orjson.dumps(_texts(value), option=orjson.OPT_SORT_KEYS).decode()
    return str(value)


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _texts(inner) for name, inner in value.items()}
    return [_texts(inner) for inner in value] if isinstance(value, list) else plain(value)


def _is_known(value: Any, parameter: Parameter | None, seen: str) -> bool:
    """Whether a value stands in `seen` or is a literal of its parameter; of a list or an object all that is in it."""
    if isinstance(value, list):
        return all(_is_known(item, parameter, seen) for item in value)
    if isinstance(value, dict):
        parts = {part.name: part for part in parameter.parts} if parameter is not None else {}
        return all(_is_known(inner, parts.get(name), seen) for name, inner in value.items())
    return _is_literal(plain(value), parameter) or _stands_in(value, seen)


def _is_literal(value: str, parameter: Parameter | None) -> bool:
    if parameter is None:
        return False
    known = (*parameter.enum, parameter.default, parameter.example, *literals.labels(parameter.description))
    return parameter.type == "boolean" or value in {plain(literal) for literal in known if literal is not None}


def _seen(case: Case) -> str:
    """Everything the session shows, lower case, a value a line."""
    prompt = case.prompt or ""
    today = next((datetime.date.fromisoformat(e.ts[:10]) for e in reversed(case.events) if e.ts), None)
    texts = [prompt]
    for span in spans.extract(prompt, today):
        texts.append(span.value)
        if span.kind == "date":  # a moment has a time and a zone
            texts += [span.value[:10], *(f"{span.value}{more}" for more in ("Z", "T00:00:00", "T00:00:00Z"))]
        elif span.kind == "money":  # "29 euros" are 2900 where an API counts cents
            texts += [str(round(float(span.value) * 100)), plain(float(span.value))]
    said = codes.Codes(prompt, ())
    texts += (*said.currencies, *said.dollars)  # "80 euros" are EUR
    texts += [code for _, code in codes.languages(prompt.lower(), spans.words(prompt))]
    for is_past in (True, False):
        if (period := periods.said(prompt, today, is_past)) is not None:
            texts += [period.first, period.last, f"{period.first}T00:00:00Z", f"{period.last}T23:59:59Z"]
            texts += [str(period.month), period.first[:7]]
    texts += [code for _, code in countries.said(prompt)]
    texts += [str(span) for span in measures.times(prompt.lower())]
    texts += [str(number) for word in spans.words(prompt) if (number := spans.number_word(word)) is not None]
    known = [leaf for event in case.events for leaf in _leaves(event.params)]
    known += [leaf for e in case.events if e.response is not None for leaf in _leaves(e.response.body)]
    for change in changes.said(prompt.lower()):  # "2 more" are 3 where there was one
        texts += [moved for leaf in known if (moved := changes.moved(leaf, change[2:])) is not None]
    if (shift := shifts.said(prompt.lower())) is not None:  # "a week later" than what was
        texts += [moved for leaf in known if (moved := shifts.moved(leaf, shift.shift)) is not None]
    for event in case.events:
        texts.append(urllib.parse.unquote(event.endpoint.partition(" ")[2]))
        texts += _leaves(event.params)
        if event.response is not None:
            texts += _leaves(event.response.body)
    return "\n".join(texts).lower()


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield plain(value)


def _stands_in(value: Any, seen: str) -> bool:
    """Whether every scalar of `value` stands in `seen` as a whole word; an underscore ends one, as in `ana_kim_42`."""
    return all(re.search(rf"(?<![^\W_]){re.escape(leaf.lower())}(?![^\W_])", seen) for leaf in _leaves(value))
