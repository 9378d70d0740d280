"""Values inside of answers and bodies, each under the name of what it stands in: bounded, whatever a client sends.

Pure functions of one body; what is made of the values is `arguments`' business, which calls this.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import Any

from pipeline.candidates import names, spans, superlatives
from pipeline.candidates.fitting import is_value
from pipeline.candidates.names import Name
from pipeline.candidates.vocabulary import PLAIN_ENUMS, SENTENCE_STARTERS
from pipeline.candidates.wish import Wish

_VALUES = 250  # of one body
_NODES = 1000  # lists, what is in them, and objects of one body
_DEPTH = 4
_ITEMS = 20  # of one list
_FIELDS = 60  # of one object
_NAME = 200  # characters
_BESIDES = frozenset(("links", "meta", "metadata", "pagination", "paging", "errors", "warnings"))  # of no thing
_CALLED = frozenset(("name", "number", "code", "key", "title", "reference"))  # how people call what has an id
_ADDRESSES = frozenset(("uri", "urn", "arn"))  # that name a thing as its id does
_FORM = re.compile(r"\[([A-Za-z_]\w*)\](?:\[\d*\])?$")  # the last name of `items[0][price]`

# By an object's fields: the path of the operation that reads such a thing, and the parameter that takes its id.
ReaderOf = Callable[[Set[str]], tuple[str, str] | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One value of an answer."""

    name: Name
    value: Any
    is_meant: bool = False  # the prompt speaks of the thing it belongs to, and not of all beside it
    alias: str = ""  # what the thing is called by, of an id


def read(
    body: Any,
    about: str,
    reader_of: ReaderOf,
    wish: Wish | None = None,
    see: Callable[[str, Any, Mapping[str, Any]], None] = lambda *_: None,
) -> Iterator[Said]:
    """Values of an answer `about` an entity; an `id` belongs to the entity of the object it stands in, by its name and
    by its fields. The only thing in an answer is also what the answer is about: the policy of `POST /alerts`.

    What is read last counts as newest: of a list that is its first item, or the one that the `wish` means. Objects
    and lists are shown to `see`, with their name and what they stand in.
    """
    read = 0
    only = _only(body)
    stack: list[tuple[Any, str, int, bool]] = [(body, about, 0, False)]
    for _ in range(_NODES):
        if not stack or read >= _VALUES:
            break
        node, entity, depth, is_meant = stack.pop()
        if isinstance(node, list):
            items = node[:_ITEMS] if depth < _DEPTH else []
            chosen = meant(items, entity, wish) if wish is not None and depth < 3 else []
            rest = [i for i in range(len(items)) if i not in chosen]
            stack.extend((items[i], entity, depth + 1, i in chosen) for i in (*chosen, *rest))
        elif isinstance(node, dict):
            if isinstance(node.get("object"), str) and node["object"] != "list":
                entity = names.resource_of(node["object"][:60])  # Stripe's way to say what a thing is
            like = about if any(node is thing for thing in only) else _like(node, reader_of)
            for raw, value in itertools.islice(node.items(), _FIELDS):
                if isinstance(value, (dict, list)):
                    see(raw, value, node)
                    if depth < _DEPTH:
                        inner = entity if raw.lower() in names.WRAPPERS else names.resource_of(raw[:60]) or entity
                        wraps = isinstance(value, dict) and not is_value(node.get("id"))
                        stack.append((value, inner, depth + 1, is_meant and wraps))
                elif is_value(value) and not isinstance(value, bool):
                    name = names.name(raw[:60], entity)
                    if like and name.kind and name.is_generic and name.entity != like:
                        yield Said(names.name(raw[:60], like), value, is_meant)
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
    for raw, value in itertools.islice(node.items(), _FIELDS):
        if names.split(raw)[-1:] and names.split(raw)[-1] in _CALLED and is_value(value) and value != node["id"]:
            text = str(value).lstrip("#").lower()
            if 0 < len(text) <= 40 and any(c.isdigit() for c in text):
                yield Said(names.name("id", entity), node["id"], alias=text)


