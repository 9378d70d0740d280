"""Sequences of calls a user of an API might make: walks over one catalog.

A walk picks a goal, chains what produces the goal's needs before it, adds followers, repeats,
noise and now and then a second goal. It knows the catalog by rules of its own (entity keys, paths,
tags, document order, links), not by the relations that the features read, and each walk forgets
some of them and weighs the rest at random: labels made of the features' own edges would be
circular. Called by `train/corpus.py`; deterministic by its random source.
"""

from __future__ import annotations

import dataclasses
import random
import re
import string
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.types import Call, Catalog, Operation, Parameter
from train.prompts import Mention, person, proper_name, words

_ENDING = re.compile(r"^(.*?)[_\-. ]?(ids?|key|number|no|slug|uuid|guid|username|login|code|sid|arn)$", re.I)
_FREE = frozenset({"q", "query", "search", "keyword", "keywords", "term", "text", "searchterm", "filter"})
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


@dataclasses.dataclass(frozen=True, slots=True)
class Walk:
    """A sequence of calls; `answers` are the positions whose call may be asked for."""

    calls: tuple[Call, ...]
    operations: tuple[int, ...]  # index in the catalog of each call's operation
    answers: tuple[int, ...]
    goal: int
    second: int | None
    mentions: tuple[Mention, ...]
    searched: bool


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
            [any(p.name.lower() in _FREE for p in o.parameters) or _is_search(o) for o in self.operations]
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
                if parts[-1].lower() in ("id", "uuid", "slug", "login") and len(parts) > 1:
                    out.append((_key(words(parts[-2])), 1.0))
                elif parts[-1].lower() in ("id", "uuid", "slug", "name", "key") and self.literals[index]:
                    out.append((_key(words(self.literals[index][-1])), 0.85))
                out.append((_key(last), 0.3))
        else:
            name = words(op.operation_id or op.summary)
            for w in name[: name.index("by")] if "by" in name else name:
                out.append((_singular(w), 0.5))
            if self.literals[index]:
                out.append((_key(words(self.literals[index][-1])), 0.6))
        return [(e, s * scale) for e, s in out if e in self.entities]

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


