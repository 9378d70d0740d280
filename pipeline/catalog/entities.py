"""What an operation needs and what it supplies, as keys of entities ("movie", "order").

A required identifier is a need; what a response or a name speaks of is a supply, graded by how surely
the words say so. Both are read from names only, never from values. Called by `relations.py`, once per
catalog; the grades were set by hand and checked on other specs than those that judge us.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence, Set

import numpy as np

from pipeline.catalog.shapes import Shapes, groups
from pipeline.catalog.stem import split_words, stem, stems
from pipeline.types import Catalog, Operation, Parameter

Key = tuple[str, ...]  # stems: ("movi",), ("payment", "method")
LikeOf = Callable[[frozenset[str]], dict[int, float]]  # the keys of what a part with these fields may be

_IDENTIFIERS = frozenset({"id", "ids", "key", "keys", "number", "slug", "uuid", "guid", "username", "login"})
_NAMES = frozenset({"name", "code", "handle", "identifier"})  # identifiers only as path parameters
_SEARCHES = frozenset({"q", "query", "search", "keyword", "keywords", "term"})
_WRAPPERS = frozenset({"data", "item", "items", "result", "results", "response", "list", "records", "content", "value",
                       "values", "entries", "hits", "rows", "objects", "payload", "embedded"})  # fmt: skip
_ENVELOPES = frozenset({"", "data", "item", "result", "response", "content", "value", "payload"})  # of one thing
_ACTIONS = frozenset(
    map(stem, ("get", "list", "create", "update", "delete", "find", "search", "add", "set", "remove", "fetch", "read",
               "show", "retrieve", "lookup", "post", "put", "patch", "modify", "check", "new", "all", "detail"))
)  # fmt: skip

SEARCH_REQUIRED, SEARCH_OPTIONAL = 1.0, 0.5
TYPED = ("email", "zip", "name", "date")  # required fields whose presence in a prompt can be seen
_TYPED_WORDS = {"email": 0, "mail": 0, "zip": 1, "zipcode": 1, "postal": 1, "postcode": 1, "name": 2, "firstname": 2,
                "lastname": 2, "date": 3, "day": 3}  # fmt: skip

_LITERALS_MAX, _LITERAL_MIN = 40, 3  # of an enum; characters of one
_IDENTIFIES = 0.6  # the grade from which a response field is an identifier and no plain field
_INSIDE = 0.6  # what is inside one of another entity is seldom what the answer is read for
_WRITE = 0.6  # a write answers with what it made, but is seldom called for that


class Entities:
    """Needs and supplies of every operation, sparse.

    Rows are operations, columns entity keys: `need_starts[i]:need_starts[i + 1]` are the places of
    operation i in `need_keys`; the same for supplies, which also come by column.
    """

    def __init__(self, catalog: Catalog) -> None:
        operations = catalog.operations
        self.ids: dict[Key, int] = {}
        self._literals: dict[str, set[int]] = {}  # lower-case enum literal of a needed parameter -> keys
        needs = [self._needs(operation) for operation in operations]
        self._by_last: dict[str, list[tuple[Key, int]]] = {}
        for key, number in self.ids.items():
            self._by_last.setdefault(key[-1], []).append((key, number))
        self._readers: dict[int, tuple[str, str]] = {}  # key -> path of what reads one of it, and the parameter
        self._shapes = Shapes(self._profiles(operations))
        like_of = functools.cache(self._shapes.of)  # parts come again with many operations
        supplies = [
            self._supplies(operation, set(mine), like_of) for operation, mine in zip(operations, needs, strict=True)
        ]
        self.size = len(self.ids)
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

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and, roughly, of the names."""
        return (
            12 * len(self.need_keys)
            + 20 * len(self.supply_keys)
            + 300 * (self.size + len(self._literals))
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

    def ending_in(self, word: str) -> list[tuple[Key, int]]:
        """Keys whose last stem is `word`, with their numbers."""
        return self._by_last.get(word, [])

    def named_by(self, word: str) -> Iterable[int]:
        """Keys one of whose values a lower-case word is, by the enums of the parameters that need them."""
        return self._literals.get(word, ())

    def of_parameter(self, name: str) -> int | None:
        """The key an argument of this name gives a value for, where it is one of this catalog."""
        found = identifier(name[:100], in_path=True)
        return self.ids.get(found) if found else None

    def of_field(self, name: str) -> list[tuple[int, float]]:
        """The keys a field of a sampled response (dotted name) gives values for, with grades."""
        return [(self.ids[key], grade) for key, grade in _field_keys(name[-100:]) if key in self.ids]

    def of_parts(self, names: Iterable[str]) -> list[tuple[int, float]]:
        """The keys that the parts of a sampled response (dotted names) give values for, with grades."""
        return [pair for like in _recognized(names, self._shapes.of).values() for pair in like.items()]

    def reader_of(self, fields: Set[str]) -> tuple[str, str] | None:
        """Path of the operation that reads what an object with these fields is, and the parameter that takes its id."""
        like = self._shapes.of(fields) if fields & _IDENTIFIERS else {}
        return self._readers[next(iter(like))] if len(like) == 1 else None

    def _needs(self, operation: Operation) -> list[int]:
        found: dict[int, None] = {}
        for parameter in operation.parameters:
            if not parameter.required or parameter.location in ("header", "cookie"):
                continue
            key = _need(operation.path, parameter)
            if key:
                number = self.ids.setdefault(key, len(self.ids))
                found[number] = None
                for value in parameter.enum[:_LITERALS_MAX]:
                    if isinstance(value, str) and len(value) >= _LITERAL_MIN:
                        self._literals.setdefault(value.lower(), set()).add(number)
        return list(found)

    def _profiles(self, operations: Sequence[Operation]) -> dict[int, set[str]]:
        """The fields that reading one of an entity answers with; who reads it goes to `_readers`."""
        found: dict[int, set[str]] = {}
        for operation in operations:
            if operation.method != "GET" or not operation.path.endswith("}"):
                continue
            last = operation.path.rsplit("{", 1)[-1][:-1]
            need = next((_need(operation.path, p) for p in operation.parameters if p.name == last), None)
            if need is not None and need in self.ids:
                for before, names in groups(operation.response_fields).items():
                    if before.lower() in _ENVELOPES and names & _IDENTIFIERS:
                        found.setdefault(self.ids[need], set()).update(names)
                        self._readers.setdefault(self.ids[need], (operation.path, last))
        return found

    def _supplies(self, operation: Operation, own_needs: set[int], like_of: LikeOf) -> dict[int, float]:
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
            for key, grade in _field_keys(field):
                # An identifier inside something that is no entity here belongs to what the operation is about.
                known = key and key[-1] in self._by_last
                if not known and key and field.rpartition(".")[0] in seen:
                    continue
                if known or grade < _IDENTIFIES:
                    self._grade(found, key, grade)
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
        scale = 1.0 if operation.verb == "read" else _WRITE
        return {key: scale * grade for key, grade in found.items() if key not in own_needs}

    def _own(self, operation: Operation) -> dict[int, float]:
        """Keys of what the operation is about and how surely: nouns of its last literals, else of its summary."""
        found: dict[int, float] = {}
        literals = [s for s in operation.path.split("/") if s and "{" not in s]
        if literals:
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
        present = set(words)
        for word in present:
            for known, number in self._by_last.get(word, ()):
                value = grade if present.issuperset(known) else grade / 2
                if value > found.get(number, 0.0):
                    found[number] = value


def _recognized(fields: Iterable[str], like_of: LikeOf) -> dict[str, dict[int, float]]:
    """The keys of the parts of a response that have an identifier and whose fields tell an entity."""
    parts = groups(fields).items()
    return {before: like for before, names in parts if names & _IDENTIFIERS and (like := like_of(names))}


def _raise(found: dict[int, float], keys: dict[int, float], grade: float) -> None:
    """Raises the grades of `keys`, each by its own certainty."""
    for number, certainty in keys.items():
        found[number] = max(found.get(number, 0.0), grade * certainty)


@functools.lru_cache(maxsize=16384)
def identifier(name: str, in_path: bool) -> Key | None:
    """The key a parameter name speaks of: () for a bare identifier, None for what identifies nothing."""
    words = split_words(name)
    if not words:
        return None
    last = words[-1]
    if last in _IDENTIFIERS or (in_path and last in _NAMES):
        return tuple(map(stem, words[:-1]))
    return tuple(map(stem, words)) if in_path else None


@functools.lru_cache(maxsize=16384)
def resource_key(path: str) -> Key:
    """What a path is about: the nouns of its last literal segment."""
    for segment in reversed(path.split("/")):
        if segment and "{" not in segment:
            words = stems(segment)
            return tuple(w for w in words if w not in _ACTIONS) or words
    return ()


def searches(operation: Operation) -> float:
    """How openly the operation takes free text: required, optional or not at all."""
    best = 0.0
    for parameter in operation.parameters:
        if parameter.name.lower() in _SEARCHES:
            best = max(best, SEARCH_REQUIRED if parameter.required else SEARCH_OPTIONAL)
    return best


def typed_fields(operation: Operation) -> list[bool]:
    """Which of TYPED the operation demands."""
    demanded = [False] * len(TYPED)
    for parameter in operation.parameters:
        if parameter.required and parameter.location in ("query", "body"):
            for word in split_words(parameter.name):
                if word in _TYPED_WORDS:
                    demanded[_TYPED_WORDS[word]] = True
    return demanded


def given_by_user(operation: Operation) -> int:
    """Number of required arguments that no other operation supplies."""
    return sum(
        p.required
        and p.location in ("query", "body")
        and p.name.lower() not in _SEARCHES
        and identifier(p.name, False) is None
        for p in operation.parameters
    )


def _need(path: str, parameter: Parameter) -> Key | None:
    in_path = parameter.location == "path"
    key = identifier(parameter.name, in_path)
    if key == ():
        before = path.split("{" + parameter.name + "}")[0] if in_path else path
        key = resource_key(before) or (stem(parameter.name.lower()),)
    return key


@functools.lru_cache(maxsize=65536)
def _field_keys(field: str) -> tuple[tuple[Key, float], ...]:
    """Keys a response field supplies, with grades; () as key is the operation's own resource."""
    parts = field.split(".")
    leaf = split_words(parts[-1])
    if not leaf:
        return ()
    if leaf[-1] in _IDENTIFIERS or leaf == ["name"]:
        grade = 1.0 if leaf != ["name"] else 0.6
        if len(leaf) > 1:
            return ((tuple(map(stem, leaf[:-1])), grade),)
        parents = [p for p in parts[:-1] if p.lower().strip("_") not in _WRAPPERS]
        if not parents:
            return (((), 0.9 * grade),)
        return ((tuple(map(stem, split_words(parents[-1]))), grade),)
    return ((tuple(map(stem, leaf)), 0.35),)


def _rows(rows: Sequence[Iterable[float]], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unequal length as starts and one flat array."""
    lengths = np.fromiter((len(r) for r in rows), dtype=np.int64, count=len(rows))  # type: ignore[arg-type]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return starts, np.fromiter((v for r in rows for v in r), dtype=dtype, count=int(starts[-1]))