def meant(items: Sequence[Any], entity: str, wish: Wish) -> list[int]:
    """Which of a list's things the prompt means, by their indexes.

    The one at the place it says ("the second one"), else those named by one of their texts, of these or all the one
    that has most or least of something ("the cheapest one"), else the only one that has most of the prompt's words.
    """
    if not wish.words or not any(isinstance(item, dict) for item in items):
        return []
    if len(items) > 1 and (place := _place(entity, len(items), wish)) is not None:
        return [place]
    texts = [_texts(item) for item in items]
    alike = set.intersection(*map(set, texts)) if len(texts) > 1 else set()
    named = [{t for t in found if 3 <= len(t) <= 80 and t not in PLAIN_ENUMS and _says(wish, t)} for found in texts]
    said = set().union(*named)
    chosen = [i for i, found in enumerate(named) if any(not _is_part(text, said) for text in found - alike)]
    if not wish.words.isdisjoint(superlatives.CUES):
        among = chosen or range(len(items))
        if (most := superlatives.place([items[i] for i in among], entity, wish.lower)) is not None:
            return [among[most]]
    if chosen:
        return chosen
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


def _says(wish: Wish, text: str) -> bool:
    """Whether the prompt has the text, and not only as a part of longer words."""
    return text in wish.lower and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", wish.lower) is not None


def _is_part(text: str, others: Set[str]) -> bool:
    return any(text != other and text in other for other in others)


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
                yield names.name(names.singular(raw[:60]), about), item  # one of them: no count
        elif isinstance(value, (dict, list)):
            entity = about if raw.lower() in names.WRAPPERS else names.resource_of(raw[:60]) or about
            for said in read(value, entity, lambda _: None):
                is_others = said.name.kind in ("id", "key") and said.name.entity != about
                if is_others or not said.name.is_generic:
                    yield said.name, said.value
        elif is_value(value) and (last := _FORM.search(raw[:200])) is not None:
            name = names.name(last.group(1), about)
            if not name.is_generic:
                yield name, value


def leaves(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Plain values inside of the objects that a call was given, by dotted names."""
    first = itertools.islice(params.items(), _FIELDS)
    stack = [(raw, value, 1) for raw, value in first if isinstance(value, dict) and len(raw) <= _NAME]
    for _ in range(_ITEMS):
        if not stack:
            break
        place, node, depth = stack.pop()
        for raw, value in itertools.islice(node.items(), _FIELDS):
            if is_value(value) and len(raw) <= _NAME:
                yield f"{place}.{raw}", value
            elif isinstance(value, dict) and depth <= _DEPTH and len(raw) <= _NAME:
                stack.append((f"{place}.{raw}", value, depth + 1))


def _like(node: Mapping[str, Any], reader_of: ReaderOf) -> str:
    """The entity whose fields an object of an answer has, "" where they tell none."""
    reader = reader_of({raw.lower() for raw in itertools.islice(node, _FIELDS)})
    if reader is None:
        return ""
    path, raw = reader
    return names.name(raw, names.template(path).resources.get(raw, "")).entity


class Meant:
    """The things of answers that the prompt means, and what people call those that have an id."""

    def __init__(self) -> None:
        self._things: dict[tuple[str, str], tuple[Any, int]] = {}  # entity and kind -> value and call
        self._aliases: dict[tuple[str, str], tuple[Any, int]] = {}  # entity and what one is called by -> its id, call
        self.keys: set[tuple[str, Any]] = set()  # entity and key of each

    def __bool__(self) -> bool:
        return bool(self._things)

    def see(self, said: Said, call: int) -> None:
        """Remembers what an answer says, where the prompt means it or it is an alias."""
        name = said.name
        if said.alias:
            self._aliases[name.entity, said.alias] = said.value, call
        elif said.is_meant:
            if name.kind:
                self.keys.add((name.entity, said.value))
            is_own = name.entity == name.resource or names.PEOPLE.issuperset((name.entity, name.resource))
            if is_own or name.full in _ADDRESSES:
                self._things[name.entity, name.kind] = said.value, call

    def called(self, name: Name, value: Any) -> tuple[Any, str, int] | None:
        """The id of what is called so."""
        found = (
            self._aliases.get((name.entity, value.lower())) if name.kind == "id" and isinstance(value, str) else None
        )
        return None if found is None else (found[0], "response", found[1])

    def thing(self, name: Name, last: int, carried: Collection[str]) -> tuple[Any, str, int] | None:
        """The thing that is meant, for an optional argument; none that calls `carried`: it was dealt with.

        An address is that of the `last` call's things, as several kinds of things have one.
        """
        if not self._things or name.kind not in ("", "id"):
            return None
        is_address = name.full in _ADDRESSES
        entities = names.PEOPLE if name.entity in names.PEOPLE else (name.entity,)
        keys = [(name.entity, "")] if is_address else [(entity, "id") for entity in entities]
        value, call = next((self._things[key] for key in keys if key in self._things), (None, -1))
        if value is None or (is_address and call < last) or str(value) in carried:
            return None
        return value, "response", call
