"""What the generator of sessions knows of a catalog: needs, supplies, places.

Rules of its own (entity keys, paths, tags, document order, links), apart from the relations that the
features read: labels made of the features' own edges would be circular. Called by `train/walks.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pipeline.types import Catalog, Operation, Parameter
from train.prompts import words

_ENDING = re.compile(r"^(.*?)[_\-. ]?(ids?|key|number|no|slug|uuid|guid|username|login|code|sid|arn)$", re.I)
FREE = frozenset({"q", "query", "search", "keyword", "keywords", "term", "text", "searchterm", "filter"})
_WRAPPERS = [[w] for w in ("data", "results", "result", "items", "list", "content", "values", "records", "entries")]
_CRUD = {  # (verb of the last call, of the next): how often the next follows on the same resource
    ("create", "read"): 2.0,
    ("create", "update"): 1.0,
    ("create", "delete"): 0.6,
    ("create", "create"): 0.5,
    ("create", "action"): 1.0,
    ("read", "read"): 1.0,
    ("read", "update"): 1.0,
    ("read", "create"): 0.8,
    ("read", "delete"): 0.6,
    ("read", "action"): 0.9,
    ("update", "read"): 1.5,
    ("update", "update"): 0.6,
    ("update", "delete"): 0.5,
    ("update", "action"): 0.8,
    ("delete", "read"): 1.2,
    ("delete", "create"): 0.5,
    ("delete", "delete"): 0.4,
    ("action", "read"): 1.5,
    ("action", "action"): 0.8,
    ("action", "update"): 0.6,
}


def entity(parameter: Parameter, path: str) -> str:
    """The key of what a parameter identifies (`movie_id` -> `movie`), "" when it identifies nothing."""
    name = parameter.name.removesuffix("[]")
    if parameter.location == "header" or (not parameter.required and parameter.location != "path"):
        return ""
    found = _ENDING.match(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name))
    if found is None:
        return _key(words(name)) if parameter.location == "path" else ""
    stem = words(found.group(1))
    if not stem:
        literals = [s for s in path.split("{" + parameter.name)[0].split("/") if s and "{" not in s]
        stem = words(literals[-1]) if literals else ["it"]
    return _key(stem)


def _key(tokens: Sequence[str]) -> str:
    return "_".join(_singular(t) for t in tokens)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


class Ground:
    """What the generator knows of a catalog: needs, supplies and places of its operations."""

    def __init__(self, catalog: Catalog) -> None:
        self.operations = catalog.operations
        self.needs: list[dict[str, str]] = []  # parameter name -> entity
        entities: dict[str, int] = {}
        for op in self.operations:
            need = {p.name: e for p in op.parameters if (e := entity(p, op.path))}
            self.needs.append(need)
            for e in need.values():
                entities.setdefault(e, len(entities))
        self.entities = entities
        n = len(self.operations)
        self.supply = np.zeros((n, len(entities)), dtype=np.float32)  # [n_operations, n_entities]
        self.literals = [
            tuple(_singular(s.lower()) for s in o.path.split("/") if s and "{" not in s) for o in self.operations
        ]
        for i, op in enumerate(self.operations):
            for e, strength in self._supplies(i, op):
                self.supply[i, entities[e]] = max(self.supply[i, entities[e]], strength)
            for e in self.needs[i].values():
                self.supply[i, entities[e]] = 0.0
        self.free = np.array(
            [any(p.name.lower() in FREE for p in o.parameters) or _is_search(o) for o in self.operations]
        )
        self.reads = np.array([o.verb == "read" for o in self.operations])
        self.verbs = [o.verb for o in self.operations]
        self.harmless = np.array([not o.deprecated for o in self.operations])
        self.tags = [
            o.tags[0] if o.tags else (lit[0] if lit else "")
            for o, lit in zip(self.operations, self.literals, strict=True)
        ]
        self.segments = [tuple(s for s in o.path.split("/") if s) for o in self.operations]
        self.tokens = [
            frozenset(_singular(w) for w in (words(o.operation_id) or words(o.summary))) for o in self.operations
        ]
        ids = {o.operation_id: i for i, o in enumerate(self.operations) if o.operation_id} | {
            o.key: i for i, o in enumerate(self.operations)
        }
        self.feeders: list[list[int]] = [[] for _ in self.operations]  # operations whose OpenAPI links name this one
        for i, op in enumerate(self.operations):
            for link in op.links:
                if link.operation in ids:
                    self.feeders[ids[link.operation]].append(i)
        self._rows: dict[int, np.ndarray] = {}

    def _supplies(self, index: int, op: Operation) -> list[tuple[str, float]]:
        if op.verb == "delete" or not self.entities:
            return []
        scale = 1.0 if op.verb == "read" else 0.6
        out: list[tuple[str, float]] = []
        if op.response_fields:
            for name in op.response_fields[:300]:
                parts = name.split(".")
                last = words(parts[-1])
                if len(last) > 1 and last[-1] in ("id", "key", "number", "slug", "uuid", "username"):
                    out.append((_key(last[:-1]), 1.0))
                if parts[-1].lower() in ("id", "uuid", "slug", "login") and parts[-2:-1] not in ([], *_WRAPPERS):
                    out.append((_key(words(parts[-2])), 1.0))
                elif parts[-1].lower() in ("id", "uuid", "slug", "name", "key") and self.literals[index]:
                    out.append((_key(words(self.literals[index][-1])), 0.85))
                out.append((_key(last), 0.3))
        else:
            tokens = words(op.operation_id or op.summary)
            for w in tokens[: tokens.index("by")] if "by" in tokens else tokens:
                out.append((_singular(w), 0.5))
            if self.literals[index]:
                out.append((_key(words(self.literals[index][-1])), 0.6))
        return [(e, s * scale) for e, s in out if e in self.entities]

    def ancestors(self, goal: int) -> list[int]:
        """Reads of the things that the goal's path runs through, outermost first."""
        here = self.segments[goal]
        inner = {here[:k] for k in range(1, len(here)) if here[k - 1].startswith("{")}
        found = [i for i, there in enumerate(self.segments) if there in inner and self.operations[i].method == "GET"]
        return sorted(found, key=lambda i: len(self.segments[i]))

    def look_at(self, goal: int) -> int | None:
        """The read whose needs are the closest to all that the goal needs: a look at the thing itself."""
        wanted = set(self.needs[goal].values())
        best, most = None, 0.0
        for i, need in enumerate(self.needs):
            if self.reads[i] and need and set(need.values()) <= wanted:
                alike = len(self.tokens[i] & self.tokens[goal]) / max(len(self.tokens[i] | self.tokens[goal]), 1)
                score = len(need) + alike + 0.5 * (self.segments[i] == self.segments[goal])
                if score > most:
                    best, most = i, score
        return best

    def neighbourhood(self, last: int) -> np.ndarray:
        """What each operation is to `last`, float32 [8, n_operations].

        Rows: same path, child, sibling, same tag, share of needs supplied, common words, document order, life-cycle.
        """
        if last not in self._rows:
            n = len(self.operations)
            rows = np.zeros((8, n), dtype=np.float32)
            here, lits, toks = self.segments[last], self.literals[last], self.tokens[last]
            for j in range(n):
                there = self.segments[j]
                rows[0, j] = there == here
                rows[1, j] = len(there) > len(here) and there[: len(here)] == here
                rows[2, j] = len(there) == len(here) and there[:-1] == here[:-1]
                rows[3, j] = self.tags[j] == self.tags[last]
                need = self.needs[j].values()
                if need:
                    rows[4, j] = float(np.mean([self.supply[last, self.entities[e]] for e in need]))
                union = len(toks | self.tokens[j])
                rows[5, j] = len(toks & self.tokens[j]) / union if union else 0.0
                same = bool(set(lits[-1:]) & set(self.literals[j][-2:]))
                rows[7, j] = _CRUD.get((self.verbs[last], self.verbs[j]), 0.3) * (0.5 if same else 0.1)
            rows[6] = np.exp(-np.abs(np.arange(n) - last) / 4.0)
            rows[6, min(last + 1, n - 1)] += 0.3
            self._rows[last] = rows
        return self._rows[last]


def _is_search(op: Operation) -> bool:
    return op.verb == "read" and any(
        w in ("search", "find", "lookup", "query") for w in words(f"{op.path} {op.operation_id}")
    )
