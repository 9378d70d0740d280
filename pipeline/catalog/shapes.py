"""Which entity a part of a response is, by its fields: `cast[].id` beside a title and a release date is a movie's.

Names alone do not say it where a list is called after its role (cast, parts, owner, assignee). What reading one of an
entity answers with is its profile; a part that identifies something and shares what only that profile has is of that
entity. Called by `entities.py`, once per catalog.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set

GRADE = 0.9  # of what is recognised in full, as an identifier at the top of a response
_SURE = 0.6  # share of the telling fields from which it is
_LEAST = 0.35  # share below which nothing is said
_TELLING = 2  # telling fields that must be shared
_RARE = 0.25  # of the profiles: fields of more of them tell nothing by themselves
_HAVING_MAX = 48  # profiles; what more of them have is not looked at
_CLOSE = 0.9  # of the best share: another entity as likely
_COMMON = frozenset({"id", "name", "title", "type", "url", "href", "description", "status", "created", "updated",
                     "createdat", "updatedat", "created_at", "updated_at", "kind", "self", "links", "_links",
                     "object", "uuid", "key", "metadata", "meta", "data", "items", "results", "total", "page",
                     "count", "value", "code", "message", "label", "slug", "version", "state", "enabled",
                     "tags"})  # fmt: skip


def groups(fields: Iterable[str]) -> dict[str, frozenset[str]]:
    """The lower-case field names of each part of a response (dotted names) by what stands before their last dot."""
    found: dict[str, set[str]] = {}
    for field in fields:
        before, _, name = field.rpartition(".")
        found.setdefault(before, set()).add(name.lower())
    return {before: frozenset(names) for before, names in found.items()}


class Shapes:
    """The profiles of a catalog's entities."""

    def __init__(self, profiles: Mapping[int, Set[str]]) -> None:
        self._size = len(profiles)
        self._having: dict[str, list[int]] = {}  # field -> entities whose profile has it
        for entity, fields in profiles.items():
            for field in fields - _COMMON:
                self._having.setdefault(field, []).append(entity)
        self._having = {field: having for field, having in self._having.items() if len(having) <= _HAVING_MAX}

    @property
    def nbytes(self) -> int:
        """Bytes, roughly."""
        return 100 * len(self._having) + 8 * sum(map(len, self._having.values()))

    def of(self, fields: Set[str]) -> dict[int, float]:
        """The entities that a part with these fields may be, with grades 0..GRADE; mostly none or one."""
        part = fields & self._having.keys()
        if len(part) < _TELLING:
            return {}
        shares: dict[int, float] = {}
        telling: dict[int, int] = {}
        whole = 0.0
        for field in sorted(part):
            having = self._having[field]
            weight = math.log1p(self._size / len(having))
            whole += weight
            rare = len(having) <= max(1.0, _RARE * self._size)
            for entity in having:
                shares[entity] = shares.get(entity, 0.0) + weight
                telling[entity] = telling.get(entity, 0) + rare
        shares = {entity: share / whole for entity, share in shares.items() if telling[entity] >= _TELLING}
        best = max(shares.values(), default=0.0)
        least = max(_LEAST, _CLOSE * best)
        return {entity: GRADE * min(1.0, share / _SURE) for entity, share in shares.items() if share >= least}
