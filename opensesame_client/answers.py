"""What the service answers, as frozen values; fields that a newer service adds are left aside.

Read by `wire.py`. Free-form parts (metadata, figures of models) stay plain JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Read:
    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """The value that a JSON object of the service describes; lists become tuples."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items() if k in known})


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction(_Read):
    """One ranked next call."""

    rank: int
    endpoint: str  # METHOD /template; of a proposition its id
    confidence: float  # calibrated probability of being the next call
    method: str | None = None
    path: str | None = None
    operation_id: str | None = None
    summary: str = ""
    params: Json = dataclasses.field(default_factory=dict)
    missing_params: tuple[str, ...] = ()  # required, and known neither from the calls nor from the prompt
    score: float = 0.0
    reason: str = ""
    sources: tuple[str, ...] = ()
    is_destructive: bool = False
    flags: tuple[str, ...] = ()
    explanation: Json | None = None  # with `explain`: parts, rest, ranker_confidence
    id: str | None = None  # of a proposition
    title: str | None = None

    def request(self) -> tuple[str, str, Json]:
        """Method, path with its parameters filled in, and the parameters that are left for query or body.

        A path parameter that is missing stays `{name}`.

        Raises:
            ValueError: it is a proposition, which is shown and not called.
        """
        if self.method is None or self.path is None:
            raise ValueError(f"{self.endpoint} is a proposition: it has no request.")
        path, rest = self.path, dict(self.params)
        for name, value in self.params.items():
            if "{" + name + "}" in path:
                path = path.replace("{" + name + "}", quote(str(value), safe=""))
                del rest[name]
        return self.method, path, rest


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What POST /predict says."""

    prediction_id: str | None  # None while the service's state is away: feedback cannot name it
    predictions: tuple[Prediction, ...]
    metadata: Json = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.predictions)

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def top(self) -> Prediction | None:
        """The first prediction, None when there is none."""
        return self.predictions[0] if self.predictions else None

    @property
    def degraded(self) -> tuple[str, ...]:
        """What the service had to do without."""
        return tuple(self.metadata.get("degraded", ()))

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Answer:
        predictions = tuple(Prediction.read(one) for one in found["predictions"])
        return cls(found["prediction_id"], predictions, found.get("metadata", {}))


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt(_Read):
    """Feedback that is durable now; `duplicate` when the same was said before."""

    status: str
    prediction_id: str = ""
    suggestion_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded(_Read):
    """Observed calls that are durable now."""

    recorded: int
    duplicates: int = 0
    unmatched: tuple[int, ...] = ()  # indexes of events that are no operation of the catalog
    closed: tuple[str, ...] = ()  # ids of the predictions they answered


@dataclasses.dataclass(frozen=True, slots=True)
class Proposition(_Read):
    """One suggested proposition."""

    id: str
    title: str = ""
    confidence: float = 0.0
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Suggestion:
    """What POST /suggest says."""

    suggestion_id: str | None
    propositions: tuple[Proposition, ...]
    metadata: Json = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Proposition]:
        return iter(self.propositions)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Suggestion:
        propositions = tuple(Proposition.read(one) for one in found["propositions"])
        return cls(found.get("suggestion_id"), propositions, found.get("metadata", {}))
