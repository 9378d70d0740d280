"""What a session is about: optional arguments that stay as they were from call to call.

Several operations were given the same value under one name (an account, a site, a device), or the last call was given
an id under a name of its own. Called by `arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.candidates import names
from pipeline.candidates.fitting import is_value

_SEARCHES = frozenset(("q", "query", "search", "page", "cursor", "offset", "summary", "subject"))  # new with each call


class Context:
    """Names and what they stay at: (value, "params", call)."""

    def __init__(self) -> None:
        self._takers: dict[tuple[str, str], set[str]] = {}  # parameter and value -> the operations that were given it
        self.kept: dict[str, tuple[Any, str, int]] = {}

    def see(self, raw: str, value: Any, operation: str, call: int) -> None:
        """Remembers what two operations were given under one name."""
        takers = self._takers.setdefault((raw, str(value)), set())
        takers.add(operation)
        name = names.name(raw, "")
        if len(takers) > 1 and not name.is_generic and name.full not in _SEARCHES:
            self.kept[raw] = (value, "params", call)
        else:
            self.kept.pop(raw, None)

    def end(self, params: Mapping[str, Any], call: int) -> None:
        """Adds the ids that the last call was given."""
        for raw, value in params.items():
            name = names.name(raw, "")
            if name.kind == "id" and len(name.words) > 1 and is_value(value) and raw not in self.kept:
                self.kept[raw] = (value, "params", call)
