"""Sequences of calls a user of an API might make: walks over one catalog.

A walk picks a goal, chains what produces the goal's needs before it, adds followers, repeats,
noise and now and then a second goal. What it knows of the catalog is `train/ground.py`'s; each walk
has habits of its own: how it finds things, what it forgets, how it weighs what lies near. Called by
`train/corpus.py`; deterministic by its random source.
"""

from __future__ import annotations

import dataclasses
import random
import re
import string
import uuid
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.types import Call, Parameter
from train.ground import FREE, Ground
from train.prompts import Mention, person, proper_name, words


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
                self.learn(e, count=rng.choice((1, 1, 2, 3)) if op.verb == "read" else 1)

    def learn(self, e: str, count: int = 1) -> None:
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
            kind = " ".join([*e.split("_"), self.rng.choice(("id", "", "number", "id"))]).strip()
            self.typed.append(Mention(kind, value))
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
        elif name in FREE or "name" in name or "title" in name or self.g.free[index]:
            value = proper_name(rng)
            self.named.append(Mention(" ".join(words(parameter.name)), value, is_name=True))
            return value
        elif parameter.type in ("integer", "number"):
            return rng.choice((1, 2, 5, 10, 20, 50, 100, 250))
        else:
            return " ".join(w.lower() for w in proper_name(rng).split())
        self.typed.append(Mention(kind, value))
        return value


def walk(ground: Ground, rng: random.Random) -> Walk | None:
    """One walk, or None when the catalog gives none."""
    s = _Session(ground, rng)
    n = len(ground.operations)
    habits = _Habits(
        # How what a goal needs is found: by fields and names, by place and order, or down the path to it.
        way=rng.choices(("fields", "place", "descent"), (0.5, 0.15, 0.35))[0],
        forgotten=frozenset(e for e in ground.entities if rng.random() < 0.3),
        knows=rng.choice((0.1, 0.1, 0.3, 0.85)),
        inspects=rng.choice((0.0, 0.2, 0.7)),
        repeats=rng.choice((0.02, 0.05, 0.15, 0.35)),
        weights=np.array([rng.expovariate(1.0) for _ in range(8)]) * (1.0, 1.6, 0.6, 0.6, 3.0, 1.0, 0.5, 1.0),
    )
    if rng.random() < 0.15:  # set-up: who am I, what is there
        entry = [i for i in range(n) if ground.reads[i] and not ground.needs[i]]
        if entry:
            s.call(rng.choice(entry), answer=False)
    goal = _pick_goal(ground, rng)
    _pursue(s, goal, habits)
    if rng.random() < habits.repeats:
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            s.call(goal, fresh=0.9)
    if rng.random() < 0.45:
        for _ in range(rng.choice((1, 1, 2, 3))):
            _follow(s, habits)
    second = None
    if rng.random() < 0.35:
        second = _nearby_goal(ground, goal, rng)
        _pursue(s, second, habits)
        if rng.random() < 0.3:
            _follow(s, habits)
    if not s.answers:
        return None
    rng.shuffle(s.named)
    mentions = tuple(s.named[:2] + s.typed[:6])
    return Walk(tuple(s.calls), tuple(s.operations), tuple(s.answers), goal, second, mentions, s.searched)


@dataclasses.dataclass(frozen=True, slots=True)
class _Habits:
    """How the user of one walk goes about things."""

    way: str
    forgotten: frozenset[str]  # entities whose producers this user does not know
    knows: float  # chance of having an identifier at hand, from the prompt, instead of looking it up
    inspects: float  # chance of reading a thing before changing it
    repeats: float  # chance of calling an operation again with other values
    weights: np.ndarray  # of the kinds of neighbourhood, for what follows


def _pick_goal(g: Ground, rng: random.Random) -> int:
    weight = [(1.0 if g.harmless[i] else 0.2) * (0.7 + 0.4 * min(len(g.needs[i]), 3)) for i in range(len(g.operations))]
    return rng.choices(range(len(weight)), weight)[0]


def _nearby_goal(g: Ground, goal: int, rng: random.Random) -> int:
    """A second wish: about the same things, of the same tag, or anything."""
    wanted = set(g.needs[goal].values())
    pick = rng.random()
    near = [
        i
        for i in range(len(g.operations))
        if i != goal and (wanted & set(g.needs[i].values()) if pick < 0.5 else g.tags[i] == g.tags[goal])
    ]
    return rng.choice(near) if near and pick < 0.85 else _pick_goal(g, rng)


def _pursue(s: _Session, goal: int, habits: _Habits, depth: int = 0) -> None:
    """Calls what the goal needs, then the goal."""
    g, rng = s.g, s.rng
    if habits.way == "descent" and depth == 0:
        for ancestor in g.ancestors(goal):
            if ancestor not in s.operations[-8:] and rng.random() < 0.75:
                s.call(ancestor)
    for e in dict.fromkeys(g.needs[goal].values()):
        if e in s.known or depth >= 3 or len(s.calls) > 12 or rng.random() < habits.knows:
            continue
        if habits.way == "fields":
            producer = _producer(g, goal, e, rng, e in habits.forgotten)
        else:
            producer = _other_producer(g, goal, rng)
        if producer is None or producer in s.operations[-6:]:
            continue
        _pursue(s, producer, habits, depth + 1)
        while rng.random() < habits.repeats * 0.7 and g.needs[producer]:
            s.call(producer, fresh=0.9)
        if e not in s.known:
            s.learn(e)
    if rng.random() < 0.06:
        noise = rng.randrange(len(g.operations))
        if g.verbs[noise] == "read":
            s.call(noise, answer=False)
    if not g.reads[goal] and g.needs[goal] and rng.random() < habits.inspects:
        look = g.look_at(goal)
        if look is not None and look not in s.operations[-4:]:
            s.call(look)
            while rng.random() < habits.repeats * 0.7:
                s.call(look, fresh=0.9)
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
            weight += 0.5
        if i in g.feeders[goal]:
            weight += 5.0
        if set(g.needs[i].values()) <= set(g.needs[goal].values()) and weight:
            weight += 1.0
        if weight:
            scored.append((i, weight * 0.7 ** len(g.needs[i])))
    return rng.choices([i for i, _ in scored], [w for _, w in scored])[0] if scored else None


def _follow(s: _Session, habits: _Habits) -> None:
    """One more call, near the last one by this walk's own weights; what needs unknown things is less likely."""
    g, rng, last = s.g, s.rng, s.operations[-1]
    if rng.random() < habits.repeats:
        s.call(last, fresh=0.9)
        return
    score = habits.weights @ g.neighbourhood(last)
    ready = np.array([np.mean([e in s.known for e in need.values()]) if need else 0.4 for need in g.needs])
    score = np.exp(1.6 * np.minimum(score, 20.0)) * (0.05 + ready) ** 2 * np.where(g.harmless, 1.0, 0.3)
    score[last] = 0.0
    for done in s.operations[-5:]:
        score[done] *= 0.3
    if score.sum() > 0:
        s.call(rng.choices(range(len(score)), score.tolist())[0])