class _Session:
    """One walk in the making: what has been called, which values are known."""

    def __init__(self, ground: Ground, rng: random.Random) -> None:
        self.g, self.rng = ground, rng
        self.known: dict[str, list[str]] = {}  # entity -> values, latest last
        self.calls: list[Call] = []
        self.operations: list[int] = []
        self.answers: list[int] = []
        self.typed: list[Mention] = []
        self.named: list[Mention] = []
        self.ts = 1.7e9 + rng.random() * 3e7
        self.searched = False
        self.style: dict[str, int] = {}

    def call(self, index: int, answer: bool = True, fresh: float = 0.0) -> None:
        """Makes the call; with chance `fresh` a need takes another value than the one used last."""
        op, rng = self.g.operations[index], self.rng
        path, params = op.path, {}
        for parameter in op.parameters:
            needed = self.g.needs[index].get(parameter.name)
            if needed:
                value: Any = self._identify(needed, parameter, fresh)
            elif parameter.location == "path" or parameter.required or rng.random() < 0.08:
                value = self._value(parameter, index)
            else:
                continue
            if parameter.location == "path":
                path = path.replace("{" + parameter.name + "}", quote(str(value), safe=""))
            elif parameter.location in ("query", "body"):
                params[parameter.name] = value
        path = re.sub(r"\{[^}]*\}", lambda _: str(rng.randrange(1, 10**5)), path)
        self.ts += rng.lognormvariate(2.5, 1.0)
        if answer:
            self.answers.append(len(self.calls))
        self.calls.append(Call(method=op.method, path=path, params=params, ts=round(self.ts, 3)))
        self.operations.append(index)
        self.searched |= bool(self.g.free[index])
        for e, column in self.g.entities.items():
            if self.g.supply[index, column] >= 0.3 and (e not in self.known or rng.random() < 0.3):
                self._learn(e, count=rng.choice((1, 1, 2, 3)) if op.verb == "read" else 1)

    def _learn(self, e: str, count: int = 1) -> None:
        self.known.setdefault(e, []).extend(self._fresh_id(e) for _ in range(count))

    def _identify(self, e: str, parameter: Parameter, fresh: float) -> Any:
        values = self.known.get(e)
        if values and not (fresh and self.rng.random() < fresh):
            value = values[-1]
        elif values and len(values) > 1:
            value = self.rng.choice(values[:-1])
            values.remove(value)
            values.append(value)
        else:
            if parameter.enum:
                value = str(self.rng.choice(parameter.enum))
            elif e in ("owner", "org", "organization", "user", "account", "username") and self.rng.random() < 0.6:
                value = person(self.rng)[0].lower() + str(self.rng.randrange(100))
            else:
                value = self._fresh_id(e, parameter)
            self.known.setdefault(e, []).append(value)
            self.typed.append(
                Mention(" ".join([*e.split("_"), self.rng.choice(("id", "", "number", "id"))]).strip(), value)
            )
        return int(value) if parameter.type == "integer" and value.isdigit() else value

    def _fresh_id(self, e: str, parameter: Parameter | None = None) -> str:
        rng = self.rng
        style = self.style.setdefault(e, rng.randrange(5))
        if parameter is not None and parameter.type in ("integer", "number"):
            style = self.style[e] = 0
        if style == 0:
            return str(rng.randrange(10 ** rng.choice((2, 4, 6, 8))))
        if style == 1:
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if style == 2:
            return f"{e[:3]}_{''.join(rng.choices(string.ascii_letters + string.digits, k=10))}"
        if style == 3:
            return f"{rng.choice(('#', '', ''))}{rng.choice(string.ascii_uppercase)}{rng.randrange(10**6, 10**7)}"
        return "-".join(proper_name(rng).lower().split())

    def _value(self, parameter: Parameter, index: int) -> Any:
        rng, name = self.rng, parameter.name.lower()
        if parameter.enum:
            return rng.choice(parameter.enum)
        if parameter.type == "boolean":
            return rng.random() < 0.5
        if parameter.type in ("array", "object"):
            return [] if parameter.type == "array" else {}
        given, family = person(rng)
        if "mail" in name:
            value, kind = f"{given}.{family}{rng.randrange(9999)}@example.com".lower(), "email"
        elif "zip" in name or "postal" in name:
            value, kind = str(rng.randrange(10000, 99999)), rng.choice(("zip code", "zip", "postal code"))
        elif "date" in name or parameter.format in ("date", "date-time") or name in ("from", "to", "since", "until"):
            value, kind = f"202{rng.randrange(6)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}", "date"
        elif "first" in name and "name" in name:
            value, kind = given, "first name"
        elif "last" in name and "name" in name:
            value, kind = family, "last name"
        elif name in _FREE or "name" in name or "title" in name or self.g.free[index]:
            value = proper_name(rng)
            self.named.append(Mention(" ".join(words(parameter.name)), value, is_name=True))
            return value
        elif parameter.type in ("integer", "number"):
            return rng.choice((1, 2, 5, 10, 20, 50, 100, 250))
        else:
            return " ".join(w.lower() for w in proper_name(rng).split())
        self.typed.append(Mention(kind, value))
        return value


def walk(ground: Ground, rng: random.Random, second_rate: float = 0.35) -> Walk | None:
    """One walk, or None when the catalog gives none."""
    s = _Session(ground, rng)
    n = len(ground.operations)
    other_signals = rng.random() < 0.5  # producers by place and order instead of by fields and names
    forgotten = {e for e in ground.entities if rng.random() < 0.3}
    if rng.random() < 0.15:  # set-up: who am I, what is there
        entry = [i for i in range(n) if ground.reads[i] and not ground.needs[i]]
        if entry:
            s.call(rng.choice(entry), answer=False)
    goal = _pick_goal(ground, rng)
    repeat_rate = rng.choice((0.02, 0.05, 0.15, 0.35))
    weights = np.array([rng.expovariate(1.0) for _ in range(8)], dtype=np.float32) * (
        1.2,
        1.6,
        1.0,
        0.8,
        2.0,
        1.0,
        1.2,
        1.0,
    )
    _pursue(s, goal, rng, forgotten, other_signals)
    if rng.random() < 0.20:
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            s.call(goal, fresh=0.9)
    if rng.random() < 0.55:
        for _ in range(rng.choice((1, 2, 2, 3, 4))):
            _follow(s, weights, repeat_rate, rng)
    second = None
    if rng.random() < second_rate:
        second = _nearby_goal(ground, goal, rng)
        _pursue(s, second, rng, forgotten, other_signals)
        if rng.random() < 0.3:
            _follow(s, weights, repeat_rate, rng)
    if not s.answers:
        return None
    rng.shuffle(s.named)
    return Walk(
        tuple(s.calls),
        tuple(s.operations),
        tuple(s.answers),
        goal,
        second,
        tuple(s.named[:2] + s.typed[:6]),
        s.searched,
    )


