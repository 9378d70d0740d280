"""What the answer of a call says: values with their names, and which of a list's things the prompt means.

An `id` belongs to the entity of the object it stands in, by its name and by its fields. Bounded, as a client may send
an answer of any size. Used by `arguments`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from pipeline.candidates import names, spans
from pipeline.candidates.fitting import is_value
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS, SENTENCE_STARTERS
from pipeline.candidates.wish import Wish

FIELDS = 60  # of one object
_VALUES = 250
_NODES = 1000  # lists, what is in them, and objects
_DEPTH = 4
_ITEMS = 20  # of one list
# Fields that only wrap what an answer is about.
_WRAPPERS = frozenset(
    ("data", "items", "item", "result", "results", "value", "values", "records", "list", "content", "entries", "nodes")
)
_CALLED = frozenset(("name", "number", "code", "key", "title", "reference"))  # how people call what has an id


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One value of an answer."""

    name: Name
    value: Any
    is_meant: bool = False  # the prompt speaks of the thing it belongs to, and not of all beside it
    alias: str = ""  # what the thing is called by, of an id


def read(body: Any, entity: str, wish: Wish, like: Callable[[Mapping[str, Any]], str] = lambda _: "") -> Iterator[Said]:
    """Values of an answer; `like` says whose fields an object has.

    What is read last counts as newest: of a list that is its first item, or the one the prompt means.
    """
    read = 0
    stack: list[tuple[Any, str, int, bool]] = [(body, entity, 0, False)]
    for _ in range(_NODES):
        if not stack or read >= _VALUES:
            break
        node, entity, depth, is_meant = stack.pop()
        if isinstance(node, list):
            items = node[:_ITEMS] if depth < _DEPTH else []
            chosen = meant(items, entity, wish) if depth < 3 else []
            rest = [i for i in range(len(items)) if i not in chosen]
            stack.extend((items[i], entity, depth + 1, i in chosen) for i in (*chosen, *rest))
        elif isinstance(node, dict):
            if isinstance(node.get("object"), str) and node["object"] != "list":
                entity = names.resource_of(node["object"][:60])  # Stripe's way to say what a thing is
            other = like(node)
            for raw, value in itertools.islice(node.items(), FIELDS):
                if isinstance(value, (dict, list)):
                    if depth < _DEPTH:
                        inner = entity if raw.lower() in _WRAPPERS else names.resource_of(raw[:60]) or entity
                        stack.append((value, inner, depth + 1, is_meant and isinstance(value, dict)))
                elif is_value(value) and not isinstance(value, bool):
                    name = names.name(raw[:60], entity)
                    if other and name.kind and name.is_generic and name.entity != other:
                        yield Said(names.name(raw[:60], other), value, is_meant)
                    yield Said(name, value, is_meant)
                    read += 1
            yield from _aliases(node, entity)
        elif is_value(node) and not isinstance(node, bool):
            yield Said(names.name("id", entity), node, is_meant)
            read += 1


def _aliases(node: Mapping[str, Any], entity: str) -> Iterator[Said]:
    """The id of a thing, once for each short name it is called by: order 450789469 is #1002."""
    if not is_value(node.get("id")):
        return
    for raw, value in itertools.islice(node.items(), FIELDS):
        if names.split(raw)[-1:] and names.split(raw)[-1] in _CALLED and is_value(value) and value != node["id"]:
            text = str(value).lstrip("#").lower()
            if 0 < len(text) <= 40 and any(c.isdigit() for c in text):
                yield Said(names.name("id", entity), node["id"], alias=text)


def meant(items: Sequence[Any], entity: str, wish: Wish) -> list[int]:
    """Which of a list's things the prompt means, by their indexes.

    Those named by one of their texts, else the one at the place it says ("the second one"), else the only one that
    has most of the prompt's words.
    """
    if not wish.words or not any(isinstance(item, dict) for item in items):
        return []
    if len(items) > 1 and (place := _place(entity, len(items), wish)) is not None:
        return [place]
    texts = [_texts(item) for item in items]
    alike = set.intersection(*map(set, texts)) if len(texts) > 1 else set()
    named = [{t for t in found if 3 <= len(t) <= 80 and t not in PLAIN_ENUMS and t in wish.lower} for found in texts]
    if any(found - alike for found in named):
        said = set().union(*named)
        return [i for i, found in enumerate(named) if any(not _is_part(text, said) for text in found - alike)]
    words = [{word for text in found for word in spans.words(text) if len(word) > 2} for found in texts]
    shared = set.intersection(*words) if len(words) > 1 else set()
    counts = [sum(len(w) for w in found & wish.words - shared - SENTENCE_STARTERS - PLAIN_ENUMS) for found in words]
    best = max(counts)
    return [counts.index(best)] if best and counts.count(best) == 1 else []


def _place(entity: str, count: int, wish: Wish) -> int | None:
    """The index that "the second one", "the first order" or "the last of them" says, of `count`."""
    for place, what in wish.ordinals:
        if what in ("one", "of", entity) and 0 < place <= count:
            return place - 1
    return count - 1 if re.search(rf"\blast (?:one|of|{re.escape(entity)})\b", wish.lower) else None


def _texts(item: Any) -> list[str]:
    """Lower-case texts of a thing and of what stands right in it."""
    if not isinstance(item, dict):
        return []
    fields = list(itertools.islice(item.values(), 20))
    inner = [v for value in fields if isinstance(value, dict) for v in itertools.islice(value.values(), 20)]
    return [value.lower() for value in (*fields, *inner) if isinstance(value, str)]


def _is_part(text: str, others: Set[str]) -> bool:
    return any(text != other and text in other for other in others)
