"""People who use an API with habits that its spec does not tell, and a made-up API for them.

The API is a harbour office's, resources with their lists, items and actions, or any other. The population has
`ROUTINES`, each a few operations in an order drawn by chance and a name of the house's own; each of the `CREWS` does
one step of each routine its own way. A session is one routine: a step is left out in one of ten cases, and in one of
ten something else is called instead. Half of the sessions tell the routine's name as a prompt. Everything follows from
the seed. There are so few of them that 200 calls can show their habits. Used by `loadtest.lift`.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

ROUTINES, CREWS, STEPS = 5, 2, (3, 6)
_LEFT_OUT, _OTHER, _PROMPTED = 0.1, 0.1, 0.5
_FORESEEN = 4000  # sessions from which the oracle knows the population

_RESOURCES = {
    "vessels": ("vessel", ("inspect", "moor")),
    "berths": ("berth", ("reserve", "release")),
    "pilots": ("pilot", ("dispatch",)),
    "tugs": ("tug", ("assign",)),
    "manifests": ("manifest", ("seal", "audit")),
    "containers": ("container", ("weigh", "hold")),
    "invoices": ("invoice", ("issue",)),
    "notices": ("notice", ("broadcast",)),
}
_NAMES = (
    "morning tide",
    "blue lane",
    "fourth bell",
    "long haul",
    "paper run",
    "quiet side",
    "crane call",
    "lamp round",
)
_FILLERS = ("please do the {}", "{} for today", "start {}", "{} again, as always", "need the {} done")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One thing a user is about to do: what he has done, says, and will do."""

    user: str
    crew: int
    session: int
    prompt: str
    routine: int  # told by the prompt; -1 without one
    history: tuple[str, ...]  # keys of the operations called before in this session
    answer: str  # key of the operation called next


def spec() -> dict[str, Any]:
    """The harbour office's OpenAPI document."""
    paths: dict[str, Any] = {}
    for plural, (one, actions) in _RESOURCES.items():
        identifier = {"name": f"{one}_id", "in": "path", "required": True, "schema": {"type": "string"}}
        body = {
            "content": {"application/json": {"schema": {"type": "object", "properties": {"name": {"type": "string"}}}}}
        }
        paths[f"/{plural}"] = {
            "get": {"summary": f"List {plural}", "operationId": f"list_{plural}"},
            "post": {"summary": f"Register a {one}", "operationId": f"create_{one}", "requestBody": body},
        }
        paths[f"/{plural}/{{{one}_id}}"] = {
            "parameters": [identifier],
            "get": {"summary": f"Get a {one}", "operationId": f"get_{one}"},
            "patch": {"summary": f"Change a {one}", "operationId": f"update_{one}", "requestBody": body},
        }
        for action in actions:
            paths[f"/{plural}/{{{one}_id}}/{action}"] = {
                "parameters": [identifier],
                "post": {"summary": f"{action.capitalize()} a {one}", "operationId": f"{action}_{one}"},
            }
    for item in paths.values():
        for method in ("get", "post", "patch"):
            if method in item:
                item[method]["responses"] = {"200": {"description": "done"}}
    return {"openapi": "3.0.3", "info": {"title": "Harbour office", "version": "1"}, "paths": paths}


def operations() -> list[str]:
    """Keys of all operations."""
    methods = ("get", "post", "patch")
    return [f"{m.upper()} {path}" for path, item in spec()["paths"].items() for m in methods if m in item]


def concrete(operation: str, session: int) -> str:
    """A call of the operation, as a session with this number would make it."""
    method, _, path = operation.partition(" ")
    filled = re.sub(r"{([^}]{1,3})[^}]*}", rf"\g<1>-{session}", path)
    return f"{method} {filled}"


class Population:
    """People with habits; the same seed gives the same people. `called` are the keys of the operations they call."""

    def __init__(self, seed: int, called: Sequence[str] | None = None) -> None:
        rng = random.Random(seed)
        self._operations = list(called or operations())
        shared = [rng.sample(self._operations, rng.randint(*STEPS)) for _ in range(ROUTINES)]
        self._routines = [[list(steps) for steps in shared] for _ in range(CREWS)]
        for crew in self._routines[1:]:
            for steps in crew:
                steps[rng.randrange(len(steps))] = rng.choice(self._operations)
        self._oracle: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for number in range(_FORESEEN):
            for step in self._session(number, random.Random(f"{seed} foreseen {number}")):
                for seen in self._views(step):
                    self._oracle[seen][step.answer] += 1

    def steps(self, name: str) -> Iterator[Step]:
        """Sessions without end; another name, other sessions of the same people."""
        number = 0
        while True:
            number += 1
            yield from self._session(number, random.Random(f"{name} {number}"))

    def foresee(self, step: Step) -> str:
        """The likeliest next operation for who knows the population and what is visible of the step."""
        for seen in self._views(step):
            if seen in self._oracle:
                return self._oracle[seen].most_common(1)[0][0]
        return self._operations[0]

    def _session(self, number: int, rng: random.Random) -> Iterator[Step]:
        crew, routine = rng.randrange(CREWS), rng.randrange(ROUTINES)
        user = f"crew-{crew}-{rng.randrange(4)}"
        prompted = rng.random() < _PROMPTED
        prompt = rng.choice(_FILLERS).format(_NAMES[routine]) if prompted else ""
        history: tuple[str, ...] = ()
        for planned in self._routines[crew][routine]:
            chance = rng.random()
            if chance < _LEFT_OUT:
                continue
            answer = rng.choice(self._operations) if chance < _LEFT_OUT + _OTHER else planned
            if history or prompted:  # who has neither said nor done anything is not asked about
                yield Step(user, crew, number, prompt, routine if prompted else -1, history, answer)
            history = (*history, answer)

    @staticmethod
    def _views(step: Step) -> tuple[tuple[Any, ...], ...]:
        """What may be known of a step, the fullest view first."""
        full = (step.crew, step.routine, step.history[-2:])
        return (
            full,
            (step.crew, step.routine, step.history[-1:]),
            (step.routine, step.history[-1:]),
            (step.history[-1:],),
        )


def document() -> bytes:
    """The spec as it is uploaded."""
    return json.dumps(spec()).encode()