def _pick_goal(g: Ground, rng: random.Random) -> int:
    weight = [
        (1.0 if g.harmless[i] else 0.2) * (1.0 + 0.35 * min(len(g.needs[i]), 3)) for i in range(len(g.operations))
    ]
    return rng.choices(range(len(weight)), weight)[0]


def _nearby_goal(g: Ground, goal: int, rng: random.Random) -> int:
    same = [i for i in range(len(g.operations)) if g.tags[i] == g.tags[goal] and i != goal]
    return rng.choice(same) if same and rng.random() < 0.6 else _pick_goal(g, rng)


def _pursue(s: _Session, goal: int, rng: random.Random, forgotten: set[str], other: bool, depth: int = 0) -> None:
    """Calls what the goal needs, then the goal."""
    g = s.g
    for e in dict.fromkeys(g.needs[goal].values()):
        if e in s.known or depth >= 3 or len(s.calls) > 12 or rng.random() < 0.12:
            continue
        producer = _other_producer(g, goal, rng) if other else _producer(g, goal, e, rng, e in forgotten)
        if producer is None or producer in s.operations[-6:]:
            continue
        _pursue(s, producer, rng, forgotten, other, depth + 1)
        if e not in s.known:
            s._learn(e)
    if rng.random() < 0.06:
        noise = rng.randrange(len(g.operations))
        if g.verbs[noise] == "read":
            s.call(noise, answer=False)
    s.call(goal)
    if rng.random() < 0.04:  # a retry or the next page: history, no answer
        s.calls.append(s.calls[-1])
        s.operations.append(goal)


def _producer(g: Ground, goal: int, e: str, rng: random.Random, forgotten: bool) -> int | None:
    """An operation whose answer has `e`, by fields and names; searches are liked, needs of its own are not."""
    column = np.zeros(len(g.operations)) if forgotten else g.supply[:, g.entities[e]].astype(np.float64)
    column[g.feeders[goal]] = 1.0
    weight = column**2 * np.where(g.reads, 1.0, 0.12) * np.where(g.free, 1.6, 1.0)
    weight *= np.array([0.6 ** len(need) for need in g.needs]) * np.array(
        [1.5 if t == g.tags[goal] else 1.0 for t in g.tags]
    )
    weight[goal] = 0.0
    return rng.choices(range(len(weight)), weight.tolist())[0] if weight.sum() > 0.01 else _other_producer(g, goal, rng)


def _other_producer(g: Ground, goal: int, rng: random.Random) -> int | None:
    """An operation that comes before `goal` by place: path ancestor, collection, list of its tag, document order."""
    here = g.segments[goal]
    scored: list[tuple[int, float]] = []
    for i, there in enumerate(g.segments):
        if i == goal or not g.reads[i]:
            continue
        weight = 0.0
        if len(there) < len(here) and here[: len(there)] == there:
            weight += 3.0 + len(there)
        if there == here:
            weight += 1.5
        if g.tags[i] == g.tags[goal]:
            weight += 1.0 if g.needs[i] else 2.5
        if abs(i - goal) <= 3:
            weight += 1.0
        if i in g.feeders[goal]:
            weight += 5.0
        if set(g.needs[i].values()) <= set(g.needs[goal].values()) and weight:
            weight += 1.0
        if weight:
            scored.append((i, weight * 0.7 ** len(g.needs[i])))
    return rng.choices([i for i, _ in scored], [w for _, w in scored])[0] if scored else None


def _follow(s: _Session, weights: np.ndarray, repeat_rate: float, rng: random.Random) -> None:
    """One more call, near the last one by this walk's own weights; what needs unknown things is less likely."""
    g, last = s.g, s.operations[-1]
    if rng.random() < repeat_rate:
        s.call(last, fresh=0.9)
        return
    score = weights @ g.neighbourhood(last)
    ready = np.array([np.mean([e in s.known for e in need.values()]) if need else 0.7 for need in g.needs])
    score = np.exp(1.6 * score) * (0.05 + ready) ** 2 * np.where(g.harmless, 1.0, 0.3)
    score[last] = 0.0
    for done in s.operations[-5:]:
        score[done] *= 0.3
    if score.sum() > 0:
        s.call(rng.choices(range(len(score)), score.tolist())[0])
