"""Values inside of answers and bodies, each under the name of what it stands in: bounded, whatever a client sends.

Pure functions of one body; what is made of the values is `arguments`' business, which calls this.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from pipeline.candidates import names
from pipeline.candidates.fitting import is_value
from pipeline.candidates.names import Name

_VALUES = 250  # of one body
_NODES = 1000  # lists, what is in them, and objects of one body
_DEPTH = 4
_ITEMS = 20  # of one list
_FIELDS = 60  # of one object
_BESIDES = frozenset(("links", "meta", "metadata", "pagination", "paging", "errors", "warnings"))  # of no thing
_FORM = re.compile(r"\[([A-Za-z_]\w*)\](?:\[\d*\])?$")  # the last name of `items[0][price]`

# By an object's fields: the path of the operation that reads such a thing, and the parameter that takes its id.
ReaderOf = Callable[[Set[str]], tuple[str, str] | None]


def read(
    body: Any,
    about: str,
    reader_of: ReaderOf,
    speaks_of: Callable[[Any], int] = lambda _: 0,
    spoken: set[tuple[str, Any]] | None = None,
    see: Callable[[str, Any, Mapping[str, Any]], None] = lambda *_: None,
) -> Iterator[tuple[Name, Any]]:
    """Values of an answer `about` an entity; an `id` belongs to the entity of the object it stands in, by its name and
    by its fields. The only thing in an answer is also what the answer is about: the policy of `POST /alerts`.

    What is read last counts as newest: of a list that is its first item, or the one the prompt speaks of, whose keys
    are added to `spoken`. Objects and lists are shown to `see`, with their name and what they stand in.
    """
    read = 0
    only = _only(body)
    heard: set[int] = set()  # items that the prompt speaks of
    stack: list[tuple[Any, str, int]] = [(body, about, 0)]
    for _ in range(_NODES):
        if not stack or read >= _VALUES:
            break
        node, entity, depth = stack.pop()
        if isinstance(node, list):
            items = [(item, entity, depth + 1) for item in node[:_ITEMS]] if depth < _DEPTH else []
            said = {id(item[0]): speaks_of(item[0]) for item in items} if depth < 2 else {}
            most = max(said.values(), default=0)
            meant = {key for key, much in said.items() if most and much == most}
            stack.extend(sorted(items, key=lambda item: id(item[0]) not in meant))
            heard |= meant
        elif isinstance(node, dict):
            if isinstance(node.get("object"), str) and node["object"] != "list":
                entity = names.resource_of(node["object"][:60])  # Stripe's way to say what a thing is
            like = about if any(node is thing for thing in only) else _like(node, reader_of)
            for raw, value in itertools.islice(node.items(), _FIELDS):
                if isinstance(value, (dict, list)):
                    see(raw, value, node)
                    if depth < _DEPTH:
                        inner = entity if raw.lower() in names.WRAPPERS else names.resource_of(raw[:60]) or entity
                        stack.append((value, inner, depth + 1))
                elif is_value(value) and not isinstance(value, bool):
                    name = names.name(raw[:60], entity)
                    if like and name.kind and name.is_generic and name.entity != like:
                        yield names.name(raw[:60], like), value
                    yield name, value
                    read += 1
                    if spoken is not None and id(node) in heard and name.kind:
                        spoken.add((name.entity, value))
        elif is_value(node) and not isinstance(node, bool):
            yield names.name("id", entity), node
            read += 1


def identity(body: Any) -> Any:
    """The id of the one thing that an answer is about, in whatever it is wrapped; None where it is about several."""
    for _ in range(_DEPTH):
        if isinstance(body, dict) and not is_value(body.get("id")):
            inner = _only(body)
            body = inner[0] if len(inner) == 1 else None
        elif isinstance(body, list):
            body = body[0] if len(body) == 1 else None
    return body.get("id") if isinstance(body, dict) else None


def _only(body: Any) -> Sequence[Any]:
    """The objects that are all there is in an answer, under whatever name; none where it is one itself, or several."""
    if not isinstance(body, dict):
        return ()
    inner = [value for raw, value in body.items() if isinstance(value, (dict, list)) and raw not in _BESIDES]
    is_bare = len(inner) == 1 and not any(names.name(raw[:60], "").kind for raw in itertools.islice(body, _FIELDS))
    return () if not is_bare else inner[0][:_ITEMS] if isinstance(inner[0], list) else inner


def inside(params: Mapping[str, Any], about: str) -> Iterator[tuple[Name, Any]]:
    """Values inside of what a call was given: of objects, of lists, and of a form's names (`items[0][price]`)."""
    for raw, value in params.items():
        if isinstance(value, list) and value and all(map(is_value, value)):
            for item in reversed(value[:_ITEMS]):
                yield names.name(raw[:60], about), item
        elif isinstance(value, (dict, list)):
            entity = names.resource_of(raw[:60]) or about
            yield from ((name, inner) for name, inner in read(value, entity, lambda _: None) if not name.is_generic)
        elif is_value(value) and (last := _FORM.search(raw[:200])) is not None:
            name = names.name(last.group(1), about)
            if not name.is_generic:
                yield name, value


def _like(node: Mapping[str, Any], reader_of: ReaderOf) -> str:
    """The entity whose fields an object of an answer has, "" where they tell none."""
    reader = reader_of({raw.lower() for raw in itertools.islice(node, _FIELDS)})
    if reader is None:
        return ""
    path, raw = reader
    return names.name(raw, names.template(path).resources.get(raw, "")).entity
