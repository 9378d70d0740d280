"""What goes by a kindred name, where nothing goes by an argument's own: `latest_charge` for `charge`.

Called by `arguments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.candidates import names, parameters
from pipeline.candidates.names import Name
from pipeline.candidates.seen import Found, Seen, fitting
from pipeline.types import Parameter


class Kindred:
    """What a session has seen, by the names that are near to one."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._entities: dict[str, list[str]] = {}  # entity -> those that are one of it, made when asked for

    def find(self, name: Name, parameter: Parameter, scope: Mapping[str, str], bound: Iterable[Found]) -> Found | None:
        """An id by what it stands after in the path (`/subscriptions/{subscription_exposed_id}`), one that says more,
        and for another one of its kind (`to_project_id`) the only id that is not `bound` yet.
        """
        rest = names.directed(name)
        if rest is not None and (name.kind or parameter.location == "body"):
            used = {*scope.values(), *(str(value) for value, _, _ in bound)}
            others = [value for value in self._seen.values(rest, {}) if str(value.value) not in used]
            return fitting(others, parameter) if len({str(value.value) for value in others}) == 1 else None
        if not self._seen.by_entity or not parameters.is_key(name, parameter):
            return None
        near = [name.resource] if name.entity.startswith(name.resource) else []
        if name.entity not in self._entities:
            seen = reversed(self._seen.by_entity)
            self._entities[name.entity] = [entity for entity in seen if names.is_kind_of(entity, name.entity)]
        for entity in near + self._entities[name.entity]:
            values = self._seen.values(names.name(name.kind or "id", entity), scope)
            if (found := fitting((v for v in values if names.directed(v.name) is None), parameter)) is not None:
                return found
        return None
