"""Sessions as people have them: calls made, predictions asked along the way, what was done with them told.

A session is a generator: it yields what is to be asked and is sent the answer, since feedback names the prediction it
is about. Catalogs are real specs, requests are `loadtest.traffic`'s; users and their turns follow from the seed.
`factor` says how much a profile asks for at a moment. Pure; used by `loadtest.locustfile`.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping
from typing import Any, Literal, NamedTuple

from loadtest.traffic import Traffic
from pipeline.types import Catalog

Profile = Literal["steady", "ramp", "spike"]
_PREDICTIONS_MAX = 3  # of a session
_FEEDBACK = (("accept", 0.4), ("override", 0.1), ("reject", 0.1))
_REPORTED, _SUGGESTED, _LOOKED_UP = 0.3, 0.05, 0.02


class Ask(NamedTuple):
    """One request; `kind` is its route, for the figures."""

    kind: str
    method: str
    path: str
    body: dict[str, Any] | None = None


Session = Generator[Ask, dict[str, Any] | None, None]


class Sessions:
    """Sessions without end over some catalogs, by name."""

    def __init__(self, catalogs: Mapping[str, Catalog], seed: int) -> None:
        self._random = random.Random(seed)
        self._traffic = {name: Traffic(catalog, name, seed=seed) for name, catalog in catalogs.items()}
        self._seed = seed
        self._number = 0

    def begin(self) -> Session:
        """The next session; what it is sent is the body of the answer, None of a request that failed."""
        self._number += 1
        rng = self._random
        user = f"user-{self._seed}-{self._number}"
        name = rng.choice(sorted(self._traffic))
        traffic = self._traffic[name]
        (body,) = traffic.prompted(1) if rng.random() < 2 / 3 else traffic.history_only(1)
        calls = body["events"]
        if rng.random() < _LOOKED_UP:
            yield Ask("catalog", "GET", f"/catalogs/{name}")
        for made in range(max(0, len(calls) - _PREDICTIONS_MAX + 1), len(calls) + 1):
            asked = {"user_id": user, "catalog": name, "k": body["k"], "events": calls[:made]}
            if made == len(calls) and "prompt" in body:
                asked["prompt"] = body["prompt"]
            answer = yield Ask("predict", "POST", "/predict", asked)
            outcome = self._outcome(answer)
            if outcome is not None:
                yield Ask("feedback", "POST", "/feedback", {"user_id": user, **outcome})
        if calls and rng.random() < _REPORTED:
            yield Ask("events", "POST", "/events", {"user_id": user, "catalog": name, "events": calls})
        if rng.random() < _SUGGESTED:
            yield Ask("suggest", "POST", "/suggest", {"user_id": user, "limit": 3})

    def _outcome(self, answer: dict[str, Any] | None) -> dict[str, Any] | None:
        """What this user does with a prediction; nothing, mostly, and nothing with one that was not remembered."""
        if not answer or not answer.get("prediction_id") or not answer.get("predictions"):
            return None
        chance = self._random.random()
        for outcome, share in _FEEDBACK:
            if chance < share:
                told: dict[str, Any] = {"prediction_id": answer["prediction_id"], "feedback": outcome}
                if outcome == "override":
                    told["chosen"] = {"endpoint": answer["predictions"][-1]["endpoint"]}
                return told
            chance -= share
        return None


def factor(profile: Profile, elapsed: float) -> float:
    """How much of its rate a profile asks for when the share `elapsed` (0 to 1) of its time is over."""
    if profile == "ramp":
        return 0.1 + 0.9 * min(1.0, elapsed / 0.8)  # a tenth at first, all of it in the last fifth
    if profile == "spike":
        return 1.0 if 0.4 <= elapsed < 0.6 else 0.25
    return 1.0
