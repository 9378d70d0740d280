"""Requests as users of a catalog might send them: prompts from its summaries, histories along its paths.

Made from nothing but the catalog and a seed, so that every spec can be load-tested and two runs send
the same bytes. Whether an answer is good is not measured here: that is `opensesame evaluate`. Used by
`loadtest.bench`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from pipeline.types import Catalog, Operation, Parameter

_WORD_KEPT = 0.75  # chance of a word of the summary to stay in the prompt
_CALLS_MAX = 6  # of a history
_OPENINGS = ("", "", "", "please ", "I want to ", "now ", "can you ", "next: ")
_PATH_NAME = re.compile(r"\{([^{}]+)\}")


class Traffic:
    """Bodies of POST /predict for the catalog `name`; no two bodies of one instance are the same.

    Raises:
        ValueError: the catalog has no operations.
    """

    def __init__(self, catalog: Catalog, name: str, *, seed: int = 0, k: int = 5) -> None:
        if not catalog.operations:
            raise ValueError("a catalog without operations has no traffic")
        self._operations = catalog.operations
        self._name = name
        self._k = k
        self._random = random.Random(seed)
        self._prompts: set[str] = set()
        self._histories: set[str] = set()
        self._reads = {o.path: o for o in catalog.operations if o.method == "GET"}
        self._under: dict[str, list[Operation]] = {}  # path -> operations one segment or parameter below it
        for operation in catalog.operations:
            self._under.setdefault(operation.path.rsplit("/", 1)[0], []).append(operation)

    def prompted(self, count: int) -> list[dict[str, Any]]:
        """Bodies with distinct prompts, every second one with the calls that lead to what it asks for."""
        bodies: list[dict[str, Any]] = []
        for number in range(count):
            operation, prompt = self._prompt()
            body = self._body(self._calls(self._leading_to(operation)) if number % 2 else [])
            body["prompt"] = prompt
            bodies.append(body)
        return bodies

    def history_only(self, count: int) -> list[dict[str, Any]]:
        """Bodies with distinct histories and no prompt."""
        bodies: list[dict[str, Any]] = []
        while len(bodies) < count:
            target = self._random.choice(self._operations)
            events = self._calls([*self._leading_to(target), target])
            key = repr(events)
            if key not in self._histories:
                self._histories.add(key)
                bodies.append(self._body(events))
        return bodies

    def mixed(self, prompts: int) -> list[dict[str, Any]]:
        """`prompts` distinct prompts and half as many bodies without one, in random order: a third is history only."""
        bodies = self.prompted(prompts) + self.history_only(prompts // 2)
        self._random.shuffle(bodies)
        return bodies

    def _body(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "user_id": f"user-{self._random.randrange(1000)}",
            "catalog": self._name,
            "k": self._k,
            "events": events,
        }

    def _prompt(self) -> tuple[Operation, str]:
        while True:
            operation = self._random.choice(self._operations)
            words = (operation.summary or _words(operation.operation_id or operation.path)).rstrip(".").split()
            kept = [word for word in words if self._random.random() < _WORD_KEPT]
            noun = _words(operation.path.rsplit("/", 1)[-1].strip("{}"))
            if len(kept) < 2:
                kept = [*(kept or words), *([noun] if noun not in kept else [])]
            prompt = (self._random.choice(_OPENINGS) + " ".join(kept))[:400]
            if prompt in self._prompts:
                prompt += f" {self._random.randrange(10_000)}"  # small catalogs run out of words
            if prompt not in self._prompts:
                self._prompts.add(prompt)
                return operation, prompt

    def _leading_to(self, target: Operation) -> list[Operation]:
        """The reads of what lies above `target`, perhaps with a neighbour."""
        above = [self._reads[cut] for cut in _cuts(target.path) if cut in self._reads]
        siblings = [o for o in self._under[target.path.rsplit("/", 1)[0]] if o is not target]
        if siblings and (not above or self._random.random() < 0.5):
            above.append(self._random.choice(siblings))
        return above

    def _calls(self, operations: list[Operation]) -> list[dict[str, Any]]:
        """Calls of the last few operations; the same parameter has the same value in all of them."""
        values: dict[str, str] = {}
        second = self._random.randrange(86_400)
        events = []
        for operation in operations[-_CALLS_MAX:]:
            second = (second + self._random.randrange(2, 60)) % 86_400
            events.append(
                {
                    "ts": f"2026-11-02T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z",
                    "endpoint": f"{operation.method} {self._fill(operation, values)}",
                    "params": {p.name: self._value(p) for p in operation.parameters if _is_sent(p)},
                }
            )
        return events

    def _fill(self, operation: Operation, values: dict[str, str]) -> str:
        declared = {p.name: p for p in operation.parameters if p.location == "path"}

        def value(found: re.Match[str]) -> str:
            name = found.group(1)
            if name not in values:
                values[name] = str(self._value(declared.get(name) or Parameter(name, "path", type="string")))
            return values[name]

        return _PATH_NAME.sub(value, operation.path)

    def _value(self, parameter: Parameter) -> Any:
        if parameter.enum:
            return self._random.choice(parameter.enum)
        number = self._random.randrange(1, 5000)
        if parameter.type in ("integer", "number"):
            return number
        if parameter.type == "boolean":
            return number % 2 == 0
        stem = re.sub(r"[^a-z0-9]+", "-", parameter.name.lower()).strip("-") or "value"
        return str(number) if stem.endswith(("number", "id")) else f"{stem}-{number}"


def _is_sent(parameter: Parameter) -> bool:
    return parameter.required and parameter.location in ("query", "body") and parameter.type not in ("object", "array")


def _cuts(path: str) -> Iterator[str]:
    """The proper prefixes of a path, shortest first."""
    parts = path.split("/")
    for end in range(2, len(parts)):
        yield "/".join(parts[:end])


def _words(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"[A-Za-z0-9]+", spaced)).lower()
