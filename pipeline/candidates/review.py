"""What is wrong with the generator's picks, as far as can be told without a ranker: in words that go back to it.

A pick is objected to when it cannot be called (an identifier that it needs is in neither session nor wish), or when
calls and wish speak for most other options rather than for it. Used by `propose`, where the settings ask for it; pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.candidates.overview import name
from pipeline.candidates.quoting import clean
from pipeline.types import Candidate

_LATE = 2 / 3  # of the options, in the shortlist's order, stand before one that is called unlikely
_NAMED = 3  # missing arguments that are named


def objections(
    picks: Sequence[tuple[int, dict[str, Any], str]], candidates: Sequence[Candidate], offered: int
) -> dict[int, str]:
    """Index into the shortlist -> what is wrong with picking it; `offered` options stood before the model."""
    found: dict[int, str] = {}
    for index, arguments, _ in picks:
        candidate = candidates[index]
        missing = [argument for argument in candidate.missing_params if argument not in arguments]
        if missing:
            named = ", ".join(clean(argument, 40) for argument in missing[:_NAMED])
            found[index] = f"{name(candidate)} needs {named}, which neither the calls nor the wish give."
        elif index > _LATE * offered:
            found[index] = f"Neither the calls nor the wish speak for {name(candidate)}."
    return found
