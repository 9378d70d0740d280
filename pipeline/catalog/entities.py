"""What an operation needs and what it supplies, as keys of entities ("movie", "order").

A required identifier is a need; what a response or a name speaks of is a supply, graded by how surely
the words say so. Both are read from the spec; of a call's values only those count that ask for things by kind.
Called by `relations.py`, once per catalog; the grades were set by hand and checked on other specs than those that
judge us.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from pipeline.catalog.identifiers import (
    IDENTIFIERS,
    PLAIN,
    SEARCHES,
    Key,
    about,
    coded,
    field_keys,
    identifier,
    is_new,
    listed,
    named_keys,
    need,
    nouns_of,
    place,
    places,
    resource_key,
    takes_text,
)
from pipeline.catalog.lexicon import word_set
from pipeline.catalog.owned import CALLERS
from pipeline.catalog.shapes import Shapes, groups
from pipeline.catalog.stem import split_words, stem, stems
from pipeline.types import Catalog, Operation, Parameter

LikeOf = Callable[[frozenset[str]], dict[int, float]]  # the keys of what a part with these fields may be

_ENVELOPES = frozenset({"", "data", "item", "result", "response", "content", "value", "payload"})  # of one thing
_BELOW = re.compile(r"(.+)/\{([^{}/]+)\}(?:\.\w{1,9}|\.\{\w{1,20}\}|/)?")  # one thing of a collection
_EXTENSION = re.compile(r"(?:\.\w{1,9}|\.\{\w{1,20}\}|/)$")
_KINDS = ("type", "types", "kind", "entity", "object", "resource")  # last words of what an argument asks for by kind
_SEARCHED = 0.5  # the grade from which a search answers with something
_KINDS_READ = 200  # characters of such an argument
_ASKED = 0.9  # what it asks for is there
NOTHING = frozenset({-1})  # asked for by a call that failed or found nothing: no key
_UNASKED = 0.3  # of what an answer may hold, where an argument asks for something else in it

SEARCH_REQUIRED, SEARCH_OPTIONAL = 1.0, 0.5

_SELF = re.compile(  # what an argument says that its caller's own may be called by
    r"(?i)\b(?:use|special value|keyword|provide|specify|or|literal|string)\b[^.]{0,40}?"
    r"[\"'`“*](?:me|self|primary|current|~|@me)[\"'`”*]"
)
_LITERALS_MAX, _LITERAL_MIN = 40, 3  # of an enum; characters of one
_IDENTIFIES = 0.6  # the grade from which a response field is an identifier and no plain field
_INSIDE = 0.6  # what is inside one of another entity is seldom what the answer is read for
_BESIDE = 0.6  # an identifier beside the bare one of a recognized part says with what it came, seldom what is wanted
_OTHERS = 0.8  # what lists others of the kind it is asked about
_ALIKE = frozenset(map(stem, ("similar", "related", "recommendations", "friends", "followers", "following")))
_NATURAL = 0.9  # a field that is what a path takes
_SETTINGS = word_set("date day month year time country region lang language locale currency version type kind status "
                     "state format category level")  # fmt: skip
_MEMBER = 0.55  # of a collection, where only its path says so
_WRITE = 0.6  # a write answers with what it made, but is seldom called for that


class Entities:
    """Needs and supplies of every operation, sparse.

    Rows are operations, columns entity keys: `need_starts[i]:need_starts[i + 1]` are the places of
    operation i in `need_keys`; the same for supplies, which also come by column.
    """

    def __init__(self, catalog: Catalog) -> None:
        operations = about(catalog.operations)
        self.ids: dict[Key, int] = {}
        self._nouns = frozenset(noun for operation in operations for noun in nouns_of(operation.path))
        self._spoken = frozenset(word for words in self._nouns for word in words)
        self._spoken |= {word for o in operations for p in o.parameters for word in stems(p.name[:100])}
        self._coded = listed(operations) | coded(operations, self._nouns)
        self.own: set[int] = set()  # keys of which the caller's own goes by a keyword ("primary")
        self._places = places(operations, self._nouns)
        self._literals: dict[str, set[int]] = {}  # lower-case enum literal of a needed parameter -> keys
        needs = [self._needs(operation) for operation in operations]
        self._by_last: dict[str, list[tuple[Key, int]]] = {}
        for key, number in self.ids.items():
            self._by_last.setdefault(key[-1], []).append((key, number))
        self.by_name, self.pairs, self.roots = named_keys(
            operations, lambda o, p: self.ids.get(self._need(o, p) or (), -1)
        )
        self._natural = self._natural_keys(operations)
        self._readers: dict[int, tuple[str, str]] = {}  # key -> path of what reads one of it, and the parameter
        self._shapes = Shapes(self._profiles(operations))
        members = self._members(operations)
        like_of = functools.cache(self._shapes.of)  # parts come again with many operations
        supplies = [
            self._supplies(operation, set(mine), members, like_of)
            for operation, mine in zip(operations, needs, strict=True)
        ]
        self.size = len(self.ids)
        self._kinds = {
            i: names
            for i, o in enumerate(operations)
            if o.verb == "read" and len(supplies[i]) > 1 and (names := _kind_names(o))  # a write's is of what it makes
        }
        self.takes_many = np.array([self._takes_many(o) for o in operations], dtype=bool)
        self.need_starts, self.need_keys = _rows(needs, np.int32)
        self.supply_starts, self.supply_keys = _rows([list(s) for s in supplies], np.int32)
        self.supply_grades = _rows([list(s.values()) for s in supplies], np.float32)[1]
        self.need_rows = np.repeat(np.arange(len(needs), dtype=np.int32), np.diff(self.need_starts))
        self.need_counts = np.diff(self.need_starts).astype(np.float32)
        rows = np.repeat(np.arange(len(needs), dtype=np.int32), np.diff(self.supply_starts))
        order = np.argsort(self.supply_keys, kind="stable")
        self._column_rows = rows[order]
        self._column_grades = self.supply_grades[order]
        self._column_starts = np.searchsorted(self.supply_keys[order], np.arange(self.size + 1))
        place = self.size * rows[order].astype(np.int64) + self.supply_keys[order]
        makes = ~np.isin(place, self.size * self.need_rows.astype(np.int64) + self.need_keys)
        self._maker_rows, self._maker_grades = self._column_rows[makes], self._column_grades[makes]
        self._maker_starts = np.searchsorted(self.supply_keys[order][makes], np.arange(self.size + 1))

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and, roughly, of the names."""
        return (
            12 * len(self.need_keys)
            + 28 * len(self.supply_keys)
            + 300 * (self.size + len(self._literals) + len(self._nouns) + len(self._spoken))
            + 40 * len(self.need_counts)
            + self._shapes.nbytes
        )

    def needs(self, operation: int) -> np.ndarray:
        """Keys the operation needs; int32."""
        return self.need_keys[self.need_starts[operation] : self.need_starts[operation + 1]]

    def supplies(self, operation: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys the operation supplies and their grades; int32, float32."""
        span = slice(self.supply_starts[operation], self.supply_starts[operation + 1])
        return self.supply_keys[span], self.supply_grades[span]

    def suppliers(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Operations that supply the key and their grades; int32, float32."""
        span = slice(self._column_starts[key], self._column_starts[key + 1])
        return self._column_rows[span], self._column_grades[span]

    def makers(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Those suppliers that need no such key themselves (as `/movies/{id}/similar` does), and their grades."""
        span = slice(self._maker_starts[key], self._maker_starts[key + 1])
        return self._maker_rows[span], self._maker_grades[span]

    def asked(self, operation: int, *arguments: Mapping[str, Any]) -> frozenset[int]:
        """The keys among those it supplies that a call's arguments ask for by kind (`type=artist`); none: any."""
        given = [some[name] for name in self._kinds.get(operation, ()) for some in arguments if name in some]
        words = [word for value in given for text in _texts(value) for word in stems(text)[-1:]]
        said = {number for word in words for _, number in self.ending_in(word)}
        return frozenset(said.intersection(self.supplies(operation)[0].tolist())) if said else frozenset()

    def searched_by(self, text: str, free: np.ndarray) -> np.ndarray:
        """Operations that take a search text (`free` > 0) and supply what a word of `text` is; int32, with repeats."""
        found = [self.suppliers(number) for word in stems(text) for _, number in self.ending_in(word)]
        rows = [rows[(grades >= _SEARCHED) & (free[rows] > 0)] for rows, grades in found]
        return np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)

    def supplies_asked(self, operation: int, asked: Set[int]) -> tuple[np.ndarray, np.ndarray]:
        """What it supplies, less of the rest where a call's arguments asked for some, and nothing of NOTHING."""
        keys, grades = self.supplies(operation)
        if not asked:
            return keys, grades
        if asked is NOTHING:
            return keys, np.zeros_like(grades)
        return keys, np.where([key in asked for key in keys.tolist()], np.maximum(grades, _ASKED), _UNASKED * grades)

    def knows(self, word: str) -> bool:
        """Whether a word stands in the catalog's paths or names of parameters."""
        return stem(word.lower()) in self._spoken

    def ending_in(self, word: str) -> list[tuple[Key, int]]:
        """Keys whose last stem is `word`, with their numbers."""
        return self._by_last.get(word, [])

    def named_by(self, word: str) -> Iterable[int]:
        """Keys one of whose values a lower-case word is, by the enums of the parameters that need them."""
        return self._literals.get(word, ())

    def of_parameter(self, name: str) -> int | None:
        """The key an argument of this name gives a value for, where it is one of this catalog."""
        found = self._coded.get(name) or identifier(name[:100], in_path=True)
        return self.ids.get(found) if found else None

    def of_argument(self, path: str, name: str) -> int | None:
        """As `of_parameter`, for one of an operation with this path."""
        key = self._places.get((place(path, name), name))
        return self.ids.get(key) if key else self.of_parameter(name)

    def of_field(self, name: str) -> list[tuple[int, float]]:
        """The keys a field of a sampled response (dotted name) gives values for, with grades."""
        return [(self.ids[key], grade) for key, grade in self._field_keys(name[-100:]) if key in self.ids]

    def of_parts(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """The keys that the parts of a sampled response (dotted names) give values for, with grades."""
        return [pair for like in _recognized(names, self._shapes.of).values() for pair in like.items()]

    def reader_of(self, fields: Set[str]) -> tuple[str, str] | None:
        """Path of the operation that reads what an object with these fields is, and the parameter that takes its id."""
        like = self._shapes.of(fields) if fields & IDENTIFIERS else {}
        return self._readers[next(iter(like))] if len(like) == 1 else None

    def _need(self, operation: Operation, parameter: Parameter) -> Key | None:
        key = need(operation.path, parameter, self._nouns, tuple(_kinds_listed(operation)))
        if key and self._places and parameter.location == "path":
            key = self._places.get((place(operation.path, parameter.name), parameter.name), key)
        is_given = parameter.required and parameter.location in ("query", "body")
        return self._coded.get(parameter.name) if key is None and is_given else key

    def _number(self, operation: Operation, parameter: Parameter) -> int:
        """The number of the key that a parameter takes, below 0 without one."""
        return self.ids.get(self._need(operation, parameter) or (), -1)

    def _field_keys(self, field: str) -> tuple[tuple[Key, float], ...]:
        key = self._coded.get(field.rpartition(".")[2])
        return ((key, 1.0),) if key else field_keys(field)

    def _needs(self, operation: Operation) -> list[int]:
        found: dict[int, None] = {}
        for parameter in operation.parameters:
            if not parameter.required or parameter.location in ("header", "cookie"):
                continue
            key = self._need(operation, parameter)
            if key and not is_new(operation, parameter, key):
                number = self.ids.setdefault(key, len(self.ids))
                found[number] = None
                if _SELF.search(parameter.description):
                    self.own.add(number)
                for value in parameter.enum[:_LITERALS_MAX]:
                    if isinstance(value, str) and len(value) >= _LITERAL_MIN:
                        self._literals.setdefault(value.lower(), set()).add(number)
        return list(found)

    def given_by_user(self, operation: Operation) -> int:
        """Number of required arguments that no other operation supplies."""
        return sum(
            p.required
            and p.location in ("query", "body")
            and p.name.lower() not in SEARCHES
            and self._need(operation, p) is None
            for p in operation.parameters
        )

    def _takes_many(self, operation: Operation) -> bool:
        """Whether all it needs are lists of identifiers (`GET /tracks?ids=`)."""
        needed = [p for p in operation.parameters if p.required and self._need(operation, p)]
        lists = (["ids"], ["keys"])
        return bool(needed) and all(p.type == "array" or split_words(p.name)[-1:] in lists for p in needed)

    def _natural_keys(self, operations: Sequence[Operation]) -> frozenset[int]:
        """Keys that things have by their nature: the iban of `/accounts/{iban}`, if lists of accounts show it.

        Where nothing else identifies what the collection holds, its noun speaks of such a key.
        """
        listed: dict[str, set[str]] = {}  # last literal segment of what answers with several -> names of fields
        for operation in operations:
            if operation.method == "GET" and not operation.path.endswith("}"):
                names = listed.setdefault(operation.path.rpartition("/")[2], set())
                names.update(field.rpartition(".")[2] for field in operation.response_fields)
        found: set[int] = set()
        for operation in operations:
            below = _BELOW.fullmatch(operation.path)
            noun, name = (below[1].rpartition("/")[2], below[2]) if below else ("", "")
            if operation.method != "GET" or not noun or "{" in noun:
                continue
            key, alias = identifier(name, in_path=True) or (), resource_key(noun)
            is_shown = name in listed.get(noun, ()) and not _SETTINGS.intersection(split_words(name)[-1:])
            is_plain = identifier(name, in_path=False) is None and key in self.ids
            if is_shown and is_plain and key[-1:] not in self._nouns:
                found.add(self.ids[key])
                if alias and alias[-1] not in self._by_last:
                    self._by_last[alias[-1]] = [(alias, self.ids[key])]
        return frozenset(found)

    def _profiles(self, operations: Sequence[Operation]) -> dict[int, set[str]]:
        """The fields that reading one of an entity answers with; who reads it goes to `_readers`."""
        found: dict[int, set[str]] = {}
        for operation in operations:
            if operation.method != "GET" or not operation.path.endswith("}"):
                continue
            last = operation.path.rsplit("{", 1)[-1][:-1]
            key = next((self._need(operation, p) for p in operation.parameters if p.name == last), None)
            if key is not None and key in self.ids:
                for before, names in groups(operation.response_fields).items():
                    if before.lower() in _ENVELOPES and names & IDENTIFIERS:
                        found.setdefault(self.ids[key], set()).update(names)
                        self._readers.setdefault(self.ids[key], (operation.path, last))
        return found

    def _members(self, operations: Sequence[Operation]) -> dict[str, set[int]]:
        """By the path of a collection: the keys of what identifies one of it right below."""
        found: dict[str, set[int]] = {}
        for operation in operations:
            below = _BELOW.fullmatch(operation.path)
            last = below[2] if below else ""
            parameter = next((p for p in operation.parameters if p.name == last and p.location == "path"), None)
            key = self._need(operation, parameter) if parameter is not None else None
            if below is not None and key in self.ids:
                found.setdefault(below[1], set()).add(self.ids[key])
        return found

    def _supplies(
        self, operation: Operation, own_needs: set[int], members: Mapping[str, set[int]], like_of: LikeOf
    ) -> dict[int, float]:
        if operation.method == "DELETE":
            return {}
        found: dict[int, float] = {}
        own = self._own(operation)
        seen = _recognized(operation.response_fields, like_of)
        listed = [before for before, like in seen.items() if not own_needs.issuperset(like)]
        for before, like in seen.items():
            inside = any(before != part and f"{before}.".startswith(f"{part}.".lstrip(".")) for part in listed)
            _raise(found, like, _INSIDE if inside else 1.0)
        for field in operation.response_fields:
            for key, grade in self._field_keys(field):
                # An identifier inside something that is no entity here belongs to what the operation is about.
                known = key and key[-1] in self._by_last
                if grade == PLAIN and self.ids.get(key) in self._natural:
                    grade = _NATURAL
                if not known and key and field.rpartition(".")[0] in seen:
                    continue
                if known or grade < _IDENTIFIES:
                    is_beside = key and field.rpartition(".")[0] in seen
                    self._grade(found, key, _BESIDE * grade if is_beside else grade)
                else:
                    _raise(found, own, grade if not key else 0.8 * grade)
        if operation.response_fields:
            _raise(found, own, 0.8)
        else:
            said = operation.operation_id or operation.path.rsplit("/", 1)[-1]
            self._grade_words(found, stems(said.replace("By", "_by_").split("_by_")[0]), 0.55)
            self._grade_words(found, stems(operation.summary), 0.5)
            self._grade_words(found, stems(operation.description), 0.2)
            if operation.path.count("/") > 1 and not operation.path.endswith("}"):
                _raise(found, own, 0.8)
        if operation.verb == "read" and searches(operation):
            for word in _kinds_listed(operation):
                self._grade(found, (word,), _ASKED)
        for number in members.get(_EXTENSION.sub("", operation.path), ()):
            found[number] = max(found.get(number, 0.0), _MEMBER)
        others = own_needs.intersection(self._others(operation))
        _raise(found, dict.fromkeys(others, 1.0), _OTHERS)
        scale = 1.0 if operation.verb == "read" else _WRITE
        return {key: scale * grade for key, grade in found.items() if key in others or key not in own_needs}

    def _others(self, operation: Operation) -> Set[int]:
        """The keys of which reading an operation of one lists others (`/artists/{id}/related-artists`, `/similar`)."""
        before, _, last = operation.path.rpartition("/")
        words = stems(last)
        if operation.method != "GET" or not before.endswith("}") or not words:
            return frozenset()
        if words[-1] in _ALIKE:
            name = before.rpartition("{")[2][:-1]
            keys = [self._need(operation, p) for p in operation.parameters if p.name == name and p.location == "path"]
            return {self.ids[key] for key in keys if key in self.ids}
        return {number for key, number in self.ending_in(words[-1]) if len(key) == 1 and len(words) > 1}

    def _own(self, operation: Operation) -> dict[int, float]:
        """Keys of what the operation is about and how surely: nouns of its last literals, else of its summary."""
        found: dict[int, float] = {}
        literals = [s for s in operation.path.split("/") if s and "{" not in s]
        if literals and literals[-1].lower() in CALLERS:
            self._grade(found, ("user",), 1.0)
        elif literals:
            self._grade(found, resource_key(operation.path), 1.0)
            if not found:
                self._grade_words(found, stems(literals[-1]), 0.7)
        if not found and len(literals) > 1:  # /movie/popular
            self._grade(found, resource_key(literals[-2]), 0.7)
        if not found:
            self._grade_words(found, stems(operation.summary), 0.5)
        return found

    def _grade(self, found: dict[int, float], key: Key, grade: float) -> None:
        """A key that is said; half for each whose last word alone fits."""
        if not key:
            return
        for known, number in self._by_last.get(key[-1], ()):
            value = grade if known == key else grade / 2
            if value > found.get(number, 0.0):
                found[number] = value

    def _grade_words(self, found: dict[int, float], words: Sequence[str], grade: float) -> None:
        present = dict.fromkeys(words)
        for word in present:
            for known, number in self._by_last.get(word, ()):
                value = grade if all(part in present for part in known) else grade / 2
                if value > found.get(number, 0.0):
                    found[number] = value


def _recognized(fields: Iterable[str], like_of: LikeOf) -> dict[str, dict[int, float]]:
    """The keys of the parts of a response that have an identifier and whose fields tell an entity."""
    parts = groups(fields).items()
    return {before: like for before, names in parts if names & IDENTIFIERS and (like := like_of(names))}


def _raise(found: dict[int, float], keys: dict[int, float], grade: float) -> None:
    """Raises the grades of `keys`, each by its own certainty."""
    for number, certainty in keys.items():
        found[number] = max(found.get(number, 0.0), grade * certainty)


def searches(operation: Operation) -> float:
    """How openly the operation takes free text: required, optional or not at all."""
    best = 0.0
    for parameter in operation.parameters:
        if takes_text(parameter.name):
            best = max(best, SEARCH_REQUIRED if parameter.required else SEARCH_OPTIONAL)
    return best


def _kind_names(operation: Operation) -> tuple[str, ...]:
    """Names of the parameters that ask for things by kind."""
    return tuple(p.name for p in operation.parameters if p.name.lower().endswith(_KINDS))


def _kinds_listed(operation: Operation) -> Iterable[str]:
    """Last stems of what the operation can be asked for by kind, as its enums list them."""
    for parameter in operation.parameters:
        if parameter.name.lower().endswith(_KINDS):
            for value in parameter.enum[:_LITERALS_MAX]:
                if isinstance(value, str):
                    yield from stems(value[:_KINDS_READ])[-1:]


def _texts(value: Any) -> list[str]:
    """The words of an argument: of a list or divided by commas."""
    said = [text for text in (value if isinstance(value, list) else [value])[:_KINDS_READ] if isinstance(text, str)]
    return ",".join(said)[:_KINDS_READ].split(",")


def _rows(rows: Sequence[Iterable[float]], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unequal length as starts and one flat array."""
    lengths = np.fromiter((len(r) for r in rows), dtype=np.int64, count=len(rows))  # type: ignore[arg-type]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return starts, np.fromiter((v for r in rows for v in r), dtype=dtype, count=int(starts[-1]))
